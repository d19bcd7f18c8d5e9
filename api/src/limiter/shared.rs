//! Counts that all processes share, in Redis. While it is away or slow, each process counts for itself.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use storage::shared_counts::{Admission, Allowance, SharedCounts};
use tokio::time::{Instant, timeout};

use super::{Bucket, InProcess, Limiter, Verdict};
use crate::rates::Rate;

/// No request waits longer than this to be counted.
const PATIENCE: Duration = Duration::from_millis(250);
/// Once one had to wait in vain, the others do not for so long.
const AWAY: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    counts: SharedCounts,
    own: InProcess,
    away_until: Mutex<Option<Instant>>,
}

impl Shared {
    pub(crate) fn new(counts: SharedCounts) -> Self {
        Self { counts, own: InProcess::new(), away_until: Mutex::default() }
    }

    /// None where Redis does not say in time.
    async fn ask(&self, bucket: Bucket, rate: Rate, several: NonZeroU32) -> Option<Admission> {
        if self.away_until().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let name = format!("{}:{}:{rate}", bucket.class.as_str(), bucket.requester);
        let allowance = Allowance { burst: rate.requests(), interval: rate.interval() };
        match timeout(PATIENCE, self.counts.admit(&name, allowance, several)).await {
            Ok(Ok(admission)) => return Some(admission),
            Ok(Err(error)) => self.counts.complain(&error),
            Err(late) => self.counts.complain(&late),
        }
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + AWAY);
        None
    }

    fn away_until(&self) -> Option<Instant> {
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Limiter for Shared {
    async fn admit_several(&self, bucket: Bucket, rate: Rate, several: NonZeroU32) -> Verdict {
        match self.ask(bucket, rate, several).await {
            Some(Admission::Admitted { remaining }) => Verdict::Admitted { remaining },
            Some(Admission::Refused { wait }) => Verdict::Refused { wait },
            None => self.own.admit_several(bucket, rate, several).await,
        }
    }
}
