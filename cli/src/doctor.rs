//! `voxmill doctor`: what this machine lacks, and how to get it.

use crate::config::{Config, Overrides};
use crate::models_command::default_set;
use crate::{say, serve};
use std::process::{Command, ExitCode, Stdio};

/// One thing that must be right.
struct Check {
    what: String,
    /// What to do about it, where it is not.
    remedy: Option<String>,
}

pub(crate) async fn run(overrides: &Overrides) -> anyhow::Result<ExitCode> {
    let mut checks = vec![
        program("espeak-ng", "--version", "apt-get install espeak-ng (phonemes for every voice)"),
        program("python3", "--version", "apt-get install python3 python3-pip (fetches the models' mirror)"),
    ];
    match Config::load(overrides) {
        Err(error) => {
            checks.push(Check { what: "configuration".to_owned(), remedy: Some(format!("{error:#}")) })
        }
        Ok(config) => {
            checks.push(Check { what: "configuration".to_owned(), remedy: None });
            checks.push(data_directory(&config));
            checks.extend(models(&config));
            checks.push(media(&config).await);
        }
    }
    let mut well = true;
    for check in checks {
        well &= check.remedy.is_none();
        let verdict = check.remedy.map_or_else(|| "ok".to_owned(), |remedy| format!("MISSING: {remedy}"));
        say(&format!("{:<36} {verdict}", check.what));
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn program(name: &str, argument: &str, remedy: &str) -> Check {
    let runs = Command::new(name)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    Check { what: name.to_owned(), remedy: (!runs).then(|| remedy.to_owned()) }
}

fn data_directory(config: &Config) -> Check {
    let directory = &config.data_dir;
    let writable = serve::make_data_directory(directory).and_then(|()| tempfile::tempfile_in(directory));
    Check {
        what: format!("data directory {}", directory.display()),
        remedy: writable
            .err()
            .map(|error| format!("cannot be written ({error}); choose one with --data-dir")),
    }
}

fn models(config: &Config) -> Vec<Check> {
    let catalogue = serve::catalogue(config);
    let remedy =
        |name: &String| catalogue.installed(name).is_none().then(|| format!("voxmill models pull {name}"));
    default_set(&catalogue)
        .into_iter()
        .map(|name| Check { remedy: remedy(&name), what: format!("model {name}") })
        .collect()
}

/// Whether a media child starts and answers: it must refuse an empty file in its own words.
async fn media(config: &Config) -> Check {
    let answer = async {
        let empty = tempfile::NamedTempFile::new()?;
        let cancel = tokio_util::sync::CancellationToken::new();
        let refused = serve::media_runner(config)?.probe(empty.path(), &cancel).await;
        match refused {
            Err(error) if error.code == pipeline::media::MediaErrorCode::MediaUnsupported => anyhow::Ok(None),
            Err(error) => anyhow::Ok(Some(error.to_string())),
            Ok(_) => anyhow::Ok(Some("took an empty file for media".to_owned())),
        }
    };
    Check {
        what: "media child".to_owned(),
        remedy: answer.await.unwrap_or_else(|error| Some(format!("{error:#}"))),
    }
}
