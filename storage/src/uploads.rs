//! Uploads that come in parts, in any order and again after a failure. Each part is a file of its own until all are
//! there and are put together.

use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    files::{Room, check_room, stored_size},
    ids::{UploadId, UserId},
    objects::{Objects, StagedObject},
    rows::{
        upload_parts,
        uploads::{ActiveModel, Column, Entity, Model},
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set, sea_query::OnConflict,
};
use sha2::{Digest, Sha256};
use std::{io, path::PathBuf, sync::Arc};
use tokio::{
    fs,
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
};
use uuid::Uuid;

/// Usual size of a part, in bytes. Larger uploads have larger parts, so that there are no more than [`MOST_PARTS`].
const PART_SIZE: u64 = 8 << 20;
pub const MOST_PARTS: u64 = 10_000;
/// How long an upload may take from its first request.
const LIFETIME: chrono::Duration = chrono::Duration::hours(24);
const BUFFER: usize = 1 << 17;

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
    /// The parts that are there, in order.
    pub present: Vec<Part>,
    pub project_name: Option<String>,
    /// What the whole must have. Lower-case hexadecimal.
    pub sha256: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
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
    /// Holds one directory for each upload.
    pub(crate) directory: PathBuf,
}

impl Uploads {
    /// [`Error::QuotaExceeded`] where the whole would not fit beside the owner's files and other uploads.
    pub async fn begin(&self, new: NewUpload) -> Result<Upload> {
        if new.size_bytes == 0 {
            return Err(Error::input("size_bytes", "must be at least 1"));
        }
        let now = self.database.now();
        let part_size = PART_SIZE.max(new.size_bytes.div_ceil(MOST_PARTS));
        let row = Model {
            id: UploadId::new().into(),
            owner_id: new.owner.into(),
            filename: new.filename,
            content_type: new.content_type,
            size_bytes: stored_size(new.size_bytes)?,
            part_size: stored_size(part_size)?,
            project_name: new.project_name,
            sha256: new.sha256.map(|sha256| sha256.to_ascii_lowercase()),
            created_at: now,
            expires_at: now + LIFETIME,
        };
        let transaction = self.database.begin(new.owner).await?;
        let room = Room { owner: new.owner, size_bytes: new.size_bytes };
        check_room(&transaction, &room, self.default_quota_bytes).await?;
        insert(&transaction, row.clone()).await?;
        transaction.commit().await?;
        from_row(row, vec![])
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
        let parts = upload_parts::Entity::find()
            .filter(upload_parts::Column::UploadId.eq(row.id))
            .order_by_asc(upload_parts::Column::Number)
            .all(reader)
            .await?;
        from_row(row, parts)
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
        let directory = self.directory_of(upload.id);
        fs::create_dir_all(&directory).await?;
        let mut staging = self.objects.stage().await?;
        // One byte more than fits tells a longer body without storing it.
        tokio::io::copy(&mut body.take(expected + 1), &mut staging).await?;
        let staged = staging.finish().await?;
        if staged.size_bytes != expected {
            return Err(Error::input("body", format!("part {number} must be {expected} bytes long")));
        }
        let part = Part { number, size_bytes: expected, sha256: staged.sha256.clone() };
        fs::rename(staged.path(), directory.join(number.to_string())).await?;
        fs::File::open(&directory).await?.sync_all().await?;
        self.note_part(upload.id, &part).await?;
        Ok(part)
    }

    /// The parts put together. [`Conflict::UploadIncomplete`], or [`Conflict::ChecksumMismatch`] where they are not
    /// what was sent or promised. The upload stays as it is until a file is made of it, or [`Uploads::remove`].
    pub async fn assemble(&self, owner: UserId, id: UploadId) -> Result<(StagedObject, Upload)> {
        match self.join_parts(owner, id).await {
            Ok(joined) => Ok(joined),
            // Whoever made a file of it meanwhile has taken the parts away: then it is not there.
            Err(error) => self.find(owner, id).await.and(Err(error)),
        }
    }

    async fn join_parts(&self, owner: UserId, id: UploadId) -> Result<(StagedObject, Upload)> {
        let upload = self.find(owner, id).await?;
        if upload.present.len() < upload.parts as usize {
            return Err(Conflict::UploadIncomplete.into());
        }
        let directory = self.directory_of(id);
        let mut staging = self.objects.stage().await?;
        let mut buffer = vec![0; BUFFER];
        for part in &upload.present {
            let mut file = fs::File::open(directory.join(part.number.to_string())).await?;
            let mut sha256 = Sha256::new();
            loop {
                let count = file.read(&mut buffer).await?;
                if count == 0 {
                    break;
                }
                sha256.update(&buffer[..count]);
                staging.write_all(&buffer[..count]).await?;
            }
            if hex::encode(sha256.finalize()) != part.sha256 {
                return Err(Conflict::ChecksumMismatch.into());
            }
        }
        let staged = staging.finish().await?;
        if upload.sha256.as_ref().is_some_and(|promised| *promised != staged.sha256) {
            return Err(Conflict::ChecksumMismatch.into());
        }
        Ok((staged, upload))
    }

    /// Forgets the upload and its parts.
    pub async fn remove(&self, owner: UserId, id: UploadId) -> Result<()> {
        end(self.database.writer(), owner, id).await?;
        self.remove_parts(id).await
    }

    /// Removes the parts of an upload that is a file now; else the next sweep does.
    pub async fn remove_parts(&self, id: UploadId) -> Result<()> {
        match fs::remove_dir_all(self.directory_of(id)).await {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes uploads that are past their time, and directories without an upload. Returns how many.
    pub(crate) async fn sweep(&self) -> Result<u64> {
        let gone = Entity::delete_many()
            .filter(Column::ExpiresAt.lte(self.database.now()))
            .exec(self.database.writer())
            .await?;
        let mut swept = gone.rows_affected;
        let mut directories = fs::read_dir(&self.directory).await?;
        while let Some(entry) = directories.next_entry().await? {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<UploadId>().ok());
            let Some(id) = id else { continue };
            if Entity::find_by_id(id.as_uuid()).one(self.database.reader()).await?.is_none() {
                self.remove_parts(id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn directory_of(&self, id: UploadId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    async fn note_part(&self, id: UploadId, part: &Part) -> Result<()> {
        let row = upload_parts::ActiveModel {
            upload_id: Set(id.into()),
            number: Set(part.number.cast_signed()),
            size_bytes: Set(stored_size(part.size_bytes)?),
            sha256: Set(part.sha256.clone()),
        };
        let transaction = self.database.begin(id).await?;
        // It may have been removed while the body came in.
        if Entity::find_by_id(id.as_uuid()).one(&transaction).await?.is_none() {
            return Err(Error::NotFound);
        }
        upload_parts::Entity::insert(row)
            .on_conflict(
                OnConflict::columns([upload_parts::Column::UploadId, upload_parts::Column::Number])
                    .update_columns([upload_parts::Column::SizeBytes, upload_parts::Column::Sha256])
                    .to_owned(),
            )
            .exec_without_returning(&transaction)
            .await?;
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
    let removed = Entity::delete_many()
        .filter(Column::Id.eq(id.as_uuid()))
        .filter(Column::OwnerId.eq(owner.as_uuid()))
        .exec(database)
        .await?;
    if removed.rows_affected == 0 { Err(Error::NotFound) } else { Ok(()) }
}

async fn insert(database: &impl ConnectionTrait, row: Model) -> Result<()> {
    let row = ActiveModel {
        id: Set(row.id),
        owner_id: Set(row.owner_id),
        filename: Set(row.filename),
        content_type: Set(row.content_type),
        size_bytes: Set(row.size_bytes),
        part_size: Set(row.part_size),
        project_name: Set(row.project_name),
        sha256: Set(row.sha256),
        created_at: Set(row.created_at),
        expires_at: Set(row.expires_at),
    };
    Entity::insert(row).exec_without_returning(database).await?;
    Ok(())
}

/// What the owner's unfinished uploads will take once they are files.
pub(crate) async fn pending_bytes(database: &impl ConnectionTrait, owner: UserId) -> Result<u64> {
    let rows = Entity::find().filter(Column::OwnerId.eq(Uuid::from(owner))).all(database).await?;
    Ok(rows.iter().map(|row| row.size_bytes.unsigned_abs()).sum())
}

fn from_row(row: Model, parts: Vec<upload_parts::Model>) -> Result<Upload> {
    let (size_bytes, part_size) = (row.size_bytes.unsigned_abs(), row.part_size.unsigned_abs());
    Ok(Upload {
        id: row.id.into(),
        owner: row.owner_id.into(),
        filename: row.filename,
        content_type: row.content_type,
        size_bytes,
        part_size,
        parts: u32::try_from(size_bytes.div_ceil(part_size.max(1))).map_err(Error::internal)?,
        present: parts
            .into_iter()
            .map(|part| Part {
                number: part.number.unsigned_abs(),
                size_bytes: part.size_bytes.unsigned_abs(),
                sha256: part.sha256,
            })
            .collect(),
        project_name: row.project_name,
        sha256: row.sha256,
        created_at: row.created_at,
        expires_at: row.expires_at,
    })
}
