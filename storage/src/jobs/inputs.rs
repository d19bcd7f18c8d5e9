//! Whether the files and the voice that a job names exist for its owner and hold what the job needs.

use crate::{
    error::{Conflict, Error, Result},
    files::{self, File},
    ids::UserId,
    voices,
};
use pipeline::{
    media_info::LENGTH_TOLERANCE,
    parameters::{GenerateVideo, Input, InputKind, Parameters},
};
use sea_orm::ConnectionTrait;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What some jobs name, as far as it is their owner's.
pub(super) struct Named {
    files: HashMap<Uuid, File>,
    voices: HashSet<Uuid>,
}

impl Named {
    /// For all the jobs in two statements at most.
    pub(super) async fn find<'a>(
        database: &impl ConnectionTrait,
        owner: UserId,
        jobs: impl Iterator<Item = &'a Parameters> + Clone,
    ) -> Result<Self> {
        let names = jobs.clone().flat_map(Parameters::inputs).map(|input| input.file_id).collect();
        let files = files::find_all(database, owner, names).await?;
        let voices = voices::find_all(database, owner, jobs.filter_map(voice).collect()).await?;
        Ok(Self { files: files.into_iter().map(|file| (file.id.as_uuid(), file)).collect(), voices })
    }

    /// [`Error::MissingInput`], [`Error::Input`] or [`Conflict::VoiceTooLong`] where the job could only fail.
    pub(super) fn check(&self, parameters: &Parameters, builtin_voices: &[Uuid]) -> Result<()> {
        self.check_files(parameters)?;
        match voice(parameters) {
            Some(voice) if !builtin_voices.contains(&voice) && !self.voices.contains(&voice) => {
                Err(missing("voice_profile_id"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// As [`Named::check`], for who does not know the built-in voices.
    pub(super) fn check_files(&self, parameters: &Parameters) -> Result<()> {
        for input in parameters.inputs() {
            check_kind(&input, self.files.get(&input.file_id).ok_or_else(|| missing(input.field))?)?;
        }
        match parameters {
            Parameters::GenerateVideo(job) => self.check_lengths(job),
            Parameters::ExtractAudio(_)
            | Parameters::Transcribe(_)
            | Parameters::CloneVoice(_)
            | Parameters::DeliverWebhook(_)
            | Parameters::AnswerSpeech(_) => Ok(()),
        }
    }

    fn check_lengths(&self, job: &GenerateVideo) -> Result<()> {
        let length = |id: Uuid| Some(self.files.get(&id)?.media.as_ref()?.duration_seconds);
        if let (Some(picture), Some(voice)) = (length(job.original_video_id), length(job.cloned_audio_id))
            && job.extend.is_none()
            && voice > picture + LENGTH_TOLERANCE
        {
            return Err(Conflict::VoiceTooLong.into());
        }
        Ok(())
    }
}

fn voice(parameters: &Parameters) -> Option<Uuid> {
    match parameters {
        Parameters::CloneVoice(job) => job.voice_profile_id,
        Parameters::ExtractAudio(_)
        | Parameters::Transcribe(_)
        | Parameters::GenerateVideo(_)
        | Parameters::DeliverWebhook(_)
        | Parameters::AnswerSpeech(_) => None,
    }
}

fn check_kind(input: &Input, file: &File) -> Result<()> {
    let media = file.media.as_ref();
    let (fits, issue) = match input.kind {
        InputKind::Video => (media.is_some_and(|media| media.video.is_some()), "must be a file with video"),
        InputKind::Sound => (media.is_some_and(|media| media.audio.is_some()), "must be a file with sound"),
        InputKind::Subtitles => (is_subtitles(file), "must be a file of subtitles, SRT or VTT"),
    };
    if fits { Ok(()) } else { Err(Error::input(input.field, issue)) }
}

fn is_subtitles(file: &File) -> bool {
    ["application/x-subrip", "text/vtt"].iter().any(|kind| file.content_type.starts_with(kind))
}

fn missing(field: &str) -> Error {
    Error::MissingInput { field: field.to_owned() }
}
