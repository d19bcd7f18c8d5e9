//! Files that mean harm, or are broken: each ends with its own code, quickly, and the worker is none the worse.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipeline::media::{MediaErrorCode, PcmDecoding};

use crate::harness::{Bench, talk, unwatched};

use MediaErrorCode::{
    MediaCrashed, MediaFailed, MediaNoAudio, MediaTooLarge, MediaTruncated, MediaUnsupported,
};

/// What becomes of a file: of a look into it, and of the attempt to use its sound. None is success.
struct Case {
    name: &'static str,
    path: PathBuf,
    probed: Option<MediaErrorCode>,
    decoded: Option<MediaErrorCode>,
}

#[tokio::test]
async fn every_hostile_file_ends_with_its_own_code() {
    let bench = Bench::new();
    let cases = corpus(&bench);
    assert!(cases.len() >= 20);
    for case in cases {
        let start = Instant::now();
        let probed = bench.runner.probe(&case.path, &bench.cancel).await;
        assert_eq!(probed.err().map(|error| error.code), case.probed, "probe of {}", case.name);
        let output = bench.path(&format!("{}.wav", case.name));
        let decoding = PcmDecoding { input: case.path.clone(), output: output.clone(), sample_rate: 16_000 };
        let decoded = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await;
        let (failed, code) = (decoded.is_err(), decoded.as_ref().err().map(|error| error.code));
        assert_eq!(code, case.decoded, "decoding of {}: {decoded:?}", case.name);
        assert!(!(failed && output.exists()), "{} left a partial output", case.name);
        assert!(start.elapsed() < Duration::from_secs(20), "{} took {:?}", case.name, start.elapsed());
    }
}

fn corpus(bench: &Bench) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut both = |name, path, code| {
        cases.push(Case { name, path, probed: Some(code), decoded: Some(code) });
    };
    let canary = bench.made("canary.wav", "-f lavfi -i sine=duration=2");
    let canary = canary.display().to_string();

    both("nothing", bench.written("empty.mp4", ""), MediaUnsupported);
    both("one byte", bench.written("one.mp4", "x"), MediaUnsupported);
    both("zeros", bench.written("zeros.mp4", vec![0; 1 << 20]), MediaUnsupported);
    both("noise", bench.written("noise.mp4", noise(300_000)), MediaUnsupported);
    both("text", bench.written("text.mp3", "Dear all, ".repeat(5_000)), MediaUnsupported);
    both(
        "a page",
        bench.written("page.mp4", "<!DOCTYPE html><html><video src='file:///etc/passwd'>"),
        MediaUnsupported,
    );
    both("a drawing", bench.written("drawing.mp4", svg()), MediaUnsupported);
    both(
        "an archive",
        bench.written("archive.mp4", [b"PK\x03\x04".as_slice(), &noise(5_000)].concat()),
        MediaUnsupported,
    );
    both("a program", bench.written("program.mp4", std::fs::read("/bin/true").unwrap()), MediaUnsupported);
    both(
        "subtitles",
        bench.written("subtitles.mp4", "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n"),
        MediaUnsupported,
    );

    let playlist =
        |target: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n");
    both("a playlist of another's file", bench.written("hls.mp4", playlist(&canary)), MediaUnsupported);
    both(
        "a playlist of the network",
        bench.written("net.mp4", playlist("http://127.0.0.1:9/x.ts")),
        MediaUnsupported,
    );
    both(
        "a list of files",
        bench.written("concat.mp4", format!("ffconcat version 1.0\nfile '{canary}'\n")),
        MediaUnsupported,
    );
    both("a manifest", bench.written("dash.mp4", dash(&canary)), MediaUnsupported);
    both(
        "a description of a session",
        bench.written(
            "session.mp4",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
        ),
        MediaUnsupported,
    );

    let bomb = bench.made("bomb.png", "-f lavfi -i color=white:size=16000x16000 -frames:v 1");
    both("a picture of 256 million points", bomb, MediaUnsupported);
    both("an animation", bench.made("a.gif", "-f lavfi -i testsrc=size=64x64:duration=1"), MediaUnsupported);
    let maps = (0..100).map(|_| "-map 0:a").collect::<Vec<_>>().join(" ");
    let many = bench.made("many.mkv", &format!("-f lavfi -i sine=duration=1 {maps} -c:a pcm_s16le"));
    both("a hundred streams", many, MediaTooLarge);
    both("a header of 60000 by 60000 points", huge_header(bench), MediaTooLarge);

    let sound = "-f lavfi -i sine=duration=20 -f lavfi -i testsrc=size=320x240:rate=25:duration=20";
    let mp4 = std::fs::read(bench.made("whole.mp4", &format!("{sound} -pix_fmt yuv420p"))).unwrap();
    let fast =
        std::fs::read(bench.made("fast.mp4", &format!("{sound} -pix_fmt yuv420p -movflags +faststart")))
            .unwrap();
    let mkv = std::fs::read(bench.made("whole.mkv", &format!("{sound} -pix_fmt yuv420p"))).unwrap();
    for (name, whole, percent) in [
        ("cut1.mp4", &mp4, 10),
        ("cut2.mp4", &mp4, 90),
        ("cut3.mp4", &fast, 10),
        ("cut4.mp4", &fast, 50),
        ("cut5.mp4", &fast, 90),
        ("cut6.mkv", &mkv, 30),
        ("cut7.mkv", &mkv, 90),
    ] {
        both(name, bench.written(name, &whole[..whole.len() * percent / 100]), MediaTruncated);
    }
    for (name, kind) in [("known.mp4", b"pdin"), ("unknown.mp4", b"zzzz")] {
        // In the place of an empty box before the sound, so that nothing moves.
        let mut bytes = mp4.clone();
        let free = bytes.windows(4).position(|kind| kind == b"free").unwrap();
        bytes[free..free + 4].copy_from_slice(kind);
        cases.push(Case { name, path: bench.written(name, bytes), probed: None, decoded: None });
    }
    let mut both = |name, path, code| {
        cases.push(Case { name, path, probed: Some(code), decoded: Some(code) });
    };
    let wav = std::fs::read(bench.made("whole.wav", "-f lavfi -i sine=duration=20")).unwrap();
    both("half a WAV file", bench.written("half.wav", &wav[..wav.len() / 2]), MediaTruncated);
    let mp3 = std::fs::read(bench.made("whole.mp3", "-f lavfi -i sine=duration=10")).unwrap();
    cases.push(Case {
        name: "MP3 with a tail of noise",
        path: bench.written("tail.mp3", [mp3.as_slice(), &noise(50_000)].concat()),
        probed: None,
        decoded: None,
    });
    for (codec, name) in [("magicyuv", "magic.avi"), ("ffv1", "ffv1.mkv")] {
        let picture = format!("-f lavfi -i testsrc=size=320x240:duration=1 -c:v {codec}");
        let path = bench.made(name, &picture);
        let (probed, decoded) = (Some(MediaUnsupported), Some(MediaNoAudio));
        cases.push(Case { name: codec, path, probed, decoded });
    }
    let named = bench.path("concat:a|b; rm -rf $(x) '%d' -y.mp4");
    std::fs::write(&named, &mp4).unwrap();
    cases.push(Case { name: "a name that is a command", path: named, probed: None, decoded: None });
    cases.push(Case {
        name: "a file that is not there",
        path: bench.path("absent.mp4"),
        probed: Some(MediaFailed),
        decoded: Some(MediaFailed),
    });
    cases
}

/// Deterministic, and no media.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn svg() -> &'static str {
    "<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" height=\"100\">\
     <image href=\"file:///etc/passwd\"/></svg>"
}

fn dash(target: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT2S\"><Period><AdaptationSet mimeType=\"audio/wav\"><Representation id=\"1\" \
         bandwidth=\"1\"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )
}

/// A small file whose header claims a picture of 60000 by 60000 points.
fn huge_header(bench: &Bench) -> PathBuf {
    // A codec that believes its container about the size, and a container that says it in one place.
    let small = bench.made("small.avi", "-f lavfi -i testsrc=size=320x240:duration=1 -c:v wmv2");
    let mut bytes = std::fs::read(small).unwrap();
    let format = bytes.windows(4).position(|kind| kind == b"strf").unwrap();
    // Behind the chunk's header lies a BITMAPINFOHEADER: its size, the width, the height.
    let [width, height] = [format + 12, format + 16];
    bytes[width..width + 4].copy_from_slice(&60_000_u32.to_le_bytes());
    bytes[height..height + 4].copy_from_slice(&60_000_u32.to_le_bytes());
    bench.written("huge.avi", bytes)
}

#[tokio::test]
async fn a_playlist_never_opens_what_it_names() {
    let bench = Bench::new();
    let canary = bench.made("canary.ts", "-f lavfi -i sine=duration=2 -c:a mp2");
    let names =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{}\n#EXT-X-ENDLIST\n", canary.display());
    let disguised = bench.written("in.mp4", names);
    // The same trick works on a reader without the list, or the test would prove nothing.
    let open = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-protocol_whitelist", "file", "-allowed_extensions", "ALL", "-i"])
        .arg(&disguised)
        .status();
    assert!(open.unwrap().success());
    let before = accessed(&canary);
    let error = bench.runner.probe(&disguised, &bench.cancel).await.unwrap_err();
    assert_eq!(error.code, MediaUnsupported);
    assert_eq!(accessed(&canary), before);
}

fn accessed(path: &Path) -> std::time::SystemTime {
    std::fs::metadata(path).unwrap().accessed().unwrap()
}

#[tokio::test]
async fn damage_in_every_place_is_survived() {
    let Some(talk) = talk() else { return };
    let bench = Bench::new();
    let whole = std::fs::read(talk).unwrap();
    for seed in 0..6_usize {
        let mut bytes = whole.clone();
        for step in 0..200_usize {
            let at = (seed * 7_919 + step * 104_729) % bytes.len();
            bytes[at] ^= 0x5a;
        }
        let input = bench.written("damaged.mp4", &bytes);
        let decoding = PcmDecoding { input, output: bench.path("out.wav"), sample_rate: 16_000 };
        let decoded = bench.runner.decode_pcm(decoding, unwatched(&bench.cancel)).await;
        let code = decoded.err().map(|error| error.code);
        assert!(code.is_none_or(|code| code != MediaCrashed), "seed {seed}: {code:?}");
    }
}
