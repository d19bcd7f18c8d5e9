//! The whole server in one process: database, queue, workers and HTTP.

use crate::config::Config;
use crate::doors::{EngineSpeech, Media, MediaProbe, WorkerSpeech};
use crate::logging;
use crate::mail::SmtpMail;
use crate::models_command::default_set;
use anyhow::{Context as _, bail};
use api::doors::{Mail, Speech};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use models::catalogue::{Catalogue, Sources};
use pipeline::media::{CHILD_COMMAND, Limits, MediaRunner};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::calls::CallPrice;
use storage::{Storage, StorageConfig};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::engines::{EngineConfig, Engines};
use worker::{Egress, WorkerConfig};

/// How long a client may be silent where it is its turn.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);

/// Which part of the work a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// HTTP and jobs.
    All,
    Api,
    Worker,
}

/// Does its part until SIGTERM or SIGINT, then drains.
pub(crate) async fn run(config: Config, part: Part) -> anyhow::Result<()> {
    let traces = logging::start(&config)?;
    let ended = serve(&config, part).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    ended
}

async fn serve(config: &Config, part: Part) -> anyhow::Result<()> {
    let server = Server::start(config, part).await?;
    tracing::info!("listening on http://{}", server.address);
    let shutdown = server.shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = stop_on_signal(shutdown).await {
            tracing::error!(%error, "cannot listen for signals");
        }
    });
    server.finished().await
}

pub(crate) async fn migrate(config: &Config, down: Option<u32>) -> anyhow::Result<()> {
    let _lock = lock(config)?;
    let url = config.database_url();
    match down {
        None => migrations::up(&url).await?,
        Some(steps) => migrations::down(&url, steps).await?,
    }
    Ok(())
}

/// The storage, also while a server runs on it: the schema is then the server's, and is left as it is.
pub(crate) async fn storage_beside_a_server(config: &Config) -> anyhow::Result<Storage> {
    if let Ok(lock) = lock(config) {
        return open_storage(config, &lock).await;
    }
    storage(config).await
}

/// Makes the directory, with its parents, where it is not there; it is its owner's alone.
pub(crate) fn make_data_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The storage with the schema of this version, which nobody but the holder of the lock may change: an older server may
/// be running on it.
async fn open_storage(config: &Config, _lock: &File) -> anyhow::Result<Storage> {
    migrations::up(&config.database_url())
        .await
        .context("could not bring the database to this version's schema")?;
    storage(config).await
}

async fn storage(config: &Config) -> anyhow::Result<Storage> {
    let days = u64::from(config.retention_days);
    let storage = StorageConfig {
        database_url: config.database_url(),
        database_connections: config.database_connections,
        data_directory: config.data_dir.clone(),
        objects: config.objects(),
        default_quota_bytes: config.quota_bytes,
        retention: (days > 0).then(|| Duration::from_secs(days * 86_400)),
        redis: config.redis(),
    };
    Ok(Storage::open(&storage).await?)
}

/// A running server of this process.
pub(crate) struct Server {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    parts: JoinSet<anyhow::Result<()>>,
    /// Two processes on one data directory would end each other's leases.
    _lock: File,
}

impl Server {
    /// Listens and works when this returns.
    pub(crate) async fn start(config: &Config, part: Part) -> anyhow::Result<Self> {
        config.check_for(part)?;
        if part == Part::All && hides_files_from_others(config) {
            tracing::warn!(
                "other processes may take jobs from this database, and find no file of theirs: files are in {}; set \
                 s3_bucket, the same for all, or let this process be the only one",
                config.data_dir.display()
            );
        }
        let lock = lock(config)?;
        let storage = open_storage(config, &lock).await?;
        if !storage.is_shared() {
            // Whoever held one was a process of this data directory, and is dead.
            storage.jobs.end_all_leases().await?;
        }
        let listener = TcpListener::bind(&config.bind)
            .await
            .with_context(|| format!("could not listen on {}; choose another with --bind", config.bind))?;
        let address = listener.local_addr()?;
        let metrics = metrics_handle()?;
        let media = Media::new(media_runner(config)?);
        let absent = config.absent_models();
        let shutdown = CancellationToken::new();
        let surroundings = Surroundings { storage: storage.clone(), metrics, shutdown: shutdown.clone() };
        let mut parts = JoinSet::new();
        match part {
            Part::All => {
                let services = worker_services(config, storage).await?;
                let speech = EngineSpeech::new(&services, media.clone(), absent);
                let api = api_services(config, surroundings, (media, Arc::new(speech)))?;
                parts.spawn(serve_http(listener, api));
                parts.spawn(worker::run(services, shutdown.clone()));
            }
            // Without engines: what only they can answer the workers are asked.
            Part::Api => {
                let speech = WorkerSpeech::new(storage.clone(), absent);
                let api = api_services(config, surroundings, (media, Arc::new(speech)))?;
                parts.spawn(serve_http(listener, api));
                parts.spawn(worker::sweep_staging(storage, shutdown.clone()));
            }
            Part::Worker => {
                let services = worker_services(config, storage).await?;
                let observed = observed(config, surroundings);
                // It is watched until it has drained.
                let (end, work) = (CancellationToken::new(), shutdown.clone());
                let drained = end.clone().drop_guard();
                parts.spawn(async move {
                    api::serve_operations(listener, observed, end).await.context("the HTTP server")
                });
                parts.spawn(async move {
                    let _drained = drained;
                    worker::run(services, work).await
                });
            }
        }
        Ok(Self { address, shutdown, parts, _lock: lock })
    }

    /// Returns when every part has ended: all end when one does.
    pub(crate) async fn finished(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.parts.join_next().await {
            self.shutdown.cancel();
            outcome = outcome.and(ended.map_err(anyhow::Error::from).flatten());
        }
        outcome
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.finished().await
    }
}

pub(crate) fn catalogue(config: &Config) -> Catalogue {
    Catalogue::new(config.models_directory(), Sources::from_env())
}

pub(crate) fn media_runner(config: &Config) -> anyhow::Result<MediaRunner> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let within = Limits::within(Duration::from_secs(config.job_time_limit_seconds));
    let limits = Limits { memory_bytes: config.media_memory_bytes, ..within };
    Ok(MediaRunner::new(program, vec![CHILD_COMMAND.into()], limits))
}

async fn serve_http(listener: TcpListener, api: api::Services) -> anyhow::Result<()> {
    api::serve(listener, api).await.context("the HTTP server")
}

/// The engines, and what else a job takes. Of the parts, those that work alone have them.
pub(crate) async fn worker_services(config: &Config, storage: Storage) -> anyhow::Result<worker::Services> {
    warn_of_missing_models(config);
    let engine_config = EngineConfig {
        threads: config.threads(),
        idle: Duration::from_secs(config.engine_idle_seconds),
        device: config.device()?,
    };
    let services = worker::Services {
        storage,
        media: media_runner(config)?,
        engines: Arc::new(Engines::new(catalogue(config), engine_config)),
        egress: Egress::new(config.webhook_allow()?)?,
        config: Arc::new(WorkerConfig {
            name: format!("{}-{}-{}", host_name(), std::process::id(), uuid::Uuid::new_v4().simple()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            work_directory: config.data_dir.join("work"),
            slots: config.slots(),
            time_limit: Duration::from_secs(config.job_time_limit_seconds),
            grace: Duration::from_secs(config.grace_seconds),
        }),
    };
    worker::prepare(&services.config.work_directory).await?;
    Ok(services)
}

struct Surroundings {
    storage: Storage,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
}

fn observed(config: &Config, surroundings: Surroundings) -> api::Observed {
    let Surroundings { storage, metrics, shutdown } = surroundings;
    api::Observed {
        storage,
        metrics: Arc::new(move || metrics.render()),
        metrics_token: Some(config.metrics_token.clone()).filter(|token| !token.is_empty()),
        shutdown,
    }
}

/// The name of this machine or container, as others know it.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.'))
        .take(64)
        .collect()
}

fn api_services(
    config: &Config,
    surroundings: Surroundings,
    (media, speech): (Media, Arc<dyn Speech>),
) -> anyhow::Result<api::Services> {
    let Surroundings { storage, metrics, shutdown } = surroundings;
    Ok(api::Services {
        storage,
        probe: Arc::new(MediaProbe(media)),
        speech,
        mail: mail(config)?,
        metrics: Arc::new(move || metrics.render()),
        config: api::ApiConfig {
            public_url: Some(config.public_url.clone()).filter(|url| !url.is_empty()),
            cors_origins: config.cors_origins.clone(),
            password_reset_url: Some(config.password_reset_url.clone()).filter(|url| !url.is_empty()),
            token_secret: secret(config, "token", &config.token_secret)?,
            url_secret: secret(config, "url", &config.url_secret)?,
            metrics_token: Some(config.metrics_token.clone()).filter(|token| !token.is_empty()),
            internal_key: Some(config.internal_key.clone()).filter(|key| !key.is_empty()),
            max_upload_bytes: config.max_upload_bytes,
            livekit: config.livekit(),
            guests: if config.guests == "on" { api::Guests::Welcome } else { api::Guests::KeptOut },
            rates: config.rates()?,
            trusted_proxies: config.trusted_proxies()?,
            call_price: CallPrice::per_minute(config.call_price_per_minute),
            currency: config.currency.clone(),
            max_connections: config.max_connections,
            patience: CLIENT_PATIENCE,
        },
        shutdown,
    })
}

fn mail(config: &Config) -> anyhow::Result<Option<Arc<dyn Mail>>> {
    if config.smtp_url.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(SmtpMail::new(&config.smtp_url, &config.mail_from)?)))
}

/// The configured secret, or one of this data directory's own, made at first start and readable by its owner alone.
fn secret(config: &Config, name: &str, configured: &str) -> anyhow::Result<Vec<u8>> {
    if !configured.is_empty() {
        if configured.len() < 32 {
            bail!("{name}_secret is shorter than 32 bytes; make one with: openssl rand -hex 32");
        }
        return Ok(configured.as_bytes().to_vec());
    }
    let directory = config.data_dir.join("secrets");
    let path = directory.join(name);
    let made = || -> io::Result<Vec<u8>> {
        match fs::read(&path) {
            Ok(secret) if secret.len() >= 32 => return Ok(secret),
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        make_data_directory(&directory)?;
        let secret = hex::encode(rand::random::<[u8; 32]>()).into_bytes();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(&secret)?;
        file.sync_all()?;
        Ok(secret)
    };
    made().with_context(|| format!("could not make or read the secret {}", path.display()))
}

/// Takes the data directory, which is made where it is not there, for this process.
fn lock(config: &Config) -> anyhow::Result<File> {
    let directory = &config.data_dir;
    make_data_directory(directory)
        .with_context(|| format!("could not make the data directory {}", directory.display()))?;
    let file = File::create(directory.join("lock"))
        .with_context(|| format!("could not make the lock of the data directory {}", directory.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!("another voxmill runs on the data directory {}", directory.display()),
    }
}

fn metrics_handle() -> anyhow::Result<PrometheusHandle> {
    // Seconds of jobs and stages, seconds of requests, and seconds of work for one of media.
    let jobs = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
    let requests = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
    let factors = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
    let builder = PrometheusBuilder::new()
        .set_buckets(&jobs)?
        .set_buckets_for_metric(Matcher::Full("voxmill_http_request_seconds".to_owned()), &requests)?
        .set_buckets_for_metric(Matcher::Full("voxmill_real_time_factor".to_owned()), &factors)?;
    builder.install_recorder().context("could not start the metrics")
}

/// Whether jobs are shared with other processes, and the files that they read are not.
fn hides_files_from_others(config: &Config) -> bool {
    let shares_jobs = config.database_url().starts_with("postgres") && !config.redis_url.is_empty();
    shares_jobs && config.s3_bucket.is_empty()
}

fn warn_of_missing_models(config: &Config) {
    let catalogue = catalogue(config);
    let missing: Vec<String> =
        default_set(&catalogue).into_iter().filter(|name| catalogue.installed(name).is_none()).collect();
    if !missing.is_empty() {
        tracing::warn!(missing = missing.join(" "), "models are missing; run: voxmill models pull");
    }
}

/// The first signal asks for a drain, the second ends the process at once.
async fn stop_on_signal(shutdown: CancellationToken) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    for asked in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if asked > 0 {
            tracing::warn!("stopping at once");
            std::process::exit(1);
        }
        tracing::info!("stopping: nothing new is begun, running jobs have the grace to end");
        shutdown.cancel();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::hides_files_from_others;
    use crate::config::Config;

    #[test]
    fn who_shares_jobs_but_not_their_files_is_warned() {
        let config = |database: &str, redis: &str, bucket: &str| Config {
            database_url: database.to_owned(),
            redis_url: redis.to_owned(),
            s3_bucket: bucket.to_owned(),
            ..Config::default()
        };
        let (postgres, redis) = ("postgres://db.example/voxmill", "redis://redis.example");
        assert!(hides_files_from_others(&config(postgres, redis, "")));
        assert!(!hides_files_from_others(&config(postgres, redis, "bucket")));
        assert!(
            !hides_files_from_others(&config(postgres, "", "")),
            "it is the only one that hears of its jobs"
        );
        assert!(!hides_files_from_others(&config("", redis, "")));
    }
}
