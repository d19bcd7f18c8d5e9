//! A folder of recordings through `voxmill submit`, while workers die and come.

use super::load::tone;
use super::{LOOK, Rows};
use crate::fleet::{BackEnds, Fleet};
use crate::server::{Often, eventually_each, program};
use crate::user::User;
use reqwest::StatusCode;
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What came of a folder.
#[derive(Debug)]
pub struct Folder {
    pub files: usize,
    /// Of jobs that the killed worker ran.
    pub hits: usize,
    pub seconds: f64,
}

/// Submits so many files to two workers. One is killed when a quarter is done, while it runs something, and another one
/// joins when half is.
///
/// # Panics
/// Where a file has not exactly one job and one result, or the program does not say that all went well.
pub async fn submit_folder(back_ends: &BackEnds, files: usize, limit: Duration) -> Folder {
    let fleet = Fleet::new(back_ends.settings());
    let (api, mut workers) = (fleet.api(), vec![fleet.worker(), fleet.worker()]);
    let rows = Rows::postgres(fleet.setting("VOXMILL_DATABASE_URL"));
    let user = User::register(&api.url).await;
    let key = user.post("/api/v1/auth/api-keys", &json!({ "name": "folder" })).await;
    let key = key.expect(StatusCode::CREATED)["key"].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    for number in 0..files {
        std::fs::write(from.join(format!("{number}.wav")), tone(16_000, 0.5)).unwrap();
    }

    let begun = Instant::now();
    let mut submit = Command::new(program())
        .args(["submit", "--kind", "extract-audio", "-r", "--set", "audio_format=flac", "--jobs", "16"])
        .arg("--resume")
        .arg(folder.path().join("state"))
        .arg("--output")
        .args([&to, &from])
        .envs([("VOXMILL_SERVER", api.url.as_str()), ("VOXMILL_API_KEY", &key)])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let often = Often { every: LOOK, limit };
    let (mut hits, mut status) = (0, None);
    eventually_each("the end of the folder", often, async || {
        let done = rows.number("SELECT count(*) FROM jobs WHERE state = 'completed'").unsigned_abs() as usize;
        if hits == 0 && done >= files / 4 {
            let running = rows.running_in(workers[0].process_id());
            if !running.is_empty() {
                workers[0].kill();
                hits = running.len();
            }
        }
        if workers.len() == 2 && done >= files / 2 {
            workers.push(fleet.worker());
        }
        status = submit.try_wait().unwrap();
        status.map(drop)
    })
    .await;
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert_eq!((hits > 0, workers.len()), (true, 3), "too few files for a kill and a newcomer");
    let results = std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert_eq!(results.filter(|size| *size > 0).count(), files, "a result for each file");
    let one_each = "SELECT count(*), count(*) FILTER (WHERE state = 'completed') FROM jobs";
    assert_eq!(rows.query(one_each), [[files.to_string(), files.to_string()]]);
    Folder { files, hits, seconds }
}
