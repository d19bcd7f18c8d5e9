//! Encoders, and the choice of their settings.

use ffmpeg_next::format::{Pixel, Sample};
use ffmpeg_next::{Dictionary, Error, Frame, Packet, Rational, Rescale, codec, color, encoder};

use super::audio_track::Shape;
use super::error::{Context, MediaError};
use super::muxer::Muxer;
use crate::parameters::{AudioFormat, Quality};

/// A codec of sound and how it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum SoundCodec {
    Pcm,
    Mp3,
    Flac,
    Aac,
    Opus,
}

impl From<AudioFormat> for SoundCodec {
    fn from(format: AudioFormat) -> Self {
        match format {
            AudioFormat::Wav => Self::Pcm,
            AudioFormat::Mp3 => Self::Mp3,
            AudioFormat::Flac => Self::Flac,
            AudioFormat::Aac => Self::Aac,
            AudioFormat::Opus => Self::Opus,
        }
    }
}

impl SoundCodec {
    /// The samples that the encoder takes.
    pub(super) fn sample_format(self) -> Sample {
        use ffmpeg_next::format::sample::Type::{Packed, Planar};
        match self {
            Self::Pcm | Self::Flac => Sample::I16(Packed),
            Self::Mp3 | Self::Aac => Sample::F32(Planar),
            Self::Opus => Sample::F32(Packed),
        }
    }

    fn encoder(self) -> &'static str {
        match self {
            Self::Pcm => "pcm_s16le",
            Self::Mp3 => "libmp3lame",
            Self::Flac => "flac",
            Self::Aac => "aac",
            Self::Opus => "libopus",
        }
    }

    fn options(self, channels: u16) -> Vec<(&'static str, String)> {
        let channels = u32::from(channels);
        match self {
            Self::Pcm | Self::Flac => vec![],
            // Variable bit rate of quality 2, near 190 kbit/s in stereo, in the library's units of 118.
            Self::Mp3 => vec![("flags", "+qscale".to_owned()), ("global_quality", "236".to_owned())],
            Self::Aac => vec![("b", (32_000 + 64_000 * channels).to_string())],
            Self::Opus => vec![("b", (64_000 * channels).to_string())],
        }
    }
}

/// A picture to be encoded.
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) time_base: Rational,
    pub(super) frame_rate: Rational,
    pub(super) aspect_ratio: Rational,
    pub(super) colors: Colors,
}

/// How the numbers of a picture mean colours. Kept from the source, as encoding does not change them.
pub(super) struct Colors {
    pub(super) space: color::Space,
    pub(super) range: color::Range,
    pub(super) primaries: color::Primaries,
    pub(super) transfer: color::TransferCharacteristic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PictureCodec {
    H264,
    Vp9,
}

impl PictureCodec {
    fn encoder(self) -> &'static str {
        match self {
            Self::H264 => "libx264",
            Self::Vp9 => "libvpx-vp9",
        }
    }

    fn options(self, quality: Quality) -> Vec<(&'static str, &'static str)> {
        match (self, quality) {
            (Self::H264, Quality::Low) => vec![("preset", "veryfast"), ("crf", "28")],
            (Self::H264, Quality::Medium) => vec![("preset", "veryfast"), ("crf", "23")],
            (Self::H264, Quality::High) => vec![("preset", "veryfast"), ("crf", "17")],
            (Self::Vp9, Quality::Low) => vp9("realtime", "8", "38"),
            (Self::Vp9, Quality::Medium) => vp9("realtime", "7", "32"),
            (Self::Vp9, Quality::High) => vp9("good", "5", "22"),
        }
    }
}

fn vp9(deadline: &'static str, speed: &'static str, crf: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("deadline", deadline),
        ("cpu-used", speed),
        ("crf", crf),
        ("b", "0"),
        ("row-mt", "1"),
        ("tile-columns", "2"),
    ]
}

/// An open encoder and the stream of the output that it feeds.
pub(super) struct Encoder {
    encoder: encoder::Encoder,
    stream: usize,
    time_base: Rational,
    frame_size: u32,
    /// For packets that do not say how long they last, which picture encoders leave open.
    packet_duration: i64,
}

impl Encoder {
    /// Adds a stream of sound to `muxer`, which has not begun yet.
    pub(super) fn sound(codec: SoundCodec, shape: Shape, muxer: &mut Muxer) -> Result<Self, MediaError> {
        let implementation = implementation(codec.encoder())?;
        let context = codec::Context::new_with_codec(implementation);
        let mut audio = context.encoder().audio().context("set up the sound encoder")?;
        let time_base = Rational::new(1, shape.rate.cast_signed());
        audio.set_rate(shape.rate.cast_signed());
        audio.set_format(shape.format);
        audio.set_channel_layout(shape.layout());
        audio.set_time_base(time_base);
        let mut options = Dictionary::new();
        let chosen = codec.options(shape.channels);
        set_flags(&mut options, &chosen, muxer);
        chosen.iter().filter(|(name, _)| *name != "flags").for_each(|(name, value)| options.set(name, value));
        let opened = audio.open_as_with(implementation, options).context("open the sound encoder")?;
        let frame_size = opened.frame_size();
        let stream = muxer.add_encoded(&opened, time_base)?;
        Ok(Self { encoder: opened.0.0, stream, time_base, frame_size, packet_duration: 0 })
    }

    /// Adds a picture to `muxer`, which has not begun yet.
    pub(super) fn picture(
        codec: (PictureCodec, Quality),
        picture: &Picture,
        threads: usize,
        muxer: &mut Muxer,
    ) -> Result<Self, MediaError> {
        let (codec, quality) = codec;
        let implementation = implementation(codec.encoder())?;
        let context = codec::Context::new_with_codec(implementation);
        let mut video = context.encoder().video().context("set up the picture encoder")?;
        video.set_width(picture.width);
        video.set_height(picture.height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(picture.time_base);
        video.set_frame_rate(Some(picture.frame_rate));
        video.set_aspect_ratio(picture.aspect_ratio);
        video.set_colorspace(picture.colors.space);
        video.set_color_range(picture.colors.range);
        video.set_color_primaries(picture.colors.primaries);
        video.set_color_transfer_characteristic(picture.colors.transfer);
        let mut options = Dictionary::new();
        set_flags(&mut options, &[], muxer);
        options.set("threads", &threads.to_string());
        codec.options(quality).iter().for_each(|(name, value)| options.set(name, value));
        let opened = video.open_as_with(implementation, options).context("open the picture encoder")?;
        let stream = muxer.add_encoded(&opened, picture.time_base)?;
        Ok(Self {
            encoder: opened.0.0,
            stream,
            time_base: picture.time_base,
            frame_size: 0,
            packet_duration: 1.rescale(picture.frame_rate.invert(), picture.time_base),
        })
    }

    /// The stream of the output.
    pub(super) fn stream(&self) -> usize {
        self.stream
    }

    /// Samples that a frame of sound must have, 0 for any.
    pub(super) fn frame_size(&self) -> u32 {
        self.frame_size
    }

    pub(super) fn encode(&mut self, frame: &Frame, muxer: &mut Muxer) -> Result<(), MediaError> {
        self.encoder.send_frame(frame).context("encode a frame")?;
        self.write(muxer)
    }

    pub(super) fn finish(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        self.encoder.send_eof().context("end the encoder")?;
        self.write(muxer)
    }

    fn write(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        let mut packet = Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    if packet.duration() <= 0 {
                        packet.set_duration(self.packet_duration);
                    }
                    muxer.write(&mut packet, self.stream, self.time_base)?;
                }
                Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(error).context("encode frames"),
            }
        }
    }
}

fn implementation(name: &str) -> Result<ffmpeg_next::Codec, MediaError> {
    encoder::find_by_name(name)
        .ok_or_else(|| MediaError::failed(format!("this FFmpeg has no encoder {name}")))
}

fn set_flags(options: &mut Dictionary<'_>, chosen: &[(&str, String)], muxer: &Muxer) {
    let flags = chosen.iter().filter(|(name, _)| *name == "flags").map(|(_, value)| value.as_str());
    let header = muxer.wants_global_header().then_some("+global_header");
    let flags: String = flags.chain(header).collect();
    if !flags.is_empty() {
        options.set("flags", &flags);
    }
}
