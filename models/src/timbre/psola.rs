//! Another melody for the same speech: pitch-synchronous overlap-add (PSOLA). Two periods of sound around each pulse
//! of the voice are laid down again at the new distance, which leaves the timbre and the length as they were.

use std::f32::consts::PI;

use super::pitch::Pitch;
use crate::audio::Audio;

/// The same speech with its pitch multiplied by `ratio` of it; sound without pitch stays as it is.
pub(super) fn move_pitch(audio: &Audio, pitch: &Pitch, ratio: impl Fn(f32) -> f32) -> Audio {
    let rate = f64::from(audio.sample_rate);
    let pulses = find_pulses(audio, pitch);
    let mut samples = vec![0.0; audio.samples.len()];
    let mut at = 0.0;
    let mut nearest = 0;
    while (at as usize) < samples.len() && !pulses.is_empty() {
        while nearest + 1 < pulses.len()
            && (pulses[nearest + 1].at as f64 - at).abs() <= (pulses[nearest].at as f64 - at).abs()
        {
            nearest += 1;
        }
        let pulse = &pulses[nearest];
        let factor = if pulse.voiced { ratio((rate / pulse.period) as f32) } else { 1.0 };
        let distance = pulse.period / f64::from(factor);
        // Denser grains would be louder.
        let gain = (1.0 / factor).sqrt();
        lay_grain(audio, pulse, Landing { at: at.round() as usize, gain }, &mut samples);
        at += distance;
    }
    Audio { sample_rate: audio.sample_rate, samples }
}

struct Pulse {
    at: usize,
    /// In samples.
    period: f64,
    voiced: bool,
}

/// Grains of unvoiced sound are this far apart, in seconds.
const UNVOICED_PERIOD: f64 = 0.005;

/// One pulse a period, each at the place where its surroundings look most like the last one's.
fn find_pulses(audio: &Audio, pitch: &Pitch) -> Vec<Pulse> {
    let rate = f64::from(audio.sample_rate);
    let mut pulses: Vec<Pulse> = Vec::new();
    let mut at = 0.0;
    while (at as usize) < audio.samples.len() {
        let hertz = f64::from(pitch.at(at / rate));
        let pulse = if 0.0 < hertz {
            let period = rate / hertz;
            let place = match pulses.last() {
                Some(last) if last.voiced => most_similar(&audio.samples, last.at, period),
                Some(_) | None => strongest(&audio.samples, at as usize, period as usize),
            };
            Pulse { at: place, period, voiced: true }
        } else {
            Pulse { at: at as usize, period: rate * UNVOICED_PERIOD, voiced: false }
        };
        at = pulse.at as f64 + pulse.period;
        pulses.push(pulse);
    }
    pulses
}

fn strongest(samples: &[f32], start: usize, length: usize) -> usize {
    let end = samples.len().min(start + length);
    (start..end).max_by(|one, other| samples[*one].abs().total_cmp(&samples[*other].abs())).unwrap_or(start)
}

/// The place about one period after `last` where the sound is most like that around `last`.
fn most_similar(samples: &[f32], last: usize, period: f64) -> usize {
    let half = (period / 2.0) as usize;
    let expected = last + period as usize;
    let (Some(start), Some(first)) = (last.checked_sub(half), expected.checked_sub(half)) else {
        return expected;
    };
    let reach = (period * 0.15) as usize;
    let Some(model) = samples.get(start..last + half) else { return expected };
    let likeness = |shift: usize| {
        let begin = (first + shift).checked_sub(reach)?;
        let there = samples.get(begin..begin + model.len())?;
        let product: f32 = model.iter().zip(there).map(|(one, other)| one * other).sum();
        let energy: f32 = there.iter().map(|sample| sample * sample).sum();
        Some(product / (energy + 1e-9).sqrt())
    };
    let found = (0..=2 * reach)
        .filter_map(|shift| Some((likeness(shift)?, shift)))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    // Never back to the pulse itself, or the search would not end.
    found.map_or(expected, |(_, shift)| expected + shift - reach).max(last + 1)
}

struct Landing {
    at: usize,
    gain: f32,
}

/// Adds two periods around `pulse`, faded in and out, to `samples`.
fn lay_grain(audio: &Audio, pulse: &Pulse, landing: Landing, samples: &mut [f32]) {
    let half = pulse.period.round().max(1.0) as usize;
    for offset in 0..2 * half {
        let source = (pulse.at + offset).checked_sub(half).and_then(|at| audio.samples.get(at));
        let target = (landing.at + offset).checked_sub(half).and_then(|at| samples.get_mut(at));
        if let (Some(source), Some(target)) = (source, target) {
            let weight = 0.5 - 0.5 * (PI * (offset as f32 + 0.5) / half as f32).cos();
            *target += source * weight * landing.gain;
        }
    }
}
