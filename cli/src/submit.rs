//! `voxmill submit`: files up, jobs started, and, if asked for, awaited and their results fetched. Every step is on
//! record before the next, so a run that was interrupted is gone on with, and nothing is done twice.

mod checksum;
mod found;
mod journal;
mod parts;
mod record;

use crate::client::{Client, is_outage, text};
use crate::{complain, say};
use anyhow::{Context as _, bail};
use checksum::checksum;
use clap::{Args, ValueEnum};
use found::{Depth, Found};
use futures_util::StreamExt as _;
use record::{Progress, Record, Sent, Task};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The exit code of a run that did not come to its end.
const UNFINISHED: u8 = 2;
/// By how much the server's clock may be behind.
const CLOCKS: chrono::TimeDelta = chrono::TimeDelta::hours(1);

#[derive(Args)]
#[command(
    after_help = "Exits 0 when every job was accepted (with --wait or --output: completed), 1 when some failed, \
    and 2 when it could not begin or did not come to its end; with --resume, the same command then goes on."
)]
pub(crate) struct Submit {
    /// What the jobs do
    #[arg(long)]
    kind: Kind,
    /// One job a file, or a recording in a directory; for generate-video the video and its new voice; for clone-voice
    /// the reference
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Take the recordings in directories below a directory too
    #[arg(short, long)]
    recursive: bool,
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
    /// How many files are sent and jobs awaited at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Keep a record of what is done in this file, and go on where it says that an earlier run stopped
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// For how long a server that does not answer, or is not well, is asked again
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    patience: u64,
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

/// The files of one job.
struct Unit {
    /// By which the record knows it.
    name: String,
    files: Vec<Found>,
}

/// A run that has begun.
struct Run<'a> {
    submit: &'a Submit,
    client: Client,
    record: Record,
    parameters: Map<String, Value>,
    /// Ids of files that were uploaded and are not on record, by checksum and name.
    unnoted: Mutex<HashMap<(String, String), Vec<String>>>,
}

/// How many jobs went how.
#[derive(Default)]
struct Tally {
    well: usize,
    failed: usize,
}

impl Submit {
    pub(crate) async fn run(self) -> ExitCode {
        let done = tokio::select! {
            done = self.run_all() => done,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        match done {
            Ok(Tally { well, failed }) => {
                complain(&format!(
                    "{well} {}, {failed} failed",
                    if self.waits() { "completed" } else { "accepted" }
                ));
                if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                complain(&format!("voxmill: {error:#}"));
                ExitCode::from(UNFINISHED)
            }
        }
    }

    async fn run_all(&self) -> anyhow::Result<Tally> {
        let units = self.units()?;
        let run = Run::begin(self).await?;
        let mut tally = Tally::default();
        let outcomes = units.iter().map(async |unit| (unit, run.carry_through(unit).await));
        let mut outcomes =
            std::pin::pin!(futures_util::stream::iter(outcomes).buffer_unordered(self.jobs.into()));
        while let Some((unit, outcome)) = outcomes.next().await {
            match outcome {
                Ok(job) => {
                    tally.well += 1;
                    self.show(&unit.name, job)?;
                }
                Err(error) if is_outage(&error) => return Err(error),
                Err(error) => {
                    tally.failed += 1;
                    complain(&format!("{}: {error:#}", unit.name));
                    if self.json {
                        let error = json!({ "message": format!("{error:#}") });
                        say(&json!({ "path": unit.name, "status": "failed", "error": error }).to_string());
                    }
                }
            }
        }
        Ok(tally)
    }

    fn units(&self) -> anyhow::Result<Vec<Unit>> {
        let depth = if self.recursive { Depth::Recursive } else { Depth::Flat };
        let found = found::files(&self.files, depth, self.output.as_deref())?;
        let files: Vec<Vec<Found>> = match self.kind {
            Kind::ExtractAudio | Kind::Transcribe | Kind::CloneVoice => {
                found.into_iter().map(|file| vec![file]).collect()
            }
            Kind::GenerateVideo if found.len() == 2 && self.files.len() == 2 => vec![found],
            Kind::GenerateVideo => bail!("generate-video takes two files: the video and its new voice"),
        };
        let name = |files: &[Found]| {
            let names: Vec<_> = files.iter().map(|file| file.path.to_string_lossy()).collect();
            names.join(" + ")
        };
        Ok(files.into_iter().map(|files| Unit { name: name(&files), files }).collect())
    }

    fn show(&self, name: &str, job: Value) -> anyhow::Result<()> {
        if self.json {
            let mut job = job;
            job["path"] = Value::String(name.to_owned());
            say(&job.to_string());
        } else {
            say(&format!("{} {} {name}", text(&job, "job_id")?, text(&job, "status")?));
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        self.wait || self.output.is_some()
    }

    /// The fields of each body but for its files.
    fn parameters(&self) -> anyhow::Result<Map<String, Value>> {
        let mut fields = Map::new();
        if let Some(path) = &self.text {
            let content = std::fs::read_to_string(path)
                .with_context(|| format!("could not read {}", path.display()))?;
            fields.insert("text_content".to_owned(), Value::String(content));
        }
        set_all(&mut fields, &self.settings)?;
        Ok(fields)
    }
}

impl<'a> Run<'a> {
    async fn begin(submit: &'a Submit) -> anyhow::Result<Self> {
        let parameters = submit.parameters()?;
        let client = Client::new(&submit.server, submit.api_key.clone())?
            .without_bars()
            .with_patience(Duration::from_secs(submit.patience));
        let task = Task {
            server: submit.server.trim_end_matches('/').to_owned(),
            kind: submit.kind.name().to_owned(),
            parameters: Value::Object(parameters.clone()),
        };
        let record = Record::open(submit.resume.clone(), task)?;
        let run = Self { submit, client, record, parameters, unnoted: Mutex::default() };
        if run.record.goes_on {
            run.look_for_unnoted().await?;
        }
        Ok(run)
    }

    /// Asks the server which files were made, of which nobody had the time to take note, or the answer.
    async fn look_for_unnoted(&self) -> anyhow::Result<()> {
        let files = self.client.files_since(self.record.began - CLOCKS).await?;
        let noted = self.record.uploaded();
        let mut unnoted: HashMap<_, Vec<String>> = HashMap::new();
        for file in files {
            let id = text(&file, "file_id")?.to_owned();
            if !noted.contains(&id) {
                let key = (text(&file, "sha256")?.to_owned(), text(&file, "filename")?.to_owned());
                unnoted.entry(key).or_default().push(id);
            }
        }
        *self.unnoted.lock().unwrap_or_else(PoisonError::into_inner) = unnoted;
        Ok(())
    }

    /// The job when it has come as far as was asked for.
    async fn carry_through(&self, unit: &Unit) -> anyhow::Result<Value> {
        let Progress { job_id, completed, fetched_into, .. } = self.checked_progress(unit).await?;
        let directory = self.submit.output.as_ref().map(|output| output.join(&unit.files[0].folder));
        if let Some(job_id) = &job_id
            && completed
            && (directory.is_none() || fetched_into == directory)
        {
            return Ok(self.with_results(unit, json!({ "job_id": job_id, "status": "completed" })));
        }
        let job_id = match job_id {
            Some(job_id) => job_id,
            None => {
                let accepted = self.start(unit).await?;
                if !self.submit.waits() {
                    return Ok(accepted);
                }
                text(&accepted, "job_id")?.to_owned()
            }
        };
        if !self.submit.waits() {
            return self.client.get(&format!("/api/v1/process/status/{job_id}")).await;
        }
        let job = self.client.completed(self.submit.kind.name(), &job_id).await?;
        self.record.change(&unit.name, |progress| progress.completed = true)?;
        if let Some(directory) = directory {
            let place =
                |result: &str, name: &OsStr| self.record.place(&unit.name, result, (&directory, name));
            self.client.fetch_results(&job, &directory, place).await?;
            self.record.change(&unit.name, |progress| progress.fetched_into = Some(directory))?;
        }
        Ok(self.with_results(unit, job))
    }

    /// What the record says of the unit, unless its files are no longer the same.
    async fn checked_progress(&self, unit: &Unit) -> anyhow::Result<Progress> {
        let mut checksums = vec![];
        for file in &unit.files {
            checksums.push(checksum(&file.path).await?);
        }
        let known = self.record.progress(&unit.name);
        if known.files.iter().map(|file| &file.sha256).eq(&checksums) {
            return Ok(known);
        }
        let files =
            checksums.into_iter().map(|sha256| Sent { sha256, upload_id: None, file_id: None }).collect();
        let fresh = Progress { files, ..Progress::default() };
        self.record.change(&unit.name, |progress| *progress = fresh.clone())?;
        Ok(fresh)
    }

    /// Uploads what is not there yet, and starts the job.
    async fn start(&self, unit: &Unit) -> anyhow::Result<Value> {
        let mut ids = vec![];
        for (index, sent) in self.record.progress(&unit.name).files.into_iter().enumerate() {
            let id = match sent.file_id {
                Some(id) => id,
                None => {
                    let id = self.uploaded(unit, index, sent).await?;
                    self.record
                        .change(&unit.name, |progress| progress.files[index].file_id = Some(id.clone()))?;
                    id
                }
            };
            ids.push(id);
        }
        let kind = self.submit.kind.name();
        let body = Value::Object(self.submit.kind.body(&self.parameters, &ids));
        // The file's id stands for its content: whoever goes on uses the one that is there.
        let key = hex::encode(Sha256::digest(format!("{kind} {body}")));
        let accepted = self.client.post_once(&format!("/api/v1/process/{kind}"), &body, &key).await?;
        let job_id = text(&accepted, "job_id")?.to_owned();
        self.record.change(&unit.name, |progress| progress.job_id = Some(job_id))?;
        Ok(accepted)
    }

    /// The id of the file on the server.
    async fn uploaded(&self, unit: &Unit, index: usize, sent: Sent) -> anyhow::Result<String> {
        let path = &unit.files[index].path;
        if let Some(id) = self.unnoted(path, &sent.sha256) {
            return Ok(id);
        }
        if let Some(begun) = sent.upload_id
            && let Some(id) = self.finished(path, &begun, &sent.sha256).await?
        {
            return Ok(id);
        }
        let begun = parts::begin(&self.client, path, &sent.sha256).await?;
        self.record.change(&unit.name, |progress| progress.files[index].upload_id = Some(begun.clone()))?;
        let made = self.finished(path, &begun, &sent.sha256).await?;
        made.context("the server lost an upload on its way")
    }

    /// The id of the file that the upload becomes, or has become. None where it is gone.
    async fn finished(&self, path: &Path, upload: &str, sha256: &str) -> anyhow::Result<Option<String>> {
        if let Some(id) = parts::finish(&self.client, path, upload).await? {
            return Ok(Some(id));
        }
        // What was asked for last may have been done since we looked, and the answer lost.
        self.look_for_unnoted().await?;
        Ok(self.unnoted(path, sha256))
    }

    /// Takes a file of this name and content that an earlier run made.
    fn unnoted(&self, path: &Path, sha256: &str) -> Option<String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut unnoted = self.unnoted.lock().unwrap_or_else(PoisonError::into_inner);
        unnoted.get_mut(&(sha256.to_owned(), name)).and_then(Vec::pop)
    }

    fn with_results(&self, unit: &Unit, job: Value) -> Value {
        let mut job = job;
        let progress = self.record.progress(&unit.name);
        if progress.fetched_into.is_some() {
            job["outputs"] =
                progress.results.values().map(|path| path.to_string_lossy().into_owned()).collect();
        }
        job
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

    /// The body with these files.
    fn body(self, parameters: &Map<String, Value>, ids: &[String]) -> Map<String, Value> {
        let fields: &[&str] = match self {
            Self::ExtractAudio => &["video_file_id"],
            Self::Transcribe | Self::CloneVoice => &["audio_file_id"],
            Self::GenerateVideo => &["original_video_id", "cloned_audio_id"],
        };
        let mut body: Map<_, _> = fields
            .iter()
            .zip(ids)
            .map(|(field, id)| ((*field).to_owned(), Value::from(id.as_str())))
            .collect();
        body.extend(parameters.clone());
        body
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
