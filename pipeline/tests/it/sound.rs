//! What is in a file, and its sound as a file.

use pipeline::media::{AudioExtraction, MediaErrorCode, PcmDecoding};
use pipeline::parameters::AudioFormat;

use crate::harness::{Bench, assert_near, duration, ffprobe, onset, talk, unwatched};

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
        let (report, media) = bench.runner.extract_audio(extraction, unwatched(&bench.cancel)).await.unwrap();
        // The sound ends before the picture. MP3 and AAC round up to their frames.
        assert_near(report.duration_seconds, 9.375, 0.05);
        assert_eq!((report.sample_rate, report.channels), (16_000, 2));
        assert_eq!(media, bench.runner.probe(&output, &bench.cancel).await.unwrap());
        assert_near(duration(&output), 9.375, 0.1);
        // A decoder of Opus always gives 48 kHz, whatever went in.
        let rate = if format == AudioFormat::Opus { "48000" } else { "16000" };
        assert_eq!(ffprobe(&output, "a:0", "stream=sample_rate,channels"), format!("{rate},2"), "{format:?}");
    }
}

#[tokio::test]
async fn without_a_wish_the_rate_and_channels_stay_where_the_format_has_them() {
    let bench = Bench::new();
    let input = bench.made("in.wav", "-f lavfi -i sine=frequency=440:sample_rate=44100:duration=1 -ac 6");
    for (format, rate) in [(AudioFormat::Flac, 44_100), (AudioFormat::Opus, 48_000)] {
        let extraction = AudioExtraction {
            input: input.clone(),
            output: bench.path(&format!("out.{}", format.extension())),
            format,
            sample_rate: None,
            channels: None,
        };
        let (report, _media) =
            bench.runner.extract_audio(extraction, unwatched(&bench.cancel)).await.unwrap();
        assert_eq!((report.sample_rate, report.channels), (rate, 2), "{format:?}");
    }
}

#[tokio::test]
async fn sound_that_starts_late_stays_in_sync_with_the_picture() {
    let bench = Bench::new();
    let picture = "-f lavfi -i testsrc=size=320x240:rate=25:duration=6";
    for (name, codecs) in [
        ("late.mp4", "-c:v libx264 -c:a aac"),
        ("late.mkv", "-c:v libx264 -c:a aac"),
        ("late.webm", "-c:v libvpx -deadline realtime -c:a libopus"),
        ("late.ts", "-c:v libx264 -c:a mp2"),
    ] {
        let sound = "-itsoffset 2.5 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=3";
        let input = bench.made(name, &format!("{picture} {sound} {codecs} -map 0:v -map 1:a"));
        let output = bench.path("late.wav");
        let decoding = PcmDecoding { input, output: output.clone(), sample_rate: 16_000 };
        let report = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap();
        assert_eq!((report.sample_rate, report.channels), (16_000, 1));
        assert_near(report.duration_seconds, 5.5, 0.1);
        assert_near(onset(&output), 2.5, 0.03);
    }
}

#[tokio::test]
async fn a_hole_in_the_sound_becomes_silence() {
    let bench = Bench::new();
    let input = bench.made(
        "hole.mkv",
        "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=9 -af aselect=lt(t\\,1)+gt(t\\,6) -c:a flac",
    );
    let output = bench.path("hole.wav");
    let decoding = PcmDecoding { input, output, sample_rate: 16_000 };
    let report = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap();
    assert_near(report.duration_seconds, 9.0, 0.1);
}

#[tokio::test]
async fn sound_that_changes_its_shape_on_the_way_comes_out_whole() {
    let bench = Bench::new();
    let sine = |rate, channels| format!("-f lavfi -i sine=duration=3:sample_rate={rate} -ac {channels}");
    let parts = [
        bench.piped("a.aac", &format!("{} -f adts", sine(48_000, 2))),
        bench.piped("b.aac", &format!("{} -f adts", sine(44_100, 1))),
    ];
    let whole = parts.map(|part| std::fs::read(part).unwrap()).concat();
    let input = bench.written("whole.aac", whole);
    let decoding = PcmDecoding { input, output: bench.path("out.wav"), sample_rate: 16_000 };
    let report = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap();
    assert_near(report.duration_seconds, 6.0, 0.2);
}

#[tokio::test]
async fn a_stream_without_a_length_is_measured() {
    let bench = Bench::new();
    // A pipe cannot be wound back to write the length, as a browser's recorder cannot.
    let input = bench.piped("live.webm", "-f lavfi -i sine=duration=7 -c:a libopus -f webm");
    let info = bench.runner.probe(&input, &bench.cancel).await.unwrap();
    assert_near(info.duration_seconds, 7.0, 0.1);
    assert_eq!(info.container, "webm");
    assert_eq!(info.video, None);
}

#[tokio::test]
async fn a_file_without_sound_says_so() {
    let bench = Bench::new();
    let input = bench.made("mute.mp4", "-f lavfi -i testsrc=size=320x240:duration=1");
    let decoding = PcmDecoding { input, output: bench.path("out.wav"), sample_rate: 16_000 };
    let error = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::MediaNoAudio);
    assert!(!bench.path("out.wav").exists(), "no partial output is left");
}

#[tokio::test]
async fn a_sound_that_we_cannot_read_hides_nothing_that_we_can() {
    let bench = Bench::new();
    let picture = "-f lavfi -i testsrc=size=160x120:duration=2";
    let sine = "-f lavfi -i sine=duration=2:sample_rate=48000";
    // Of six channels and the default, so the one that a player would take.
    let dts = "-c:a:0 dca -ac:a:0 6 -strict -2";
    let both = bench.made(
        "both.mkv",
        &format!("{picture} {sine} {sine} -map 0 -map 1 -map 2 {dts} -c:a:1 aac -ac:a:1 1"),
    );
    let info = bench.runner.probe(&both, &bench.cancel).await.unwrap();
    assert_eq!(info.audio.map(|audio| (audio.codec, audio.channels)), Some(("aac".to_owned(), 1)));
    let decoding = PcmDecoding { input: both, output: bench.path("out.wav"), sample_rate: 16_000 };
    let report = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap();
    assert_near(report.duration_seconds, 2.0, 0.1);

    let alone = bench.made("alone.mkv", &format!("{picture} {sine} {dts}"));
    let info = bench.runner.probe(&alone, &bench.cancel).await.unwrap();
    assert_eq!(info.video.map(|video| video.codec), Some("h264".to_owned()));
    assert_eq!(info.audio, None);
    let decoding = PcmDecoding { input: alone, output: bench.path("none.wav"), sample_rate: 16_000 };
    let error = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::MediaUnsupported, "{error}");

    let nothing = bench.made("nothing.mkv", &format!("{sine} {dts}"));
    let error = bench.runner.probe(&nothing, &bench.cancel).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::MediaUnsupported, "{error}");
}

#[tokio::test]
async fn progress_rises_to_the_end() {
    let bench = Bench::new();
    let input = bench.made("long.flac", "-f lavfi -i anoisesrc=duration=900:sample_rate=48000 -ac 2");
    let mut told = vec![];
    let mut on_progress = |progress| told.push(progress);
    let watch = pipeline::media::Watch { cancel: &bench.cancel, on_progress: &mut on_progress };
    let decoding = PcmDecoding { input, output: bench.path("out.wav"), sample_rate: 16_000 };
    bench.runner.decode_pcm(decoding, watch).await.unwrap();
    assert!(told.len() >= 3, "{told:?}");
    assert!(told.is_sorted() && told.iter().all(|progress| (0.0..=1.0).contains(progress)), "{told:?}");
}
