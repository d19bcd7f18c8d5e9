//! Whisper by whisper.cpp.
//!
//! The voice detector goes over the recording first. Its stretches of speech, cut at pauses into windows of at most 30
//! seconds, are all that Whisper gets to hear: it invents words for silence and noise, and a window is all that must be
//! in memory.

mod decode;
mod windows;
mod words;

use std::path::Path;

use anyhow::Context;
use whisper_rs::WhisperContext;

use crate::audio::SampleReader;
use crate::vad::{SAMPLE_RATE, SpeechCurve, Vad};
use crate::{EngineError, Observer, Segment, TranscribeOptions, Transcriber, Transcription};
use decode::{Decoder, Request};
use windows::Window;
use words::Scene;

/// What a model may use of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Compute {
    pub threads: usize,
    /// The ordinal of a graphics card; only in a program with [`CUDA`].
    pub gpu: Option<u32>,
}

/// Whether this program was built for graphics cards.
pub const CUDA: bool = cfg!(feature = "cuda");

impl Compute {
    pub fn threads(threads: usize) -> Self {
        Self { threads, gpu: None }
    }
}

/// A loaded model. One call at a time, on `threads` threads.
pub struct Whisper {
    context: WhisperContext,
    vad: Vad,
    threads: usize,
}

impl Whisper {
    /// Loads a ggml file. Threads times the calls that run at once must not exceed the cores: whisper.cpp's threads
    /// spin while they wait.
    pub fn load(weights: &Path, vad: Vad, compute: Compute) -> Result<Self, EngineError> {
        let context = decode::load(weights, compute.gpu)?;
        Ok(Self { context, vad, threads: compute.threads.max(1) })
    }

    fn request<'a>(&self, options: &'a TranscribeOptions) -> Result<Request<'a>, EngineError> {
        let multilingual = self.context.is_multilingual();
        let language = match options.language.as_deref() {
            None if multilingual => None,
            None => Some(ENGLISH),
            Some(wish) => Some(known_language(wish)?),
        };
        if !multilingual && (options.translate || language != Some(ENGLISH)) {
            return Err(EngineError::Input("This model only transcribes English.".to_owned()));
        }
        let prompt = options.prompt.as_deref().map(str::trim).filter(|prompt| !prompt.is_empty());
        Ok(Request { language, translate: options.translate, prompt })
    }
}

impl Transcriber for Whisper {
    fn transcribe(
        &mut self,
        audio: &mut dyn SampleReader,
        options: &TranscribeOptions,
        observer: &mut dyn Observer,
    ) -> Result<Transcription, EngineError> {
        let request = self.request(options)?;
        let curve = self.vad.curve(audio, &mut Share::new(observer, 0.0, LISTENING_SHARE))?;
        let windows = windows::plan(&curve);
        if windows.is_empty() {
            observer.progress(1.0);
            let language = request.language.unwrap_or(ENGLISH).to_owned();
            return Ok(Transcription { language, segments: Vec::new() });
        }
        let mut recording = Recording { audio };
        let wished = request.language;
        // A fresh one a call, so that no result depends on the calls before.
        let state = self.context.create_state().context("making room for Whisper's decoder")?;
        let mut decoder = Decoder::new(&self.context, state, request, self.threads)?;
        let language = match wished {
            Some(language) => language,
            None => detect_language(&mut decoder, &mut recording, &windows)?,
        };
        decoder.set_language(language);
        let observer = &mut Share::new(observer, LISTENING_SHARE, 1.0);
        let segments =
            transcribe_windows(decoder, Material { recording, windows: &windows, curve: &curve }, observer)?;
        observer.progress(1.0);
        Ok(Transcription { language: language.to_owned(), segments: finish(segments, options) })
    }
}

/// The likeliest language of the first windows; one window is enough if the model is sure.
fn detect_language(
    decoder: &mut Decoder<'_>,
    recording: &mut Recording<'_>,
    windows: &[Window],
) -> Result<&'static str, EngineError> {
    const WINDOWS: usize = 3;
    const SURE: f32 = 0.5;
    let mut sums = vec![0.0; whisper_rs::get_lang_max_id() as usize + 1];
    let mut best = 0;
    for window in windows.iter().take(WINDOWS) {
        let samples = recording.samples(window)?;
        let probabilities = decoder.hear_language(&samples, window)?;
        sums.iter_mut().zip(&probabilities).for_each(|(sum, probability)| *sum += probability);
        best = (0..sums.len()).max_by(|a, b| f32::total_cmp(&sums[*a], &sums[*b])).unwrap_or(0);
        if SURE <= probabilities[best] {
            break;
        }
    }
    Ok(whisper_rs::get_lang_str(best as i32).unwrap_or(ENGLISH))
}

struct Material<'a, 'b> {
    recording: Recording<'a>,
    windows: &'b [Window],
    curve: &'b SpeechCurve,
}

fn transcribe_windows(
    mut decoder: Decoder<'_>,
    mut material: Material<'_, '_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Segment>, EngineError> {
    let total: f64 = material.windows.iter().map(Window::duration).sum();
    let mut done = 0.0;
    let mut segments = Vec::new();
    for window in material.windows {
        let samples = material.recording.samples(window)?;
        let from = (done / total) as f32;
        done += window.duration();
        let observer = &mut Share::new(observer, from, (done / total) as f32);
        let spoken = decoder.decode(&samples, window, observer)?;
        let scene = Scene { window, curve: material.curve };
        for spoken in &spoken {
            let earliest = segments.last().map_or(0.0, |segment: &Segment| segment.end);
            segments.extend(words::segment(spoken, earliest, &scene));
        }
    }
    Ok(segments)
}

/// Puts the segments in order without overlap, and leaves out the words unless asked for.
fn finish(mut segments: Vec<Segment>, options: &TranscribeOptions) -> Vec<Segment> {
    let mut earliest = 0.0;
    for segment in &mut segments {
        segment.start = segment.start.max(earliest);
        segment.end = segment.end.max(segment.start);
        earliest = segment.end;
        for word in &mut segment.words {
            word.start = word.start.clamp(segment.start, segment.end);
            word.end = word.end.clamp(word.start, segment.end);
        }
        if !options.word_timestamps {
            segment.words.clear();
        }
    }
    segments
}

struct Recording<'a> {
    audio: &'a mut dyn SampleReader,
}

impl Recording<'_> {
    fn samples(&mut self, window: &Window) -> Result<Vec<f32>, EngineError> {
        let rate = f64::from(SAMPLE_RATE);
        let mut samples = vec![0.0; (window.duration() * rate) as usize];
        let read =
            self.audio.read((window.start * rate) as u64, &mut samples).context("reading the audio")?;
        samples.truncate(read);
        Ok(samples)
    }
}

/// A part of a call, whose progress is a share of the whole. It never falls, even if the part is done twice.
struct Share<'a> {
    observer: &'a mut dyn Observer,
    from: f32,
    to: f32,
    highest: f32,
}

impl<'a> Share<'a> {
    fn new(observer: &'a mut dyn Observer, from: f32, to: f32) -> Self {
        Self { observer, from, to, highest: 0.0 }
    }
}

impl Observer for Share<'_> {
    fn progress(&mut self, fraction: f32) {
        self.highest = self.highest.max(fraction.min(1.0));
        self.observer.progress(self.from + (self.to - self.from) * self.highest);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

const ENGLISH: &str = "en";
/// The voice detector's part of the time.
const LISTENING_SHARE: f32 = 0.05;

/// `en-US` is `en` to Whisper.
fn known_language(wish: &str) -> Result<&'static str, EngineError> {
    let primary = wish.split(['-', '_']).next().unwrap_or(wish).to_ascii_lowercase();
    whisper_rs::get_lang_id(&primary)
        .and_then(whisper_rs::get_lang_str)
        .ok_or_else(|| EngineError::Input(format!("The language {wish} is not one that Whisper knows.")))
}
