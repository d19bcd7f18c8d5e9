//! What is refused at the start, by the name of the key.

use super::Config;
use crate::serve::Part;
use anyhow::bail;
use storage::objects::ObjectKey;

/// The program and its libraries take 350 MB of it before they have read a byte.
const LEAST_MEDIA_MEMORY: u64 = 512 << 20;

impl Config {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (key, value, allowed) in [
            ("models_strict", &self.models_strict, ["on", "off"]),
            ("log_format", &self.log_format, ["json", "text"]),
            ("rate_limits", &self.rate_limits, ["on", "off"]),
            ("guests", &self.guests, ["on", "off"]),
        ] {
            if !allowed.contains(&value.as_str()) {
                bail!("{key} must be {} or {}, not {value:?}", allowed[0], allowed[1]);
            }
        }
        if !["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| self.database_url().starts_with(scheme))
        {
            bail!(
                "database_url must name a SQLite file, such as sqlite:///var/lib/voxmill/voxmill.db?mode=rwc, or a Postgres \
                 database, such as postgres://voxmill@db.example/voxmill"
            );
        }
        if self.database_connections == 0 {
            bail!("database_connections must be at least 1");
        }
        let of_redis = ["redis://", "rediss://"];
        if !self.redis_url.is_empty() && !of_redis.iter().any(|scheme| self.redis_url.starts_with(scheme)) {
            // The URL may hold a password, so it is not shown.
            bail!(
                "redis_url must begin with redis://, such as redis://:password@redis.example:6379/0, or over TLS with \
                 rediss://"
            );
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if self.redis_prefix.is_empty() || !self.redis_prefix.bytes().all(plain) {
            bail!("redis_prefix must be letters, digits and any of - _ . :, not {:?}", self.redis_prefix);
        }
        self.check_s3()?;
        if self.max_connections == 0 {
            bail!("max_connections must be at least 1");
        }
        if !(0.0..=1_000.0).contains(&self.call_price_per_minute) {
            bail!("call_price_per_minute must be between 0 and 1000");
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            bail!("currency must be an ISO 4217 code such as USD, not {:?}", self.currency);
        }
        if let Some((kind, _)) = self.slots.iter().find(|(_, slots)| **slots == 0) {
            let kind = kind.as_str();
            bail!("slots: {kind} must be at least 1, or its jobs would be accepted and never run");
        }
        if self.media_memory_bytes < LEAST_MEDIA_MEMORY {
            bail!("media_memory_bytes must be at least {LEAST_MEDIA_MEMORY}, or no media could be opened");
        }
        if self.livekit_api_key.is_empty() != self.livekit_api_secret.is_empty() {
            bail!("livekit_api_key and livekit_api_secret must be set both, or neither");
        }
        if !self.smtp_url.is_empty() {
            if self.mail_from.is_empty() {
                bail!("smtp_url needs mail_from, the address that mail is from");
            }
            if self.public_url.is_empty() && self.password_reset_url.is_empty() {
                bail!("smtp_url needs public_url or password_reset_url, for the links in mail");
            }
        }
        if !self.otlp_endpoint.is_empty()
            && !["http://", "https://"].iter().any(|scheme| self.otlp_endpoint.starts_with(scheme))
        {
            bail!("otlp_endpoint must begin with http:// or https://, not {:?}", self.otlp_endpoint);
        }
        if !(0.0..=1.0).contains(&self.otlp_sample_ratio) {
            bail!("otlp_sample_ratio must be between 0 and 1");
        }
        self.device()?;
        self.rates()?;
        self.trusted_proxies()?;
        self.webhook_allow()?;
        Ok(())
    }

    /// # Errors
    /// Where a process of this part would share nothing with the others; the sentence names what is not set.
    pub(crate) fn check_for(&self, part: Part) -> anyhow::Result<()> {
        if part == Part::All {
            return Ok(());
        }
        let shared = [
            ("database_url", self.database_url.starts_with("postgres")),
            ("redis_url", !self.redis_url.is_empty()),
            ("s3_bucket", !self.s3_bucket.is_empty()),
            ("token_secret", part != Part::Api || !self.token_secret.is_empty()),
            ("url_secret", part != Part::Api || !self.url_secret.is_empty()),
        ];
        let missing: Vec<_> = shared.iter().filter(|(_, is_set)| !is_set).map(|(key, _)| *key).collect();
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "processes of a fleet share a Postgres database, Redis, an S3 store and their secrets; set {}, the same for all, \
             or run everything in one process with: voxmill serve",
            missing.join(", ")
        )
    }

    fn check_s3(&self) -> anyhow::Result<()> {
        let others = [
            ("s3_endpoint", &self.s3_endpoint),
            ("s3_access_key", &self.s3_access_key),
            ("s3_secret_key", &self.s3_secret_key),
            ("s3_prefix", &self.s3_prefix),
            ("s3_public_endpoint", &self.s3_public_endpoint),
        ];
        if self.s3_bucket.is_empty() {
            if let Some((key, _)) = others.iter().find(|(_, value)| !value.is_empty()) {
                bail!("{key} needs s3_bucket, the bucket that files are kept in");
            }
            return Ok(());
        }
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !(3..=63).contains(&self.s3_bucket.len()) || !self.s3_bucket.bytes().all(legal) {
            bail!(
                "s3_bucket must be 3 to 63 lower-case letters, digits, '.' and '-', not {:?}",
                self.s3_bucket
            );
        }
        if self.s3_region.is_empty() {
            bail!("s3_region must not be empty; stores that have no regions take us-east-1");
        }
        if self.s3_access_key.is_empty() != self.s3_secret_key.is_empty() {
            bail!("s3_access_key and s3_secret_key must be set both, or neither");
        }
        for (key, url) in [&others[0], &others[4]].into_iter().filter(|(_, url)| !url.is_empty()) {
            let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let authority = authority.map(|rest| rest.trim_end_matches('/'));
            if authority.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '@', '?', '#', ' '])) {
                bail!("{key} must be a scheme, a host and a port, such as https://s3.example:9000");
            }
        }
        let prefix = self.s3_prefix.trim_matches('/');
        if !prefix.is_empty() && (prefix.len() > 200 || ObjectKey::parse(prefix).is_err()) {
            bail!(
                "s3_prefix must be up to 200 letters, digits, '.', '_', '-' and '/', such as voxmill/production"
            );
        }
        Ok(())
    }
}
