//! Speech that fits its time: spoken faster where it must be, and begun on the spot.

use crate::EngineError;
use crate::audio::Audio;

/// The time of a segment.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) seconds: f64,
    /// From the segment's start to the next one's; none for the last.
    pub(super) until_next: Option<f64>,
}

pub(super) struct Fitted {
    pub(super) audio: Audio,
    pub(super) rate: f32,
    pub(super) overrun: bool,
}

/// Faster than this, speech sounds hurried.
const FASTEST: f32 = 1.25;
/// Synthesizers follow the speed only roughly, so it is asked for again a few times.
const ATTEMPTS: usize = 3;
/// In seconds.
const FADE: f64 = 0.02;

/// `speak` at `speed`, or up to [`FASTEST`] of it where the slot is too short. What still does not fit runs on to the
/// next segment's start, where it is faded out.
pub(super) fn fit(
    slot: Slot,
    speed: f32,
    mut speak: impl FnMut(f32) -> Result<Audio, EngineError>,
) -> Result<Fitted, EngineError> {
    let mut rate = 1.0;
    let mut audio = speak(speed)?;
    for _ in 0..ATTEMPTS {
        if audio.duration() <= slot.seconds || FASTEST <= rate {
            break;
        }
        // A hair more than needed, or the last attempts would creep up on the slot.
        rate = (rate * 1.01 * (audio.duration() / slot.seconds) as f32).min(FASTEST);
        audio = speak(speed * rate)?;
    }
    let overrun = slot.until_next.is_some_and(|until| until < audio.duration());
    if let Some(until) = slot.until_next.filter(|_| overrun) {
        fade_out(&mut audio, until);
    }
    Ok(Fitted { audio, rate, overrun })
}

fn fade_out(audio: &mut Audio, end: f64) {
    let rate = f64::from(audio.sample_rate);
    audio.samples.truncate((end * rate) as usize);
    let length = audio.samples.len().min((FADE * rate) as usize);
    let start = audio.samples.len() - length;
    for (at, sample) in audio.samples[start..].iter_mut().enumerate() {
        *sample *= 1.0 - at as f32 / length as f32;
    }
}

/// Speech is quieter than its loudest 5 ms by no more than this factor of energy, 38 dB.
const SILENCE: f32 = 1.6e-4;

/// `audio` without the silence around its speech, but for 5 ms before and 30 ms after.
pub(super) fn speech(audio: &Audio) -> &[f32] {
    let block = (audio.sample_rate as usize / 200).max(1);
    let energies: Vec<f32> =
        audio.samples.chunks(block).map(|block| block.iter().map(|sample| sample * sample).sum()).collect();
    let floor = energies.iter().fold(0.0f32, |loudest, energy| loudest.max(*energy)) * SILENCE;
    let first = energies.iter().position(|energy| floor < *energy).unwrap_or(0);
    let last = energies.iter().rposition(|energy| floor < *energy).unwrap_or(0);
    let start = first.saturating_sub(1) * block;
    let end = audio.samples.len().min((last + 7) * block);
    &audio.samples[start.min(end)..end]
}
