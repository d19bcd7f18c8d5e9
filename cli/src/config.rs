//! The configuration: defaults, then a TOML file, then the environment, then the command line.
//!
//! A key `some_key` of the file is `VOXMILL_SOME_KEY` in the environment; a secret may also be named by
//! `VOXMILL_…_FILE`. An unknown key is an error in both.

use crate::serve::Part;
use anyhow::{Context as _, anyhow, bail};
use api::{LiveKit, Network, Rate, Rates};
use clap::Args;
use pipeline::parameters::JobKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage::RedisConfig;
use storage::objects::{ObjectKey, ObjectsConfig, S3Config, S3Keys};
use storage::users::Role;
use toml::{Table, Value};
use worker::engines::Device;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// TOML file with the configuration
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the database, the files and the secrets lie
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub data_dir: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub bind: Option<String>,
}

/// What a process that works takes besides.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Work {
    /// Kinds of job to take, such as transcribe,clone-voice; all where none is named
    #[arg(long, value_name = "KINDS")]
    pub queues: Option<String>,
    /// Jobs at once, by kind, such as transcribe=2
    #[arg(long, value_name = "KIND=NUMBER")]
    pub slots: Option<String>,
    /// Where speech is transcribed: cpu, or cuda:0 for the first graphics card
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

/// Every key, with its default. An empty string or list is "not set".
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub bind: String,
    pub data_dir: PathBuf,
    /// The URL under which clients reach the server, for links in answers.
    pub public_url: String,
    pub cors_origins: Vec<String>,
    /// The mail server, such as `smtps://user:password@mail.example`; without one, links are in the log.
    pub smtp_url: String,
    /// Whom mail is from.
    pub mail_from: String,
    /// The page that sets a new password, where it is not ours.
    pub password_reset_url: String,
    /// `SQLite` in the data directory where not set, or `postgres://…`.
    pub database_url: String,
    /// The most connections that a process opens to Postgres.
    pub database_connections: u32,
    /// The Redis by which several processes wake one another, such as `redis://:password@redis.example:6379/0`.
    pub redis_url: String,
    /// What the keys of this installation begin with there.
    pub redis_prefix: String,
    /// The bucket of an S3 store that files are kept in; without one they are in the data directory.
    pub s3_bucket: String,
    /// Where the store is; AWS where not set.
    pub s3_endpoint: String,
    pub s3_region: String,
    /// Without these two, the environment, the profile and the machine are asked, as by all tools of AWS.
    pub s3_access_key: String,
    pub s3_secret_key: String,
    /// Stands before the names of all objects.
    pub s3_prefix: String,
    /// Where clients reach the store, to which they are then sent for bytes.
    pub s3_public_endpoint: String,
    /// Signs access tokens. Made at first start where not set.
    pub token_secret: String,
    /// Signs URLs. Made at first start where not set.
    pub url_secret: String,
    /// Opens the metrics to other machines.
    pub metrics_token: String,
    /// Opens the internal routes to other machines.
    pub internal_key: String,
    /// Where clients find the `LiveKit` server of live rooms.
    pub livekit_url: String,
    pub livekit_api_key: String,
    pub livekit_api_secret: String,
    /// `on` lets those in who are not logged in, where a document has guests; `off` does not.
    pub guests: String,
    pub models_dir: PathBuf,
    /// `on` refuses a job whose model is absent, `off` runs the best installed one.
    pub models_strict: String,
    /// Files and jobs are kept for so long; 0 keeps them until deleted.
    pub retention_days: u32,
    pub quota_bytes: u64,
    pub max_upload_bytes: u64,
    /// `on` or `off`
    pub rate_limits: String,
    /// Registering, logging in, refreshing and logging out, of one address. This rate and the next ones are such as `5/min`.
    pub rate_limit_auth: String,
    /// The same at the paths under `/auth`.
    pub rate_limit_voiceera_auth: String,
    /// Uploads begun, of one user.
    pub rate_limit_uploads: String,
    /// Requests that make jobs, of one user.
    pub rate_limit_processing: String,
    /// Job status and events, the bytes of files, and parts of uploads.
    pub rate_limit_wide: String,
    /// What is open to guests, of one address.
    pub rate_limit_guests: String,
    /// Kilobytes of call logs imported, of one user.
    pub rate_limit_imports: String,
    /// Everything else, of one user, or of one address where nobody is logged in.
    pub rate_limit_other: String,
    /// Requests a minute of users of a role, in place of what holds for others; a role that is not named has that.
    pub role_rate_limits: BTreeMap<String, NonZeroU32>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// What a minute of a call costs that does not say what it cost.
    pub call_price_per_minute: f64,
    /// Of what calls cost: an ISO 4217 code.
    pub currency: String,
    /// Connections at once. A process may usually have 1,024 files open: half of them for what the requests open.
    pub max_connections: usize,
    /// The kinds of job that are taken here; all where none is named.
    pub queues: Vec<JobKind>,
    /// Where speech is transcribed: `cpu`, or `cuda:0` for the first graphics card.
    pub device: String,
    /// Networks whose addresses webhooks may be sent to, though they are not public.
    pub webhook_allow: Vec<String>,
    /// Jobs that run at once, by kind; where a kind is not named, one, and of deliveries eight.
    pub slots: BTreeMap<JobKind, usize>,
    /// Threads of one transcription; 0 takes half the cores of the machine: whisper.cpp's threads spin while they wait, and
    /// with every core taken by them the rest of the server brings them to a crawl.
    pub threads: usize,
    pub job_time_limit_seconds: u64,
    /// How long running jobs may go on after SIGTERM.
    pub grace_seconds: u64,
    pub engine_idle_seconds: u64,
    /// `json` or `text`
    pub log_format: String,
    /// A filter such as `info` or `voxmill=debug,warn`.
    pub log: String,
    /// The collector that traces are sent to by OTLP, such as `http://collector.example:4318`; none are made without one.
    pub otlp_endpoint: String,
    /// The share of traces that is kept, of those whose beginning is here.
    pub otlp_sample_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:8000".to_owned(),
            data_dir: default_data_directory(),
            public_url: String::new(),
            cors_origins: vec![],
            smtp_url: String::new(),
            mail_from: String::new(),
            password_reset_url: String::new(),
            database_url: String::new(),
            database_connections: 16,
            redis_url: String::new(),
            redis_prefix: "voxmill".to_owned(),
            s3_bucket: String::new(),
            s3_endpoint: String::new(),
            s3_region: "us-east-1".to_owned(),
            s3_access_key: String::new(),
            s3_secret_key: String::new(),
            s3_prefix: String::new(),
            s3_public_endpoint: String::new(),
            token_secret: String::new(),
            url_secret: String::new(),
            metrics_token: String::new(),
            internal_key: String::new(),
            livekit_url: String::new(),
            livekit_api_key: String::new(),
            livekit_api_secret: String::new(),
            guests: "on".to_owned(),
            models_dir: PathBuf::new(),
            models_strict: "off".to_owned(),
            retention_days: 0,
            quota_bytes: 100 << 30,
            max_upload_bytes: 50 << 30,
            rate_limits: "on".to_owned(),
            rate_limit_auth: "5/min".to_owned(),
            rate_limit_voiceera_auth: "10/min".to_owned(),
            rate_limit_uploads: "10/h".to_owned(),
            rate_limit_processing: "20/h".to_owned(),
            rate_limit_wide: "6000/min".to_owned(),
            rate_limit_guests: "20/min".to_owned(),
            rate_limit_imports: "10000/min".to_owned(),
            rate_limit_other: "100/min".to_owned(),
            role_rate_limits: BTreeMap::new(),
            trusted_proxies: vec![],
            call_price_per_minute: 0.0,
            currency: "USD".to_owned(),
            max_connections: 512,
            queues: vec![],
            device: "cpu".to_owned(),
            webhook_allow: vec![],
            slots: JobKind::ALL.into_iter().map(|kind| (kind, default_slots(kind))).collect(),
            threads: 0,
            job_time_limit_seconds: 6 * 3600,
            grace_seconds: 30,
            engine_idle_seconds: 300,
            log_format: "json".to_owned(),
            log: "info".to_owned(),
            otlp_endpoint: String::new(),
            otlp_sample_ratio: 1.0,
        }
    }
}

/// Keys that may come from a file of their own, named by the key and `_FILE`.
const SECRETS: [&str; 9] = [
    "database_url",
    "s3_secret_key",
    "token_secret",
    "url_secret",
    "metrics_token",
    "internal_key",
    "livekit_api_secret",
    "smtp_url",
    "redis_url",
];
/// Variables of the command line client, which the server does not read.
pub(crate) const CLIENT_VARIABLES: [&str; 2] = ["VOXMILL_SERVER", "VOXMILL_API_KEY"];
const PREFIX: &str = "VOXMILL_";
/// How long the object store may take for one request, of 16 MiB at most.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

impl Config {
    /// # Errors
    /// An unreadable file, an unknown key, or a value of the wrong type; the sentence names it.
    pub(crate) fn load(overrides: &Overrides) -> anyhow::Result<Self> {
        Self::load_for_work(overrides, &Work::default())
    }

    /// # Errors
    /// As [`Config::load`].
    pub(crate) fn load_for_work(overrides: &Overrides, work: &Work) -> anyhow::Result<Self> {
        let told = [("QUEUES", &work.queues), ("SLOTS", &work.slots), ("DEVICE", &work.device)];
        let told = told.into_iter().filter_map(|(key, text)| Some((format!("{PREFIX}{key}"), text.clone()?)));
        let mut config = Self::read(overrides.config.as_deref(), variables()?.into_iter().chain(told))?;
        if let Some(data_dir) = &overrides.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if let Some(bind) = &overrides.bind {
            config.bind.clone_from(bind);
        }
        Ok(config)
    }

    fn read(file: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let defaults =
            Table::try_from(Self::default()).context("the defaults are no table. This is a bug.")?;
        let mut table = match file {
            None => Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("could not read the configuration {}", path.display()))?;
                text.parse().with_context(|| format!("{} is not TOML", path.display()))?
            }
        };
        for (variable, text) in variables {
            let Some(key) = variable.strip_prefix(PREFIX).map(str::to_ascii_lowercase) else { continue };
            if CLIENT_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let (key, text) = match key.strip_suffix("_file").filter(|key| SECRETS.contains(key)) {
                Some(secret) => (secret.to_owned(), secret_from(&variable, &text)?),
                None => (key, text),
            };
            let Some(default) = defaults.get(&key) else {
                bail!("{variable} is no setting of Voxmill; see docs/configuration.md for those that are")
            };
            let value = typed_as(default, &text).with_context(|| format!("{variable}={text:?}"))?;
            table.insert(key, value);
        }
        let mut config: Self = Value::Table(table).try_into().context("the configuration")?;
        for (kind, slots) in Self::default().slots {
            config.slots.entry(kind).or_insert(slots);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> anyhow::Result<()> {
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
        if !self.redis_url.is_empty() && !self.redis_url.starts_with("redis://") {
            // The URL may hold a password, so it is not shown.
            bail!("redis_url must begin with redis://, such as redis://:password@redis.example:6379/0");
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

    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1),
            threads => threads,
        }
    }
}

/// Deliveries do little but wait for others' servers; everything else takes all that a machine has.
fn default_slots(kind: JobKind) -> usize {
    match kind {
        JobKind::ExtractAudio | JobKind::Transcribe | JobKind::CloneVoice | JobKind::GenerateVideo => 1,
        JobKind::DeliverWebhook => 8,
    }
}

/// The variables with our prefix; those of others are none of our business, whatever is in them.
fn variables() -> anyhow::Result<Vec<(String, String)>> {
    let ours = std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let text = |(name, text): (OsString, OsString)| match (name.into_string(), text.into_string()) {
        (Ok(name), Ok(text)) => Ok((name, text)),
        (Ok(name), Err(_)) => bail!("{name} is not UTF-8"),
        (Err(name), _) => bail!("the name {} is not UTF-8", name.display()),
    };
    ours.map(text).collect()
}

/// The text of a variable as a value of the same type as the default's.
fn typed_as(default: &Value, text: &str) -> anyhow::Result<Value> {
    Ok(match default {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.trim().parse().context("must be a whole number")?),
        Value::Float(_) => Value::Float(text.trim().parse().context("must be a number")?),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().context("must be true or false")?),
        Value::Array(_) => Value::Array(listed(text).map(|item| Value::String(item.to_owned())).collect()),
        // Such as `transcribe=2,clone-voice=1`.
        Value::Table(_) => {
            let mut table = Table::new();
            for item in listed(text) {
                let (key, number) = item.split_once('=').context("must be a list of name=number")?;
                table.insert(key.trim().to_owned(), Value::Integer(number.trim().parse()?));
            }
            Value::Table(table)
        }
        Value::Datetime(_) => bail!("no setting is a date"),
    })
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn secret_from(variable: &str, path: &str) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("could not read the file of {variable}"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// `$XDG_DATA_HOME/voxmill`, or the place that stands for it.
fn default_data_directory() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_default()
        .join("voxmill")
}

#[cfg(test)]
mod tests {
    use super::Config;
    use pipeline::parameters::JobKind;
    use std::io::Write as _;
    use storage::users::Role;

    fn read(file: &str, variables: &[(&str, &str)]) -> anyhow::Result<Config> {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        written.write_all(file.as_bytes()).unwrap();
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Config::read(Some(written.path()), variables)
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = read(
            "bind = '1.2.3.4:5'\nquota_bytes = 7\n[slots]\ntranscribe = 3\n",
            &[
                ("VOXMILL_BIND", "0.0.0.0:80"),
                ("VOXMILL_CORS_ORIGINS", "https://a.example, https://b.example"),
            ],
        )
        .unwrap();
        assert_eq!(config.bind, "0.0.0.0:80");
        assert_eq!(config.quota_bytes, 7);
        assert_eq!(config.slots[&JobKind::Transcribe], 3);
        assert_eq!(config.cors_origins, ["https://a.example", "https://b.example"]);
        let slots = read("", &[("VOXMILL_SLOTS", "clone-voice=2, transcribe=4")]).unwrap().slots;
        assert_eq!((slots[&JobKind::CloneVoice], slots[&JobKind::Transcribe]), (2, 4));
        assert_eq!((slots.len(), slots[&JobKind::ExtractAudio]), (JobKind::ALL.len(), 1));
        let taken = read("", &[("VOXMILL_QUEUES", "transcribe"), ("VOXMILL_SLOTS", "transcribe=4")]).unwrap();
        assert_eq!(taken.slots().into_iter().collect::<Vec<_>>(), [(JobKind::Transcribe, 4)]);
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name() {
        let refused = |file, variables: &[(&str, &str)]| format!("{:#}", read(file, variables).unwrap_err());
        assert!(refused("bindd = 'x'", &[]).contains("bindd"));
        assert!(refused("", &[("VOXMILL_BINDD", "x")]).contains("VOXMILL_BINDD"));
        assert!(refused("", &[("VOXMILL_QUOTA_BYTES", "many")]).contains("VOXMILL_QUOTA_BYTES"));
        assert!(refused("models_strict = 'maybe'", &[]).contains("models_strict"));
        assert!(refused("currency = 'dollars'", &[]).contains("currency"));
        assert!(refused("s3_endpoint = 'http://a:1'", &[]).contains("s3_bucket"));
        assert!(refused("s3_bucket = 'A Bucket'", &[]).contains("s3_bucket"));
        for more in
            ["access_key = 'k'", "endpoint = 's3.example'", "endpoint = 'http://k:s@a'", "prefix = 'a b'"]
        {
            let key = more.split(' ').next().unwrap();
            let config = format!("s3_bucket = 'media'\ns3_{more}");
            let error = format!("{:#}", read(&config, &[]).unwrap_err());
            assert!(error.contains(&format!("s3_{key}")), "{error}");
        }
        assert!(refused("call_price_per_minute = -1.0", &[]).contains("call_price_per_minute"));
        assert!(refused("", &[("VOXMILL_CALL_PRICE_PER_MINUTE", "nan")]).contains("call_price_per_minute"));
        assert!(refused("slots = { dance = 1 }", &[]).contains("dance"));
        assert!(refused("", &[("VOXMILL_SLOTS", "transcribe=0")]).contains("transcribe must be at least 1"));
        assert!(refused("", &[("VOXMILL_DATABASE_URL", "mysql://localhost/voxmill")]).contains("SQLite"));
        assert!(refused("", &[("VOXMILL_QUEUES", "dance")]).contains("dance"));
        assert!(refused("", &[("VOXMILL_DEVICE", "abacus")]).contains("cuda:0"));
        assert!(refused("", &[("VOXMILL_DEVICE", "cuda:1")]).contains("without CUDA"));
        let refusal = refused("", &[("VOXMILL_REDIS_URL", "http://:geheim@localhost")]);
        assert!(refusal.contains("redis_url") && !refusal.contains("geheim"), "{refusal}");
        assert!(refused("redis_prefix = 'a b'", &[]).contains("redis_prefix"));
        assert!(refused("otlp_endpoint = 'collector:4318'", &[]).contains("otlp_endpoint"));
        assert!(refused("", &[("VOXMILL_OTLP_SAMPLE_RATIO", "1.5")]).contains("otlp_sample_ratio"));
        assert!(refused("livekit_api_key = 'key'", &[]).contains("livekit_api_secret"));
        assert!(refused("", &[("VOXMILL_ROLE_RATE_LIMITS", "king=5")]).contains("king"));
        assert!(refused("", &[("VOXMILL_ROLE_RATE_LIMITS", "admin=0")]).contains("configuration"));
        let smtp = ("VOXMILL_SMTP_URL", "smtp://mail.example");
        assert!(refused("", &[smtp]).contains("mail_from"));
        assert!(refused("mail_from = 'a@example.com'", &[smtp]).contains("public_url"));
        assert!(refused("rate_limits = 'maybe'", &[]).contains("rate_limits"));
        assert!(refused("", &[("VOXMILL_RATE_LIMIT_AUTH", "many")]).contains("rate_limit_auth"));
        assert!(refused("", &[("VOXMILL_TRUSTED_PROXIES", "10.0.0.0/8, lb")]).contains("lb"));
        assert!(refused("", &[("VOXMILL_WEBHOOK_ALLOW", "10.0.0.0/8, lan")]).contains("lan"));
    }

    #[test]
    fn rates_hold_unless_they_are_off() {
        let auth = |variables: &[(&str, &str)]| {
            read("", variables).unwrap().rates().unwrap().map(|rates| rates.auth)
        };
        assert_eq!(auth(&[]), Some("5/min".parse().unwrap()));
        assert_eq!(auth(&[("VOXMILL_RATE_LIMIT_AUTH", "7/s")]), Some("7/s".parse().unwrap()));
        assert_eq!(auth(&[("VOXMILL_RATE_LIMITS", "off")]), None);
        let roles =
            read("", &[("VOXMILL_ROLE_RATE_LIMITS", "admin=1000")]).unwrap().rates().unwrap().unwrap().roles;
        assert_eq!(roles, [(Role::Admin, "1000/min".parse().unwrap())]);
    }

    #[test]
    fn a_secret_may_lie_in_a_file() {
        let mut secret = tempfile::NamedTempFile::new().unwrap();
        secret.write_all(b"12345\n").unwrap();
        let path = secret.path().to_str().unwrap();
        assert_eq!(read("", &[("VOXMILL_TOKEN_SECRET_FILE", path)]).unwrap().token_secret, "12345");
        assert!(read("", &[("VOXMILL_BIND_FILE", path)]).is_err());
        std::fs::write(path, "redis://:pass@localhost\n").unwrap();
        let redis = read("", &[("VOXMILL_REDIS_URL_FILE", path)]).unwrap().redis().unwrap();
        assert_eq!((redis.url.as_str(), redis.prefix.as_str()), ("redis://:pass@localhost", "voxmill"));
        assert!(!format!("{redis:?}").contains("pass"));
        assert!(read("", &[]).unwrap().redis().is_none());
    }
}
