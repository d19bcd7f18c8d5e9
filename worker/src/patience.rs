//! A database or a store that is away for a while, restarted perhaps, is no fault of a job, and costs it no attempt.

use std::error::Error as StdError;
use std::time::Duration;
use storage::error::{Error, Result};
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(2);

/// Tries again for as long as `passes` takes the error for one that may pass. No try begins after `limit`.
pub(crate) async fn patiently<T, Try>(
    limit: Duration,
    passes: impl Fn(&Error) -> bool,
    attempt: impl Fn() -> Try,
) -> Result<T>
where
    Try: Future<Output = Result<T>>,
{
    let end = Instant::now() + limit;
    loop {
        match attempt().await {
            Err(error) if passes(&error) && Instant::now() < end => {
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "the database or the store failed; trying again"
                );
                tokio::time::sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}
