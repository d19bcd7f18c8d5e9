//! What is heard: words, speech and speakers.

use super::choice::{DETECTOR, ENCODER};
use super::sound::{cut, first_seconds, open, read};
use super::{Engines, LISTENING_RATE};
use models::audio::{Audio, SampleReader as _, resample};
use models::catalogue::Catalogue;
use models::engine::Owner;
use models::speaker::{Ge2e, similarity};
use models::vad::Vad;
use models::whisper::{Compute, Whisper};
use models::{
    EngineError, Observer, SpeakerEncoder as _, TranscribeOptions, Transcriber as _, Transcription,
};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Speech that a cloner learns from, at most; more adds nothing but time.
const REFERENCE_SECONDS: f64 = 30.0;
/// Speech that a reference must hold.
const SHORTEST_REFERENCE: f64 = 1.0;
/// A reference is searched for speech by windows of this length, so that memory does not grow with it.
const WINDOW_SECONDS: f64 = 60.0;

pub struct TranscribeRequest {
    pub model: String,
    /// WAV, mono, at [`LISTENING_RATE`].
    pub sound: PathBuf,
    pub options: TranscribeOptions,
}

impl Engines {
    /// Transcribes a mono WAV. `stop` ends the wait for the engine; the work itself `observer` stops.
    pub async fn transcribe(
        &self,
        request: TranscribeRequest,
        mut observer: impl Observer + 'static,
        stop: &CancellationToken,
    ) -> Result<Transcription, EngineError> {
        let TranscribeRequest { model, sound, options } = request;
        let owner = self.transcribers.get(&model, || {
            let (catalogue, model, compute) = (self.catalogue.clone(), model.clone(), self.compute());
            Owner::new("transcriber", self.config.idle, move || load_transcriber(&catalogue, &model, compute))
        });
        owner
            .run_unless(stop.cancelled(), move |whisper| {
                let mut reader = open(&sound)?;
                whisper.transcribe(&mut reader, &options, &mut observer)
            })
            .await
    }

    /// Cosine of the vectors of two speakers: of a reference at [`super::REFERENCE_RATE`] and a sound at
    /// [`LISTENING_RATE`].
    pub async fn similarity(
        &self,
        reference: &Path,
        sound: &Path,
        stop: &CancellationToken,
    ) -> Result<f32, EngineError> {
        let reference = self.reference(reference, stop).await?;
        let sound = sound.to_owned();
        self.encoder
            .run_unless(stop.cancelled(), move |encoder| {
                let reference = resample(&reference, LISTENING_RATE);
                let sound = first_seconds(&mut open(&sound)?, WINDOW_SECONDS)?;
                Ok(similarity(&encoder.embed(&reference)?, &encoder.embed(&sound)?))
            })
            .await
    }

    /// Seconds of speech in a mono WAV at [`LISTENING_RATE`].
    pub async fn speech_seconds(&self, sound: PathBuf, stop: &CancellationToken) -> Result<f64, EngineError> {
        self.detector
            .run_unless(stop.cancelled(), move |detector| {
                let spans = detector.speech(&mut open(&sound)?)?;
                Ok(spans.iter().map(|span| span.end - span.start).sum())
            })
            .await
    }

    /// The speech of a recording, at most [`REFERENCE_SECONDS`] of it.
    pub(super) async fn reference(
        &self,
        path: &Path,
        stop: &CancellationToken,
    ) -> Result<Audio, EngineError> {
        let (path, stopped) = (path.to_owned(), stop.clone());
        self.detector
            .run_unless(stop.cancelled(), move |detector| {
                let mut reader = open(&path)?;
                let sample_rate = reader.sample_rate();
                let mut speech = Audio { sample_rate, samples: vec![] };
                let window = (WINDOW_SECONDS * f64::from(sample_rate)) as u64;
                let mut start = 0;
                while start < reader.len() && speech.duration() < REFERENCE_SECONDS {
                    if stopped.is_cancelled() {
                        return Err(EngineError::Cancelled);
                    }
                    let part = read(&mut reader, start, window)?;
                    for span in detector.speech(&mut resample(&part, LISTENING_RATE))? {
                        speech.samples.extend_from_slice(cut(&part, span.start, span.end));
                    }
                    start += window;
                }
                speech.samples.truncate((REFERENCE_SECONDS * f64::from(sample_rate)) as usize);
                if speech.duration() < SHORTEST_REFERENCE {
                    let found = speech.duration();
                    return Err(EngineError::Input(format!(
                        "The reference holds {found:.1} s of speech; at least {SHORTEST_REFERENCE:.0} s is needed."
                    )));
                }
                Ok(speech)
            })
            .await
    }
}

fn load_transcriber(catalogue: &Catalogue, model: &str, compute: Compute) -> Result<Whisper, EngineError> {
    let weights = catalogue.require(model)?.weights();
    Whisper::load(&weights, load_detector(catalogue)?, compute)
}

pub(super) fn load_encoder(catalogue: &Catalogue) -> Result<Ge2e, EngineError> {
    Ge2e::load(&catalogue.require(ENCODER)?.weights())
}

pub(super) fn load_detector(catalogue: &Catalogue) -> Result<Vad, EngineError> {
    Vad::load(&catalogue.require(DETECTOR)?.weights())
}
