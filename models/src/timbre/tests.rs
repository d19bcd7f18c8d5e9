//! How near clones come to speakers of LibriSpeech, by recordings that they were not learnt from.

use std::time::Instant;

use super::*;
use crate::Unwatched;
use crate::speaker::tests::{SPEAKERS, encoder, utterance};
use crate::speaker::{similarity, unit};

const TEXT: &str = "The committee will meet again on Thursday morning to decide how the money should be spent. \
                    Please bring your own notes, and do not forget the map of the old harbour.";

#[test]
fn clones_are_near_to_other_recordings_of_their_speakers() {
    let Some(mut judge) = encoder() else { return };
    let mut total = 0.0;
    for speaker in SPEAKERS {
        let Some(voice) = crate::piper::tests::joe() else { return };
        let Some(own) = encoder() else { return };
        let recording = |part: usize| utterance(&format!("{speaker}-000{part}.flac"));
        let (Some(first), Some(second), Some(third), Some(fourth)) =
            (recording(0), recording(1), recording(2), recording(3))
        else {
            return;
        };
        let reference = Audio { sample_rate: 16_000, samples: [first.samples, second.samples].concat() };
        let mut timbre = Timbre::new(Box::new(voice), Box::new(own));
        let start = Instant::now();
        timbre.learn(&reference, &mut Unwatched).unwrap();
        let learning = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let clone = timbre.speak(TEXT, 1.0).unwrap();
        let real_time_factor = start.elapsed().as_secs_f64() / clone.duration();
        assert!(clone.samples.iter().all(|sample| sample.is_finite() && sample.abs() < 1.0));

        let held_back = [judge.embed(&third).unwrap(), judge.embed(&fourth).unwrap()];
        let held_back =
            unit(held_back[0].iter().zip(&held_back[1]).map(|(one, other)| one + other).collect());
        let likeness = similarity(&judge.embed(&clone).unwrap(), &held_back);
        println!(
            "{speaker}: {likeness:.3}, learnt in {learning:.1} s, real-time factor {real_time_factor:.2}, warp {}",
            timbre.voice.as_ref().unwrap().warp.0
        );
        if let Some(folder) = std::env::var_os("VOXMILL_KEEP_CLONES") {
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: clone.sample_rate,
                bits_per_sample: 32,
                sample_format: hound::SampleFormat::Float,
            };
            let mut writer =
                hound::WavWriter::create(std::path::Path::new(&folder).join(format!("{speaker}.wav")), spec)
                    .unwrap();
            clone.samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
            writer.finalize().unwrap();
        }
        total += likeness;
    }
    let mean = total / SPEAKERS.len() as f32;
    println!("mean likeness {mean:.3}");
    assert!(0.69 <= mean, "{mean}");
}
