//! A body is taken no faster than its sender may send; what comes faster waits with the sender. So that no user has many
//! that wait, each a connection, there are so many at once and no more.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{TryStreamExt, stream};
use poem::Body;
use storage::ids::UserId;

use crate::app::App;
use crate::error::{ApiError, Result};

const KILOBYTE: usize = 1000;
/// Imports of one user at once, in one process.
const MOST_IMPORTS: usize = 2;
/// When another may be tried, in seconds. Nobody knows when one ends.
const LATER: u64 = 60;

/// The body at the rate of imports, which its user's other imports share. It breaks off where it would have to wait for
/// longer than the server runs, and [`is_stopping`] tells that.
pub(crate) fn paced(app: &Arc<App>, user: UserId, body: Body) -> Body {
    let app = app.clone();
    let chunks = Box::pin(body.into_bytes_stream());
    // Bytes that have come and are counted with the next whole kilobyte.
    let paced = stream::try_unfold((chunks, 0), move |(mut chunks, uncounted)| {
        let app = app.clone();
        async move {
            let Some(chunk) = chunks.try_next().await? else { return Ok::<_, io::Error>(None) };
            let bytes = uncounted + chunk.len();
            let kilobytes = u32::try_from(bytes / KILOBYTE).unwrap_or(u32::MAX);
            if let (Some(throttle), Some(kilobytes)) = (&app.throttle, NonZeroU32::new(kilobytes)) {
                let admitted = throttle.wait_for(user, kilobytes);
                let admitted = app.services.shutdown.run_until_cancelled(admitted).await;
                admitted.ok_or_else(|| io::Error::other(Stopping))?;
            }
            Ok(Some((chunk, (chunks, bytes % KILOBYTE))))
        }
    });
    Body::from_bytes_stream(paced)
}

#[derive(Debug, thiserror::Error)]
#[error("the server is stopping")]
struct Stopping;

/// Whether a body was broken off by us, for the server is told to stop.
pub(crate) fn is_stopping(error: &io::Error) -> bool {
    let mut cause = error.get_ref();
    while let Some(error) = cause {
        if error.is::<Stopping>() {
            return true;
        }
        cause = error.downcast_ref().and_then(io::Error::get_ref);
    }
    false
}

/// The imports under way in this process, by their users.
#[derive(Default)]
pub(crate) struct Imports(Mutex<HashMap<UserId, usize>>);

impl Imports {
    /// Counts one more, until what this gives is dropped. 429 where the user has as many as there may be.
    pub(crate) fn begin(&self, user: UserId) -> Result<UnderWay<'_>> {
        let mut counts = self.lock();
        let count = counts.entry(user).or_default();
        if *count >= MOST_IMPORTS {
            return Err(ApiError::too_many_requests(LATER));
        }
        *count += 1;
        Ok(UnderWay { imports: self, user })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct UnderWay<'a> {
    imports: &'a Imports,
    user: UserId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut counts = self.imports.lock();
        if let Some(count) = counts.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.user);
            }
        }
    }
}
