//! A body is taken no faster than its sender may send; what comes faster waits with the sender.

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::{TryStreamExt, stream};
use poem::Body;
use storage::ids::UserId;

use crate::app::App;

const KILOBYTE: usize = 1000;

/// The body at the rate of imports, which its user's other imports share.
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
                throttle.wait_for(user, kilobytes).await;
            }
            Ok(Some((chunk, (chunks, bytes % KILOBYTE))))
        }
    });
    Body::from_bytes_stream(paced)
}
