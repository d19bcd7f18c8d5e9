//! Whether the files and the voice that a job names exist for its owner and hold what the job needs.

use crate::{
    error::{Conflict, Error, Result},
    files::{self, File},
    ids::UserId,
    rows::voice_profiles,
};
use pipeline::{
    media_info::LENGTH_TOLERANCE,
    parameters::{GenerateVideo, Input, InputKind, Parameters},
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

/// [`Error::MissingInput`], [`Error::Input`] or [`Conflict::VoiceTooLong`] where the job could only fail.
pub(super) async fn check(
    database: &impl ConnectionTrait,
    owner: UserId,
    parameters: &Parameters,
    builtin_voices: &[Uuid],
) -> Result<()> {
    check_files(database, owner, parameters).await?;
    match parameters {
        Parameters::CloneVoice(job) => match job.voice_profile_id {
            Some(voice) if !builtin_voices.contains(&voice) => check_voice(database, owner, voice).await,
            Some(_) | None => Ok(()),
        },
        Parameters::ExtractAudio(_)
        | Parameters::Transcribe(_)
        | Parameters::GenerateVideo(_)
        | Parameters::DeliverWebhook(_) => Ok(()),
    }
}

/// The part of [`check`] that needs nothing but rows.
pub(super) async fn check_files(
    database: &impl ConnectionTrait,
    owner: UserId,
    parameters: &Parameters,
) -> Result<()> {
    let mut found = vec![];
    for input in parameters.inputs() {
        let file = files::find(database, owner, input.file_id.into()).await.map_err(missing(input.field))?;
        check_kind(&input, &file)?;
        found.push(file);
    }
    match parameters {
        Parameters::GenerateVideo(job) => check_lengths(job, &found),
        Parameters::ExtractAudio(_)
        | Parameters::Transcribe(_)
        | Parameters::CloneVoice(_)
        | Parameters::DeliverWebhook(_) => Ok(()),
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

fn check_lengths(job: &GenerateVideo, files: &[File]) -> Result<()> {
    let length = |id: Uuid| {
        let file = files.iter().find(|file| file.id.as_uuid() == id)?;
        Some(file.media.as_ref()?.duration_seconds)
    };
    if let (Some(picture), Some(voice)) = (length(job.original_video_id), length(job.cloned_audio_id))
        && job.extend.is_none()
        && voice > picture + LENGTH_TOLERANCE
    {
        return Err(Conflict::VoiceTooLong.into());
    }
    Ok(())
}

async fn check_voice(database: &impl ConnectionTrait, owner: UserId, voice: Uuid) -> Result<()> {
    let row = voice_profiles::Entity::find_by_id(voice)
        .filter(voice_profiles::Column::OwnerId.eq(owner.as_uuid()))
        .one(database)
        .await?;
    if row.is_some() { Ok(()) } else { Err(missing("voice_profile_id")(Error::NotFound)) }
}

fn missing(field: &str) -> impl FnOnce(Error) -> Error {
    let field = field.to_owned();
    move |error| match error {
        Error::NotFound => Error::MissingInput { field },
        other => other,
    }
}
