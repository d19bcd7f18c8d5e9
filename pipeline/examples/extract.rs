//! Extracts the sound of files, for the benchmark: `extract PROGRAM [ARGUMENT…]`, where the program becomes a media
//! child, as `voxmill media-child` does.
//!
//! Reads a request a line and answers each with a line of JSON, so that a call can be timed from outside.

use std::io::{BufRead, Write};

use pipeline::media::{AudioExtraction, Limits, MediaRunner, Watch};
use pipeline::parameters::AudioFormat;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
struct Request {
    input: std::path::PathBuf,
    output: std::path::PathBuf,
    sample_rate: Option<u32>,
    channels: Option<u16>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().ok_or("usage: extract PROGRAM [ARGUMENT…]")?;
    let runner = MediaRunner::new(program.into(), arguments.collect(), Limits::default());
    let cancel = CancellationToken::new();
    answer(&json!({ "ready": true }))?;
    for line in std::io::stdin().lock().lines() {
        let Request { input, output, sample_rate, channels } = serde_json::from_str(&line?)?;
        let format = AudioFormat::Wav;
        let extraction = AudioExtraction { input, output, format, sample_rate, channels };
        let watch = Watch { cancel: &cancel, on_progress: &mut |_progress| () };
        let (report, _media) = runner.extract_audio(extraction, watch).await?;
        answer(&json!({ "seconds": report.duration_seconds }))?;
    }
    Ok(())
}

fn answer(value: &serde_json::Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{value}")
}
