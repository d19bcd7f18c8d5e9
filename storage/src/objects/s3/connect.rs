//! The way to the store, and whether it leads to a bucket.

use super::{
    BUFFER_MIB, Bucket, S3Config,
    failure::{Failure, describe},
};
use crate::error::{Error, Result};
use aws_config::BehaviorVersion;
use aws_sdk_s3::{
    Client,
    config::{Builder, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Attempts at one request: at a store that says to slow down, that answers late or breaks off.
const ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// What is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(
        "the bucket {bucket:?} does not exist at {place}; make it there (such as: aws s3 mb s3://{bucket}), or set \
         s3_bucket to one that does"
    )]
    Absent { bucket: String, place: String },
    #[error(
        "the object store at {place} refuses the keys ({code}); check s3_access_key and s3_secret_key, and that their \
         owner may list, read, write and delete in the bucket {bucket:?}"
    )]
    Refused { bucket: String, place: String, code: String },
    #[error("the bucket {bucket:?} is in another region than {region:?}; check s3_region")]
    Elsewhere { bucket: String, region: String },
    #[error("the bucket {bucket:?} at {place} cannot be used; check s3_endpoint and s3_bucket")]
    Other {
        bucket: String,
        place: String,
        #[source]
        cause: Failure,
    },
}

pub(super) async fn connect(config: &S3Config) -> Result<Bucket> {
    let private = client_config(config).await;
    let public = config.public_endpoint.as_ref().map(|endpoint| {
        Client::from_conf(private.clone().endpoint_url(endpoint).force_path_style(true).build())
    });
    let prefix = config.prefix.trim_matches('/');
    let bucket = Bucket {
        client: Client::from_conf(private.build()),
        public,
        name: config.bucket.clone(),
        prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
        patience: config.patience,
        buffers: Arc::new(Semaphore::new(BUFFER_MIB as usize)),
    };
    check(&bucket, config).await?;
    Ok(bucket)
}

async fn client_config(config: &S3Config) -> Builder {
    let region = Region::new(config.region.clone());
    let builder = match &config.keys {
        Some(keys) => {
            let keys = Credentials::new(&keys.access_key, &keys.secret_key, None, None, "voxmill");
            Builder::new()
                .behavior_version(BehaviorVersion::latest())
                .region(region)
                .credentials_provider(keys)
        }
        None => Builder::from(&aws_config::defaults(BehaviorVersion::latest()).region(region).load().await),
    };
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(LONGEST_BACKOFF);
    let builder = builder.retry_config(retries).timeout_config(timeouts(config.patience));
    match &config.endpoint {
        // Names of buckets in host names need a wildcard in DNS and in certificates, which most stores do not have.
        Some(endpoint) => builder.endpoint_url(endpoint).force_path_style(true),
        None => builder,
    }
}

/// For requests that take so long at most, each.
pub(super) fn timeouts(patience: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(patience.min(LONGEST_CONNECT))
        .read_timeout(patience)
        .operation_attempt_timeout(patience)
        .operation_timeout(patience * ATTEMPTS)
        .build()
}

/// Lists, and that not only because the sweeper does: the answer to a mere look at the bucket has no body that could
/// say what is wrong.
async fn check(bucket: &Bucket, config: &S3Config) -> Result<()> {
    let request = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(&bucket.prefix).max_keys(1);
    let Err(cause) = request.send().await else { return Ok(()) };
    let cause = describe("ListObjectsV2", &cause);
    let place = config.endpoint.clone().unwrap_or_else(|| format!("AWS in {}", config.region));
    let (bucket, region) = (config.bucket.clone(), config.region.clone());
    Err(Error::internal(match &cause {
        Failure::Refused { code, .. } if code == "NoSuchBucket" => Unusable::Absent { bucket, place },
        Failure::Refused { code, .. }
            if matches!(code.as_str(), "AuthorizationHeaderMalformed" | "PermanentRedirect") =>
        {
            Unusable::Elsewhere { bucket, region }
        }
        Failure::Refused { code, status: 401 | 403, .. } => {
            Unusable::Refused { bucket, place, code: code.clone() }
        }
        Failure::Refused { .. }
        | Failure::Late { .. }
        | Failure::Unreachable { .. }
        | Failure::Unclear { .. } => Unusable::Other { bucket, place, cause },
    }))
}
