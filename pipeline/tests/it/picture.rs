//! A picture with a new voice.

use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline::media::{MediaError, MediaErrorCode, SubtitleTrack, VideoGeneration, VideoReport};
use pipeline::parameters::{Extend, Quality, VideoContainer};

use crate::harness::{Bench, assert_near, duration, ffprobe, samples, talk, unwatched};

const SUBTITLES: &str = "1\n00:00:01,000 --> 00:00:03,000\nHello <i>there</i>\n\n\
                         2\n00:00:04,000 --> 00:00:06,500\nText with ' : , [ ] % \\ marks\n\n";

fn request(bench: &Bench, video: &Path, voice: &Path) -> VideoGeneration {
    VideoGeneration {
        video: video.to_owned(),
        voice: voice.to_owned(),
        output: bench.path("out.mp4"),
        container: VideoContainer::Mp4,
        quality: Quality::High,
        extend: None,
        keep_background: false,
        subtitles: None,
    }
}

async fn generate(bench: &Bench, request: &VideoGeneration) -> Result<VideoReport, MediaError> {
    let made = bench.runner.generate_video(request.clone(), unwatched(&bench.cancel)).await;
    let (report, media) = made?;
    assert_eq!(media, bench.runner.probe(&request.output, &bench.cancel).await?);
    Ok(report)
}

/// Four seconds of tone that begin after one second of silence.
fn voice(bench: &Bench) -> PathBuf {
    bench.made(
        "voice.wav",
        "-f lavfi -i sine=frequency=880:sample_rate=22050:duration=4 -af adelay=1000,volume=4",
    )
}

/// A hash of the packets of the picture, which decoding or encoding would change.
fn picture_hash(path: &Path) -> String {
    let hashed = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        // Containers differ in whether headers lie beside or inside the packets.
        .args(["-map", "0:v", "-c", "copy", "-f", "streamhash", "-"])
        .output()
        .unwrap();
    String::from_utf8(hashed.stdout).unwrap()
}

#[tokio::test]
async fn high_quality_copies_the_picture_bit_by_bit_into_every_container_that_holds_it() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    let voice = voice(&bench);
    for container in [VideoContainer::Mp4, VideoContainer::Mov, VideoContainer::Mkv] {
        let output = bench.path(&format!("out.{}", container.extension()));
        let request = VideoGeneration { output: output.clone(), container, ..request(&bench, &talk, &voice) };
        let report = generate(&bench, &request).await.unwrap();
        assert!(report.video_copied);
        assert_eq!((report.width, report.height), (1280, 720));
        assert_near(report.duration_seconds, 10.16, 0.01);
        assert_eq!(picture_hash(&output), picture_hash(&talk), "{container:?}");
        assert_near(duration(&output), 10.16, 0.06);
        assert_eq!(ffprobe(&output, "v:0", "stream=codec_name"), "h264");
        assert_eq!(ffprobe(&output, "a", "stream=codec_name"), "aac");
        assert_voice_lies_between_1_and_5_s(&output);
    }
}

/// The voice begins within 40 ms of its time, and silence follows it to the end of the picture.
#[track_caller]
fn assert_voice_lies_between_1_and_5_s(output: &Path) {
    let samples = samples(output);
    let loud: Vec<_> = (0..samples.len()).filter(|at| samples[*at].unsigned_abs() > 1_000).collect();
    let (first, last) = (loud[0] as f64 / 16_000.0, loud[loud.len() - 1] as f64 / 16_000.0);
    assert_near(first, 1.0, 0.04);
    assert_near(last, 5.0, 0.08);
    assert_near(samples.len() as f64 / 16_000.0, 10.16, 0.1);
}

#[tokio::test]
async fn frames_keep_their_times_when_copied() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    let request = request(&bench, &talk, &voice(&bench));
    generate(&bench, &request).await.unwrap();
    let times = |path: &Path| ffprobe(path, "v:0", "packet=pts_time,dts_time,flags");
    assert_eq!(times(&request.output), times(&talk));
}

#[tokio::test]
async fn lower_qualities_encode_the_picture_anew() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    let voice = voice(&bench);
    let mut sizes = vec![];
    for (quality, size) in [(Quality::Medium, (1280, 720)), (Quality::Low, (854, 480))] {
        let request = VideoGeneration { quality, ..request(&bench, &talk, &voice) };
        let report = generate(&bench, &request).await.unwrap();
        assert!(!report.video_copied);
        assert_eq!((report.width, report.height), size);
        assert_eq!(ffprobe(&request.output, "v:0", "stream=width,height"), format!("{},{}", size.0, size.1));
        assert_eq!(ffprobe(&request.output, "v:0", "stream=nb_frames"), "254");
        assert_near(duration(&request.output), 10.16, 0.06);
        assert_voice_lies_between_1_and_5_s(&request.output);
        sizes.push(std::fs::metadata(&request.output).unwrap().len());
    }
    assert!(sizes[1] < sizes[0], "{sizes:?}");
}

#[tokio::test]
async fn webm_is_made_of_h264() {
    let bench = Bench::new();
    let video = bench.made(
        "in.mp4",
        "-f lavfi -i testsrc=size=640x360:rate=25:duration=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    );
    let voice = bench.made("short.wav", "-f lavfi -i sine=frequency=880:duration=2");
    let output = bench.path("out.webm");
    for quality in [Quality::Low, Quality::High] {
        let request = VideoGeneration {
            output: output.clone(),
            container: VideoContainer::Webm,
            quality,
            ..request(&bench, &video, &voice)
        };
        let report = generate(&bench, &request).await.unwrap();
        assert!(!report.video_copied);
        assert_eq!(ffprobe(&output, "v", "stream=codec_name"), "vp9");
        assert_eq!(ffprobe(&output, "a", "stream=codec_name"), "opus");
        assert_near(duration(&output), 3.0, 0.1);
    }
    // And VP9 in turn goes on untouched.
    let again = VideoGeneration {
        output: bench.path("again.webm"),
        container: VideoContainer::Webm,
        ..request(&bench, &output, &voice)
    };
    assert!(generate(&bench, &again).await.unwrap().video_copied);
    assert_eq!(picture_hash(&again.output), picture_hash(&output));
}

#[tokio::test]
async fn a_longer_voice_is_refused_unless_the_last_frame_is_held() {
    let bench = Bench::new();
    let video = bench.made("in.mp4", "-f lavfi -i testsrc=size=320x240:rate=25:duration=2 -pix_fmt yuv420p");
    let voice = bench.made("long.wav", "-f lavfi -i sine=frequency=880:duration=5");
    let refused = request(&bench, &video, &voice);
    let error = generate(&bench, &refused).await.unwrap_err();
    assert_eq!(error.code, MediaErrorCode::VoiceLongerThanPicture);
    assert!(!refused.output.exists());

    let held = VideoGeneration { extend: Some(Extend::Freeze), ..refused };
    let report = generate(&bench, &held).await.unwrap();
    assert!(!report.video_copied);
    assert_near(report.duration_seconds, 5.0, 0.01);
    assert_near(duration(&held.output), 5.0, 0.1);
    assert_eq!(ffprobe(&held.output, "v:0", "stream=nb_frames"), "125");
}

#[tokio::test]
async fn the_background_stays_under_the_voice() {
    let bench = Bench::new();
    let video = bench.made(
        "in.mp4",
        "-f lavfi -i testsrc=size=320x240:rate=25:duration=8 -f lavfi -i sine=frequency=200:duration=8 -pix_fmt yuv420p",
    );
    let voice = voice(&bench);
    let request = VideoGeneration { keep_background: true, ..request(&bench, &video, &voice) };
    assert!(generate(&bench, &request).await.unwrap().video_copied);
    let samples = samples(&request.output);
    let level = |frequency: f64, from: f64| {
        let start = (from * 16_000.0) as usize;
        let window = &samples[start..start + 8_000];
        let turn = std::f64::consts::TAU * frequency / 16_000.0;
        let sum = window.iter().enumerate().fold((0.0, 0.0), |(real, imaginary), (at, sample)| {
            let (sine, cosine) = (turn * at as f64).sin_cos();
            (real + f64::from(*sample) * cosine, imaginary + f64::from(*sample) * sine)
        });
        20.0 * (sum.0.hypot(sum.1) / 4_000.0 + 1e-9).log10()
    };
    let (alone, under) = (level(200.0, 7.0), level(200.0, 3.0));
    assert!(
        (8.0..25.0).contains(&(alone - under)),
        "background {alone:.1} dB alone, {under:.1} dB under the voice"
    );
    assert!(level(880.0, 3.0) > under + 6.0);
    assert!(level(880.0, 7.0) < alone - 30.0, "the voice has ended");
}

#[tokio::test]
async fn subtitles_become_a_track_of_every_container() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    let voice = voice(&bench);
    let path = bench.written("subtitles.srt", SUBTITLES);
    let expected = [("mp4", "mov_text"), ("mov", "mov_text"), ("mkv", "subrip"), ("webm", "webvtt")];
    for (container, codec) in expected {
        let container = VideoContainer::parse(container).unwrap();
        let track = SubtitleTrack { path: path.clone(), burn: false, language: Some("de".to_owned()) };
        let request = VideoGeneration {
            output: bench.path(&format!("out.{}", container.extension())),
            container,
            quality: if container == VideoContainer::Webm { Quality::Low } else { Quality::High },
            subtitles: Some(track),
            ..request(&bench, &talk, &voice)
        };
        generate(&bench, &request).await.unwrap();
        // QuickTime and Matroska know German by its English name.
        let language = if container == VideoContainer::Mp4 { "deu" } else { "ger" };
        assert_eq!(
            ffprobe(&request.output, "s:0", "stream=codec_name:stream_tags=language"),
            format!("{codec},{language}")
        );
        let read_back = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&request.output)
            .args(["-map", "0:s:0", "-f", "srt", "-"])
            .output()
            .unwrap();
        let read_back = String::from_utf8(read_back.stdout).unwrap();
        assert!(read_back.contains("Hello there"), "{container:?}: {read_back}");
        assert!(read_back.contains("Text with ' : , [ ] % \\ marks"), "{container:?}: {read_back}");
        assert!(read_back.contains("00:00:01,0") && read_back.contains("00:00:06,5"), "{read_back}");
    }
    // A track goes on into the next container, whatever kind it is there.
    let again = VideoGeneration {
        output: bench.path("again.mkv"),
        container: VideoContainer::Mkv,
        ..request(&bench, &bench.path("out.mp4"), &voice)
    };
    generate(&bench, &again).await.unwrap();
    assert_eq!(ffprobe(&again.output, "s:0", "stream=codec_name:stream_tags=language"), "subrip,deu");
}

#[tokio::test]
async fn captions_that_overlap_or_nearly_coincide_are_all_shown() {
    let bench = Bench::new();
    let video = bench.made("in.mp4", "-f lavfi -i testsrc=size=160x120:duration=4 -pix_fmt yuv420p");
    let voice = bench.made("v.wav", "-f lavfi -i sine=duration=1");
    let cues = "1\n00:00:01,000 --> 00:00:03,000\nlong\n\n\
                2\n00:00:02,000 --> 00:00:02,500\nshort\n\n\
                3\n00:00:02,0002 --> 00:00:02,500\nnear\n\n";
    let path = bench.written("subtitles.srt", cues);
    for container in [VideoContainer::Mp4, VideoContainer::Mkv] {
        let subtitles = Some(SubtitleTrack { path: path.clone(), burn: false, language: None });
        let output = bench.path(&format!("out.{}", container.extension()));
        let request = VideoGeneration { output, container, subtitles, ..request(&bench, &video, &voice) };
        generate(&bench, &request).await.unwrap();
        let track = bench.piped("track.vtt", &format!("-i {} -map 0:s -f webvtt", request.output.display()));
        let track = std::fs::read_to_string(track).unwrap();
        let shown = pipeline::subtitles::parse(&track).unwrap().into_iter();
        // Matroska moves everything by the twenty milliseconds that the sound's codec needs before its first.
        let tenths = |time: f64| (time * 10.0).round() as u32;
        let shown: Vec<_> = shown.map(|cue| (tenths(cue.start), tenths(cue.end), cue.text)).collect();
        let expected = [(10, 20, "long"), (20, 25, "long\nshort\nnear"), (25, 30, "long")];
        assert_eq!(shown, expected.map(|(start, end, text)| (start, end, text.to_owned())), "{container:?}");
    }
}

#[tokio::test]
async fn a_long_silence_between_captions_does_not_hurry_the_sound() {
    let bench = Bench::new();
    let cue =
        |number, second: &str| format!("{number}\n00:00:{second},000 --> 00:00:{second},900\nHello\n\n");
    bench.written("captions.srt", cue(1, "01") + &cue(2, "57"));
    let captions = bench.path("captions.srt").display().to_string();
    let video = bench.made(
        "in.mp4",
        &format!(
            "-f lavfi -i testsrc=size=160x120:rate=10:duration=60 -i {captions} -map 0 -map 1 -c:s mov_text -pix_fmt yuv420p"
        ),
    );
    let voice = bench.made("voice.flac", "-f lavfi -i sine=duration=60");
    let request = VideoGeneration {
        output: bench.path("out.mkv"),
        container: VideoContainer::Mkv,
        quality: Quality::Low,
        ..request(&bench, &video, &voice)
    };
    generate(&bench, &request).await.unwrap();
    assert_eq!(ffprobe(&request.output, "s", "stream=codec_name"), "subrip");
    let mut picture = 0.0_f64;
    for packet in ffprobe(&request.output, "", "packet=codec_type,pts_time").lines() {
        let (kind, time) = packet.split_once(',').unwrap();
        let time: f64 = time.parse().unwrap();
        match kind {
            "video" => picture = picture.max(time),
            "audio" => {
                assert!(time < picture + 15.0, "sound of {time} s lies beside the picture of {picture} s")
            }
            _captions => {}
        }
    }
}

#[tokio::test]
async fn burned_subtitles_are_in_the_picture() {
    let bench = Bench::new();
    let video =
        bench.made("in.mp4", "-f lavfi -i color=black:size=640x360:rate=25:duration=4 -pix_fmt yuv420p");
    let voice = bench.made("v.wav", "-f lavfi -i sine=duration=2");
    let path = bench.written("subtitles.srt", SUBTITLES);
    let subtitles = Some(SubtitleTrack { path, burn: true, language: None });
    let request = VideoGeneration { subtitles, ..request(&bench, &video, &voice) };
    let report = generate(&bench, &request).await.unwrap();
    assert!(!report.video_copied);
    assert_eq!(ffprobe(&request.output, "s", "stream=codec_name"), "");
    assert!(brightest(&request.output, "2") > 200, "letters are white");
    assert!(brightest(&request.output, "0.2") < 40, "nothing is shown before its time");
}

/// The brightest point of the frame at a time.
fn brightest(path: &Path, time: &str) -> u8 {
    gray_frame(path, time).into_iter().max().unwrap()
}

/// The frame at a time as a viewer sees it, one byte a point.
fn gray_frame(path: &Path, time: &str) -> Vec<u8> {
    let frame = Command::new("ffmpeg")
        .args(["-v", "error", "-ss", time, "-i"])
        .arg(path)
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    frame.stdout
}

#[tokio::test]
async fn a_turned_picture_stays_turned() {
    let bench = Bench::new();
    let turned = turned(&bench, "testsrc=size=320x240:duration=1");
    let voice = bench.made("v.wav", "-f lavfi -i sine=duration=1");
    assert_eq!(rotation(&turned), "90");
    for quality in [Quality::High, Quality::Medium] {
        let request = VideoGeneration { quality, ..request(&bench, &turned, &voice) };
        generate(&bench, &request).await.unwrap();
        assert_eq!(rotation(&request.output), "90", "{quality:?}");
    }
    let upright = VideoGeneration {
        output: bench.path("upright.mkv"),
        container: VideoContainer::Mkv,
        ..request(&bench, &turned, &voice)
    };
    let report = generate(&bench, &upright).await.unwrap();
    assert_eq!((report.width, report.height, report.video_copied), (240, 320, false));
}

#[tokio::test]
async fn letters_stand_upright_on_a_turned_picture() {
    let bench = Bench::new();
    let video = turned(&bench, "color=black:size=640x360:rate=5:duration=4");
    let voice = bench.made("v.wav", "-f lavfi -i sine=duration=1");
    let path = bench.written("subtitles.srt", SUBTITLES);
    for container in [VideoContainer::Mp4, VideoContainer::Mkv] {
        let subtitles = Some(SubtitleTrack { path: path.clone(), burn: true, language: None });
        let output = bench.path(&format!("out.{}", container.extension()));
        let request = VideoGeneration { output, container, subtitles, ..request(&bench, &video, &voice) };
        let report = generate(&bench, &request).await.unwrap();
        assert_eq!((report.width, report.height), (360, 640), "{container:?}");
        assert_eq!(rotation(&request.output), "", "{container:?}: turned a second time");
        // The letters are the only light: they fill the lowest eighth of what a viewer sees.
        let frame = gray_frame(&request.output, "2");
        let lit = frame.iter().position(|point| *point > 200).expect("letters are white");
        assert_eq!(frame.len(), 360 * 640);
        assert!(lit / 360 > 640 * 7 / 8, "{container:?}: letters in line {}", lit / 360);
    }
}

/// A picture that players turn by a quarter.
fn turned(bench: &Bench, picture: &str) -> PathBuf {
    let flat = bench.made("flat.mp4", &format!("-f lavfi -i {picture} -pix_fmt yuv420p"));
    bench.made("turned.mp4", &format!("-i {} -c copy -metadata:s:v:0 rotate=90", flat.display()))
}

fn rotation(path: &Path) -> String {
    ffprobe(path, "v:0", "stream_side_data=rotation")
}
