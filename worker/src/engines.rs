//! The engines of this machine, each loaded on first use, kept while it is used, and owned by one thread.

pub mod choice;
mod device;
mod listening;
mod sound;
mod speaking;

pub use device::Device;
pub use listening::TranscribeRequest;
pub use speaking::{SpeechRequest, Spoken, Voice, Waits};

use listening::{load_detector, load_encoder};
use models::Cloner;
use models::catalogue::{Catalogue, Entry, Stock, Task};
use models::engine::Owner;
use models::speaker::Ge2e;
use models::vad::Vad;
use models::whisper::{Compute, Whisper};
use pipeline::parameters::JobKind;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Hertz that the transcriber, the speaker encoder and the voice activity detector listen to.
pub const LISTENING_RATE: u32 = 16_000;
/// Hertz at which a cloner hears its reference: wide enough for the envelope of the voices that it reshapes.
pub const REFERENCE_RATE: u32 = 24_000;

#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Threads of one transcription. Threads times jobs must not exceed the cores.
    pub threads: usize,
    /// An engine that nobody used for so long is unloaded.
    pub idle: Duration,
    pub device: Device,
}

pub struct Engines {
    catalogue: Catalogue,
    config: EngineConfig,
    transcribers: Owners<Whisper>,
    speakers: Owners<Box<dyn Cloner>>,
    encoder: Owner<Ge2e>,
    detector: Owner<Vad>,
}

impl Engines {
    pub fn new(catalogue: Catalogue, config: EngineConfig) -> Self {
        let encoder = {
            let catalogue = catalogue.clone();
            Owner::new("speaker-encoder", config.idle, move || load_encoder(&catalogue))
        };
        let detector = {
            let catalogue = catalogue.clone();
            Owner::new("voice-activity", config.idle, move || load_detector(&catalogue))
        };
        Self { catalogue, config, transcribers: Owners::new(), speakers: Owners::new(), encoder, detector }
    }

    pub fn device(&self) -> Device {
        self.config.device
    }

    /// The models of this machine, as they are now.
    pub fn stock(&self) -> Stock {
        self.catalogue.stock()
    }

    /// Bytes of weights that a job of this kind may have to load first; none where one of its engines has been at work.
    pub fn memory_to_load(&self, kind: JobKind) -> u64 {
        let largest = |task: Task| {
            self.stock().entries().filter(|entry| entry.task == task).map(Entry::size).max().unwrap_or(0)
        };
        match kind {
            JobKind::Transcribe if !self.transcribers.any() => largest(Task::Transcribe),
            JobKind::CloneVoice | JobKind::AnswerSpeech if !self.speakers.any() => largest(Task::Synthesize),
            JobKind::ExtractAudio
            | JobKind::GenerateVideo
            | JobKind::Transcribe
            | JobKind::CloneVoice
            | JobKind::DeliverWebhook
            | JobKind::AnswerSpeech => 0,
        }
    }

    fn compute(&self) -> Compute {
        let gpu = match self.config.device {
            Device::Cpu => None,
            Device::Cuda(ordinal) => Some(ordinal),
        };
        Compute { threads: self.config.threads, gpu }
    }
}

/// One thread-owned engine for each name.
struct Owners<T>(Mutex<HashMap<String, Arc<Owner<T>>>>);

impl<T: Send + 'static> Owners<T> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn any(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn get(&self, name: &str, start: impl FnOnce() -> Owner<T>) -> Arc<Owner<T>> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owners.entry(name.to_owned()).or_insert_with(|| Arc::new(start())).clone()
    }
}
