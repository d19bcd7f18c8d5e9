//! Mono sound: whole in memory, or read by pieces from a WAV file so that a recording of hours costs no more
//! memory than one of seconds.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Mono sound in memory; full scale is -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    pub sample_rate: u32,
    pub samples: Vec<f32>,
}

impl Audio {
    /// Reads a mono WAV file of 16-bit integers or 32-bit floats whole.
    pub fn read_wav(path: &Path) -> io::Result<Self> {
        let mut reader = WavReader::open(path)?;
        let mut samples = vec![0.0; usize::try_from(reader.len()).map_err(io::Error::other)?];
        let read = reader.read(0, &mut samples)?;
        samples.truncate(read);
        Ok(Self { sample_rate: reader.sample_rate(), samples })
    }

    /// In seconds.
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}

/// Random access to mono samples.
pub trait SampleReader: Send {
    /// In hertz.
    fn sample_rate(&self) -> u32;
    /// In samples.
    fn len(&self) -> u64;
    /// Fills `buffer` with the samples from `start` on and says how many there were: fewer than asked only at the end.
    fn read(&mut self, start: u64, buffer: &mut [f32]) -> io::Result<usize>;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In seconds.
    fn duration(&self) -> f64 {
        self.len() as f64 / f64::from(self.sample_rate())
    }
}

impl SampleReader for Audio {
    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn len(&self) -> u64 {
        self.samples.len() as u64
    }

    fn read(&mut self, start: u64, buffer: &mut [f32]) -> io::Result<usize> {
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.samples.len());
        let count = buffer.len().min(self.samples.len() - start);
        buffer[..count].copy_from_slice(&self.samples[start..start + count]);
        Ok(count)
    }
}

/// The samples of a mono WAV (or RF64) file of 16-bit integers or 32-bit floats, read where they lie.
pub struct WavReader {
    file: File,
    sample_rate: u32,
    encoding: Encoding,
    data_start: u64,
    len: u64,
    bytes: Vec<u8>,
}

impl WavReader {
    /// Reads the header. Anything but a mono WAV file of the two encodings is [`io::ErrorKind::InvalidData`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let file_size = file.metadata()?.len();
        let header = Header::read(&mut BufReader::new(&mut file), file_size)?;
        Ok(Self {
            file,
            sample_rate: header.format.sample_rate,
            encoding: header.format.encoding,
            data_start: header.data_start,
            len: header.data_size / header.format.encoding.bytes() as u64,
            bytes: Vec::new(),
        })
    }
}

impl SampleReader for WavReader {
    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&mut self, start: u64, buffer: &mut [f32]) -> io::Result<usize> {
        let width = self.encoding.bytes();
        let start = start.min(self.len);
        let count = (self.len - start).min(buffer.len() as u64) as usize;
        self.file.seek(SeekFrom::Start(self.data_start + start * width as u64))?;
        // Blocks, because the bytes of a whole read would double its memory.
        for block in buffer[..count].chunks_mut(READ_BLOCK) {
            self.bytes.resize(block.len() * width, 0);
            self.file.read_exact(&mut self.bytes)?;
            self.encoding.decode(&self.bytes, block);
        }
        Ok(count)
    }
}

/// The same sound at another rate; the length changes by less than one sample.
pub fn resample(audio: &Audio, sample_rate: u32) -> Audio {
    if audio.sample_rate == sample_rate || audio.samples.is_empty() {
        return Audio { sample_rate, samples: audio.samples.clone() };
    }
    let (from, to) = (audio.sample_rate as usize, sample_rate as usize);
    // An even number of the smallest blocks: the filter's delay is then a whole number of samples on both sides.
    let smallest = from / greatest_common_divisor(from, to);
    let block = 2 * smallest * RESAMPLE_BLOCK.div_ceil(2 * smallest);
    let mut resampler = Fft::<f32>::new_custom(from, to, block, 1, 1, WINDOW, FixedSync::Input)
        .expect("Both rates of an Audio are above zero. This is a bug.");
    let input = SequentialSlice::new(&audio.samples, 1, audio.samples.len())
        .expect("One channel is as long as the samples. This is a bug.");
    let output = resampler
        .process_all(&input, audio.samples.len(), None)
        .expect("The buffers were sized by the resampler. This is a bug.");
    Audio { sample_rate, samples: output.take_data() }
}

const READ_BLOCK: usize = 1 << 16;
/// Samples of input; the longer, the sharper the filter.
const RESAMPLE_BLOCK: usize = 1024;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris2;

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[derive(Clone, Copy)]
enum Encoding {
    Int16,
    Float32,
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Self::Int16 => 2,
            Self::Float32 => 4,
        }
    }

    fn decode(self, bytes: &[u8], samples: &mut [f32]) {
        match self {
            Self::Int16 => {
                for (sample, raw) in samples.iter_mut().zip(bytes.chunks_exact(2)) {
                    *sample = f32::from(i16::from_le_bytes([raw[0], raw[1]])) / 32768.0;
                }
            }
            Self::Float32 => {
                for (sample, raw) in samples.iter_mut().zip(bytes.chunks_exact(4)) {
                    *sample = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
                }
            }
        }
    }
}

struct Format {
    sample_rate: u32,
    encoding: Encoding,
}

struct Header {
    format: Format,
    data_start: u64,
    data_size: u64,
}

impl Header {
    /// Walks the chunks up to `data`. Sizes beyond 4 GiB come from RF64's `ds64` chunk; a size that the file does not
    /// hold (a recorder that was cut off, a pipe) counts as "up to the end of the file".
    fn read(input: &mut (impl Read + Seek), file_size: u64) -> io::Result<Self> {
        let magic = read_array::<12>(input)?;
        if !(magic.starts_with(b"RIFF") || magic.starts_with(b"RF64")) || &magic[8..] != b"WAVE" {
            return Err(invalid("not a WAV file"));
        }
        let mut format = None;
        let mut wide_data_size = None;
        loop {
            let chunk = read_array::<8>(input)?;
            let size = u64::from(u32_at(&chunk, 4));
            let start = input.stream_position()?;
            match &chunk[..4] {
                b"fmt " => format = Some(read_format(input, size)?),
                b"ds64" => wide_data_size = Some(u64_at(&read_array::<16>(input)?, 8)),
                b"data" => {
                    let format = format.ok_or_else(|| invalid("a WAV file without a format"))?;
                    let declared = if size == u64::from(u32::MAX) { wide_data_size } else { Some(size) };
                    let available = file_size.saturating_sub(start);
                    let data_size = declared.filter(|size| 0 < *size).unwrap_or(available).min(available);
                    return Ok(Self { format, data_start: start, data_size });
                }
                _ => {}
            }
            // Chunks are padded to an even length.
            input.seek(SeekFrom::Start(start + size + size % 2))?;
        }
    }
}

fn read_format(input: &mut impl Read, size: u64) -> io::Result<Format> {
    const INTEGER: u16 = 1;
    const FLOAT: u16 = 3;
    const EXTENSIBLE: u16 = 0xfffe;

    let fields = read_array::<16>(input)?;
    let mut tag = u16_at(&fields, 0);
    if tag == EXTENSIBLE && 40 <= size {
        // The true tag is the head of the GUID behind the extension's own fields.
        tag = u16_at(&read_array::<24>(input)?, 8);
    }
    let channels = u16_at(&fields, 2);
    let sample_rate = u32_at(&fields, 4);
    let encoding = match (tag, u16_at(&fields, 14)) {
        (INTEGER, 16) => Encoding::Int16,
        (FLOAT, 32) => Encoding::Float32,
        (tag, bits) => return Err(invalid(&format!("unsupported WAV encoding {tag} with {bits} bits"))),
    };
    if channels != 1 {
        return Err(invalid(&format!("expected a mono WAV file, found {channels} channels")));
    }
    if sample_rate == 0 {
        return Err(invalid("a WAV file with a sample rate of zero"));
    }
    Ok(Format { sample_rate, encoding })
}

fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("a WAV file that ends within its header"),
        _ => error,
    })?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_at_any_position() {
        let directory = tempfile::tempdir().unwrap();
        for (format, bits) in [(hound::SampleFormat::Int, 16), (hound::SampleFormat::Float, 32)] {
            let path = directory.path().join(format!("{bits}.wav"));
            let spec = hound::WavSpec {
                channels: 1,
                sample_rate: 16000,
                bits_per_sample: bits,
                sample_format: format,
            };
            let mut writer = hound::WavWriter::create(&path, spec).unwrap();
            let truth: Vec<f32> = (0..150_000).map(|i| (i % 32768) as f32 / 32768.0).collect();
            for sample in &truth {
                match format {
                    hound::SampleFormat::Int => writer.write_sample((sample * 32768.0) as i16).unwrap(),
                    hound::SampleFormat::Float => writer.write_sample(*sample).unwrap(),
                }
            }
            writer.finalize().unwrap();

            let mut reader = WavReader::open(&path).unwrap();
            assert_eq!((reader.sample_rate(), reader.len()), (16000, 150_000));
            assert_eq!(Audio::read_wav(&path).unwrap().samples, truth);
            let mut buffer = [0.0; 100];
            assert_eq!(reader.read(149_950, &mut buffer).unwrap(), 50);
            assert_eq!(buffer[..50], truth[149_950..]);
            assert_eq!(reader.read(200_000, &mut buffer).unwrap(), 0);
        }
    }

    #[test]
    fn a_file_that_is_not_wav_is_invalid_data() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in [b"RIFF".as_slice(), b"this is not a sound file at all, by any means"] {
            std::fs::write(file.path(), content).unwrap();
            let error = WavReader::open(file.path()).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn resampling_keeps_pitch_level_and_length() {
        let tone = |rate: u32| Audio {
            sample_rate: rate,
            samples: (0..rate * 2)
                .map(|i| 0.5 * (i as f32 / rate as f32 * 440.0 * std::f32::consts::TAU).sin())
                .collect(),
        };
        for (from, to) in [(22050, 16000), (16000, 24000), (48000, 16000), (44100, 16000)] {
            let got = resample(&tone(from), to);
            let want = tone(to);
            assert!((got.samples.len() as i64 - want.samples.len() as i64).abs() <= 1);
            // The edges ring, as they must where a tone starts from nothing.
            let middle = 2000..want.samples.len() - 2000;
            let worst = middle.map(|i| (got.samples[i] - want.samples[i]).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-3, "{from} to {to}: {worst}");
        }
    }
}
