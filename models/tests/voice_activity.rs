//! The voice detector against a call whose turns are known.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and panics")]

mod common;

use models::audio::Audio;
use models::vad::{FRAME, VadState};

#[test]
fn the_turns_of_a_call_are_found() {
    let Some(folder) = common::recordings() else { return };
    let mut audio = Audio::read_wav(&folder.join("two-speakers.wav")).unwrap();
    let turns = std::fs::read_to_string(folder.join("two-speakers.rttm")).unwrap();
    let turns: Vec<(f64, f64)> = turns
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .map(|fields| (fields[3].parse().unwrap(), fields[4].parse::<f64>().unwrap()))
        .map(|(start, duration): (f64, f64)| (start, start + duration))
        .collect();
    let spans = common::vad().speech(&mut audio).unwrap();
    assert!(spans.is_sorted_by(|a, b| a.end <= b.start));

    let spoken = |time: f64| turns.iter().any(|(start, end)| (*start..*end).contains(&time));
    let heard = |time: f64| spans.iter().any(|span| (span.start..span.end).contains(&time));
    let moments = (0..3000).map(|i| f64::from(i) / 100.0);
    let agreed = moments.filter(|time| spoken(*time) == heard(*time)).count();
    assert!(2700 <= agreed, "agreed in {agreed} of 3000 moments: {spans:?}");
}

#[test]
fn seconds_of_speech_leave_pauses_out() {
    let Some(folder) = common::recordings() else { return };
    let speech = Audio::read_wav(&folder.join("jfk.wav")).unwrap();
    let seconds = common::vad().speech_seconds(&speech).unwrap();
    assert!((7.0..9.5).contains(&seconds), "{seconds}");
    let silence = Audio { sample_rate: 16000, samples: vec![0.0; 160_000] };
    assert_eq!(common::vad().speech_seconds(&silence).unwrap(), 0.0);
}

#[test]
fn a_stream_in_pieces_is_judged_as_the_whole() {
    let Some(folder) = common::recordings() else { return };
    let audio = Audio::read_wav(&folder.join("jfk.wav")).unwrap();
    let mut vad = common::vad();
    let whole = vad.feed(&mut VadState::default(), &audio.samples).unwrap();
    let mut state = VadState::default();
    let mut pieces = Vec::new();
    for piece in audio.samples.chunks(3 * FRAME) {
        pieces.extend(vad.feed(&mut state, piece).unwrap());
    }
    assert_eq!(whole.len(), pieces.len());
    let worst = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-3, "{worst}");
}
