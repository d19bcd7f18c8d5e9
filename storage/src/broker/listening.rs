//! A subscription that outlives its connections.

use futures_util::StreamExt as _;
use redis::{Client, RedisError, RedisResult, Value};
use std::{io, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, sleep, timeout},
};

/// A connection on which nothing comes for so long is asked whether it lives, and has as long to answer.
const PING: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
/// Messages that the listener is behind; then the connection waits.
const BEHIND: usize = 256;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// All is heard from now on. What was said before may have been missed.
    Begun,
    Message(Vec<u8>),
    /// Nothing is heard until it begins again.
    Lost,
}

pub(super) fn start(client: Client, channel: String) -> mpsc::Receiver<Heard> {
    let (heard, receiver) = mpsc::channel(BEHIND);
    tokio::spawn(async move {
        tokio::select! {
            () = heard.closed() => {}
            () = listen(&client, &channel, &heard) => {}
        }
    });
    receiver
}

/// Never returns.
async fn listen(client: &Client, channel: &str, heard: &mpsc::Sender<Heard>) {
    loop {
        if let Err(error) = hear(client, channel, heard).await {
            tracing::debug!(%error, "Redis is not heard");
        }
        let _ = heard.send(Heard::Lost).await;
        sleep(RETRY).await;
    }
}

async fn hear(client: &Client, channel: &str, heard: &mpsc::Sender<Heard>) -> RedisResult<()> {
    let mut subscription = in_time(client.get_async_pubsub()).await?;
    in_time(subscription.subscribe(channel)).await?;
    let _ = heard.send(Heard::Begun).await;
    let (mut requests, mut messages) = subscription.split();
    let mut ping = interval_at(Instant::now() + PING, PING);
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return Ok(()) };
                let _ = heard.send(Heard::Message(message.get_payload_bytes().to_vec())).await;
            }
            _ = ping.tick() => {
                in_time(requests.ping::<Value>()).await?;
            }
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(PING, answer)
        .await
        .unwrap_or_else(|_| Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))))
}
