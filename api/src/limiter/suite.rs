//! What every limiter must do, whoever keeps the counts. They have clocks of their own, so the rates here are either so slow
//! that none comes back during a test, or so fast that it does.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use storage::ids::{ApiKeyId, UserId};
use storage::{RedisConfig, Storage, StorageConfig};
use tempfile::TempDir;

use super::{Bucket, InProcess, Limiter, Requester, Shared, Verdict};
use crate::rates::Rate;
use crate::throttle::Class;
use servers::Redis;

#[expect(
    dead_code,
    unreachable_pub,
    reason = "the end-to-end tests share these files, where they are public"
)]
#[path = "../../tests/it/servers.rs"]
mod servers;

#[tokio::test]
async fn the_counts_of_a_process_keep_the_contract() {
    contract(&InProcess::new()).await;
}

#[tokio::test]
async fn the_counts_of_all_processes_keep_the_contract() {
    let redis = Redis::start();
    let (limiter, _directory) = shared(&redis).await;
    contract(&limiter).await;
    let keys = redis.cli(&["KEYS", "*"]);
    assert!(!keys.is_empty());
    for key in keys.lines() {
        assert!(key.starts_with("test:count:"), "{key}");
        let lives: i64 = redis.cli(&["PTTL", key]).parse().unwrap();
        assert!((-2..=3_600_000).contains(&lives) && lives != -1, "{key} lives for {lives} ms");
    }
}

#[tokio::test]
async fn two_processes_share_what_there_is() {
    let redis = Redis::start();
    let ((one, _), (other, _)) = (shared(&redis).await, shared(&redis).await);
    for remaining in (0..5).rev() {
        let limiter = if remaining % 2 == 0 { &one } else { &other };
        assert_eq!(limiter.admit(address(1), rate("5/min")).await, Verdict::Admitted { remaining });
    }
    for limiter in [&one, &other] {
        assert!(matches!(limiter.admit(address(1), rate("5/min")).await, Verdict::Refused { .. }));
    }
}

#[tokio::test]
async fn without_an_answer_the_process_counts_for_itself_and_nobody_waits() {
    let mut redis = Redis::start();
    let (limiter, _directory) = shared(&redis).await;
    let admit = async || limiter.admit(address(1), rate("3/min")).await;
    assert_eq!(admit().await, Verdict::Admitted { remaining: 2 });
    redis.pause(Duration::from_secs(3));
    let begun = Instant::now();
    for remaining in (0..3).rev() {
        assert_eq!(admit().await, Verdict::Admitted { remaining }, "counted here from the start");
    }
    assert!(matches!(admit().await, Verdict::Refused { .. }));
    assert!(begun.elapsed() < Duration::from_secs(1), "one waited, the others did not");
    redis.kill();
    assert!(matches!(admit().await, Verdict::Refused { .. }));
    redis.restart();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !matches!(admit().await, Verdict::Admitted { .. }) {
        assert!(Instant::now() < deadline, "Redis is asked again, and it is empty");
        tick.tick().await;
    }
}

async fn contract(limiter: &dyn Limiter) {
    several_are_counted_at_once_or_not_at_all(limiter).await;
    a_rate_is_there_at_once_and_comes_back_bit_by_bit(limiter).await;
    buckets_count_for_themselves(limiter).await;
    rates_count_for_themselves(limiter).await;
    many_at_once_get_as_many_as_there_are(limiter).await;
}

async fn several_are_counted_at_once_or_not_at_all(limiter: &dyn Limiter) {
    let several = |number| NonZeroU32::new(number).unwrap();
    let admit = async |number| limiter.admit_several(address(10), rate("5/min"), several(number)).await;
    assert_eq!(admit(3).await, Verdict::Admitted { remaining: 2 });
    refused(admit(3).await, Duration::from_secs(12));
    assert_eq!(admit(2).await, Verdict::Admitted { remaining: 0 });
    // As many as there ever are.
    refused(admit(9).await, Duration::from_secs(60));
}

async fn a_rate_is_there_at_once_and_comes_back_bit_by_bit(limiter: &dyn Limiter) {
    let rate = rate("4/s");
    for remaining in (0..4).rev() {
        assert_eq!(limiter.admit(address(20), rate).await, Verdict::Admitted { remaining });
    }
    let begun = Instant::now();
    let mut refusals = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    loop {
        tick.tick().await;
        match limiter.admit(address(20), rate).await {
            Verdict::Refused { wait } => assert!(wait <= Duration::from_millis(250), "{wait:?}"),
            Verdict::Admitted { remaining } => break assert_eq!(remaining, 0),
        }
        refusals += 1;
    }
    assert!(refusals > 0 && begun.elapsed() > Duration::from_millis(150), "{:?}", begun.elapsed());
}

async fn buckets_count_for_themselves(limiter: &dyn Limiter) {
    let user = Requester::User(UserId::new());
    for bucket in [
        address(30),
        address(31),
        Bucket { class: Class::Other, ..address(30) },
        Bucket { class: Class::Auth, requester: user },
        Bucket { class: Class::Wide, requester: user },
        Bucket { class: Class::Auth, requester: Requester::ApiKey(ApiKeyId::new()) },
        Bucket { class: Class::Auth, requester: Requester::Address("2001:db8::".parse().unwrap()) },
    ] {
        assert_eq!(limiter.admit(bucket, rate("1/h")).await, Verdict::Admitted { remaining: 0 });
        refused(limiter.admit(bucket, rate("1/h")).await, Duration::from_secs(3600));
    }
}

/// Such as those of a user who got a rate of their own.
async fn rates_count_for_themselves(limiter: &dyn Limiter) {
    assert_eq!(limiter.admit(address(40), rate("1/h")).await, Verdict::Admitted { remaining: 0 });
    assert_eq!(limiter.admit(address(40), rate("2/h")).await, Verdict::Admitted { remaining: 1 });
    let most = limiter.admit(address(40), rate("1000000/h")).await;
    assert_eq!(most, Verdict::Admitted { remaining: 999_999 });
}

async fn many_at_once_get_as_many_as_there_are(limiter: &dyn Limiter) {
    let all = (0..50).map(|_| limiter.admit(address(50), rate("20/h")));
    let verdicts = futures_util::future::join_all(all).await;
    let admitted = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Admitted { .. })).count();
    assert_eq!(admitted, 20);
}

/// Some of the wait may be over already.
#[track_caller]
fn refused(verdict: Verdict, wait: Duration) {
    match verdict {
        Verdict::Refused { wait: told } => {
            assert!(told <= wait && told + Duration::from_secs(5) > wait, "{told:?} instead of {wait:?}");
        }
        Verdict::Admitted { .. } => panic!("{verdict:?}"),
    }
}

fn address(number: u32) -> Bucket {
    Bucket { class: Class::Auth, requester: Requester::Address(Ipv4Addr::from(number).into()) }
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

async fn shared(redis: &Redis) -> (Shared, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = StorageConfig {
        database_url: format!("sqlite://{}/test.db?mode=rwc", directory.path().display()),
        data_directory: directory.path().to_owned(),
        database_connections: 1,
        default_quota_bytes: 0,
        retention: None,
        redis: Some(RedisConfig { url: redis.url(), prefix: "test".to_owned() }),
    };
    let storage = Storage::open(&config).await.unwrap();
    (Shared::new(storage.shared_counts.unwrap()), directory)
}
