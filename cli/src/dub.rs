//! `voxmill dub`: a video, a text, and out comes the video with the text in its speaker's voice.

use crate::client::{Client, first_file, text};
use crate::config::{Config, Overrides};
use crate::serve::{Part, Server};
use crate::{logging, say};
use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use pipeline::subtitles;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(group(ArgGroup::new("words").required(true).args(["text", "segments"])))]
pub(crate) struct Dub {
    video: PathBuf,
    /// What shall be said, from the start of the video on
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// What shall be said and when: SubRip, WebVTT, or JSON [{"start","end","text"}]
    #[arg(long, value_name = "FILE")]
    segments: Option<PathBuf>,
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Language of the text, an ISO 639-1 code
    #[arg(long, default_value = "en")]
    language: String,
    /// Keep the original sound under the new voice
    #[arg(long)]
    keep_background: bool,
    /// A running server; without one, this command runs its own until it is done
    #[arg(long, env = "VOXMILL_SERVER", requires = "api_key")]
    server: Option<String>,
    #[arg(long, env = "VOXMILL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

impl Dub {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match (&self.server, &self.api_key) {
            (Some(server), Some(key)) => self.through(&Client::new(server, key.clone())?).await,
            _ => {
                let own = OwnServer::start().await?;
                let done = match own.client().await {
                    Ok(client) => self.through(&client).await,
                    Err(error) => Err(error),
                };
                own.stop().await?;
                done
            }
        }
    }

    async fn through(&self, client: &Client) -> anyhow::Result<()> {
        let words = self.words()?;
        let container = container(&self.output)?;
        let video = client.upload(&self.video).await?;
        let speech =
            speak(client, text(&video, "file_id")?, words.with(json!({ "target_language": self.language })))
                .await?;
        let request = json!({
            "original_video_id": video["file_id"],
            "cloned_audio_id": first_file(&speech)["file_id"],
            "output_format": container,
            "extend": "freeze",
            "keep_background": self.keep_background,
        });
        let dubbed = client.run_job("generate-video", &request).await?;
        client.download(text(&dubbed, "result_url")?, &self.output).await?;
        say(&format!("speaker similarity {:.2}", speech["result"]["similarity"].as_f64().unwrap_or(0.0)));
        say(&format!("{}", self.output.display()));
        Ok(())
    }

    fn words(&self) -> anyhow::Result<Words> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
        };
        match (&self.text, &self.segments) {
            (Some(path), _) => Ok(Words::Text(read(path)?)),
            (None, Some(path)) => Ok(Words::Segments(segments(&read(path)?)?)),
            (None, None) => bail!("either --text or --segments is needed"),
        }
    }
}

/// What a cloned voice shall say.
pub(crate) enum Words {
    Text(String),
    /// `[{start, end, text}]`
    Segments(Value),
}

impl Words {
    /// The body of a clone-voice request with these words.
    pub(crate) fn with(self, mut body: Value) -> Value {
        match self {
            Self::Text(text) => body["text_content"] = Value::String(text),
            Self::Segments(segments) => body["segments"] = segments,
        }
        body
    }
}

/// Runs the clone-voice job `body` with the sound of the file `reference_id`, audio or video, as its reference.
pub(crate) async fn speak(client: &Client, reference_id: &str, mut body: Value) -> anyhow::Result<Value> {
    body["audio_file_id"] = Value::String(reference_id.to_owned());
    client.run_job("clone-voice", &body).await
}

/// A server that lives in a directory of its own, for as long as one command runs.
pub(crate) struct OwnServer {
    server: Server,
    /// Removed with everything in it when this is dropped.
    _data: tempfile::TempDir,
}

impl OwnServer {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let data = tempfile::Builder::new().prefix("voxmill-").tempdir()?;
        let config = own_config(Config::load(&Overrides::default())?, data.path());
        logging::start(&config)?;
        Ok(Self { server: Server::start(&config, Part::All).await?, _data: data })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Client::registered(&self.url()).await
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await
    }
}

/// What is configured says where the models lie and how many cores they get. Nothing else is taken from it: its database,
/// addresses and secrets are those of a server that may be running.
fn own_config(configured: Config, data: &Path) -> Config {
    Config {
        bind: "127.0.0.1:0".to_owned(),
        data_dir: data.to_owned(),
        models_dir: configured.models_dir,
        threads: configured.threads,
        // It has one client, which is this program.
        rate_limits: "off".to_owned(),
        grace_seconds: 0,
        log: "warn".to_owned(),
        log_format: "text".to_owned(),
        ..Config::default()
    }
}

fn segments(content: &str) -> anyhow::Result<Value> {
    if content.trim_start().starts_with('[') {
        return serde_json::from_str(content).context("the segments are no JSON list");
    }
    let cues = subtitles::parse(content).context("the segments")?;
    Ok(cues.into_iter().map(|cue| json!({ "start": cue.start, "end": cue.end, "text": cue.text })).collect())
}

/// The container that the output's name asks for.
fn container(output: &Path) -> anyhow::Result<&str> {
    match output.extension().and_then(|extension| extension.to_str()) {
        Some(name @ ("mp4" | "mkv" | "webm" | "mov")) => Ok(name),
        _ => bail!("{} must end in .mp4, .mkv, .webm or .mov", output.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::own_config;
    use crate::config::Config;
    use std::path::{Path, PathBuf};

    #[test]
    fn a_server_of_ones_own_touches_no_other() {
        let configured = Config {
            database_url: "postgres://prod".to_owned(),
            public_url: "https://voxmill.example".to_owned(),
            token_secret: "s".repeat(32),
            models_dir: PathBuf::from("/models"),
            threads: 7,
            ..Config::default()
        };
        let own = own_config(configured, Path::new("/tmp/own"));
        assert_eq!(own.database_url(), "sqlite:///tmp/own/voxmill.db?mode=rwc");
        assert!(own.public_url.is_empty() && own.token_secret.is_empty());
        assert_eq!((own.models_directory(), own.threads()), (PathBuf::from("/models"), 7));
        assert!(own.rates().unwrap().is_none());
    }
}
