//! Letters on their way: written and sent after the answer to whoever asked for them, so that the answer says nothing of
//! whether there was anybody to write to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::Instrument;

/// Letters at once. Who asks for one more gets none, and may ask again.
const MOST: usize = 64;
/// How long one may take, from looking up its reader to the mail server's word.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Outbox {
    places: Arc<Semaphore>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)) }
    }

    /// Begins the work and returns at once. It goes on without whoever asked for it, and ends with its time.
    pub(crate) fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::warn!("too many letters are on their way; one was not written");
            return;
        };
        let work = async move {
            if tokio::time::timeout(PATIENCE, work).await.is_err() {
                tracing::warn!("a letter took too long and was given up");
            }
            drop(place);
        };
        tokio::spawn(work.in_current_span());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::{MOST, Outbox};

    #[tokio::test]
    async fn letters_beyond_the_limit_are_not_written() {
        let outbox = Outbox::new();
        (0..MOST).for_each(|_| outbox.begin(pending()));
        let (written, told) = tokio::sync::oneshot::channel();
        outbox.begin(async move { written.send(()).unwrap() });
        assert!(told.await.is_err(), "the work is dropped");
    }
}
