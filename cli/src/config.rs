//! The configuration: defaults, then a TOML file, then the environment, then the command line.
//!
//! A key `some_key` of the file is `VOXMILL_SOME_KEY` in the environment; a secret may also be named by
//! `VOXMILL_…_FILE`. An unknown key is an error in both.

mod check;
mod load;
mod meaning;
#[cfg(test)]
mod tests;

pub(crate) use load::{Overrides, Work};

use pipeline::parameters::JobKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

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
    /// The address space of a child that opens media.
    pub media_memory_bytes: u64,
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
            media_memory_bytes: 4 << 30,
            grace_seconds: 30,
            engine_idle_seconds: 300,
            log_format: "json".to_owned(),
            log: "info".to_owned(),
            otlp_endpoint: String::new(),
            otlp_sample_ratio: 1.0,
        }
    }
}

/// Deliveries do little but wait for others' servers; everything else takes all that a machine has.
fn default_slots(kind: JobKind) -> usize {
    match kind {
        JobKind::ExtractAudio
        | JobKind::Transcribe
        | JobKind::CloneVoice
        | JobKind::GenerateVideo
        | JobKind::AnswerSpeech => 1,
        JobKind::DeliverWebhook => 8,
    }
}

/// `$XDG_DATA_HOME/voxmill`, or the place that stands for it.
fn default_data_directory() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_default()
        .join("voxmill")
}
