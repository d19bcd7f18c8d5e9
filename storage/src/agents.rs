//! Agents: who speaks in a campaign, with which models, in what voice and to what end.

use crate::{
    calling_rows::agents::{ActiveModel, Column, Entity, Model},
    campaigns::course,
    database::Database,
    error::{Conflict, Error, Result},
    ids::{AgentId, UserId},
    page::{Counted, Keys, Listing, Page, Position, Slice, listing, narrow, narrow_slice},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ModelTrait, PaginatorTrait,
    QueryFilter, QuerySelect, QueryTrait, Set, SqlErr,
    sea_query::{LikeExpr, SelectStatement},
};
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    pub id: AgentId,
    pub owner: UserId,
    /// No other of its owner's has it.
    pub name: String,
    pub description: Option<String>,
    pub llm_provider: String,
    pub llm_model: String,
    pub stt_provider: String,
    pub tts_provider: String,
    pub system_prompt: String,
    pub language: String,
    pub voice_parameters: Map<String, Value>,
    pub status: AgentStatus,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentStatus {
    Active,
    /// Takes no part in campaigns.
    Inactive,
}

pub struct NewAgent {
    pub owner: UserId,
    pub name: String,
    pub description: Option<String>,
    pub llm_provider: String,
    pub llm_model: String,
    pub stt_provider: String,
    pub tts_provider: String,
    pub system_prompt: String,
    pub language: String,
    pub voice_parameters: Map<String, Value>,
}

/// What is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct AgentChange {
    pub name: Option<String>,
    pub description: Option<String>,
    pub llm_provider: Option<String>,
    pub llm_model: Option<String>,
    pub stt_provider: Option<String>,
    pub tts_provider: Option<String>,
    pub system_prompt: Option<String>,
    pub language: Option<String>,
    pub voice_parameters: Option<Map<String, Value>>,
    pub status: Option<AgentStatus>,
}

#[derive(Clone, Debug, Default)]
pub struct AgentFilter {
    /// Stands in the name or the description, in capitals or not.
    pub search: Option<String>,
    pub status: Option<AgentStatus>,
}

#[derive(Clone)]
pub struct Agents {
    database: Database,
}

impl Agents {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// [`Conflict::AgentExists`] where the owner has one of that name.
    pub async fn create(&self, new: NewAgent) -> Result<Agent> {
        let now = self.database.now();
        let row = ActiveModel {
            id: Set(AgentId::new().into()),
            user_id: Set(new.owner.into()),
            search_text: Set(search_text(&new.name, new.description.as_deref())),
            name: Set(new.name),
            description: Set(new.description),
            llm_provider: Set(new.llm_provider),
            llm_model: Set(new.llm_model),
            stt_provider: Set(new.stt_provider),
            tts_provider: Set(new.tts_provider),
            system_prompt: Set(new.system_prompt),
            language: Set(new.language),
            voice_parameters: Set(new.voice_parameters.into()),
            status: Set(AgentStatus::Active.as_str().to_owned()),
            created_at: Set(now),
            updated_at: Set(now),
        };
        row.insert(self.database.writer()).await.map_err(refused)?.try_into()
    }

    pub async fn find(&self, owner: UserId, id: AgentId) -> Result<Agent> {
        owned(self.database.reader(), owner, id).await?.try_into()
    }

    /// Newest first.
    pub async fn list(&self, owner: UserId, filter: &AgentFilter, slice: &Slice) -> Result<Counted<Agent>> {
        let mut select = Entity::find().filter(Column::UserId.eq(owner.as_uuid()));
        if let Some(status) = filter.status {
            select = select.filter(Column::Status.eq(status.as_str()));
        }
        if let Some(search) = &filter.search {
            select = select.filter(Column::SearchText.like(containing(search)));
        }
        let reader = self.database.reader();
        let total = select.clone().count(reader).await?;
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow_slice(select, keys, slice).all(reader).await?;
        Ok(Counted { total, items: rows.into_iter().map(Agent::try_from).collect::<Result<_>>()? })
    }

    /// All that the owner has, for whoever reads on to the end.
    pub async fn every(&self, owner: UserId, page: &Page) -> Result<Listing<Agent>> {
        let select = Entity::find().filter(Column::UserId.eq(owner.as_uuid()));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(Agent::try_from)
    }

    /// The active campaigns of one that becomes inactive are paused. [`Conflict::AgentExists`] where the owner has
    /// another of that name.
    pub async fn change(&self, owner: UserId, id: AgentId, change: AgentChange) -> Result<Agent> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        if change.status == Some(AgentStatus::Inactive) {
            course::pause_all(&transaction, id, now).await?;
        }
        let row = applied(row, change, now).update(&transaction).await.map_err(refused)?;
        transaction.commit().await?;
        row.try_into()
    }

    /// Its campaigns stay, without an agent; those that are active are paused.
    pub async fn delete(&self, owner: UserId, id: AgentId) -> Result<()> {
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        course::pause_all(&transaction, id, self.database.now()).await?;
        row.delete(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

impl AgentStatus {
    pub const ALL: [Self; 2] = [Self::Active, Self::Inactive];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

pub(crate) async fn owned(database: &impl ConnectionTrait, owner: UserId, id: AgentId) -> Result<Model> {
    let row =
        Entity::find_by_id(id.as_uuid()).filter(Column::UserId.eq(owner.as_uuid())).one(database).await?;
    row.ok_or(Error::NotFound)
}

/// The ids of the owner's agents that take part in campaigns.
pub(crate) fn active(owner: UserId) -> SelectStatement {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::UserId.eq(owner.as_uuid()))
        .filter(Column::Status.eq(AgentStatus::Active.as_str()))
        .into_query()
}

fn applied(row: Model, change: AgentChange, now: DateTime<Utc>) -> ActiveModel {
    let name = change.name.unwrap_or(row.name);
    let description = change.description.or(row.description);
    let voice_parameters = change.voice_parameters.map_or(row.voice_parameters, Value::Object);
    let status = change.status.map_or(row.status, |status| status.as_str().to_owned());
    ActiveModel {
        id: Set(row.id),
        user_id: Set(row.user_id),
        search_text: Set(search_text(&name, description.as_deref())),
        name: Set(name),
        description: Set(description),
        llm_provider: Set(change.llm_provider.unwrap_or(row.llm_provider)),
        llm_model: Set(change.llm_model.unwrap_or(row.llm_model)),
        stt_provider: Set(change.stt_provider.unwrap_or(row.stt_provider)),
        tts_provider: Set(change.tts_provider.unwrap_or(row.tts_provider)),
        system_prompt: Set(change.system_prompt.unwrap_or(row.system_prompt)),
        language: Set(change.language.unwrap_or(row.language)),
        voice_parameters: Set(voice_parameters),
        status: Set(status),
        created_at: Set(row.created_at),
        updated_at: Set(now),
    }
}

fn search_text(name: &str, description: Option<&str>) -> String {
    format!("{name}\n{}", description.unwrap_or_default()).to_lowercase()
}

/// The pattern of texts that contain this one, whose own signs stand for themselves.
fn containing(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}

/// The name is what must be unique; the account may have been erased meanwhile.
fn refused(cause: DbErr) -> Error {
    match cause.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Conflict::AgentExists.into(),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => Error::NotFound,
        Some(_) | None => cause.into(),
    }
}

impl TryFrom<Model> for Agent {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let status = AgentStatus::parse(&row.status)
            .ok_or_else(|| Error::internal(format!("the row has the unknown status {}", row.status)))?;
        Ok(Self {
            id: row.id.into(),
            owner: row.user_id.into(),
            name: row.name,
            description: row.description,
            llm_provider: row.llm_provider,
            llm_model: row.llm_model,
            stt_provider: row.stt_provider,
            tts_provider: row.tts_provider,
            system_prompt: row.system_prompt,
            language: row.language,
            voice_parameters: serde_json::from_value(row.voice_parameters)?,
            status,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
