//! `voxmill models`: which there are, fetching them, and checking what was fetched.

use crate::config::{Config, Overrides};
use crate::{complain, say, serve};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use models::catalogue::{Catalogue, Step, Task};
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Models {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Subcommand)]
enum Action {
    /// List the models and say which are installed
    List,
    /// Fetch models; without a name, the default set
    Pull { names: Vec<String> },
    /// Check the files of installed models; without a name, of all
    Verify { names: Vec<String> },
}

impl Models {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let catalogue = serve::catalogue(&Config::load(&self.overrides)?);
        match self.action {
            Action::List => list(&catalogue),
            Action::Pull { names } => {
                let names = if names.is_empty() { default_set(&catalogue) } else { names };
                for name in names {
                    pull(&catalogue, &name).await?;
                }
            }
            Action::Verify { names } => return Ok(verify(&catalogue, names)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(catalogue: &Catalogue) {
    for entry in catalogue.entries() {
        let state = match (catalogue.installed(&entry.name), entry.default) {
            (Some(_), _) => "installed",
            (None, true) => "missing (default)",
            (None, false) => "-",
        };
        let languages = if entry.languages.is_empty() { "all".to_owned() } else { entry.languages.join(",") };
        let row = (&entry.name, task(entry.task), languages, state, &entry.licence);
        say(&format!("{:<26}{:<16}{:<10}{:<19}{}", row.0, row.1, row.2, row.3, row.4));
    }
}

pub(crate) fn default_set(catalogue: &Catalogue) -> Vec<String> {
    catalogue.default_set().map(|entry| entry.name.clone()).collect()
}

fn task(task: Task) -> &'static str {
    match task {
        Task::Transcribe => "transcribe",
        Task::Synthesize => "synthesize",
        Task::Speaker => "speaker",
        Task::VoiceActivity => "voice-activity",
    }
}

/// Fetches one model, with a bar. One that is installed costs nothing.
pub(crate) async fn pull(catalogue: &Catalogue, name: &str) -> anyhow::Result<()> {
    if catalogue.installed(name).is_some() {
        say(&format!("{name} is installed"));
        return Ok(());
    }
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{prefix:<26} {bar:30} {bytes:>10}/{total_bytes:<10} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(name.to_owned());
    catalogue
        .pull(name, |progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            bar.set_message(match progress.step {
                Step::Download => "fetching",
                Step::Convert => "converting",
            });
        })
        .await?;
    bar.finish_with_message("done");
    say(&format!("{name} fetched"));
    Ok(())
}

fn verify(catalogue: &Catalogue, names: Vec<String>) -> ExitCode {
    let all = || catalogue.entries().iter().map(|entry| entry.name.clone()).collect();
    let names: Vec<String> = if names.is_empty() { all() } else { names };
    let mut sound = true;
    for name in names.iter().filter(|name| catalogue.installed(name).is_some() || names.len() == 1) {
        match catalogue.verify(name) {
            Ok(_) => say(&format!("{name}: good")),
            Err(error) => {
                sound = false;
                complain(&format!("{name}: {error}; fetch it again with: voxmill models pull {name}"));
            }
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
