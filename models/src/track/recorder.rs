//! The track on its way to the disk: raw samples first, measured as they come; the WAV file in a second pass, when the
//! gain is known.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use hound::{SampleFormat, WavSpec, WavWriter};
use tempfile::NamedTempFile;

use super::{SpokenSegment, TrackReport};
use crate::loudness::{Meter, matching_gain};
use crate::{EngineError, Observer};

pub(super) struct Recorder {
    path: PathBuf,
    sample_rate: u32,
    /// 32-bit floats; has no name, so it is gone whatever happens.
    raw: BufWriter<File>,
    meter: Meter,
    written: u64,
}

/// Samples are handled in blocks of this many, between which a cancel is noticed.
const BLOCK: usize = 1 << 16;
/// -1 dB of full scale, which leaves lossy codecs room.
const PEAK_LIMIT: f32 = 0.891;
/// The largest magnitude of a 24-bit sample.
const FULL_SCALE: f32 = 8_388_607.0;
/// Where a WAVEFORMATEXTENSIBLE header, which 24-bit samples need, says which speakers the channels are for.
const CHANNEL_MASK_OFFSET: u64 = 40;
const FRONT_CENTER: u32 = 4;

impl Recorder {
    /// Records beside `path`, on the same file system.
    pub(super) fn new(path: &Path, sample_rate: u32) -> Result<Self, EngineError> {
        let raw = tempfile::tempfile_in(folder(path)?)
            .with_context(|| format!("no room for {}", path.display()))?;
        let meter = Meter::new(sample_rate)?;
        Ok(Self { path: path.into(), sample_rate, raw: BufWriter::new(raw), meter, written: 0 })
    }

    pub(super) fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn add(&mut self, samples: &[f32]) -> Result<(), EngineError> {
        if samples.iter().any(|sample| !sample.is_finite()) {
            return Err(EngineError::Internal(anyhow!("the voice made samples that are no numbers")));
        }
        for sample in samples {
            self.raw.write_all(&sample.to_le_bytes()).context("cannot write the track")?;
        }
        self.written += samples.len() as u64;
        self.meter.add(samples)
    }

    pub(super) fn silence(&mut self, samples: u64, observer: &dyn Observer) -> Result<(), EngineError> {
        let zeros = vec![0.0; samples.min(BLOCK as u64) as usize];
        let mut left = samples;
        while 0 < left {
            if observer.cancelled() {
                return Err(EngineError::Cancelled);
            }
            let count = left.min(BLOCK as u64);
            self.add(&zeros[..count as usize])?;
            left -= count;
        }
        Ok(())
    }

    /// Brings the track to `reference_lufs`, or as near as its peaks allow, and puts it in its place.
    pub(super) fn finish(
        self,
        reference_lufs: Option<f64>,
        segments: Vec<SpokenSegment>,
        observer: &mut dyn Observer,
    ) -> Result<TrackReport, EngineError> {
        let (lufs, peak) = (self.meter.integrated_lufs()?, self.meter.peak());
        let gain = match (lufs, reference_lufs) {
            (Some(lufs), Some(reference)) => matching_gain(lufs, reference, peak, PEAK_LIMIT),
            _ => (PEAK_LIMIT / peak.max(PEAK_LIMIT)).min(1.0),
        };
        let report = TrackReport {
            duration_seconds: self.written as f64 / f64::from(self.sample_rate),
            peak: peak * gain,
            lufs: lufs.map(|lufs| lufs + 20.0 * f64::from(gain).log10()),
            segments,
        };
        let (path, sample_rate) = (self.path, self.sample_rate);
        let mut raw = self.raw.into_inner().map_err(|error| anyhow!("cannot write the track: {error}"))?;
        raw.rewind().context("cannot read the track")?;
        let mut file = NamedTempFile::new_in(folder(&path)?).context("cannot make the track's file")?;
        write_wav(&mut BufReader::new(raw), file.as_file_mut(), Encoding { sample_rate, gain }, observer)?;
        file.as_file().sync_all().context("cannot write the track")?;
        file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
        observer.progress(1.0);
        Ok(report)
    }
}

struct Encoding {
    sample_rate: u32,
    gain: f32,
}

fn write_wav(
    raw: &mut impl Read,
    file: &mut File,
    encoding: Encoding,
    observer: &dyn Observer,
) -> Result<(), EngineError> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: encoding.sample_rate,
        bits_per_sample: 24,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::new(BufWriter::new(&mut *file), spec).context("cannot write the track")?;
    let mut bytes = Vec::with_capacity(BLOCK * 4);
    loop {
        if observer.cancelled() {
            return Err(EngineError::Cancelled);
        }
        bytes.clear();
        raw.by_ref().take(BLOCK as u64 * 4).read_to_end(&mut bytes).context("cannot read the track")?;
        if bytes.is_empty() {
            break;
        }
        for sample in bytes.chunks_exact(4) {
            let sample = f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]);
            let value = (sample * encoding.gain * FULL_SCALE).round() as i32;
            writer.write_sample(value).context("cannot write the track")?;
        }
    }
    writer.finalize().context("cannot write the track")?;
    // hound says that the one channel is the front left speaker, which encoders refuse.
    file.seek(SeekFrom::Start(CHANNEL_MASK_OFFSET)).context("cannot write the track")?;
    file.write_all(&FRONT_CENTER.to_le_bytes()).context("cannot write the track")?;
    Ok(())
}

fn folder(path: &Path) -> anyhow::Result<&Path> {
    let parent = path.parent().with_context(|| format!("{} is no file's path", path.display()))?;
    Ok(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}
