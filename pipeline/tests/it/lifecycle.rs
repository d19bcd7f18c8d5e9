//! The child never outlives its purpose, and cannot leave its room.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pipeline::media::{Limits, MediaErrorCode, PcmDecoding, VideoGeneration, Watch};
use pipeline::parameters::{Quality, VideoContainer};

use crate::harness::{Bench, child_under, unwatched};

/// Work for minutes: a long picture, encoded slowly.
fn long_work(bench: &Bench) -> VideoGeneration {
    VideoGeneration {
        video: bench.made("long.mkv", "-f lavfi -i testsrc=size=1280x720:rate=5:duration=60 -c:v mpeg4"),
        voice: bench.made("voice.wav", "-f lavfi -i sine=duration=60"),
        output: bench.path("out.webm"),
        container: VideoContainer::Webm,
        quality: Quality::High,
        extend: None,
        keep_background: false,
        subtitles: None,
    }
}

fn is_anyone_at_work_in(bench: &Bench) -> bool {
    worker_in(bench).is_some()
}

/// The folder in `/proc` of the process that works in a room of the job's directory.
fn worker_in(bench: &Bench) -> Option<PathBuf> {
    let directory = bench.path("").canonicalize().unwrap();
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten().map(|process| process.path());
    processes.find(|process| {
        std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&directory))
            && std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
    })
}

#[tokio::test]
async fn the_child_is_shut_in_while_it_works() {
    let bench = Bench::new();
    let work = long_work(&bench);
    let mut seen = None;
    let mut on_progress = |_progress: f64| {
        let Some(worker) = worker_in(&bench) else { return };
        let read = |name: &str| std::fs::read_to_string(worker.join(name)).unwrap_or_default();
        let network = std::fs::read_link(worker.join("ns/net")).ok();
        seen.get_or_insert((read("status"), read("limits"), read("environ"), network));
        bench.cancel.cancel();
    };
    let watch = Watch { cancel: &bench.cancel, on_progress: &mut on_progress };
    bench.runner.generate_video(work, watch).await.unwrap_err();
    let (status, limits, environment, network) = seen.unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max address space").contains(&Limits::default().memory_bytes.to_string()));
    assert!(limit("Max core file size").contains(" 0 "));
    assert!(!environment.contains("PATH="), "{environment}");
    // Not every kernel lets a process leave the network; where it does, the child has.
    if let Some(network) = network {
        assert_ne!(network, std::fs::read_link("/proc/self/ns/net").unwrap());
    }
}

#[tokio::test]
async fn a_cancel_ends_the_child_at_once_and_leaves_nothing() {
    let bench = Bench::new();
    let work = long_work(&bench);
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut begun = Some(begun);
    let mut on_progress = |progress: f64| {
        if progress > 0.0
            && let Some(begun) = begun.take()
        {
            begun.send(()).unwrap();
        }
    };
    let canceller = async {
        has_begun.await.unwrap();
        assert!(is_anyone_at_work_in(&bench));
        bench.cancel.cancel();
        Instant::now()
    };
    let watch = Watch { cancel: &bench.cancel, on_progress: &mut on_progress };
    let (result, cancelled) = tokio::join!(bench.runner.generate_video(work, watch), canceller);
    assert_eq!(result.unwrap_err().code, MediaErrorCode::Cancelled);
    assert!(cancelled.elapsed() < Duration::from_secs(2), "{:?}", cancelled.elapsed());
    assert_eq!(bench.files(), ["long.mkv", "voice.wav"]);
    assert!(!is_anyone_at_work_in(&bench));
}

#[tokio::test]
async fn a_dropped_operation_ends_its_child() {
    let bench = Bench::new();
    let work = long_work(&bench);
    let operation = bench.runner.generate_video(work, unwatched(&bench.cancel));
    let finished = tokio::time::timeout(Duration::from_secs(1), operation).await;
    assert!(finished.is_err(), "the work is long");
    wait_until("the child is gone", || !is_anyone_at_work_in(&bench));
    assert_eq!(bench.files(), ["long.mkv", "voice.wav"]);
}

#[test]
fn a_killed_parent_takes_its_child_along() {
    let bench = Bench::new();
    let work = serde_json::to_value(long_work(&bench)).unwrap();
    let mut operation = serde_json::json!({"kind": "generate-video"});
    operation.as_object_mut().unwrap().extend(work.as_object().unwrap().clone());
    let assignment = serde_json::json!({"operation": operation, "limits": Limits::default()});
    // A parent whose only tie to the child is the pipe: `cat` feeds it and is then killed.
    let mut parent = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_media-child")))
        .current_dir(bench.path(""))
        .stdin(parent.stdout.take().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(parent.stdin.as_mut().unwrap(), "{assignment}").unwrap();
    wait_until("the work has begun", || bench.path("out.webm").exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the child is gone", || child.try_wait().unwrap().is_some());
}

#[tokio::test]
async fn limits_end_the_child_with_their_own_codes() {
    let bench = Bench::new();
    let work = VideoGeneration { quality: Quality::Medium, ..long_work(&bench) };
    let free = Limits::default();
    let cases = [
        (MediaErrorCode::MediaTooComplex, Limits { cpu: Duration::from_secs(1), ..free.clone() }),
        (MediaErrorCode::MediaTooComplex, Limits::within(Duration::from_millis(700))),
        (MediaErrorCode::MediaTooLarge, Limits { memory_bytes: 400 << 20, ..free.clone() }),
        (MediaErrorCode::StorageFull, Limits { output_bytes: 20_000, ..free }),
    ];
    for (code, limits) in cases {
        let runner = child_under(limits);
        let error = runner.generate_video(work.clone(), unwatched(&bench.cancel)).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert_eq!(bench.files(), ["long.mkv", "voice.wav"]);
    }
}

#[test]
fn a_time_limit_leaves_room_for_the_computing_of_every_thread() {
    for hours in [1, 24] {
        let time = Duration::from_secs(hours * 3600);
        let limits = Limits::within(time);
        assert_eq!(limits.wall_clock, time);
        assert!(limits.cpu >= time * u32::try_from(limits.threads).unwrap(), "{limits:?}");
    }
}

#[tokio::test]
async fn a_child_that_says_nothing_is_ended() {
    let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    let bench = Bench::new();
    let silent = pipeline::media::MediaRunner::new("sleep".into(), vec!["600".to_owned()], limits);
    let error = silent.probe(&bench.path("x"), &bench.cancel).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::MediaStalled);
}

#[tokio::test]
async fn a_child_that_closes_its_output_and_stays_is_ended() {
    let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    let bench = Bench::new();
    for script in ["exec >&-; exec sleep 600", "exec >&-; sleep 600 & exit"] {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let lingering = pipeline::media::MediaRunner::new("/bin/sh".into(), arguments, limits.clone());
        let start = Instant::now();
        lingering.probe(&bench.path("x"), &bench.cancel).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(10), "{script}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_child_that_dies_is_told_apart_by_how() {
    let bench = Bench::new();
    for (signal, code) in [
        ("SEGV", MediaErrorCode::MediaCrashed),
        ("ABRT", MediaErrorCode::MediaCrashed),
        ("KILL", MediaErrorCode::MediaTooLarge),
        ("XCPU", MediaErrorCode::MediaTooComplex),
    ] {
        let arguments = vec!["-c".to_owned(), format!("kill -{signal} $$")];
        let dying = pipeline::media::MediaRunner::new("/bin/sh".into(), arguments, Limits::default());
        let error = dying.probe(&bench.path("x"), &bench.cancel).await.unwrap_err();
        assert_eq!(error.code, code, "{signal}");
    }
}

#[tokio::test]
async fn the_output_cannot_lie_outside_the_room_of_the_job() {
    let bench = Bench::new();
    let input = bench.made("in.wav", "-f lavfi -i sine=duration=1");
    let decoding = PcmDecoding { input, output: bench.path("no/such/room/out.wav"), sample_rate: 16_000 };
    let error = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::MediaFailed);
}

#[tokio::test]
async fn a_link_in_the_place_of_the_output_is_not_followed() {
    let bench = Bench::new();
    let input = bench.made("in.wav", "-f lavfi -i sine=duration=1");
    let elsewhere = Bench::new();
    let outside = elsewhere.written("precious.wav", "precious");
    std::os::unix::fs::symlink(&outside, bench.path("out.wav")).unwrap();
    let decoding = PcmDecoding { input, output: bench.path("out.wav"), sample_rate: 16_000 };
    bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "precious");
    assert!(std::fs::symlink_metadata(bench.path("out.wav")).unwrap().is_file());
    assert_eq!(bench.files(), ["in.wav", "out.wav"]);
}

#[tokio::test]
async fn a_link_that_a_child_makes_is_not_handed_out() {
    let bench = Bench::new();
    let report = r#"{"done":{"kind":"audio","duration_seconds":1.0,"sample_rate":16000,"channels":1}}"#;
    let script = format!("ln -s /etc/passwd out.wav; echo '{report}'");
    let taken_over =
        pipeline::media::MediaRunner::new("/bin/sh".into(), vec!["-c".to_owned(), script], Limits::default());
    let input = bench.written("in.wav", "sound");
    let decoding = PcmDecoding { input, output: bench.path("out.wav"), sample_rate: 16_000 };
    let error = taken_over.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::MediaCrashed, "{error}");
    assert_eq!(bench.files(), ["in.wav"]);
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: waited in vain");
        std::thread::yield_now();
    }
}
