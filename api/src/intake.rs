//! How bytes become a file: streamed to the store, told by their content, then inserted. Whatever is refused on the way
//! leaves nothing behind, for what is staged goes when it is dropped.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use pipeline::media_info::MediaInfo;
use storage::files::{File, FileKind, NewFile};
use storage::ids::{UploadId, UserId};
use storage::objects::StagedObject;
use tokio::io::AsyncWriteExt;

use crate::app::App;
use crate::error::{ApiError, Result};
use crate::media_types;

/// Longest name of a file or project, in characters.
pub(crate) const LONGEST_NAME: usize = 255;

/// A file that has come whole, and what its owner calls it.
pub(crate) struct Arrival {
    pub(crate) owner: UserId,
    pub(crate) filename: String,
    pub(crate) project_name: Option<String>,
    pub(crate) staged: StagedObject,
    /// The upload in parts that it came by.
    pub(crate) upload: Option<UploadId>,
}

/// Where the bytes of a stream go, and how many of them may.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub(crate) limit: u64,
    /// What the quota has left.
    pub(crate) quota_left: u64,
}

/// What `user` may still store.
pub(crate) async fn room(app: &App, user: UserId) -> Result<Room> {
    let usage = app.services.storage.files.usage(user).await?;
    let quota_left = usage.quota_bytes.saturating_sub(usage.used_bytes);
    Ok(Room { limit: app.services.config.max_upload_bytes, quota_left })
}

impl Room {
    /// Refuses a size that does not fit.
    pub(crate) fn admit(self, size: u64) -> Result<()> {
        if size > self.limit {
            return Err(ApiError::too_large(self.limit));
        }
        if size > self.quota_left {
            let left = self.quota_left;
            return Err(ApiError::insufficient_storage(format!(
                "Your quota has {left} bytes left. Delete some files, or ask for a larger quota."
            )));
        }
        Ok(())
    }
}

/// Writes the stream to the store. Memory does not grow with it.
pub(crate) async fn stage<S>(app: &App, mut bytes: S, room: Room) -> Result<StagedObject>
where
    S: Stream<Item = std::result::Result<Bytes, ApiError>> + Unpin,
{
    let mut staging = app.services.storage.objects.stage().await?;
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk?;
        room.admit(staging.size_bytes() + chunk.len() as u64)?;
        staging.write_all(&chunk).await.map_err(storage::error::Error::from)?;
    }
    Ok(staging.finish().await?)
}

/// Finds out what has come, and makes a file of it.
pub(crate) async fn accept(app: &App, arrival: Arrival) -> Result<File> {
    let Arrival { owner, filename, project_name, staged, upload } = arrival;
    let Content { content_type, kind, media } = identify(app, &staged).await?;
    let content_type = content_type.to_owned();
    let new = NewFile { owner, project_name, filename, content_type, kind, media, staged, upload };
    Ok(app.services.storage.files.insert(new).await?)
}

/// What was found in bytes that have come.
pub(crate) struct Content {
    pub(crate) content_type: &'static str,
    pub(crate) kind: FileKind,
    pub(crate) media: Option<MediaInfo>,
}

pub(crate) async fn identify(app: &App, staged: &StagedObject) -> Result<Content> {
    if staged.size_bytes == 0 {
        return Err(ApiError::unusable_file("file_empty", "The file is empty."));
    }
    if staged.size_bytes <= media_types::LARGEST_TEXT {
        let bytes = tokio::fs::read(staged.path()).await.map_err(storage::error::Error::from)?;
        if let Some(content_type) = media_types::of_text(&bytes) {
            return Ok(Content { content_type, kind: FileKind::Text, media: None });
        }
    }
    let media = app.services.probe.probe(staged.path()).await.map_err(|failure| match failure.retryable {
        true => ApiError::from(failure),
        false => ApiError::unusable_file(&failure.code, failure.message),
    })?;
    let kind = match (&media.video, &media.audio) {
        (Some(_), _) => FileKind::Video,
        (None, Some(_)) => FileKind::Audio,
        (None, None) => {
            return Err(ApiError::unusable_file(
                "media_unsupported",
                "The file has neither picture nor sound.",
            ));
        }
    };
    Ok(Content { content_type: media_types::of_media(&media), kind, media: Some(media) })
}

/// A file name as a client sent it, without folders and control characters, and not too long.
pub(crate) fn plain_filename(sent: Option<&str>) -> String {
    let name = sent.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect();
    if name.trim().is_empty() { "upload".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::plain_filename;

    #[test]
    fn a_name_is_only_a_name() {
        assert_eq!(plain_filename(Some("../../etc/passwd")), "passwd");
        assert_eq!(plain_filename(Some("C:\\clips\\日本.mp4")), "日本.mp4");
        assert_eq!(plain_filename(Some("a\r\nb\0.wav")), "ab.wav");
        assert_eq!(plain_filename(Some("/")), "upload");
        assert_eq!(plain_filename(None), "upload");
        assert_eq!(plain_filename(Some(&"é".repeat(300))).chars().count(), 255);
    }
}
