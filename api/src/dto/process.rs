//! The bodies of the four processing requests, and the parameters that they become.

use pipeline::parameters::{self, Invalid, Parameters, TimedText};
use poem_openapi::{Enum, Object};
use uuid::Uuid;

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "parameters::AudioFormat")]
pub(crate) enum AudioFormat {
    Wav,
    Mp3,
    Flac,
    Aac,
    Opus,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "parameters::VideoContainer")]
pub(crate) enum VideoContainer {
    Mp4,
    Mkv,
    Webm,
    Mov,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "parameters::Quality")]
pub(crate) enum Quality {
    Low,
    Medium,
    High,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "parameters::Extend")]
pub(crate) enum Extend {
    /// Hold the last frame until the voice ends.
    Freeze,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "parameters::TranscribeTask")]
pub(crate) enum TranscribeTask {
    Transcribe,
    /// To English.
    Translate,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "parameters::TranscriptFormat")]
pub(crate) enum TranscriptFormat {
    Json,
    Text,
    Srt,
    Vtt,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum ClonerEngine {
    Timbre,
    Pocket,
}

#[derive(Object)]
pub(crate) struct ExtractAudioRequest {
    /// A video, or an audio file to convert.
    video_file_id: Uuid,
    /// `wav` where absent.
    audio_format: Option<AudioFormat>,
    /// In hertz; that of the source where absent.
    #[oai(validator(minimum(value = "8000"), maximum(value = "48000")))]
    sample_rate: Option<u32>,
    #[oai(validator(minimum(value = "1"), maximum(value = "2")))]
    channels: Option<u16>,
    /// Called with a signed webhook when the job has ended: `http` or `https`, without user and password.
    #[oai(validator(max_length = 2048))]
    callback_url: Option<String>,
}

#[derive(Object)]
pub(crate) struct TranscribeRequest {
    /// An audio file, or a video with sound.
    audio_file_id: Uuid,
    /// ISO 639-1 code; `auto` or absent finds out.
    source_language: Option<String>,
    /// `transcribe` where absent.
    task: Option<TranscribeTask>,
    /// A wish: the best installed model for the task and language runs where this one is not installed.
    #[oai(validator(max_length = 100))]
    model: Option<String>,
    /// Gives each segment its words with their times; `true` where absent.
    word_timestamps: Option<bool>,
    /// Not available yet.
    diarize: Option<bool>,
    /// Names and terms that occur.
    #[oai(validator(max_length = 1000))]
    prompt: Option<String>,
    /// All where absent.
    output_formats: Option<Vec<TranscriptFormat>>,
    /// Called with a signed webhook when the job has ended: `http` or `https`, without user and password.
    #[oai(validator(max_length = 2048))]
    callback_url: Option<String>,
}

#[derive(Object)]
pub(crate) struct CloneVoiceRequest {
    /// What to say, unless there are segments.
    #[oai(validator(max_length = 200_000))]
    text_content: Option<String>,
    /// A recording of the speaker.
    audio_file_id: Option<Uuid>,
    /// Wins over the recording.
    voice_profile_id: Option<Uuid>,
    /// ISO 639-1 code; `en` where absent.
    target_language: Option<String>,
    /// Rate of speech, 1 is the voice's own.
    #[oai(validator(minimum(value = "0.5"), maximum(value = "2")))]
    speed: Option<f32>,
    /// `pocket` is not available yet.
    engine: Option<ClonerEngine>,
    /// Each said within its own time.
    #[oai(validator(max_items = 10_000))]
    segments: Option<Vec<SpokenSegment>>,
    /// Called with a signed webhook when the job has ended: `http` or `https`, without user and password.
    #[oai(validator(max_length = 2048))]
    callback_url: Option<String>,
}

#[derive(Object)]
struct SpokenSegment {
    /// Seconds from the start of the track.
    #[oai(validator(minimum(value = "0")))]
    start: f64,
    #[oai(validator(minimum(value = "0")))]
    end: f64,
    text: String,
}

#[derive(Object)]
pub(crate) struct GenerateVideoRequest {
    original_video_id: Uuid,
    cloned_audio_id: Uuid,
    /// `mp4` where absent.
    output_format: Option<VideoContainer>,
    /// `high` where absent: the picture is not encoded anew unless it must be.
    quality: Option<Quality>,
    /// What happens to a voice longer than the picture; absent refuses it.
    extend: Option<Extend>,
    /// Mixes the sound of the original under the voice.
    keep_background: Option<bool>,
    subtitles_file_id: Option<Uuid>,
    /// Draws the subtitles into the picture, instead of a track of their own.
    burn_subtitles: Option<bool>,
    /// Called with a signed webhook when the job has ended: `http` or `https`, without user and password.
    #[oai(validator(max_length = 2048))]
    callback_url: Option<String>,
}

/// A request for a job. What is wrong with its values, [`Parameters::validate`] says.
pub(crate) trait JobRequest {
    /// Refuses what is not available yet, naming the field.
    fn into_parameters(self) -> Result<Parameters, Invalid>;

    /// Who is to be told of the end.
    fn callback_url(&self) -> Option<&str>;
}

impl JobRequest for ExtractAudioRequest {
    fn into_parameters(self) -> Result<Parameters, Invalid> {
        Ok(Parameters::ExtractAudio(parameters::ExtractAudio {
            video_file_id: self.video_file_id,
            audio_format: self.audio_format.unwrap_or(AudioFormat::Wav).into(),
            sample_rate: self.sample_rate,
            channels: self.channels,
        }))
    }

    fn callback_url(&self) -> Option<&str> {
        self.callback_url.as_deref()
    }
}

impl JobRequest for TranscribeRequest {
    fn into_parameters(self) -> Result<Parameters, Invalid> {
        not_yet("diarize", self.diarize == Some(true))?;
        let formats = self
            .output_formats
            .map(|formats| parameters::TranscriptFormat::first_of_each(formats.into_iter().map(Into::into)));
        Ok(Parameters::Transcribe(parameters::Transcribe {
            audio_file_id: self.audio_file_id,
            source_language: self.source_language.filter(|language| language != "auto"),
            task: self.task.unwrap_or(TranscribeTask::Transcribe).into(),
            model: self.model,
            word_timestamps: self.word_timestamps.unwrap_or(true),
            prompt: self.prompt,
            output_formats: formats.unwrap_or_else(|| parameters::TranscriptFormat::ALL.to_vec()),
        }))
    }

    fn callback_url(&self) -> Option<&str> {
        self.callback_url.as_deref()
    }
}

impl JobRequest for CloneVoiceRequest {
    fn into_parameters(self) -> Result<Parameters, Invalid> {
        not_yet("engine", matches!(self.engine, Some(ClonerEngine::Pocket)))?;
        let timed = |SpokenSegment { start, end, text }| TimedText { start, end, text };
        Ok(Parameters::CloneVoice(parameters::CloneVoice {
            text_content: self.text_content,
            segments: self.segments.unwrap_or_default().into_iter().map(timed).collect(),
            audio_file_id: self.audio_file_id,
            voice_profile_id: self.voice_profile_id,
            target_language: self.target_language.unwrap_or_else(|| "en".to_owned()),
            speed: self.speed.unwrap_or(1.0),
        }))
    }

    fn callback_url(&self) -> Option<&str> {
        self.callback_url.as_deref()
    }
}

impl JobRequest for GenerateVideoRequest {
    fn into_parameters(self) -> Result<Parameters, Invalid> {
        Ok(Parameters::GenerateVideo(parameters::GenerateVideo {
            original_video_id: self.original_video_id,
            cloned_audio_id: self.cloned_audio_id,
            output_format: self.output_format.unwrap_or(VideoContainer::Mp4).into(),
            quality: self.quality.unwrap_or(Quality::High).into(),
            extend: self.extend.map(Into::into),
            keep_background: self.keep_background.unwrap_or(false),
            subtitles_file_id: self.subtitles_file_id,
            burn_subtitles: self.burn_subtitles.unwrap_or(false),
        }))
    }

    fn callback_url(&self) -> Option<&str> {
        self.callback_url.as_deref()
    }
}

fn not_yet(field: &str, asked_for: bool) -> Result<(), Invalid> {
    if asked_for { Err(Invalid::new(field, "not available yet")) } else { Ok(()) }
}
