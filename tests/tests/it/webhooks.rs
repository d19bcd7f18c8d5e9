//! Webhooks through the real binary, to receivers that answer well, badly, or not at all.

use crate::media;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::time::Duration;
use tempfile::TempDir;
use tests::fleet::BackEnds;
use tests::receiver::{ALLOWED, Receiver};
use tests::server::{Server, eventually};
use tests::user::{JOB, User};

const SOON: Duration = Duration::from_secs(20);

/// A file that is quickly worked on.
async fn tone(user: &User) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tone.wav");
    media::make(&path, &["-f", "lavfi", "-i", "sine=duration=1"]);
    user.uploaded(&path).await
}

/// The id of a job that has ended well, and whose end is told at `url`.
async fn completed(user: &User, file: &str, url: &str) -> String {
    let status =
        user.completed("extract-audio", &json!({ "video_file_id": file, "callback_url": url })).await;
    status["job_id"].as_str().unwrap().to_owned()
}

async fn delivery(user: &User, job: &str) -> Value {
    let list = user.get(&format!("/api/v1/webhooks/deliveries?job_id={job}")).await.expect(StatusCode::OK);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list:#}");
    list["items"][0].clone()
}

/// The delivery of the job's end once so many attempts were made and the last has ended.
async fn tried(user: &User, job: &str, attempts: usize) -> Value {
    eventually(&format!("attempt {attempts} to tell of job {job}"), SOON, async || {
        let delivery = delivery(user, job).await;
        let over = delivery["status"] != "pending"
            || delivery["next_attempt_at"].as_str().unwrap()
                > delivery["attempts"][attempts - 1]["started_at"].as_str()?;
        (delivery["attempts"].as_array().unwrap().len() == attempts && over).then_some(delivery)
    })
    .await
}

async fn secret(user: &User) -> String {
    let secret = user.get("/api/v1/webhooks/secret").await.expect(StatusCode::OK);
    secret["secret"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_end_is_told_and_signed_as_the_standard_has_it() {
    let server = Server::start_with(&[ALLOWED]);
    let user = server.user().await;
    let receiver = Receiver::start().await;
    let file = tone(&user).await;
    let old = secret(&user).await;
    let job = completed(&user, &file, &receiver.url).await;
    let told = tried(&user, &job, 1).await;
    assert_eq!((&told["status"], &told["attempts"][0]["status_code"]), (&json!("delivered"), &json!(204)));
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    let webhook = &received[0];
    Webhook::new(&old).unwrap().verify(&webhook.body, &webhook.headers).unwrap();
    assert!(
        Webhook::new(&secret(&server.user().await).await)
            .unwrap()
            .verify(&webhook.body, &webhook.headers)
            .is_err()
    );
    assert_eq!(
        (webhook.id(), &webhook.headers["content-type"]),
        (told["id"].as_str().unwrap(), &"application/json".parse().unwrap())
    );
    let body = webhook.json();
    assert_eq!((&body["type"], &body["data"]["job_id"]), (&json!("job.completed"), &json!(job)));
    assert_eq!(body["data"]["status_url"], format!("{}/api/v1/process/status/{job}", server.url));
    assert!(!body.to_string().contains("signature="), "{body:#}");

    // Both secrets count for a while, and what is sent again is the same.
    user.post("/api/v1/webhooks/secret/rotate", &json!({})).await.expect(StatusCode::OK);
    let path = format!("/api/v1/webhooks/deliveries/{}/redeliver", webhook.id());
    user.post(&path, &json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(tried(&user, &job, 2).await["status"], "delivered");
    let again = receiver.received().pop().unwrap();
    assert_eq!((again.id(), &again.body), (webhook.id(), &webhook.body));
    for secret in [old, secret(&user).await] {
        Webhook::new(&secret).unwrap().verify(&again.body, &again.headers).unwrap();
    }
    assert_eq!(again.headers["webhook-signature"].to_str().unwrap().split(' ').count(), 2);

    // The jobs that tell are in no list.
    let jobs = user.get("/api/v1/process/jobs").await.expect(StatusCode::OK);
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_called_again_as_it_wishes() {
    let server = Server::start_with(&[ALLOWED]);
    let user = server.user().await;
    let file = tone(&user).await;
    let (failing, busy, gone, moved) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await);
    failing.answer("HTTP/1.1 500 Internal Server Error");
    busy.answer("HTTP/1.1 503 Service Unavailable\r\nretry-after: 7200");
    gone.answer("HTTP/1.1 410 Gone");
    moved.answer("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nretry-after: 7200");
    let of_failing = completed(&user, &file, &failing.url).await;
    let of_busy = completed(&user, &file, &busy.url).await;
    let of_gone = completed(&user, &file, &gone.url).await;
    let of_moved = completed(&user, &file, &moved.url).await;

    let waiting = tried(&user, &of_busy, 1).await;
    assert_eq!(
        (&waiting["status"], &waiting["attempts"][0]["status_code"]),
        (&json!("pending"), &json!(503))
    );
    let gap = seconds(&waiting["next_attempt_at"]) - seconds(&waiting["attempts"][0]["started_at"]);
    assert!((7_195..7_260).contains(&gap), "{gap} s");
    let given_up = tried(&user, &of_gone, 1).await;
    assert_eq!((&given_up["status"], &given_up["next_attempt_at"]), (&json!("failed"), &Value::Null));
    let redirected = tried(&user, &of_moved, 1).await;
    assert_eq!(redirected["attempts"][0]["status_code"], 302);
    assert_eq!(moved.received().len(), 1, "no redirect is followed");
    // What waits is not waited for, where its owner says so.
    let path = format!("/api/v1/webhooks/deliveries/{}/redeliver", waiting["id"].as_str().unwrap());
    user.post(&path, &json!({})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(tried(&user, &of_busy, 2).await["status"], "delivered");

    let delivered = tried(&user, &of_failing, 2).await;
    assert_eq!(delivered["status"], "delivered");
    let codes: Vec<_> = (0..2).map(|index| delivered["attempts"][index]["status_code"].clone()).collect();
    assert_eq!(codes, [500, 200 + 4]);
    let gap =
        seconds(&delivered["attempts"][1]["started_at"]) - seconds(&delivered["attempts"][0]["started_at"]);
    assert!(gap >= 5, "{gap} s");
    let ids: Vec<_> = failing.received().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids, [ids[0].clone(), ids[0].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_the_end_and_the_delivery_delivers_after_all() {
    let mut server = Server::start_with(&[ALLOWED]);
    let user = server.user().await;
    let receiver = Receiver::start().await;
    let file = tone(&user).await;
    receiver.stay_silent();
    let job = completed(&user, &file, &receiver.url).await;
    eventually("the first call", SOON, async || (receiver.received().len() == 1).then_some(())).await;
    server.kill();
    server.restart();
    let user = user.at(&server.url);
    // In a fleet the lease of the one that died has to end first.
    let limit = if BackEnds::of_this_run().is_some() { JOB } else { SOON };
    let told = eventually("the delivery", limit, async || {
        let told = delivery(&user, &job).await;
        (told["status"] == "delivered").then_some(told)
    })
    .await;
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|one| one.id() == told["id"].as_str().unwrap()));
    assert_eq!(received[0].body, received[1].body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_is_called_and_the_owner_is_told_so() {
    let receiver = Receiver::start().await;
    let proxy = receiver.url.trim_end_matches("/hook").to_owned();
    // Proxies of the environment would call whom we do not. The way to an object store goes by them, too.
    let proxies: &[_] = match BackEnds::of_this_run() {
        None => &[("HTTP_PROXY", &*proxy), ("http_proxy", &*proxy), ("ALL_PROXY", &*proxy)],
        Some(_) => &[],
    };
    let server = Server::start_with(proxies);
    let user = server.user().await;
    let file = tone(&user).await;
    let port = receiver.url.trim_end_matches("/hook").rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:7f00:1]", "2130706433", "169.254.169.254"] {
        let job = completed(&user, &file, &format!("http://{host}:{port}/hook")).await;
        let told = tried(&user, &job, 1).await;
        assert_eq!((&told["status"], &told["next_attempt_at"]), (&json!("failed"), &Value::Null), "{host}");
        let attempt = &told["attempts"][0];
        assert_eq!(
            (&attempt["error"], &attempt["status_code"]),
            (&json!("address_blocked"), &Value::Null),
            "{host}"
        );
    }
    assert!(receiver.received().is_empty());
}

fn seconds(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp()
}
