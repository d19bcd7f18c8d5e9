//! `timbre`: a cloner without a model of its own. It reshapes any synthesizer's speech to the speaker of a reference:
//! vocal-tract length, melody, spectral envelope; whatever is uncertain, the speaker encoder decides.

mod equalizer;
mod mapping;
mod pitch;
mod psola;
mod spectrum;
mod voice;

use crate::audio::{Audio, resample};
use crate::speaker::similarity;
use crate::{Cloner, EngineError, Observer, SpeakerEncoder, Synthesizer};
use equalizer::Equalizer;
use mapping::Mapping;
use pitch::{Pitch, PitchStatistics};
use spectrum::{Frame, Spectrum};
use voice::{Melody, Sung, Voice, Warp, Warped};

/// Clones by signal processing, offline, in any language that its synthesizer speaks.
pub struct Timbre {
    synthesizer: Box<dyn Synthesizer>,
    encoder: Box<dyn SpeakerEncoder>,
    spectrum: Spectrum,
    voice: Option<Voice>,
}

impl Timbre {
    pub fn new(synthesizer: Box<dyn Synthesizer>, encoder: Box<dyn SpeakerEncoder>) -> Self {
        let spectrum = Spectrum::new(synthesizer.sample_rate());
        Self { synthesizer, encoder, spectrum, voice: None }
    }
}

impl Cloner for Timbre {
    fn name(&self) -> &'static str {
        "timbre"
    }

    fn learn(&mut self, reference: &Audio, observer: &mut dyn Observer) -> Result<(), EngineError> {
        let mut watch = Watch { observer, done: 0 };
        watch.step()?;
        let speaker = self.study(reference)?;
        watch.step()?;
        let probe = self.synthesizer.synthesize(PROBE, 1.0)?;
        let mut lesson =
            Lesson { spectrum: &self.spectrum, encoder: self.encoder.as_mut(), speaker, probe, watch };
        let mut attempt = lesson.choose_warp()?;
        lesson.choose_pitch(&mut attempt)?;
        lesson.fit_equalizer(&mut attempt)?;
        tracing::debug!(warp = attempt.voice.warp.factor(), likeness = attempt.likeness, "learnt a voice");
        lesson.watch.observer.progress(1.0);
        self.voice = Some(attempt.voice);
        Ok(())
    }

    fn sample_rate(&self) -> u32 {
        self.synthesizer.sample_rate()
    }

    fn speak(&mut self, text: &str, speed: f32) -> Result<Audio, EngineError> {
        let Some(voice) = &self.voice else {
            return Err(EngineError::Internal(anyhow::anyhow!("no voice was learnt before speaking")));
        };
        // Warping makes speech shorter or longer; it is spoken slower or faster to make up for it.
        let speech = self.synthesizer.synthesize(text, speed / voice.warp.factor())?;
        Ok(voice.reshape(&self.spectrum, &speech))
    }
}

/// Seconds of a reference that are studied; more would not be heard in the result.
const REFERENCE_SECONDS: usize = 60;
/// Spoken while learning, to hear the synthesizer: many sounds in little time.
const PROBE: &str = "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow; \
                     he asked her to choose five good apples.";
/// In octaves around the speaker's mean.
const PITCH_SHIFTS: [f32; 2] = [-0.1, 0.1];
const EQUALIZER_STEPS: usize = 12;

/// What the reference says of its speaker.
struct Speaker {
    vector: Vec<f32>,
    melody: Option<PitchStatistics>,
    frames: Vec<Frame>,
}

impl Timbre {
    fn study(&mut self, reference: &Audio) -> Result<Speaker, EngineError> {
        let length = reference.samples.len().min(REFERENCE_SECONDS * reference.sample_rate as usize);
        let reference =
            Audio { sample_rate: reference.sample_rate, samples: reference.samples[..length].to_vec() };
        let vector = self.encoder.embed(&reference)?;
        let reference = resample(&reference, self.synthesizer.sample_rate());
        let pitch = Pitch::track(&reference);
        let melody = pitch.statistics();
        let frames = self.spectrum.analyse(&reference, &pitch);
        if !frames.iter().any(|frame| frame.voiced) {
            return Err(no_speech());
        }
        Ok(Speaker { vector, melody, frames })
    }
}

/// What learning needs at hand.
struct Lesson<'a> {
    spectrum: &'a Spectrum,
    encoder: &'a mut dyn SpeakerEncoder,
    speaker: Speaker,
    probe: Audio,
    watch: Watch<'a>,
}

/// A voice, the probe with its melody, and how near to the speaker it comes.
struct Attempt {
    voice: Voice,
    sung: Sung,
    likeness: f32,
}

impl Lesson<'_> {
    /// The best of a few vocal-tract lengths, to the encoder's ear: coarsely, then the two beside it.
    fn choose_warp(&mut self) -> Result<Attempt, EngineError> {
        let mut best = self.attempt(Warp::COARSE[0], 0.0)?;
        for warp in &Warp::COARSE[1..] {
            best = better(best, self.attempt(*warp, 0.0)?);
        }
        for warp in best.voice.warp.neighbours() {
            best = better(best, self.attempt(warp, 0.0)?);
        }
        Ok(best)
    }

    /// The melody a little higher or lower, where that is nearer to the speaker.
    fn choose_pitch(&mut self, best: &mut Attempt) -> Result<(), EngineError> {
        for shift in PITCH_SHIFTS {
            let attempt = self.attempt(best.voice.warp, shift)?;
            if best.likeness < attempt.likeness {
                *best = attempt;
            }
        }
        Ok(())
    }

    fn attempt(&mut self, warp: Warp, raised: f32) -> Result<Attempt, EngineError> {
        self.watch.step()?;
        let warped = Warped::new(warp, &self.probe);
        let melody = Melody { from: warped.pitch_statistics(), to: self.speaker.melody }.raised(raised);
        let sung = melody.apply(self.spectrum, &warped);
        let mapping = Mapping::learn(&self.speaker.frames, &sung.frames).ok_or_else(no_speech)?;
        let voice = Voice { warp, melody, mapping, equalizer: Equalizer::flat().gains() };
        let clone = voice.colour(self.spectrum, &sung);
        let likeness = similarity(&self.encoder.embed(&clone)?, &self.speaker.vector);
        Ok(Attempt { voice, sung, likeness })
    }

    /// Climbs from a flat equalizer and keeps the best point on the way.
    fn fit_equalizer(&mut self, attempt: &mut Attempt) -> Result<(), EngineError> {
        let mut equalizer = Equalizer::flat();
        let mut best = equalizer.gains();
        for _ in 0..EQUALIZER_STEPS {
            self.watch.step()?;
            attempt.voice.equalizer = equalizer.gains();
            let clone = attempt.voice.colour(self.spectrum, &attempt.sung);
            let sensitivity = self.encoder.sensitivity(&clone, &self.speaker.vector)?;
            if attempt.likeness <= sensitivity.similarity {
                attempt.likeness = sensitivity.similarity;
                best = equalizer.gains();
            }
            equalizer.climb(&sensitivity);
        }
        attempt.voice.equalizer = best;
        Ok(())
    }
}

fn better(one: Attempt, other: Attempt) -> Attempt {
    if one.likeness < other.likeness { other } else { one }
}

/// Reports each step of learning and ends it when told.
struct Watch<'a> {
    observer: &'a mut dyn Observer,
    done: usize,
}

impl Watch<'_> {
    fn step(&mut self) -> Result<(), EngineError> {
        const STEPS: usize = 2 + Warp::COARSE.len() + 2 + PITCH_SHIFTS.len() + EQUALIZER_STEPS;
        if self.observer.cancelled() {
            return Err(EngineError::Cancelled);
        }
        self.observer.progress(self.done as f32 / STEPS as f32);
        self.done += 1;
        Ok(())
    }
}

fn no_speech() -> EngineError {
    EngineError::Input("The voice sample holds no speech.".into())
}

#[cfg(test)]
mod tests;
