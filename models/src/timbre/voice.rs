//! A learnt voice: what must be done to the synthesizer's speech to make it the speaker's.

use super::mapping::Mapping;
use super::pitch::{Pitch, PitchStatistics};
use super::psola;
use super::spectrum::{Envelope, Frame, Spectrum};
use crate::audio::{Audio, resample};

pub(super) struct Voice {
    pub(super) warp: Warp,
    pub(super) melody: Melody,
    pub(super) mapping: Mapping,
    /// In nepers per band, on top of the mapping.
    pub(super) equalizer: Envelope,
}

impl Voice {
    /// Speech of the synthesizer in the speaker's voice, as loud as it was.
    pub(super) fn reshape(&self, spectrum: &Spectrum, speech: &Audio) -> Audio {
        let sung = self.melody.apply(spectrum, &Warped::new(self.warp, speech));
        self.colour(spectrum, &sung)
    }

    /// Gives speech that has the speaker's melody the speaker's spectrum too.
    pub(super) fn colour(&self, spectrum: &Spectrum, sung: &Sung) -> Audio {
        let mut gains = self.mapping.gains(&sung.frames);
        for gain in &mut gains {
            *gain = std::array::from_fn(|band| gain[band] + self.equalizer[band]);
        }
        let mut clone = spectrum.filter(&sung.audio, &gains);
        restore_level(&mut clone.samples, &sung.audio.samples);
        clone
    }
}

/// A change of vocal-tract length in 25ths (rates of synthesizers divide by 25): above 25 a shorter one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Warp(pub(super) u32);

impl Warp {
    const NONE: u32 = 25;
    /// From the longest vocal tract among adults to the shortest, roughly.
    pub(super) const COARSE: [Self; 5] = [Self(21), Self(23), Self(25), Self(28), Self(31)];

    pub(super) fn factor(self) -> f32 {
        self.0 as f32 / Self::NONE as f32
    }

    pub(super) fn neighbours(self) -> [Self; 2] {
        [Self(self.0 - 1), Self(self.0 + 1)]
    }
}

/// Speech with its vocal tract changed, and its pitch.
pub(super) struct Warped {
    audio: Audio,
    pitch: Pitch,
}

impl Warped {
    /// Formants and pitch times the factor, duration divided by it: sound played faster or slower.
    pub(super) fn new(warp: Warp, speech: &Audio) -> Self {
        let sample_rate = speech.sample_rate * warp.0 / Warp::NONE;
        let played = Audio { sample_rate, samples: speech.samples.clone() };
        let audio = resample(&played, speech.sample_rate);
        let pitch = Pitch::track(&audio);
        Self { audio, pitch }
    }

    pub(super) fn pitch_statistics(&self) -> Option<PitchStatistics> {
        self.pitch.statistics()
    }
}

/// Moves mean and spread of the log pitch from one speaker's to another's.
#[derive(Clone, Copy)]
pub(super) struct Melody {
    pub(super) from: Option<PitchStatistics>,
    pub(super) to: Option<PitchStatistics>,
}

/// Speech with the speaker's melody, analysed.
pub(super) struct Sung {
    pub(super) audio: Audio,
    pub(super) frames: Vec<Frame>,
}

impl Melody {
    /// The same with its mean raised by `octaves`.
    pub(super) fn raised(self, octaves: f32) -> Self {
        let to = self.to.map(|to| PitchStatistics { mean: to.mean + octaves * std::f32::consts::LN_2, ..to });
        Self { to, ..self }
    }

    pub(super) fn apply(&self, spectrum: &Spectrum, warped: &Warped) -> Sung {
        let (Some(from), Some(to)) = (self.from, self.to) else {
            return Sung {
                audio: warped.audio.clone(),
                frames: spectrum.analyse(&warped.audio, &warped.pitch),
            };
        };
        // A reference read flatly must not make a robot, nor a lively one a yodeller.
        let spread = (to.deviation / from.deviation).clamp(0.5, 1.4);
        let ratio = |hertz: f32| {
            let wanted = to.mean + (hertz.ln() - from.mean) * spread;
            (wanted.exp() / hertz).clamp(0.4, 3.0)
        };
        let audio = psola::move_pitch(&warped.audio, &warped.pitch, ratio);
        let moved = |hertz: &f32| if 0.0 < *hertz { hertz * ratio(*hertz) } else { 0.0 };
        let pitch = Pitch { hertz: warped.pitch.hertz.iter().map(moved).collect() };
        let frames = spectrum.analyse(&audio, &pitch);
        Sung { audio, frames }
    }
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
