//! Says that a job changed, within this process. An event carries nothing: whoever hears one reads the row.

use crate::ids::JobId;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

#[derive(Clone, Debug, Default)]
pub struct Events {
    watched: Arc<Mutex<HashMap<JobId, watch::Sender<()>>>>,
}

impl Events {
    /// Tells everybody who watches the job.
    pub fn notify(&self, job: JobId) {
        let mut watched = self.watched();
        if let Some(sender) = watched.get(&job)
            && sender.send(()).is_err()
        {
            watched.remove(&job);
        }
    }

    /// Yields once after each change from now on; changes that come quickly may be told as one.
    /// Subscribe first and read the job then, and no change is missed.
    pub fn subscribe(&self, job: JobId) -> BoxStream<'static, ()> {
        let receiver = self.watched().entry(job).or_insert_with(|| watch::Sender::new(())).subscribe();
        let watching = Watching { receiver: Some(receiver), events: self.clone(), job };
        unfold(watching, |mut watching| async move {
            watching.receiver.as_mut()?.changed().await.ok()?;
            Some(((), watching))
        })
        .boxed()
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscriber, who takes the entry of the job along when the last one leaves.
struct Watching {
    receiver: Option<watch::Receiver<()>>,
    events: Events,
    job: JobId,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.events.watched();
        self.receiver = None;
        if watched.get(&self.job).is_some_and(|sender| sender.receiver_count() == 0) {
            watched.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Events;
    use crate::ids::JobId;
    use futures_util::{FutureExt, StreamExt};

    #[tokio::test]
    async fn a_change_after_subscribing_is_heard_even_before_listening() {
        let events = Events::default();
        let job = JobId::new();
        events.notify(job);
        let mut changes = events.subscribe(job);
        assert!(changes.next().now_or_never().is_none(), "a change before subscribing is in the row already");
        events.notify(JobId::new());
        assert!(changes.next().now_or_never().is_none(), "another job's change is not ours");
        events.notify(job);
        assert_eq!(changes.next().now_or_never(), Some(Some(())));
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_job_that_nobody_watches() {
        let events = Events::default();
        let job = JobId::new();
        let (first, second) = (events.subscribe(job), events.subscribe(job));
        drop(first);
        assert_eq!(events.watched().len(), 1);
        drop(second);
        assert_eq!(events.watched().len(), 0);
    }
}
