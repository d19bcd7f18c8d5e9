//! One running espeak-ng. A line of text goes in, lines of phonemes come out, as many as it has clauses; a random
//! word sent behind each text, whose phonemes were learnt at the start, tells where the answer ends.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use crate::EngineError;

/// Phonemising takes milliseconds; whoever needs longer has died or hangs.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Process {
    voice: String,
    running: Running,
}

impl Process {
    pub(super) fn start(voice: &str) -> Result<Self, EngineError> {
        Ok(Self { voice: voice.into(), running: Running::start(voice)? })
    }

    /// `clause` is one line of at most 900 bytes. A process that fails is replaced once.
    pub(super) fn phonemes(&mut self, clause: &str) -> Result<String, EngineError> {
        match self.running.phonemes(clause) {
            Ok(phonemes) => Ok(phonemes),
            Err(error) => {
                tracing::warn!(%error, voice = %self.voice, "espeak-ng failed and is started again");
                self.running = Running::start(&self.voice)?;
                Ok(self.running.phonemes(clause)?)
            }
        }
    }

    #[cfg(test)]
    pub(super) fn kill(&mut self) {
        self.running.child.kill().unwrap();
        self.running.child.wait().unwrap();
    }
}

struct Running {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    end_mark: String,
    end_phonemes: String,
}

impl Running {
    fn start(voice: &str) -> anyhow::Result<Self> {
        let mut child = Command::new("espeak-ng")
            .args(["-q", "--ipa", "-b", "1", &format!("-v{voice}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("espeak-ng cannot be started; is it installed?")?;
        let input = child.stdin.take().context("espeak-ng has no input")?;
        let output = child.stdout.take().context("espeak-ng has no output")?;
        let (sender, lines) = mpsc::channel();
        // The thread ends with the process, whose end of the pipe closes.
        std::thread::Builder::new().name("espeak-ng".into()).spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        })?;
        let mut running = Self { child, input, lines, end_mark: random_word(), end_phonemes: String::new() };
        running.learn_end().with_context(|| format!("espeak-ng does not speak with the voice {voice}"))?;
        Ok(running)
    }

    fn learn_end(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        writeln!(self.input, "{0}\n{0}", self.end_mark)?;
        let first = self.line(deadline)?;
        let second = self.line(deadline)?;
        if first.trim().is_empty() || first != second {
            return Err(anyhow!("it answers {first:?}, then {second:?}"));
        }
        self.end_phonemes = first;
        Ok(())
    }

    fn phonemes(&mut self, clause: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        writeln!(self.input, "{}\n{}", clause.replace('\n', " "), self.end_mark)?;
        let mut phonemes = String::new();
        loop {
            let line = self.line(deadline)?;
            if line == self.end_phonemes {
                return Ok(phonemes);
            }
            let line = without_language_switches(line.trim());
            if !phonemes.is_empty() && !line.is_empty() {
                phonemes.push(' ');
            }
            phonemes.push_str(line.trim());
        }
    }

    fn line(&self, deadline: Instant) -> anyhow::Result<String> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).map_err(|error| anyhow!("no answer from espeak-ng: {error}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone and no zombie stays.
        if self.child.kill().is_ok()
            && let Err(error) = self.child.wait()
        {
            tracing::warn!(%error, "espeak-ng was not reaped");
        }
    }
}

/// A word that no text holds, in letters that every voice can say (not all can say digits).
fn random_word() -> String {
    let mut random = RandomState::new().hash_one("");
    let mut word = String::new();
    for _ in 0..5 {
        for letters in ["bdfgklmnprstvz", "aeiou"] {
            let index = (random % letters.len() as u64) as usize;
            random /= letters.len() as u64;
            word.push_str(&letters[index..=index]);
        }
    }
    word
}

/// Foreign words come as `(fr)ʃɑ̃sˈɔ̃(en)`; the marks are no phonemes.
fn without_language_switches(phonemes: &str) -> String {
    let mut rest = phonemes;
    let mut plain = String::with_capacity(phonemes.len());
    while let Some((before, after)) = rest.split_once('(') {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain + rest
}
