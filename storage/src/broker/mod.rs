//! The way to Redis, by which processes wake one another, tell of changes and share counts. Nothing is kept there that
//! cannot be lost: whoever asks goes on without an answer.

mod listening;

pub(crate) use listening::Heard;

use crate::error::{Error, Result};
use redis::{
    Client, Cmd, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// How long an answer may take: a server that saves or is paused is not away.
const RESPONSE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct RedisConfig {
    /// Such as `redis://:password@redis.example:6379/0`.
    pub url: String,
    /// What all keys and channels begin with, so that several installations may share a server.
    pub prefix: String,
}

/// The URL may hold a password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RedisConfig").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Connects when it is first used, and again whenever the connection is lost.
#[derive(Clone)]
pub(crate) struct Broker {
    client: Client,
    connection: ConnectionManager,
    prefix: Arc<str>,
}

impl Broker {
    /// Fails where the URL is none; a server that is away is waited for later.
    pub(crate) fn open(config: &RedisConfig) -> Result<Self> {
        let client = Client::open(config.url.as_str()).map_err(Error::internal)?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(RESPONSE))
            // Whoever asks decides whether to ask again.
            .set_number_of_retries(0);
        let connection =
            ConnectionManager::new_lazy_with_config(client.clone(), settings).map_err(Error::internal)?;
        Ok(Self { client, connection, prefix: config.prefix.as_str().into() })
    }

    /// The full name of a key or channel.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    pub(crate) async fn invoke<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> RedisResult<T> {
        match script.invoke_async(&mut self.connection()).await {
            Err(error) if was_cut(&error) => script.invoke_async(&mut self.connection()).await,
            answer => answer,
        }
    }

    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match command.query_async(&mut self.connection()).await {
            Err(error) if was_cut(&error) => command.query_async(&mut self.connection()).await,
            answer => answer,
        }
    }

    pub(crate) async fn ping(&self) -> Result<()> {
        let answer = tokio::time::timeout(CONNECT, self.query(&redis::cmd("PING"))).await;
        answer.map_err(Error::internal)?.map_err(Error::internal)
    }

    /// Hears what is published in the channel, for as long as the receiver lives, over a connection of its own.
    pub(crate) fn listen(&self, channel: String) -> mpsc::Receiver<Heard> {
        listening::start(self.client.clone(), channel)
    }
}

/// Whether the connection turned out to be broken: then there is a new one for the second try. What the first one did
/// nobody knows, so only what may be done twice is asked this way.
fn was_cut(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

/// Lets one complaint a minute through, for a server that is away is away for many.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<Option<Instant>>);

impl Complaints {
    const EVERY: Duration = Duration::from_secs(60);

    pub(crate) fn may_be_said(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= Self::EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
