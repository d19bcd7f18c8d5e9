//! Models and recordings for the tests of the engines.
#![expect(dead_code, reason = "each test program takes what it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use models::audio::Audio;
use models::catalogue::{Catalogue, InstalledModel, Sources, default_directory};
use models::vad::Vad;
use models::whisper::Whisper;

/// The model, fetched if this machine lacks it.
pub(crate) fn model(name: &str) -> InstalledModel {
    let catalogue = Catalogue::new(default_directory(), Sources::from_env());
    catalogue.installed(name).unwrap_or_else(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(catalogue.pull(name, |_| {})).unwrap()
    })
}

pub(crate) fn vad() -> Vad {
    Vad::load(&model("silero-vad").weights()).unwrap()
}

pub(crate) fn whisper(name: &str) -> Whisper {
    // One thread: whisper.cpp's threads spin, and tests run beside each other.
    Whisper::load(&model(name).weights(), vad(), 1).unwrap()
}

/// The folder of recordings; none, with a word about it, on a machine that has none.
pub(crate) fn recordings() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/speech"));
    if !folder.is_dir() {
        eprintln!("left out: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

/// Decodes with the ffmpeg program to 16 kHz.
pub(crate) fn decode(path: &Path) -> Audio {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "f32le", "-ac", "1", "-ar", "16000", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples = output.stdout.chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap()));
    Audio { sample_rate: 16000, samples: samples.collect() }
}
