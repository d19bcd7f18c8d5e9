//! Counts of requests that several processes share.

use crate::{
    broker::{Broker, Complaints},
    error::{Error, Result},
};
use redis::Script;
use std::{
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::Duration,
};

static ADMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("admit.lua")));

/// So many requests at once, each of which is there again after `interval`, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub burst: NonZeroU32,
    pub interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// So many more may follow at once.
    Admitted { remaining: u32 },
    /// As many will be admitted after so long.
    Refused { wait: Duration },
}

#[derive(Clone)]
pub struct SharedCounts {
    broker: Broker,
    complaints: Arc<Complaints>,
}

impl SharedCounts {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, complaints: Arc::default() }
    }

    /// Counts so many requests of `bucket` at once, or none of them where the allowance forbids it. The time is that of
    /// Redis, one for all processes. A bucket is to be asked for one allowance alone.
    pub async fn admit(&self, bucket: &str, allowance: Allowance, several: NonZeroU32) -> Result<Admission> {
        let mut script = ADMIT.key(self.broker.name(&format!("count:{bucket}")));
        let interval = u64::try_from(allowance.interval.as_micros()).map_err(Error::internal)?;
        script.arg(interval).arg(allowance.burst.get()).arg(several.min(allowance.burst).get());
        let (admitted, rest): (bool, u64) = self.broker.invoke(&script).await.map_err(Error::internal)?;
        Ok(match admitted {
            true => Admission::Admitted { remaining: u32::try_from(rest).map_err(Error::internal)? },
            false => Admission::Refused { wait: Duration::from_micros(rest) },
        })
    }

    /// Says in the log, once a minute at most, that Redis does not count.
    pub fn complain(&self, error: &(dyn std::error::Error + 'static)) {
        if self.complaints.may_be_said() {
            tracing::warn!(
                error,
                "Redis does not count requests; each process counts for itself until it does"
            );
        }
    }
}
