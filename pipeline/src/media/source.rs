//! An input file, opened with every door shut that a hostile file could knock at: one protocol, a list of
//! containers that name no other file, a list of codecs, bounds on streams and pixels.

use std::ffi::CString;
use std::path::Path;
use std::ptr;

use ffmpeg_next::codec::{self, Parameters};
use ffmpeg_next::error::{EACCES, EIO, EMFILE, ENOENT, EPERM};
use ffmpeg_next::format::{context, stream};
use ffmpeg_next::{Dictionary, Discard, Error, Packet, Rational, decoder, ffi, media};

use super::boxes;
use super::error::{MediaError, MediaErrorCode};

/// Containers that hold their own media. Playlists (HLS, DASH, concat), image sequences, devices and anything
/// else that opens further files are not here.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,wav,w64,mp3,flac,ogg,aac,aiff,avi,mpegts,mpeg,\
                          flv,caf,amr,asf,au,ac3,eac3";

/// Decoders in wide use and in the sight of fuzzers. `magicyuv` and its like are absent on purpose (CVE-2026-8461).
const DECODERS: &str = "h264,hevc,libdav1d,vp8,vp9,mpeg4,mpeg1video,mpeg2video,mjpeg,h263,flv,vp6f,msmpeg4v1,\
                        msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,theora,prores,dnxhd,dvvideo,\
                        aac,aac_latm,mp3float,mp3,mp2float,mp2,mp1float,ac3,eac3,flac,vorbis,libvorbis,opus,libopus,\
                        alac,wmav1,wmav2,wmapro,amrnb,amrwb,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,gsm,gsm_ms,\
                        speex,libspeex,nellymoser,pcm_s16le,pcm_s16be,pcm_u8,pcm_s8,pcm_s24le,pcm_s24be,pcm_s32le,\
                        pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_mulaw,pcm_alaw,\
                        mov_text,srt,subrip,webvtt,ass,ssa";

const MOST_STREAMS: u32 = 32;
const MOST_PIXELS: u64 = 8192 * 4320;
/// Bytes and microseconds read to find out what the streams are.
const PROBE_BYTES: &str = "8388608";
const PROBE_MICROSECONDS: &str = "10000000";

/// An opened input and how far it was read.
pub(super) struct Source {
    input: context::Input,
    has_exact_length: bool,
    /// Start of the latest packet of picture or sound, in seconds from the container's start.
    position: f64,
    /// End of the longest packet of any stream, in seconds from the container's start.
    extent: f64,
    damaged_packets: u32,
}

/// One stream of a source.
#[derive(Clone)]
pub(super) struct Track {
    pub(super) index: usize,
    pub(super) time_base: Rational,
    pub(super) parameters: Parameters,
    /// In seconds from the container's start.
    pub(super) start: f64,
    /// In seconds, where a header or an index says so.
    pub(super) duration: Option<f64>,
    pub(super) frame_rate: Rational,
}

impl Source {
    /// Errors: `media_unsupported`, `media_truncated`, `media_too_large`, `media_failed`.
    pub(super) fn open(path: &Path) -> Result<Self, MediaError> {
        let mut input = open_input(path).map_err(|error| refusal(path, error))?;
        // Once before any frame is decoded, and again for what only the frames tell.
        check_size(&input)?;
        find_streams(&mut input).map_err(|error| refusal(path, error))?;
        check_size(&input)?;
        if boxes::is_cut_short(path) {
            return Err(MediaError::truncated("the file ends before its parts do"));
        }
        let has_exact_length = has_exact_length(&input);
        Ok(Self { input, has_exact_length, position: 0.0, extent: 0.0, damaged_packets: 0 })
    }

    /// FFmpeg's name of the container: several, with commas, where one reader serves a family.
    pub(super) fn container(&self) -> &str {
        // The library's wrapper of the name would do, but borrows a temporary.
        format_name(&self.input)
    }

    /// The moving picture that we read best; the cover of a record is none.
    ///
    /// Errors: `media_unsupported` where there is one, and no codec on our list for it.
    pub(super) fn video(&self) -> Result<Option<Track>, MediaError> {
        self.best(media::Type::Video)
    }

    /// As [`video`](Self::video), for the sound.
    pub(super) fn audio(&self) -> Result<Option<Track>, MediaError> {
        self.best(media::Type::Audio)
    }

    pub(super) fn subtitles(&self) -> Vec<Track> {
        let subtitles =
            self.input.streams().filter(|stream| stream.parameters().medium() == media::Type::Subtitle);
        subtitles.map(|stream| self.track(&stream)).collect()
    }

    /// Seconds from the container's start to its end, where its header or its last packets say so.
    pub(super) fn duration(&self) -> Option<f64> {
        let duration = self.input.duration();
        (duration > 0).then(|| duration as f64 / f64::from(ffi::AV_TIME_BASE))
    }

    /// True when the duration was read, not guessed from the bit rate.
    pub(super) fn has_exact_length(&self) -> bool {
        self.has_exact_length
    }

    /// Seconds from the container's start to the end of `track`, from the header, else by reading all packets of the
    /// file at `path`, which this was opened from.
    pub(super) fn end_of(&self, track: &Track, path: &Path) -> Result<f64, MediaError> {
        if let Some(duration) = track.duration {
            return Ok(track.start + duration);
        }
        if let Some(duration) = self.duration().filter(|_| self.has_exact_length) {
            return Ok(duration);
        }
        let mut reader = Self::open(path)?;
        reader.read_only(&[track.index]);
        while reader.next_packet()?.is_some() {}
        Ok(reader.extent)
    }

    pub(super) fn stream(&self, index: usize) -> Option<stream::Stream<'_>> {
        self.input.stream(index)
    }

    /// Stops reading the streams that are not in `wanted`.
    #[expect(unsafe_code, reason = "the wrapper has no setter for a stream's `discard`")]
    pub(super) fn read_only(&mut self, wanted: &[usize]) {
        for mut stream in self.input.streams_mut() {
            if !wanted.contains(&stream.index()) {
                // SAFETY: the stream belongs to the context that we hold mutably; `discard` is meant to be set by
                // callers at any time.
                unsafe { (*stream.as_mut_ptr()).discard = Discard::All.into() };
            }
        }
    }

    /// The next packet, its times counted from the container's start. None at the end.
    pub(super) fn next_packet(&mut self) -> Result<Option<Packet>, MediaError> {
        /// A demuxer finds its feet again after damage, but not forever.
        const MOST_DAMAGED: u32 = 1_000;
        loop {
            let mut packet = Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) => return Ok(Some(self.count_from_start(packet))),
                Err(Error::Eof) => return Ok(None),
                Err(Error::InvalidData) if self.damaged_packets < MOST_DAMAGED => self.damaged_packets += 1,
                Err(Error::InvalidData) => return Err(MediaError::truncated("too many damaged packets")),
                Err(error) => {
                    return Err(MediaError::because("read a packet", error, MediaErrorCode::MediaTruncated));
                }
            }
        }
    }

    /// How far picture and sound were read, in seconds from the container's start. Captions do not count: MPEG-4 fills
    /// the silence between two of them with one packet, which may last for minutes.
    pub(super) fn position(&self) -> f64 {
        self.position
    }

    /// Where the packets read so far end, of any stream, in seconds from the container's start.
    pub(super) fn extent(&self) -> f64 {
        self.extent
    }

    /// Fails with `media_truncated` when `track`, read to the end, ended `reached` seconds after the container's
    /// start though its header promised more. A reader's "no error" is no proof of a whole file.
    pub(super) fn check_complete(&self, track: &Track, reached: f64) -> Result<(), MediaError> {
        if !self.has_exact_length {
            return Ok(());
        }
        let (promised, found) = match (track.duration, self.duration()) {
            (Some(duration), _) => (duration, reached - track.start),
            // The container ends with its longest stream, which need not be this one.
            (None, Some(duration)) => (duration, self.extent.max(reached)),
            (None, None) => return Ok(()),
        };
        if found + (promised * 0.01).max(0.5) < promised {
            return Err(MediaError::truncated(format!("{found:.2} s found of {promised:.2} s promised")));
        }
        Ok(())
    }

    /// Opens the decoder of `track`, bounded as the input is.
    pub(super) fn decoder(&self, track: &Track, threads: usize) -> Result<decoder::Opened, MediaError> {
        let codec = listed_decoder(&track.parameters)?;
        let mut options = Dictionary::new();
        options.set("codec_whitelist", DECODERS);
        options.set("max_pixels", &MOST_PIXELS.to_string());
        options.set("threads", &threads.to_string());
        let opened = codec::Context::from_parameters(track.parameters.clone()).and_then(|context| {
            let mut decoder = context.decoder();
            decoder.set_packet_time_base(track.time_base);
            decoder.open_as_with(codec, options)
        });
        opened.map_err(|error| MediaError::because("open a decoder", error, MediaErrorCode::MediaUnsupported))
    }

    /// None where the file has no stream of the kind; an error where it has, and none of them is ours to read.
    fn best(&self, kind: media::Type) -> Result<Option<Track>, MediaError> {
        let is_cover =
            |stream: &stream::Stream<'_>| stream.disposition().contains(stream::Disposition::ATTACHED_PIC);
        let streams = self.input.streams().filter(|stream| stream.parameters().medium() == kind);
        let streams: Vec<_> = streams.filter(|stream| !is_cover(stream)).collect();
        // The library's choice knows nothing of our list, so the first that is on it is the next best.
        let preferred = self.input.streams().best(kind).map(|stream| stream.index());
        let readable = streams.iter().filter(|stream| check_readable(&stream.parameters()).is_ok());
        match (readable.min_by_key(|stream| Some(stream.index()) != preferred), streams.first()) {
            (Some(chosen), _) => Ok(Some(self.track(chosen))),
            (None, Some(unreadable)) => check_readable(&unreadable.parameters()).map(|()| None),
            (None, None) => Ok(None),
        }
    }

    fn track(&self, stream: &stream::Stream<'_>) -> Track {
        let time_base = stream.time_base();
        let known = |time: i64| (time != ffi::AV_NOPTS_VALUE).then_some(time);
        let start = known(stream.start_time()).map_or(0.0, |start| seconds(start, time_base) - self.origin());
        let duration = known(stream.duration()).filter(|duration| *duration > 0 && self.has_exact_length);
        Track {
            index: stream.index(),
            time_base,
            parameters: stream.parameters(),
            start,
            duration: duration.map(|duration| seconds(duration, time_base)),
            frame_rate: stream.avg_frame_rate(),
        }
    }

    /// Seconds on the container's own clock at which its first stream starts.
    fn origin(&self) -> f64 {
        start_time(&self.input).map_or(0.0, |start| start as f64 / f64::from(ffi::AV_TIME_BASE))
    }

    fn count_from_start(&mut self, mut packet: Packet) -> Packet {
        let Some(stream) = self.input.stream(packet.stream()) else { return packet };
        let (time_base, medium) = (stream.time_base(), stream.parameters().medium());
        let origin = start_time(&self.input).map_or(0, |start| {
            let microseconds = Rational::new(1, ffi::AV_TIME_BASE);
            ffmpeg_next::Rescale::rescale(&start, microseconds, time_base)
        });
        packet.set_pts(packet.pts().map(|pts| pts.saturating_sub(origin)));
        packet.set_dts(packet.dts().map(|dts| dts.saturating_sub(origin)));
        if let Some(time) = packet.pts().or(packet.dts()) {
            let end = time.saturating_add(packet.duration().max(0));
            self.extent = self.extent.max(seconds(end, time_base));
            if matches!(medium, media::Type::Video | media::Type::Audio) {
                self.position = self.position.max(seconds(time, time_base));
            }
        }
        packet
    }
}

/// Width and height in pixels, 0 where there is no picture.
#[expect(unsafe_code, reason = "the wrapper does not show the size in the parameters of a stream")]
pub(super) fn dimensions(parameters: &Parameters) -> (u32, u32) {
    // SAFETY: `parameters` keeps what it points to alive.
    let (width, height) = unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) };
    (width.try_into().unwrap_or(0), height.try_into().unwrap_or(0))
}

/// Sample rate in hertz and number of channels, 0 where there is no sound.
#[expect(unsafe_code, reason = "the wrapper does not show the sound in the parameters of a stream")]
pub(super) fn sound(parameters: &Parameters) -> (u32, u16) {
    // SAFETY: `parameters` keeps what it points to alive.
    let (rate, channels) =
        unsafe { ((*parameters.as_ptr()).sample_rate, (*parameters.as_ptr()).ch_layout.nb_channels) };
    (rate.try_into().unwrap_or(0), channels.try_into().unwrap_or(0))
}

pub(super) fn seconds(time: i64, time_base: Rational) -> f64 {
    time as f64 * f64::from(time_base)
}

/// Opens the container: its header is read, its packets are not.
#[expect(unsafe_code, reason = "the wrapper decodes frames before it hands the container out")]
fn open_input(path: &Path) -> Result<context::Input, Error> {
    // The prefix keeps a name such as `concat:a|b` a name.
    let mut url = b"file:".to_vec();
    url.extend_from_slice(path.as_os_str().as_encoded_bytes());
    let url = CString::new(url).map_err(|_nul| Error::InvalidData)?;
    let mut options = Dictionary::new();
    for (name, value) in [
        ("protocol_whitelist", "file"),
        ("format_whitelist", CONTAINERS),
        ("codec_whitelist", DECODERS),
        ("max_streams", &MOST_STREAMS.to_string()),
        ("probesize", PROBE_BYTES),
        ("analyzeduration", PROBE_MICROSECONDS),
    ] {
        options.set(name, value);
    }
    // SAFETY: the context starts null; a failed open frees it, and the wrapper owns it otherwise. What is left of the
    // options is freed here.
    unsafe {
        let mut context = ptr::null_mut();
        let mut unused = options.disown();
        let opened = ffi::avformat_open_input(&mut context, url.as_ptr(), ptr::null_mut(), &mut unused);
        drop(Dictionary::own(unused));
        if opened < 0 { Err(Error::from(opened)) } else { Ok(context::Input::wrap(context)) }
    }
}

/// Reads packets, and decodes some where it must, to learn what the streams are.
#[expect(unsafe_code, reason = "the wrapper cannot bound the decoders that this opens")]
fn find_streams(input: &mut context::Input) -> Result<(), Error> {
    let bounds = |_stream| {
        let mut bounds = Dictionary::new();
        bounds.set("max_pixels", &MOST_PIXELS.to_string());
        // SAFETY: taken back below.
        unsafe { bounds.disown() }
    };
    let mut bounds: Vec<_> = (0..input.nb_streams()).map(bounds).collect();
    // SAFETY: there is one dictionary for each stream that exists at the call, and each is taken back.
    let found = unsafe {
        let found = ffi::avformat_find_stream_info(input.as_mut_ptr(), bounds.as_mut_ptr());
        bounds.into_iter().for_each(|bounds| drop(Dictionary::own(bounds)));
        found
    };
    if found < 0 { Err(Error::from(found)) } else { Ok(()) }
}

fn check_size(input: &context::Input) -> Result<(), MediaError> {
    let too_large = |what: &str| Err(MediaError::new(MediaErrorCode::MediaTooLarge, what));
    if input.nb_streams() > MOST_STREAMS {
        return too_large("too many streams");
    }
    for stream in input.streams() {
        let (width, height) = dimensions(&stream.parameters());
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return too_large("too many pixels");
        }
    }
    Ok(())
}

/// What a file that would not open is: cut short where its outline shows it, else not ours.
fn refusal(path: &Path, error: Error) -> MediaError {
    match error {
        Error::InvalidData | Error::Eof if boxes::is_cut_short(path) => {
            MediaError::truncated(format!("open the input: {error}"))
        }
        // Ours, not the file's: it is not there, or not ours to read.
        Error::Other { errno: ENOENT | EACCES | EPERM | EIO | EMFILE } => {
            MediaError::failed(format!("open the input: {error}"))
        }
        error => MediaError::because("open the input", error, MediaErrorCode::MediaUnsupported),
    }
}

fn check_readable(parameters: &Parameters) -> Result<(), MediaError> {
    listed_decoder(parameters)?;
    if parameters.medium() == media::Type::Video && dimensions(parameters).0 == 0 {
        return Err(MediaError::unsupported("a picture of unknown size"));
    }
    Ok(())
}

fn listed_decoder(parameters: &Parameters) -> Result<ffmpeg_next::Codec, MediaError> {
    let id = parameters.id();
    match decoder::find(id) {
        Some(codec) if DECODERS.split(',').any(|name| name == codec.name()) => Ok(codec),
        Some(_) | None => Err(MediaError::unsupported(format!("codec {} is not on the list", id.name()))),
    }
}

#[expect(unsafe_code, reason = "the wrapper does not show how the duration was found")]
fn has_exact_length(input: &context::Input) -> bool {
    use ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE;
    // SAFETY: `input` keeps what it points to alive.
    unsafe { (*input.as_ptr()).duration_estimation_method != AVFMT_DURATION_FROM_BITRATE }
}

#[expect(unsafe_code, reason = "the wrapper does not show the container's start time")]
fn start_time(input: &context::Input) -> Option<i64> {
    // SAFETY: `input` keeps what it points to alive.
    let start = unsafe { (*input.as_ptr()).start_time };
    (start != ffi::AV_NOPTS_VALUE).then_some(start)
}

#[expect(unsafe_code, reason = "the wrapper ties the name to a temporary")]
fn format_name(input: &context::Input) -> &str {
    // SAFETY: names of formats are static, NUL-terminated ASCII.
    let name = unsafe { std::ffi::CStr::from_ptr((*(*input.as_ptr()).iformat).name) };
    name.to_str().unwrap_or_default()
}
