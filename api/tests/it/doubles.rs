//! In place of the sandboxed probe and the engines, where what they find does not matter to what is tested.
//! They are tested themselves, and together with the API, elsewhere.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use api::doors::{Asker, BuiltinVoice, Preview, PreviewVoice, Probe, Speech};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use pipeline::failure::Failure;
use pipeline::media_info::{AudioInfo, MediaInfo, VideoInfo};
use pipeline::parameters::Parameters;
use storage::objects::{ObjectKey, Objects};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use uuid::Uuid;

pub(crate) const BUILTIN: Uuid = Uuid::from_u128(7);

/// Two seconds of stereo sound, as far as [`MagicProbe`] is concerned.
pub(crate) fn wav(size: usize) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
    bytes.extend((0..size.saturating_sub(bytes.len())).map(|index| (index % 251) as u8));
    bytes
}

/// Two seconds of video with sound, as far as [`MagicProbe`] is concerned.
pub(crate) fn mp4(size: usize) -> Vec<u8> {
    let mut bytes = b"\0\0\0\x18ftypisom".to_vec();
    bytes.resize(size.max(bytes.len()), 0);
    bytes
}

/// The same without sound.
pub(crate) fn silent_mp4(size: usize) -> Vec<u8> {
    let mut bytes = b"\0\0\0\x18ftypmute".to_vec();
    bytes.resize(size.max(bytes.len()), 0);
    bytes
}

/// Believes the first bytes.
pub(crate) struct MagicProbe;

#[async_trait]
impl Probe for MagicProbe {
    async fn probe(&self, path: &Path) -> Result<MediaInfo, Failure> {
        let mut bytes = vec![];
        let file = std::fs::File::open(path).map_err(|_| Failure::internal())?;
        file.take(12).read_to_end(&mut bytes).map_err(|_| Failure::internal())?;
        let audio = Some(AudioInfo { codec: "pcm_s16le".into(), sample_rate: 16_000, channels: 2 });
        let video = Some(VideoInfo { codec: "h264".into(), width: 64, height: 48, fps: 25.0 });
        match bytes.get(4..8) {
            Some(b"ftyp") if bytes.ends_with(b"mute") => {
                Ok(MediaInfo { duration_seconds: 2.0, container: "mp4".into(), video, audio: None })
            }
            Some(b"ftyp") => Ok(MediaInfo { duration_seconds: 2.0, container: "mp4".into(), video, audio }),
            _ if bytes.starts_with(b"RIFF") => {
                Ok(MediaInfo { duration_seconds: 2.0, container: "wav".into(), video: None, audio })
            }
            _ => Err(Failure::permanent("media_unsupported", "The file holds neither video nor sound.")),
        }
    }
}

/// Says when it has begun, and answers when it is let.
pub(crate) struct SlowProbe {
    pub(crate) begun: Semaphore,
    pub(crate) may_end: Semaphore,
}

#[async_trait]
impl Probe for SlowProbe {
    async fn probe(&self, path: &Path) -> Result<MediaInfo, Failure> {
        self.begun.add_permits(1);
        self.may_end.acquire().await.map_err(|_| Failure::internal())?.forget();
        MagicProbe.probe(path).await
    }
}

/// Hears one second of speech in every kilobyte, and speaks by naming what it was asked to say.
pub(crate) struct TalkativeSpeech {
    pub(crate) objects: Arc<dyn Objects>,
}

impl TalkativeSpeech {
    async fn size(&self, key: &ObjectKey) -> usize {
        let mut bytes = vec![];
        self.objects.open(key, None).await.unwrap().read_to_end(&mut bytes).await.unwrap()
    }
}

#[async_trait]
impl Speech for TalkativeSpeech {
    async fn builtin_voices(&self) -> Result<Vec<BuiltinVoice>, Failure> {
        Ok(vec![BuiltinVoice {
            id: BUILTIN,
            name: "Joe".into(),
            language: "en".into(),
            gender: Some("male".into()),
            description: None,
            created_at: DateTime::<Utc>::UNIX_EPOCH,
        }])
    }

    async fn check(&self, parameters: &Parameters) -> Result<(), Failure> {
        match parameters {
            Parameters::Transcribe(job) if job.model.as_deref() == Some("absent") => {
                Err(Failure::permanent("model_unavailable", "Fetch it with: voxmill models pull absent"))
            }
            _ => Ok(()),
        }
    }

    async fn speaks(&self, language: &str) -> Result<bool, Failure> {
        Ok(["en", "de"].contains(&language))
    }

    async fn speech_seconds(&self, _: &Asker, sample: &ObjectKey) -> Result<f64, Failure> {
        Ok(self.size(sample).await as f64 / 1000.0)
    }

    async fn preview(&self, _: &Asker, preview: Preview) -> Result<Vec<u8>, Failure> {
        let voice = match preview.voice {
            PreviewVoice::Builtin(id) => id.to_string(),
            PreviewVoice::Sample(key) => format!("{} bytes", self.size(&key).await),
        };
        Ok(format!("RIFF {voice} {} {} {}", preview.language, preview.text, Uuid::new_v4()).into_bytes())
    }
}
