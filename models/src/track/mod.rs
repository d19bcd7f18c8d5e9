//! A whole text in a learnt voice, as one sound file: sentence by sentence to the disk, so that memory does not grow
//! with the text, then once more through for the loudness.

mod fit;
mod recorder;

use std::path::Path;

use crate::script::sentences;
use crate::{Cloner, EngineError, Observer};
use fit::{Slot, fit};
use recorder::Recorder;

/// What to speak.
pub enum Script {
    /// In one go, with pauses between sentences.
    Text(String),
    /// Each inside its own time.
    Segments(Vec<TimedText>),
}

#[derive(Clone, Debug)]
pub struct TimedText {
    /// In seconds from the beginning of the track.
    pub start: f64,
    /// In seconds; after `start`.
    pub end: f64,
    pub text: String,
}

pub struct TrackRequest<'a> {
    pub script: Script,
    /// 0.5 to 2.0.
    pub speed: f32,
    /// How loud the track is to be, in LUFS; none leaves it as spoken.
    pub reference_lufs: Option<f64>,
    /// Written as 24-bit mono PCM WAV, by rename once it is whole.
    pub path: &'a Path,
}

#[derive(Clone, Debug)]
pub struct TrackReport {
    pub duration_seconds: f64,
    /// Largest magnitude of a sample; below 1.
    pub peak: f32,
    /// None for less than 0.4 s of sound.
    pub lufs: Option<f64>,
    /// One for each segment of the script; empty for a text.
    pub segments: Vec<SpokenSegment>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpokenSegment {
    /// Where its speech begins and ends, in seconds.
    pub start: f64,
    pub end: f64,
    /// How much faster than asked for it is spoken to fit, 1 to 1.25.
    pub rate: f32,
    /// Did not fit even so, and was faded out where the next segment starts.
    pub overrun: bool,
}

/// Speaks the script in the voice that `cloner` has learnt. Nothing is left at the path after an error; a script that
/// cannot be spoken, or whose segments are not one after another, is an [`EngineError::Input`].
pub fn render(
    cloner: &mut dyn Cloner,
    request: &TrackRequest<'_>,
    observer: &mut dyn Observer,
) -> Result<TrackReport, EngineError> {
    let mut recorder = Recorder::new(request.path, cloner.sample_rate())?;
    let segments = match &request.script {
        Script::Text(text) => {
            speak_text(text, &mut Booth { cloner, recorder: &mut recorder, observer, speed: request.speed })?;
            Vec::new()
        }
        Script::Segments(segments) => speak_segments(
            segments,
            &mut Booth { cloner, recorder: &mut recorder, observer, speed: request.speed },
        )?,
    };
    recorder.finish(request.reference_lufs, segments, observer)
}

/// What speaking needs.
struct Booth<'a> {
    cloner: &'a mut dyn Cloner,
    recorder: &'a mut Recorder,
    observer: &'a mut dyn Observer,
    speed: f32,
}

impl Booth<'_> {
    fn go_on(&mut self, spoken: usize, total: usize) -> Result<(), EngineError> {
        if self.observer.cancelled() {
            return Err(EngineError::Cancelled);
        }
        self.observer.progress(SPEAKING_SHARE * spoken as f32 / total.max(1) as f32);
        Ok(())
    }

    /// Silence from the last speech to the next.
    fn rest(&mut self, seconds: f64) -> Result<(), EngineError> {
        self.recorder.silence((seconds * f64::from(self.recorder.sample_rate())) as u64, self.observer)
    }
}

/// The part of the progress that is speaking; the rest is the second pass.
const SPEAKING_SHARE: f32 = 0.98;
/// In seconds at speed 1.
const SENTENCE_PAUSE: f64 = 0.35;
const CLAUSE_PAUSE: f64 = 0.12;

fn speak_text(text: &str, booth: &mut Booth<'_>) -> Result<(), EngineError> {
    let sentences = sentences(text)?;
    let total: usize = sentences.iter().map(|sentence| sentence.chars().count()).sum();
    let mut spoken = 0;
    for (index, sentence) in sentences.iter().enumerate() {
        booth.go_on(spoken, total)?;
        let audio = booth.cloner.speak(sentence, booth.speed)?;
        booth.recorder.add(fit::speech(&audio))?;
        spoken += sentence.chars().count();
        if index + 1 < sentences.len() {
            booth.rest(pause_after(sentence) / f64::from(booth.speed))?;
        }
    }
    Ok(())
}

fn pause_after(sentence: &str) -> f64 {
    let ends_clause = sentence.ends_with([',', ';', ':', '，', '、', '；', '،', '؛']);
    if ends_clause { CLAUSE_PAUSE } else { SENTENCE_PAUSE }
}

fn speak_segments(segments: &[TimedText], booth: &mut Booth<'_>) -> Result<Vec<SpokenSegment>, EngineError> {
    check_times(segments)?;
    let texts: Vec<Vec<String>> =
        segments.iter().map(|segment| sentences(&segment.text)).collect::<Result<_, _>>()?;
    let total: usize = segments.iter().map(|segment| segment.text.chars().count()).sum();
    let rate = f64::from(booth.recorder.sample_rate());
    let mut reports = Vec::with_capacity(segments.len());
    let mut spoken = 0;
    for (index, (segment, text)) in segments.iter().zip(&texts).enumerate() {
        booth.go_on(spoken, total)?;
        let slot = Slot {
            seconds: segment.end - segment.start,
            until_next: segments.get(index + 1).map(|next| next.start - segment.start),
        };
        let observer = &*booth.observer;
        let fitted = fit(slot, booth.speed, |speed| {
            let mut samples = Vec::new();
            for (number, sentence) in text.iter().enumerate() {
                if observer.cancelled() {
                    return Err(EngineError::Cancelled);
                }
                if 0 < number {
                    let pause = pause_after(&text[number - 1]) / f64::from(speed);
                    samples.resize(samples.len() + (pause * rate) as usize, 0.0);
                }
                samples.extend_from_slice(fit::speech(&booth.cloner.speak(sentence, speed)?));
            }
            Ok(crate::audio::Audio { sample_rate: rate as u32, samples })
        })?;
        let begin = (segment.start * rate).round() as u64;
        booth.recorder.silence(begin.saturating_sub(booth.recorder.written()), booth.observer)?;
        booth.recorder.add(&fitted.audio.samples)?;
        spoken += segment.text.chars().count();
        let end = segment.start + fitted.audio.duration();
        reports.push(SpokenSegment { start: segment.start, end, rate: fitted.rate, overrun: fitted.overrun });
    }
    if let Some(last) = segments.last() {
        let end = (last.end * rate).round() as u64;
        booth.recorder.silence(end.saturating_sub(booth.recorder.written()), booth.observer)?;
    }
    Ok(reports)
}

fn check_times(segments: &[TimedText]) -> Result<(), EngineError> {
    if segments.is_empty() {
        return Err(EngineError::Input("There are no segments to speak.".into()));
    }
    let mut last_end = 0.0;
    for (number, segment) in (1..).zip(segments) {
        let ordered = segment.start.is_finite() && segment.end.is_finite() && last_end <= segment.start;
        if !ordered || segment.end <= segment.start {
            return Err(EngineError::Input(format!(
                "Segment {number} ({} s to {} s) must start after the one before it ends, and end after it starts.",
                segment.start, segment.end
            )));
        }
        last_end = segment.end;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
