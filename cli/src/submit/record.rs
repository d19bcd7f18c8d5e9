//! What of a `voxmill submit` is done, kept in a file, so that another run goes on where one was interrupted.

use crate::file_names::{numbered, part_of};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
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

#[derive(Serialize, Deserialize)]
struct Content {
    task: Task,
    started_at: DateTime<Utc>,
    /// By the paths of its files.
    jobs: BTreeMap<String, Progress>,
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
    /// Without one, it is forgotten with the process.
    path: Option<PathBuf>,
    content: Mutex<Content>,
    /// When an earlier run began.
    pub(crate) began: Option<DateTime<Utc>>,
}

impl Record {
    /// That of the file, or a new one, which is written at once.
    pub(crate) fn open(path: Option<PathBuf>, task: Task) -> anyhow::Result<Self> {
        let found = path.as_deref().map(read).transpose()?.flatten();
        if let (Some(found), Some(path)) = (&found, &path)
            && found.task != task
        {
            bail!("{} is of another submit: its server, kind or parameters differ", path.display());
        }
        let began = found.as_ref().map(|content| content.started_at);
        let content =
            found.unwrap_or_else(|| Content { task, started_at: Utc::now(), jobs: BTreeMap::new() });
        let record = Self { path, content: Mutex::new(content), began };
        record.write(&record.content())?;
        Ok(record)
    }

    pub(crate) fn progress(&self, job: &str) -> Progress {
        self.content().jobs.get(job).cloned().unwrap_or_default()
    }

    /// Every file that was uploaded.
    pub(crate) fn uploaded(&self) -> Vec<String> {
        let content = self.content();
        content.jobs.values().flat_map(|job| &job.files).filter_map(|file| file.file_id.clone()).collect()
    }

    /// Once this returns, the change is on the disk.
    pub(crate) fn change(&self, job: &str, change: impl FnOnce(&mut Progress)) -> anyhow::Result<()> {
        let mut content = self.content();
        change(content.jobs.entry(job.to_owned()).or_default());
        self.write(&content)
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
        let promised =
            |path: &PathBuf| content.jobs.values().any(|job| job.results.values().any(|other| other == path));
        let path = (1..)
            .map(|number| directory.join(numbered(Path::new(name), number)))
            .find(|path| !path.exists() && !promised(path))
            .context("there is no free name left")?;
        content.jobs.entry(job.to_owned()).or_default().results.insert(result.to_owned(), path.clone());
        self.write(&content)?;
        Ok(path)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, content: &Content) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let part = part_of(path);
        let written = std::fs::File::create(&part).and_then(|mut file| {
            file.write_all(serde_json::to_string_pretty(content)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, path)
        });
        written.with_context(|| format!("could not write {}", path.display()))
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Content>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not read {}", path.display())),
    };
    let content = serde_json::from_str(&text);
    content.map(Some).with_context(|| format!("{} is no record of a submit", path.display()))
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
        assert_eq!(first.began, None);
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

        let again = open(&task).unwrap();
        assert!(again.began.is_some() && again.progress("a.wav").job_id.as_deref() == Some("1"));
        assert_eq!(
            (place(&again, "b.wav", "r2"), place(&again, "b.wav", "r3")),
            ("a-2.txt".into(), "a-4.txt".into())
        );
        assert!(open(&Task { kind: "clone-voice".into(), ..task.clone() }).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no part is left");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(open(&task).is_err());
    }
}
