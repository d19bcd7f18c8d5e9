//! Transcribes English WAV files (16 kHz mono) with a model that is installed:
//! `ls *.wav | cargo run -p models --example transcribe -- whisper-base`.
//!
//! Reads a path a line and answers each with a line of JSON, so that the benchmark can time a call from outside.

use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::Context;
use models::audio::WavReader;
use models::catalogue::{Catalogue, Sources, default_directory};
use models::vad::Vad;
use models::whisper::{Compute, Whisper};
use models::{TranscribeOptions, Transcriber, Unwatched};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().context("usage: transcribe MODEL [THREADS]")?;
    let threads = arguments.next().map_or(Ok(2), |threads| threads.parse())?;
    let mut whisper = load(&model, threads)?;
    answer(&serde_json::json!({ "ready": true }))?;
    let options = TranscribeOptions { language: Some("en".to_owned()), ..TranscribeOptions::default() };
    for line in std::io::stdin().lock().lines() {
        let mut audio = WavReader::open(Path::new(line?.trim()))?;
        let transcription = whisper.transcribe(&mut audio, &options, &mut Unwatched)?;
        let texts: Vec<_> = transcription.segments.iter().map(|segment| segment.text.as_str()).collect();
        answer(&serde_json::json!({ "text": texts.join(" ") }))?;
    }
    Ok(())
}

fn load(model: &str, threads: usize) -> anyhow::Result<Whisper> {
    let directory = std::env::var_os("VOXMILL_MODELS_DIR").map_or_else(default_directory, Into::into);
    let catalogue = Catalogue::new(directory, Sources::from_env());
    let vad = Vad::load(&catalogue.require("silero-vad")?.weights())?;
    Ok(Whisper::load(&catalogue.require(model)?.weights(), vad, Compute::threads(threads))?)
}

fn answer(value: &serde_json::Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{value}")
}
