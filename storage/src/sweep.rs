//! Takes away what nobody can reach any more: expired rows, and bytes without a row. Writes down what time has brought
//! about.

use crate::{
    Storage, audit,
    campaigns::course,
    conversations,
    error::Result,
    files, garbage,
    ids::{FileId, UserId},
    jobs::{KEY_LIFETIME, sweep_questions},
    live_names, logins,
    objects::{ObjectKey, PREFIXES},
    password_resets,
    rooms::{recordings, rows::recording_chunks},
    rows::{files as file_rows, idempotency_keys, jobs, uploads, voice_profiles},
    webhooks, workers,
};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use pipeline::state::JobState;
use sea_orm::{ColumnTrait, EntityTrait, ModelTrait, QueryFilter, QueryOrder, QuerySelect};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};
use uuid::Uuid;

/// Bytes without a row are left alone for this long: their row may be on its way.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// They are old when they go, and to find them takes a look at all that there is.
const ORPHANS_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How long what guests said is kept, of whom nobody can ask for it.
const GUESTS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Rows looked at in one go.
const BATCH: u64 = garbage::BATCH;

/// How much was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub files: u64,
    pub jobs: u64,
    pub objects: u64,
    pub uploads: u64,
    pub staged: u64,
    pub logins: u64,
    pub idempotency_keys: u64,
    /// Not removed: completed, because their end has passed.
    pub campaigns: u64,
    pub security_events: u64,
    pub live_names: u64,
}

/// When this process last looked for objects without a row, in seconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans(Arc<AtomicI64>);

impl Orphans {
    fn are_due(&self, now: DateTime<Utc>) -> bool {
        now.timestamp().saturating_sub(self.0.load(Ordering::Relaxed))
            >= ORPHANS_EVERY.as_secs().cast_signed()
    }

    fn were_swept(&self, now: DateTime<Utc>) {
        self.0.store(now.timestamp(), Ordering::Relaxed);
    }
}

impl Storage {
    /// Safe beside everything else, at any time; often enough is every few minutes.
    pub async fn sweep(&self) -> Result<Swept> {
        let now = self.database.now();
        // Files before jobs, so that an interrupted sweep leaves no output without its job.
        let files = self.sweep_files(now).await?;
        let (jobs, security_events) = match self.retention {
            Some(kept) => {
                (self.sweep_jobs(now - kept).await?, audit::sweep(&self.database, now - kept).await?)
            }
            None => (0, 0),
        };
        if let Some(kept) = self.retention {
            recordings::sweep(&self.database, now - kept).await?;
            webhooks::sweep(&self.database, now - kept).await?;
        }
        let idempotency_keys = self.sweep_keys(now - KEY_LIFETIME).await?;
        let logins = logins::sweep(&self.database, now - Duration::from_secs(24 * 3600)).await?;
        conversations::sweep(self.database.writer(), now - GUESTS_KEPT).await?;
        password_resets::sweep(self.database.writer(), now).await?;
        workers::sweep(&self.database, now).await?;
        sweep_questions(&self.database, now).await?;
        let live_names = live_names::sweep(&self.database, now).await?;
        let campaigns = course::complete(&self.database).await?;
        let uploads = self.uploads.sweep().await?;
        let mut objects = garbage::collect(&self.database, self.objects.as_ref()).await?;
        if self.orphans.are_due(now) {
            objects += self.sweep_orphans(SystemTime::from(now) - ORPHAN_AGE).await?;
            self.orphans.were_swept(now);
        }
        // Last, for it needs rights in the store that the rest does not.
        let staged = self.sweep_staging().await?;
        Ok(Swept {
            files,
            jobs,
            objects,
            uploads,
            staged,
            logins,
            idempotency_keys,
            campaigns,
            security_events,
            live_names,
        })
    }

    /// The part of [`Storage::sweep`] that each process must do for itself: what it staged lies on its own disk.
    pub async fn sweep_staging(&self) -> Result<u64> {
        self.objects.sweep_staging(SystemTime::from(self.database.now()) - ORPHAN_AGE).await
    }

    /// A file that a job still needs is kept until the job ends.
    async fn sweep_files(&self, now: DateTime<Utc>) -> Result<u64> {
        let mut swept = 0;
        let mut kept: Vec<Uuid> = vec![];
        loop {
            let rows = file_rows::Entity::find()
                .filter(file_rows::Column::ExpiresAt.lte(now))
                .filter(file_rows::Column::Id.is_not_in(kept.iter().copied()))
                .order_by_asc(file_rows::Column::ExpiresAt)
                .limit(BATCH)
                .all(self.database.reader())
                .await?;
            if rows.is_empty() {
                return Ok(swept);
            }
            let mut owners: HashMap<Uuid, Vec<file_rows::Model>> = HashMap::new();
            rows.into_iter().for_each(|row| owners.entry(row.owner_id).or_default().push(row));
            for (owner, rows) in owners {
                swept += self.sweep_files_of(owner.into(), rows, &mut kept).await?;
            }
        }
    }

    /// Those of one owner, who meanwhile submits no job for one of them. What stays is added to `kept`.
    async fn sweep_files_of(
        &self,
        owner: UserId,
        rows: Vec<file_rows::Model>,
        kept: &mut Vec<Uuid>,
    ) -> Result<u64> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let mut swept = 0;
        for row in rows {
            if files::is_in_use(&transaction, FileId::from(row.id)).await? {
                kept.push(row.id);
                continue;
            }
            garbage::add(&transaction, [row.object_key.clone()], now).await?;
            row.delete(&transaction).await?;
            swept += 1;
        }
        transaction.commit().await?;
        Ok(swept)
    }

    /// Files that a job made have their own time.
    async fn sweep_jobs(&self, before: DateTime<Utc>) -> Result<u64> {
        let terminal = || JobState::ALL.into_iter().filter(|state| state.is_terminal()).map(JobState::as_str);
        let mut swept = 0;
        loop {
            let ids: Vec<Uuid> = jobs::Entity::find()
                .filter(jobs::Column::State.is_in(terminal()))
                // Implied by the next condition, and what the index knows.
                .filter(jobs::Column::RunAfter.lt(before))
                .filter(jobs::Column::FinishedAt.lt(before))
                .limit(BATCH)
                .select_only()
                .column(jobs::Column::Id)
                .into_tuple()
                .all(self.database.reader())
                .await?;
            if ids.is_empty() {
                return Ok(swept);
            }
            let deleted = jobs::Entity::delete_many()
                .filter(jobs::Column::Id.is_in(ids))
                // A failed one may have been begun again.
                .filter(jobs::Column::State.is_in(terminal()))
                .exec(self.database.writer())
                .await?;
            swept += deleted.rows_affected;
        }
    }

    async fn sweep_keys(&self, before: DateTime<Utc>) -> Result<u64> {
        let deleted = idempotency_keys::Entity::delete_many()
            .filter(idempotency_keys::Column::CreatedAt.lt(before))
            .exec(self.database.writer())
            .await?;
        Ok(deleted.rows_affected)
    }

    /// Deletes old objects without a row: what a crash left between the bytes and the row, and what leases made that
    /// were lost. `previews/` is a cache, whose objects never have a row: what is old there is made again when asked.
    async fn sweep_orphans(&self, before: SystemTime) -> Result<u64> {
        let mut swept = 0;
        for prefix in PREFIXES {
            let mut pages = self.objects.pages(prefix);
            while let Some(mut page) = pages.try_next().await? {
                page.retain(|(_, published)| *published < before);
                for chunk in page.chunks(BATCH as usize) {
                    swept += self.sweep_unknown(chunk).await?;
                }
            }
        }
        Ok(swept)
    }

    async fn sweep_unknown(&self, old: &[(ObjectKey, SystemTime)]) -> Result<u64> {
        let keys: Vec<&ObjectKey> = old.iter().map(|(key, _)| key).collect();
        let referenced = self.referenced(&keys).await?;
        let unknown = |key: &&ObjectKey| !referenced.contains(key.as_str());
        let unknown: Vec<ObjectKey> = keys.into_iter().filter(unknown).cloned().collect();
        Ok(garbage::delete_all(self.objects.as_ref(), &unknown).await.len() as u64)
    }

    async fn referenced(&self, keys: &[&ObjectKey]) -> Result<HashSet<String>> {
        let names = || keys.iter().map(|key| key.as_str());
        // What the store has put together of an upload is not swept before the upload is.
        let ids = keys.iter().filter_map(|key| key.as_str().rsplit('/').next()?.parse::<Uuid>().ok());
        let uploads: Vec<Uuid> = uploads::Entity::find()
            .filter(uploads::Column::Id.is_in(ids))
            .select_only()
            .column(uploads::Column::Id)
            .into_tuple()
            .all(self.database.reader())
            .await?;
        let reader = self.database.reader();
        let mut referenced: HashSet<String> = file_rows::Entity::find()
            .filter(file_rows::Column::ObjectKey.is_in(names()))
            .select_only()
            .column(file_rows::Column::ObjectKey)
            .into_tuple::<String>()
            .all(reader)
            .await?
            .into_iter()
            .collect();
        let voices = voice_profiles::Entity::find()
            .filter(voice_profiles::Column::ObjectKey.is_in(names()))
            .select_only()
            .column(voice_profiles::Column::ObjectKey)
            .into_tuple::<String>()
            .all(reader)
            .await?;
        let chunks = recording_chunks::Entity::find()
            .filter(recording_chunks::Column::ObjectKey.is_in(names()))
            .select_only()
            .column(recording_chunks::Column::ObjectKey)
            .into_tuple::<String>()
            .all(reader)
            .await?;
        for upload in uploads {
            referenced.insert(files::object_key(upload)?.to_string());
        }
        referenced.extend(voices);
        referenced.extend(chunks);
        Ok(referenced)
    }
}
