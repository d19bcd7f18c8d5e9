//! Many jobs at once: by one request, and by `voxmill submit`, which may die at any moment.

use crate::media;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use tests::server::{Server, eventually, program};
use tests::user::{JOB, User, answer};

const PATH: &str = "/api/v1/process/batch";

fn make_tone(path: &Path, frequency: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    media::make(path, &["-f", "lavfi", "-i", &format!("sine=frequency={frequency}:duration=0.1")]);
}

async fn batch(user: &User, id: &Value) -> Value {
    user.get(&format!("{PATH}/{}", id.as_str().unwrap())).await.expect(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_mixed_kinds_goes_through() {
    let server = Server::start();
    let (user, folder) = (server.user().await, TempDir::new().unwrap());
    let (tone, picture) = (folder.path().join("tone.wav"), folder.path().join("picture.mp4"));
    make_tone(&tone, 440);
    media::make(&picture, &["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1"]);
    let (tone, picture) = (user.uploaded(&tone).await, user.uploaded(&picture).await);
    let jobs = json!([
        { "kind": "extract-audio", "video_file_id": tone, "audio_format": "flac" },
        { "kind": "generate-video", "original_video_id": picture, "cloned_audio_id": tone },
        { "kind": "extract-audio", "video_file_id": tone, "audio_format": "mp3" },
    ]);
    let send = async || {
        let request = user.request(Method::POST, PATH).header("Idempotency-Key", "all of them");
        answer(request.json(&json!({ "jobs": jobs })).send().await.unwrap())
            .await
            .expect(StatusCode::ACCEPTED)
    };
    let accepted = send().await;
    let id = &accepted["batch_id"];
    let done = eventually("the end of the batch", JOB, async || {
        let status = batch(&user, id).await;
        (status["status"] == "completed").then_some(status)
    })
    .await;
    assert_eq!(
        (&done["jobs"]["completed"], &done["total"], &done["progress"]),
        (&json!(3), &json!(3), &json!(100))
    );
    assert_eq!(send().await, accepted, "the key still gives the same batch");
    let mut extensions = vec![];
    for job in accepted["jobs"].as_array().unwrap() {
        let status = user.status(job["job_id"].as_str().unwrap()).await;
        assert_eq!((&status["status"], &status["batch_id"]), (&json!("completed"), id));
        let name = status["result"]["files"][0]["filename"].as_str().unwrap().to_owned();
        extensions.push(name.rsplit('.').next().unwrap().to_owned());
    }
    assert_eq!(extensions, ["flac", "mp4", "mp3"]);

    let refused = json!({ "jobs": [jobs[0], { "kind": "transcribe", "audio_file_id": picture }] });
    let refused = user.post(PATH, &refused).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["details"]["field"], "jobs[1].audio_file_id");
    let all = user.get("/api/v1/process/jobs?limit=100").await.expect(StatusCode::OK);
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
}

/// A folder of recordings, and whoever submits them.
struct Bench {
    server: Server,
    user: User,
    key: String,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let server = Server::start();
        let user = server.user().await;
        let key = user.post("/api/v1/auth/api-keys", &json!({ "name": "batch" })).await;
        let key = key.expect(StatusCode::CREATED)["key"].as_str().unwrap().to_owned();
        Self { server, user, key, folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All recordings to flac, with a record of what is done.
    fn submit(&self, more: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args([
            "submit",
            "--kind",
            "extract-audio",
            "-r",
            "--set",
            "audio_format=flac",
            "--jobs",
            "3",
            "--patience",
            "0",
            "--resume",
        ]);
        command.arg(self.path("state.json")).arg("--output").arg(self.path("out")).args(more);
        command.envs([("VOXMILL_SERVER", &self.server.url), ("VOXMILL_API_KEY", &self.key)]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn items(&self, path: &str) -> Vec<Value> {
        let list = self.user.get(path).await.expect(StatusCode::OK);
        list["items"].as_array().unwrap().clone()
    }
}

/// The program, killed with the test that started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_that_is_killed_goes_on_and_does_nothing_twice() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..30).map(|number| format!("in/{}/{number}.wav", number % 3)).collect();
    for (number, name) in names.iter().enumerate() {
        // Two of the same content are two files all the same.
        make_tone(&bench.path(name), 300 + 10 * (number / 2));
    }
    let input = bench.path("in");
    for so_many in [1, 8, 16] {
        let running = Running(bench.submit(&[input.to_str().unwrap()]).spawn().unwrap());
        let state = bench.path("state.json");
        eventually("some results", JOB, async || {
            let state = std::fs::read_to_string(&state).ok()?;
            // The last line may be on its way.
            let lines = state.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let done: BTreeSet<String> = lines
                .filter(|line| line["progress"]["fetched_into"].is_string())
                .map(|line| line["job"].to_string())
                .collect();
            (done.len() >= so_many).then_some(())
        })
        .await;
        drop(running);
    }
    let done = bench.submit(&["--json", input.to_str().unwrap()]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let lines = lines(&done);
    let paths: BTreeSet<&str> = lines.iter().map(|job| job["path"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), paths.len()), (30, 30));
    assert!(lines.iter().all(|job| job["status"] == "completed"));

    let files = bench.items("/api/v1/files?limit=1000").await;
    let mut uploads: HashMap<&str, usize> = HashMap::new();
    for file in files.iter().filter(|file| file["filename"].as_str().unwrap().ends_with(".wav")) {
        *uploads.entry(file["filename"].as_str().unwrap()).or_default() += 1;
    }
    assert!(uploads.len() == 30 && uploads.values().all(|count| *count == 1), "{uploads:?}");
    let jobs = bench.items("/api/v1/process/jobs?limit=100").await;
    assert_eq!(jobs.len(), 30);
    let mut outputs = vec![];
    for folder in ["0", "1", "2"] {
        for entry in std::fs::read_dir(bench.path("out").join(folder)).unwrap() {
            outputs.push(format!("in/{folder}/{}", entry.unwrap().file_name().into_string().unwrap()));
        }
    }
    outputs.sort();
    let mut expected: Vec<_> = names.iter().map(|name| name.replace(".wav", ".flac")).collect();
    expected.sort();
    assert_eq!(outputs, expected, "one whole output each, and no part of one");

    // Once more there is nothing to do.
    assert!(bench.submit(&[input.to_str().unwrap()]).status().unwrap().success());
    assert_eq!(bench.items("/api/v1/process/jobs?limit=100").await.len(), 30);
    assert_eq!(bench.items("/api/v1/files?limit=1000").await.len(), files.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_how_it_went() {
    let mut bench = Bench::new().await;
    make_tone(&bench.path("good.wav"), 440);
    std::fs::write(bench.path("bad.wav"), b"RIFF, and nothing more").unwrap();
    let (good, bad) = (bench.path("good.wav"), bench.path("bad.wav"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let some = bench.submit(&[good, bad]).output().unwrap();
    let said = String::from_utf8_lossy(&some.stderr);
    assert!(some.status.code() == Some(1) && said.contains("bad.wav: 400"), "{some:?}");
    assert!(said.contains("1 completed, 1 failed"), "{said}");
    assert!(bench.path("out/good.flac").exists());

    for wrong in [
        &["--set", "nonsense", good][..],
        &["--set", "channels=1", good],
        &["/nowhere.wav"],
        &["--jobs", "0", good],
        &["--server", "http://127.0.0.1:9", good],
    ] {
        let refused = bench.submit(wrong).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {refused:?}");
    }
    make_tone(&bench.path("later.wav"), 880);
    let later = bench.path("later.wav");
    let later = later.to_str().unwrap();
    bench.server.kill();
    let cut_off = bench.submit(&[good, later]).output().unwrap();
    assert_eq!(cut_off.status.code(), Some(2), "{cut_off:?}");
}

fn lines(done: &Output) -> Vec<Value> {
    done.stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}
