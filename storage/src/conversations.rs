//! Conversations with the voice agent: who began them, and what was said. Whoever is logged in finds theirs again; a
//! guest's are nobody's, and go after a day.

use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    ids::{ConversationId, UserId, UtteranceId},
    page::{Keys, LARGEST_PAGE, Listing, Page, Position, listing, narrow},
    rows::{
        agent_sessions::{self, ActiveModel, Column, Entity, Model},
        utterances,
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select, Set, sea_query::Expr,
};
use serde_json::Value;

/// Utterances of one conversation: some hours of lively talk.
pub const MOST_UTTERANCES: u32 = 10_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    /// None for a guest's.
    pub user: Option<UserId>,
    pub room: String,
    pub system_prompt: String,
    pub metadata: Value,
    pub utterances: u32,
    pub started_at: DateTime<Utc>,
    /// None while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utterance {
    pub id: UtteranceId,
    pub conversation: ConversationId,
    pub role: Speaker,
    pub text: String,
    /// What happened where nothing was said, such as `speech_started`; else empty.
    pub event: String,
    /// False for what was still being said.
    pub is_final: bool,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaker {
    User,
    Agent,
}

pub struct NewConversation {
    pub user: Option<UserId>,
    pub room: String,
    pub system_prompt: String,
    /// An object.
    pub metadata: Value,
}

pub struct NewUtterance {
    pub role: Speaker,
    pub text: String,
    pub event: String,
    pub is_final: bool,
}

/// A part of a list by how many items lie before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// At least 1, at most [`LARGEST_PAGE`]; what lies outside is brought inside.
    pub limit: u64,
    pub offset: u64,
}

#[derive(Clone)]
pub struct Conversations {
    database: Database,
}

impl Conversations {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn start(&self, new: NewConversation) -> Result<Conversation> {
        let row = ActiveModel {
            id: Set(ConversationId::new().into()),
            user_id: Set(new.user.map(Into::into)),
            room: Set(new.room),
            system_prompt: Set(new.system_prompt),
            metadata: Set(new.metadata),
            utterance_count: Set(0),
            started_at: Set(self.database.now()),
            ended_at: Set(None),
        };
        Ok(row.insert(self.database.writer()).await?.into())
    }

    /// Adds what was said, by whoever it was. [`Conflict::ConversationOver`] where it has ended, or is as long as
    /// conversations get.
    pub async fn say(&self, conversation: &Conversation, new: NewUtterance) -> Result<Utterance> {
        let transaction = self.database.begin(conversation.id).await?;
        let counted = Entity::update_many()
            .col_expr(Column::UtteranceCount, Expr::col(Column::UtteranceCount).add(1))
            .filter(Column::Id.eq(conversation.id.as_uuid()))
            .filter(Column::EndedAt.is_null())
            .filter(Column::UtteranceCount.lt(MOST_UTTERANCES))
            .exec(&transaction)
            .await?;
        if counted.rows_affected == 0 {
            return Err(Conflict::ConversationOver.into());
        }
        let row = utterances::ActiveModel {
            id: Set(UtteranceId::new().into()),
            session_id: Set(conversation.id.into()),
            role: Set(new.role.as_str().to_owned()),
            text: Set(new.text),
            event: Set(new.event),
            is_final: Set(new.is_final),
            created_at: Set(self.database.now()),
        };
        let row = row.insert(&transaction).await?;
        transaction.commit().await?;
        row.try_into()
    }

    /// [`Conflict::ConversationOver`] where it has ended already.
    pub async fn end(&self, conversation: &Conversation) -> Result<Conversation> {
        // A clock that was put back makes none end before it began.
        let ended_at = Ord::max(self.database.now(), conversation.started_at);
        let transaction = self.database.begin(conversation.id).await?;
        let ended = Entity::update_many()
            .col_expr(Column::EndedAt, Expr::value(ended_at))
            .filter(Column::Id.eq(conversation.id.as_uuid()))
            .filter(Column::EndedAt.is_null())
            .exec(&transaction)
            .await?;
        if ended.rows_affected == 0 {
            return Err(Conflict::ConversationOver.into());
        }
        let row = Entity::find_by_id(conversation.id.as_uuid()).one(&transaction).await?;
        transaction.commit().await?;
        Ok(row.ok_or(Error::NotFound)?.into())
    }

    pub async fn find(&self, user: UserId, id: ConversationId) -> Result<Conversation> {
        let row = of(user).filter(Column::Id.eq(id.as_uuid())).one(self.database.reader()).await?;
        Ok(row.ok_or(Error::NotFound)?.into())
    }

    /// How many the user has, and those in the window, the latest first.
    pub async fn window(&self, user: UserId, window: Window) -> Result<(u64, Vec<Conversation>)> {
        let reader = self.database.reader();
        let count = of(user).count(reader).await?;
        // Beyond all of them SQLite could not even count.
        if window.offset >= count {
            return Ok((count, vec![]));
        }
        let rows = of(user)
            .order_by_desc(Column::StartedAt)
            .order_by_desc(Column::Id)
            .limit(window.limit.clamp(1, LARGEST_PAGE))
            .offset(window.offset)
            .all(reader)
            .await?;
        Ok((count, rows.into_iter().map(Conversation::from).collect()))
    }

    /// The same a page at a time.
    pub async fn list(&self, user: UserId, page: &Page) -> Result<Listing<Conversation>> {
        let keys = Keys { created_at: Column::StartedAt, id: Column::Id };
        let rows = narrow(of(user), keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.started_at, id: row.id });
        Ok(rows.map(Conversation::from))
    }

    /// All that was said, in order: no more than [`MOST_UTTERANCES`].
    pub async fn said(&self, conversation: &Conversation) -> Result<Vec<Utterance>> {
        let rows = utterances::Entity::find()
            .filter(utterances::Column::SessionId.eq(conversation.id.as_uuid()))
            .order_by_asc(utterances::Column::CreatedAt)
            .order_by_asc(utterances::Column::Id)
            .all(self.database.reader())
            .await?;
        rows.into_iter().map(Utterance::try_from).collect()
    }
}

impl Speaker {
    pub const ALL: [Self; 2] = [Self::User, Self::Agent];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|speaker| speaker.as_str() == text)
    }
}

/// Removes what guests said before `before`: nobody can ask for it. Returns how many conversations.
pub(crate) async fn sweep(database: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<u64> {
    let swept = Entity::delete_many()
        .filter(Column::UserId.is_null())
        .filter(Column::StartedAt.lt(before))
        .exec(database)
        .await?;
    Ok(swept.rows_affected)
}

fn of(user: UserId) -> Select<agent_sessions::Entity> {
    Entity::find().filter(Column::UserId.eq(user.as_uuid()))
}

impl From<Model> for Conversation {
    fn from(row: Model) -> Self {
        Self {
            id: row.id.into(),
            user: row.user_id.map(UserId::from),
            room: row.room,
            system_prompt: row.system_prompt,
            metadata: row.metadata,
            utterances: row.utterance_count.unsigned_abs(),
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

impl TryFrom<utterances::Model> for Utterance {
    type Error = Error;

    fn try_from(row: utterances::Model) -> Result<Self> {
        let role = Speaker::parse(&row.role)
            .ok_or_else(|| Error::internal(format!("the row has the unknown role {}", row.role)))?;
        Ok(Self {
            id: row.id.into(),
            conversation: row.session_id.into(),
            role,
            text: row.text,
            event: row.event,
            is_final: row.is_final,
            created_at: row.created_at,
        })
    }
}
