//! The last step to a speaker: a smooth, constant equalizer, found by asking the speaker encoder which bands to raise
//! and which to lower.

use super::mapping::smooth_over_bands;
use super::spectrum::{BANDS, Envelope, place_of};
use crate::Sensitivity;

/// Climbs towards a likeness of 1 (Adam's steps, smoothed over the bands).
pub(super) struct Equalizer {
    /// Before smoothing, in nepers.
    free: Envelope,
    mean: Envelope,
    square: Envelope,
    steps: i32,
}

const STEP: f32 = 0.16;
/// Largest gain of a band in nepers; more would cost words.
const LARGEST_GAIN: f32 = 1.4;
const MEAN_DECAY: f32 = 0.7;
const SQUARE_DECAY: f32 = 0.9;

impl Equalizer {
    pub(super) fn flat() -> Self {
        Self { free: [0.0; BANDS], mean: [0.0; BANDS], square: [0.0; BANDS], steps: 0 }
    }

    /// In nepers per band.
    pub(super) fn gains(&self) -> Envelope {
        smooth_over_bands(&smooth_over_bands(&self.free))
    }

    /// One step in the direction in which likeness grows.
    pub(super) fn climb(&mut self, sensitivity: &Sensitivity) {
        self.steps += 1;
        let gradient = smooth_over_bands(&smooth_over_bands(&on_our_bands(sensitivity)));
        for (band, slope) in gradient.into_iter().enumerate() {
            self.mean[band] = MEAN_DECAY * self.mean[band] + (1.0 - MEAN_DECAY) * slope;
            self.square[band] = SQUARE_DECAY * self.square[band] + (1.0 - SQUARE_DECAY) * slope * slope;
            let mean = self.mean[band] / (1.0 - MEAN_DECAY.powi(self.steps));
            let square = self.square[band] / (1.0 - SQUARE_DECAY.powi(self.steps));
            let step = STEP * mean / (square.sqrt() + 2e-4);
            self.free[band] = (self.free[band] + step).clamp(-LARGEST_GAIN, LARGEST_GAIN);
        }
    }
}

/// The encoder's bands are others than ours: each one's slope goes to the two of ours around it.
fn on_our_bands(sensitivity: &Sensitivity) -> Envelope {
    let mut slopes = [0.0; BANDS];
    for band in &sensitivity.bands {
        let place = place_of(band.hertz).clamp(0.0, (BANDS - 1) as f32);
        let below = (place as usize).min(BANDS - 2);
        let share = place - below as f32;
        slopes[below] += band.slope * (1.0 - share);
        slopes[below + 1] += band.slope * share;
    }
    slopes
}
