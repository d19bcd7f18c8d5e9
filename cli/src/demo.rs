//! `voxmill demo`: the whole chain by HTTP, on a video that it makes itself or on the user's own.

use crate::client::{Client, first_file, text};
use crate::dub::{OwnServer, Words, speak};
use crate::file_names::new_file;
use crate::say;
use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tokio::process::Command;

#[derive(Args)]
pub(crate) struct Demo {
    /// A video of somebody talking; without one, the demo makes its own
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,
    /// What the cloned voice shall say; without it, the words of the video
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Where the results are put
    #[arg(long, value_name = "DIRECTORY", default_value = "demo-output")]
    output: PathBuf,
}

/// What the voice of the demo's own video says.
const LINES: &str = "Good morning, and welcome to the mill. Recordings go in at one end, and come out at the other \
    with a new voice. Everything that you hear and see was made on this machine.";

impl Demo {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.output)?;
        let own = OwnServer::start().await?;
        say(&format!("server          {}", own.url()));
        let done = match own.client().await {
            Ok(client) => self.chain(&client).await,
            Err(error) => Err(error),
        };
        own.stop().await?;
        done
    }

    async fn chain(&self, client: &Client) -> anyhow::Result<()> {
        let path = match &self.video {
            Some(path) => path.clone(),
            None => talking_video(client, &self.output).await?,
        };
        let video = client.upload(&path).await?;
        let video_id = text(&video, "file_id")?;
        let sound = client.run_job("extract-audio", &json!({ "video_file_id": video_id })).await?;
        let audio_id = text(first_file(&sound), "file_id")?;
        let heard = client.run_job("transcribe", &json!({ "audio_file_id": audio_id })).await?;
        let words = self.words(client, &heard).await?;
        let speech = speak(client, audio_id, words.with(json!({ "target_language": "en" }))).await?;
        let request = json!({
            "original_video_id": video_id,
            "cloned_audio_id": first_file(&speech)["file_id"],
            "extend": "freeze",
        });
        let dubbed = client.run_job("generate-video", &request).await?;
        say(&format!("transcript      {}", text(&heard["result"], "text")?));
        let similarity = speech["result"]["similarity"].as_f64().context("the clone has no similarity")?;
        say(&format!(
            "similarity      {similarity:.2} (cosine of the speakers' vectors; the same speaker 0.8 to 0.9)"
        ));
        for status in [&sound, &heard, &speech, &dubbed] {
            for path in
                client.fetch_results(status, &self.output, |_, name| new_file(&self.output, name)).await?
            {
                say(&format!("result          {}", path.display()));
            }
        }
        Ok(())
    }

    async fn words(&self, client: &Client, heard: &Value) -> anyhow::Result<Words> {
        if let Some(path) = &self.text {
            let text = std::fs::read_to_string(path);
            return Ok(Words::Text(text.with_context(|| format!("could not read {}", path.display()))?));
        }
        let file = tempfile::NamedTempFile::new()?;
        client.download(text(heard, "result_url")?, file.path()).await?;
        let transcript: Value = serde_json::from_slice(&std::fs::read(file.path())?)?;
        let segments = transcript["segments"].as_array().context("the transcript has no segments")?;
        let timed = |segment: &Value| json!({ "start": segment["start"], "end": segment["end"], "text": segment["text"] });
        Ok(Words::Segments(segments.iter().map(timed).collect()))
    }
}

/// A test picture with a built-in voice, which speaks by the server's own preview.
async fn talking_video(client: &Client, directory: &Path) -> anyhow::Result<PathBuf> {
    let profiles = client.get("/api/v1/voices/profiles?language=en").await?;
    let builtin = |profile: &&Value| profile["builtin"] == true;
    let voice = profiles["profiles"].as_array().into_iter().flatten().find(builtin);
    let voice = voice.context("no built-in voice is installed; run: voxmill models pull")?;
    let speech = tempfile::NamedTempFile::new()?;
    let lines = LINES.replace(' ', "%20").replace(',', "%2C");
    let url = format!("/api/v1/voices/preview/{}?text={lines}", text(voice, "id")?);
    client.download(&url, speech.path()).await?;
    let video = new_file(directory, "talk.mp4".as_ref())?;
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-i"])
        .arg(speech.path())
        .args(["-shortest", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac"])
        .arg(&video)
        .kill_on_drop(true)
        .status()
        .await;
    if !made.as_ref().is_ok_and(ExitStatus::success) {
        let _ = std::fs::remove_file(&video);
    }
    let made =
        made.context("the ffmpeg program is needed to make a test video; or give your own: VIDEO=talk.mp4")?;
    if !made.success() {
        bail!("ffmpeg could not make the test video");
    }
    Ok(video)
}
