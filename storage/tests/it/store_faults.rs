//! Objects at a store that fails now and then, by a way to it that breaks.

use crate::{
    back_end::{self, FLEET},
    servers::{Fault, FaultProxy, S3, Way},
};
use std::{
    error::Error as _,
    time::{Duration, Instant, SystemTime},
};
use storage::{
    error::{Error, Result},
    objects::{ObjectKey, Objects, S3Config, S3Keys, S3Objects},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

const MIB: usize = 1 << 20;

/// Objects, and what lies between them and their store.
struct Faulty {
    objects: S3Objects,
    proxy: FaultProxy,
    config: S3Config,
    directory: TempDir,
}

impl Faulty {
    /// None where this is the run without a store.
    async fn start(patience: Duration) -> Option<Self> {
        if !FLEET {
            return None;
        }
        let proxy = FaultProxy::start(back_end::s3().port());
        let config = S3Config { patience, ..back_end::bucket(proxy.port()) };
        let directory = tempfile::tempdir().unwrap();
        let objects = S3Objects::open(&config, directory.path()).await.unwrap();
        Some(Self { objects, proxy, config, directory })
    }

    /// Publishes bytes that nobody guesses.
    async fn publish(&self, name: &str, size: usize) -> Result<Vec<u8>> {
        let bytes: Vec<u8> = (0..size).map(|index| (index * index / 7 % 251) as u8).collect();
        let from = self.directory.path().join("from");
        std::fs::write(&from, &bytes).unwrap();
        self.objects.publish_file(&from, &key(name)).await?;
        Ok(bytes)
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = vec![];
        self.objects.open(&key(name), None).await?.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn fetch(&self, name: &str) -> Result<Vec<u8>> {
        let to = self.directory.path().join("to");
        let fetched = self.objects.fetch(&key(name), &to).await;
        let bytes = std::fs::read(&to);
        let _ = std::fs::remove_file(&to);
        fetched?;
        Ok(bytes?)
    }

    fn multiparts(&self) -> usize {
        back_end::s3().multiparts(&self.config.prefix)
    }
}

#[tokio::test]
async fn a_store_that_says_to_slow_down_is_asked_again() {
    let Some(faulty) = Faulty::start(Duration::from_secs(20)).await else { return };
    faulty.proxy.fail_times(2, Fault::Unavailable);
    let bytes = faulty.publish("slow", MIB).await.unwrap();
    assert_eq!(faulty.proxy.struck(), 2);
    faulty.proxy.fail_times(2, Fault::Reset);
    assert!(faulty.read("slow").await.unwrap() == bytes);
    assert_eq!(faulty.proxy.struck(), 2);
    faulty.proxy.fail(Fault::Unavailable);
    let error = faulty.objects.ping().await.unwrap_err();
    assert!(cause(&error).contains("503"), "{error:?}");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_sent_again() {
    let Some(faulty) = Faulty::start(Duration::from_secs(20)).await else { return };
    faulty.proxy.fail_times(3, Fault::CutAfter(3 << 20, Way::ToServer));
    let bytes = faulty.publish("large", 17 * MIB).await.unwrap();
    assert_eq!(faulty.proxy.struck(), 3);
    assert!(faulty.fetch("large").await.unwrap() == bytes);
    assert_eq!(faulty.multiparts(), 0);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_from_where_it_stood() {
    let Some(faulty) = Faulty::start(Duration::from_secs(20)).await else { return };
    let bytes = faulty.publish("large", 17 * MIB).await.unwrap();
    for whole in [true, false] {
        faulty.proxy.fail_times(5, Fault::CutAfter(2 << 20, Way::ToClient));
        let got = if whole { faulty.read("large").await } else { faulty.fetch("large").await };
        assert!(got.unwrap() == bytes);
        assert_eq!(faulty.proxy.struck(), 5);
    }
}

#[tokio::test]
async fn a_download_that_cannot_go_on_is_an_error_and_not_an_end() {
    let Some(faulty) = Faulty::start(Duration::from_secs(20)).await else { return };
    // More than what the sockets on the way hold.
    faulty.publish("cut", 48 * MIB).await.unwrap();
    let mut reader = faulty.objects.open(&key("cut"), None).await.unwrap();
    let mut beginning = vec![0; MIB];
    reader.read_exact(&mut beginning).await.unwrap();
    faulty.objects.delete(&key("cut")).await.unwrap();
    faulty.proxy.fail_times(1, Fault::CutAfter(0, Way::ToClient));
    let mut rest = vec![];
    let end = reader.read_to_end(&mut rest).await;
    assert_eq!(faulty.proxy.struck(), 1);
    assert!(end.is_err(), "{} bytes, and then its end", rest.len());

    // What lies there is another thing than was put there.
    faulty.proxy.pass();
    faulty.publish("rotten", 3 * MIB).await.unwrap();
    let Some(path) = back_end::s3().path(&format!("{}/rotten", faulty.config.prefix)) else { return };
    std::fs::write(path, vec![1; 3 * MIB]).unwrap();
    assert!(faulty.read("rotten").await.is_err());
}

#[tokio::test]
async fn a_store_that_is_silent_is_given_up() {
    let Some(faulty) = Faulty::start(Duration::from_millis(150)).await else { return };
    let bytes = faulty.publish("silent", 1000).await.unwrap();
    for fault in [Fault::BlackHole, Fault::Refuse] {
        faulty.proxy.fail(fault);
        assert!(matches!(faulty.read("silent").await, Err(Error::Internal(_))));
        faulty.proxy.pass();
        assert_eq!(faulty.read("silent").await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing() {
    let Some(faulty) = Faulty::start(Duration::from_secs(20)).await else { return };
    faulty.proxy.fail(Fault::CutAfter(1 << 20, Way::ToServer));
    assert!(matches!(faulty.publish("failed", 17 * MIB).await, Err(Error::Internal(_))));
    assert_eq!(faulty.multiparts(), 0);
    faulty.proxy.pass();
    assert!(matches!(faulty.read("failed").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn an_upload_whose_process_died_is_swept() {
    let Some(faulty) = Faulty::start(Duration::from_secs(20)).await else { return };
    faulty.proxy.fail(Fault::Delay(Duration::from_millis(20)));
    let deadline = Instant::now() + Duration::from_secs(20);
    tokio::select! {
        _ = faulty.publish("files/abandoned", 30 * MIB) => panic!("it is too fast to be abandoned"),
        () = async {
            while faulty.multiparts() == 0 && Instant::now() < deadline {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    faulty.proxy.pass();
    assert_eq!(faulty.multiparts(), 1);
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(faulty.objects.sweep_staging(SystemTime::now() - day).await.unwrap(), 0);
    assert_eq!(faulty.objects.sweep_staging(SystemTime::now() + day).await.unwrap(), 1);
    assert_eq!(faulty.multiparts(), 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_says_what_to_do() {
    let Some(faulty) = Faulty::start(Duration::from_secs(2)).await else { return };
    let config = &faulty.config;
    let keys = |access_key: &str, secret_key: &str| {
        Some(S3Keys { access_key: access_key.into(), secret_key: secret_key.into() })
    };
    let absent = S3Config { bucket: "absent".into(), ..config.clone() };
    let stranger = S3Config { keys: keys("stranger", S3::SECRET_KEY), ..config.clone() };
    let liar = S3Config { keys: keys(S3::ACCESS_KEY, "a wrong secret"), ..config.clone() };
    faulty.proxy.fail(Fault::Refuse);
    let unreachable = config.clone();
    let there = back_end::bucket(back_end::s3().port());
    let there = |other: S3Config| S3Config { endpoint: there.endpoint.clone(), ..other };
    for (config, says) in [
        (there(absent), ["does not exist", "s3_bucket"]),
        (there(stranger), ["refuses the keys", "s3_access_key"]),
        (there(liar), ["refuses the keys", "s3_secret_key"]),
        (unreachable, ["cannot be used", "s3_endpoint"]),
    ] {
        let error = S3Objects::open(&config, faulty.directory.path()).await.err().unwrap();
        let text = cause(&error);
        assert!(says.iter().all(|word| text.contains(word)), "{text}");
        for secret in [S3::SECRET_KEY, "a wrong secret", "Signature="] {
            assert!(!text.contains(secret) && !format!("{config:?}").contains(secret), "{text}");
        }
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

/// All that the log would say.
fn cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
