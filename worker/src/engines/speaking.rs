//! What is spoken, and in whose voice.

use super::Engines;
use super::choice::builtin_voices;
use super::listening::load_encoder;
use models::audio::Audio;
use models::catalogue::Catalogue;
use models::engine::Owner;
use models::loudness::integrated_lufs;
use models::phonemes::EspeakSynthesizer;
use models::piper::Piper;
use models::timbre::Timbre;
use models::track::{Script, TrackReport, TrackRequest, render};
use models::{Cloner, EngineError, Observer, Synthesizer};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Whose voice speaks.
#[derive(Clone, Debug)]
pub enum Voice {
    /// The model of a built-in voice, as it is.
    Builtin(String),
    /// The speaker of this recording: WAV, mono, at [`super::REFERENCE_RATE`].
    Reference(PathBuf),
}

/// Who waits for the speech. A job may keep its speaker for hours, so requests have one of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waits {
    Job,
    Request,
}

pub struct SpeechRequest {
    pub waits: Waits,
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

impl Engines {
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
        let reshaped = reference.is_some();
        let owner = self.speaker(Speaker { waits: request.waits, base, reshaped });
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

    fn base_voice(&self, request: &SpeechRequest) -> Result<BaseVoice, EngineError> {
        let voices = builtin_voices(&self.stock());
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

    fn speaker(&self, speaker: Speaker) -> Arc<Owner<Box<dyn Cloner>>> {
        let Speaker { waits, base, reshaped } = speaker;
        self.speakers.get(&format!("{waits:?}/{}/{reshaped}", base.name()), || {
            let catalogue = self.catalogue.clone();
            Owner::new("speaker", self.config.idle, move || load_speaker(&catalogue, &base, reshaped))
        })
    }
}

/// One thread.
struct Speaker {
    waits: Waits,
    base: BaseVoice,
    reshaped: bool,
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
