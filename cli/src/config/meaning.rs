//! What the settings mean to the parts that go by them.

use super::Config;
use anyhow::{Context as _, anyhow, bail};
use api::{LiveKit, Network, Rate, Rates};
use pipeline::parameters::JobKind;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use storage::RedisConfig;
use storage::objects::{ObjectsConfig, S3Config, S3Keys};
use storage::users::Role;
use worker::engines::Device;
use worker::engines::choice::Absent;

/// How long the object store may take for one request, of 16 MiB at most.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

impl Config {
    /// Slots of the kinds that are taken here.
    pub(crate) fn slots(&self) -> BTreeMap<JobKind, usize> {
        let mut slots = self.slots.clone();
        slots.retain(|kind, _| self.queues.is_empty() || self.queues.contains(kind));
        slots
    }

    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        let device: Device = self.device.parse().map_err(|problem| anyhow!("device: {problem}"))?;
        if device != Device::Cpu && !models::whisper::CUDA {
            bail!(
                "device is {device}, and this voxmill was built without CUDA; use the image for it, or device=cpu"
            );
        }
        Ok(device)
    }

    pub(crate) fn objects(&self) -> ObjectsConfig {
        if self.s3_bucket.is_empty() {
            return ObjectsConfig::Disk;
        }
        let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let keys = S3Keys { access_key: self.s3_access_key.clone(), secret_key: self.s3_secret_key.clone() };
        ObjectsConfig::S3(S3Config {
            bucket: self.s3_bucket.clone(),
            endpoint: set(&self.s3_endpoint),
            region: self.s3_region.clone(),
            keys: Some(keys).filter(|keys| !keys.access_key.is_empty()),
            prefix: self.s3_prefix.clone(),
            public_endpoint: set(&self.s3_public_endpoint),
            patience: STORE_PATIENCE,
        })
    }

    /// None where no server is configured.
    pub(crate) fn livekit(&self) -> Option<LiveKit> {
        (!self.livekit_api_key.is_empty()).then(|| LiveKit {
            url: Some(self.livekit_url.clone()).filter(|url| !url.is_empty()),
            api_key: self.livekit_api_key.clone(),
            api_secret: self.livekit_api_secret.clone(),
        })
    }

    /// None where this process works alone.
    pub(crate) fn redis(&self) -> Option<RedisConfig> {
        (!self.redis_url.is_empty())
            .then(|| RedisConfig { url: self.redis_url.clone(), prefix: self.redis_prefix.clone() })
    }

    /// None where nothing is limited.
    fn role_rates(&self) -> anyhow::Result<Vec<(Role, Rate)>> {
        let rate = |(name, per_minute): (&String, &NonZeroU32)| {
            let role = [Role::User, Role::Admin].into_iter().find(|role| role.as_str() == name);
            let role =
                role.with_context(|| format!("role_rate_limits: {name:?} is no role; user and admin are"))?;
            Ok((role, Rate::per_minute(*per_minute)))
        };
        self.role_rate_limits.iter().map(rate).collect()
    }

    pub(crate) fn rates(&self) -> anyhow::Result<Option<Rates>> {
        let rate = |key: &str, text: &str| -> anyhow::Result<Rate> {
            text.parse().with_context(|| format!("rate_limit_{key} = {text:?}"))
        };
        let rates = Rates {
            auth: rate("auth", &self.rate_limit_auth)?,
            voiceera_auth: rate("voiceera_auth", &self.rate_limit_voiceera_auth)?,
            uploads: rate("uploads", &self.rate_limit_uploads)?,
            processing: rate("processing", &self.rate_limit_processing)?,
            wide: rate("wide", &self.rate_limit_wide)?,
            guests: rate("guests", &self.rate_limit_guests)?,
            imports: rate("imports", &self.rate_limit_imports)?,
            other: rate("other", &self.rate_limit_other)?,
            roles: self.role_rates()?,
        };
        Ok((self.rate_limits == "on").then_some(rates))
    }

    pub(crate) fn trusted_proxies(&self) -> anyhow::Result<Vec<Network>> {
        let network = |text: &String| text.parse().with_context(|| format!("trusted_proxies: {text:?}"));
        self.trusted_proxies.iter().map(network).collect()
    }

    pub(crate) fn webhook_allow(&self) -> anyhow::Result<Vec<worker::Network>> {
        let network = |text: &String| text.parse().with_context(|| format!("webhook_allow: {text:?}"));
        self.webhook_allow.iter().map(network).collect()
    }

    pub(crate) fn database_url(&self) -> String {
        if self.database_url.is_empty() {
            format!("sqlite://{}?mode=rwc", self.data_dir.join("voxmill.db").display())
        } else {
            self.database_url.clone()
        }
    }

    pub(crate) fn models_directory(&self) -> PathBuf {
        if self.models_dir.as_os_str().is_empty() {
            models::catalogue::default_directory()
        } else {
            self.models_dir.clone()
        }
    }

    pub(crate) fn absent_models(&self) -> Absent {
        if self.models_strict == "on" { Absent::Refused } else { Absent::Replaced }
    }

    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1),
            threads => threads,
        }
    }
}
