//! Piper voices (VITS) by rten: one network from phonemes to sound, faster than speech on one core.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use serde::Deserialize;

use crate::audio::Audio;
use crate::phonemes::Phonemizer;
use crate::{EngineError, Synthesizer};

/// One Piper voice. The same text always makes the same sound.
pub struct Piper {
    model: Model,
    input: NodeId,
    input_lengths: NodeId,
    scales: NodeId,
    speaker: Option<NodeId>,
    output: NodeId,
    voice: VoiceConfig,
    phonemizer: Phonemizer,
    threads: Arc<ThreadPool>,
}

impl Piper {
    /// `model` is a Piper `.onnx` file, whose settings lie beside it as `.onnx.json`.
    pub fn load(model: &Path, threads: usize) -> Result<Self, EngineError> {
        let voice = VoiceConfig::read(&model.with_extension("onnx.json"))?;
        let phonemizer = Phonemizer::new(&voice.espeak.voice)?;
        let model = Model::load_file(model).with_context(|| format!("cannot load {}", model.display()))?;
        let node = |name: &str| model.node_id(name).with_context(|| format!("not a Piper voice: no {name}"));
        Ok(Self {
            input: node("input")?,
            input_lengths: node("input_lengths")?,
            scales: node("scales")?,
            speaker: model.find_node("sid"),
            output: *model.output_ids().first().context("not a Piper voice: no output")?,
            voice,
            phonemizer,
            threads: Arc::new(ThreadPool::with_num_threads(threads)),
            model,
        })
    }

    fn run(&self, ids: Vec<i32>, speed: f32) -> anyhow::Result<Vec<f32>> {
        let inference = &self.voice.inference;
        let length = i32::try_from(ids.len()).context("too many phonemes")?;
        let scales = [inference.noise_scale, inference.length_scale / speed, inference.noise_w];
        let mut inputs = vec![
            (self.input, NdTensor::from_data([1, ids.len()], ids).into()),
            (self.input_lengths, NdTensor::from_data([1], vec![length]).into()),
            (self.scales, NdTensor::from_data([3], scales.to_vec()).into()),
        ];
        if let Some(speaker) = self.speaker {
            inputs.push((speaker, NdTensor::from_data([1], vec![0]).into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads)));
        // Within the pool, because the network draws its noise from the generator of the thread that runs it.
        let (model, output) = (&self.model, self.output);
        let result = self.threads.run(|| {
            fastrand::seed(NOISE_SEED);
            model.run_n(inputs, [output], Some(options))
        });
        let [output] = result.context("the voice cannot be run")?;
        let output = output.into_tensor::<f32>().ok_or_else(|| anyhow!("the voice makes no sound"))?;
        Ok(output.to_vec())
    }
}

impl Synthesizer for Piper {
    fn sample_rate(&self) -> u32 {
        self.voice.audio.sample_rate
    }

    fn synthesize(&mut self, text: &str, speed: f32) -> Result<Audio, EngineError> {
        let phonemes = self.phonemizer.phonemes(text)?;
        if phonemes.is_empty() {
            return Err(EngineError::Input("The text holds nothing that can be spoken.".into()));
        }
        let samples = self.run(self.voice.phoneme_ids(&phonemes)?, speed)?;
        Ok(Audio { sample_rate: self.voice.audio.sample_rate, samples })
    }
}

/// Fixed, so that a sentence sounds the same when a job is run again.
const NOISE_SEED: u64 = 22_050;

/// A voice's `.onnx.json`, as far as it matters here.
#[derive(Deserialize)]
struct VoiceConfig {
    audio: AudioConfig,
    espeak: EspeakConfig,
    inference: InferenceConfig,
    phoneme_id_map: HashMap<String, Vec<i32>>,
}

#[derive(Deserialize)]
struct AudioConfig {
    sample_rate: u32,
}

#[derive(Deserialize)]
struct EspeakConfig {
    voice: String,
}

#[derive(Deserialize)]
struct InferenceConfig {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

impl VoiceConfig {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        serde_json::from_reader(BufReader::new(file))
            .with_context(|| format!("not a Piper voice: {}", path.display()))
    }

    /// Begin, then each phoneme between paddings, then end: what the voices are trained on.
    fn phoneme_ids(&self, phonemes: &str) -> anyhow::Result<Vec<i32>> {
        let id = |symbol: &str| {
            self.phoneme_id_map.get(symbol).with_context(|| format!("the voice lacks the symbol {symbol:?}"))
        };
        let pad = id("_")?;
        let mut ids = [id("^")?.as_slice(), pad].concat();
        let mut buffer = [0; 4];
        for phoneme in phonemes.chars().flat_map(decomposed) {
            // Piper too leaves out what its voice does not know.
            if let Some(known) = self.phoneme_id_map.get(&*phoneme.encode_utf8(&mut buffer)) {
                ids.extend(known);
                ids.extend(pad);
            }
        }
        ids.extend(id("$")?);
        Ok(ids)
    }
}

/// Letter and mark apart, as Piper has them; of the composed letters espeak-ng writes only these.
fn decomposed(phoneme: char) -> impl Iterator<Item = char> {
    let (letter, mark) = match phoneme {
        'ç' => ('c', Some('\u{327}')),
        'ã' => ('a', Some('\u{303}')),
        'ẽ' => ('e', Some('\u{303}')),
        'ĩ' => ('i', Some('\u{303}')),
        'õ' => ('o', Some('\u{303}')),
        'ũ' => ('u', Some('\u{303}')),
        other => (other, None),
    };
    std::iter::once(letter).chain(mark)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// None, with a line that says so, where the voice is not installed.
    pub(crate) fn joe() -> Option<Piper> {
        let path = crate::speaker::tests::model_file("piper-en_US-joe-medium", "en_US-joe-medium.onnx")?;
        Some(Piper::load(&path, 1).unwrap())
    }

    #[test]
    fn speaks_the_same_each_time_and_faster_when_told() {
        let Some(mut voice) = joe() else { return };
        let text = "The quick brown fox jumps over the lazy dog, twice.";
        let audio = voice.synthesize(text, 1.0).unwrap();
        assert_eq!(audio.sample_rate, 22_050);
        assert!((2.0..6.0).contains(&audio.duration()), "{}", audio.duration());
        assert!(audio.samples.iter().all(|sample| sample.is_finite() && sample.abs() <= 1.0));
        assert!(audio.samples.iter().any(|sample| 0.1 < sample.abs()));
        assert_eq!(voice.synthesize(text, 1.0).unwrap(), audio);
        let ratio = audio.duration() / voice.synthesize(text, 1.6).unwrap().duration();
        assert!((1.3..1.9).contains(&ratio), "{ratio}");
    }

    #[test]
    fn unspeakable_text_is_refused_and_unknown_letters_are_left_out() {
        let Some(mut voice) = joe() else { return };
        assert!(matches!(voice.synthesize("?!", 1.0), Err(EngineError::Input(_))));
        assert!(0.2 < voice.synthesize("naïve 東京 ☃ déjà vu", 1.0).unwrap().duration());
    }
}
