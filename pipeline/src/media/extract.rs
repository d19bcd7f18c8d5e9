//! The sound of a file as a file.

use ffmpeg_next::frame;

use super::audio_track::{AudioTrack, Shape};
use super::child::Job;
use super::encoder::{Encoder, SoundCodec};
use super::error::{MediaError, MediaErrorCode};
use super::mix::{MAIN, Mixer};
use super::muxer::Muxer;
use super::operation::{AudioExtraction, AudioReport};
use super::source::{Source, Track, sound};
use crate::parameters::AudioFormat;

pub(super) fn extract(extraction: &AudioExtraction, job: &Job) -> Result<AudioReport, MediaError> {
    let mut source = Source::open(&extraction.input)?;
    let track =
        source.audio()?.ok_or_else(|| MediaError::new(MediaErrorCode::MediaNoAudio, "no stream of sound"))?;
    if track.duration.is_some() {
        source.read_only(&[track.index]);
    }
    let shape = choose_shape(extraction, &track);
    let mut progress = job.progress(Some(source.end_of(&track, &extraction.input)?));
    let mut writer = Writer::create(extraction, shape)?;
    let mut sound = AudioTrack::open(&source, track, shape)?;
    while let Some(packet) = source.next_packet()? {
        if packet.stream() == sound.track().index {
            sound.decode(&packet, &mut |frame| writer.write(frame))?;
        }
        progress.reach(source.position());
    }
    sound.finish(&mut |frame| writer.write(frame))?;
    source.check_complete(sound.track(), sound.reached())?;
    let samples = writer.finish(job)?;
    let duration_seconds = samples as f64 / f64::from(shape.rate);
    Ok(AudioReport { duration_seconds, sample_rate: shape.rate, channels: shape.channels })
}

/// The wished rate and channels, else the source's as far as the format has them.
fn choose_shape(extraction: &AudioExtraction, track: &Track) -> Shape {
    let (source_rate, source_channels) = sound(&track.parameters);
    let kept = match extraction.format.sample_rates() {
        Some(rates) => rates.iter().copied().find(|rate| *rate >= source_rate).or(rates.last().copied()),
        None => None,
    };
    Shape {
        rate: extraction.sample_rate.or(kept).unwrap_or(source_rate),
        channels: extraction.channels.unwrap_or(source_channels).clamp(1, 2),
        format: SoundCodec::from(extraction.format).sample_format(),
    }
}

/// The file of sound that is being made.
struct Writer {
    muxer: Muxer,
    encoder: Encoder,
    mixer: Mixer,
    /// Samples written.
    written: u64,
}

impl Writer {
    fn create(extraction: &AudioExtraction, shape: Shape) -> Result<Self, MediaError> {
        let (container, options): (_, &[_]) = match extraction.format {
            AudioFormat::Wav => ("wav", &[("rf64", "auto")]),
            AudioFormat::Mp3 => ("mp3", &[]),
            AudioFormat::Flac => ("flac", &[]),
            AudioFormat::Aac => ("ipod", &[("movflags", "+faststart")]),
            AudioFormat::Opus => ("ogg", &[]),
        };
        let mut muxer = Muxer::create(&extraction.output, container)?;
        let encoder = Encoder::sound(extraction.format.into(), shape, &mut muxer)?;
        muxer.begin(options)?;
        let mixer = Mixer::plain(shape, encoder.frame_size())?;
        Ok(Self { muxer, encoder, mixer, written: 0 })
    }

    fn write(&mut self, frame: &frame::Audio) -> Result<(), MediaError> {
        self.mixer.push(MAIN, frame)?;
        self.encode()
    }

    fn finish(mut self, job: &Job) -> Result<u64, MediaError> {
        self.mixer.close(MAIN)?;
        self.encode()?;
        self.encoder.finish(&mut self.muxer)?;
        self.muxer.finish(job)?;
        Ok(self.written)
    }

    fn encode(&mut self) -> Result<(), MediaError> {
        let mut frame = frame::Audio::empty();
        while self.mixer.pull(&mut frame)? {
            self.written += frame.samples() as u64;
            self.encoder.encode(&frame, &mut self.muxer)?;
        }
        Ok(())
    }
}
