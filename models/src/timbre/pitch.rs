//! The melody of speech: its fundamental frequency every 5 ms, by YIN's difference function and the smoothest path
//! through its candidates.

use crate::audio::{Audio, resample};

/// Fundamental frequency per [`STEP`], 0 where there is none.
pub(super) struct Pitch {
    pub(super) hertz: Vec<f32>,
}

/// In seconds.
pub(super) const STEP: f64 = 0.005;
const LOWEST: f32 = 60.0;
const HIGHEST: f32 = 500.0;
/// Enough for 500 Hz, and a quarter of the work.
const ANALYSIS_RATE: u32 = 11_025;
/// Samples compared at each lag, 25 ms.
const WINDOW: usize = 276;
const CANDIDATES: usize = 5;
/// What it costs to call a frame unvoiced; a periodic frame's difference is far below, noise's above.
const UNVOICED_COST: f32 = 0.36;
const VOICING_CHANGE_COST: f32 = 0.12;
/// Per octave between neighbouring frames.
const JUMP_COST: f32 = 1.2;

impl Pitch {
    pub(super) fn track(audio: &Audio) -> Self {
        let samples = resample(audio, ANALYSIS_RATE).samples;
        let frames = (audio.duration() / STEP) as usize + 1;
        let loudest = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        let candidates: Vec<Vec<Candidate>> =
            (0..frames).map(|frame| frame_candidates(&samples, frame, loudest)).collect();
        Self { hertz: smoothest_path(&candidates) }
    }

    /// At `seconds` from the start.
    pub(super) fn at(&self, seconds: f64) -> f32 {
        let frame = (seconds / STEP).round() as usize;
        self.hertz.get(frame.min(self.hertz.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    /// Mean and standard deviation of the natural logarithm over voiced frames, octave errors left out; none
    /// for sound without voice.
    pub(super) fn statistics(&self) -> Option<PitchStatistics> {
        let mut logarithms: Vec<f32> =
            self.hertz.iter().filter(|hertz| 0.0 < **hertz).map(|hertz| hertz.ln()).collect();
        logarithms.sort_by(f32::total_cmp);
        let median = *logarithms.get(logarithms.len() / 2)?;
        logarithms.retain(|logarithm| (logarithm - median).abs() < 0.6);
        let count = logarithms.len() as f32;
        let mean = logarithms.iter().sum::<f32>() / count;
        let variance = logarithms.iter().map(|logarithm| (logarithm - mean).powi(2)).sum::<f32>() / count;
        Some(PitchStatistics { mean, deviation: variance.sqrt().max(0.02) })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PitchStatistics {
    pub(super) mean: f32,
    pub(super) deviation: f32,
}

#[derive(Clone, Copy)]
struct Candidate {
    /// 0 is unvoiced.
    hertz: f32,
    cost: f32,
}

fn frame_candidates(samples: &[f32], frame: usize, loudest: f32) -> Vec<Candidate> {
    let mut candidates = vec![Candidate { hertz: 0.0, cost: UNVOICED_COST }];
    let shortest = (ANALYSIS_RATE as f32 / HIGHEST) as usize;
    let longest = (ANALYSIS_RATE as f32 / LOWEST) as usize + 1;
    let centre = (frame as f64 * STEP * f64::from(ANALYSIS_RATE)) as usize;
    let Some(start) = centre.checked_sub((WINDOW + longest) / 2) else { return candidates };
    let Some(frame) = samples.get(start..start + WINDOW + longest) else { return candidates };
    let level = frame.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    if level < 0.01 * loudest || level == 0.0 {
        return candidates;
    }
    let normalised = normalised_differences(frame, longest);
    for lag in shortest.max(1)..longest {
        let (before, here, after) = (normalised[lag - 1], normalised[lag], normalised[lag + 1]);
        if here <= before && here < after && here < 0.7 {
            let curve = before - 2.0 * here + after;
            let shift = if 0.0 < curve { 0.5 * (before - after) / curve } else { 0.0 };
            // The multiples of a period fit as well as the period; a hair in favour of the shortest.
            let cost = here + 0.02 * (lag as f32 / shortest as f32).log2();
            candidates.push(Candidate { hertz: ANALYSIS_RATE as f32 / (lag as f32 + shift), cost });
        }
    }
    candidates[1..].sort_by(|one, other| one.cost.total_cmp(&other.cost));
    candidates.truncate(CANDIDATES + 1);
    candidates
}

/// YIN's cumulative mean normalised difference at lags 0 to `longest`: 0 where the frame repeats itself.
fn normalised_differences(frame: &[f32], longest: usize) -> Vec<f32> {
    let mut normalised = vec![1.0; longest + 1];
    let mut sum = 0.0;
    for (lag, value) in normalised.iter_mut().enumerate().skip(1) {
        let pairs = frame[..WINDOW].iter().zip(&frame[lag..lag + WINDOW]);
        let difference: f32 = pairs.map(|(now, later)| (now - later).powi(2)).sum();
        sum += difference;
        *value = if 0.0 < sum { difference * lag as f32 / sum } else { 1.0 };
    }
    normalised
}

/// Viterbi's path: the candidates whose own costs and jumps sum to the least.
fn smoothest_path(candidates: &[Vec<Candidate>]) -> Vec<f32> {
    let Some(first) = candidates.first() else { return Vec::new() };
    let mut costs: Vec<f32> = first.iter().map(|candidate| candidate.cost).collect();
    let mut origins: Vec<Vec<usize>> = Vec::with_capacity(candidates.len());
    for pair in candidates.windows(2) {
        let mut next_costs = Vec::with_capacity(pair[1].len());
        let mut from = Vec::with_capacity(pair[1].len());
        for candidate in &pair[1] {
            let reached = pair[0].iter().zip(&costs).map(|(last, cost)| cost + jump_cost(last, candidate));
            let (origin, cost) = reached
                .enumerate()
                .min_by(|one, other| one.1.total_cmp(&other.1))
                .expect("Every frame has its unvoiced candidate. This is a bug.");
            next_costs.push(cost + candidate.cost);
            from.push(origin);
        }
        costs = next_costs;
        origins.push(from);
    }
    let last = costs.iter().enumerate().min_by(|one, other| one.1.total_cmp(other.1));
    let mut at = last.map_or(0, |(at, _)| at);
    let mut path = vec![0.0; candidates.len()];
    for frame in (0..candidates.len()).rev() {
        path[frame] = candidates[frame][at].hertz;
        if 0 < frame {
            at = origins[frame - 1][at];
        }
    }
    path
}

fn jump_cost(from: &Candidate, to: &Candidate) -> f32 {
    match (0.0 < from.hertz, 0.0 < to.hertz) {
        (true, true) => JUMP_COST * (to.hertz / from.hertz).log2().abs(),
        (false, false) => 0.0,
        (true, false) | (false, true) => VOICING_CHANGE_COST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_gliding_voice_and_leaves_noise_alone() {
        let rate = 22_050;
        let mut phase = 0.0f32;
        let mut noise = 1u32;
        let samples = (0..rate * 2)
            .map(|n| {
                let seconds = n as f32 / rate as f32;
                phase += (120.0 + 60.0 * seconds) / rate as f32;
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if seconds < 1.0 {
                    (1..12).map(|k| (phase * k as f32 * std::f32::consts::TAU).sin() / k as f32).sum::<f32>()
                        * 0.2
                } else {
                    (noise >> 8) as f32 / (1 << 24) as f32 * 0.2 - 0.1
                }
            })
            .collect();
        let pitch = Pitch::track(&Audio { sample_rate: rate as u32, samples });
        for tenth in 1..9 {
            let seconds = f64::from(tenth) * 0.1;
            let expected = 120.0 + 60.0 * seconds as f32;
            let got = pitch.at(seconds);
            assert!((got / expected - 1.0).abs() < 0.02, "{got} for {expected} at {seconds}");
        }
        let voiced = pitch.hertz[220..].iter().filter(|hertz| 0.0 < **hertz).count();
        assert!(voiced < 20, "{voiced} frames of noise");
    }
}
