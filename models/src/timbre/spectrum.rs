//! The short-time spectrum: its envelope in mel bands, and a filter that changes from frame to frame.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::pitch::Pitch;
use crate::audio::Audio;

/// Bands of an envelope, evenly spaced on the mel scale from [`LOWEST`] to [`HIGHEST`].
pub(super) const BANDS: usize = 40;
const LOWEST: f32 = 50.0;
/// Speech of telephone and video recordings holds little above.
const HIGHEST: f32 = 7600.0;

/// Natural logarithm of the power in each band.
pub(super) type Envelope = [f32; BANDS];

/// One frame of an analysed sound.
pub(super) struct Frame {
    pub(super) envelope: Envelope,
    /// Loud enough to be speech.
    pub(super) active: bool,
    pub(super) voiced: bool,
}

/// Short-time Fourier transform for one sample rate.
pub(super) struct Spectrum {
    sample_rate: u32,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    window: Vec<f32>,
    bands: Vec<BandWeights>,
}

struct BandWeights {
    first_bin: usize,
    /// Sum to one.
    weights: Vec<f32>,
}

impl Spectrum {
    pub(super) fn new(sample_rate: u32) -> Self {
        // About 40 ms: two to four periods of most voices.
        let size = (sample_rate as f32 * 0.03) as usize;
        let size = size.next_power_of_two();
        let mut planner = RealFftPlanner::new();
        Self {
            sample_rate,
            forward: planner.plan_fft_forward(size),
            inverse: planner.plan_fft_inverse(size),
            window: (0..size).map(|n| (0.5 - 0.5 * (TAU * n as f32 / size as f32).cos()).sqrt()).collect(),
            bands: band_weights(sample_rate, size),
        }
    }

    fn hop(&self) -> usize {
        self.window.len() / 4
    }

    /// The middle of frame `index`, in seconds.
    fn time(&self, index: usize) -> f64 {
        (index * self.hop()) as f64 / f64::from(self.sample_rate)
    }

    /// The envelopes of `audio`, which `pitch` belongs to.
    pub(super) fn analyse(&self, audio: &Audio, pitch: &Pitch) -> Vec<Frame> {
        let mut totals = Vec::new();
        let mut frames = Vec::new();
        self.each_frame(&audio.samples, |index, spectrum| {
            let mut powers: Vec<f32> = spectrum.iter().map(|bin| bin.norm_sqr()).collect();
            totals.push(powers.iter().sum::<f32>());
            let hertz = pitch.at(self.time(index));
            smooth_harmonics(&mut powers, hertz * self.window.len() as f32 / self.sample_rate as f32);
            let envelope = std::array::from_fn(|band| self.bands[band].log_power(&powers));
            frames.push(Frame { envelope, active: false, voiced: 0.0 < hertz });
        });
        let mut sorted = totals.clone();
        sorted.sort_by(f32::total_cmp);
        // 39 dB below the loud frames.
        let floor = sorted.get(sorted.len() * 19 / 20).map_or(0.0, |loud| loud * 1.2e-4);
        for (frame, total) in frames.iter_mut().zip(totals) {
            frame.active = floor < total;
            frame.voiced &= frame.active;
        }
        frames
    }

    /// `audio` with frame `n` multiplied by `gains[n]`, in nepers per band.
    pub(super) fn filter(&self, audio: &Audio, gains: &[Envelope]) -> Audio {
        let size = self.window.len();
        let mut samples = vec![0.0; audio.samples.len() + 2 * size];
        let mut output = self.inverse.make_output_vec();
        let mut scratch = self.inverse.make_scratch_vec();
        let places = self.bin_places();
        let Some(last_gain) = gains.last() else { return audio.clone() };
        // The squared windows of four frames sum to two; the inverse transform is not normalised.
        let scale = 1.0 / (2.0 * size as f32);
        self.each_frame(&audio.samples, |index, spectrum| {
            let gains = gains.get(index).unwrap_or(last_gain);
            for (bin, (band, share)) in spectrum.iter_mut().zip(&places) {
                let gain = gains[*band] * (1.0 - share) + gains[band + 1] * share;
                *bin *= gain.exp();
            }
            spectrum[0].im = 0.0;
            spectrum[size / 2].im = 0.0;
            self.inverse
                .process_with_scratch(spectrum, &mut output, &mut scratch)
                .expect("The buffers were made for this transform. This is a bug.");
            let start = index * self.hop();
            for ((sample, value), weight) in samples[start..].iter_mut().zip(&output).zip(&self.window) {
                *sample += value * weight * scale;
            }
        });
        let samples = samples[size / 2..size / 2 + audio.samples.len()].to_vec();
        Audio { sample_rate: audio.sample_rate, samples }
    }

    /// Calls `visit` with the spectrum of each frame; frame 0 is centred on the first sample.
    fn each_frame(&self, samples: &[f32], mut visit: impl FnMut(usize, &mut [Complex<f32>])) {
        let size = self.window.len();
        let mut frame = self.forward.make_input_vec();
        let mut spectrum = self.forward.make_output_vec();
        let mut scratch = self.forward.make_scratch_vec();
        for index in 0..=samples.len() / self.hop() + 1 {
            let start = index * self.hop();
            for (offset, (value, weight)) in frame.iter_mut().zip(&self.window).enumerate() {
                let sample = (start + offset).checked_sub(size / 2).and_then(|at| samples.get(at));
                *value = sample.map_or(0.0, |sample| sample * weight);
            }
            self.forward
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("The buffers were made for this transform. This is a bug.");
            visit(index, &mut spectrum);
        }
    }

    /// For each bin the band below it and its share of the next one; bins beyond the bands take the outermost gain.
    fn bin_places(&self) -> Vec<(usize, f32)> {
        let size = self.window.len();
        (0..=size / 2)
            .map(|bin| {
                let place = place_of(bin as f32 * self.sample_rate as f32 / size as f32)
                    .clamp(0.0, (BANDS - 1) as f32);
                let band = (place as usize).min(BANDS - 2);
                (band, place - band as f32)
            })
            .collect()
    }
}

/// The centre of `band` in hertz.
pub(super) fn band_hertz(band: usize) -> f32 {
    let mel = mel_of(LOWEST) + (mel_of(HIGHEST) - mel_of(LOWEST)) * band as f32 / (BANDS - 1) as f32;
    700.0 * ((mel / 1127.0).exp() - 1.0)
}

/// Where `hertz` lies among the bands: 0 at the first, `BANDS - 1` at the last.
pub(super) fn place_of(hertz: f32) -> f32 {
    (mel_of(hertz) - mel_of(LOWEST)) / (mel_of(HIGHEST) - mel_of(LOWEST)) * (BANDS - 1) as f32
}

fn mel_of(hertz: f32) -> f32 {
    1127.0 * (1.0 + hertz / 700.0).ln()
}

impl BandWeights {
    fn log_power(&self, powers: &[f32]) -> f32 {
        let end = powers.len().min(self.first_bin + self.weights.len());
        let powers = &powers[self.first_bin.min(end)..end];
        let power: f32 = self.weights.iter().zip(powers).map(|(weight, power)| weight * power).sum();
        (power + 1e-7).ln()
    }
}

/// Triangles from each band's centre to its neighbours'.
fn band_weights(sample_rate: u32, size: usize) -> Vec<BandWeights> {
    let bin_hertz = sample_rate as f32 / size as f32;
    (0..BANDS)
        .map(|band| {
            let weight = |bin: usize| (1.0 - (place_of(bin as f32 * bin_hertz) - band as f32).abs()).max(0.0);
            let nearest = (band_hertz(band) / bin_hertz).round() as usize;
            let bins: Vec<usize> = (0..=size / 2).filter(|bin| 0.0 < weight(*bin)).collect();
            let Some(&first_bin) = bins.first() else {
                // Low bands can be narrower than a bin.
                return BandWeights { first_bin: nearest.min(size / 2), weights: vec![1.0] };
            };
            let total: f32 = bins.iter().map(|bin| weight(*bin)).sum();
            BandWeights { first_bin, weights: bins.iter().map(|bin| weight(*bin) / total).collect() }
        })
        .collect()
}

/// Averages over one harmonic's width, so that the envelope does not show the pitch.
fn smooth_harmonics(powers: &mut [f32], bins_between_harmonics: f32) {
    let half = (bins_between_harmonics / 2.0).round() as usize;
    if half == 0 {
        return;
    }
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(powers.iter().scan(0.0, |sum, power| {
            *sum += f64::from(*power);
            Some(*sum)
        }))
        .collect();
    let count = powers.len();
    for (bin, power) in powers.iter_mut().enumerate() {
        let (start, end) = (bin.saturating_sub(half), count.min(bin + half + 1));
        *power = ((sums[end] - sums[start]) / (end - start) as f64) as f32;
    }
}
