//! Speaks with a Piper voice that is installed:
//! `echo "Good morning." | cargo run -p models --example speak -- piper-en_US-joe-medium 1 out.wav`.
//!
//! Reads a sentence a line and answers each with a line of JSON, so that the benchmark can time a call from outside.

use std::io::{BufRead, Write};

use anyhow::Context;
use models::Synthesizer;
use models::catalogue::{Catalogue, Sources, default_directory};
use models::piper::Piper;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("usage: speak MODEL [THREADS [OUTPUT.wav]]")?;
    let threads = arguments.next().map_or(Ok(2), |threads| threads.parse())?;
    let output = arguments.next();
    let directory = std::env::var_os("VOXMILL_MODELS_DIR").map_or_else(default_directory, Into::into);
    let catalogue = Catalogue::new(directory, Sources::from_env());
    let mut voice = Piper::load(&catalogue.require(&model)?.weights(), threads)?;
    answer(&serde_json::json!({ "ready": true }))?;
    let mut samples = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let audio = voice.synthesize(&line?, 1.0)?;
        answer(&serde_json::json!({ "seconds": audio.duration() }))?;
        if output.is_some() {
            samples.extend(audio.samples);
        }
    }
    output.map_or(Ok(()), |path| write(&path, voice.sample_rate(), &samples))
}

fn write(path: &str, sample_rate: u32, samples: &[f32]) -> anyhow::Result<()> {
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for sample in samples {
        writer.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16)?;
    }
    Ok(writer.finalize()?)
}

fn answer(value: &serde_json::Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{value}")
}
