//! How near clones come to speakers of LibriSpeech, by recordings that they were not learnt from, and whether their
//! words can be understood.

use std::time::Instant;

use super::*;
use crate::speaker::tests::{SPEAKERS, encoder, model_file, utterance};
use crate::speaker::unit;
use crate::vad::Vad;
use crate::whisper::{Compute, Whisper};
use crate::{TranscribeOptions, Transcriber, Unwatched};

const TEXT: &str = "The committee will meet again on Thursday morning to decide how the money should be spent. \
                    Please bring your own notes, and do not forget the map of the old harbour.";

#[test]
fn clones_are_near_to_their_speakers_and_keep_their_words() {
    let (Some(mut judge), Some(mut listener)) = (encoder(), listener()) else { return };
    let mut likenesses = 0.0;
    let mut errors = 0.0;
    for speaker in SPEAKERS {
        let (Some(voice), Some(own)) = (crate::piper::tests::joe(), encoder()) else { return };
        let recording = |part: usize| utterance(&format!("{speaker}-000{part}.flac"));
        let (Some(first), Some(second), Some(third), Some(fourth)) =
            (recording(0), recording(1), recording(2), recording(3))
        else {
            return;
        };
        let reference = Audio { sample_rate: 16_000, samples: [first.samples, second.samples].concat() };
        let mut timbre = Timbre::new(Box::new(voice), Box::new(own));
        let start = Instant::now();
        timbre.learn(&reference, &mut Unwatched).unwrap();
        let learning = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let clone = timbre.speak(TEXT, 1.0).unwrap();
        let real_time_factor = start.elapsed().as_secs_f64() / clone.duration();
        assert!(clone.samples.iter().all(|sample| sample.is_finite() && sample.abs() < 1.0));

        let held_back = [judge.embed(&third).unwrap(), judge.embed(&fourth).unwrap()];
        let held_back =
            unit(held_back[0].iter().zip(&held_back[1]).map(|(one, other)| one + other).collect());
        let likeness = similarity(&judge.embed(&clone).unwrap(), &held_back);
        let error = word_error_rate(TEXT, &hear(&mut listener, &clone));
        println!(
            "{speaker}: likeness {likeness:.3}, word error rate {error:.3}, learnt in {learning:.1} s, \
             real-time factor {real_time_factor:.2}"
        );
        likenesses += likeness / SPEAKERS.len() as f32;
        errors += error / SPEAKERS.len() as f32;
    }
    println!("mean likeness {likenesses:.3}, word error rate {errors:.3}");
    assert!(0.69 <= likenesses && errors <= 0.1, "likeness {likenesses}, word error rate {errors}");
}

#[test]
fn a_reference_without_speech_is_refused() {
    let (Some(voice), Some(encoder)) = (crate::piper::tests::joe(), encoder()) else { return };
    let mut timbre = Timbre::new(Box::new(voice), Box::new(encoder));
    for length in [0, 160, 48_000] {
        let silence = Audio { sample_rate: 16_000, samples: vec![0.0; length] };
        assert!(matches!(timbre.learn(&silence, &mut Unwatched), Err(EngineError::Input(_))), "{length}");
    }
    assert!(timbre.speak(TEXT, 1.0).is_err());
}

fn listener() -> Option<Whisper> {
    let vad = Vad::load(&model_file("silero-vad", "silero_vad_v6.onnx")?).unwrap();
    Some(Whisper::load(&model_file("whisper-base", "ggml-base.bin")?, vad, Compute::threads(2)).unwrap())
}

fn hear(listener: &mut Whisper, clone: &Audio) -> String {
    let options = TranscribeOptions { language: Some("en".into()), ..TranscribeOptions::default() };
    let heard = listener.transcribe(&mut resample(clone, 16_000), &options, &mut Unwatched).unwrap();
    heard.segments.iter().map(|segment| segment.text.as_str()).collect()
}

/// Edits from one text's words to the other's, case and punctuation apart, per word of the first.
fn word_error_rate(wanted: &str, heard: &str) -> f32 {
    let words = |text: &str| -> Vec<String> {
        let text = text.to_lowercase().replace("harbor ", "harbour ").replace("harbor.", "harbour.");
        text.split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(Into::into)
            .collect()
    };
    let (wanted, heard) = (words(wanted), words(heard));
    let mut distances: Vec<usize> = (0..=heard.len()).collect();
    for (row, word) in wanted.iter().enumerate() {
        let mut diagonal = distances[0];
        distances[0] = row + 1;
        for (column, other) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = distances[column + 1];
            distances[column + 1] = replaced.min(diagonal + 1).min(distances[column] + 1);
        }
    }
    distances[heard.len()] as f32 / wanted.len() as f32
}
