//! Loudness as people hear it (ITU-R BS.1770), so that a cloned voice is as loud as the one it stands in for.

use anyhow::Context;
use ebur128::{EbuR128, Mode};

use crate::EngineError;

/// Measures a stream of mono sound of any length in constant memory.
pub struct Meter {
    meter: EbuR128,
    peak: f32,
}

impl Meter {
    /// For sound of `sample_rate` hertz.
    pub fn new(sample_rate: u32) -> Result<Self, EngineError> {
        // The histogram keeps the gating blocks in constant memory however long the sound is.
        let meter = EbuR128::new(1, sample_rate, Mode::I | Mode::HISTOGRAM).context("loudness meter")?;
        Ok(Self { meter, peak: 0.0 })
    }

    pub fn add(&mut self, samples: &[f32]) -> Result<(), EngineError> {
        self.peak = samples.iter().fold(self.peak, |peak, sample| peak.max(sample.abs()));
        Ok(self.meter.add_frames_f32(samples).context("loudness meter")?)
    }

    /// Integrated loudness of all so far in LUFS; none where all of it is silence or it is shorter than 0.4 s.
    pub fn integrated_lufs(&self) -> Result<Option<f64>, EngineError> {
        let lufs = self.meter.loudness_global().context("loudness meter")?;
        Ok(lufs.is_finite().then_some(lufs))
    }

    /// Largest magnitude of a sample so far.
    pub fn peak(&self) -> f32 {
        self.peak
    }
}

/// Integrated loudness of `samples` in LUFS; none for silence or less than 0.4 s.
pub fn integrated_lufs(samples: &[f32], sample_rate: u32) -> Result<Option<f64>, EngineError> {
    let mut meter = Meter::new(sample_rate)?;
    meter.add(samples)?;
    meter.integrated_lufs()
}

/// The factor that brings sound of `lufs` to `target_lufs`, or as near as `peak` can be raised without passing
/// `peak_limit`.
pub fn matching_gain(lufs: f64, target_lufs: f64, peak: f32, peak_limit: f32) -> f32 {
    let wanted = 10f64.powf((target_lufs - lufs) / 20.0) as f32;
    if 0.0 < peak { wanted.min(peak_limit / peak) } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32, seconds: usize) -> Vec<f32> {
        let rate = 48_000;
        (0..rate * seconds)
            .map(|n| amplitude * (n as f32 * 1000.0 / rate as f32 * std::f32::consts::TAU).sin())
            .collect()
    }

    #[test]
    fn a_known_tone_has_its_known_loudness() {
        // BS.1770: a 1 kHz sine of full scale in one channel is -3.01 LUFS.
        let lufs = integrated_lufs(&tone(0.1, 5), 48_000).unwrap().unwrap();
        assert!((lufs + 23.0).abs() < 0.1, "{lufs}");
        assert_eq!(integrated_lufs(&[0.0; 48_000], 48_000).unwrap(), None);
    }

    #[test]
    fn gain_reaches_the_target_unless_the_peak_forbids() {
        assert!((matching_gain(-23.0, -17.0, 0.1, 0.9) - 1.995).abs() < 0.01);
        assert_eq!(matching_gain(-23.0, -3.0, 0.5, 0.9), 1.8);
    }
}
