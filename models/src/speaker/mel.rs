//! Mel frames exactly as librosa makes them by default (Slaney's scale and norm, power, centred), since the encoder's
//! weights expect no others.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

pub(super) const MEL_BANDS: usize = 40;
/// Samples from one frame to the next, 10 ms.
pub(super) const FRAME: usize = 160;
const FFT_SIZE: usize = 400;
const SAMPLE_RATE: f32 = 16_000.0;

pub(super) struct MelSpectrogram {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    filters: Vec<Vec<f32>>,
}

impl MelSpectrogram {
    pub(super) fn new() -> Self {
        let window = (0..FFT_SIZE).map(|n| 0.5 - 0.5 * (TAU * n as f32 / FFT_SIZE as f32).cos()).collect();
        Self { fft: RealFftPlanner::new().plan_fft_forward(FFT_SIZE), window, filters: filters() }
    }

    /// The middle of each band, in hertz.
    pub(super) fn centres(&self) -> impl Iterator<Item = f32> {
        points().into_iter().skip(1).take(MEL_BANDS)
    }

    /// One row of [`MEL_BANDS`] powers per 10 ms of `samples` (16 kHz), and one more.
    pub(super) fn compute(&self, samples: &[f32]) -> Vec<f32> {
        let mut padded = vec![0.0; FFT_SIZE / 2];
        padded.extend_from_slice(samples);
        padded.resize(padded.len() + FFT_SIZE / 2, 0.0);
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut mels = Vec::with_capacity((samples.len() / FRAME + 1) * MEL_BANDS);
        for start in (0..=samples.len()).step_by(FRAME) {
            let frame = &padded[start..start + FFT_SIZE];
            let mut frame: Vec<f32> =
                frame.iter().zip(&self.window).map(|(sample, weight)| sample * weight).collect();
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("The buffers were made for this transform. This is a bug.");
            let powers: Vec<f32> = spectrum.iter().map(|bin| bin.norm_sqr()).collect();
            let band = |filter: &Vec<f32>| {
                filter.iter().zip(&powers).map(|(weight, power)| weight * power).sum::<f32>()
            };
            mels.extend(self.filters.iter().map(band));
        }
        mels
    }
}

/// The edges of the triangles: band `n` rises from point `n`, peaks at `n + 1` and falls to `n + 2`.
fn points() -> Vec<f32> {
    let top = mel_of(SAMPLE_RATE / 2.0);
    (0..MEL_BANDS + 2).map(|n| hertz_of(top * n as f32 / (MEL_BANDS + 1) as f32)).collect()
}

/// Triangles of equal area between neighbouring points of the mel scale.
fn filters() -> Vec<Vec<f32>> {
    let triangle = |edges: &[f32]| {
        let bins = 0..=FFT_SIZE / 2;
        bins.map(|bin| {
            let hertz = bin as f32 * SAMPLE_RATE / FFT_SIZE as f32;
            let rising = (hertz - edges[0]) / (edges[1] - edges[0]);
            let falling = (edges[2] - hertz) / (edges[2] - edges[1]);
            rising.min(falling).max(0.0) * 2.0 / (edges[2] - edges[0])
        })
        .collect()
    };
    points().windows(3).map(triangle).collect()
}

/// Slaney's scale is straight up to 1 kHz and logarithmic above.
const BREAK_HERTZ: f32 = 1000.0;
const BREAK_MEL: f32 = 15.0;
const LOG_STEP: f32 = 0.068_751_78;

fn mel_of(hertz: f32) -> f32 {
    if hertz < BREAK_HERTZ {
        hertz * BREAK_MEL / BREAK_HERTZ
    } else {
        BREAK_MEL + (hertz / BREAK_HERTZ).ln() / LOG_STEP
    }
}

fn hertz_of(mel: f32) -> f32 {
    if mel < BREAK_MEL {
        mel * BREAK_HERTZ / BREAK_MEL
    } else {
        BREAK_HERTZ * ((mel - BREAK_MEL) * LOG_STEP).exp()
    }
}
