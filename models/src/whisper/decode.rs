//! One window through whisper.cpp.

use std::collections::HashSet;
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, anyhow};
use whisper_rs::{
    DtwMode, DtwModelPreset, DtwParameters, FullParams, SamplingStrategy, WhisperContext,
    WhisperContextParameters, WhisperSegment, WhisperState, WhisperToken,
};

use super::windows::Window;
use crate::{EngineError, Observer};

/// What is the same for all windows of a call.
pub(super) struct Request<'a> {
    /// As Whisper names it; none until it is known, which must be before decoding.
    pub(super) language: Option<&'static str>,
    pub(super) translate: bool,
    pub(super) prompt: Option<&'a str>,
}

/// A segment as Whisper tells it; times in seconds from the start of its window.
pub(super) struct Spoken {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) tokens: Vec<Token>,
    pub(super) spaced: bool,
}

pub(super) struct Token {
    /// A part of a word, perhaps of a character.
    pub(super) bytes: Vec<u8>,
    pub(super) probability: f32,
    /// When its sound ends.
    pub(super) end: f64,
}

/// Seconds from which on a window is long. Whisper hears it in full at once, and may stop before its end: then whisper.cpp
/// goes on from there. A short one is heard to its end in one pass.
const LONG: f64 = 16.0;

#[derive(Clone, Copy)]
struct Sound<'a> {
    samples: &'a [f32],
    speech_seconds: f64,
    passes: Passes,
}

#[derive(Clone, Copy, PartialEq)]
enum Passes {
    One,
    AsManyAsItTakes,
}

pub(super) struct Decoder<'a> {
    context: &'a WhisperContext,
    state: WhisperState,
    request: Request<'a>,
    prompt: Vec<c_int>,
    threads: usize,
}

/// Loads the model, with word times by attention where its attention heads are known.
pub(super) fn load(weights: &Path, gpu: Option<u32>) -> Result<WhisperContext, EngineError> {
    // Enough for the alignment of a full window with the most heads; pages that are not used are never touched.
    const ALIGNMENT_MEMORY: usize = 256 << 20;
    let mut parameters = WhisperContextParameters::default();
    parameters.use_gpu(gpu.is_some()).gpu_device(gpu.unwrap_or(0).cast_signed());
    if let Some(model_preset) = alignment_preset(weights)? {
        let mode = DtwMode::ModelPreset { model_preset };
        parameters.dtw_parameters(DtwParameters { mode, dtw_mem_size: ALIGNMENT_MEMORY });
    }
    whisper_rs::install_logging_hooks();
    let context = WhisperContext::new_with_params(weights, parameters)
        .with_context(|| format!("loading the Whisper model {}", weights.display()))?;
    Ok(context)
}

impl<'a> Decoder<'a> {
    pub(super) fn new(
        context: &'a WhisperContext,
        state: WhisperState,
        request: Request<'a>,
        threads: usize,
    ) -> Result<Self, EngineError> {
        let prompt = match request.prompt {
            // Whisper was trained on text that begins with a space; a NUL would end it early.
            Some(prompt) => context
                .tokenize(&format!(" {}", prompt.replace('\0', " ")), MAX_PROMPT_TOKENS)
                .map_err(|_| EngineError::Input("The prompt is too long.".to_owned()))?,
            None => Vec::new(),
        };
        Ok(Self { context, state, request, prompt, threads })
    }

    /// How likely the sound of `window` is in each of Whisper's languages, by their numbers.
    pub(super) fn hear_language(
        &mut self,
        samples: &[f32],
        window: &Window,
    ) -> Result<Vec<f32>, EngineError> {
        // whisper.cpp fits what it hears only in a decoding: this one is too short to decode anything.
        let mut parameters = parameters(&self.request, &self.prompt, fitted_context(window.duration()));
        parameters.set_n_threads(self.threads as c_int);
        parameters.set_language(Some("en"));
        parameters.set_duration_ms(100);
        self.state.full(parameters, samples).context("preparing to detect the language")?;
        let (_, probabilities) = self.state.lang_detect(0, self.threads).context("detecting the language")?;
        Ok(probabilities)
    }

    /// What the following windows are spoken in.
    pub(super) fn set_language(&mut self, language: &'static str) {
        self.request.language = Some(language);
    }

    /// What is said in `samples`, the sound of `window`.
    pub(super) fn decode(
        &mut self,
        samples: &[f32],
        window: &Window,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Spoken>, EngineError> {
        let full = self.context.model_n_audio_ctx();
        let fitted = fitted_context(window.duration()).min(full);
        let passes = if window.duration() <= LONG { Passes::One } else { Passes::AsManyAsItTakes };
        let sound = Sound { samples, speech_seconds: window.speech_end - window.start, passes };
        self.run(sound, fitted, observer)?;
        let quick = self.spoken(passes);
        if fitted == full || !is_doubtful(&quick) {
            return Ok(quick);
        }
        self.run(sound, full, observer)?;
        Ok(self.spoken(passes))
    }

    fn run(
        &mut self,
        sound: Sound<'_>,
        audio_context: c_int,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        /// whisper.cpp ignores what is shorter than a fifth of this.
        const SHORTEST: f64 = 0.5;
        let mut watch = Watch { observer };
        let mut parameters = parameters(&self.request, &self.prompt, audio_context);
        parameters.set_n_threads(self.threads as c_int);
        // Else whisper.cpp listens once more, with all its work, to what follows the last time that Whisper told.
        parameters.set_single_segment(sound.passes == Passes::One);
        // Without this bound Whisper would listen once more to the silence behind the last word.
        parameters.set_duration_ms((sound.speech_seconds.max(SHORTEST) * 1000.0) as c_int);
        watch.install(&mut parameters);
        let result = self.state.full(parameters, sound.samples);
        if watch.observer.cancelled() {
            return Err(EngineError::Cancelled);
        }
        result.map_err(|error| EngineError::Internal(anyhow!("whisper.cpp failed: {error}")))
    }

    fn spoken(&self, passes: Passes) -> Vec<Spoken> {
        let spaced =
            !self.request.language.is_some_and(|code| UNSPACED.contains(&code)) || self.request.translate;
        let (text_end, first_time) = (self.context.token_eot(), self.context.token_beg());
        let reading = Reading { text_end, first_time, spaced, passes };
        self.state.as_iter().flat_map(|segment| split(&segment, &reading)).collect()
    }
}

/// How to read tokens: those below `text_end` are text, those from `first_time` on are times.
struct Reading {
    text_end: c_int,
    first_time: c_int,
    spaced: bool,
    passes: Passes,
}

/// A window of one pass is cut where Whisper itself tells a time; the segments of several passes are cut already.
fn split(segment: &WhisperSegment<'_>, reading: &Reading) -> Vec<Spoken> {
    /// Seconds from one token of time to the next.
    const STEP: f64 = 0.02;
    let spaced = reading.spaced;
    let mut parts = vec![];
    let mut start = seconds(segment.start_timestamp());
    let mut tokens = vec![];
    for token in (0..segment.n_tokens()).filter_map(|index| segment.get_token(index)) {
        let id = token.token_id();
        if id < reading.text_end {
            tokens.extend(text_token(&token));
        } else if reading.passes == Passes::One && reading.first_time <= id {
            let time = f64::from(id - reading.first_time) * STEP;
            if !tokens.is_empty() {
                parts.push(Spoken { start, end: time, tokens: std::mem::take(&mut tokens), spaced });
            }
            start = time;
        }
    }
    if !tokens.is_empty() {
        parts.push(Spoken { start, end: seconds(segment.end_timestamp()), tokens, spaced });
    }
    parts
}

/// Hearing no more than there is saves most of the time, but now and then it makes Whisper mishear, or repeat itself for
/// ever. It is unsure of itself then; hearing the full 30 seconds mends it.
fn is_doubtful(spoken: &[Spoken]) -> bool {
    // Of 42 transcripts of LibriSpeech that were compared, those that the short hearing spoilt all lie below.
    const SURE: f32 = 0.77;
    spoken.iter().any(|spoken| spoken.loops() || spoken.confidence() < SURE)
}

impl Spoken {
    /// Mean probability of its tokens.
    pub(super) fn confidence(&self) -> f32 {
        mean_probability(&self.tokens)
    }

    /// Whether it says the same over and over.
    fn loops(&self) -> bool {
        const SHORTEST: usize = 24;
        let parts: Vec<&[u8]> = self.tokens.iter().map(|token| token.bytes.as_slice()).collect();
        let triples: HashSet<_> = parts.windows(3).collect();
        SHORTEST < parts.len() && triples.len() * 2 < parts.len()
    }
}

/// 0 for no tokens.
pub(super) fn mean_probability(tokens: &[Token]) -> f32 {
    let sum: f32 = tokens.iter().map(|token| token.probability).sum();
    (sum / tokens.len().max(1) as f32).clamp(0.0, 1.0)
}

fn parameters<'p>(
    request: &Request<'_>,
    prompt: &'p [c_int],
    audio_context: c_int,
) -> FullParams<'static, 'p> {
    let mut parameters = FullParams::new(SamplingStrategy::BeamSearch { beam_size: 5, patience: -1.0 });
    parameters.set_language(request.language);
    parameters.set_translate(request.translate);
    parameters.set_tokens(prompt);
    parameters.set_audio_ctx(audio_context);
    // Windows are apart in time, and one that went wrong must not spoil the next.
    parameters.set_no_context(true);
    parameters.set_suppress_nst(true);
    parameters.set_token_timestamps(true);
    parameters.set_print_special(false);
    parameters.set_print_progress(false);
    parameters.set_print_realtime(false);
    parameters.set_print_timestamps(false);
    parameters
}

/// Whisper counts 50 positions a second. It hears the padding that it expects: at least two seconds of silence behind the
/// sound and ten seconds in all; with less it loops. A long window is heard in full at once, for there a short hearing
/// saves less than the second one costs where it is needed.
fn fitted_context(duration: f64) -> c_int {
    const POSITIONS_PER_SECOND: f64 = 50.0;
    const FULL: f64 = 1500.0;
    if LONG < duration {
        return FULL as c_int;
    }
    ((duration + 2.0).max(10.0) * POSITIONS_PER_SECOND).ceil() as c_int
}

fn text_token(token: &WhisperToken<'_, '_>) -> Option<Token> {
    let data = token.token_data();
    // By attention, whisper.cpp tells when the next token begins.
    let end = if 0 <= data.t_dtw { data.t_dtw } else { data.t1 };
    Some(Token { bytes: token.to_bytes().ok()?.to_vec(), probability: data.p, end: seconds(end) })
}

/// whisper.cpp counts hundredths.
fn seconds(hundredths: i64) -> f64 {
    hundredths as f64 / 100.0
}

/// More than Whisper's own limit, which keeps the last ones.
const MAX_PROMPT_TOKENS: usize = 4096;

/// Languages that put no spaces between words.
const UNSPACED: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// Lets whisper.cpp reach the observer while it works.
struct Watch<'a> {
    observer: &'a mut dyn Observer,
}

impl Watch<'_> {
    #[expect(unsafe_code, reason = "whisper-rs has no callbacks for borrowed data")]
    fn install(&mut self, parameters: &mut FullParams<'_, '_>) {
        let this = std::ptr::from_mut(self).cast::<c_void>();
        // SAFETY: the callbacks run only within the call that the parameters are for, on the thread of that call, and
        // `self` outlives it; each casts back to what `this` is.
        unsafe {
            parameters.set_progress_callback_user_data(this);
            parameters.set_progress_callback(Some(on_progress));
            parameters.set_abort_callback_user_data(this);
            parameters.set_abort_callback(Some(is_cancelled));
        }
    }
}

#[expect(unsafe_code, reason = "called by whisper.cpp")]
unsafe extern "C" fn on_progress<C, S>(_context: *mut C, _state: *mut S, percent: c_int, watch: *mut c_void) {
    // SAFETY: see `Watch::install`.
    let watch = unsafe { &mut *watch.cast::<Watch<'_>>() };
    // A panic must not unwind through C; what it was about shows in the next call to the observer.
    drop(catch_unwind(AssertUnwindSafe(|| watch.observer.progress(percent as f32 / 100.0))));
}

#[expect(unsafe_code, reason = "called by whisper.cpp")]
unsafe extern "C" fn is_cancelled(watch: *mut c_void) -> bool {
    // SAFETY: see `Watch::install`.
    let watch = unsafe { &*watch.cast::<Watch<'_>>() };
    catch_unwind(AssertUnwindSafe(|| watch.observer.cancelled())).unwrap_or(true)
}

/// Which attention heads of the published models follow the sound, by the shape in the head of the file.
fn alignment_preset(weights: &Path) -> Result<Option<DtwModelPreset>, EngineError> {
    const MULTILINGUAL_VOCABULARY: i32 = 51865;
    const THIRD_VOCABULARY: i32 = 51866;
    let mut header = [0; 48];
    File::open(weights)
        .and_then(|mut file| file.read_exact(&mut header))
        .with_context(|| format!("reading the Whisper model {}", weights.display()))?;
    let field = |index: usize| i32::from_le_bytes(std::array::from_fn(|byte| header[index * 4 + byte]));
    let (vocabulary, encoder_layers, decoder_layers) = (field(1), field(5), field(9));
    let english = vocabulary < MULTILINGUAL_VOCABULARY;
    Ok(match (encoder_layers, decoder_layers) {
        (4, 4) if english => Some(DtwModelPreset::TinyEn),
        (4, 4) => Some(DtwModelPreset::Tiny),
        (6, 6) if english => Some(DtwModelPreset::BaseEn),
        (6, 6) => Some(DtwModelPreset::Base),
        (12, 12) if english => Some(DtwModelPreset::SmallEn),
        (12, 12) => Some(DtwModelPreset::Small),
        (24, 24) if english => Some(DtwModelPreset::MediumEn),
        (24, 24) => Some(DtwModelPreset::Medium),
        (32, 32) if vocabulary == THIRD_VOCABULARY => Some(DtwModelPreset::LargeV3),
        (32, 4) => Some(DtwModelPreset::LargeV3Turbo),
        _ => None,
    })
}
