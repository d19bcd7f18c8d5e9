//! The program as people type it.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;
use tests::server::{Server, program};
use tests::shared_data;

#[tokio::test(flavor = "multi_thread")]
async fn submit_uploads_waits_and_fetches() {
    let Some(speech) = shared_data("speech/jfk.wav") else { return };
    let server = Server::start();
    let user = server.user().await;
    let key = run(&mut server.voxmill(&["admin", "api-key", &user.email]));
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let output = TempDir::new().unwrap();
    let done = run(Command::new(program())
        .args(["submit", "--kind", "transcribe", "--set", "source_language=en", "--json", "--output"])
        .arg(output.path())
        .arg(&speech)
        .envs([("VOXMILL_SERVER", &server.url), ("VOXMILL_API_KEY", &key)]));
    let job: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(job["status"], "completed");
    let text = std::fs::read_to_string(output.path().join("jfk.transcript.txt")).unwrap().to_lowercase();
    assert!(text.contains("ask not what your country can do for you"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_machine_reads_who_did_what() {
    let server = Server::start();
    let (user, other) = (server.user().await, server.user().await);
    let admin = |arguments: &[&str]| {
        let done = run(&mut server.voxmill(&[&["admin"], arguments].concat()));
        String::from_utf8(done.stdout).unwrap()
    };
    admin(&["add", &user.email]);
    admin(&["api-key", &user.email, "--rate", "7"]);
    let events = admin(&["audit", "--user", &user.email]);
    let events: Vec<Vec<&str>> = events.lines().map(|line| line.split('\t').collect()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event[1]).collect();
    assert_eq!(kinds, ["api_key_made_by_admin", "admin_added", "logged_in", "registered"]);
    assert!(events.iter().all(|event| event[2] == user.email), "{events:?}");
    assert_eq!((events[0][3], events[0][4], events[3][3]), ("-", "-", "127.0.0.1"));
    assert!(admin(&["audit", "--limit", "1000"]).contains(&other.email));
    assert_eq!(admin(&["audit", "--limit", "1"]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_where_nobody_turned_them_off() {
    let server = Server::start_with(&[("VOXMILL_RATE_LIMITS", "on"), ("VOXMILL_RATE_LIMIT_OTHER", "3/min")]);
    let user = server.user().await;
    for _ in 0..3 {
        user.get("/api/v1/usage").await.expect(reqwest::StatusCode::OK);
    }
    let refused = user.get("/api/v1/usage").await.expect(reqwest::StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused["error"], "rate_limit_exceeded");
}

#[test]
fn dub_needs_no_server() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let folder = TempDir::new().unwrap();
    let (text, dubbed) = (folder.path().join("script.srt"), folder.path().join("dubbed.mkv"));
    std::fs::write(&text, "1\n00:00:01,000 --> 00:00:04,000\nThe mill turns night and day.\n").unwrap();
    run(Command::new(program()).arg("dub").arg(talk).arg("--segments").arg(&text).arg("-o").arg(&dubbed));
    let probed = crate::media::probe(&dubbed);
    assert_eq!(probed["streams"].as_array().unwrap().len(), 2);
    assert!(crate::media::decoded_frames(&dubbed) > 200);
}

#[test]
fn a_setting_that_nobody_knows_stops_the_start() {
    let refused = Command::new(program())
        .args(["serve", "--data-dir", "/nonexistent"])
        .env("VOXMILL_BINDD", "x")
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("VOXMILL_BINDD"));
}

#[test]
fn what_is_not_text_is_refused_only_in_our_own_settings() {
    use std::os::unix::ffi::OsStrExt as _;
    let wrong = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let list =
        |variable| Command::new(program()).args(["models", "list"]).env(variable, wrong).output().unwrap();
    assert!(list("PLACE").status.success());
    let refused = list("VOXMILL_BIND");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("VOXMILL_BIND is not UTF-8"));
}

#[test]
fn two_servers_do_not_share_a_data_directory() {
    let server = Server::start();
    for second in [&["serve", "--bind", "127.0.0.1:0"][..], &["migrate"], &["migrate", "--down", "1"]] {
        let second = server.voxmill(second).output().unwrap();
        assert!(!second.status.success());
        assert!(String::from_utf8_lossy(&second.stderr).contains("another voxmill"));
    }
}

#[test]
fn the_schema_goes_back_and_forth() {
    let data = TempDir::new().unwrap();
    let migrate = |arguments: &[&str]| {
        run(Command::new(program()).arg("migrate").args(arguments).arg("--data-dir").arg(data.path()))
    };
    migrate(&[]);
    migrate(&["--down", "4"]);
    migrate(&[]);
    assert!(data.path().join("voxmill.db").exists());
}

#[test]
fn a_data_directory_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    run(Command::new(program()).arg("migrate").arg("--data-dir").arg(&data));
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn secrets_are_made_once_and_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut server = Server::start();
    let secret = server.data_directory().join("secrets/token");
    let first = std::fs::read(&secret).unwrap();
    assert!(first.len() >= 32);
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    server.terminate();
    server.restart();
    assert_eq!(std::fs::read(&secret).unwrap(), first);
}

#[test]
fn the_document_and_the_doctor_answer() {
    let document: Value =
        serde_json::from_slice(&run(Command::new(program()).arg("openapi")).stdout).unwrap();
    assert!(document["paths"]["/api/v1/process/transcribe"]["post"].is_object());
    let data = TempDir::new().unwrap();
    let doctor = run(Command::new(program()).arg("doctor").arg("--data-dir").arg(data.path()));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("media child"));
    assert!(Path::new(data.path()).exists());
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}
