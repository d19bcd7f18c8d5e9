//! The `voxmill` program: a switchboard.

mod admin;
mod client;
mod config;
mod demo;
mod doctor;
mod doors;
mod dub;
mod file_names;
mod logging;
mod mail;
mod models_command;
mod serve;
mod submit;
mod traces;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use config::{Config, Overrides, Work};
use serve::Part;
use std::process::ExitCode;

/// Voice and video processing: extracts sound, transcribes, clones voices, dubs video.
#[derive(Parser)]
#[command(name = "voxmill", version, about)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run the server: HTTP, queue and workers in one process
    Serve {
        #[command(flatten)]
        overrides: Overrides,
        #[command(flatten)]
        work: Work,
    },
    /// Run HTTP alone, as one of many over Postgres, Redis and S3
    Api(Overrides),
    /// Run jobs alone, as one of many over Postgres, Redis and S3
    Worker {
        #[command(flatten)]
        overrides: Overrides,
        #[command(flatten)]
        work: Work,
    },
    /// Bring the database to this version's schema
    Migrate {
        #[command(flatten)]
        overrides: Overrides,
        /// Undo this many migrations instead
        #[arg(long, value_name = "STEPS")]
        down: Option<u32>,
    },
    /// List, fetch and check the models
    Models(models_command::Models),
    /// Upload files to a server and start a job for them
    Submit(submit::Submit),
    /// Speak a text in the voice of a video's speaker and put it on the picture
    Dub(dub::Dub),
    /// Take a video through the whole chain and show each step
    Demo(demo::Demo),
    /// Accounts, on the machine of the database
    Admin(admin::Admin),
    /// Say what this machine lacks, and how to get it
    Doctor(Overrides),
    /// Print the OpenAPI document
    Openapi,
    #[command(name = pipeline::media::CHILD_COMMAND, hide = true)]
    MediaChild,
}

fn main() -> ExitCode {
    match Command::parse().action {
        // The child limits its own process before anything else runs in it.
        Action::MediaChild => pipeline::media::child_main(),
        action => run(action),
    }
}

fn run(action: Action) -> ExitCode {
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")
        .and_then(|runtime| runtime.block_on(perform(action)));
    ended.unwrap_or_else(|error| {
        complain(&format!("voxmill: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn perform(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Serve { overrides, work } => {
            serve::run(Config::load_for_work(&overrides, &work)?, Part::All).await?;
        }
        Action::Api(overrides) => serve::run(Config::load(&overrides)?, Part::Api).await?,
        Action::Worker { overrides, work } => {
            serve::run(Config::load_for_work(&overrides, &work)?, Part::Worker).await?;
        }
        Action::Migrate { overrides, down } => serve::migrate(&Config::load(&overrides)?, down).await?,
        Action::Models(models) => return models.run().await,
        Action::Submit(submit) => return Ok(submit.run().await),
        Action::Dub(dub) => dub.run().await?,
        Action::Demo(demo) => demo.run().await?,
        Action::Admin(admin) => admin.run().await?,
        Action::Doctor(overrides) => return doctor::run(&overrides).await,
        Action::Openapi => say(&api::openapi()),
        Action::MediaChild => unreachable!("main takes this arm. This is a bug."),
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the answers of a command line program")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the complaints of a command line program")]
fn complain(text: &str) {
    eprintln!("{text}");
}
