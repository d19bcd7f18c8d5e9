//! `timbre`: a cloner without a model of its own. It reshapes any synthesizer's speech to the speaker of a reference:
//! vocal-tract length, melody, spectral envelope; whatever is uncertain, the speaker encoder decides.

mod equalizer;
mod mapping;
mod pitch;
mod psola;
mod spectrum;

use crate::audio::{Audio, resample};
use crate::{Cloner, EngineError, Observer, SpeakerEncoder, Synthesizer};
use equalizer::Equalizer;
use mapping::Mapping;
use pitch::{Pitch, PitchStatistics};
use spectrum::{Envelope, Frame, Spectrum};

/// Clones by signal processing, offline, in any language that its synthesizer speaks.
pub struct Timbre {
    synthesizer: Box<dyn Synthesizer>,
    encoder: Box<dyn SpeakerEncoder>,
    spectrum: Spectrum,
    voice: Option<Voice>,
}

/// What was learnt of a speaker.
struct Voice {
    warp: Warp,
    melody: Melody,
    mapping: Mapping,
    equalizer: Envelope,
}

/// Seconds of a reference that are studied; more would not be heard in the result.
const REFERENCE_SECONDS: usize = 60;
/// Spoken while learning, to see what the synthesizer sounds like: varied sounds, and letters of every alphabet's voice.
const PROBE: &str = "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow; \
                     he asked her to choose five good apples.";
const EQUALIZER_STEPS: usize = 14;

impl Timbre {
    pub fn new(synthesizer: Box<dyn Synthesizer>, encoder: Box<dyn SpeakerEncoder>) -> Self {
        let spectrum = Spectrum::new(synthesizer.sample_rate());
        Self { synthesizer, encoder, spectrum, voice: None }
    }

    /// The best of a few vocal-tract lengths, by ear of the encoder.
    fn choose_warp(
        &mut self,
        probe: &Audio,
        speaker: &Speaker,
        watch: &mut Watch<'_>,
    ) -> Result<Voice, EngineError> {
        let mut best: Option<(f32, Voice)> = None;
        let mut tried = Vec::new();
        let mut round = Warp::COARSE.to_vec();
        while let Some(warp) = round.pop() {
            watch.step()?;
            tried.push(warp);
            let voice = self.voice_with(warp, probe, speaker)?;
            let clone = voice.reshape(&self.spectrum, &warp.apply(probe));
            let likeness = crate::speaker::similarity(&self.encoder.embed(&clone)?, &speaker.vector);
            if best.as_ref().is_none_or(|(most, _)| *most < likeness) {
                best = Some((likeness, voice));
            }
            if round.is_empty()
                && let Some((_, best)) = &best
            {
                round.extend(best.warp.neighbours().filter(|warp| !tried.contains(warp)));
            }
        }
        best.map(|(_, voice)| voice).ok_or_else(no_speech)
    }

    fn voice_with(&self, warp: Warp, probe: &Audio, speaker: &Speaker) -> Result<Voice, EngineError> {
        let probe = warp.apply(probe);
        let pitch = Pitch::track(&probe);
        let melody = Melody { from: pitch.statistics(), to: speaker.melody };
        let (moved, pitch) = melody.apply(&probe, pitch);
        let source = self.spectrum.analyse(&moved, &pitch);
        let mapping = Mapping::learn(&speaker.frames, &source).ok_or_else(no_speech)?;
        Ok(Voice { warp, melody, mapping, equalizer: Equalizer::flat().gains() })
    }

    /// Climbs from a flat equalizer and keeps the best point on the way.
    fn fit_equalizer(
        &mut self,
        voice: &mut Voice,
        probe: &Audio,
        speaker: &Speaker,
        watch: &mut Watch<'_>,
    ) -> Result<(), EngineError> {
        let (moved, gains) = voice.mapped(&self.spectrum, &voice.warp.apply(probe));
        let mut equalizer = Equalizer::flat();
        let mut best = 0.0;
        for _ in 0..EQUALIZER_STEPS {
            watch.step()?;
            let clone = self.spectrum.filter(&moved, &raised(&gains, &equalizer.gains()));
            let sensitivity = self.encoder.sensitivity(&clone, &speaker.vector)?;
            if best < sensitivity.similarity {
                best = sensitivity.similarity;
                voice.equalizer = equalizer.gains();
            }
            equalizer.climb(&sensitivity);
        }
        tracing::debug!(warp = voice.warp.factor(), likeness = best, "learnt a voice");
        Ok(())
    }
}

impl Cloner for Timbre {
    fn name(&self) -> &'static str {
        "timbre"
    }

    fn learn(&mut self, reference: &Audio, observer: &mut dyn Observer) -> Result<(), EngineError> {
        let mut watch = Watch { observer, done: 0 };
        watch.step()?;
        let speaker =
            Speaker::study(reference, &self.spectrum, self.synthesizer.as_mut(), self.encoder.as_mut())?;
        watch.step()?;
        let probe = self.synthesizer.synthesize(PROBE, 1.0)?;
        let mut voice = self.choose_warp(&probe, &speaker, &mut watch)?;
        self.fit_equalizer(&mut voice, &probe, &speaker, &mut watch)?;
        self.voice = Some(voice);
        watch.observer.progress(1.0);
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
        let spoken = self.synthesizer.synthesize(text, speed / voice.warp.factor())?;
        Ok(voice.reshape(&self.spectrum, &voice.warp.apply(&spoken)))
    }
}

/// What the reference says of its speaker.
struct Speaker {
    vector: Vec<f32>,
    melody: Option<PitchStatistics>,
    frames: Vec<Frame>,
}

impl Speaker {
    fn study(
        reference: &Audio,
        spectrum: &Spectrum,
        synthesizer: &mut dyn Synthesizer,
        encoder: &mut dyn SpeakerEncoder,
    ) -> Result<Self, EngineError> {
        let length = reference.samples.len().min(REFERENCE_SECONDS * reference.sample_rate as usize);
        let reference =
            Audio { sample_rate: reference.sample_rate, samples: reference.samples[..length].to_vec() };
        let vector = encoder.embed(&reference)?;
        let reference = resample(&reference, synthesizer.sample_rate());
        let pitch = Pitch::track(&reference);
        let melody = pitch.statistics();
        let frames = spectrum.analyse(&reference, &pitch);
        if !frames.iter().any(|frame| frame.voiced) {
            return Err(no_speech());
        }
        Ok(Self { vector, melody, frames })
    }
}

impl Voice {
    /// `warped` speech of the synthesizer in the speaker's voice, as loud as it was.
    fn reshape(&self, spectrum: &Spectrum, warped: &Audio) -> Audio {
        let (moved, gains) = self.mapped(spectrum, warped);
        let mut clone = spectrum.filter(&moved, &raised(&gains, &self.equalizer));
        restore_level(&mut clone.samples, &warped.samples);
        clone
    }

    /// The speech with the speaker's melody, and the gains that give it the speaker's envelope.
    fn mapped(&self, spectrum: &Spectrum, warped: &Audio) -> (Audio, Vec<Envelope>) {
        let (moved, pitch) = self.melody.apply(warped, Pitch::track(warped));
        let frames = spectrum.analyse(&moved, &pitch);
        let gains = self.mapping.gains(&frames);
        (moved, gains)
    }
}

/// Moves mean and spread of the log pitch from one speaker's to another's.
#[derive(Clone, Copy)]
struct Melody {
    from: Option<PitchStatistics>,
    to: Option<PitchStatistics>,
}

impl Melody {
    fn apply(&self, audio: &Audio, mut pitch: Pitch) -> (Audio, Pitch) {
        let (Some(from), Some(to)) = (self.from, self.to) else {
            return (audio.clone(), pitch);
        };
        // A reference read flatly must not make a robot, nor a lively one a yodeller.
        let spread = (to.deviation / from.deviation).clamp(0.5, 1.4);
        let ratio = |hertz: f32| {
            let wanted = to.mean + (hertz.ln() - from.mean) * spread;
            (wanted.exp() / hertz).clamp(0.4, 3.0)
        };
        let moved = psola::move_pitch(audio, &pitch, ratio);
        for hertz in pitch.hertz.iter_mut().filter(|hertz| 0.0 < **hertz) {
            *hertz *= ratio(*hertz);
        }
        (moved, pitch)
    }
}

/// A change of vocal-tract length in 25ths (rates of synthesizers divide by 25): above 25 a shorter one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Warp(u32);

impl Warp {
    const NONE: u32 = 25;
    const COARSE: [Self; 5] = [Self(21), Self(23), Self(25), Self(28), Self(31)];

    fn factor(self) -> f32 {
        self.0 as f32 / Self::NONE as f32
    }

    fn neighbours(self) -> impl Iterator<Item = Self> {
        [Self(self.0 - 1), Self(self.0 + 1)].into_iter()
    }

    /// Formants and pitch times the factor, duration divided by it: sound played faster or slower.
    fn apply(self, audio: &Audio) -> Audio {
        let played =
            Audio { sample_rate: audio.sample_rate * self.0 / Self::NONE, samples: audio.samples.clone() };
        resample(&played, audio.sample_rate)
    }
}

/// Reports each step of learning and ends it when told.
struct Watch<'a> {
    observer: &'a mut dyn Observer,
    done: usize,
}

impl Watch<'_> {
    fn step(&mut self) -> Result<(), EngineError> {
        const STEPS: usize = 2 + Warp::COARSE.len() + 2 + EQUALIZER_STEPS;
        if self.observer.cancelled() {
            return Err(EngineError::Cancelled);
        }
        self.observer.progress((self.done as f32 / STEPS as f32).min(1.0));
        self.done += 1;
        Ok(())
    }
}

fn raised(gains: &[Envelope], equalizer: &Envelope) -> Vec<Envelope> {
    gains.iter().map(|gain| std::array::from_fn(|band| gain[band] + equalizer[band])).collect()
}

/// Gives `samples` the energy of `model`, or less where a sample would clip.
fn restore_level(samples: &mut [f32], model: &[f32]) {
    const PEAK: f32 = 0.95;
    let energy = |samples: &[f32]| samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
    let peak = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    let (own, wanted) = (energy(samples), energy(model));
    if 0.0 < own && 0.0 < peak {
        let gain = ((wanted / own).sqrt() as f32).min(PEAK / peak);
        samples.iter_mut().for_each(|sample| *sample *= gain);
    }
}

fn no_speech() -> EngineError {
    EngineError::Input("The voice sample holds no speech.".into())
}

#[cfg(test)]
mod tests;
