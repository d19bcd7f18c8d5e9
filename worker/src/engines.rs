//! The engines of this machine, each loaded on first use, kept while it is used, and owned by one thread.

use models::audio::{Audio, SampleReader, WavReader, resample};
use models::catalogue::{Catalogue, Entry, Task};
use models::engine::Owner;
use models::loudness::integrated_lufs;
use models::phonemes::{EspeakSynthesizer, language_voice};
use models::piper::Piper;
use models::speaker::{Ge2e, similarity};
use models::timbre::Timbre;
use models::track::{Script, TrackReport, TrackRequest, render};
use models::vad::Vad;
use models::whisper::{Compute, Whisper};
use models::{
    Cloner, EngineError, Observer, SpeakerEncoder, Synthesizer, TranscribeOptions, Transcriber, Transcription,
};
use pipeline::parameters::{JobKind, Parameters, Transcribe, TranscribeTask};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Hertz that the transcriber, the speaker encoder and the voice activity detector listen to.
pub const LISTENING_RATE: u32 = 16_000;
/// Hertz at which a cloner hears its reference: wide enough for the envelope of the voices that it reshapes.
pub const REFERENCE_RATE: u32 = 24_000;

/// Speech that a cloner learns from, at most; more adds nothing but time.
const REFERENCE_SECONDS: f64 = 30.0;
/// Speech that a reference must hold.
const SHORTEST_REFERENCE: f64 = 1.0;
/// A reference is searched for speech by windows of this length, so that memory does not grow with it.
const WINDOW_SECONDS: f64 = 60.0;

const ENCODER: &str = "ge2e";
const DETECTOR: &str = "silero-vad";

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

/// A voice that comes with an installed model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinVoice {
    pub id: Uuid,
    pub model: String,
    pub name: String,
    pub language: String,
    pub gender: String,
}

/// Whose voice speaks.
#[derive(Clone, Debug)]
pub enum Voice {
    /// The model of a built-in voice, as it is.
    Builtin(String),
    /// The speaker of this recording: WAV, mono, at [`REFERENCE_RATE`].
    Reference(PathBuf),
}

pub struct TranscribeRequest {
    pub model: String,
    /// WAV, mono, at [`LISTENING_RATE`].
    pub sound: PathBuf,
    pub options: TranscribeOptions,
}

pub struct SpeechRequest {
    pub voice: Voice,
    /// ISO 639-1 code.
    pub language: String,
    pub script: Script,
    pub speed: f32,
    /// Where the 24-bit WAV is written.
    pub output: PathBuf,
}

/// What was spoken, by what.
pub struct Spoken {
    /// `timbre` or `builtin`; with `-espeak` where the language has no neural voice.
    pub engine: String,
    /// The model or program whose speech it is before it is reshaped.
    pub voice: String,
    pub report: TrackReport,
}

/// Where engines compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    #[default]
    Cpu,
    /// The ordinal of a graphics card, as the CUDA driver counts.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ordinal = text.strip_prefix("cuda:").map(str::parse);
        match (text, ordinal) {
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(Ok(ordinal))) => Ok(Self::Cuda(ordinal)),
            _ => Err(format!("{text:?} is no device; use cpu, or cuda:0 for the first graphics card")),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(ordinal) => write!(formatter, "cuda:{ordinal}"),
        }
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

    /// The names of the installed models.
    pub fn installed(&self) -> BTreeSet<String> {
        let entries = self.catalogue.entries().iter();
        entries
            .filter(|entry| self.catalogue.installed(&entry.name).is_some())
            .map(|entry| entry.name.clone())
            .collect()
    }

    /// Refuses a kind of job that this machine has no model for at all.
    pub fn can_run(&self, kind: JobKind) -> Result<(), EngineError> {
        match kind {
            JobKind::ExtractAudio | JobKind::GenerateVideo | JobKind::DeliverWebhook => Ok(()),
            JobKind::Transcribe => {
                self.catalogue.require(DETECTOR)?;
                self.catalogue.best_transcriber(None, None, false).map(|_| ())
            }
            JobKind::CloneVoice => {
                self.catalogue.require(DETECTOR)?;
                self.catalogue.require(ENCODER).map(|_| ())
            }
        }
    }

    /// Bytes of weights that a job of this kind may have to load first; none where one of its engines has been at work.
    pub fn memory_to_load(&self, kind: JobKind) -> u64 {
        let largest = |task: Task| {
            let entries = self.catalogue.entries().iter().filter(|entry| entry.task == task);
            let installed = entries.filter(|entry| self.catalogue.installed(&entry.name).is_some());
            installed.map(Entry::size).max().unwrap_or(0)
        };
        match kind {
            JobKind::Transcribe if !self.transcribers.any() => largest(Task::Transcribe),
            JobKind::CloneVoice if !self.speakers.any() => largest(Task::Synthesize),
            JobKind::ExtractAudio
            | JobKind::GenerateVideo
            | JobKind::Transcribe
            | JobKind::CloneVoice
            | JobKind::DeliverWebhook => 0,
        }
    }

    /// The voices of the installed models, in the order of the catalogue.
    pub fn builtin_voices(&self) -> Vec<BuiltinVoice> {
        let installed = |entry: &&Entry| self.catalogue.installed(&entry.name).is_some();
        let entries = self.catalogue.entries().iter().filter(installed);
        let voice = |entry: &Entry| {
            let facts = entry.voice.clone()?;
            Some(BuiltinVoice {
                id: voice_id(&entry.name),
                model: entry.name.clone(),
                name: facts.name,
                language: entry.languages.first()?.clone(),
                gender: facts.gender,
            })
        };
        entries.filter_map(voice).collect()
    }

    /// The model of the built-in voice with this id.
    pub fn builtin_voice(&self, id: Uuid) -> Option<String> {
        self.builtin_voices().into_iter().find(|voice| voice.id == id).map(|voice| voice.model)
    }

    /// Refuses a job that this machine has not the models for; where `strict`, also one whose wish is absent.
    pub fn check(&self, parameters: &Parameters, strict: bool) -> Result<(), EngineError> {
        match parameters {
            Parameters::ExtractAudio(_) | Parameters::GenerateVideo(_) | Parameters::DeliverWebhook(_) => {
                Ok(())
            }
            Parameters::Transcribe(job) => {
                self.catalogue.require(DETECTOR)?;
                let chosen = self.choose_transcriber(job)?;
                match &job.model {
                    Some(wished) if strict && chosen != *wished => {
                        Err(EngineError::ModelMissing { name: wished.clone() })
                    }
                    Some(_) | None => Ok(()),
                }
            }
            Parameters::CloneVoice(job) => {
                self.catalogue.require(DETECTOR)?;
                self.catalogue.require(ENCODER)?;
                match language_voice(&job.target_language)? {
                    Some(_) => Ok(()),
                    None => Err(EngineError::Input(format!("No voice speaks {}.", job.target_language))),
                }
            }
        }
    }

    /// The model that transcribes this job.
    pub fn choose_transcriber(&self, parameters: &Transcribe) -> Result<String, EngineError> {
        let translate = parameters.task == TranscribeTask::Translate;
        let language = parameters.source_language.as_deref();
        self.catalogue.best_transcriber(parameters.model.as_deref(), language, translate)
    }

    /// The model that listens to speech in `language`, where one is installed.
    pub fn listener(&self, language: &str) -> Option<String> {
        self.catalogue.best_transcriber(None, Some(language), false).ok()
    }

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

    /// Speaks a script in a voice, into a file. `observers` watch the learning and the speaking, and stop them; `stop`
    /// ends the wait for the engine.
    pub async fn speak(
        &self,
        request: SpeechRequest,
        observers: (impl Observer + 'static, impl Observer + 'static),
        stop: &CancellationToken,
    ) -> Result<Spoken, EngineError> {
        let base = self.base_voice(&request)?;
        let reference = match &request.voice {
            Voice::Builtin(_) => None,
            Voice::Reference(path) => Some(self.reference(path, stop).await?),
        };
        let (mut learning, mut speaking) = observers;
        let engine = base.engine_name(reference.is_some());
        let voice = base.name().to_owned();
        let owner = self.speaker(&base, reference.is_some());
        let report = owner
            .run_unless(stop.cancelled(), move |cloner| {
                let mut reference_lufs = None;
                if let Some(reference) = reference {
                    reference_lufs = integrated_lufs(&reference.samples, reference.sample_rate)?;
                    cloner.learn(&reference, &mut learning)?;
                }
                let SpeechRequest { script, speed, output, .. } = request;
                let request = TrackRequest { script, speed, reference_lufs, path: &output };
                render(cloner.as_mut(), &request, &mut speaking)
            })
            .await?;
        Ok(Spoken { engine, voice, report })
    }

    /// Cosine of the vectors of two speakers: of a reference at [`REFERENCE_RATE`] and a sound at [`LISTENING_RATE`].
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
    async fn reference(&self, path: &Path, stop: &CancellationToken) -> Result<Audio, EngineError> {
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

    fn compute(&self) -> Compute {
        let gpu = match self.config.device {
            Device::Cpu => None,
            Device::Cuda(ordinal) => Some(ordinal),
        };
        Compute { threads: self.config.threads, gpu }
    }

    fn base_voice(&self, request: &SpeechRequest) -> Result<BaseVoice, EngineError> {
        let voices = self.builtin_voices();
        let neural = match &request.voice {
            Voice::Builtin(model) => {
                voices.iter().find(|voice| voice.model == *model && voice.language == request.language)
            }
            Voice::Reference(_) => voices.iter().find(|voice| voice.language == request.language),
        };
        match neural {
            Some(voice) => Ok(BaseVoice::Neural(voice.model.clone())),
            None => Ok(BaseVoice::Espeak(request.language.clone())),
        }
    }

    fn speaker(&self, base: &BaseVoice, reshaped: bool) -> Arc<Owner<Box<dyn Cloner>>> {
        let name = format!("{}/{reshaped}", base.name());
        self.speakers.get(&name, || {
            let (catalogue, base) = (self.catalogue.clone(), base.clone());
            Owner::new("speaker", self.config.idle, move || load_speaker(&catalogue, &base, reshaped))
        })
    }
}

/// What speaks before the voice is reshaped.
#[derive(Clone, Debug)]
enum BaseVoice {
    Neural(String),
    /// The espeak-ng program, for languages without a neural voice.
    Espeak(String),
}

impl BaseVoice {
    fn name(&self) -> &str {
        match self {
            Self::Neural(model) => model,
            Self::Espeak(language) => language,
        }
    }

    fn engine_name(&self, reshaped: bool) -> String {
        let engine = if reshaped { "timbre" } else { "builtin" };
        match self {
            Self::Neural(_) => engine.to_owned(),
            Self::Espeak(_) => format!("{engine}-espeak"),
        }
    }
}

/// A synthesizer's own voice behind the cloner's door: there is nothing to learn.
struct OwnVoice(Box<dyn Synthesizer>);

impl Cloner for OwnVoice {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn learn(&mut self, _reference: &Audio, _observer: &mut dyn Observer) -> Result<(), EngineError> {
        Ok(())
    }

    fn sample_rate(&self) -> u32 {
        self.0.sample_rate()
    }

    fn speak(&mut self, text: &str, speed: f32) -> Result<Audio, EngineError> {
        self.0.synthesize(text, speed)
    }
}

/// The same id on every machine and after every start.
fn voice_id(model: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("voxmill:voice:{model}").as_bytes())
}

fn load_transcriber(catalogue: &Catalogue, model: &str, compute: Compute) -> Result<Whisper, EngineError> {
    let weights = catalogue.require(model)?.weights();
    Whisper::load(&weights, load_detector(catalogue)?, compute)
}

fn load_encoder(catalogue: &Catalogue) -> Result<Ge2e, EngineError> {
    Ge2e::load(&catalogue.require(ENCODER)?.weights())
}

fn load_detector(catalogue: &Catalogue) -> Result<Vad, EngineError> {
    Vad::load(&catalogue.require(DETECTOR)?.weights())
}

fn load_speaker(
    catalogue: &Catalogue,
    base: &BaseVoice,
    reshaped: bool,
) -> Result<Box<dyn Cloner>, EngineError> {
    let synthesizer: Box<dyn Synthesizer> = match base {
        BaseVoice::Neural(model) => Box::new(Piper::load(&catalogue.require(model)?.weights(), 1)?),
        BaseVoice::Espeak(language) => Box::new(EspeakSynthesizer::new(language)?),
    };
    if reshaped {
        Ok(Box::new(Timbre::new(synthesizer, Box::new(load_encoder(catalogue)?))))
    } else {
        Ok(Box::new(OwnVoice(synthesizer)))
    }
}

fn open(path: &Path) -> Result<WavReader, EngineError> {
    WavReader::open(path).map_err(internal)
}

fn read(reader: &mut WavReader, start: u64, count: u64) -> Result<Audio, EngineError> {
    let mut samples = vec![0.0; count.min(reader.len() - start) as usize];
    let read = reader.read(start, &mut samples).map_err(internal)?;
    samples.truncate(read);
    Ok(Audio { sample_rate: reader.sample_rate(), samples })
}

fn first_seconds(reader: &mut WavReader, seconds: f64) -> Result<Audio, EngineError> {
    let count = (seconds * f64::from(reader.sample_rate())) as u64;
    read(reader, 0, count)
}

/// The samples between two times, in seconds.
fn cut(audio: &Audio, start: f64, end: f64) -> &[f32] {
    let index =
        |seconds: f64| ((seconds.max(0.0) * f64::from(audio.sample_rate)) as usize).min(audio.samples.len());
    &audio.samples[index(start)..index(end).max(index(start))]
}

fn internal(error: std::io::Error) -> EngineError {
    EngineError::Internal(error.into())
}
