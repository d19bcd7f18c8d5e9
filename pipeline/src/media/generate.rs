//! A picture with a new voice.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use ffmpeg_next::packet::side_data;
use ffmpeg_next::{Packet, ffi, frame};

use super::audio_track::{AudioTrack, Shape};
use super::child::{Job, Progress};
use super::containers::{
    format_name, has_timed_packets, header_options, holds, picture_codec, says_turns, sound_codec,
};
use super::encoder::Encoder;
use super::error::{Context, MediaError, MediaErrorCode};
use super::mix::{BACKGROUND, MAIN, Mixer};
use super::muxer::Muxer;
use super::operation::{SubtitleTrack, VideoGeneration, VideoReport};
use super::source::{Source, Track, dimensions, seconds};
use super::subtitle_track::{CarriedTrack, NewTrack, read_cues};
use super::video_track::{BURNED_FILE, Drawing, VideoTrack};
use crate::media_info::LENGTH_TOLERANCE;
use crate::parameters::{Extend, Quality};
use crate::subtitles;

pub(super) fn generate(generation: &VideoGeneration, job: &Job) -> Result<VideoReport, MediaError> {
    let plan = Plan::make(generation)?;
    let mut production = Production::start(plan, job)?;
    production.run()?;
    production.finish(job)
}

/// What is read, and what becomes of it.
struct Plan<'a> {
    generation: &'a VideoGeneration,
    original: Source,
    voice: Source,
    picture: Track,
    speech: Track,
    background: Option<Track>,
    /// Seconds of picture that the original has, and of the result.
    picture_seconds: f64,
    total_seconds: f64,
    /// Quarter turns clockwise by which a player turns the original.
    quarter_turns: u8,
    copies_picture: bool,
}

impl<'a> Plan<'a> {
    fn make(generation: &'a VideoGeneration) -> Result<Self, MediaError> {
        let original = Source::open(&generation.video)?;
        let voice = Source::open(&generation.voice)?;
        let missing = |code, what: &str| MediaError::new(code, what);
        let picture = original.video()?.ok_or_else(|| missing(MediaErrorCode::MediaNoVideo, "no picture"))?;
        let speech = voice.audio()?.ok_or_else(|| missing(MediaErrorCode::MediaNoAudio, "no voice"))?;
        let background = if generation.keep_background { original.audio()? } else { None };

        let picture_seconds = original.end_of(&picture, &generation.video)?;
        let voice_seconds = voice.end_of(&speech, &generation.voice)?;
        let total_seconds = total(generation.extend, picture_seconds, voice_seconds)?;
        let quarter_turns = quarter_turns(&original, &picture);
        let copies_picture = generation.quality == Quality::High
            && !generation.subtitles.as_ref().is_some_and(|track| track.burn)
            && total_seconds <= picture_seconds
            && (quarter_turns == 0 || says_turns(generation.container))
            && holds(generation.container, picture.parameters.id())
            && has_timed_packets(original.container());
        Ok(Self {
            generation,
            original,
            voice,
            picture,
            speech,
            background,
            picture_seconds,
            total_seconds,
            quarter_turns,
            copies_picture,
        })
    }

    /// The subtitles that are drawn into the picture.
    fn burned(&self) -> Option<&'a SubtitleTrack> {
        self.generation.subtitles.as_ref().filter(|track| track.burn)
    }

    /// The turns that are drawn. A player would turn burned letters along with the picture, so they need it upright.
    fn drawn_turns(&self) -> u8 {
        let is_told = says_turns(self.generation.container) && self.burned().is_none();
        if is_told { 0 } else { self.quarter_turns }
    }
}

/// Where the packets of the picture go.
enum PicturePath {
    Copy { track: Track, output: usize, reached: f64 },
    Draw { track: Box<VideoTrack>, encoder: Encoder },
}

impl PicturePath {
    fn track(&self) -> &Track {
        match self {
            Self::Copy { track, .. } => track,
            Self::Draw { track, .. } => track.track(),
        }
    }

    fn reached(&self) -> f64 {
        match self {
            Self::Copy { reached, .. } => *reached,
            Self::Draw { track, .. } => track.reached(),
        }
    }
}

/// The work itself: two sources are read side by side, whichever is behind next, and what they give is woven into one
/// file as it comes, so that memory does not grow with the length.
struct Production {
    original: Source,
    voice: Source,
    picture: PicturePath,
    speech: AudioTrack,
    background: Option<AudioTrack>,
    mixer: Mixer,
    sound: Encoder,
    carried: HashMap<usize, CarriedTrack>,
    subtitles: Option<NewTrack>,
    muxer: Muxer,
    progress: Progress,
    /// Seconds of sound handed to the encoder.
    sounded: f64,
    total_seconds: f64,
    size: (u32, u32),
}

impl Production {
    fn start(plan: Plan<'_>, job: &Job) -> Result<Self, MediaError> {
        let generation = plan.generation;
        let mut muxer = Muxer::create(&generation.output, format_name(generation.container))?;
        let picture = picture_path(&plan, job, &mut muxer)?;
        let size = match &picture {
            PicturePath::Copy { track, .. } => dimensions(&track.parameters),
            PicturePath::Draw { track, .. } => {
                let picture = track.picture();
                (picture.width, picture.height)
            }
        };

        let codec = sound_codec(generation.container);
        let shape = Shape { rate: 48_000, channels: 2, format: codec.sample_format() };
        let sound = Encoder::sound(codec, shape, &mut muxer)?;
        let mixer = match plan.background {
            Some(_) => Mixer::over_background(shape, sound.frame_size(), plan.total_seconds)?,
            None => Mixer::lasting(shape, sound.frame_size(), plan.total_seconds)?,
        };
        let background =
            plan.background.map(|track| AudioTrack::open(&plan.original, track, shape)).transpose()?;
        let speech = AudioTrack::open(&plan.voice, plan.speech, shape)?;

        let mut carried = HashMap::new();
        for track in plan.original.subtitles() {
            if let Some(track) = CarriedTrack::add(&plan.original, &track, generation.container, &mut muxer)?
            {
                carried.insert(track.source, track);
            }
        }
        let subtitles = match &generation.subtitles {
            Some(track) if !track.burn => {
                Some(NewTrack::add(&track.path, track.language.as_deref(), generation.container, &mut muxer)?)
            }
            Some(_) | None => None,
        };
        muxer.begin(header_options(generation.container))?;

        let mut production = Self {
            original: plan.original,
            voice: plan.voice,
            picture,
            speech,
            background,
            mixer,
            sound,
            carried,
            subtitles,
            muxer,
            progress: job.progress(Some(plan.total_seconds)),
            sounded: 0.0,
            total_seconds: plan.total_seconds,
            size,
        };
        production.read_only_what_is_used();
        Ok(production)
    }

    fn read_only_what_is_used(&mut self) {
        let mut wanted: Vec<_> = self.carried.keys().copied().collect();
        wanted.push(self.picture.track().index);
        wanted.extend(self.background.as_ref().map(|track| track.track().index));
        // Without a length of its own, the picture is whole when the container is read to its end, with all streams.
        if self.picture.track().duration.is_some() {
            self.original.read_only(&wanted);
        }
        if self.speech.track().duration.is_some() {
            self.voice.read_only(&[self.speech.track().index]);
        }
    }

    fn run(&mut self) -> Result<(), MediaError> {
        let (mut original_ended, mut voice_ended) = (false, false);
        while !(original_ended && voice_ended) {
            let voice_is_behind = self.voice.position() <= self.original.position();
            if !voice_ended && (voice_is_behind || original_ended) {
                voice_ended = self.read_voice()?;
            } else {
                original_ended = self.read_original()?;
            }
            let horizon = if original_ended { self.voice.position() } else { self.original.position() };
            self.write_sound(horizon)?;
            self.progress.reach(horizon);
        }
        self.finish_picture()?;
        self.write_sound(f64::INFINITY)
    }

    /// True at the end.
    fn read_voice(&mut self) -> Result<bool, MediaError> {
        let Self { voice, speech, mixer, .. } = self;
        let mut emit = |frame: &mut frame::Audio| mixer.push(MAIN, frame);
        let Some(packet) = voice.next_packet()? else {
            speech.finish(&mut emit)?;
            voice.check_complete(speech.track(), speech.reached())?;
            mixer.close(MAIN)?;
            return Ok(true);
        };
        if packet.stream() == speech.track().index {
            speech.decode(&packet, &mut emit)?;
        }
        Ok(false)
    }

    /// True at the end.
    fn read_original(&mut self) -> Result<bool, MediaError> {
        let Some(packet) = self.original.next_packet()? else {
            if let Some(background) = &mut self.background {
                background.finish(&mut |frame| self.mixer.push(BACKGROUND, frame))?;
                self.mixer.close(BACKGROUND)?;
            }
            return Ok(true);
        };
        let stream = packet.stream();
        if stream == self.picture.track().index {
            self.write_picture(packet)?;
        } else if let Some(carried) = self.carried.get(&stream) {
            carried.write(packet, &mut self.muxer)?;
        } else if let Some(background) = &mut self.background
            && stream == background.track().index
        {
            background.decode(&packet, &mut |frame| self.mixer.push(BACKGROUND, frame))?;
        }
        Ok(false)
    }

    fn write_picture(&mut self, mut packet: Packet) -> Result<(), MediaError> {
        if let PicturePath::Copy { track, output, reached } = &mut self.picture {
            let start = packet.pts().or(packet.dts()).unwrap_or(0);
            *reached = reached.max(seconds(start + packet.duration().max(0), track.time_base));
            let (output, time_base, reached) = (*output, track.time_base, *reached);
            self.muxer.write(&mut packet, output, time_base)?;
            return self.write_subtitles(reached);
        }
        if let PicturePath::Draw { track, .. } = &mut self.picture {
            track.push(&packet)?;
        }
        self.encode_picture()
    }

    fn finish_picture(&mut self) -> Result<(), MediaError> {
        if let PicturePath::Draw { track, .. } = &mut self.picture {
            track.close()?;
        }
        self.encode_picture()?;
        if let PicturePath::Draw { encoder, .. } = &mut self.picture {
            encoder.finish(&mut self.muxer)?;
        }
        self.write_subtitles(self.total_seconds)?;
        self.original.check_complete(self.picture.track(), self.picture.reached())
    }

    /// Encodes the frames that are drawn, and the sound beside them: a held last frame comes all at once.
    fn encode_picture(&mut self) -> Result<(), MediaError> {
        let mut frame = frame::Video::empty();
        loop {
            let PicturePath::Draw { track, encoder } = &mut self.picture else { return Ok(()) };
            if !track.pull(&mut frame)? {
                return Ok(());
            }
            encoder.encode(&frame, &mut self.muxer)?;
            let time = track.time_of(&frame);
            self.write_subtitles(time)?;
            self.write_sound(time)?;
            self.progress.reach(time);
        }
    }

    fn write_subtitles(&mut self, until: f64) -> Result<(), MediaError> {
        match &mut self.subtitles {
            Some(track) => track.write_until(until.min(self.total_seconds), &mut self.muxer),
            None => Ok(()),
        }
    }

    /// Encodes the mixed sound up to `until`. No further: the silence after a short voice is made as it is needed.
    fn write_sound(&mut self, until: f64) -> Result<(), MediaError> {
        let mut frame = frame::Audio::empty();
        while self.sounded <= until && self.mixer.pull(&mut frame)? {
            self.sounded += frame.samples() as f64 / f64::from(frame.rate().max(1));
            self.sound.encode(&frame, &mut self.muxer)?;
        }
        Ok(())
    }

    fn finish(mut self, job: &Job) -> Result<VideoReport, MediaError> {
        self.sound.finish(&mut self.muxer)?;
        self.muxer.finish(job)?;
        let (width, height) = self.size;
        let video_copied = matches!(self.picture, PicturePath::Copy { .. });
        Ok(VideoReport { duration_seconds: self.total_seconds, video_copied, width, height })
    }
}

fn picture_path(plan: &Plan<'_>, job: &Job, muxer: &mut Muxer) -> Result<PicturePath, MediaError> {
    let track = plan.picture.clone();
    let index = track.index;
    let path = if plan.copies_picture {
        let output = muxer.add_copied(track.parameters.clone(), track.time_base)?;
        PicturePath::Copy { track, output, reached: 0.0 }
    } else {
        let generation = plan.generation;
        if let Some(burned) = plan.burned() {
            write_burned_file(&burned.path)?;
        }
        let drawing = Drawing {
            quality: generation.quality,
            quarter_turns: plan.drawn_turns(),
            hold: plan.total_seconds - plan.picture_seconds,
            burn: plan.burned().is_some(),
        };
        let track = VideoTrack::open(&plan.original, track, drawing, job.threads())?;
        let codec = (picture_codec(generation.container), generation.quality);
        let encoder = Encoder::picture(codec, &track.picture(), job.threads(), muxer)?;
        PicturePath::Draw { track: Box::new(track), encoder }
    };
    let output = match &path {
        PicturePath::Copy { output, .. } => *output,
        PicturePath::Draw { encoder, .. } => encoder.stream(),
    };
    if says_turns(plan.generation.container)
        && let Some(stream) = plan.original.stream(index)
    {
        let is_turned = plan.drawn_turns() != 0;
        muxer
            .copy_side_data(&stream, output, |kind| !(is_turned && kind == side_data::Type::DisplayMatrix))?;
    }
    Ok(path)
}

/// The picture's length, unless a longer voice may hold its last frame.
fn total(extend: Option<Extend>, picture: f64, voice: f64) -> Result<f64, MediaError> {
    match extend {
        _ if voice <= picture + LENGTH_TOLERANCE => Ok(picture),
        Some(Extend::Freeze) => Ok(voice),
        None => {
            let message = format!("a voice of {voice:.2} s over a picture of {picture:.2} s");
            Err(MediaError::new(MediaErrorCode::VoiceLongerThanPicture, message))
        }
    }
}

/// Text that a user wrote goes into a file with a name of ours; the filter is told the name.
fn write_burned_file(subtitles: &Path) -> Result<(), MediaError> {
    let cues = read_cues(subtitles)?;
    fs::write(BURNED_FILE, subtitles::to_srt(&cues)).context("write the subtitles")
}

/// Quarter turns clockwise by which a player turns the picture.
#[expect(unsafe_code, reason = "the wrapper has no reader of display matrices")]
fn quarter_turns(source: &Source, picture: &Track) -> u8 {
    let Some(stream) = source.stream(picture.index) else { return 0 };
    let matrix = stream.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
    let Some(matrix) = matrix.filter(|matrix| matrix.data().len() >= 36) else { return 0 };
    // SAFETY: nine 32-bit numbers, as the length checked above holds; allocations of the library are aligned for them.
    let counterclockwise = unsafe { ffi::av_display_rotation_get(matrix.data().as_ptr().cast()) };
    if !counterclockwise.is_finite() {
        return 0;
    }
    (-counterclockwise / 90.0).round().rem_euclid(4.0) as u8
}
