//! Voices: those that everybody has, and those that users make of recordings.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::{ApiResponse, OpenApi};
use sha2::{Digest, Sha256};
use storage::error::Error as StorageError;
use storage::files::File;
use storage::ids::{FileId, UserId, VoiceId};
use storage::objects::ObjectKey;
use storage::voices::{NewVoice, VoiceFilter};
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::doors::{Asker, Preview, PreviewVoice};
use crate::dto::voices::{Gender, NewVoiceProfile, VoiceObject, VoiceProfiles, builtin_gender};
use crate::dto::{Done, check_plain};
use crate::edge::RequestId;
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// Seconds of speech that a sample must hold.
const LEAST_SPEECH: f64 = 3.0;
/// Longest text of a preview, in characters.
pub(crate) const LONGEST_PREVIEW: usize = 500;

pub(crate) struct VoicesApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum CreatedVoice {
    /// The voice can be used
    #[oai(status = 201)]
    Created(Json<VoiceObject>),
}

#[OpenApi(prefix_path = "/api/v1/voices", tag = "Tag::Voices")]
impl VoicesApi {
    /// List voices
    ///
    /// The caller's own, newest first, then the built-in ones.
    #[oai(path = "/profiles", method = "get", operation_id = "list_voice_profiles")]
    async fn list(
        &self,
        caller: Caller,
        /// ISO 639-1 code.
        language: Query<Option<String>>,
        gender: Query<Option<Gender>>,
    ) -> Result<Json<VoiceProfiles>> {
        check_plain("language", language.0.as_deref())?;
        let (language, gender) = (language.0, gender.0.map(storage::voices::Gender::from));
        let builtin = self.app.services.speech.builtin_voices().await?.into_iter().filter(|voice| {
            language.as_ref().is_none_or(|language| *language == voice.language)
                && gender.is_none_or(|gender| Some(gender) == builtin_gender(voice))
        });
        let builtin: Vec<_> = builtin.map(VoiceObject::from).collect();
        let filter = VoiceFilter { language, gender };
        let own = self.app.services.storage.voices.list(caller.user, &filter).await?;
        Ok(Json(VoiceProfiles { profiles: own.into_iter().map(VoiceObject::from).chain(builtin).collect() }))
    }

    /// Make a voice of a recording
    ///
    /// The recording must hold at least three seconds of speech. The voice outlives its file.
    #[oai(path = "/create-profile", method = "post", operation_id = "create_voice_profile")]
    async fn create(
        &self,
        caller: Caller,
        body: Body<NewVoiceProfile>,
        request: &Request,
    ) -> Result<CreatedVoice> {
        let NewVoiceProfile { name, audio_sample_id, language, description, gender, consent } = body.value;
        if name.trim().is_empty() {
            return Err(ApiError::invalid("name", "must not be blank"));
        }
        check_language(&language)?;
        let storage = &self.app.services.storage;
        let sample = storage.files.find(caller.user, FileId::from(audio_sample_id)).await.map_err(
            |error| match error {
                StorageError::NotFound => ApiError::missing("audio_sample_id"),
                other => ApiError::from(other),
            },
        )?;
        let speech_seconds = self.speech_seconds(&asker(&caller, request), &sample).await?;
        let voice = NewVoice {
            owner: caller.user,
            name,
            description,
            language,
            gender: gender.map(Into::into),
            consent,
            sample: sample.id,
            speech_seconds,
        };
        let voice = storage.voices.create(voice).await?;
        Ok(CreatedVoice::Created(Json(VoiceObject::from(voice))))
    }

    /// Get a voice
    #[oai(path = "/profiles/:profile_id", method = "get", operation_id = "get_voice_profile")]
    async fn get(&self, caller: Caller, profile_id: Path<Uuid>) -> Result<Json<VoiceObject>> {
        if let Some(voice) = self.app.builtin_voice(profile_id.0).await? {
            return Ok(Json(VoiceObject::from(voice)));
        }
        let voice = self.app.services.storage.voices.find(caller.user, VoiceId::from(profile_id.0)).await?;
        Ok(Json(VoiceObject::from(voice)))
    }

    /// Delete a voice
    #[oai(path = "/profiles/:profile_id", method = "delete", operation_id = "delete_voice_profile")]
    async fn delete(&self, caller: Caller, profile_id: Path<Uuid>) -> Result<Done> {
        if self.app.builtin_voice(profile_id.0).await?.is_some() {
            return Err(ApiError::forbidden("A built-in voice cannot be deleted"));
        }
        self.app.services.storage.voices.delete(caller.user, VoiceId::from(profile_id.0)).await?;
        Ok(Done::NoContent)
    }

    /// Hear a voice
    #[oai(path = "/preview/:profile_id", method = "get", operation_id = "preview_voice")]
    async fn preview(
        &self,
        caller: Caller,
        profile_id: Path<Uuid>,
        /// What to say.
        #[oai(validator(min_length = 1, max_length = 500))]
        text: Query<String>,
        /// ISO 639-1 code; the voice's own where absent.
        language: Query<Option<String>>,
        request: &Request,
    ) -> Result<Wav> {
        check_text(&text.0)?;
        let voice = self.source(caller.user, profile_id.0).await?;
        let language = language.0.unwrap_or(voice.language);
        check_language(&language)?;
        let key = preview_key(&[&voice.revision, &text.0, &language])?;
        if let Some(wav) = self.cached(&key).await? {
            return Ok(Wav(wav));
        }
        if !self.app.services.speech.speaks(&language).await? {
            return Err(ApiError::invalid("language", "is a language that no voice speaks"));
        }
        let preview = Preview { voice: voice.sound, text: text.0, language };
        let wav = self.app.services.speech.preview(&asker(&caller, request), preview).await?;
        self.cache(&key, &wav).await?;
        Ok(Wav(wav))
    }
}

/// A voice, and what tells it from every other.
struct Source {
    sound: PreviewVoice,
    language: String,
    revision: String,
}

impl VoicesApi {
    async fn speech_seconds(&self, asker: &Asker, sample: &File) -> Result<f64> {
        if sample.media.as_ref().is_none_or(|media| media.audio.is_none()) {
            return Err(ApiError::invalid("audio_sample_id", "must be a file with sound"));
        }
        let found = self.app.services.speech.speech_seconds(asker, &sample.object_key).await;
        let seconds =
            found.map_err(|failure| match failure.retryable || failure.code == "model_unavailable" {
                true => ApiError::from(failure),
                false => ApiError::invalid("audio_sample_id", failure.message),
            })?;
        if seconds < LEAST_SPEECH {
            let issue = format!("holds {seconds:.1} s of speech; at least {LEAST_SPEECH:.0} s are needed");
            return Err(ApiError::invalid("audio_sample_id", issue));
        }
        Ok(seconds)
    }

    async fn source(&self, owner: UserId, id: Uuid) -> Result<Source> {
        if let Some(voice) = self.app.builtin_voice(id).await? {
            let revision = revision(id, voice.created_at);
            return Ok(Source { sound: PreviewVoice::Builtin(id), language: voice.language, revision });
        }
        let voice = self.app.services.storage.voices.find(owner, VoiceId::from(id)).await?;
        let revision = revision(id, voice.created_at);
        Ok(Source { sound: PreviewVoice::Sample(voice.object_key), language: voice.language, revision })
    }

    async fn cached(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>> {
        let mut reader = match self.app.services.storage.objects.open(key, None).await {
            Ok(reader) => reader,
            Err(StorageError::NotFound) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let mut wav = vec![];
        reader.read_to_end(&mut wav).await.map_err(StorageError::from)?;
        Ok(Some(wav))
    }

    async fn cache(&self, key: &ObjectKey, wav: &[u8]) -> Result<()> {
        let objects = &self.app.services.storage.objects;
        let mut staging = objects.stage().await?;
        tokio::io::copy(&mut &*wav, &mut staging).await.map_err(StorageError::from)?;
        Ok(objects.publish(staging.finish().await?, key).await?)
    }
}

/// A whole WAV file.
struct Wav(Vec<u8>);

impl IntoResponse for Wav {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type("audio/wav")
            .header("Cache-Control", "private, max-age=3600")
            .body(self.0)
    }
}

impl ApiResponse for Wav {
    fn meta() -> MetaResponses {
        let media = MetaMediaType { content_type: "audio/wav", schema: Binary::<Vec<u8>>::schema_ref() };
        let response = MetaResponse {
            description: "The text, spoken",
            status: Some(200),
            status_range: None,
            content: vec![media],
            headers: vec![],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(_: &mut Registry) {}
}

fn asker(caller: &Caller, request: &Request) -> Asker {
    Asker { user: caller.user, request_id: RequestId::of(request), trace_parent: request.data().copied() }
}

fn check_text(text: &str) -> Result<()> {
    check_plain("text", Some(text))?;
    if text.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    Err(ApiError::invalid("text", "must hold something that can be spoken: a letter or a digit"))
}

fn check_language(code: &str) -> Result<()> {
    let shaped = (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if shaped { Ok(()) } else { Err(ApiError::invalid("language", "must be an ISO 639-1 code such as en")) }
}

fn revision(id: Uuid, created_at: DateTime<Utc>) -> String {
    format!("{id} {}", created_at.timestamp_micros())
}

/// Each part is hashed with its length, so that no two lists of parts give one key.
fn preview_key(parts: &[&str]) -> Result<ObjectKey> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(ObjectKey::parse(&format!("previews/{}.wav", hex::encode(digest.finalize())))?)
}
