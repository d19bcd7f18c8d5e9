//! Who speaks, as a vector: the GE2E encoder (three LSTM layers over mel frames) with Resemblyzer's weights, and the
//! preparation of sound that those were trained with.

mod gradient;
mod mel;

use std::path::Path;

use anyhow::Context;
use candle_core::{D, DType, Device, Tensor};

use crate::audio::{Audio, resample};
use crate::{BandSensitivity, EngineError, Sensitivity, SpeakerEncoder};
use gradient::Trace;
use mel::{FRAME, MEL_BANDS, MelSpectrogram};

/// The encoder of "Generalized End-to-End Loss for Speaker Verification".
pub struct Ge2e {
    layers: Vec<LstmLayer>,
    projection: Tensor,
    projection_bias: Tensor,
    mel: MelSpectrogram,
}

const SAMPLE_RATE: u32 = 16_000;
const LAYERS: usize = 3;
const HIDDEN: usize = 256;
/// Frames of 10 ms that the network sees at once.
const WINDOW: usize = 160;
/// Frames between windows: 1.3 windows a second.
const WINDOW_STEP: usize = 77;
/// A last window holding less sound than this share of itself is left out.
const MIN_COVERAGE: f32 = 0.75;
/// Windows that go through the network together; more would only cost memory.
const BATCH: usize = 32;

impl Ge2e {
    /// `weights` is a safetensors file with torch's names (`lstm.weight_ih_l0` … `linear.bias`).
    pub fn load(weights: &Path) -> Result<Self, EngineError> {
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu)
            .with_context(|| format!("cannot load {}", weights.display()))?;
        let tensor =
            |name: &str| tensors.get(name).with_context(|| format!("{} lacks {name}", weights.display()));
        let layer = |layer: usize| -> anyhow::Result<LstmLayer> {
            let bias =
                (tensor(&format!("lstm.bias_ih_l{layer}"))? + tensor(&format!("lstm.bias_hh_l{layer}"))?)?;
            Ok(LstmLayer {
                input: tensor(&format!("lstm.weight_ih_l{layer}"))?.t()?.contiguous()?,
                hidden: tensor(&format!("lstm.weight_hh_l{layer}"))?.t()?.contiguous()?,
                bias,
            })
        };
        Ok(Self {
            layers: (0..LAYERS).map(layer).collect::<anyhow::Result<_>>()?,
            projection: tensor("linear.weight")?.t().context("linear.weight")?,
            projection_bias: tensor("linear.bias")?.clone(),
            mel: MelSpectrogram::new(),
        })
    }

    /// The mean of the windows' vectors.
    fn embed_windows(&self, windows: &[&[f32]]) -> candle_core::Result<Vec<f32>> {
        let mut sum = Tensor::zeros(HIDDEN, DType::F32, &Device::Cpu)?;
        for batch in windows.chunks(BATCH) {
            let mut sequence = window_tensor(batch)?;
            for layer in &self.layers {
                sequence = layer.forward(&sequence, None)?;
            }
            let embedding = self.project(&sequence)?.relu()?;
            let length = (embedding.sqr()?.sum_keepdim(D::Minus1)?.sqrt()? + f64::from(f32::EPSILON))?;
            sum = (sum + embedding.broadcast_div(&length)?.sum(0)?)?;
        }
        sum.to_vec1()
    }

    fn project(&self, sequence: &Tensor) -> candle_core::Result<Tensor> {
        let last = sequence.narrow(1, WINDOW - 1, 1)?.squeeze(1)?;
        last.matmul(&self.projection)?.broadcast_add(&self.projection_bias)
    }

    /// Similarity of `windows` to `target`, and its slope per neper of amplitude in each mel band.
    fn band_slopes(&self, windows: &[&[f32]], target: &[f32]) -> candle_core::Result<(f32, Vec<f32>)> {
        let mels = window_tensor(windows)?;
        let mut sequence = mels.clone();
        let mut traces = Vec::with_capacity(LAYERS);
        for layer in &self.layers {
            let mut trace = Trace::new();
            sequence = layer.forward(&sequence, Some(&mut trace))?;
            traces.push(trace);
        }
        let (similarity, gradient) = gradient::of_similarity(&self.project(&sequence)?, target)?;
        let mut outputs = vec![None; WINDOW];
        outputs[WINDOW - 1] = Some(gradient.matmul(&self.projection.t()?)?);
        let mut by_mels = mels.zeros_like()?;
        for (layer, trace) in self.layers.iter().zip(&traces).rev() {
            by_mels = trace.backward(layer, &outputs)?;
            outputs = (0..WINDOW)
                .map(|step| by_mels.narrow(1, step, 1)?.squeeze(1).map(Some))
                .collect::<Result<_, _>>()?;
        }
        // A neper of amplitude is two of power.
        let slopes = ((by_mels * mels)?.sum((0, 1))? * 2.0)?;
        Ok((similarity, slopes.to_vec1()?))
    }

    /// Mel frames of `audio` prepared as the encoder was trained, and where its windows start.
    fn mels(&self, audio: &Audio) -> (Vec<f32>, Vec<usize>) {
        let mut samples = resample(audio, SAMPLE_RATE).samples;
        raise_volume(&mut samples);
        let mut samples = shorten_silences(&samples);
        let starts = window_starts(samples.len());
        let end = starts.last().map_or(0, |start| (start + WINDOW) * FRAME);
        samples.resize(samples.len().max(end), 0.0);
        (self.mel.compute(&samples), starts)
    }
}

impl SpeakerEncoder for Ge2e {
    fn embed(&mut self, audio: &Audio) -> Result<Vec<f32>, EngineError> {
        let (mels, starts) = self.mels(audio);
        let sum = self.embed_windows(&windows(&mels, &starts)).context("speaker encoder")?;
        Ok(unit(sum))
    }

    fn sensitivity(&mut self, audio: &Audio, target: &[f32]) -> Result<Sensitivity, EngineError> {
        let (mels, starts) = self.mels(audio);
        let (similarity, slopes) =
            self.band_slopes(&windows(&mels, &starts), target).context("speaker encoder")?;
        let bands = self.mel.centres().zip(slopes).map(|(hertz, slope)| BandSensitivity { hertz, slope });
        Ok(Sensitivity { similarity, bands: bands.collect() })
    }
}

fn windows<'a>(mels: &'a [f32], starts: &[usize]) -> Vec<&'a [f32]> {
    starts.iter().map(|start| &mels[start * MEL_BANDS..(start + WINDOW) * MEL_BANDS]).collect()
}

fn window_tensor(windows: &[&[f32]]) -> candle_core::Result<Tensor> {
    Tensor::from_vec(windows.concat(), (windows.len(), WINDOW, MEL_BANDS), &Device::Cpu)
}

/// The cosine of two vectors of length 1: 1 for the same voice, about 0.5 for two voices.
pub fn similarity(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// `vector` scaled to length 1; one of zeros stays.
pub fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = similarity(&vector, &vector).sqrt();
    if 0.0 < length {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

struct LstmLayer {
    input: Tensor,
    hidden: Tensor,
    bias: Tensor,
}

impl LstmLayer {
    /// From (batch, time, features) to (batch, time, hidden), leaving a trace where one is wanted.
    fn forward(&self, sequence: &Tensor, mut trace: Option<&mut Trace>) -> candle_core::Result<Tensor> {
        let (batch, time, features) = sequence.dims3()?;
        // All frames at once; only the recurrent half must go frame by frame.
        let projected = sequence.reshape((batch * time, features))?.matmul(&self.input)?;
        let projected = projected.broadcast_add(&self.bias)?.reshape((batch, time, 4 * HIDDEN))?;
        let projected = projected.transpose(0, 1)?.contiguous()?;
        let mut hidden = Tensor::zeros((batch, HIDDEN), DType::F32, &Device::Cpu)?;
        let mut cell = hidden.clone();
        let mut outputs = Vec::with_capacity(time);
        for step in 0..time {
            let gates = (projected.get(step)? + hidden.matmul(&self.hidden)?)?;
            let gate = |index: usize| gates.narrow(1, index * HIDDEN, HIDDEN)?.contiguous();
            let [input, forget, candidate, output] =
                [sigmoid(&gate(0)?)?, sigmoid(&gate(1)?)?, gate(2)?.tanh()?, sigmoid(&gate(3)?)?];
            let cell_before = cell;
            cell = ((&forget * &cell_before)? + (&input * &candidate)?)?;
            let cell_tanh = cell.tanh()?;
            hidden = (&output * &cell_tanh)?;
            if let Some(trace) = &mut trace {
                trace.record([input, forget, candidate, output], cell_before, cell_tanh);
            }
            outputs.push(hidden.clone());
        }
        Tensor::stack(&outputs, 1)
    }
}

fn sigmoid(tensor: &Tensor) -> candle_core::Result<Tensor> {
    candle_nn::ops::sigmoid(tensor)
}

/// Up to -30 dB of full scale where quieter, as the encoder was trained; the mels are not logarithmic.
fn raise_volume(samples: &mut [f32]) {
    const TARGET: f32 = 0.031_622_78;
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let level = (energy / samples.len().max(1) as f64).sqrt() as f32;
    if 0.0 < level && level < TARGET {
        samples.iter_mut().for_each(|sample| *sample *= TARGET / level);
    }
}

/// Cuts pauses down to about 0.2 s on either side of speech, found by energy.
fn shorten_silences(samples: &[f32]) -> Vec<f32> {
    const BLOCK: usize = 480;
    const SMOOTHING: usize = 8;
    const MARGIN: usize = 3;
    /// Energy below the loud blocks' at which a block is silent: 35 dB.
    const FLOOR: f32 = 3.2e-4;
    let energies: Vec<f32> =
        samples.chunks_exact(BLOCK).map(|block| block.iter().map(|sample| sample * sample).sum()).collect();
    let mut sorted = energies.clone();
    sorted.sort_by(f32::total_cmp);
    let Some(loud) = sorted.get(sorted.len() * 19 / 20) else { return samples.to_vec() };
    let active: Vec<bool> = energies.iter().map(|energy| loud * FLOOR < *energy).collect();
    let smooth: Vec<bool> = (0..active.len())
        .map(|at| {
            let around = &active[at.saturating_sub(SMOOTHING / 2)..active.len().min(at + SMOOTHING / 2)];
            around.len() <= 2 * around.iter().filter(|active| **active).count()
        })
        .collect();
    let kept =
        |at: usize| smooth[at.saturating_sub(MARGIN)..smooth.len().min(at + MARGIN + 1)].contains(&true);
    let blocks = samples.chunks_exact(BLOCK).enumerate();
    let shortened: Vec<f32> =
        blocks.filter(|(at, _)| kept(*at)).flat_map(|(_, block)| block).copied().collect();
    if shortened.is_empty() { samples.to_vec() } else { shortened }
}

/// The first frames of the windows over a sound of `samples` samples; always at least one.
fn window_starts(samples: usize) -> Vec<usize> {
    let frames = samples / FRAME + 1;
    let steps = (frames + WINDOW_STEP + 1).saturating_sub(WINDOW).max(1);
    let mut starts: Vec<usize> = (0..steps).step_by(WINDOW_STEP).collect();
    let last = starts[starts.len() - 1];
    let covered = samples.saturating_sub(last * FRAME) as f32 / (WINDOW * FRAME) as f32;
    if covered < MIN_COVERAGE && 1 < starts.len() {
        starts.pop();
    }
    starts
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    pub(crate) const SPEAKERS: [&str; 5] =
        ["1688-142285", "2033-164914", "2609-156975", "3080-5032", "367-130732"];

    /// None, with a line that says so, where the model is not installed.
    pub(crate) fn model_file(model: &str, file: &str) -> Option<PathBuf> {
        let folder = match std::env::var_os("VOXMILL_MODELS_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(std::env::var_os("HOME")?).join(".cache/voxmill/models"),
        };
        let path = folder.join(model).join(file);
        if !path.exists() {
            eprintln!("not tested: the model {model} is not installed");
            return None;
        }
        Some(path)
    }

    pub(crate) fn encoder() -> Option<Ge2e> {
        Some(Ge2e::load(&model_file("ge2e", "ge2e.safetensors")?).unwrap())
    }

    /// One utterance of LibriSpeech at 16 kHz.
    pub(crate) fn utterance(name: &str) -> Option<Audio> {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/speech")).join(name);
        if !path.exists() {
            eprintln!("not tested: {} is absent", path.display());
            return None;
        }
        let output = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-i"])
            .arg(path)
            .args(["-ac", "1", "-ar", "16000", "-f", "f32le", "-"])
            .output()
            .unwrap();
        let samples = output.stdout.chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap()));
        Some(Audio { sample_rate: SAMPLE_RATE, samples: samples.collect() })
    }

    #[test]
    fn one_speaker_is_nearer_than_two() {
        let Some(mut encoder) = encoder() else { return };
        let mut vectors = Vec::new();
        for speaker in SPEAKERS {
            for part in 0..4 {
                let Some(audio) = utterance(&format!("{speaker}-000{part}.flac")) else { return };
                let vector = encoder.embed(&audio).unwrap();
                assert!((similarity(&vector, &vector) - 1.0).abs() < 1e-4);
                vectors.push((speaker, vector));
            }
        }
        let mut same = Vec::new();
        let mut different = Vec::new();
        for (at, (speaker, vector)) in vectors.iter().enumerate() {
            for (other_speaker, other) in &vectors[at + 1..] {
                let group = if speaker == other_speaker { &mut same } else { &mut different };
                group.push(similarity(vector, other));
            }
        }
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let (same, different) = (mean(&same), mean(&different));
        println!("same speaker {same:.3}, different {different:.3}");
        assert!(0.8 < same && different < 0.6, "same {same}, different {different}");
    }

    #[test]
    fn slopes_tell_what_louder_bands_do() {
        let (Some(mut encoder), Some(audio), Some(other)) =
            (encoder(), utterance("367-130732-0000.flac"), utterance("2609-156975-0000.flac"))
        else {
            return;
        };
        let target = encoder.embed(&other).unwrap();
        // Loud enough not to be brought to the usual level.
        let louder = |gain: f32| {
            let samples = audio.samples.iter().map(|sample| sample * 4.0 * gain).collect();
            Audio { sample_rate: SAMPLE_RATE, samples }
        };
        let here = encoder.sensitivity(&louder(1.0), &target).unwrap();
        let vector = encoder.embed(&louder(1.0)).unwrap();
        assert!((here.similarity - similarity(&vector, &target)).abs() < 1e-4);
        let above = similarity(&encoder.embed(&louder(0.01f32.exp())).unwrap(), &target);
        let below = similarity(&encoder.embed(&louder((-0.01f32).exp())).unwrap(), &target);
        let measured = (above - below) / 0.02;
        let told: f32 = here.bands.iter().map(|band| band.slope).sum();
        assert!(
            (measured - told).abs() < 0.05 * measured.abs().max(0.02),
            "{measured} measured, {told} told"
        );
    }

    #[test]
    fn any_length_has_a_vector() {
        let Some(mut encoder) = encoder() else { return };
        for length in [0, 1, 100, 16_000, 40_000] {
            let samples = (0..length).map(|n| (n as f32 * 0.05).sin() * 0.1).collect();
            let vector = encoder.embed(&Audio { sample_rate: SAMPLE_RATE, samples }).unwrap();
            assert!(vector.len() == HIDDEN && vector.iter().all(|value| value.is_finite()), "{length}");
        }
    }
}
