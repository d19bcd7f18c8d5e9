//! The file that whisper.cpp loads: hyper-parameters, mel filters, vocabulary, tensors.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Context, ensure};
use half::f16;

use super::ctranslate2::Model;

/// Writes `model` with its matrices in blocks of 8-bit weights: half the size of 16-bit ones, a quarter less computing, and
/// no word is heard differently for it. `vocabulary` holds a token a line, in order of their numbers.
pub(super) fn write(model: &mut Model, vocabulary: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let shape = Shape::of(model)?;
    write_header(&shape, out)?;
    write_mel_filters(shape.mels, out)?;
    write_vocabulary(&shape, vocabulary, out)?;
    for tensor in tensors(model) {
        write_tensor(model, &tensor, out)?;
    }
    Ok(())
}

struct Shape {
    vocabulary: usize,
    mels: usize,
    state: usize,
    audio_context: usize,
    text_context: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    encoder_heads: i32,
    decoder_heads: i32,
}

impl Shape {
    fn of(model: &mut Model) -> anyhow::Result<Self> {
        let embeddings = model.variable("decoder/embeddings/weight")?.shape.clone();
        Ok(Self {
            vocabulary: embeddings[0],
            state: embeddings[1],
            mels: model.variable("encoder/conv1/weight")?.shape[1],
            audio_context: model.variable("encoder/position_encodings/encodings")?.shape[0],
            text_context: model.variable("decoder/position_encodings/encodings")?.shape[0],
            encoder_layers: layers(model, "encoder"),
            decoder_layers: layers(model, "decoder"),
            encoder_heads: model.read_scalar("encoder/num_heads")?,
            decoder_heads: model.read_scalar("decoder/num_heads")?,
        })
    }

    /// Tokens of text; whisper.cpp adds the special ones itself.
    fn text_tokens(&self) -> usize {
        const MULTILINGUAL_VOCABULARY: usize = 51865;
        if MULTILINGUAL_VOCABULARY <= self.vocabulary { 50257 } else { 50256 }
    }
}

fn layers(model: &Model, side: &str) -> usize {
    (0..).take_while(|n| model.contains(&format!("{side}/layer_{n}/ffn/linear_0/weight"))).count()
}

fn write_header(shape: &Shape, out: &mut impl Write) -> anyhow::Result<()> {
    const MAGIC: i32 = 0x6767_6d6c;
    /// The second version of quantization, mostly [`BLOCKS_OF_8_BITS`].
    const MOSTLY_8_BITS: i32 = 2007;
    let sizes = [
        shape.vocabulary as i32,
        shape.audio_context as i32,
        shape.state as i32,
        shape.encoder_heads,
        shape.encoder_layers as i32,
        shape.text_context as i32,
        shape.state as i32,
        shape.decoder_heads,
        shape.decoder_layers as i32,
        shape.mels as i32,
    ];
    write_i32(&[MAGIC], out)?;
    write_i32(&sizes, out)?;
    write_i32(&[MOSTLY_8_BITS], out)
}

/// Triangles on Slaney's mel scale with Slaney's norm, as Whisper was trained with (16 kHz, window of 400).
fn write_mel_filters(mels: usize, out: &mut impl Write) -> anyhow::Result<()> {
    const BINS: usize = 201;
    const LINEAR_STEP: f64 = 200.0 / 3.0;
    const LOG_START: f64 = 1000.0;
    let log_step = 6.4_f64.ln() / 27.0;
    let top = LOG_START / LINEAR_STEP + (8000.0 / LOG_START).ln() / log_step;
    let edges: Vec<f64> = (0..mels + 2)
        .map(|i| if i == mels + 1 { top } else { i as f64 * (top / (mels + 1) as f64) })
        .map(|mel| {
            if mel < LOG_START / LINEAR_STEP {
                LINEAR_STEP * mel
            } else {
                LOG_START * (log_step * (mel - LOG_START / LINEAR_STEP)).exp()
            }
        })
        .collect();
    write_i32(&[mels as i32, BINS as i32], out)?;
    for band in edges.windows(3) {
        let norm = 2.0 / (band[2] - band[0]);
        for bin in 0..BINS {
            let frequency = bin as f64 * (1.0 / (400.0 * (1.0 / 16000.0)));
            let rising = -(band[0] - frequency) / (band[1] - band[0]);
            let falling = (band[2] - frequency) / (band[2] - band[1]);
            let height = rising.min(falling);
            let weight = if height < 0.0 { 0.0 } else { height * norm };
            out.write_all(&(weight as f32).to_le_bytes())?;
        }
    }
    Ok(())
}

fn write_vocabulary(shape: &Shape, vocabulary: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let bytes_of = bytes_by_character();
    let tokens: Vec<&str> = vocabulary.split('\n').take(shape.text_tokens()).collect();
    ensure!(tokens.len() == shape.text_tokens(), "the vocabulary has only {} tokens", tokens.len());
    write_i32(&[tokens.len() as i32], out)?;
    for token in tokens {
        let raw = if token.starts_with("<|") {
            Vec::new()
        } else {
            token
                .chars()
                .map(|character| bytes_of.get(&character).copied())
                .collect::<Option<Vec<u8>>>()
                .with_context(|| format!("the token {token:?} is not in GPT-2's alphabet"))?
        };
        write_i32(&[raw.len() as i32], out)?;
        out.write_all(&raw)?;
    }
    Ok(())
}

/// GPT-2 writes every byte as a visible character: those that are stand for themselves, the rest follow from U+0100.
fn bytes_by_character() -> HashMap<char, u8> {
    let visible = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let own = (0..=255).filter(visible).map(|byte| (char::from(byte), byte));
    let shifted = ('\u{100}'..).zip((0..=255).filter(|byte| !visible(byte)));
    own.chain(shifted).collect()
}

/// One tensor of the output: its name there, and the rows of the variable that it is taken from.
struct Tensor {
    name: String,
    source: String,
    part: Part,
}

/// CTranslate2 stacks the query, key and value of an attention in one matrix.
#[derive(Clone, Copy)]
struct Part {
    index: usize,
    of: usize,
}

const WHOLE: Part = Part { index: 0, of: 1 };

fn tensors(model: &Model) -> Vec<Tensor> {
    let mut list = TensorList(Vec::new());
    for side in ["encoder", "decoder"] {
        let positions = format!("{side}/position_encodings/encodings");
        list.push(format!("{side}.positional_embedding"), positions, WHOLE);
        let last_norm = if side == "encoder" { "encoder.ln_post" } else { "decoder.ln" };
        list.norm(last_norm, &format!("{side}/layer_norm"));
        for layer in 0..layers(model, side) {
            let (to, from) = (format!("{side}.blocks.{layer}"), format!("{side}/layer_{layer}"));
            list.attention(
                &format!("{to}.attn"),
                &format!("{from}/self_attention"),
                &["query", "key", "value"],
            );
            if side == "decoder" {
                list.attention(&format!("{to}.cross_attn"), &format!("{from}/attention"), &["query"]);
            }
            list.linear(&format!("{to}.mlp.0"), &format!("{from}/ffn/linear_0"), WHOLE);
            list.linear(&format!("{to}.mlp.2"), &format!("{from}/ffn/linear_1"), WHOLE);
            list.norm(&format!("{to}.mlp_ln"), &format!("{from}/ffn/layer_norm"));
        }
    }
    for convolution in ["conv1", "conv2"] {
        list.linear(&format!("encoder.{convolution}"), &format!("encoder/{convolution}"), WHOLE);
    }
    list.push("decoder.token_embedding.weight".into(), "decoder/embeddings/weight".into(), WHOLE);
    list.0
}

struct TensorList(Vec<Tensor>);

impl TensorList {
    fn push(&mut self, name: String, source: String, part: Part) {
        self.0.push(Tensor { name, source, part });
    }

    fn norm(&mut self, to: &str, from: &str) {
        self.push(format!("{to}.weight"), format!("{from}/gamma"), WHOLE);
        self.push(format!("{to}.bias"), format!("{from}/beta"), WHOLE);
    }

    fn linear(&mut self, to: &str, from: &str, part: Part) {
        self.push(format!("{to}.weight"), format!("{from}/weight"), part);
        // Whisper's keys have no bias: CTranslate2 stores zeros there, and whisper.cpp refuses a tensor it does not know.
        if !to.ends_with(".key") {
            self.push(format!("{to}.bias"), format!("{from}/bias"), part);
        }
    }

    /// `stacked` names what the first matrix holds; where that is not all three, key and value follow in the second.
    fn attention(&mut self, to: &str, from: &str, stacked: &[&str]) {
        let mut matrix = 0;
        for names in [stacked, &["key", "value"][..]].into_iter().take(if stacked.len() == 3 { 1 } else { 2 })
        {
            for (index, name) in names.iter().enumerate() {
                let part = Part { index, of: names.len() };
                self.linear(&format!("{to}.{name}"), &format!("{from}/linear_{matrix}"), part);
            }
            matrix += 1;
        }
        self.linear(&format!("{to}.out"), &format!("{from}/linear_{matrix}"), WHOLE);
        self.norm(&format!("{to}_ln"), &format!("{from}/layer_norm"));
    }
}

fn write_tensor(model: &mut Model, tensor: &Tensor, out: &mut impl Write) -> anyhow::Result<()> {
    let mut shape = model.variable(&tensor.source)?.shape.clone();
    let values = model.read_floats(&tensor.source)?;
    ensure!(shape[0].is_multiple_of(tensor.part.of), "{} cannot be split", tensor.source);
    let size = values.len() / tensor.part.of;
    let values = &values[tensor.part.index * size..][..size];
    shape[0] /= tensor.part.of;
    let convolution = tensor.name.starts_with("encoder.conv");
    if convolution && tensor.name.ends_with(".bias") {
        shape.push(1);
    }
    let kind =
        if tensor.name.ends_with(".bias") || tensor.name.ends_with("positional_embedding") || shape.len() < 2
        {
            Kind::Float32
        } else if convolution {
            Kind::Float16
        } else {
            Kind::Blocks
        };
    write_i32(&[shape.len() as i32, tensor.name.len() as i32, kind as i32], out)?;
    let reversed: Vec<i32> = shape.iter().rev().map(|size| *size as i32).collect();
    write_i32(&reversed, out)?;
    out.write_all(tensor.name.as_bytes())?;
    match kind {
        Kind::Float32 => write_each(values, |value| value.to_f32().to_le_bytes(), out),
        Kind::Float16 => write_each(values, |value| value.to_le_bytes(), out),
        Kind::Blocks => {
            ensure!(shape[shape.len() - 1].is_multiple_of(BLOCK), "{} has odd rows", tensor.source);
            values.chunks_exact(BLOCK).try_for_each(|block| write_block(block, out))
        }
    }
}

/// ggml's numbers of the types of a tensor.
#[derive(Clone, Copy)]
enum Kind {
    Float32 = 0,
    Float16 = 1,
    /// ggml's `Q8_0`.
    Blocks = 8,
}

const BLOCK: usize = 32;

/// The scale as a 16-bit float, then each value in steps of it.
fn write_block(values: &[f16], out: &mut impl Write) -> anyhow::Result<()> {
    let largest = values.iter().map(|value| value.to_f32().abs()).fold(0.0, f32::max);
    let step = largest / 127.0;
    let inverse = if step == 0.0 { 0.0 } else { 1.0 / step };
    out.write_all(&f16::from_f32(step).to_le_bytes())?;
    let steps: Vec<u8> = values.iter().map(|value| (value.to_f32() * inverse).round() as i8 as u8).collect();
    out.write_all(&steps)?;
    Ok(())
}

fn write_each<const N: usize>(
    values: &[f16],
    bytes: impl Fn(f16) -> [u8; N],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    values.iter().try_for_each(|value| out.write_all(&bytes(*value)))?;
    Ok(())
}

fn write_i32(values: &[i32], out: &mut impl Write) -> anyhow::Result<()> {
    for value in values {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_values_to_half_a_step() {
        let values: Vec<f16> = (0..BLOCK).map(|i| f16::from_f32((i as f32 - 11.0) * 0.37)).collect();
        let mut bytes = vec![];
        write_block(&values, &mut bytes).unwrap();
        assert_eq!(bytes.len(), 2 + BLOCK);
        let step = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        for (value, stored) in values.iter().zip(&bytes[2..]) {
            let restored = f32::from(*stored as i8) * step;
            assert!((restored - value.to_f32()).abs() <= 0.51 * step, "{value} came back as {restored}");
        }
        bytes.clear();
        write_block(&[f16::ZERO; BLOCK], &mut bytes).unwrap();
        assert_eq!(bytes, [0; 2 + BLOCK]);
    }
}
