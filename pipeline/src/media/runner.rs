//! The parent's side: starts a child for one operation, follows it, and ends it when told or when it overstays.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Once;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::error::{Context, MediaError, MediaErrorCode};
use super::operation::{
    Assignment, AudioExtraction, AudioReport, Event, Limits, Operation, PcmDecoding, Report, VideoGeneration,
    VideoReport, Walls,
};
use super::room::Room;
use crate::media_info::MediaInfo;
use crate::trace;

/// Runs media operations, each in a child process of its own.
#[derive(Clone, Debug)]
pub struct MediaRunner {
    program: PathBuf,
    arguments: Vec<String>,
    limits: Limits,
}

/// How a caller follows an operation and stops it.
pub struct Watch<'a> {
    pub cancel: &'a CancellationToken,
    /// Told the share of the work that is done, 0 to 1, never less than before.
    pub on_progress: &'a mut (dyn FnMut(f64) + Send),
}

impl MediaRunner {
    /// `program` with `arguments` must do nothing but call [`child_main`](super::child_main), before it starts
    /// any thread.
    pub fn new(program: PathBuf, arguments: Vec<String>, limits: Limits) -> Self {
        Self { program, arguments, limits }
    }

    /// What is in a file, whatever its name says. Reads headers, and packets only where the header has no length.
    pub async fn probe(&self, input: &Path, cancel: &CancellationToken) -> Result<MediaInfo, MediaError> {
        let operation = Operation::Probe { input: absolute(input)? };
        let assignment = Assignment { operation, limits: self.limits.for_probe() };
        match self.run(assignment, Watch { cancel, on_progress: &mut |_progress| () }).await? {
            Report::Probed { media } => Ok(media),
            _other => Err(wrong_report()),
        }
    }

    /// Also what a probe of the output finds, which costs no child of its own.
    pub async fn extract_audio(
        &self,
        extraction: AudioExtraction,
        watch: Watch<'_>,
    ) -> Result<(AudioReport, MediaInfo), MediaError> {
        let extraction = AudioExtraction {
            input: absolute(&extraction.input)?,
            output: absolute(&extraction.output)?,
            ..extraction
        };
        match self.work(Operation::ExtractAudio(extraction), watch).await? {
            Report::Extracted { report, media } => Ok((report, media)),
            _other => Err(wrong_report()),
        }
    }

    pub async fn decode_pcm(
        &self,
        decoding: PcmDecoding,
        watch: Watch<'_>,
    ) -> Result<AudioReport, MediaError> {
        let decoding = PcmDecoding {
            input: absolute(&decoding.input)?,
            output: absolute(&decoding.output)?,
            ..decoding
        };
        match self.work(Operation::DecodePcm(decoding), watch).await? {
            Report::Decoded { report } => Ok(report),
            _other => Err(wrong_report()),
        }
    }

    /// Also what a probe of the output finds, which costs no child of its own.
    pub async fn generate_video(
        &self,
        mut generation: VideoGeneration,
        watch: Watch<'_>,
    ) -> Result<(VideoReport, MediaInfo), MediaError> {
        generation.video = absolute(&generation.video)?;
        generation.voice = absolute(&generation.voice)?;
        generation.output = absolute(&generation.output)?;
        if let Some(track) = &mut generation.subtitles {
            track.path = absolute(&track.path)?;
        }
        match self.work(Operation::GenerateVideo(generation), watch).await? {
            Report::Generated { report, media } => Ok((report, media)),
            _other => Err(wrong_report()),
        }
    }

    async fn work(&self, operation: Operation, watch: Watch<'_>) -> Result<Report, MediaError> {
        self.run(Assignment { operation, limits: self.limits.clone() }, watch).await
    }

    async fn run(&self, mut assignment: Assignment, watch: Watch<'_>) -> Result<Report, MediaError> {
        let span = tracing::info_span!(
            "media",
            media.operation = assignment.operation.name(),
            media.exit = Empty,
            media.seconds = Empty,
            otel.status_code = Empty,
        );
        async {
            let started = Instant::now();
            let result = self.run_in_room(&mut assignment, watch).await;
            Span::current().record("media.seconds", started.elapsed().as_secs_f64());
            if let Err(error) = &result {
                Span::current().record("otel.status_code", "ERROR");
                tracing::warn!(media.code = %error.code, "media operation failed: {}", error.message);
            }
            result
        }
        .instrument(span)
        .await
    }

    async fn run_in_room(&self, assignment: &mut Assignment, watch: Watch<'_>) -> Result<Report, MediaError> {
        let Some(output) = assignment.operation.output_mut() else {
            return self.start(assignment)?.follow(assignment, watch).await;
        };
        let room = Room::beside(output)?;
        *output = room.output();
        let report = self.start(assignment)?.follow(assignment, watch).await?;
        room.hand_out()?;
        Ok(report)
    }

    fn start(&self, assignment: &Assignment) -> Result<Running, MediaError> {
        let directory = assignment.operation.output().and_then(Path::parent).unwrap_or(Path::new("/"));
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(directory)
            .env_clear()
            // Each arena of glibc reserves 64 MiB of address space, which is what the child's limit counts.
            .env("MALLOC_ARENA_MAX", "2")
            .env("LANG", "C.UTF-8")
            .envs(trace::here().map(|here| ("TRACEPARENT", here.to_string())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("start the media child")?;
        let group = child.id().and_then(|id| Pid::from_raw(id as i32));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(group), Some(stdin), Some(stdout), Some(stderr)) = (group, stdin, stdout, stderr) else {
            return Err(MediaError::failed("the media child has no pipes"));
        };
        Ok(Running { group: Group(Some(group)), child, stdin, stdout: BufReader::new(stdout), stderr })
    }
}

/// A child at work. Its standard input stays open as long as this lives: the child ends itself when it closes,
/// so that it does not outlive a parent that was killed.
struct Running {
    /// Before `child`, so that a drop kills the whole group while its id is still taken.
    group: Group,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Running {
    async fn follow(self, assignment: &Assignment, watch: Watch<'_>) -> Result<Report, MediaError> {
        /// For what a dead child has written last to be read. Its log ends with it, unless somebody else holds it open.
        const LAST_LINES: Duration = Duration::from_secs(1);

        let mut line = serde_json::to_vec(assignment)
            .map_err(|error| MediaError::failed(format!("the operation is not JSON: {error}")))?;
        line.push(b'\n');
        let Self { mut group, mut child, mut stdin, mut stdout, stderr } = self;
        let log = AbortOnDropHandle::new(tokio::spawn(keep_tail(stderr)));
        let limits = &assignment.limits;
        let conversation = async {
            // A child that died early breaks the pipe; its exit status says more than the write error.
            let _broken_pipe = stdin.write_all(&line).await;
            let report = listen(&mut stdout, limits, watch.on_progress).await?;
            // Nothing is left to do for one that has closed its output; one that was taken over may stay all the same.
            let ended = tokio::time::timeout(limits.stall, child.wait()).await;
            let status = ended.map_err(|_elapsed| stalled("the media child does not end"))?;
            conclude(report, status.context("wait for the media child")?)
        };
        let outcome = tokio::select! {
            outcome = conversation => outcome,
            () = watch.cancel.cancelled() => {
                Err(MediaError::new(MediaErrorCode::Cancelled, "cancelled"))
            }
            () = tokio::time::sleep(limits.wall_clock) => {
                Err(MediaError::new(MediaErrorCode::MediaTooComplex, "ran past the time limit"))
            }
        };
        // With the child goes whatever it has started.
        group.kill();
        let status = child.wait().await.context("wait for the media child")?;
        Span::current().record("media.exit", tracing::field::display(status));
        let log = tokio::time::timeout(LAST_LINES, log).await;
        let log = log.ok().and_then(Result::ok).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if !log.is_empty() {
            tracing::debug!(media.log = %log.trim_end(), "the media child wrote to its log");
        }
        outcome.map_err(|error| out_of_memory(error, &log))
    }
}

/// The process group of a child, killed when dropped.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended by itself a moment ago.
            let _already_gone = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads events to the end of the child's output. `Ok(None)`: it ended without a last word.
async fn listen(
    stdout: &mut BufReader<ChildStdout>,
    limits: &Limits,
    on_progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Option<Report>, MediaError> {
    const LONGEST_LINE: u64 = 64 << 10;
    /// No disk that is worth waiting for moves a file slower than this.
    const SLOWEST_COPY: u64 = 4 << 20;

    let mut report = None;
    let mut reached = 0.0_f64;
    let mut deadline = Instant::now() + limits.stall;
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut *stdout).take(LONGEST_LINE);
        let read = tokio::time::timeout_at(deadline, bounded.read_until(b'\n', &mut line)).await;
        let Ok(read) = read else {
            return Err(stalled("no progress within the limit"));
        };
        if read.context("read from the media child")? == 0 {
            return Ok(report);
        }
        match serde_json::from_slice::<Event>(&line) {
            Ok(Event::ShutIn(walls)) => warn_of_missing(walls),
            Ok(Event::Progress(progress)) => {
                reached = reached.max(progress.clamp(0.0, 1.0));
                on_progress(reached);
                deadline = Instant::now() + limits.stall;
            }
            Ok(Event::Finishing { bytes }) => {
                deadline = Instant::now() + limits.stall + Duration::from_secs(bytes / SLOWEST_COPY);
            }
            Ok(Event::Done(done)) => report = Some(done),
            Ok(Event::Failed(error)) => return Err(error),
            Err(error) => {
                let message = format!("the media child wrote what is no event: {error}");
                return Err(MediaError::new(MediaErrorCode::MediaCrashed, message));
            }
        }
    }
}

/// Once a process: the next child stands behind the same walls.
fn warn_of_missing(walls: Walls) {
    static WARNED: Once = Once::new();
    let Walls { files, network, system_calls } = walls;
    let consequences = [
        (files, "this kernel has no Landlock: a decoder that is taken over can reach what this user can"),
        (network, "neither seccomp nor user namespaces are allowed: such a decoder can open connections"),
        (system_calls, "seccomp is not allowed: such a decoder can make every system call"),
    ];
    WARNED.call_once(|| {
        for (_, consequence) in consequences.iter().filter(|(is_up, _)| !is_up) {
            tracing::warn!("the sandbox of media work is incomplete: {consequence}");
        }
    });
}

/// Reads a child's log to its end and keeps the last of it, so that a flood of complaints costs no memory.
async fn keep_tail(mut source: impl AsyncRead + Unpin) -> Vec<u8> {
    const KEPT: usize = 16 << 10;
    let mut tail = Vec::new();
    let mut buffer = vec![0; 8 << 10];
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        tail.extend_from_slice(&buffer[..read]);
        if tail.len() > 2 * KEPT {
            tail.drain(..tail.len() - KEPT);
        }
    }
    tail
}

fn conclude(report: Option<Report>, status: ExitStatus) -> Result<Report, MediaError> {
    match report {
        Some(report) if status.success() => Ok(report),
        Some(_) | None => Err(death(status)),
    }
}

/// What a child died of that did not say so itself.
fn death(status: ExitStatus) -> MediaError {
    const SIGNALS: [(Signal, MediaErrorCode); 3] = [
        (Signal::XCPU, MediaErrorCode::MediaTooComplex),
        (Signal::XFSZ, MediaErrorCode::StorageFull),
        // Nobody here sent it: the kernel ran out of memory.
        (Signal::KILL, MediaErrorCode::MediaTooLarge),
    ];
    let code = SIGNALS.iter().find(|(signal, _)| status.signal() == Some(signal.as_raw()));
    let code = code.map_or(MediaErrorCode::MediaCrashed, |(_, code)| *code);
    MediaError::new(code, format!("the media child ended without a result: {status}"))
}

/// Where memory runs out, most code fails in a way of its own: an abort, a panic, some error. The log tells.
fn out_of_memory(error: MediaError, log: &str) -> MediaError {
    let is_vague = matches!(error.code, MediaErrorCode::MediaCrashed | MediaErrorCode::MediaFailed);
    let complaint = log.lines().find(|line| {
        let line = line.to_ascii_lowercase();
        ["alloc", "out of memory"].iter().any(|complaint| line.contains(complaint))
    });
    match complaint {
        Some(complaint) if is_vague => MediaError::new(MediaErrorCode::MediaTooLarge, complaint),
        Some(_) | None => error,
    }
}

fn stalled(message: &str) -> MediaError {
    MediaError::new(MediaErrorCode::MediaStalled, message)
}

/// The child runs in another directory.
fn absolute(path: &Path) -> Result<PathBuf, MediaError> {
    std::path::absolute(path).context("find the file")
}

fn wrong_report() -> MediaError {
    MediaError::new(MediaErrorCode::MediaCrashed, "the media child reported on another operation")
}
