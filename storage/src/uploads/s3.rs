//! The parts are an upload in parts of the store's own, so any process may take any of them, or clients put them there
//! themselves. The store joins them to the object of the later file.

use super::{Dropped, Parts, Progress, Upload};
use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    files::object_key,
    ids::UploadId,
    objects::{
        ObjectKey, Objects, S3Objects, StagedObject,
        s3::{Multipart, StoredPart},
    },
    rows::uploads::{Column, Entity},
};
use async_trait::async_trait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, sea_query::Expr};
use tokio::io::AsyncReadExt;

pub(crate) struct S3Parts {
    database: Database,
    objects: S3Objects,
}

impl S3Parts {
    pub(crate) fn new(database: Database, objects: S3Objects) -> Self {
        Self { database, objects }
    }

    /// Reads the joined object once, for its checksum and for whoever looks into it.
    async fn read(&self, upload: &Upload, key: &ObjectKey) -> Result<StagedObject> {
        let reader = self.objects.open(key, None).await?;
        let mut staging = self.objects.stage().await?;
        tokio::io::copy(&mut reader.take(upload.size_bytes + 1), &mut staging).await?;
        staging.finish().await
    }

    /// Lets parts come again after they were joined: a new upload gets them as they are. The upload under its new name, which
    /// may be another process' doing. The object stays until they are joined again, or dropped: somebody may be making a file
    /// of it, which the new name forbids unless it has been done.
    async fn reopen(&self, upload: &Upload) -> Result<Multipart> {
        let (bucket, key) = (self.objects.bucket(), object_key(upload.id.as_uuid())?);
        let reopened = match bucket.begin_from(&key, upload.part_size).await {
            Ok(reopened) => reopened,
            Err(Error::NotFound) => return self.renamed(upload).await,
            Err(error) => return Err(error),
        };
        let renamed = Entity::update_many()
            .col_expr(Column::StoreName, Expr::value(reopened.name.clone()))
            .filter(Column::Id.eq(upload.id.as_uuid()))
            .filter(Column::StoreName.eq(upload.store_name.clone()))
            .exec(self.database.writer())
            .await?;
        if renamed.rows_affected == 0 {
            bucket.abort(&reopened).await?;
            return self.renamed(upload).await;
        }
        Ok(reopened)
    }

    /// [`Error::NotFound`] unless somebody has opened it again.
    async fn renamed(&self, upload: &Upload) -> Result<Multipart> {
        let row = Entity::find_by_id(upload.id.as_uuid()).one(self.database.reader()).await?;
        let name = row.and_then(|row| row.store_name).filter(|name| Some(name) != upload.store_name.as_ref());
        Ok(Multipart { key: object_key(upload.id.as_uuid())?, name: name.ok_or(Error::NotFound)? })
    }

    async fn is_joined(&self, upload: &Upload) -> Result<bool> {
        let size = self.objects.bucket().size(&object_key(upload.id.as_uuid())?).await?;
        Ok(size == Some(upload.size_bytes))
    }
}

#[async_trait]
impl Parts for S3Parts {
    async fn begin(&self, id: UploadId) -> Result<Option<String>> {
        Ok(Some(self.objects.bucket().begin(&object_key(id.as_uuid())?).await?.name))
    }

    async fn put(&self, upload: &Upload, number: u32, staged: StagedObject) -> Result<()> {
        let (bucket, multipart) = (self.objects.bucket(), multipart(upload)?);
        let from = (staged.path(), staged.size_bytes);
        match bucket.put_part(&multipart, number, from).await {
            // Joined to what was refused, or dropped.
            Err(Error::NotFound) => bucket.put_part(&self.reopen(upload).await?, number, from).await,
            outcome => outcome,
        }
    }

    async fn progress(&self, upload: &Upload) -> Result<Progress> {
        let (bucket, multipart) = (self.objects.bucket(), multipart(upload)?);
        let Some(parts) = bucket.parts(&multipart).await? else {
            let joined = self.is_joined(upload).await?;
            let present = if joined { (1..=upload.parts).collect() } else { vec![] };
            // Only we can let parts come again.
            return Ok(Progress { present, urls: vec![] });
        };
        let present = fitting(upload, parts).into_iter().map(|part| part.number).collect();
        let mut urls = vec![];
        for number in 1..=upload.parts {
            match bucket.part_url(&multipart, number, upload.size_of(number)?).await? {
                Some(url) => urls.push(url),
                None => break,
            }
        }
        Ok(Progress { present, urls })
    }

    async fn join(&self, upload: &Upload) -> Result<StagedObject> {
        let (bucket, multipart) = (self.objects.bucket(), multipart(upload)?);
        match bucket.parts(&multipart).await? {
            Some(parts) => {
                let parts = fitting(upload, parts);
                if parts.len() < upload.parts as usize {
                    return Err(Conflict::UploadIncomplete.into());
                }
                bucket.join(&multipart, parts).await?;
            }
            // Somebody else did, or we before the answer was lost.
            None if self.is_joined(upload).await? => {}
            None => return Err(Conflict::UploadIncomplete.into()),
        }
        let mut staged = self.read(upload, &multipart.key).await?;
        let promised = upload.sha256.as_ref().is_none_or(|promised| *promised == staged.sha256);
        if staged.size_bytes != upload.size_bytes || !promised {
            self.reopen(upload).await?;
            return Err(Conflict::ChecksumMismatch.into());
        }
        staged.stored = Some(multipart);
        Ok(staged)
    }

    /// The object is the file's.
    async fn clear(&self, _id: UploadId) -> Result<()> {
        Ok(())
    }

    async fn discard(&self, dropped: &Dropped) -> Result<()> {
        let (bucket, key) = (self.objects.bucket(), object_key(dropped.id.as_uuid())?);
        if let Some(name) = dropped.store_name.clone() {
            bucket.abort(&Multipart { key: key.clone(), name }).await?;
        }
        bucket.delete(&key).await
    }

    /// What the store has without a row of ours goes by its age, with all that is staged there.
    async fn sweep(&self) -> Result<u64> {
        Ok(0)
    }
}

/// [`Error::NotFound`] for one that was begun before the store was configured.
fn multipart(upload: &Upload) -> Result<Multipart> {
    let name = upload.store_name.clone().ok_or(Error::NotFound)?;
    Ok(Multipart { key: object_key(upload.id.as_uuid())?, name })
}

/// Clients may have put anything: a part of another size is not there.
fn fitting(upload: &Upload, parts: Vec<StoredPart>) -> Vec<StoredPart> {
    let fits = |part: &StoredPart| upload.size_of(part.number).is_ok_and(|size| size == part.size_bytes);
    parts.into_iter().filter(fits).collect()
}
