//! What is in a file, and its sound as a file.

use pipeline::media::AudioExtraction;
use pipeline::parameters::AudioFormat;

use crate::harness::{Bench, assert_near, duration, ffprobe, talk, unwatched};

#[tokio::test]
async fn a_probe_tells_what_is_in_a_file_whatever_its_name() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    for name in ["talk.mp4", "talk", "talk.mp3"] {
        let copy = bench.path(name);
        std::fs::copy(&talk, &copy).unwrap();
        let info = bench.runner.probe(&copy, &bench.cancel).await.unwrap();
        assert_near(info.duration_seconds, 10.16, 0.05);
        assert_eq!(info.container, "mp4");
        let video = info.video.unwrap();
        assert_eq!((video.codec.as_str(), video.width, video.height, video.fps), ("h264", 1280, 720, 25.0));
        let audio = info.audio.unwrap();
        assert_eq!((audio.codec.as_str(), audio.sample_rate, audio.channels), ("aac", 48_000, 1));
    }
}

#[tokio::test]
async fn sound_comes_out_in_every_format() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    for &format in AudioFormat::ALL {
        let output = bench.path(&format!("out.{}", format.extension()));
        let extraction = AudioExtraction {
            input: talk.clone(),
            output: output.clone(),
            format,
            sample_rate: Some(16_000),
            channels: Some(2),
        };
        let report = bench.runner.extract_audio(extraction, unwatched(&bench.cancel)).await.unwrap();
        assert_near(report.duration_seconds, 10.16, 0.05);
        assert_eq!((report.sample_rate, report.channels), (16_000, 2));
        assert_near(duration(&output), 10.16, 0.05);
        // A decoder of Opus always gives 48 kHz, whatever went in.
        let rate = if format == AudioFormat::Opus { "48000" } else { "16000" };
        assert_eq!(ffprobe(&output, "a:0", "stream=sample_rate,channels"), format!("{rate},2"), "{format:?}");
    }
}
