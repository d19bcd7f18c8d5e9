//! Files and uploads.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use pipeline::media_info::{AudioInfo, MediaInfo, VideoInfo};
use poem_openapi::{Enum, Object};
use storage::files::File;
use storage::uploads::{Progress, Upload};
use uuid::Uuid;

use super::time::Timestamp;
use crate::app::Links;

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "storage::files::FileKind")]
pub(crate) enum FileKind {
    Video,
    Audio,
    Text,
}

#[derive(Object)]
#[oai(rename = "File")]
pub(crate) struct FileObject {
    pub(crate) id: Uuid,
    /// The same as `id`.
    pub(crate) file_id: Uuid,
    pub(crate) filename: String,
    pub(crate) content_type: String,
    pub(crate) kind: FileKind,
    pub(crate) size_bytes: u64,
    /// Hexadecimal.
    pub(crate) sha256: String,
    pub(crate) project_name: Option<String>,
    pub(crate) project_id: Option<i64>,
    /// None for text.
    pub(crate) media: Option<MediaObject>,
    pub(crate) created_at: Timestamp,
    /// Gives the bytes without a header, for 15 minutes.
    pub(crate) download_url: String,
    /// When the file is deleted; null keeps it until its owner deletes it.
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Object)]
#[oai(rename = "Media")]
pub(crate) struct MediaObject {
    duration_seconds: f64,
    container: String,
    video: Option<VideoObject>,
    audio: Option<AudioObject>,
}

#[derive(Object)]
#[oai(rename = "Video")]
struct VideoObject {
    codec: String,
    width: u32,
    height: u32,
    fps: f64,
}

#[derive(Object)]
#[oai(rename = "Audio")]
struct AudioObject {
    codec: String,
    sample_rate: u32,
    channels: u16,
}

#[derive(Object)]
pub(crate) struct NewUpload {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) filename: String,
    #[oai(validator(minimum(value = "1")))]
    pub(crate) size_bytes: i64,
    /// What the client takes it for. What it is, its content says.
    #[oai(validator(max_length = 255))]
    pub(crate) content_type: Option<String>,
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) project_name: Option<String>,
    /// Hexadecimal; checked when the upload is completed.
    #[oai(validator(min_length = 64, max_length = 64))]
    pub(crate) sha256: Option<String>,
}

/// A file that comes in parts.
#[derive(Object)]
#[oai(rename = "Upload")]
pub(crate) struct UploadObject {
    id: Uuid,
    upload_id: Uuid,
    filename: String,
    size_bytes: u64,
    /// Size of every part but the last.
    part_size: u64,
    parts: Vec<PartObject>,
    complete_url: String,
    created_at: Timestamp,
    /// When an upload that is not completed is dropped.
    expires_at: Timestamp,
}

#[derive(Object)]
#[oai(rename = "UploadPart")]
struct PartObject {
    /// From 1.
    number: u32,
    size_bytes: u64,
    /// Whether its bytes are here.
    received: bool,
    /// PUT the bytes here, without a header, for 15 minutes; ask for the upload again for a fresh one. It may lead to
    /// the object store, whose answer has no body.
    url: String,
}

/// Makes URLs for parts that come through us.
pub(crate) struct PartLinks<'a> {
    pub(crate) links: &'a Links,
    pub(crate) now: DateTime<Utc>,
}

#[derive(Object)]
pub(crate) struct ReceivedPart {
    pub(crate) number: u32,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
}

#[derive(Object)]
pub(crate) struct UsageObject {
    pub(crate) quota_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) files: u64,
    pub(crate) limits: Limits,
    /// Null where nothing is limited.
    pub(crate) rate_limits: Option<RateLimits>,
}

/// How many requests in how long, such as `100/min`, by what they ask for.
#[derive(Object)]
pub(crate) struct RateLimits {
    /// To register, log in, refresh and log out, from one address.
    pub(crate) auth: String,
    /// The same at the paths under `/auth`.
    pub(crate) voiceera_auth: String,
    /// Uploads begun.
    pub(crate) uploads: String,
    /// Requests that make jobs.
    pub(crate) processing: String,
    /// Job status and events, the bytes of files, and parts of uploads.
    pub(crate) wide: String,
    /// Kilobytes of call logs imported.
    pub(crate) imports: String,
    /// Everything else.
    pub(crate) other: String,
    /// Whether the API key or the caller's role has a rate of its own, which uploads, processing and everything else
    /// share.
    pub(crate) own: bool,
}

#[derive(Object)]
pub(crate) struct Limits {
    pub(crate) upload_bytes: u64,
    pub(crate) text_upload_bytes: u64,
    pub(crate) body_bytes: u64,
    pub(crate) preview_characters: u64,
}

impl FileObject {
    pub(crate) fn new(file: File, links: &Links, now: DateTime<Utc>) -> Self {
        let id = file.id.as_uuid();
        let (project_id, project_name) = file.project.map(|(id, name)| (id.0, name)).unzip();
        Self {
            id,
            file_id: id,
            filename: file.filename,
            content_type: file.content_type,
            kind: file.kind.into(),
            size_bytes: file.size_bytes,
            sha256: file.sha256,
            project_name,
            project_id,
            media: file.media.map(MediaObject::from),
            created_at: file.created_at.into(),
            download_url: links.signed(&content_path(id), now),
            expires_at: file.expires_at.map(Into::into),
        }
    }
}

/// Where the bytes of a file are.
pub(crate) fn content_path(id: Uuid) -> String {
    format!("/api/v1/files/{id}/content")
}

impl From<MediaInfo> for MediaObject {
    fn from(media: MediaInfo) -> Self {
        let MediaInfo { duration_seconds, container, video, audio } = media;
        let video =
            video.map(|VideoInfo { codec, width, height, fps }| VideoObject { codec, width, height, fps });
        let audio = audio.map(|AudioInfo { codec, sample_rate, channels }| AudioObject {
            codec,
            sample_rate,
            channels,
        });
        Self { duration_seconds, container, video, audio }
    }
}

impl UploadObject {
    pub(crate) fn new(upload: Upload, progress: Progress, through: PartLinks<'_>) -> Self {
        let PartLinks { links, now } = through;
        let id = upload.id.as_uuid();
        let path = format!("/api/v1/files/uploads/{id}");
        let present: HashSet<u32> = progress.present.into_iter().collect();
        let mut straight = progress.urls.into_iter();
        let mut part = |number: u32| PartObject {
            number,
            size_bytes: upload.size_of(number).unwrap_or_default(),
            received: present.contains(&number),
            url: straight.next().unwrap_or_else(|| links.signed(&format!("{path}/parts/{number}"), now)),
        };
        Self {
            id,
            upload_id: id,
            parts: (1..=upload.parts).map(&mut part).collect(),
            size_bytes: upload.size_bytes,
            part_size: upload.part_size,
            complete_url: links.plain(&format!("{path}/complete")),
            created_at: upload.created_at.into(),
            expires_at: upload.expires_at.into(),
            filename: upload.filename,
        }
    }
}
