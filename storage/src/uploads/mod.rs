//! Uploads that come in parts, in any order and again after a failure. Where the parts are until they are one is the
//! business of two back ends, with one door.

mod disk;
mod s3;

pub(crate) use disk::DiskParts;
pub(crate) use s3::S3Parts;

use crate::{
    database::Database,
    error::{Error, Result},
    files::stored_size,
    garbage,
    ids::{UploadId, UserId},
    objects::{Objects, StagedObject, s3::Multipart},
    quota::{Room, check_room},
    rows::uploads::{ActiveModel, Column, Entity, Model},
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Usual size of a part, in bytes. Larger uploads have larger parts, so that there are no more than [`MOST_PARTS`].
const PART_SIZE: u64 = 8 << 20;
pub const MOST_PARTS: u64 = 10_000;
/// How long an upload may take from its first request.
const LIFETIME: chrono::Duration = chrono::Duration::hours(24);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: UploadId,
    pub owner: UserId,
    pub filename: String,
    pub content_type: Option<String>,
    pub size_bytes: u64,
    /// Of every part but the last, which is the rest.
    pub part_size: u64,
    /// How many parts there are to be; they are numbered from 1.
    pub parts: u32,
    pub project_name: Option<String>,
    /// What the whole must have. Lower-case hexadecimal.
    pub sha256: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// What the object store calls it, where the parts are there.
    pub(crate) store_name: Option<String>,
}

/// How far an upload is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The numbers of the parts that are there, in order.
    pub present: Vec<u32>,
    /// Where a client puts each part itself, from the first to the last, for 15 minutes and without a header. Empty where
    /// they come through us. Not for a log.
    pub urls: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub number: u32,
    pub size_bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

pub struct NewUpload {
    pub owner: UserId,
    pub filename: String,
    pub content_type: Option<String>,
    pub size_bytes: u64,
    pub project_name: Option<String>,
    pub sha256: Option<String>,
}

#[derive(Clone)]
pub struct Uploads {
    pub(crate) database: Database,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) default_quota_bytes: u64,
    pub(crate) parts: Arc<dyn Parts>,
}

/// Where parts are.
#[async_trait]
pub(crate) trait Parts: Send + Sync {
    /// Gets ready for an upload; what it is called there, if it has a name.
    async fn begin(&self, id: UploadId) -> Result<Option<String>>;

    /// Keeps a part of the right size; one of that number that was there is replaced. [`Error::NotFound`] where the upload
    /// has gone.
    async fn put(&self, upload: &Upload, number: u32, staged: StagedObject) -> Result<()>;

    async fn progress(&self, upload: &Upload) -> Result<Progress>;

    /// As [`Uploads::assemble`].
    async fn join(&self, upload: &Upload) -> Result<StagedObject>;

    /// Removes what is left of an upload that is a file now.
    async fn clear(&self, id: UploadId) -> Result<()>;

    /// Removes all that came of an upload whose row is gone, and that is no file.
    async fn discard(&self, dropped: &Dropped) -> Result<()>;

    /// Removes what belongs to no upload; returns how many there were.
    async fn sweep(&self) -> Result<u64>;
}

/// An upload without a row.
pub(crate) struct Dropped {
    pub(crate) id: UploadId,
    pub(crate) store_name: Option<String>,
}

impl Uploads {
    /// [`Error::QuotaExceeded`] where the whole would not fit beside the owner's files and other uploads.
    pub async fn begin(&self, new: NewUpload) -> Result<Upload> {
        if new.size_bytes == 0 {
            return Err(Error::input("size_bytes", "must be at least 1"));
        }
        let id = UploadId::new();
        let now = self.database.now();
        let part_size = PART_SIZE.max(new.size_bytes.div_ceil(MOST_PARTS));
        let row = Model {
            id: id.into(),
            owner_id: new.owner.into(),
            filename: new.filename,
            content_type: new.content_type,
            size_bytes: stored_size(new.size_bytes)?,
            part_size: stored_size(part_size)?,
            project_name: new.project_name,
            sha256: new.sha256.map(|sha256| sha256.to_ascii_lowercase()),
            created_at: now,
            expires_at: now + LIFETIME,
            store_name: self.parts.begin(id).await?,
        };
        let room = Room { owner: new.owner, size_bytes: new.size_bytes };
        if let Err(error) = self.insert(&room, row.clone()).await {
            self.discard(&Dropped { id, store_name: row.store_name }).await;
            return Err(error);
        }
        from_row(row)
    }

    pub async fn find(&self, owner: UserId, id: UploadId) -> Result<Upload> {
        let upload = self.find_signed(id).await?;
        if upload.owner == owner { Ok(upload) } else { Err(Error::NotFound) }
    }

    /// Whoever it belongs to: only for a caller who holds our signature over the id.
    pub async fn find_signed(&self, id: UploadId) -> Result<Upload> {
        let reader = self.database.reader();
        let row = Entity::find_by_id(id.as_uuid()).one(reader).await?;
        let row = row.filter(|row| row.expires_at > self.database.now()).ok_or(Error::NotFound)?;
        from_row(row)
    }

    /// `upload` is the caller's proof that it may be seen.
    pub async fn progress(&self, upload: &Upload) -> Result<Progress> {
        self.parts.progress(upload).await
    }

    /// Stores a part; one that was there is replaced. [`Error::Input`] with the field `number` or `body` where there
    /// is no such part or it has another size. `upload` is the caller's proof that the upload may be written to.
    pub async fn put_part(
        &self,
        upload: &Upload,
        number: u32,
        body: impl AsyncRead + Send + Unpin,
    ) -> Result<Part> {
        let expected = upload.size_of(number)?;
        let mut staging = self.objects.stage().await?;
        // One byte more than fits tells a longer body without storing it.
        tokio::io::copy(&mut body.take(expected + 1), &mut staging).await?;
        let staged = staging.finish().await?;
        if staged.size_bytes != expected {
            return Err(Error::input("body", format!("part {number} must be {expected} bytes long")));
        }
        let part = Part { number, size_bytes: expected, sha256: staged.sha256.clone() };
        self.parts.put(upload, number, staged).await?;
        Ok(part)
    }

    /// The parts put together. [`Conflict::UploadIncomplete`], or [`Conflict::ChecksumMismatch`] where they are not
    /// what was sent or promised. The upload stays as it is until a file is made of it, or [`Uploads::remove`].
    pub async fn assemble(&self, owner: UserId, id: UploadId) -> Result<(StagedObject, Upload)> {
        let upload = self.find(owner, id).await?;
        match self.parts.join(&upload).await {
            Ok(staged) => Ok((staged, upload)),
            // Whoever made a file of it meanwhile has taken the parts away: then it is not there.
            Err(error) => self.find(owner, id).await.and(Err(error)),
        }
    }

    /// Forgets the upload and its parts.
    pub async fn remove(&self, owner: UserId, id: UploadId) -> Result<()> {
        let upload = self.find(owner, id).await?;
        end(self.database.writer(), owner, id).await?;
        self.discard(&Dropped { id, store_name: upload.store_name }).await;
        Ok(())
    }

    /// Removes what is left of the parts of an upload that is a file now; else the next sweep does.
    pub async fn remove_parts(&self, id: UploadId) -> Result<()> {
        self.parts.clear(id).await
    }

    /// What cannot be removed now, the next sweep does.
    pub(crate) async fn discard(&self, dropped: &Dropped) {
        if let Err(error) = self.parts.discard(dropped).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the parts of a dropped upload are left to sweep");
        }
    }

    /// Removes uploads that are past their time, and parts without an upload. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        loop {
            let old = Entity::find()
                .filter(Column::ExpiresAt.lte(self.database.now()))
                .order_by_asc(Column::ExpiresAt)
                .limit(garbage::BATCH)
                .all(self.database.reader())
                .await?;
            if old.is_empty() {
                return Ok(swept + self.parts.sweep().await?);
            }
            for row in old {
                let id = UploadId::from(row.id);
                match end(self.database.writer(), row.owner_id.into(), id).await {
                    Ok(()) => self.discard(&Dropped { id, store_name: row.store_name }).await,
                    // It became a file, or its owner dropped it.
                    Err(Error::NotFound) => continue,
                    Err(error) => return Err(error),
                }
                swept += 1;
            }
        }
    }

    async fn insert(&self, room: &Room, row: Model) -> Result<()> {
        let transaction = self.database.begin(room.owner).await?;
        check_room(&transaction, room, self.default_quota_bytes).await?;
        Entity::insert(ActiveModel::from(row).reset_all()).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

impl Upload {
    /// In bytes. [`Error::Input`] where there is no such part.
    pub fn size_of(&self, number: u32) -> Result<u64> {
        if number == 0 || number > self.parts {
            return Err(Error::input("number", format!("must lie between 1 and {}", self.parts)));
        }
        let before = u64::from(number - 1) * self.part_size;
        Ok(self.part_size.min(self.size_bytes - before))
    }
}

/// Deletes the row. [`Error::NotFound`] where somebody did so before.
pub(crate) async fn end(database: &impl ConnectionTrait, owner: UserId, id: UploadId) -> Result<()> {
    delete(database, row_of(owner, id)).await
}

/// As [`end`], for a file of what was joined. [`Error::NotFound`] too where parts have come again since.
pub(crate) async fn end_joined(
    database: &impl ConnectionTrait,
    (owner, id): (UserId, UploadId),
    joined: Option<&Multipart>,
) -> Result<()> {
    let row = row_of(owner, id);
    let as_joined = joined.map(|joined| Column::StoreName.eq(joined.name.as_str()));
    delete(database, as_joined.into_iter().fold(row, DeleteMany::filter)).await
}

fn row_of(owner: UserId, id: UploadId) -> DeleteMany<Entity> {
    Entity::delete_many().filter(Column::Id.eq(id.as_uuid())).filter(Column::OwnerId.eq(owner.as_uuid()))
}

async fn delete(database: &impl ConnectionTrait, row: DeleteMany<Entity>) -> Result<()> {
    let removed = row.exec(database).await?;
    if removed.rows_affected == 0 { Err(Error::NotFound) } else { Ok(()) }
}

fn from_row(row: Model) -> Result<Upload> {
    let (size_bytes, part_size) = (row.size_bytes.unsigned_abs(), row.part_size.unsigned_abs());
    Ok(Upload {
        id: row.id.into(),
        owner: row.owner_id.into(),
        filename: row.filename,
        content_type: row.content_type,
        size_bytes,
        part_size,
        parts: u32::try_from(size_bytes.div_ceil(part_size.max(1))).map_err(Error::internal)?,
        project_name: row.project_name,
        sha256: row.sha256,
        created_at: row.created_at,
        expires_at: row.expires_at,
        store_name: row.store_name,
    })
}
