//! The file that whisper.cpp loads: hyper-parameters, mel filters, vocabulary, tensors.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Context, ensure};

use super::ctranslate2::Model;

/// Writes `model` with 16-bit weights. `vocabulary` holds a token a line, in order of their numbers.
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
    const MOSTLY_FLOAT16: i32 = 1;
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
    write_i32(&[MOSTLY_FLOAT16], out)
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
    const FLOAT32: i32 = 0;
    const FLOAT16: i32 = 1;
    let mut shape = model.variable(&tensor.source)?.shape.clone();
    let half = model.read_half(&tensor.source)?;
    ensure!(shape[0].is_multiple_of(tensor.part.of), "{} cannot be split", tensor.source);
    let size = half.len() / tensor.part.of;
    let half = &half[tensor.part.index * size..][..size];
    shape[0] /= tensor.part.of;
    if tensor.name.starts_with("encoder.conv") && tensor.name.ends_with(".bias") {
        shape.push(1);
    }
    let wide =
        tensor.name.ends_with(".bias") || tensor.name.ends_with("positional_embedding") || shape.len() < 2;
    write_i32(&[shape.len() as i32, tensor.name.len() as i32, if wide { FLOAT32 } else { FLOAT16 }], out)?;
    let reversed: Vec<i32> = shape.iter().rev().map(|size| *size as i32).collect();
    write_i32(&reversed, out)?;
    out.write_all(tensor.name.as_bytes())?;
    if wide {
        for value in half.chunks_exact(2) {
            out.write_all(&half_to_f32([value[0], value[1]]).to_le_bytes())?;
        }
    } else {
        out.write_all(half)?;
    }
    Ok(())
}

/// IEEE 754 binary16 to binary32; exact for every number.
fn half_to_f32(bytes: [u8; 2]) -> f32 {
    let half = u32::from(u16::from_le_bytes(bytes));
    let magnitude = half & 0x7fff;
    // Shifting exponent and mantissa into place leaves the exponent 112 short: the product mends it, subnormals too.
    let value = if magnitude < 0x7c00 {
        f32::from_bits(magnitude << 13) * f32::from_bits((254 - 15) << 23)
    } else {
        f32::from_bits(0x7f80_0000 | (magnitude & 0x3ff) << 13)
    };
    if half & 0x8000 == 0 { value } else { -value }
}

fn write_i32(values: &[i32], out: &mut impl Write) -> anyhow::Result<()> {
    for value in values {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::half_to_f32;

    #[test]
    fn half_floats_widen_exactly() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x03ff, 1023.0 * 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ];
        for (half, wide) in cases {
            assert_eq!(half_to_f32(u16::to_le_bytes(half)), wide, "{half:#06x}");
        }
    }
}
