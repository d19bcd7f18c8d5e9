//! Voice profiles. Each keeps the sample's bytes as its own, so it outlives the file that it was made from.

use crate::{
    database::Database,
    error::{Error, Result},
    files::{Files, stored_size},
    garbage,
    ids::{FileId, UserId, VoiceId},
    objects::ObjectKey,
    quota::{Room, check_room},
    rows::voice_profiles::{ActiveModel, Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use pipeline::media_info::MediaInfo;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ModelTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub struct VoiceProfile {
    pub id: VoiceId,
    pub owner: UserId,
    pub name: String,
    pub description: Option<String>,
    /// ISO 639-1 code.
    pub language: String,
    pub gender: Option<Gender>,
    pub consent: Option<Value>,
    /// The sample, as it was uploaded.
    pub object_key: ObjectKey,
    pub sample: Option<FileId>,
    pub speech_seconds: f64,
    pub media: Option<MediaInfo>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gender {
    Female,
    Male,
    Neutral,
}

pub struct NewVoice {
    pub owner: UserId,
    pub name: String,
    pub description: Option<String>,
    pub language: String,
    pub gender: Option<Gender>,
    pub consent: Option<Value>,
    pub sample: FileId,
    pub speech_seconds: f64,
}

#[derive(Clone, Debug, Default)]
pub struct VoiceFilter {
    pub language: Option<String>,
    pub gender: Option<Gender>,
}

#[derive(Clone)]
pub struct Voices {
    files: Files,
}

impl Voices {
    pub(crate) fn new(files: Files) -> Self {
        Self { files }
    }

    /// [`Error::MissingInput`] with the field `audio_sample_id` where the owner has no such file. The copy of the
    /// sample counts in the quota.
    pub async fn create(&self, new: NewVoice) -> Result<VoiceProfile> {
        let sample = self.files.find(new.owner, new.sample).await.map_err(|error| match error {
            Error::NotFound => Error::MissingInput { field: "audio_sample_id".to_owned() },
            other => other,
        })?;
        let id = VoiceId::new();
        let object_key = ObjectKey::parse(&format!("voices/{id}/sample"))?;
        // Before the copy, which may be long, and again with the row, for others may have come meanwhile.
        let room = Room { owner: new.owner, size_bytes: sample.size_bytes };
        check_room(self.database().reader(), &room, self.files.default_quota_bytes).await?;
        let objects = self.files.objects.as_ref();
        let mut staging = objects.stage().await?;
        let mut bytes = objects.open(&sample.object_key, None).await?;
        tokio::io::copy(&mut bytes, &mut staging).await?;
        objects.publish(staging.finish().await?, &object_key).await?;
        let row = ActiveModel {
            id: Set(id.into()),
            owner_id: Set(new.owner.into()),
            name: Set(new.name),
            description: Set(new.description),
            language: Set(new.language),
            gender: Set(new.gender.map(|gender| gender.as_str().to_owned())),
            consent: Set(new.consent),
            object_key: Set(object_key.to_string()),
            size_bytes: Set(stored_size(sample.size_bytes)?),
            sample_file_id: Set(Some(new.sample.into())),
            speech_seconds: Set(new.speech_seconds),
            media: Set(sample.media.map(serde_json::to_value).transpose()?),
            created_at: Set(self.database().now()),
        };
        let inserted = self.insert_row(row, room).await;
        if inserted.is_err()
            && let Err(error) = objects.delete(&object_key).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a sample without a row is left to sweep"
            );
        }
        inserted
    }

    pub async fn find(&self, owner: UserId, id: VoiceId) -> Result<VoiceProfile> {
        find(self.database().reader(), owner, id).await
    }

    /// Newest first.
    pub async fn list(&self, owner: UserId, filter: &VoiceFilter) -> Result<Vec<VoiceProfile>> {
        let mut select = Entity::find().filter(Column::OwnerId.eq(owner.as_uuid()));
        if let Some(language) = &filter.language {
            select = select.filter(Column::Language.eq(language));
        }
        if let Some(gender) = filter.gender {
            select = select.filter(Column::Gender.eq(gender.as_str()));
        }
        let select = select.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id);
        let rows = select.all(self.database().reader()).await?;
        rows.into_iter().map(VoiceProfile::try_from).collect()
    }

    pub async fn delete(&self, owner: UserId, id: VoiceId) -> Result<()> {
        let database = self.database();
        let transaction = database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        let object_key = ObjectKey::parse(&row.object_key)?;
        garbage::add(&transaction, [row.object_key.clone()], database.now()).await?;
        row.delete(&transaction).await?;
        transaction.commit().await?;
        garbage::collect_one(database, self.files.objects.as_ref(), &object_key).await;
        Ok(())
    }

    fn database(&self) -> &Database {
        &self.files.database
    }

    async fn insert_row(&self, row: ActiveModel, room: Room) -> Result<VoiceProfile> {
        let transaction = self.database().begin(room.owner).await?;
        check_room(&transaction, &room, self.files.default_quota_bytes).await?;
        let row = row.insert(&transaction).await?;
        transaction.commit().await?;
        row.try_into()
    }
}

impl Gender {
    pub const ALL: [Self; 3] = [Self::Female, Self::Male, Self::Neutral];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Female => "female",
            Self::Male => "male",
            Self::Neutral => "neutral",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gender| gender.as_str() == text)
    }
}

pub(crate) async fn find(
    database: &impl ConnectionTrait,
    owner: UserId,
    id: VoiceId,
) -> Result<VoiceProfile> {
    owned(database, owner, id).await?.try_into()
}

/// Those of them that are the owner's.
pub(crate) async fn find_all(
    database: &impl ConnectionTrait,
    owner: UserId,
    ids: BTreeSet<Uuid>,
) -> Result<HashSet<Uuid>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = Entity::find().filter(Column::Id.is_in(ids)).filter(Column::OwnerId.eq(owner.as_uuid()));
    let found: Vec<Uuid> = rows.select_only().column(Column::Id).into_tuple().all(database).await?;
    Ok(found.into_iter().collect())
}

async fn owned(database: &impl ConnectionTrait, owner: UserId, id: VoiceId) -> Result<Model> {
    let row =
        Entity::find_by_id(id.as_uuid()).filter(Column::OwnerId.eq(owner.as_uuid())).one(database).await?;
    row.ok_or(Error::NotFound)
}

impl TryFrom<Model> for VoiceProfile {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let gender = |text: String| {
            Gender::parse(&text)
                .ok_or_else(|| Error::internal(format!("the row has the unknown gender {text}")))
        };
        Ok(Self {
            id: row.id.into(),
            owner: row.owner_id.into(),
            name: row.name,
            description: row.description,
            language: row.language,
            gender: row.gender.map(gender).transpose()?,
            consent: row.consent,
            object_key: ObjectKey::parse(&row.object_key)?,
            sample: row.sample_file_id.map(FileId::from),
            speech_seconds: row.speech_seconds,
            media: row.media.map(serde_json::from_value).transpose()?,
            created_at: row.created_at,
        })
    }
}
