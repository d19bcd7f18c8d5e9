//! A text in somebody's voice, and how well that went: the likeness by the speaker encoder, the words by listening back.

use super::transcribe::{Decoding, decode};
use crate::context::{Artifact, JobContext, JobError, Outcome, gone};
use crate::engines::choice::{builtin_voice, listener};
use crate::engines::{
    LISTENING_RATE, REFERENCE_RATE, SpeechRequest, Spoken, TranscribeRequest, Voice, Waits,
};
use models::TranscribeOptions;
use models::track::{Script, TimedText};
use pipeline::parameters::CloneVoice;
use pipeline::word_error::word_error_rate;
use serde_json::{Value, json};
use std::path::Path;
use storage::files::FileKind;
use storage::ids::VoiceId;

pub(crate) async fn run(context: &JobContext, parameters: &CloneVoice) -> Result<Outcome, JobError> {
    context.enter("fetching");
    let engines = &context.services.engines;
    let voice = voice(context, parameters).await?;
    let output = context.directory.join("speech.wav");
    let request = SpeechRequest {
        waits: Waits::Job,
        voice: voice.clone(),
        language: parameters.target_language.clone(),
        script: script(parameters),
        speed: parameters.speed,
        output: output.clone(),
    };
    context.enter("learning");
    let observers = (context.observer("learning"), context.observer("speaking"));
    let spoken = engines.speak(request, observers, &context.stop).await?;
    context.enter("checking");
    let check = check(context, parameters, &voice, &output).await?;
    let media = context.probe(&output).await?;
    Ok(Outcome {
        result: result(parameters, spoken, check),
        artifacts: vec![Artifact {
            path: output,
            filename: format!("speech.{}.wav", parameters.target_language),
            content_type: "audio/wav",
            kind: FileKind::Audio,
            media: Some(media),
        }],
    })
}

async fn voice(context: &JobContext, parameters: &CloneVoice) -> Result<Voice, JobError> {
    let sample = match (parameters.voice_profile_id, parameters.audio_file_id) {
        (Some(id), _) => {
            if let Some(name) = builtin_voice(&context.services.engines.stock(), id) {
                return Ok(Voice::Builtin(name));
            }
            let storage = &context.services.storage;
            let profile = context.ask(|| storage.jobs.voice(&context.job, VoiceId::from(id))).await;
            let profile = profile.map_err(gone("The voice that the job uses is gone."))?;
            let path = context.directory.join("reference");
            context.ask(|| storage.objects.fetch(&profile.object_key, &path)).await?;
            path
        }
        (None, Some(id)) => context.fetch(id, "reference").await?.1,
        (None, None) => return Err(anyhow::anyhow!("a clone-voice job without a voice was accepted").into()),
    };
    let decoding = Decoding { input: &sample, name: "reference.wav", sample_rate: REFERENCE_RATE };
    let sound =
        decode(context, decoding, &mut |fraction| context.report("decoding", fraction as f32)).await?;
    Ok(Voice::Reference(sound))
}

fn script(parameters: &CloneVoice) -> Script {
    if parameters.segments.is_empty() {
        return Script::Text(parameters.text_content.clone().unwrap_or_default());
    }
    let timed = |segment: &pipeline::parameters::TimedText| TimedText {
        start: segment.start,
        end: segment.end,
        text: segment.text.clone(),
    };
    Script::Segments(parameters.segments.iter().map(timed).collect())
}

/// What listening to the result told.
struct Check {
    /// Cosine of the speakers' vectors; none for a voice without a reference.
    similarity: Option<f32>,
    heard: Option<String>,
}

async fn check(
    context: &JobContext,
    parameters: &CloneVoice,
    voice: &Voice,
    speech: &Path,
) -> Result<Check, JobError> {
    let engines = &context.services.engines;
    let decoding = Decoding { input: speech, name: "check.wav", sample_rate: LISTENING_RATE };
    let sound = decode(context, decoding, &mut |_| {}).await?;
    let similarity = match voice {
        Voice::Reference(reference) => Some(engines.similarity(reference, &sound, &context.stop).await?),
        Voice::Builtin(_) => None,
    };
    let Some(model) = listener(&engines.stock(), &parameters.target_language) else {
        return Ok(Check { similarity, heard: None });
    };
    let options =
        TranscribeOptions { language: Some(parameters.target_language.clone()), ..Default::default() };
    let request = TranscribeRequest { model, sound, options };
    let heard = engines.transcribe(request, context.observer("checking"), &context.stop).await?;
    let text = heard.segments.iter().map(|segment| segment.text.trim()).collect::<Vec<_>>().join(" ");
    Ok(Check { similarity, heard: Some(text) })
}

fn result(parameters: &CloneVoice, spoken: Spoken, check: Check) -> Value {
    let text = match parameters.segments.as_slice() {
        [] => parameters.text_content.clone().unwrap_or_default(),
        segments => segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join(" "),
    };
    let segments: Vec<Value> = spoken
        .report
        .segments
        .iter()
        .map(|segment| {
            json!({ "start": segment.start, "end": segment.end, "rate": segment.rate, "overrun": segment.overrun })
        })
        .collect();
    json!({
        "engine": spoken.engine,
        "voice": spoken.voice,
        "language": parameters.target_language,
        "duration_seconds": spoken.report.duration_seconds,
        "similarity": check.similarity,
        "word_error_rate": check.heard.as_deref().and_then(|heard| word_error_rate(&text, heard)),
        "heard": check.heard,
        "loudness_lufs": spoken.report.lufs,
        "segments": segments,
    })
}
