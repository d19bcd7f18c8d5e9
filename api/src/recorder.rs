//! How a recording that has stopped becomes a file of the room's owner, and the job that transcribes it. Whoever stops it
//! waits for that; where nobody does, a watch goes round.

use std::sync::Arc;
use std::time::Duration;

use pipeline::failure::Failure;
use pipeline::parameters::{Parameters, Transcribe, TranscribeTask, TranscriptFormat};
use poem::http::StatusCode;
use storage::error::Error as StorageError;
use storage::files::{FileKind, NewFile};
use storage::ids::{FileId, MeetingId};
use storage::jobs::{Idempotency, NewJob, Submitted};
use storage::rooms::chunks::Assembled;
use storage::rooms::recordings::Recording;
use storage::rooms::settling::Settled;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::error::{ApiError, Result};
use crate::intake::{self, Content};

/// How often the watch goes round.
const ROUND: Duration = Duration::from_secs(30);
/// Missing chunks that are named one by one.
const MOST_NAMED: usize = 10;

/// Makes the file and the job, even if whoever asked goes away meanwhile. The caller holds the recording.
pub(crate) async fn finish(app: &Arc<App>, recording: Recording) -> Result<Recording> {
    let app = app.clone();
    let work = async move {
        let done = file_and_job(&app, &recording).await;
        if done.is_err() {
            // Where the failure was noted, there is nothing to let go of.
            app.services.storage.recordings.release(&recording).await?;
        }
        done
    };
    tokio::spawn(work).await.map_err(ApiError::internal)?
}

/// The same for what the end of a session has stopped. What goes wrong is said by the recording itself.
pub(crate) async fn finish_those_of(app: &Arc<App>, meeting: MeetingId) {
    finish_claimed(app, Some(meeting)).await;
}

/// Stops what gets no chunks any more, and then finishes all that has stopped.
pub(crate) async fn finish_all(app: &Arc<App>) {
    match app.services.storage.recordings.stop_silent().await {
        Ok(0) => {}
        Ok(stopped) => tracing::info!(stopped, "stopped recordings that got no chunks any more"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "could not stop silent recordings");
        }
    }
    finish_claimed(app, None).await;
}

/// Goes round until the server is told to stop or the handle is dropped.
pub(crate) fn watch(app: Arc<App>) -> AbortOnDropHandle<()> {
    let shutdown = app.services.shutdown.clone();
    let round = async move {
        let mut ticks = interval(ROUND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            finish_all(&app).await;
        }
    };
    AbortOnDropHandle::new(tokio::spawn(round))
}

async fn finish_claimed(app: &Arc<App>, meeting: Option<MeetingId>) {
    loop {
        let recording = match app.services.storage.recordings.claim(meeting).await {
            Ok(Some(recording)) => recording,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "could not look for recordings");
                return;
            }
        };
        let id = recording.id;
        match finish(app, recording).await {
            Ok(_) => tracing::info!(recording.id = %id, "made a file of a recording"),
            Err(error) => tracing::warn!(recording.id = %id, "a recording is no file yet: {error}"),
        }
    }
}

async fn file_and_job(app: &App, recording: &Recording) -> Result<Recording> {
    let file = match recording.file {
        Some(file) => file,
        None => make_file(app, recording).await?,
    };
    let settled = match start_job(app, recording, file).await {
        Ok(settled) => settled,
        Err(error) if may_pass(&error) => return Err(error),
        Err(error) => Settled::Without(Failure::permanent("not_transcribed", error.to_string())),
    };
    Ok(app.services.storage.recordings.settle(recording, settled).await?)
}

async fn make_file(app: &App, recording: &Recording) -> Result<FileId> {
    let made = try_file(app, recording).await;
    let Err(error) = &made else { return made };
    let code = match error.status() {
        StatusCode::CONFLICT => "chunks_missing",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_unreadable",
        StatusCode::INSUFFICIENT_STORAGE => "insufficient_storage",
        // Another try may bring it about.
        _ => return made,
    };
    let failure = Failure::permanent(code, error.to_string());
    app.services.storage.recordings.fail(recording, &failure).await?;
    tracing::warn!(recording.id = %recording.id, code, "a recording has failed");
    made
}

async fn try_file(app: &App, recording: &Recording) -> Result<FileId> {
    let storage = &app.services.storage;
    let staged = match storage.recordings.assemble(recording).await? {
        Assembled::Whole(staged) => staged,
        Assembled::Missing(numbers) => return Err(ApiError::conflict(missing(&numbers))),
        Assembled::Nothing => return Err(ApiError::conflict("Nothing was recorded: no chunk has come")),
    };
    let Content { content_type, kind, media } = intake::identify(app, &staged).await?;
    if kind == FileKind::Text {
        return Err(ApiError::unusable_file(
            "media_unsupported",
            "The recording is text, not sound or video.",
        ));
    }
    let new = NewFile {
        owner: recording.owner,
        project_name: None,
        filename: recording.started_at.format("recording-%Y%m%d-%H%M%S").to_string(),
        content_type: content_type.to_owned(),
        kind,
        media,
        staged,
        upload: None,
    };
    Ok(storage.files.insert_recorded(new, recording).await?.id)
}

async fn start_job(app: &App, recording: &Recording, file: FileId) -> Result<Settled> {
    let parameters = Parameters::Transcribe(Transcribe {
        audio_file_id: file.as_uuid(),
        source_language: None,
        task: TranscribeTask::Transcribe,
        model: None,
        word_timestamps: true,
        prompt: None,
        output_formats: TranscriptFormat::ALL.to_vec(),
    });
    app.services.speech.check(&parameters).await?;
    let new = NewJob {
        owner: recording.owner,
        parameters,
        priority: 0,
        project: None,
        request_id: None,
        trace_parent: None,
        // No client can choose this key, for it is not ASCII; whoever tries again gets the same job.
        idempotency: Some(Idempotency {
            key: format!("recording·{}", recording.id),
            fingerprint: file.to_string(),
        }),
        builtin_voices: vec![],
        callback: None,
    };
    match app.services.storage.jobs.submit(new).await {
        Ok(Submitted::New(job) | Submitted::Same(job)) => {
            tracing::info!(job.id = %job.id, recording.id = %recording.id, "accepted a job for a recording");
            Ok(Settled::Job(job.id))
        }
        Err(StorageError::Input { .. }) => Ok(Settled::Without(Failure::permanent(
            "not_transcribed",
            "The recording has no sound to transcribe.",
        ))),
        // Its owner has deleted the file already.
        Err(StorageError::MissingInput { .. }) => {
            Ok(Settled::Without(Failure::permanent("not_transcribed", "The file is gone.")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether trying again may help.
fn may_pass(error: &ApiError) -> bool {
    matches!(error.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR)
}

fn missing(numbers: &[u32]) -> String {
    let named: Vec<_> = numbers.iter().take(MOST_NAMED).map(u32::to_string).collect();
    let more = match numbers.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("Chunks are missing: {}{more}. Send them, and stop the recording again.", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_is_missing_is_named_and_not_without_end() {
        assert_eq!(missing(&[1, 3]), "Chunks are missing: 1, 3. Send them, and stop the recording again.");
        let many: Vec<u32> = (0..12).collect();
        assert!(missing(&many).contains(": 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more."));
    }
}
