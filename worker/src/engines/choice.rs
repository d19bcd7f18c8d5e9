//! What can be done with the models that somebody has: this machine, or a fleet.

use models::EngineError;
use models::catalogue::{Entry, Stock};
use models::phonemes::language_voice;
use pipeline::parameters::{JobKind, Parameters, Transcribe, TranscribeTask};
use uuid::Uuid;

pub(super) const ENCODER: &str = "ge2e";
pub(super) const DETECTOR: &str = "silero-vad";

/// A voice that comes with a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinVoice {
    pub id: Uuid,
    pub model: String,
    pub name: String,
    pub language: String,
    pub gender: String,
}

/// What becomes of a job whose model is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The best model that is there runs in its place.
    Replaced,
    Refused,
}

/// Refuses a kind of job for which there is no model at all.
pub fn can_run(stock: &Stock, kind: JobKind) -> Result<(), EngineError> {
    match kind {
        JobKind::ExtractAudio | JobKind::GenerateVideo | JobKind::DeliverWebhook => Ok(()),
        JobKind::Transcribe => {
            stock.require(DETECTOR)?;
            stock.best_transcriber(None, None, false).map(|_| ())
        }
        JobKind::CloneVoice | JobKind::AnswerSpeech => {
            stock.require(DETECTOR)?;
            stock.require(ENCODER)
        }
    }
}

/// Refuses a job for which the models are not there, and one that no voice can speak. Blocks: it asks espeak-ng.
pub fn check(stock: &Stock, parameters: &Parameters, absent: Absent) -> Result<(), EngineError> {
    can_run(stock, parameters.kind())?;
    match parameters {
        Parameters::ExtractAudio(_)
        | Parameters::GenerateVideo(_)
        | Parameters::DeliverWebhook(_)
        | Parameters::AnswerSpeech(_) => Ok(()),
        Parameters::Transcribe(job) => {
            let chosen = transcriber(stock, job)?;
            match &job.model {
                Some(wished) if absent == Absent::Refused && chosen != *wished => {
                    Err(EngineError::ModelMissing { name: wished.clone() })
                }
                Some(_) | None => Ok(()),
            }
        }
        Parameters::CloneVoice(job) => match language_voice(&job.target_language)? {
            Some(_) => Ok(()),
            None => Err(EngineError::Input(format!("No voice speaks {}.", job.target_language))),
        },
    }
}

/// The model that transcribes this job.
pub fn transcriber(stock: &Stock, parameters: &Transcribe) -> Result<String, EngineError> {
    let translate = parameters.task == TranscribeTask::Translate;
    let language = parameters.source_language.as_deref();
    stock.best_transcriber(parameters.model.as_deref(), language, translate)
}

/// The model that listens to speech in `language`, where there is one.
pub fn listener(stock: &Stock, language: &str) -> Option<String> {
    stock.best_transcriber(None, Some(language), false).ok()
}

/// In the order of the catalogue.
pub fn builtin_voices(stock: &Stock) -> Vec<BuiltinVoice> {
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
    stock.entries().filter_map(voice).collect()
}

/// The model of the built-in voice with this id.
pub fn builtin_voice(stock: &Stock, id: Uuid) -> Option<String> {
    builtin_voices(stock).into_iter().find(|voice| voice.id == id).map(|voice| voice.model)
}

/// The same id on every machine and after every start.
fn voice_id(model: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("voxmill:voice:{model}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Absent, can_run, check};
    use models::EngineError;
    use models::catalogue::Stock;
    use pipeline::parameters::{JobKind, Parameters, Transcribe, TranscribeTask, TranscriptFormat};
    use uuid::Uuid;

    fn stock(names: &[&str]) -> Stock {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn transcribe(model: &str) -> Parameters {
        Parameters::Transcribe(Transcribe {
            audio_file_id: Uuid::nil(),
            source_language: None,
            task: TranscribeTask::Transcribe,
            model: Some(model.to_owned()),
            word_timestamps: false,
            prompt: None,
            output_formats: vec![TranscriptFormat::Json],
        })
    }

    #[test]
    fn a_wish_is_granted_or_replaced_or_refused() {
        let stock = stock(&["silero-vad", "whisper-base"]);
        let missing = |model, absent| match check(&stock, &transcribe(model), absent) {
            Ok(()) => None,
            Err(EngineError::ModelMissing { name }) => Some(name),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(missing("whisper-base", Absent::Refused), None);
        assert_eq!(missing("whisper-large", Absent::Replaced), None);
        assert_eq!(missing("whisper-large", Absent::Refused).as_deref(), Some("whisper-large"));
        assert!(check(&Stock::whole(), &transcribe("whisper-large"), Absent::Refused).is_ok());
        assert!(check(&Stock::default(), &transcribe("whisper-large"), Absent::Replaced).is_err());
    }

    #[test]
    fn a_kind_without_its_models_is_not_taken() {
        let can = |names| {
            JobKind::ALL.into_iter().filter(|kind| can_run(&stock(names), *kind).is_ok()).collect::<Vec<_>>()
        };
        let (extract, generate) = (JobKind::ExtractAudio, JobKind::GenerateVideo);
        assert_eq!(can(&[]), [extract, generate, JobKind::DeliverWebhook]);
        let voices = [extract, JobKind::CloneVoice, generate, JobKind::DeliverWebhook, JobKind::AnswerSpeech];
        assert_eq!(can(&["ge2e", "silero-vad"]), voices);
    }
}
