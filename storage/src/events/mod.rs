//! Says that a job changed, or that one became due. An event carries nothing: whoever hears one reads the row.
//!
//! This process hears at once. Where processes share a Redis, the others hear by it; telling them is nobody's to wait for.
//! Where they share a database and no Redis, they do not.

mod telling;

use crate::{
    broker::{Broker, Heard},
    ids::JobId,
};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use telling::{Message, Teller};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// By default those of a process that has the database for itself.
#[derive(Clone, Debug, Default)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    watched: Mutex<HashMap<JobId, watch::Sender<()>>>,
    due: Notify,
    others: Others,
}

/// The other processes.
#[derive(Debug, Default)]
enum Others {
    #[default]
    None,
    Unheard,
    Told(Told),
}

#[derive(Debug)]
struct Told {
    teller: Teller,
    /// Whether all that they say is heard.
    heard: AtomicBool,
    _listens_as_long_as_this_lives: DropGuard,
}

impl Events {
    /// Those of all processes that use the same Redis under the same prefix.
    pub(crate) fn shared(broker: &Broker) -> Self {
        let channel = broker.name("events");
        let (teller, end) = (Teller::start(broker.clone(), channel.clone()), CancellationToken::new());
        let own = teller.origin();
        let others = Told {
            teller,
            heard: AtomicBool::new(false),
            _listens_as_long_as_this_lives: end.clone().drop_guard(),
        };
        let inner = Arc::new(Inner { others: Others::Told(others), ..Inner::default() });
        let (heard, listener) = (broker.listen(channel), Arc::downgrade(&inner));
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = listen(heard, listener, own) => {}
            }
        });
        Self { inner }
    }

    /// Those of this process alone, where others use the database too.
    pub(crate) fn unheard() -> Self {
        Self { inner: Arc::new(Inner { others: Others::Unheard, ..Inner::default() }) }
    }

    /// Tells everybody who watches the job.
    pub fn notify(&self, job: JobId) {
        self.inner.notify(job);
        if let Others::Told(others) = &self.inner.others {
            others.teller.changed(job);
        }
    }

    /// Yields once after each change from now on; changes that come quickly may be told as one, and now and then it
    /// yields without any. Subscribe first and read the job then, and no change is missed, as long as
    /// [`Events::hear_all`] says so.
    pub fn subscribe(&self, job: JobId) -> BoxStream<'static, ()> {
        let receiver = self.inner.watched().entry(job).or_insert_with(|| watch::Sender::new(())).subscribe();
        let watching = Watching { receiver: Some(receiver), inner: self.inner.clone(), job };
        unfold(watching, |mut watching| async move {
            watching.receiver.as_mut()?.changed().await.ok()?;
            Some(((), watching))
        })
        .boxed()
    }

    /// Whether the changes of all processes are heard. Where they are not, whoever waits for one has to look at the row
    /// now and then; subscribers are told when this changes.
    pub fn hear_all(&self) -> bool {
        match &self.inner.others {
            Others::None => true,
            Others::Unheard => false,
            Others::Told(others) => others.heard.load(Ordering::Acquire),
        }
    }

    /// Wakes the dispatcher when a job became due. Those of processes that are not heard it finds by looking.
    pub fn due(&self) -> &Notify {
        &self.inner.due
    }

    /// Wakes a dispatcher here, and those of the other processes.
    pub(crate) fn notify_due(&self) {
        self.inner.due.notify_one();
        if let Others::Told(others) = &self.inner.others {
            others.teller.due();
        }
    }
}

impl Inner {
    fn notify(&self, job: JobId) {
        let mut watched = self.watched();
        if let Some(sender) = watched.get(&job)
            && sender.send(()).is_err()
        {
            watched.remove(&job);
        }
    }

    fn notify_all(&self) {
        self.watched().retain(|_, sender| sender.send(()).is_ok());
        self.due.notify_one();
    }

    fn hear(&self, heard: &Heard, own: [u8; 16]) {
        match heard {
            Heard::Begun => self.set_heard(true),
            Heard::Lost => self.set_heard(false),
            Heard::Message(bytes) => match Message::read(bytes) {
                // Told here when it was sent.
                Some(message) if message.origin == own => {}
                Some(message) => {
                    message.changed.into_iter().for_each(|job| self.notify(job));
                    if message.missed {
                        self.notify_all();
                    }
                    if message.due {
                        self.due.notify_one();
                    }
                }
                None => tracing::debug!("a message of another version was not understood"),
            },
        }
    }

    fn set_heard(&self, heard: bool) {
        if let Others::Told(others) = &self.others
            && others.heard.swap(heard, Ordering::AcqRel) != heard
        {
            self.notify_all();
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(mut heard: mpsc::Receiver<Heard>, listener: Weak<Inner>, own: [u8; 16]) {
    while let Some(heard) = heard.recv().await {
        let Some(inner) = listener.upgrade() else { return };
        inner.hear(&heard, own);
    }
}

/// A subscriber, who takes the entry of the job along when the last one leaves.
struct Watching {
    receiver: Option<watch::Receiver<()>>,
    inner: Arc<Inner>,
    job: JobId,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watched = self.inner.watched();
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
        assert_eq!(events.inner.watched().len(), 1);
        drop(second);
        assert_eq!(events.inner.watched().len(), 0);
    }
}
