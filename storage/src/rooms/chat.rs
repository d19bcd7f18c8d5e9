//! What is said in a session. Who is there writes; who was there once may read it afterwards.

use super::{
    meetings::Meetings,
    participants::Seat,
    rows::chat_messages::{ActiveModel, Column, Entity, Model},
};
use crate::{
    error::Result,
    ids::{MeetingId, MessageId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, Set};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub meeting: MeetingId,
    pub user: UserId,
    pub text: String,
    pub created_at: DateTime<Utc>,
}

impl Meetings {
    /// [`Conflict::SessionNotLive`](crate::error::Conflict) or
    /// [`Conflict::NotJoined`](crate::error::Conflict) where there is nobody to talk to.
    pub async fn say(&self, user: UserId, id: MeetingId, text: String) -> Result<Message> {
        let transaction = self.database.begin(id).await?;
        Seat::hold(&transaction, user, id).await?.into_present()?;
        let row = ActiveModel {
            id: Set(MessageId::new().into()),
            session_id: Set(id.into()),
            user_id: Set(user.into()),
            message: Set(text),
            created_at: Set(self.database.now()),
        };
        let row = row.insert(&transaction).await?;
        transaction.commit().await?;
        Ok(row.into())
    }

    /// What the user has said, wherever it was, newest first.
    pub async fn said_by(&self, user: UserId, page: &Page) -> Result<Listing<Message>> {
        let select = Entity::find().filter(Column::UserId.eq(user.as_uuid()));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        Ok(rows.map(Message::from))
    }

    /// Newest first.
    pub async fn said(&self, user: UserId, id: MeetingId, page: &Page) -> Result<Listing<Message>> {
        let reader = self.database.reader();
        Seat::find(reader, user, id).await?;
        let select = Entity::find().filter(Column::SessionId.eq(id.as_uuid()));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(reader).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        Ok(rows.map(Message::from))
    }
}

impl From<Model> for Message {
    fn from(row: Model) -> Self {
        Self {
            id: row.id.into(),
            meeting: row.session_id.into(),
            user: row.user_id.into(),
            text: row.message,
            created_at: row.created_at,
        }
    }
}
