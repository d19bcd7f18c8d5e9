//! Voices.

use poem_openapi::{Enum, Object};
use serde_json::Value;
use storage::voices::VoiceProfile;
use uuid::Uuid;

use super::time::Timestamp;
use crate::doors::BuiltinVoice;

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "storage::voices::Gender")]
pub(crate) enum Gender {
    Male,
    Female,
    Neutral,
}

#[derive(Object)]
pub(crate) struct NewVoiceProfile {
    #[oai(validator(min_length = 1, max_length = 200))]
    pub(crate) name: String,
    /// A recording of the speaker with at least three seconds of speech.
    pub(crate) audio_sample_id: Uuid,
    /// ISO 639-1 code.
    #[oai(validator(min_length = 2, max_length = 3))]
    pub(crate) language: String,
    #[oai(validator(max_length = 2000))]
    pub(crate) description: Option<String>,
    pub(crate) gender: Option<Gender>,
    /// How the speaker agreed; kept as sent.
    pub(crate) consent: Option<Value>,
}

#[derive(Object)]
#[oai(rename = "VoiceProfile")]
pub(crate) struct VoiceObject {
    id: Uuid,
    name: String,
    language: String,
    gender: Option<Gender>,
    description: Option<String>,
    /// Everybody has it, and nobody can delete it.
    builtin: bool,
    /// Seconds of speech in the sample; null for a built-in voice.
    speech_seconds: Option<f64>,
    consent: Option<Value>,
    created_at: Timestamp,
}

#[derive(Object)]
pub(crate) struct VoiceProfiles {
    pub(crate) profiles: Vec<VoiceObject>,
}

impl From<VoiceProfile> for VoiceObject {
    fn from(voice: VoiceProfile) -> Self {
        Self {
            id: voice.id.as_uuid(),
            name: voice.name,
            language: voice.language,
            gender: voice.gender.map(Gender::from),
            description: voice.description,
            builtin: false,
            speech_seconds: Some(voice.speech_seconds),
            consent: voice.consent,
            created_at: voice.created_at.into(),
        }
    }
}

impl From<BuiltinVoice> for VoiceObject {
    fn from(voice: BuiltinVoice) -> Self {
        let gender = builtin_gender(&voice).map(Gender::from);
        Self {
            id: voice.id,
            name: voice.name,
            language: voice.language,
            gender,
            description: voice.description,
            builtin: true,
            speech_seconds: None,
            consent: None,
            created_at: voice.created_at.into(),
        }
    }
}

pub(crate) fn builtin_gender(voice: &BuiltinVoice) -> Option<storage::voices::Gender> {
    storage::voices::Gender::parse(voice.gender.as_deref()?)
}
