//! What of a `voxmill submit` is done, kept in a file, so that another run goes on where one was interrupted.

use super::journal::Journal;
use crate::file_names::numbered;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a run is asked to do; another run that goes on must be asked for the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) server: String,
    pub(crate) kind: String,
    /// The fields of each body but for its files.
    pub(crate) parameters: Value,
}

/// The lines of the file: the run first, then how far a job has come, each time that it gets further.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line<'a> {
    Run { task: Task, started_at: DateTime<Utc> },
    Job { job: Cow<'a, str>, progress: Cow<'a, Progress> },
}

/// How far one job has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) files: Vec<Sent>,
    pub(crate) job_id: Option<String>,
    pub(crate) completed: bool,
    /// Where its results go, by their ids on the server.
    pub(crate) results: BTreeMap<String, PathBuf>,
    /// The directory into which all of them have been fetched.
    pub(crate) fetched_into: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) sha256: String,
    /// Under which its parts go, once it is announced.
    #[serde(default)]
    pub(crate) upload_id: Option<String>,
    /// Once it is uploaded.
    pub(crate) file_id: Option<String>,
}

pub(crate) struct Record {
    content: Mutex<Content>,
    /// When the run began, or the earlier one that it goes on with.
    pub(crate) began: DateTime<Utc>,
    /// Whether it goes on with an earlier one.
    pub(crate) goes_on: bool,
}

struct Content {
    /// By the paths of its files.
    jobs: BTreeMap<String, Progress>,
    /// Without one, all is forgotten with the process.
    journal: Option<Journal>,
}

impl Record {
    /// That of the file, or a new one, which is written at once. No other process has it then.
    pub(crate) fn open(path: Option<PathBuf>, task: Task) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let content = Mutex::new(Content { jobs: BTreeMap::new(), journal: None });
            return Ok(Self { content, began: Utc::now(), goes_on: false });
        };
        let (mut journal, lines) = Journal::open(&path)?;
        let goes_on = !lines.is_empty();
        let (mut began, mut jobs) = (None, BTreeMap::new());
        for line in &lines {
            let line = serde_json::from_str(line);
            match line.with_context(|| format!("{} is no record of a submit", path.display()))? {
                Line::Run { task: other, .. } if other != task => {
                    bail!("{} is of another submit: its server, kind or parameters differ", path.display())
                }
                Line::Run { started_at, .. } => began = Some(started_at),
                Line::Job { job, progress } => drop(jobs.insert(job.into_owned(), progress.into_owned())),
            }
        }
        if goes_on && began.is_none() {
            bail!("{} is no record of a submit", path.display());
        }
        let began = began.unwrap_or_else(Utc::now);
        // Only the last line of each job is still true.
        let mut lines = vec![Line::Run { task, started_at: began }];
        lines.extend(jobs.iter().map(|(job, progress)| Line::of(job, progress)));
        journal.rewrite(&lines)?;
        let content = Content { jobs, journal: Some(journal) };
        Ok(Self { content: Mutex::new(content), began, goes_on })
    }

    pub(crate) fn progress(&self, job: &str) -> Progress {
        self.content().jobs.get(job).cloned().unwrap_or_default()
    }

    /// Every file that was uploaded.
    pub(crate) fn uploaded(&self) -> HashSet<String> {
        let content = self.content();
        content.jobs.values().flat_map(|job| &job.files).filter_map(|file| file.file_id.clone()).collect()
    }

    /// Once this returns, the change is on the disk.
    pub(crate) fn change(&self, job: &str, change: impl FnOnce(&mut Progress)) -> anyhow::Result<()> {
        self.content().change(job, change)
    }

    /// Where a result of the job goes: a path in the directory that nothing has and no other result was promised.
    pub(crate) fn place(
        &self,
        job: &str,
        result: &str,
        (directory, name): (&Path, &OsStr),
    ) -> anyhow::Result<PathBuf> {
        let mut content = self.content();
        let known = content.jobs.get(job).and_then(|job| job.results.get(result));
        if let Some(path) = known.filter(|path| path.parent() == Some(directory)) {
            return Ok(path.clone());
        }
        let promised: HashSet<&PathBuf> =
            content.jobs.values().flat_map(|job| job.results.values()).collect();
        let path = (1..)
            .map(|number| directory.join(numbered(Path::new(name), number)))
            .find(|path| !path.exists() && !promised.contains(path))
            .context("there is no free name left")?;
        content.change(job, |progress| {
            progress.results.insert(result.to_owned(), path.clone());
        })?;
        Ok(path)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn change(&mut self, job: &str, change: impl FnOnce(&mut Progress)) -> anyhow::Result<()> {
        let progress = self.jobs.entry(job.to_owned()).or_default();
        change(progress);
        match &mut self.journal {
            Some(journal) => journal.add(&Line::of(job, progress)),
            None => Ok(()),
        }
    }
}

impl<'a> Line<'a> {
    fn of(job: &'a str, progress: &'a Progress) -> Self {
        Self::Job { job: Cow::Borrowed(job), progress: Cow::Borrowed(progress) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Record, Task};
    use serde_json::json;

    #[test]
    fn another_run_goes_on_with_what_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let task = Task { server: "http://x".into(), kind: "transcribe".into(), parameters: json!({"a": 1}) };
        let open = |task: &Task| Record::open(Some(path.clone()), task.clone());
        let first = open(&task).unwrap();
        assert!(!first.goes_on);
        first.change("a.wav", |job| job.job_id = Some("1".into())).unwrap();
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let place = |record: &Record, job: &str, result: &str| {
            let path = record.place(job, result, (&out, "a.txt".as_ref())).unwrap();
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(
            (place(&first, "a.wav", "r1"), place(&first, "b.wav", "r2")),
            ("a.txt".into(), "a-2.txt".into())
        );
        std::fs::write(out.join("a-3.txt"), "").unwrap();

        assert!(open(&task).is_err(), "one run has it at a time");
        drop(first);
        let again = open(&task).unwrap();
        assert!(again.goes_on && again.progress("a.wav").job_id.as_deref() == Some("1"));
        assert_eq!(
            (place(&again, "b.wav", "r2"), place(&again, "b.wav", "r3")),
            ("a-2.txt".into(), "a-4.txt".into())
        );
        drop(again);
        assert!(open(&Task { kind: "clone-voice".into(), ..task.clone() }).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no part is left");
        for other in ["nonsense\n", "{\"job\": \"a.wav\", \"progress\": {\"completed\": false}}\n"] {
            std::fs::write(&path, other).unwrap();
            assert!(open(&task).is_err());
        }
    }

    #[test]
    fn a_change_costs_the_same_however_many_jobs_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let task = Task { server: "http://x".into(), kind: "transcribe".into(), parameters: json!({}) };
        let record = Record::open(Some(path.clone()), task.clone()).unwrap();
        for number in 0..100 {
            let job = format!("{number}.wav");
            record.change(&job, |job| job.job_id = Some("1".into())).unwrap();
            record.change(&job, |job| job.completed = true).unwrap();
        }
        let before = std::fs::metadata(&path).unwrap().len();
        record.change("0.wav", |job| job.job_id = Some("2".into())).unwrap();
        let added = std::fs::metadata(&path).unwrap().len() - before;
        assert!(added < 500, "{added} bytes more");
        drop(record);

        let record = Record::open(Some(path.clone()), task).unwrap();
        assert_eq!(record.progress("0.wav").job_id.as_deref(), Some("2"));
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines, 101, "one for the run, and one a job");
    }
}
