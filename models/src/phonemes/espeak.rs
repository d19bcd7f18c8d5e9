//! Speech by espeak-ng itself, for languages without a neural voice.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::clean;
use crate::audio::Audio;
use crate::{EngineError, Synthesizer};

/// Speaks any of espeak-ng's languages with its formant voice.
pub struct EspeakSynthesizer {
    voice: String,
}

/// What the program writes whatever the voice.
const SAMPLE_RATE: u32 = 22_050;
/// Words a minute at speed 1, the program's own default.
const WORDS_PER_MINUTE: f32 = 175.0;
/// Far above the second that a sentence takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl EspeakSynthesizer {
    /// `language` is an ISO 639-1 code; one without a voice is an [`EngineError::Input`].
    pub fn new(language: &str) -> Result<Self, EngineError> {
        match language_voice(language)? {
            Some(voice) => Ok(Self { voice }),
            None => Err(EngineError::Input(format!("There is no voice for the language {language:?}."))),
        }
    }
}

impl Synthesizer for EspeakSynthesizer {
    fn sample_rate(&self) -> u32 {
        SAMPLE_RATE
    }

    fn synthesize(&mut self, text: &str, speed: f32) -> Result<Audio, EngineError> {
        let text = clean(text);
        if !text.chars().any(char::is_alphanumeric) {
            return Err(EngineError::Input("The text holds nothing that can be spoken.".into()));
        }
        let words_per_minute = (WORDS_PER_MINUTE * speed).round().clamp(80.0, 450.0);
        let mut child = Command::new("espeak-ng")
            .args(["--stdout", "--stdin", "-b", "1", "-z"])
            .arg(format!("-v{}", self.voice))
            .arg(format!("-s{words_per_minute}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("espeak-ng cannot be started; is it installed?")?;
        let mut input = child.stdin.take().context("espeak-ng has no input")?;
        input.write_all(text.as_bytes()).context("espeak-ng takes no text")?;
        drop(input);
        let samples = samples(&output(&mut child)?)?;
        Ok(Audio { sample_rate: SAMPLE_RATE, samples })
    }
}

/// The espeak-ng voice of an ISO 639-1 code; none where the program has none.
pub fn language_voice(language: &str) -> Result<Option<String>, EngineError> {
    // Where a language has several, the one that most of its speakers speak.
    let preferred = match language {
        "en" => "en-us",
        "fr" => "fr-fr",
        "pt" => "pt-br",
        "vi" => "vi",
        "zh" => "cmn",
        other => other,
    };
    let listing = voices()?;
    let mut alias = None;
    for line in listing.lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        let Some(voice) = fields.next() else { continue };
        if voice == preferred {
            return Ok(Some(voice.into()));
        }
        if fields.any(|field| field.strip_prefix('(') == Some(preferred))
            || line.contains(&format!("({preferred} "))
        {
            alias.get_or_insert_with(|| voice.to_owned());
        }
    }
    Ok(alias)
}

/// What the program lists; asked once, for it never changes while this process runs.
fn voices() -> Result<&'static str, EngineError> {
    static LISTING: OnceLock<String> = OnceLock::new();
    if let Some(listing) = LISTING.get() {
        return Ok(listing);
    }
    let output = Command::new("espeak-ng").arg("--voices").stdin(Stdio::null()).output();
    let output = output.context("espeak-ng cannot be started; is it installed?")?;
    if !output.status.success() {
        return Err(anyhow!("espeak-ng cannot list its voices: {}", output.status).into());
    }
    Ok(LISTING.get_or_init(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// All that `child` writes, or an error once its patience is over.
fn output(child: &mut Child) -> anyhow::Result<Vec<u8>> {
    let mut stdout = child.stdout.take().context("espeak-ng has no output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name("espeak-ng".into()).spawn(move || {
        let mut bytes = Vec::new();
        let result = stdout.read_to_end(&mut bytes).map(|_| bytes);
        // Nobody listens any more once the patience is over.
        drop(sender.send(result));
    })?;
    let received = receiver.recv_timeout(PATIENCE);
    if received.is_err() {
        child.kill().context("espeak-ng hangs and cannot be ended")?;
    }
    let status = child.wait()?;
    let bytes = received.map_err(|_| anyhow!("espeak-ng did not finish in {PATIENCE:?}"))??;
    if status.success() { Ok(bytes) } else { Err(anyhow!("espeak-ng ended with {status}")) }
}

/// The samples of a WAV stream, whose header cannot know its own length.
fn samples(wav: &[u8]) -> anyhow::Result<Vec<f32>> {
    const HEADER: usize = 44;
    let rate = wav.get(24..28).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    if rate != Some(SAMPLE_RATE) || wav.get(36..40) != Some(b"data") {
        return Err(anyhow!("espeak-ng wrote something else than a WAV stream of {SAMPLE_RATE} Hz"));
    }
    let pairs = wav[HEADER..].chunks_exact(2);
    Ok(pairs.map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_and_speed_shortens() {
        let mut german = EspeakSynthesizer::new("de").unwrap();
        let text = "Guten Morgen, wie geht es Ihnen heute?";
        let slow = german.synthesize(text, 1.0).unwrap();
        let fast = german.synthesize(text, 1.5).unwrap();
        assert!(1.0 < slow.duration() && slow.duration() < 5.0, "{}", slow.duration());
        let ratio = slow.duration() / fast.duration();
        assert!((1.25..1.75).contains(&ratio), "{ratio}");
        assert!(slow.samples.iter().any(|sample| 0.1 < sample.abs()));
        assert!(matches!(german.synthesize("?!", 1.0), Err(EngineError::Input(_))));
        assert!(matches!(EspeakSynthesizer::new("xx"), Err(EngineError::Input(_))));
    }
}
