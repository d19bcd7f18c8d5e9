//! Server-Sent Events of one job. The row is read anew at every change, so an event that is missed is made up for by the
//! next; its id is the version of the row, so that a client that comes back gets only what it has not seen.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use poem_openapi::types::ToJSON;
use storage::ids::JobId;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::app::App;
use crate::caller::Caller;
use crate::dto::jobs::{JobObject, JobView};
use crate::error::Result;
use crate::jobs;

/// A comment this often keeps proxies from closing a quiet stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often the row is looked at where nobody tells what other processes do to it.
const LOOK: Duration = Duration::from_secs(2);

/// One job and who follows it.
pub(crate) struct Watched {
    pub(crate) app: Arc<App>,
    pub(crate) caller: Caller,
    pub(crate) job: JobId,
}

/// The changes after the version `seen`, until the job ends, the server stops, or the caller may no longer see them. None
/// where the job has ended and `seen` is its end.
pub(crate) async fn follow(
    watched: Watched,
    seen: Option<i64>,
) -> Result<Option<EventStream<BoxStream<'static, JobObject>>>> {
    // Subscribed before the row is read, so that no change falls in between.
    let changes = watched.app.services.storage.events.subscribe(watched.job);
    let first = watched.read().await?;
    if first.job.state.is_terminal() && seen.is_some_and(|seen| seen >= first.job.version) {
        return Ok(None);
    }
    let events = EventStream::new(stream(watched, changes, Start { first, seen }).boxed());
    Ok(Some(events.keep_alive(HEARTBEAT).to_event(|job: JobObject| {
        Event::message(job.to_json_string()).event_type("status").id(job.version.to_string())
    })))
}

struct Start {
    first: JobView,
    seen: Option<i64>,
}

fn stream(
    watched: Watched,
    mut changes: BoxStream<'static, ()>,
    start: Start,
) -> impl Stream<Item = JobObject> + Send {
    async_stream::stream! {
        let Start { first: mut view, mut seen } = start;
        let shutdown = watched.app.services.shutdown.clone();
        let events = &watched.app.services.storage.events;
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ended = view.job.state.is_terminal();
            let version = view.job.version;
            if seen.is_none_or(|seen| version > seen) {
                seen = Some(version);
                yield view.show(&watched.caller.links);
            }
            if ended {
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                change = changes.next() => if change.is_none() { return },
                _ = heartbeat.tick() => {}
                _ = look.tick(), if !events.hear_all() => {}
            }
            // Whoever lost the stream to a failure, a deleted job or a login that was revoked comes back and is told.
            view = match (watched.caller.credential.is_live(&watched.app).await, watched.read().await) {
                (Ok(true), Ok(view)) => view,
                (Ok(_) | Err(_), _) => return,
            };
        }
    }
}

impl Watched {
    async fn read(&self) -> Result<JobView> {
        jobs::find(&self.app, self.caller.user, self.job).await
    }
}
