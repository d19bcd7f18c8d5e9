//! A server whose files are in an S3 store: what it keeps where, what it remembers, and what passes by it.

use reqwest::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::process::Command;
use tests::server::{Server, program};
use tests::servers::S3;
use tests::user::{User, answer};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn large_files_pass_through_in_little_memory() {
    let store = S3::start();
    let server = server(&store, &[]);
    let user = server.user().await;
    user.upload_bytes("small.wav", wav(MIB)).await.expect(StatusCode::CREATED);
    let before = most_memory(&server);
    let bytes = wav(50 * MIB);
    let file = user.upload_bytes("large.wav", bytes.clone()).await.expect(StatusCode::CREATED);
    let url = file["download_url"].as_str().unwrap();
    assert!(user.download(url).await == bytes);
    let grown = most_memory(&server) - before;
    assert!(grown < 64 << 10, "the server grew by {grown} KiB");

    let part = Client::new().get(url).header(RANGE, "bytes=30000000-30000009").send().await.unwrap();
    assert_eq!(
        (part.status(), &part.headers()[ACCEPT_RANGES]),
        (StatusCode::PARTIAL_CONTENT, &"bytes".parse().unwrap())
    );
    assert_eq!(part.bytes().await.unwrap(), &bytes[30_000_000..30_000_010]);
    assert_eq!((store.multiparts(""), server.stored_files()), (0, vec![]));

    // A worker fetches from the store, and puts its results there.
    let body = json!({ "video_file_id": file["file_id"], "audio_format": "flac" });
    let done = user.completed("extract-audio", &body).await;
    let result = user.download(done["result_url"].as_str().unwrap()).await;
    assert!(result.starts_with(b"fLaC") && result.len() > MIB);
    assert_eq!((store.multiparts(""), server.stored_files()), (0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_reach_the_store_send_and_fetch_there_themselves() {
    let store = S3::start();
    let endpoint = store.endpoint();
    let log = "debug,aws_runtime=trace,aws_sigv4=trace,aws_smithy_runtime=trace";
    let server = server(&store, &[("VOXMILL_S3_PUBLIC_ENDPOINT", &endpoint), ("VOXMILL_LOG", log)]);
    let user = server.user().await;
    let bytes = wav(9 * MIB);
    let upload = begin(&user, bytes.len()).await;
    let parts: Vec<String> = urls(&upload).collect();
    assert!(parts.len() == 2 && parts.iter().all(|url| url.starts_with(&endpoint)), "{parts:?}");
    let put = async |url: &str, body: &[u8]| {
        Client::new().put(url).body(body.to_vec()).send().await.unwrap().status()
    };
    let (first, second) = bytes.split_at(8 * MIB);
    assert!(!put(&parts[0], second).await.is_success(), "the URL is for a part of its size alone");
    assert_eq!(put(&parts[1], second).await, StatusCode::OK);
    let path = format!("/api/v1/files/uploads/{}", upload["id"].as_str().unwrap());
    let seen = user.get(&path).await.expect(StatusCode::OK);
    assert_eq!((&seen["parts"][0]["received"], &seen["parts"][1]["received"]), (&json!(false), &json!(true)));
    let complete = format!("{path}/complete");
    user.post(&complete, &json!({})).await.expect(StatusCode::CONFLICT);
    assert_eq!(put(&parts[0], first).await, StatusCode::OK);
    let file = user.post(&complete, &json!({})).await.expect(StatusCode::CREATED);
    assert_eq!((file["size_bytes"].as_u64(), store.multiparts("")), (Some(bytes.len() as u64), 0));

    let stranger = server.user().await;
    let content = format!("/api/v1/files/{}/content", file["id"].as_str().unwrap());
    stranger.get(&content).await.expect(StatusCode::NOT_FOUND);
    let straight = Client::builder().redirect(Policy::none()).build().unwrap();
    let sent = straight.get(file["download_url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(
        (sent.status(), &sent.headers()[CACHE_CONTROL]),
        (StatusCode::FOUND, &"private, no-store".parse().unwrap())
    );
    let location = sent.headers()[LOCATION].to_str().unwrap().to_owned();
    assert!(location.starts_with(&endpoint) && location.contains("X-Amz-Expires=900"), "{location}");
    let fetched = Client::new().get(&location).send().await.unwrap();
    assert_eq!(fetched.headers()[CONTENT_TYPE], "audio/wav");
    assert!(fetched.headers()[CONTENT_DISPOSITION].to_str().unwrap().contains("filename=\"large.wav\""));
    assert!(fetched.bytes().await.unwrap() == bytes);
    // With the header of the server's own, which does not follow to the store.
    let followed = user.request(Method::GET, &content).header(RANGE, "bytes=5-9").send().await.unwrap();
    assert_eq!(followed.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(followed.bytes().await.unwrap(), &bytes[5..10]);
    // The store's URLs are for GET alone.
    let head = Client::new().head(file["download_url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(
        (head.status(), &head.headers()[CONTENT_TYPE]),
        (StatusCode::OK, &"audio/wav".parse().unwrap())
    );
    assert_eq!(head.headers()[CONTENT_LENGTH], bytes.len().to_string());
    let metrics = user.download(&format!("{}/metrics", server.url)).await;
    for told in [server.log(), String::from_utf8(metrics).unwrap()] {
        assert!(!told.contains("X-Amz-Signature") && !told.contains(S3::SECRET_KEY), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_of_the_store_takes_parts() {
    let store = S3::start();
    let server = server(&store, &[]);
    let user = server.user().await;
    let bytes = wav(9 * MIB);
    let upload = begin(&user, bytes.len()).await;
    for (url, body) in urls(&upload).zip(bytes.chunks(8 * MIB)) {
        assert!(url.starts_with(&server.url), "{url}");
        let part = answer(Client::new().put(url).body(body.to_vec()).send().await.unwrap()).await;
        assert_eq!(part.expect(StatusCode::OK)["size_bytes"], body.len());
    }
    assert_eq!((store.multiparts(""), server.stored_files()), (1, vec![]));
    let complete = format!("/api/v1/files/uploads/{}/complete", upload["id"].as_str().unwrap());
    let file = user.post(&complete, &json!({})).await.expect(StatusCode::CREATED);
    assert!(user.download(file["download_url"].as_str().unwrap()).await == bytes);

    let dropped = begin(&user, bytes.len()).await;
    user.delete(&format!("/api/v1/files/uploads/{}", dropped["id"].as_str().unwrap())).await;
    assert_eq!((store.multiparts(""), server.stored_files()), (0, vec![]));
    let ready = user.get("/readiness").await.expect(StatusCode::OK);
    assert_eq!(ready["storage"], "ok");
}

#[test]
fn a_bucket_that_is_absent_ends_the_start_with_what_to_do() {
    let (store, data) = (S3::start(), tempfile::tempdir().unwrap());
    let done = Command::new(program())
        .args(["serve", "--bind", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .envs(settings(&store))
        .env("VOXMILL_S3_BUCKET", "another")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("s3 mb s3://another"), "{said}");
    assert!(!said.contains(S3::SECRET_KEY), "{said}");
}

fn server(store: &S3, more: &[(&str, &str)]) -> Server {
    let settings = settings(store);
    let settings: Vec<_> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Server::start_with(&[&settings, more].concat())
}

fn settings(store: &S3) -> [(&'static str, String); 5] {
    [
        ("VOXMILL_S3_BUCKET", S3::BUCKET.to_owned()),
        ("VOXMILL_S3_ENDPOINT", store.endpoint()),
        ("VOXMILL_S3_ACCESS_KEY", S3::ACCESS_KEY.to_owned()),
        ("VOXMILL_S3_SECRET_KEY", S3::SECRET_KEY.to_owned()),
        ("VOXMILL_S3_PREFIX", "voxmill/tests".to_owned()),
    ]
}

async fn begin(user: &User, size: usize) -> Value {
    let new = json!({ "filename": "large.wav", "size_bytes": size });
    user.post("/api/v1/files/uploads", &new).await.expect(StatusCode::CREATED)
}

/// Of its parts, in order.
fn urls(upload: &Value) -> impl Iterator<Item = String> {
    upload["parts"].as_array().unwrap().iter().map(|part| part["url"].as_str().unwrap().to_owned())
}

/// Noise of so many bytes, and a head.
fn wav(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(44 + size);
    bytes.extend(b"RIFF");
    bytes.extend((36 + size as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    bytes.extend(48_000_u32.to_le_bytes());
    bytes.extend(192_000_u32.to_le_bytes());
    bytes.extend(b"\x04\0\x10\0data");
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend((0..size as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

/// The most that the server ever had in memory, in KiB.
fn most_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    most.trim().trim_end_matches("kB").trim().parse().unwrap()
}
