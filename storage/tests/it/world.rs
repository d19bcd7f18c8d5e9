//! A storage of its own for a test, with a clock that the test moves, and short ways to what most tests need.

use crate::back_end;
use pipeline::{
    media_info::{AudioInfo, MediaInfo, VideoInfo},
    parameters::{JobKind, Parameters, Transcribe, TranscribeTask, TranscriptFormat},
};
use std::{path::PathBuf, time::Duration};
use storage::{
    Storage, StorageConfig,
    agents::NewAgent,
    campaigns::NewCampaign,
    clock::Clock,
    files::{File, FileKind, NewFile},
    ids::{AgentId, CampaignId, FileId, JobId, UserId},
    jobs::{Claim, Idempotency, Job, NewJob, Submitted},
    objects::{ObjectsConfig, StagedObject},
    users::{Name, NewUser},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const QUOTA: u64 = 1_000_000;
pub(crate) const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) struct World {
    pub(crate) storage: Storage,
    pub(crate) clock: Clock,
    pub(crate) config: StorageConfig,
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = StorageConfig {
            database_url: back_end::database(directory.path()).await,
            database_connections: 8,
            data_directory: directory.path().join("data"),
            objects: back_end::objects(),
            default_quota_bytes: QUOTA,
            retention: Some(RETENTION),
            redis: back_end::redis(),
        };
        let clock = Clock::system();
        let storage = Storage::open_with_clock(&config, clock.clone()).await.unwrap();
        Self { storage, clock, config, directory }
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn user(&self, name: &str) -> UserId {
        let new = NewUser {
            email: format!("{name}@example.org"),
            password_hash: "hash".into(),
            name: Name::full(name),
        };
        self.storage.users.create(new).await.unwrap().id
    }

    pub(crate) async fn staged(&self, bytes: &[u8]) -> StagedObject {
        let mut staging = self.storage.objects.stage().await.unwrap();
        staging.write_all(bytes).await.unwrap();
        staging.finish().await.unwrap()
    }

    pub(crate) async fn new_file(&self, owner: UserId, media: Option<MediaInfo>) -> NewFile {
        let kind = match &media {
            Some(media) if media.video.is_some() => FileKind::Video,
            Some(_) => FileKind::Audio,
            None => FileKind::Text,
        };
        NewFile {
            owner,
            project_name: None,
            filename: "a name".into(),
            content_type: "application/octet-stream".into(),
            kind,
            media,
            staged: self.staged(b"some bytes").await,
            upload: None,
        }
    }

    pub(crate) async fn file(&self, owner: UserId, media: Option<MediaInfo>) -> File {
        self.storage.files.insert(self.new_file(owner, media).await).await.unwrap()
    }

    pub(crate) async fn audio(&self, owner: UserId) -> FileId {
        self.file(owner, Some(audio(1.0))).await.id
    }

    /// A transcribe job of a file of its own.
    pub(crate) async fn job(&self, owner: UserId) -> Job {
        let file = self.audio(owner).await;
        self.submit(transcribe(owner, file)).await
    }

    pub(crate) async fn submit(&self, new: NewJob) -> Job {
        match self.storage.jobs.submit(new).await.unwrap() {
            Submitted::New(job) | Submitted::Same(job) => job,
        }
    }

    pub(crate) async fn agent(&self, owner: UserId, name: &str) -> AgentId {
        self.storage.agents.create(new_agent(owner, name)).await.unwrap().id
    }

    /// A draft without an end.
    pub(crate) async fn campaign(&self, owner: UserId, agent: AgentId) -> CampaignId {
        self.storage.campaigns.create(new_campaign(owner, agent)).await.unwrap().id
    }

    pub(crate) async fn dispatch(&self, at_most: usize) -> Vec<JobId> {
        self.storage.jobs.dispatch(JobKind::Transcribe, at_most).await.unwrap()
    }

    /// Dispatches and claims the job, which must be the only one that is due.
    pub(crate) async fn claim(&self, job: JobId) -> Claim {
        assert_eq!(self.dispatch(10).await, [job]);
        self.storage.jobs.claim(job, "worker").await.unwrap().unwrap()
    }

    pub(crate) async fn read(&self, file: &File) -> Vec<u8> {
        let mut bytes = vec![];
        let mut reader = self.storage.objects.open(&file.object_key, None).await.unwrap();
        reader.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// The names of all objects.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let listed = self.storage.objects.list("").await.unwrap();
        let mut names: Vec<_> = listed.into_iter().map(|(key, _)| key.to_string()).collect();
        names.sort();
        names
    }

    /// How many uploads have left something of their parts.
    pub(crate) fn parts_left(&self) -> usize {
        match &self.config.objects {
            ObjectsConfig::Disk => {
                std::fs::read_dir(self.config.data_directory.join("uploads")).unwrap().count()
            }
            ObjectsConfig::S3(config) => back_end::s3().multiparts(&config.prefix),
        }
    }

    /// Where the bytes of an object lie, behind the back of whatever keeps them.
    pub(crate) fn object_path(&self, key: &str) -> Option<PathBuf> {
        match &self.config.objects {
            ObjectsConfig::Disk => Some(self.config.data_directory.join("objects").join(key)),
            ObjectsConfig::S3(config) => back_end::s3().path(&format!("{}/{key}", config.prefix)),
        }
    }

    pub(crate) fn staged_files(&self) -> usize {
        std::fs::read_dir(self.config.data_directory.join("staging")).unwrap().count()
    }
}

pub(crate) fn new_agent(owner: UserId, name: &str) -> NewAgent {
    NewAgent {
        owner,
        name: name.into(),
        description: None,
        llm_provider: "openai".into(),
        llm_model: "gpt-4".into(),
        stt_provider: "deepgram".into(),
        tts_provider: "cartesia".into(),
        system_prompt: "You are helpful.".into(),
        language: "en".into(),
        voice_parameters: Default::default(),
    }
}

pub(crate) fn new_campaign(owner: UserId, agent: AgentId) -> NewCampaign {
    NewCampaign {
        owner,
        agent,
        name: "A campaign".into(),
        phone_numbers: vec!["+1234567890".into()],
        start_time: None,
        end_time: None,
        max_concurrent_calls: 10,
    }
}

pub(crate) fn audio(seconds: f64) -> MediaInfo {
    MediaInfo {
        duration_seconds: seconds,
        container: "wav".into(),
        video: None,
        audio: Some(AudioInfo { codec: "pcm_s16le".into(), sample_rate: 16_000, channels: 1 }),
    }
}

/// Without sound.
pub(crate) fn video(seconds: f64) -> MediaInfo {
    let picture = VideoInfo { codec: "h264".into(), width: 320, height: 240, fps: 25.0 };
    MediaInfo { duration_seconds: seconds, container: "mp4".into(), video: Some(picture), audio: None }
}

pub(crate) fn transcribe(owner: UserId, file: FileId) -> NewJob {
    new_job(
        owner,
        Parameters::Transcribe(Transcribe {
            audio_file_id: file.as_uuid(),
            source_language: None,
            task: TranscribeTask::Transcribe,
            model: None,
            word_timestamps: false,
            prompt: None,
            output_formats: vec![TranscriptFormat::Json],
        }),
    )
}

pub(crate) fn new_job(owner: UserId, parameters: Parameters) -> NewJob {
    NewJob {
        owner,
        parameters,
        priority: 0,
        project: None,
        request_id: None,
        trace_parent: None,
        idempotency: None,
        builtin_voices: vec![],
        callback: None,
    }
}

pub(crate) fn idempotency(key: &str, fingerprint: &str) -> Option<Idempotency> {
    Some(Idempotency { key: key.into(), fingerprint: fingerprint.into() })
}
