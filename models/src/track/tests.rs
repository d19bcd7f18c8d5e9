//! Tracks of a real voice: times, format, loudness, cancelling.

use std::path::PathBuf;

use super::*;
use crate::audio::Audio;
use crate::speaker::tests::utterance;
use crate::timbre::Timbre;
use crate::{Unwatched, loudness};

/// The second speaker of the shared data, learnt from one utterance.
fn learnt_voice() -> Option<(Timbre, Audio)> {
    let voice = crate::piper::tests::joe()?;
    let encoder = crate::speaker::tests::encoder()?;
    let reference = utterance("2033-164914-0000.flac")?;
    let mut timbre = Timbre::new(Box::new(voice), Box::new(encoder));
    timbre.learn(&reference, &mut Unwatched).unwrap();
    Some((timbre, reference))
}

struct Track {
    spec: hound::WavSpec,
    samples: Vec<f32>,
}

impl Track {
    fn read(path: &PathBuf) -> Self {
        let mut reader = hound::WavReader::open(path).unwrap();
        let samples = reader.samples::<i32>().map(|sample| sample.unwrap() as f32 / 8_388_608.0).collect();
        Self { spec: reader.spec(), samples }
    }

    /// The first time from `start` on at which 5 ms are within 35 dB of the loudest of the segment, in seconds.
    fn onset(&self, start: f64, end: f64) -> f64 {
        let rate = f64::from(self.spec.sample_rate);
        let samples = &self.samples[(start * rate) as usize..((end * rate) as usize).min(self.samples.len())];
        let block = self.spec.sample_rate as usize / 200;
        let energies: Vec<f32> =
            samples.chunks(block).map(|block| block.iter().map(|s| s * s).sum()).collect();
        let loudest = energies.iter().copied().fold(0.0, f32::max);
        energies.iter().position(|energy| loudest * 3e-4 < *energy).unwrap() as f64 * 0.005
    }
}

#[test]
fn tracks_keep_time_format_and_loudness() {
    let Some((mut timbre, reference)) = learnt_voice() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.wav");
    let segment = |start, end, text: &str| TimedText { start, end, text: text.into() };
    let segments = vec![
        segment(0.5, 3.5, "Good morning, everyone."),
        segment(4.0, 6.0, "The weather is lovely today, and it will stay so."),
        segment(7.0, 7.4, "This sentence cannot be spoken in its time."),
        segment(12.0, 12.5, "Neither can this one, because the next is near."),
        segment(13.0, 16.0, "Thank you. Goodbye."),
    ];
    let lufs = loudness::integrated_lufs(&reference.samples, reference.sample_rate).unwrap().unwrap();
    let request = TrackRequest {
        script: Script::Segments(segments.clone()),
        speed: 1.0,
        reference_lufs: Some(lufs),
        path: &path,
    };
    let report = render(&mut timbre, &request, &mut Unwatched).unwrap();
    let track = Track::read(&path);

    assert_eq!((track.spec.bits_per_sample, track.spec.channels, track.spec.sample_rate), (24, 1, 22_050));
    assert!((report.duration_seconds - 16.0).abs() < 0.01, "{}", report.duration_seconds);
    assert_eq!(track.samples.len(), (report.duration_seconds * 22_050.0).round() as usize);
    let peak = track.samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    assert!((peak - report.peak).abs() < 1e-3 && peak < 0.9, "{peak} reported as {}", report.peak);
    let measured = loudness::integrated_lufs(&track.samples, 22_050).unwrap().unwrap();
    assert!((measured - lufs).abs() < 1.0, "{measured} LUFS for a reference of {lufs}");

    for (asked, spoken) in segments.iter().zip(&report.segments) {
        println!("{:.2} to {:.2}: {spoken:?}", asked.start, asked.end);
        let onset = track.onset(asked.start, spoken.end);
        assert!(onset <= 0.04, "{} begins {onset} s late", asked.text);
        assert!((1.0..=1.25).contains(&spoken.rate));
    }
    let [short, tight, gap, overrun, last] = report.segments[..] else { panic!("five segments") };
    assert!(short.end <= 3.5 && short.rate == 1.0);
    assert!(tight.end <= 6.0 || tight.rate == 1.25);
    assert!(7.4 < gap.end && gap.end <= 12.0 && gap.rate == 1.25 && !gap.overrun, "no word is lost in a gap");
    assert!(overrun.overrun && overrun.end <= 13.0);
    assert!(!last.overrun && last.end <= 16.0);

    check_text(&mut timbre, lufs);
    check_cancel(&mut timbre);
}

/// A text of several sentences is longer than each, as loud as asked for, and reported as it comes.
fn check_text(timbre: &mut Timbre, lufs: f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.wav");
    let text = "The first sentence is here. A second one follows! Is there a third?";
    let request = TrackRequest {
        script: Script::Text(text.into()),
        speed: 1.2,
        reference_lufs: Some(lufs),
        path: &path,
    };
    let mut notes = Notes::default();
    let report = render(timbre, &request, &mut notes).unwrap();
    assert!((3.0..8.0).contains(&report.duration_seconds), "{}", report.duration_seconds);
    assert!(notes.progress.is_sorted() && 4 <= notes.progress.len() && notes.progress.last() == Some(&1.0));
    assert!((report.lufs.unwrap() - lufs).abs() < 1.0);
}

/// Cancelled after the first sentence: nothing stays, not even a temporary file.
fn check_cancel(timbre: &mut Timbre) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("track.wav");
    let text = "One sentence. ".repeat(1000);
    let request = TrackRequest { script: Script::Text(text), speed: 1.0, reference_lufs: None, path: &path };
    let mut notes = Notes { cancel_after: Some(2), ..Notes::default() };
    assert!(matches!(render(timbre, &request, &mut notes), Err(EngineError::Cancelled)));
    assert_eq!(notes.progress.len(), 2, "nothing is spoken after the cancel");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[derive(Default)]
struct Notes {
    progress: Vec<f32>,
    cancel_after: Option<usize>,
}

impl Observer for Notes {
    fn progress(&mut self, fraction: f32) {
        self.progress.push(fraction);
    }

    fn cancelled(&self) -> bool {
        self.cancel_after.is_some_and(|count| count <= self.progress.len())
    }
}

#[test]
fn segments_out_of_order_are_refused() {
    let times = |pairs: &[(f64, f64)]| -> Vec<TimedText> {
        pairs.iter().map(|&(start, end)| TimedText { start, end, text: "word".into() }).collect()
    };
    assert!(check_times(&times(&[(0.0, 1.0), (1.0, 2.0)])).is_ok());
    let wrong: [&[(f64, f64)]; 6] = [
        &[],
        &[(-1.0, 1.0)],
        &[(0.0, 2.0), (1.0, 3.0)],
        &[(5.0, 6.0), (1.0, 2.0)],
        &[(1.0, 1.0)],
        &[(f64::NAN, 1.0)],
    ];
    for pairs in wrong {
        assert!(matches!(check_times(&times(pairs)), Err(EngineError::Input(_))), "{pairs:?}");
    }
}
