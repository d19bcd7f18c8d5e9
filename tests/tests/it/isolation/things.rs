//! Everything that has an id, made when it is asked for.

use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;
use tests::document::{JSON_LINES, Operation, Schema};
use tests::user::{User, answer};

/// What an id is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Account,
    Agent,
    ApiKey,
    Batch,
    Conversation,
    Delivery,
    Call,
    Campaign,
    Job,
    Meeting,
    Participant,
    Project,
    Recording,
    Room,
    RoomCode,
    ScheduledMeeting,
    Sound,
    Text,
    Upload,
    Video,
    Voice,
    VoiceSession,
}

/// Parameters that name nothing of anybody's.
const NO_IDS: [&str; 24] = [
    "Idempotency-Key",
    "Last-Event-ID",
    "X-Internal-Key",
    "before",
    "cursor",
    "days",
    "email",
    "end_date",
    "external_id",
    "gender",
    "kind",
    "language",
    "limit",
    "number",
    "offset",
    "status",
    "text",
    "identity",
    "name",
    "room",
    "phone_number",
    "search",
    "skip",
    "start_date",
];

/// The bytes of the only part of an upload.
pub(crate) const PART: &str = "0123456789";

impl Kind {
    /// What the parameter of this place and name is the id of; none if it is no id.
    ///
    /// # Panics
    /// Where nobody has said what it is.
    pub(crate) fn of(operation: &Operation, (place, name): (&str, &str)) -> Option<Self> {
        if NO_IDS.contains(&name) {
            return None;
        }
        Some(match (place, name) {
            (_, "agent_id") => Self::Agent,
            ("path", "batch_id") | ("query", "batch") => Self::Batch,
            (_, "call_id") => Self::Call,
            (_, "campaign_id") => Self::Campaign,
            ("path", "file_id") | ("body", "subtitles_file_id") => Self::Text,
            ("path", "job_id") => Self::Job,
            ("query", "job_id") => Self::Job,
            ("path", "delivery_id") => Self::Delivery,
            ("path", "key_id") => Self::ApiKey,
            ("path", "profile_id") | ("body", "voice_profile_id") => Self::Voice,
            ("path", "recording_id") => Self::Recording,
            ("path", "room_id") => Self::Room,
            ("path", "session_id") if operation.path.contains("/history/") => Self::Conversation,
            ("path", "session_id") => Self::Meeting,
            ("path", "unique_code") => Self::RoomCode,
            ("path", "upload_id") => Self::Upload,
            ("path" | "query", "user_id") if operation.path.contains("/admin/") => Self::Account,
            ("path", "user_id") => Self::Participant,
            ("path" | "query" | "body", "project_id") | ("query", "project") => Self::Project,
            ("body", "session_id") => Self::VoiceSession,
            ("body", "sessionId") => Self::ScheduledMeeting,
            ("body", "audio_file_id" | "audio_sample_id" | "cloned_audio_id" | "recording_file_id") => {
                Self::Sound
            }
            ("body", "video_file_id" | "original_video_id") => Self::Video,
            _ => panic!("{}: nobody has said what {name} in the {place} is the id of", operation.id),
        })
    }

    /// An id of this kind that nothing has.
    pub(crate) fn missing(self) -> Value {
        match self {
            Self::Project | Self::VoiceSession => json!(9_007_199_254_740_991_i64),
            Self::RoomCode => json!("zzz-zzzz-zzz"),
            Self::Account
            | Self::Agent
            | Self::ApiKey
            | Self::Batch
            | Self::Conversation
            | Self::Delivery
            | Self::Call
            | Self::Campaign
            | Self::Job
            | Self::Meeting
            | Self::Participant
            | Self::Recording
            | Self::Room
            | Self::ScheduledMeeting
            | Self::Sound
            | Self::Text
            | Self::Upload
            | Self::Video
            | Self::Voice => json!(uuid::Uuid::new_v4()),
        }
    }
}

/// A field of a JSON body that looks like an id.
pub(crate) struct IdField {
    pub(crate) name: String,
    /// A JSON pointer to what it is in.
    pub(crate) within: String,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
}

/// The fields of a JSON body that look like ids, those of the first item of its lists included.
pub(crate) fn ids_of_body(operation: &Operation) -> Vec<IdField> {
    let Some(schema) = operation.fields() else { return vec![] };
    let mut ids = ids_of(operation, schema, "");
    for (name, property) in schema.properties() {
        if let Some(item) = property.item() {
            ids.extend(ids_of(operation, &item, &format!("/{name}/0")));
        }
    }
    ids
}

fn ids_of(operation: &Operation, schema: &Schema, within: &str) -> Vec<IdField> {
    let ids = schema.properties().into_iter().filter(|(name, property)| {
        name.ends_with("_id") || name.ends_with("Id") || property.keyword("format") == "uuid"
    });
    ids.filter_map(|(name, _)| {
        let kind = Kind::of(operation, ("body", &name))?;
        let is_required = schema.requires(&name);
        Some(IdField { name, within: within.to_owned(), kind, is_required })
    })
    .collect()
}

/// What an upload by form sends.
pub(crate) fn form() -> Form {
    Form::new().part("file", Part::text("Hello.").file_name("hello.txt"))
}

/// A user, and how to make what is theirs.
pub(crate) struct Things {
    pub(crate) user: User,
    passing: Option<User>,
    /// Of whoever takes part in sessions of this user.
    guest: User,
    mark: String,
    secrets: Vec<String>,
    /// Of the call that is being made: what stands in it together belongs together.
    made: Vec<(Kind, Value)>,
    /// Made once, for they cost much and no call changes them.
    kept: Vec<(Kind, Value)>,
}

impl Things {
    pub(crate) async fn of(user: User) -> Self {
        let guest = User::register(&user.url).await;
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let secrets = vec![user.email.clone(), mark.clone()];
        Self { user, passing: None, guest, mark, secrets, made: vec![], kept: vec![] }
    }

    /// What nobody else may read: the ids of what was made, and words that stand in it.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    /// A word that stands in what this user made.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Begins another call.
    pub(crate) fn forget(&mut self) {
        self.made.clear();
    }

    /// A user in the owner's place who may be undone.
    pub(crate) async fn log_in_anew(&mut self) {
        self.passing = Some(User::register(&self.user.url).await);
    }

    pub(crate) fn passing_user(&mut self) -> User {
        self.passing.take().unwrap()
    }

    /// The id of a thing of this kind.
    pub(crate) async fn make(&mut self, kind: Kind) -> Value {
        let known = self.made.iter().chain(&self.kept).find(|(made, _)| *made == kind);
        if let Some((_, id)) = known {
            return id.clone();
        }
        let id = Box::pin(self.make_new(kind)).await;
        let keeps = matches!(kind, Kind::Sound | Kind::Video);
        if keeps { &mut self.kept } else { &mut self.made }.push((kind, id.clone()));
        // Short numbers stand in many answers by chance.
        if id.is_string() {
            self.secrets.push(id.as_str().unwrap().to_owned());
        }
        id
    }

    async fn make_new(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Account => self.user.get("/auth/me").await.expect(StatusCode::OK)["id"].take(),
            Kind::Agent => {
                let agent = json!({
                    "name": format!("{} {}", self.mark, uuid::Uuid::new_v4()), "llm_provider": "openai",
                    "llm_model": "gpt-4", "stt_provider": "deepgram", "tts_provider": "cartesia",
                    "system_prompt": self.mark, "language": "en",
                });
                self.post("/agents", &agent).await["id"].take()
            }
            Kind::Call => self.import_call().await,
            Kind::Campaign => {
                let agent = self.make(Kind::Agent).await;
                let campaign =
                    json!({ "name": self.mark, "agent_id": agent, "phone_numbers": ["+15550100123"] });
                self.post("/campaigns", &campaign).await["id"].take()
            }
            Kind::ApiKey => {
                self.post("/api/v1/auth/api-keys", &json!({ "name": self.mark })).await["id"].take()
            }
            Kind::Batch => {
                let video = self.make(Kind::Video).await;
                let jobs = json!({ "jobs": [{ "kind": "extract-audio", "video_file_id": video }] });
                let accepted = self.user.post("/api/v1/process/batch", &jobs).await;
                accepted.expect(StatusCode::ACCEPTED)["batch_id"].take()
            }
            // Nobody can make one until the voice agent is there.
            Kind::Conversation => json!(uuid::Uuid::new_v4()),
            Kind::Job => {
                let video = self.make(Kind::Video).await;
                let job = self.user.start("extract-audio", &json!({ "video_file_id": video })).await;
                self.user.ended(&job).await;
                json!(job)
            }
            Kind::Delivery => {
                let video = self.make(Kind::Video).await;
                // Nobody listens there, and nobody is called.
                let body = json!({ "video_file_id": video, "callback_url": "http://127.0.0.1:9/" });
                let job = self.user.start("extract-audio", &body).await;
                self.user.ended(&job).await;
                let list = format!("/api/v1/webhooks/deliveries?job_id={job}");
                self.user.get(&list).await.expect(StatusCode::OK)["items"][0]["id"].take()
            }
            Kind::Meeting => self.make_meeting().await,
            Kind::Participant => self.make_participant().await,
            Kind::Project => self.post("/api/v1/projects", &json!({ "name": self.mark })).await["id"].take(),
            Kind::Recording => {
                let meeting = self.make(Kind::Meeting).await;
                let path = format!("/api/v1/sessions/{}/recording/start", meeting.as_str().unwrap());
                self.post(&path, &json!({})).await["data"]["id"].take()
            }
            Kind::Room => {
                self.post("/api/v1/rooms", &json!({ "name": self.mark })).await["data"]["id"].take()
            }
            Kind::RoomCode => {
                self.post("/api/v1/rooms", &json!({ "name": self.mark })).await["data"]["uniqueCode"].take()
            }
            Kind::ScheduledMeeting => {
                let room = self.make(Kind::Room).await;
                let path = format!("/api/v1/rooms/{}/sessions/schedule", room.as_str().unwrap());
                let time = json!({ "scheduledStartTime": "2099-01-01T00:00:00Z" });
                self.post(&path, &time).await["data"]["id"].take()
            }
            Kind::Sound => self.upload(recording("speech.wav")).await,
            Kind::Video => self.upload(recording("talk.mp4")).await,
            Kind::Text => {
                let name = format!("{}.srt", self.mark);
                let text = format!("1\n00:00:00,000 --> 00:00:01,000\n{}\n", self.mark);
                let file = self.user.upload_bytes(&name, text.into_bytes()).await.expect(StatusCode::CREATED);
                file["file_id"].clone()
            }
            Kind::Upload => self.make_upload().await,
            Kind::Voice => {
                let sound = self.make(Kind::Sound).await;
                let profile = json!({ "name": self.mark, "audio_sample_id": sound, "language": "en" });
                self.post("/api/v1/voices/create-profile", &profile).await["id"].take()
            }
            Kind::VoiceSession => {
                let project = self.make(Kind::Project).await;
                self.post("/api/v1/sessions/start", &json!({ "project_id": project })).await["id"].take()
            }
        }
    }

    /// A call with a recording of its own, which goes where the call goes.
    async fn import_call(&self) -> Value {
        let recording = self.upload(recording("speech.wav")).await;
        let line = json!({
            "phone_number": "+15550100123", "status": "completed", "duration_seconds": 6, "transcript": self.mark,
            "summary": self.mark, "recording_file_id": recording,
        });
        let request = self.user.request(Method::POST, "/call-logs/import");
        let sent = request.header(CONTENT_TYPE, JSON_LINES).body(line.to_string()).send().await.unwrap();
        assert_eq!(answer(sent).await.expect(StatusCode::OK)["imported"], 1);
        self.user.get("/call-logs").await.expect(StatusCode::OK)["items"][0]["id"].take()
    }

    /// A live session, whose host has joined it, said something and shares nothing.
    async fn make_meeting(&mut self) -> Value {
        let room = self.make(Kind::Room).await;
        let path = format!("/api/v1/rooms/{}/sessions/start", room.as_str().unwrap());
        let id = self.post(&path, &json!({})).await["data"]["id"].take();
        let path = format!("/api/v1/sessions/{}", id.as_str().unwrap());
        self.post(&format!("{path}/participants"), &json!({})).await;
        self.post(&format!("{path}/chat"), &json!({ "message": self.mark })).await;
        self.user.post(&format!("{path}/screenshare/start"), &json!({})).await.expect(StatusCode::OK);
        id
    }

    async fn make_participant(&mut self) -> Value {
        let meeting = self.make(Kind::Meeting).await;
        let path = format!("/api/v1/sessions/{}/participants", meeting.as_str().unwrap());
        let mut joined = self.guest.post(&path, &json!({})).await.expect(StatusCode::CREATED);
        joined["data"]["userId"].take()
    }

    /// A file whose parts have come, and that is not completed.
    async fn make_upload(&mut self) -> Value {
        let file = json!({ "filename": format!("{}.txt", self.mark), "size_bytes": PART.len() });
        let id = self.post("/api/v1/files/uploads", &file).await["id"].take();
        let path = format!("/api/v1/files/uploads/{}/parts/1", id.as_str().unwrap());
        let request = self.user.request(Method::PUT, &path);
        let sent = request.header(CONTENT_TYPE, "application/octet-stream").body(PART).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::OK);
        id
    }

    async fn upload(&self, path: PathBuf) -> Value {
        json!(self.user.uploaded(&path).await)
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.user.post(path, body).await.expect(StatusCode::CREATED)
    }
}

/// Speech, and a picture with it, made once for all tests.
fn recording(name: &str) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let speech = folder.path().join("speech.wav");
        let text =
            "The mill turns night and day, and the miller counts the sacks before the rain comes down.";
        assert!(Command::new("espeak-ng").arg("-w").arg(&speech).arg(text).status().unwrap().success());
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2", "-i"]);
        command.arg(&speech).arg("-shortest").arg(folder.path().join("talk.mp4"));
        assert!(command.status().unwrap().success());
        folder
    });
    folder.path().join(name)
}
