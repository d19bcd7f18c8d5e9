//! Files: what users upload and jobs make. A row appears after its bytes and goes before them, so whoever sees a row
//! can read it; bytes that a crash left without a row are swept.

use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    garbage,
    ids::{FileId, JobId, ProjectId, UploadId, UserId},
    objects::{ObjectKey, Objects, StagedObject, s3::Multipart},
    page::{Keys, Listing, Page, Position, listing, narrow},
    projects,
    quota::{self, Room, Usage, check_room},
    rooms::{chunks, recordings::Recording, settling},
    rows::{
        files::{ActiveModel, Column, Entity, Model},
        job_inputs, jobs,
    },
    uploads,
};
use chrono::{DateTime, Utc};
use pipeline::{media_info::MediaInfo, state::JobState};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, ModelTrait, QueryFilter, Set,
    sea_query::{Expr, IntoTableRef, Query},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub struct File {
    pub id: FileId,
    pub owner: UserId,
    /// Its id and name.
    pub project: Option<(ProjectId, String)>,
    pub filename: String,
    pub content_type: String,
    pub kind: FileKind,
    pub size_bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// None for text.
    pub media: Option<MediaInfo>,
    pub object_key: ObjectKey,
    /// The job that made it.
    pub job: Option<JobId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    Video,
    Audio,
    Text,
}

pub struct NewFile {
    pub owner: UserId,
    /// The oldest of that name, or a new one.
    pub project_name: Option<String>,
    pub filename: String,
    pub content_type: String,
    pub kind: FileKind,
    pub media: Option<MediaInfo>,
    pub staged: StagedObject,
    /// The upload that it came by, which ends with the file's beginning.
    pub upload: Option<UploadId>,
}

#[derive(Clone, Debug, Default)]
pub struct FileFilter {
    pub project: Option<ProjectId>,
    pub kind: Option<FileKind>,
}

#[derive(Clone)]
pub struct Files {
    pub(crate) database: Database,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) default_quota_bytes: u64,
    pub(crate) retention: Option<Duration>,
}

impl Files {
    /// [`Error::QuotaExceeded`] where it does not fit, and [`Error::NotFound`] where its upload is a file already or was
    /// dropped; then nothing is left behind.
    pub async fn insert(&self, new: NewFile) -> Result<File> {
        self.insert_from(new, None).await
    }

    /// The file that a recording becomes; its chunks go as it comes. [`Error::NotFound`] where it is a file already.
    pub async fn insert_recorded(&self, new: NewFile, recording: &Recording) -> Result<File> {
        self.insert_from(new, Some(recording)).await
    }

    async fn insert_from(&self, new: NewFile, recording: Option<&Recording>) -> Result<File> {
        let id = FileId::new();
        // The object store may have put it together from parts.
        let stored = new.staged.stored.clone();
        let object_key =
            stored.as_ref().map_or_else(|| object_key(id.as_uuid()), |stored| Ok(stored.key.clone()))?;
        let size_bytes = new.staged.size_bytes;
        let now = self.database.now();
        let row = ActiveModel {
            id: Set(id.into()),
            owner_id: Set(new.owner.into()),
            project_id: Set(None),
            filename: Set(new.filename),
            content_type: Set(new.content_type),
            kind: Set(new.kind.as_str().to_owned()),
            size_bytes: Set(stored_size(size_bytes)?),
            sha256: Set(new.staged.sha256.clone()),
            media: Set(new.media.map(serde_json::to_value).transpose()?),
            object_key: Set(object_key.to_string()),
            job_id: Set(None),
            position: Set(0),
            created_at: Set(now),
            expires_at: Set(self.retention.map(|kept| now + kept)),
        };
        self.objects.publish(new.staged, &object_key).await?;
        let room = Room { owner: new.owner, size_bytes };
        let upload = new.upload.map(|id| Joined { id, stored: stored.as_ref() });
        let entry = Entry { room, project_name: new.project_name, upload, recording };
        let inserted = self.insert_row(row, entry).await;
        // One that came in parts is its upload's, which may be another file by now; or it is left to sweep.
        if inserted.is_err()
            && stored.is_none()
            && let Err(error) = self.objects.delete(&object_key).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an object without a row is left to sweep"
            );
        }
        inserted
    }

    pub async fn find(&self, owner: UserId, id: FileId) -> Result<File> {
        find(self.database.reader(), owner, id).await
    }

    /// Whoever it belongs to: only for a caller who holds our signature over the id.
    pub async fn find_signed(&self, id: FileId) -> Result<File> {
        let reader = self.database.reader();
        let row = Entity::find_by_id(id.as_uuid()).one(reader).await?.ok_or(Error::NotFound)?;
        one(reader, row).await
    }

    pub async fn list(&self, owner: UserId, filter: &FileFilter, page: &Page) -> Result<Listing<File>> {
        let mut select = Entity::find().filter(Column::OwnerId.eq(owner.as_uuid()));
        if let Some(project) = filter.project {
            select = select.filter(Column::ProjectId.eq(project.0));
        }
        if let Some(kind) = filter.kind {
            select = select.filter(Column::Kind.eq(kind.as_str()));
        }
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let reader = self.database.reader();
        let rows = narrow(select, keys, page)?.all(reader).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        Ok(Listing { items: from_rows(reader, rows.items).await?, next_cursor: rows.next_cursor })
    }

    /// [`Conflict::FileInUse`] while a job that is not finished needs it.
    pub async fn delete(&self, owner: UserId, id: FileId) -> Result<()> {
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        if is_in_use(&transaction, id).await? {
            return Err(Conflict::FileInUse.into());
        }
        let object_key = ObjectKey::parse(&row.object_key)?;
        garbage::add(&transaction, [row.object_key.clone()], self.database.now()).await?;
        row.delete(&transaction).await?;
        transaction.commit().await?;
        garbage::collect_one(&self.database, self.objects.as_ref(), &object_key).await;
        Ok(())
    }

    /// Files, the samples of voice profiles, and recordings that are no files yet.
    pub async fn usage(&self, owner: UserId) -> Result<Usage> {
        quota::usage(self.database.reader(), owner, self.default_quota_bytes).await
    }

    async fn insert_row(&self, row: ActiveModel, entry: Entry<'_>) -> Result<File> {
        let Entry { room, project_name, upload, recording } = entry;
        let transaction = self.database.begin(room.owner).await?;
        if let Some(upload) = upload {
            uploads::end_joined(&transaction, (room.owner, upload.id), upload.stored).await?;
        }
        if let Some(recording) = recording {
            chunks::discard(&transaction, recording.id, self.database.now()).await?;
        }
        check_room(&transaction, &room, self.default_quota_bytes).await?;
        let mut row = row;
        if let Some(name) = &project_name {
            let named = projects::Named { name, now: self.database.now() };
            let project = projects::find_or_create(&transaction, room.owner, named).await?;
            row.project_id = Set(Some(project.id.0));
        }
        let row = row.insert(&transaction).await?;
        if let Some(recording) = recording {
            settling::set_file(&transaction, recording, row.id.into()).await?;
        }
        transaction.commit().await?;
        let project = row.project_id.map(ProjectId).zip(project_name);
        from_row(row, project)
    }
}

/// What a new row brings about.
struct Entry<'a> {
    room: Room,
    project_name: Option<String>,
    upload: Option<Joined<'a>>,
    recording: Option<&'a Recording>,
}

struct Joined<'a> {
    id: UploadId,
    /// As the store has it, where the store joined it.
    stored: Option<&'a Multipart>,
}

impl FileKind {
    pub const ALL: [Self; 3] = [Self::Video, Self::Audio, Self::Text];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Text => "text",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

pub(crate) async fn find(database: &impl ConnectionTrait, owner: UserId, id: FileId) -> Result<File> {
    let row = owned(database, owner, id).await?;
    one(database, row).await
}

/// Those of them that are the owner's. No more are asked for than the jobs of a batch can name.
pub(crate) async fn find_all(
    database: &impl ConnectionTrait,
    owner: UserId,
    ids: BTreeSet<Uuid>,
) -> Result<Vec<File>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let rows = Entity::find().filter(Column::Id.is_in(ids)).filter(Column::OwnerId.eq(owner.as_uuid()));
    from_rows(database, rows.all(database).await?).await
}

/// Whether a job that is not finished reads the file.
pub(crate) async fn is_in_use(database: &impl ConnectionTrait, id: FileId) -> Result<bool> {
    let unfinished = JobState::ALL.into_iter().filter(|state| !state.is_terminal()).map(JobState::as_str);
    let query = Query::select()
        .expr(Expr::val(1))
        .from(job_inputs::Entity.into_table_ref())
        .inner_join(
            jobs::Entity.into_table_ref(),
            Expr::col((jobs::Entity, jobs::Column::Id))
                .equals((job_inputs::Entity, job_inputs::Column::JobId)),
        )
        .and_where(Expr::col((job_inputs::Entity, job_inputs::Column::FileId)).eq(id.as_uuid()))
        .and_where(Expr::col((jobs::Entity, jobs::Column::State)).is_in(unfinished))
        .limit(1)
        .to_owned();
    Ok(database.query_one(&query).await?.is_some())
}

pub(crate) async fn from_rows(database: &impl ConnectionTrait, rows: Vec<Model>) -> Result<Vec<File>> {
    let names = projects::names(database, rows.iter().filter_map(|row| row.project_id).collect()).await?;
    let with_project = |row: Model| {
        let project = row.project_id.and_then(|id| Some((ProjectId(id), names.get(&id)?.clone())));
        from_row(row, project)
    };
    rows.into_iter().map(with_project).collect()
}

pub(crate) fn stored_size(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Error::input("size_bytes", "is larger than anything that can be stored"))
}

async fn owned(database: &impl ConnectionTrait, owner: UserId, id: FileId) -> Result<Model> {
    let row =
        Entity::find_by_id(id.as_uuid()).filter(Column::OwnerId.eq(owner.as_uuid())).one(database).await?;
    row.ok_or(Error::NotFound)
}

async fn one(database: &impl ConnectionTrait, row: Model) -> Result<File> {
    from_rows(database, vec![row]).await?.pop().ok_or(Error::NotFound)
}

/// Of the file, or of what is to be one. Spread over 256 directories by the last, random digits of the id.
pub(crate) fn object_key(id: Uuid) -> Result<ObjectKey> {
    let id = id.simple().to_string();
    ObjectKey::parse(&format!("files/{}/{id}", &id[30..]))
}

fn from_row(row: Model, project: Option<(ProjectId, String)>) -> Result<File> {
    let kind = FileKind::parse(&row.kind)
        .ok_or_else(|| Error::internal(format!("the row has the unknown kind {}", row.kind)))?;
    Ok(File {
        id: row.id.into(),
        owner: row.owner_id.into(),
        project,
        filename: row.filename,
        content_type: row.content_type,
        kind,
        size_bytes: row.size_bytes.unsigned_abs(),
        sha256: row.sha256,
        media: row.media.map(serde_json::from_value).transpose()?,
        object_key: ObjectKey::parse(&row.object_key)?,
        job: row.job_id.map(JobId::from),
        created_at: row.created_at,
        expires_at: row.expires_at,
    })
}
