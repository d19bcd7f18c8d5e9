//! `voxmill submit`: files up, jobs started, and, if asked for, awaited and their results fetched.

use crate::client::{Client, text};
use crate::{complain, say};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Submit {
    kind: Kind,
    /// One job a file; for generate-video the video and its new voice; for clone-voice the reference
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What a cloned voice shall say
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// A parameter of the job, such as `source_language=en`; may be given again
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Wait for the jobs to end
    #[arg(long)]
    wait: bool,
    /// Fetch the results into this directory; implies --wait
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// Print one JSON object a job
    #[arg(long)]
    json: bool,
    #[arg(long, env = "VOXMILL_SERVER", default_value = "http://127.0.0.1:8000")]
    server: String,
    #[arg(long, env = "VOXMILL_API_KEY", hide_env_values = true)]
    api_key: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    ExtractAudio,
    Transcribe,
    CloneVoice,
    GenerateVideo,
}

impl Submit {
    /// Exits 0 when every job was accepted (with `--wait`: completed), else 1.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let client = Client::new(&self.server, self.api_key.clone())?;
        let mut well = true;
        for files in self.jobs()? {
            if let Err(error) = self.run_one(&client, files).await {
                well = false;
                complain(&format!("{}: {error:#}", files[0].display()));
            }
        }
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The files of each job.
    fn jobs(&self) -> anyhow::Result<Vec<&[PathBuf]>> {
        match self.kind {
            Kind::ExtractAudio | Kind::Transcribe | Kind::CloneVoice => Ok(self.files.chunks(1).collect()),
            Kind::GenerateVideo if self.files.len() == 2 => Ok(vec![&self.files]),
            Kind::GenerateVideo => bail!("generate-video takes two files: the video and its new voice"),
        }
    }

    async fn run_one(&self, client: &Client, files: &[PathBuf]) -> anyhow::Result<()> {
        let mut ids = vec![];
        for file in files {
            ids.push(text(&client.upload(file).await?, "file_id")?.to_owned());
        }
        let body = self.body(&ids)?;
        let kind = self.kind.name();
        let mut job = client.post(&format!("/api/v1/process/{kind}"), &body).await?;
        if self.wait || self.output.is_some() {
            job = client.wait(kind, text(&job, "job_id")?).await?;
        }
        if self.json {
            say(&job.to_string());
        } else {
            say(&format!("{} {} {}", text(&job, "job_id")?, text(&job, "status")?, files[0].display()));
        }
        if let Some(directory) = &self.output {
            for path in client.fetch_results(&job, directory).await? {
                complain(&format!("result {}", path.display()));
            }
        }
        Ok(())
    }

    fn body(&self, ids: &[String]) -> anyhow::Result<Value> {
        let mut body = match self.kind {
            Kind::ExtractAudio => json!({ "video_file_id": ids[0] }),
            Kind::Transcribe => json!({ "audio_file_id": ids[0] }),
            Kind::CloneVoice => json!({ "audio_file_id": ids[0] }),
            Kind::GenerateVideo => json!({ "original_video_id": ids[0], "cloned_audio_id": ids[1] }),
        };
        if let Some(path) = &self.text {
            let content = std::fs::read_to_string(path)
                .with_context(|| format!("could not read {}", path.display()))?;
            body["text_content"] = Value::String(content);
        }
        let fields = body.as_object_mut().context("a body is an object. This is a bug.")?;
        set_all(fields, &self.settings)?;
        Ok(body)
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ExtractAudio => "extract-audio",
            Self::Transcribe => "transcribe",
            Self::CloneVoice => "clone-voice",
            Self::GenerateVideo => "generate-video",
        }
    }
}

/// `name=value`, where a value that is JSON counts as such, and any other as text.
fn set_all(fields: &mut Map<String, Value>, settings: &[String]) -> anyhow::Result<()> {
    for setting in settings {
        let (name, value) = setting.split_once('=').context("--set takes NAME=VALUE")?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        fields.insert(name.to_owned(), value);
    }
    Ok(())
}
