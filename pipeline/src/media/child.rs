//! The child's side: one operation, behind the walls, told and answered over pipes.

use std::io::{BufRead, Read, Write};
use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Context, MediaError};
use super::operation::{Assignment, AudioExtraction, Event, Operation, Report};
use super::{extract, generate, probe, sandbox};
use crate::parameters::AudioFormat;

/// Reads one operation from standard input, does it inside the sandbox, and writes events to standard output, one
/// JSON object a line. To be called before the process starts any thread; ends the process when its parent dies.
pub fn child_main() -> ExitCode {
    let event = match work() {
        Ok(report) => Event::Done(report),
        Err(error) => Event::Failed(error),
    };
    match send(&event) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::FAILURE,
    }
}

fn work() -> Result<Report, MediaError> {
    let assignment = receive()?;
    tell(&Event::ShutIn(sandbox::enter(&assignment)?));
    end_with_parent()?;
    ffmpeg_next::init().context("start the media library")?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    let job = Job::new(assignment);
    match job.assignment.operation.clone() {
        Operation::Probe { input } => Ok(Report::Probed { media: probe::probe(&input, &job)? }),
        Operation::ExtractAudio(extraction) => Ok(Report::Extracted {
            report: extract::extract(&extraction, &job)?,
            media: probe::probe(&extraction.output, &job)?,
        }),
        Operation::DecodePcm(decoding) => {
            let extraction = AudioExtraction {
                input: decoding.input,
                output: decoding.output,
                format: AudioFormat::Wav,
                sample_rate: Some(decoding.sample_rate),
                channels: Some(1),
            };
            Ok(Report::Decoded { report: extract::extract(&extraction, &job)? })
        }
        Operation::GenerateVideo(generation) => Ok(Report::Generated {
            report: generate::generate(&generation, &job)?,
            media: probe::probe(&generation.output, &job)?,
        }),
    }
}

fn receive() -> Result<Assignment, MediaError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("read the operation")?;
    serde_json::from_str(&line)
        .map_err(|error| MediaError::failed(format!("the operation is not readable: {error}")))
}

/// Ends this process when its standard input closes, which happens however the parent dies. (The kernel's own
/// parent-death signal is tied to the parent's *thread*, and a runtime retires threads.)
fn end_with_parent() -> Result<(), MediaError> {
    let watch = || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().lock().read(&mut rest), Ok(1..)) {}
        process::abort();
    };
    thread::Builder::new().spawn(watch).context("watch the parent").map(drop)
}

fn send(event: &Event) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// The operation in hand, and the way to tell how far it is.
pub(super) struct Job {
    assignment: Assignment,
}

impl Job {
    fn new(assignment: Assignment) -> Self {
        Self { assignment }
    }

    /// Threads that one decoder or encoder may use.
    pub(super) fn threads(&self) -> usize {
        self.assignment.limits.threads
    }

    pub(super) fn progress(&self, total_seconds: Option<f64>) -> Progress {
        Progress { total_seconds, reached: f64::MIN, told: None }
    }

    pub(super) fn finishing(&self, bytes: u64) {
        tell(&Event::Finishing { bytes });
    }
}

/// Tells the parent how much media time has passed, a few times a second at most.
pub(super) struct Progress {
    total_seconds: Option<f64>,
    reached: f64,
    told: Option<Instant>,
}

impl Progress {
    /// Media time is at `seconds`. Says nothing while it stands still: that is how the parent notices a decoder
    /// that spins.
    pub(super) fn reach(&mut self, seconds: f64) {
        const PAUSE: Duration = Duration::from_millis(200);
        if seconds <= self.reached || self.told.is_some_and(|told| told.elapsed() < PAUSE) {
            return;
        }
        self.reached = seconds;
        self.told = Some(Instant::now());
        let total = self.total_seconds.unwrap_or(f64::INFINITY);
        tell(&Event::Progress((seconds / total).clamp(0.0, 1.0)));
    }
}

fn tell(event: &Event) {
    if send(event).is_err() {
        // Nobody listens any more.
        process::abort();
    }
}
