//! Each part is a file of its own until all are there and are put together.

use super::{Dropped, Parts, Progress, Upload};
use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    files::stored_size,
    ids::UploadId,
    objects::{Objects, StagedObject},
    rows::{upload_parts, uploads},
};
use async_trait::async_trait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set, sea_query::OnConflict};
use sha2::{Digest, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    fs,
    io::{AsyncReadExt, AsyncWriteExt},
};

const BUFFER: usize = 1 << 17;

pub(crate) struct DiskParts {
    database: Database,
    objects: Arc<dyn Objects>,
    /// Holds one directory for each upload.
    directory: PathBuf,
}

impl DiskParts {
    /// Uses `uploads/` of the directory, which it makes.
    pub(crate) async fn open(
        database: Database,
        objects: Arc<dyn Objects>,
        data_directory: &Path,
    ) -> Result<Self> {
        let directory = data_directory.join("uploads");
        fs::create_dir_all(&directory).await?;
        Ok(Self { database, objects, directory })
    }

    fn directory_of(&self, id: UploadId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    async fn parts(&self, id: UploadId) -> Result<Vec<upload_parts::Model>> {
        let rows = upload_parts::Entity::find()
            .filter(upload_parts::Column::UploadId.eq(id.as_uuid()))
            .order_by_asc(upload_parts::Column::Number)
            .all(self.database.reader())
            .await?;
        Ok(rows)
    }
}

#[async_trait]
impl Parts for DiskParts {
    async fn begin(&self, _id: UploadId) -> Result<Option<String>> {
        Ok(None)
    }

    async fn put(&self, upload: &Upload, number: u32, staged: StagedObject) -> Result<()> {
        let directory = self.directory_of(upload.id);
        fs::create_dir_all(&directory).await?;
        fs::rename(staged.path(), directory.join(number.to_string())).await?;
        fs::File::open(&directory).await?.sync_all().await?;
        let row = upload_parts::ActiveModel {
            upload_id: Set(upload.id.into()),
            number: Set(number.cast_signed()),
            size_bytes: Set(stored_size(staged.size_bytes)?),
            sha256: Set(staged.sha256.clone()),
        };
        let transaction = self.database.begin(upload.id).await?;
        // It may have been removed while the body came in.
        if uploads::Entity::find_by_id(upload.id.as_uuid()).one(&transaction).await?.is_none() {
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

    async fn progress(&self, upload: &Upload) -> Result<Progress> {
        let parts = self.parts(upload.id).await?;
        let present = parts.into_iter().map(|part| part.number.unsigned_abs()).collect();
        Ok(Progress { present, urls: vec![] })
    }

    async fn join(&self, upload: &Upload) -> Result<StagedObject> {
        let parts = self.parts(upload.id).await?;
        if parts.len() < upload.parts as usize {
            return Err(Conflict::UploadIncomplete.into());
        }
        let directory = self.directory_of(upload.id);
        let mut staging = self.objects.stage().await?;
        let mut buffer = vec![0; BUFFER];
        for part in &parts {
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
        Ok(staged)
    }

    async fn clear(&self, id: UploadId) -> Result<()> {
        match fs::remove_dir_all(self.directory_of(id)).await {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn discard(&self, dropped: &Dropped) -> Result<()> {
        self.clear(dropped.id).await
    }

    async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        let mut directories = fs::read_dir(&self.directory).await?;
        while let Some(entry) = directories.next_entry().await? {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<UploadId>().ok());
            let Some(id) = id else { continue };
            if uploads::Entity::find_by_id(id.as_uuid()).one(self.database.reader()).await?.is_none() {
                self.clear(id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}
