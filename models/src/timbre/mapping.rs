//! From the synthesizer's spectral envelopes to the speaker's: each frame is drawn towards the frames of the
//! reference that sound most like it, and towards the speaker's mean spectrum.

use std::f32::consts::PI;

use super::spectrum::{BANDS, Envelope, Frame};

/// What is known of a speaker's envelopes, and of the synthesizer's that are to become like them.
pub(super) struct Mapping {
    reference: Vec<ReferenceFrame>,
    source: Cepstra,
    /// Speaker's mean spectrum over the synthesizer's, level apart.
    tilt: Envelope,
}

struct ReferenceFrame {
    description: Description,
    /// The envelope, level apart.
    shape: Envelope,
}

/// Cepstra that tell speech sounds apart, with those of the frames around.
type Description = [f32; CEPSTRA * CONTEXT.len()];
type Cepstrum = [f32; CEPSTRA];

const CEPSTRA: usize = 13;
/// Offset in frames and weight of the neighbours in a description.
const CONTEXT: [(isize, f32); 5] = [(-4, 0.5), (-2, 0.8), (0, 1.0), (2, 0.8), (4, 0.5)];
/// Frames of the reference that make one target.
const NEIGHBOURS: usize = 4;
/// Share of the neighbours in the target; the rest is the mean spectrum, which cannot blur a word.
const NEIGHBOUR_SHARE: f32 = 0.65;
/// Largest change of a band, in nepers of amplitude.
const LARGEST_GAIN: f32 = 2.0;

impl Mapping {
    /// None where either holds no speech.
    pub(super) fn learn(reference: &[Frame], source: &[Frame]) -> Option<Self> {
        let reference_cepstra = Cepstra::of(reference)?;
        let descriptions = reference_cepstra.describe(reference);
        let described = reference.iter().zip(descriptions);
        let spoken = described.filter(|(frame, _)| frame.active);
        let reference_frames =
            spoken.map(|(frame, description)| ReferenceFrame { description, shape: shape(&frame.envelope) });
        let (target_mean, source_mean) = (mean_shape(reference)?, mean_shape(source)?);
        Some(Self {
            reference: reference_frames.collect(),
            source: Cepstra::of(source)?,
            tilt: std::array::from_fn(|band| target_mean[band] - source_mean[band]),
        })
    }

    /// Gains in nepers that bring `frames` of the synthesizer to the speaker.
    pub(super) fn gains(&self, frames: &[Frame]) -> Vec<Envelope> {
        let descriptions = self.source.describe(frames);
        let raw: Vec<Envelope> = frames
            .iter()
            .zip(&descriptions)
            .map(|(frame, description)| {
                let target = self.target_shape(description);
                let own = shape(&frame.envelope);
                std::array::from_fn(|band| {
                    let near = target[band] - own[band];
                    let power = NEIGHBOUR_SHARE * near + (1.0 - NEIGHBOUR_SHARE) * self.tilt[band];
                    power / 2.0
                })
            })
            .collect();
        let mut gains = smooth_over_time(&raw);
        for (gain, frame) in gains.iter_mut().zip(frames) {
            *gain = smooth_over_bands(gain);
            // In pauses there is no speech to shape; only the mean tilt, so that their noise does not flutter.
            for (value, tilt) in gain.iter_mut().zip(&self.tilt) {
                let wanted = if frame.active { *value } else { 0.5 * tilt };
                *value = wanted.clamp(-LARGEST_GAIN, LARGEST_GAIN);
            }
        }
        gains
    }

    /// Mean shape of the reference frames nearest to `description`, nearer ones counting more.
    fn target_shape(&self, description: &Description) -> Envelope {
        let mut nearest: Vec<(f32, &ReferenceFrame)> = Vec::with_capacity(NEIGHBOURS + 1);
        for frame in &self.reference {
            let distance = distance(description, &frame.description);
            if nearest.len() < NEIGHBOURS || nearest.last().is_some_and(|last| distance < last.0) {
                let place = nearest.partition_point(|(other, _)| *other <= distance);
                nearest.insert(place, (distance, frame));
                nearest.truncate(NEIGHBOURS);
            }
        }
        let closest = nearest.first().map_or(0.0, |(distance, _)| *distance);
        let mut target = [0.0; BANDS];
        let mut total = 0.0;
        for (distance, frame) in nearest {
            let weight = (-2.0 * (distance - closest) / (closest + 1.0)).exp();
            total += weight;
            for (sum, value) in target.iter_mut().zip(&frame.shape) {
                *sum += weight * value;
            }
        }
        target.map(|sum| sum / f32::max(total, f32::MIN_POSITIVE))
    }
}

fn distance(one: &Description, other: &Description) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum()
}

/// Mean and spread of a speaker's cepstra; with both taken away, two speakers' sounds can be compared.
struct Cepstra {
    mean: Cepstrum,
    deviation: Cepstrum,
}

impl Cepstra {
    fn of(frames: &[Frame]) -> Option<Self> {
        let spoken: Vec<Cepstrum> =
            frames.iter().filter(|frame| frame.active).map(|frame| cepstrum(&frame.envelope)).collect();
        if spoken.is_empty() {
            return None;
        }
        let count = spoken.len() as f32;
        let mean: Cepstrum =
            std::array::from_fn(|index| spoken.iter().map(|values| values[index]).sum::<f32>() / count);
        let deviation = std::array::from_fn(|index| {
            let squares = spoken.iter().map(|values| (values[index] - mean[index]).powi(2));
            (squares.sum::<f32>() / count).sqrt().max(1e-3)
        });
        Some(Self { mean, deviation })
    }

    fn describe(&self, frames: &[Frame]) -> Vec<Description> {
        let cepstra: Vec<Cepstrum> = frames
            .iter()
            .map(|frame| {
                let raw = cepstrum(&frame.envelope);
                std::array::from_fn(|index| (raw[index] - self.mean[index]) / self.deviation[index])
            })
            .collect();
        let cepstra = smooth_over_time(&cepstra);
        let last = cepstra.len().saturating_sub(1);
        (0..cepstra.len())
            .map(|at| {
                let mut description = [0.0; CEPSTRA * CONTEXT.len()];
                for (part, (offset, weight)) in description.chunks_exact_mut(CEPSTRA).zip(CONTEXT) {
                    let around = &cepstra[at.saturating_add_signed(offset).min(last)];
                    for (value, cepstrum) in part.iter_mut().zip(around) {
                        *value = cepstrum * weight;
                    }
                }
                description
            })
            .collect()
    }
}

/// Discrete cosine transform of the envelope, its level (the zeroth) left out.
fn cepstrum(envelope: &Envelope) -> Cepstrum {
    std::array::from_fn(|index| {
        let turn = PI * (index + 1) as f32 / BANDS as f32;
        let terms =
            envelope.iter().enumerate().map(|(band, value)| value * (turn * (band as f32 + 0.5)).cos());
        terms.sum::<f32>() * (2.0 / BANDS as f32).sqrt()
    })
}

fn shape(envelope: &Envelope) -> Envelope {
    let level = envelope.iter().sum::<f32>() / BANDS as f32;
    envelope.map(|value| value - level)
}

fn mean_shape(frames: &[Frame]) -> Option<Envelope> {
    let voiced: Vec<Envelope> =
        frames.iter().filter(|frame| frame.voiced).map(|frame| shape(&frame.envelope)).collect();
    let count = voiced.len() as f32;
    (!voiced.is_empty())
        .then(|| std::array::from_fn(|band| voiced.iter().map(|shape| shape[band]).sum::<f32>() / count))
}

/// A bell about three frames wide.
const BELL: [f32; 5] = [0.09, 0.24, 0.34, 0.24, 0.09];

fn smooth_over_time<const N: usize>(frames: &[[f32; N]]) -> Vec<[f32; N]> {
    let last = frames.len().saturating_sub(1) as isize;
    (0..frames.len() as isize)
        .map(|at| {
            let mut smooth = [0.0; N];
            for (offset, weight) in (-2..).zip(BELL) {
                let around = &frames[(at + offset).clamp(0, last) as usize];
                for (sum, value) in smooth.iter_mut().zip(around) {
                    *sum += weight * value;
                }
            }
            smooth
        })
        .collect()
}

pub(super) fn smooth_over_bands(envelope: &Envelope) -> Envelope {
    std::array::from_fn(|band| {
        let around = (-2..).zip(BELL).map(|(offset, weight): (isize, f32)| {
            weight * envelope[band.saturating_add_signed(offset).min(BANDS - 1)]
        });
        around.sum()
    })
}
