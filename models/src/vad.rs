//! Where somebody speaks: Silero's voice activity detector, which gives every 32 ms the probability of speech.

use std::path::Path;

use anyhow::Context;
use rten::{Model, NodeId, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use crate::audio::{Audio, SampleReader};
use crate::{EngineError, Observer, Unwatched};

/// The detector hears nothing but this rate.
pub const SAMPLE_RATE: u32 = 16000;
/// Samples of one step of the detector.
pub const FRAME: usize = 512;

/// A stretch of speech, in seconds from the start of the audio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeechSpan {
    pub start: f64,
    pub end: f64,
}

impl SpeechSpan {
    /// In seconds.
    pub fn duration(&self) -> f64 {
        self.end - self.start
    }
}

/// The detector. It keeps nothing between calls; what a stream has heard is in its [`VadState`].
pub struct Vad {
    model: Model,
    inputs: [NodeId; 3],
    outputs: [NodeId; 3],
}

/// What the detector remembers of one stream.
pub struct VadState {
    hidden: NdTensor<f32, 3>,
    cell: NdTensor<f32, 3>,
    /// The last samples of the frame before.
    context: [f32; CONTEXT],
}

impl Default for VadState {
    fn default() -> Self {
        let zeros = || NdTensor::zeros([1, 1, 128]);
        Self { hidden: zeros(), cell: zeros(), context: [0.0; CONTEXT] }
    }
}

impl Vad {
    /// Loads `silero_vad_v6.onnx`.
    pub fn load(path: &Path) -> Result<Self, EngineError> {
        let model = Model::load_file(path)
            .with_context(|| format!("loading the voice detector {}", path.display()))?;
        let node = |name| model.node_id(name).context("the voice detector is of an unknown version");
        let inputs = [node("input")?, node("h")?, node("c")?];
        let outputs = model.output_ids().try_into().context("the voice detector has unknown outputs")?;
        Ok(Self { model, inputs, outputs })
    }

    /// The stretches of speech in `audio` (16 kHz), in order and apart; read by blocks, so of any length.
    pub fn speech(&mut self, audio: &mut dyn SampleReader) -> Result<Vec<SpeechSpan>, EngineError> {
        Ok(self.curve(audio, &mut Unwatched)?.spans(SpanRules::TIGHT))
    }

    /// How long somebody speaks in `audio` (16 kHz), in seconds.
    pub fn speech_seconds(&mut self, audio: &Audio) -> Result<f64, EngineError> {
        let spans = self.speech(&mut audio.clone())?;
        Ok(spans.iter().map(SpeechSpan::duration).sum())
    }

    /// The probability of speech in each [`FRAME`] of `samples` (16 kHz), which follow on those that `state` has seen.
    /// Samples beyond the last whole frame are left out.
    pub fn feed(&mut self, state: &mut VadState, samples: &[f32]) -> Result<Vec<f32>, EngineError> {
        let frames = samples.len() / FRAME;
        if frames == 0 {
            return Ok(Vec::new());
        }
        let mut input = Vec::with_capacity(frames * (CONTEXT + FRAME));
        for frame in samples.chunks_exact(FRAME) {
            input.extend_from_slice(&state.context);
            input.extend_from_slice(frame);
            state.context.copy_from_slice(&frame[FRAME - CONTEXT..]);
        }
        let input = NdTensorView::from_data([frames, CONTEXT + FRAME], input.as_slice());
        let values: [ValueOrView<'_>; 3] =
            [input.into(), state.hidden.view().into(), state.cell.view().into()];
        let named = self.inputs.into_iter().zip(values).collect();
        let [output, hidden, cell] =
            self.model.run_n(named, self.outputs, None).context("running the voice detector")?;
        state.hidden = hidden.try_into().context("the voice detector's memory")?;
        state.cell = cell.try_into().context("the voice detector's memory")?;
        Ok(output.into_tensor::<f32>().context("the voice detector's output")?.to_vec())
    }

    /// The probabilities over all of `audio`; the observer hears of it from 0 to 1.
    pub(crate) fn curve(
        &mut self,
        audio: &mut dyn SampleReader,
        observer: &mut dyn Observer,
    ) -> Result<SpeechCurve, EngineError> {
        if audio.sample_rate() != SAMPLE_RATE {
            let rate = audio.sample_rate();
            return Err(EngineError::Internal(anyhow::anyhow!("the voice detector was given {rate} Hz")));
        }
        let mut probabilities = Vec::with_capacity(audio.len() as usize / FRAME + 1);
        let mut state = VadState::default();
        let mut block = vec![0.0; BLOCK_FRAMES * FRAME];
        let mut position = 0;
        while position < audio.len() {
            if observer.cancelled() {
                return Err(EngineError::Cancelled);
            }
            let read = audio.read(position, &mut block).context("reading the audio")?;
            if read == 0 {
                break;
            }
            position += read as u64;
            // Silence fills the last frame up.
            let whole = read.next_multiple_of(FRAME);
            block[read..whole].fill(0.0);
            probabilities.extend(self.feed(&mut state, &block[..whole])?);
            observer.progress(position as f32 / audio.len() as f32);
        }
        Ok(SpeechCurve::new(probabilities, position as f64 / f64::from(SAMPLE_RATE)))
    }
}

/// What makes a stretch of speech, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct SpanRules {
    /// Shorter speech is a noise.
    pub(crate) min_speech: f64,
    /// A shorter pause does not part two stretches.
    pub(crate) min_silence: f64,
    /// Added at both ends, as far as the pause allows.
    pub(crate) padding: f64,
}

impl SpanRules {
    /// Close to what is spoken.
    pub(crate) const TIGHT: Self = Self { min_speech: 0.2, min_silence: 0.3, padding: 0.06 };
}

/// The probability of speech over time.
pub(crate) struct SpeechCurve {
    probabilities: Vec<f32>,
    duration: f64,
}

impl SpeechCurve {
    /// `duration` of the audio in seconds; the last frame may reach beyond it.
    pub(crate) fn new(probabilities: Vec<f32>, duration: f64) -> Self {
        Self { probabilities, duration }
    }

    pub(crate) fn duration(&self) -> f64 {
        self.duration
    }

    /// Speech begins at the upper threshold and lasts until the probability was below the lower one for a while: a
    /// single threshold would chatter.
    pub(crate) fn spans(&self, rules: SpanRules) -> Vec<SpeechSpan> {
        let mut spans = Vec::new();
        let mut start = None;
        let mut silent_since = None;
        for (frame, probability) in self.probabilities.iter().enumerate() {
            let now = frame as f64 * FRAME_SECONDS;
            if SPEECH_BEGINS <= *probability {
                start = start.or(Some(now));
                silent_since = None;
            } else if let (Some(begun), true) = (start, *probability < SPEECH_ENDS) {
                let silent = *silent_since.get_or_insert(now);
                if rules.min_silence <= now - silent {
                    spans.push(SpeechSpan { start: begun, end: silent });
                    (start, silent_since) = (None, None);
                }
            }
        }
        if let Some(start) = start {
            spans.push(SpeechSpan { start, end: silent_since.unwrap_or(self.duration) });
        }
        spans.retain(|span| rules.min_speech <= span.duration());
        self.pad(&mut spans, rules.padding);
        spans
    }

    /// Where between `from` and `to` the word is that was said to be there; none if there is no voice. A boundary between
    /// words often lies in the wrong place of a pause, so the interval may hold a tail of the word before or a beginning
    /// of the next: of the stretches of voice the last counts, unless it is short beside another.
    pub(crate) fn voiced_within(&self, from: f64, to: f64) -> Option<SpeechSpan> {
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for frame in self.frames(from, to).filter(|frame| SPEECH_ENDS <= self.probabilities[*frame]) {
            match runs.last_mut() {
                Some(run) if frame < run.end + BREAK_FRAMES => run.end = frame + 1,
                _ => runs.push(frame..frame + 1),
            }
        }
        let longest = runs.iter().map(ExactSizeIterator::len).max()?;
        let word = runs.into_iter().rfind(|run| longest <= 2 * run.len())?;
        Some(SpeechSpan {
            start: from.max(word.start as f64 * FRAME_SECONDS),
            end: to.min(word.end as f64 * FRAME_SECONDS),
        })
    }

    /// The moment between `from` and `to` that is likeliest to be a pause.
    pub(crate) fn quietest(&self, from: f64, to: f64) -> f64 {
        const NEIGHBOURS: usize = 4;
        let loudness = |frame: usize| -> f32 {
            let near =
                frame.saturating_sub(NEIGHBOURS)..(frame + NEIGHBOURS + 1).min(self.probabilities.len());
            self.probabilities[near].iter().sum()
        };
        let quietest = self.frames(from, to).min_by(|a, b| loudness(*a).total_cmp(&loudness(*b)));
        quietest.map_or(to, |frame| (frame as f64 + 0.5) * FRAME_SECONDS)
    }

    fn frames(&self, from: f64, to: f64) -> std::ops::Range<usize> {
        let end = ((to / FRAME_SECONDS).ceil() as usize).min(self.probabilities.len());
        let start = (from / FRAME_SECONDS) as usize;
        start.min(end)..end
    }

    fn pad(&self, spans: &mut [SpeechSpan], padding: f64) {
        let mut earliest = 0.0;
        for index in 0..spans.len() {
            let next_start = spans.get(index + 1).map(|next| next.start);
            let latest = next_start.map_or(self.duration, |next| f64::midpoint(spans[index].end, next));
            let span = &mut spans[index];
            span.start = (span.start - padding).max(earliest);
            span.end = (span.end + padding).min(latest);
            earliest = latest;
        }
    }
}

const CONTEXT: usize = 64;
const FRAME_SECONDS: f64 = FRAME as f64 / SAMPLE_RATE as f64;
/// 16 seconds: enough to keep the arithmetic busy, little enough to be cancelled soon.
const BLOCK_FRAMES: usize = 500;
/// A pause between words is longer.
const BREAK_FRAMES: usize = 8;
const SPEECH_BEGINS: f32 = 0.5;
const SPEECH_ENDS: f32 = 0.35;

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(probabilities: &[(usize, f32)]) -> SpeechCurve {
        let probabilities: Vec<f32> =
            probabilities.iter().flat_map(|(count, value)| std::iter::repeat_n(*value, *count)).collect();
        let duration = probabilities.len() as f64 * FRAME_SECONDS;
        SpeechCurve::new(probabilities, duration)
    }

    const RULES: SpanRules = SpanRules { min_speech: 0.1, min_silence: 0.32, padding: 0.0 };

    #[test]
    fn speech_outlasts_a_short_pause_and_a_doubt() {
        let spans = curve(&[(10, 0.0), (10, 0.9), (5, 0.1), (10, 0.8), (20, 0.4), (50, 0.0)]).spans(RULES);
        assert_eq!(spans, [SpeechSpan { start: 0.32, end: 55.0 * FRAME_SECONDS }]);
    }

    #[test]
    fn a_long_pause_parts_and_a_click_is_dropped() {
        let spans = curve(&[(10, 0.9), (20, 0.0), (2, 0.9), (20, 0.0), (10, 0.9)]).spans(RULES);
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[1].end, 62.0 * FRAME_SECONDS);
    }

    #[test]
    fn padding_stays_within_the_audio_and_the_pause() {
        let rules = SpanRules { padding: 1.0, ..RULES };
        let spans = curve(&[(5, 0.0), (10, 0.9), (20, 0.0), (10, 0.9), (5, 0.0)]).spans(rules);
        assert_eq!((spans[0].start, spans[1].end), (0.0, 50.0 * FRAME_SECONDS));
        assert_eq!(spans[0].end, spans[1].start);
    }

    #[test]
    fn the_quietest_moment_lies_in_the_pause() {
        let moment = curve(&[(100, 0.9), (12, 0.1), (100, 0.9)]).quietest(1.0, 6.0);
        assert!((3.2..3.6).contains(&moment), "{moment}");
    }
}
