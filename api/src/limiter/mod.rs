//! Counts requests by the generic cell rate algorithm: a full rate at once, then as fast as it fills again. Where processes
//! share a Redis, they share the counts.

mod in_process;
mod shared;
#[cfg(test)]
mod suite;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use storage::ids::{ApiKeyId, UserId};

use crate::rates::Rate;
use crate::throttle::Class;

pub(crate) use in_process::InProcess;
pub(crate) use shared::Shared;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    pub(crate) class: Class,
    pub(crate) requester: Requester,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Requester {
    Address(IpAddr),
    User(UserId),
    ApiKey(ApiKeyId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// So many more may follow at once.
    Admitted { remaining: u32 },
    /// One will be admitted after so long.
    Refused { wait: Duration },
}

#[async_trait]
pub(crate) trait Limiter: Send + Sync {
    /// Counts one request, unless `rate` forbids it.
    async fn admit(&self, bucket: Bucket, rate: Rate) -> Verdict {
        self.admit_several(bucket, rate, NonZeroU32::MIN).await
    }

    /// Counts so many at once, or none of them where `rate` forbids it. More than there can ever be at once count as those.
    async fn admit_several(&self, bucket: Bucket, rate: Rate, several: NonZeroU32) -> Verdict;
}

impl fmt::Display for Requester {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(formatter, "address:{address}"),
            Self::User(user) => write!(formatter, "user:{user}"),
            Self::ApiKey(key) => write!(formatter, "api-key:{key}"),
        }
    }
}
