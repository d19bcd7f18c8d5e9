//! Turns the weights that packages carry into the files that the engines load.
//!
//! Every converter reads its input where it lies and writes tensor by tensor: a model is never held in memory whole.

mod ctranslate2;
mod ggml;
mod torch;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A CTranslate2 Whisper model (`model.bin`, 16-bit floats) and its `vocabulary.txt`, as a whisper.cpp file.
pub(crate) fn ctranslate2_to_ggml(vocabulary: &Path, weights: &Path, output: &Path) -> anyhow::Result<()> {
    let vocabulary = std::fs::read_to_string(vocabulary)?;
    let mut weights = ctranslate2::Model::open(weights)?;
    write_whole(output, |file| ggml::write(&mut weights, &vocabulary, file))
}

/// The `model_state` of a checkpoint in torch's format from before 1.6, as safetensors with the names that it has.
pub(crate) fn torch_to_safetensors(checkpoint: &Path, output: &Path) -> anyhow::Result<()> {
    let tensors = torch::read_model_state(checkpoint)?;
    write_whole(output, |file| torch::write_safetensors(&tensors, file))
}

fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file)?;
    file.flush()?;
    Ok(())
}

/// Reads a little-endian number or a run of bytes of known length.
fn read_array<const N: usize>(input: &mut impl io::Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}
