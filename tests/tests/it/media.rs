//! Inputs made by the ffmpeg program, and what ffprobe and ffmpeg say of outputs: a second opinion.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Runs ffmpeg with `arguments` and the output at `path`.
pub(crate) fn make(path: &Path, arguments: &[&str]) {
    let status =
        Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "ffmpeg {arguments:?}");
}

/// A test picture with a tone, `seconds` long.
pub(crate) fn video(path: &Path, seconds: u32) {
    let (picture, tone) = (
        format!("testsrc2=size=320x240:rate=25:duration={seconds}"),
        format!("sine=frequency=300:duration={seconds}"),
    );
    make(
        path,
        &[
            "-f",
            "lavfi",
            "-i",
            &picture,
            "-f",
            "lavfi",
            "-i",
            &tone,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
        ],
    );
}

/// What ffprobe says of a file.
pub(crate) fn probe(path: &Path) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_streams", "-show_format"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A hash of the packets of the first video stream.
pub(crate) fn video_packets(path: &Path) -> String {
    ffmpeg(path, &["-map", "0:v:0", "-c", "copy", "-f", "streamhash", "-hash", "sha256"])
}

/// The sound as 16 kHz mono samples; fails if anything does not decode.
pub(crate) fn samples(path: &Path) -> Vec<f32> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(path)
        .args(["-map", "0:a:0", "-ac", "1", "-ar", "16000", "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Frames of the first video stream that decode without an error.
pub(crate) fn decoded_frames(path: &Path) -> usize {
    ffmpeg(path, &["-map", "0:v:0", "-f", "framecrc"]).lines().filter(|line| !line.starts_with('#')).count()
}

/// Seconds until the sound first rises above a thousandth of full scale at or after `from`.
pub(crate) fn onset(samples: &[f32], from: f64) -> f64 {
    let start = (from * 16_000.0) as usize;
    let loud = samples[start..]
        .windows(80)
        .position(|window| window.iter().map(|sample| sample * sample).sum::<f32>() / 80.0 > 1e-5);
    (start + loud.expect("there is sound")) as f64 / 16_000.0
}

fn ffmpeg(path: &Path, arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(path)
        .args(arguments)
        .arg("-")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
