use super::*;

fn clone_voice() -> CloneVoice {
    CloneVoice {
        text_content: Some("Hello.".into()),
        segments: vec![],
        audio_file_id: Some(Uuid::nil()),
        voice_profile_id: None,
        target_language: "en".into(),
        speed: 1.0,
    }
}

#[track_caller]
fn refused(job: CloneVoice, field: &str) {
    let invalid = Parameters::CloneVoice(job).validate().unwrap_err();
    assert_eq!(invalid.field, field, "{invalid}");
}

#[test]
fn a_clone_needs_a_voice_and_something_to_say() {
    assert_eq!(Parameters::CloneVoice(clone_voice()).validate(), Ok(()));
    refused(CloneVoice { audio_file_id: None, ..clone_voice() }, "audio_file_id");
    refused(CloneVoice { text_content: None, ..clone_voice() }, "text_content");
    refused(CloneVoice { text_content: Some("?!…".into()), ..clone_voice() }, "text_content");
    refused(CloneVoice { text_content: Some("a\0b".into()), ..clone_voice() }, "text_content");
    refused(CloneVoice { speed: f32::NAN, ..clone_voice() }, "speed");
    refused(CloneVoice { target_language: "english".into(), ..clone_voice() }, "target_language");
}

#[test]
fn a_transcript_is_of_a_known_language_and_in_each_format_once() {
    let refusal = |language: Option<&str>, output_formats| {
        let job = Transcribe {
            audio_file_id: Uuid::nil(),
            source_language: language.map(str::to_owned),
            task: TranscribeTask::Transcribe,
            model: None,
            word_timestamps: true,
            prompt: None,
            output_formats,
        };
        Parameters::Transcribe(job).validate().err().map(|invalid| invalid.field)
    };
    let (json, text) = (TranscriptFormat::Json, TranscriptFormat::Text);
    for known in [None, Some("en"), Some("haw"), Some("yue")] {
        assert_eq!(refusal(known, vec![json]), None);
    }
    for unknown in ["xx", "english", "EN", ""] {
        assert_eq!(refusal(Some(unknown), vec![json]).as_deref(), Some("source_language"), "{unknown}");
    }
    let asked = [text, json, text, json, json];
    assert_eq!(refusal(None, vec![json, json]).as_deref(), Some("output_formats"));
    assert_eq!(refusal(None, asked.to_vec()).as_deref(), Some("output_formats"));
    assert_eq!(TranscriptFormat::first_of_each(asked), [text, json]);
}

#[test]
fn segments_follow_each_other() {
    let segment = |start, end| TimedText { start, end, text: "hello".into() };
    let with = |segments| CloneVoice { segments, text_content: None, ..clone_voice() };
    assert_eq!(Parameters::CloneVoice(with(vec![segment(0.0, 1.0), segment(1.0, 2.0)])).validate(), Ok(()));
    refused(with(vec![segment(-1.0, 1.0)]), "segments.0.start");
    refused(with(vec![segment(0.0, 1.0), segment(0.5, 2.0)]), "segments.1.start");
    refused(with(vec![segment(1.0, 1.0)]), "segments.0.end");
    refused(with(vec![segment(0.0, f64::INFINITY)]), "segments.0.end");
}

#[test]
fn a_rate_that_the_codec_lacks_is_refused_with_those_it_has() {
    let job = ExtractAudio {
        video_file_id: Uuid::nil(),
        audio_format: AudioFormat::Opus,
        sample_rate: Some(44_100),
        channels: None,
    };
    let invalid = Parameters::ExtractAudio(job).validate().unwrap_err();
    assert_eq!(invalid.field, "sample_rate");
    assert!(invalid.issue.contains("48000"), "{invalid}");
}

#[test]
fn a_kind_is_asked_for_or_internal() {
    for kind in JobKind::ALL {
        assert!(JobKind::ASKED_FOR.contains(&kind) != JobKind::INTERNAL.contains(&kind), "{kind:?}");
        assert_eq!(JobKind::parse(kind.as_str()), Some(kind));
    }
}

#[test]
fn parameters_survive_the_row() {
    let job = Parameters::CloneVoice(clone_voice());
    let json = serde_json::to_value(&job).unwrap();
    assert_eq!(json["kind"], "clone-voice");
    assert_eq!(serde_json::from_value::<Parameters>(json).unwrap(), job);
}
