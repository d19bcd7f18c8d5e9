//! Parts of WAV files, as the engines take them.

use models::EngineError;
use models::audio::{Audio, SampleReader, WavReader};
use std::path::Path;

pub(super) fn open(path: &Path) -> Result<WavReader, EngineError> {
    WavReader::open(path).map_err(internal)
}

pub(super) fn read(reader: &mut WavReader, start: u64, count: u64) -> Result<Audio, EngineError> {
    let mut samples = vec![0.0; count.min(reader.len() - start) as usize];
    let read = reader.read(start, &mut samples).map_err(internal)?;
    samples.truncate(read);
    Ok(Audio { sample_rate: reader.sample_rate(), samples })
}

pub(super) fn first_seconds(reader: &mut WavReader, seconds: f64) -> Result<Audio, EngineError> {
    let count = (seconds * f64::from(reader.sample_rate())) as u64;
    read(reader, 0, count)
}

/// The samples between two times, in seconds.
pub(super) fn cut(audio: &Audio, start: f64, end: f64) -> &[f32] {
    let index =
        |seconds: f64| ((seconds.max(0.0) * f64::from(audio.sample_rate)) as usize).min(audio.samples.len());
    &audio.samples[index(start)..index(end).max(index(start))]
}

fn internal(error: std::io::Error) -> EngineError {
    EngineError::Internal(error.into())
}
