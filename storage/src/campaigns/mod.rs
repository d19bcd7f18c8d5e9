//! Campaigns: the numbers that an agent is to call, and when. A campaign goes from draft to active, to paused and back,
//! and is completed once its end has passed: by the clock, so whoever reads it sees that at once, and the sweep writes it
//! down. Each step is one statement that changes nothing unless the row allows it still.

pub(crate) mod course;

use crate::{
    agents,
    calling_rows::campaigns::{ActiveModel, Column, Entity, Model},
    database::Database,
    error::{Conflict, Error, Result},
    ids::{AgentId, CampaignId, UserId},
    page::{Counted, Keys, Listing, Page, Position, Slice, listing, narrow, narrow_slice},
};
use chrono::{DateTime, SubsecRound, Utc};
use course::{from_row, seen_as, status_at, step};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait,
    QueryFilter, QuerySelect, Set, sea_query::Expr,
};
use std::collections::HashSet;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    pub id: CampaignId,
    pub owner: UserId,
    /// None where it was deleted.
    pub agent: Option<AgentId>,
    pub name: String,
    /// Each once.
    pub phone_numbers: Vec<String>,
    pub status: CampaignStatus,
    pub start_time: Option<DateTime<Utc>>,
    pub end_time: Option<DateTime<Utc>>,
    pub max_concurrent_calls: u32,
    /// The last time.
    pub launched_at: Option<DateTime<Utc>>,
    /// The last time.
    pub paused_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CampaignStatus {
    Draft,
    Active,
    Paused,
    Completed,
}

pub struct NewCampaign {
    pub owner: UserId,
    pub agent: AgentId,
    pub name: String,
    /// A number that comes twice is kept once.
    pub phone_numbers: Vec<String>,
    pub start_time: Option<DateTime<Utc>>,
    pub end_time: Option<DateTime<Utc>>,
    pub max_concurrent_calls: u32,
}

/// What is none stays as it is.
#[derive(Clone, Debug, Default)]
pub struct CampaignChange {
    pub agent: Option<AgentId>,
    pub name: Option<String>,
    pub phone_numbers: Option<Vec<String>>,
    pub start_time: Option<DateTime<Utc>>,
    pub end_time: Option<DateTime<Utc>>,
    pub max_concurrent_calls: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct CampaignFilter {
    pub agent: Option<AgentId>,
    pub status: Option<CampaignStatus>,
}

#[derive(Clone)]
pub struct Campaigns {
    database: Database,
}

impl Campaigns {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// A draft. [`Error::MissingInput`] where the owner has no such agent, [`Error::Input`] where it ends before it
    /// starts.
    pub async fn create(&self, new: NewCampaign) -> Result<Campaign> {
        let now = self.database.now();
        let (start_time, end_time) = (new.start_time.map(stored_time), new.end_time.map(stored_time));
        check_times(start_time, end_time)?;
        let transaction = self.database.begin(new.owner).await?;
        check_agent(&transaction, new.owner, new.agent).await?;
        let row = ActiveModel {
            id: Set(CampaignId::new().into()),
            user_id: Set(new.owner.into()),
            agent_id: Set(Some(new.agent.into())),
            name: Set(new.name),
            phone_numbers: Set(once(new.phone_numbers).into()),
            status: Set(CampaignStatus::Draft.as_str().to_owned()),
            start_time: Set(start_time),
            end_time: Set(end_time),
            max_concurrent_calls: Set(stored_count(new.max_concurrent_calls)?),
            launched_at: Set(None),
            paused_at: Set(None),
            completed_at: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
        };
        let row = row.insert(&transaction).await?;
        transaction.commit().await?;
        from_row(row, now)
    }

    pub async fn find(&self, owner: UserId, id: CampaignId) -> Result<Campaign> {
        find(self.database.reader(), owner, id, self.database.now()).await
    }

    /// Newest first; the ids alone, for all numbers of all campaigns may be more than memory should hold.
    pub async fn list(
        &self,
        owner: UserId,
        filter: &CampaignFilter,
        slice: &Slice,
    ) -> Result<Counted<CampaignId>> {
        let mut select = Entity::find().filter(Column::UserId.eq(owner.as_uuid()));
        if let Some(agent) = filter.agent {
            select = select.filter(Column::AgentId.eq(agent.as_uuid()));
        }
        if let Some(status) = filter.status {
            select = select.filter(seen_as(status, self.database.now()));
        }
        let reader = self.database.reader();
        let total = select.clone().count(reader).await?;
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let select = narrow_slice(select, keys, slice).select_only().column(Column::Id);
        let ids: Vec<Uuid> = select.into_tuple().all(reader).await?;
        Ok(Counted { total, items: ids.into_iter().map(CampaignId::from).collect() })
    }

    /// All that the owner has, for whoever reads on to the end.
    pub async fn every(&self, owner: UserId, page: &Page) -> Result<Listing<Campaign>> {
        let now = self.database.now();
        let select = Entity::find().filter(Column::UserId.eq(owner.as_uuid()));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(|row| from_row(row, now))
    }

    /// Of a draft or a paused one: [`Conflict::CampaignActive`] and [`Conflict::CampaignOver`] of others. The rest as in
    /// [`Campaigns::create`].
    pub async fn change(&self, owner: UserId, id: CampaignId, change: CampaignChange) -> Result<Campaign> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        let before = status_at(&row, now)?;
        match before {
            CampaignStatus::Draft | CampaignStatus::Paused => {}
            CampaignStatus::Active => return Err(Conflict::CampaignActive.into()),
            CampaignStatus::Completed => return Err(Conflict::CampaignOver.into()),
        }
        if let Some(agent) = change.agent {
            check_agent(&transaction, owner, agent).await?;
        }
        let changed = Entity::update_many()
            .set(applied(row, change, now)?)
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::Status.eq(before.as_str()))
            .exec(&transaction)
            .await?;
        if changed.rows_affected == 0 {
            return Err(Conflict::CampaignActive.into());
        }
        let row = owned(&transaction, owner, id).await?;
        transaction.commit().await?;
        from_row(row, now)
    }

    /// Begins a draft, and takes a paused one up again. [`Conflict::CampaignLaunched`] of an active one,
    /// [`Conflict::CampaignOver`] past its end, [`Conflict::CampaignWithoutAgent`] where nobody is there to call.
    pub async fn launch(&self, owner: UserId, id: CampaignId) -> Result<Campaign> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let launched = step(&[CampaignStatus::Draft, CampaignStatus::Paused], CampaignStatus::Active, now)
            .col_expr(Column::LaunchedAt, Expr::value(now))
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::UserId.eq(owner.as_uuid()))
            .filter(Column::AgentId.in_subquery(agents::active(owner)))
            .exec(&transaction)
            .await?;
        let campaign = find(&transaction, owner, id, now).await?;
        if launched.rows_affected == 0 {
            return Err(Error::from(match campaign.status {
                CampaignStatus::Active => Conflict::CampaignLaunched,
                CampaignStatus::Completed => Conflict::CampaignOver,
                CampaignStatus::Draft | CampaignStatus::Paused if campaign.is_over(now) => {
                    Conflict::CampaignOver
                }
                CampaignStatus::Draft | CampaignStatus::Paused => Conflict::CampaignWithoutAgent,
            }));
        }
        transaction.commit().await?;
        Ok(campaign)
    }

    /// [`Conflict::CampaignNotActive`] unless it is active.
    pub async fn pause(&self, owner: UserId, id: CampaignId) -> Result<Campaign> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let paused = step(&[CampaignStatus::Active], CampaignStatus::Paused, now)
            .col_expr(Column::PausedAt, Expr::value(now))
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::UserId.eq(owner.as_uuid()))
            .exec(&transaction)
            .await?;
        let campaign = find(&transaction, owner, id, now).await?;
        if paused.rows_affected == 0 {
            return Err(Conflict::CampaignNotActive.into());
        }
        transaction.commit().await?;
        Ok(campaign)
    }

    /// [`Conflict::CampaignActive`] while it is active.
    pub async fn delete(&self, owner: UserId, id: CampaignId) -> Result<()> {
        let transaction = self.database.begin(owner).await?;
        let deleted = Entity::delete_many()
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::UserId.eq(owner.as_uuid()))
            .filter(seen_as(CampaignStatus::Active, self.database.now()).not())
            .exec(&transaction)
            .await?;
        if deleted.rows_affected == 0 {
            owned(&transaction, owner, id).await?;
            return Err(Conflict::CampaignActive.into());
        }
        transaction.commit().await?;
        Ok(())
    }
}

impl Campaign {
    /// Whether its end has passed. A draft stays one nevertheless.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.end_time.is_some_and(|end| end <= now)
    }
}

impl CampaignStatus {
    pub const ALL: [Self; 4] = [Self::Draft, Self::Active, Self::Paused, Self::Completed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Completed => "completed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// The owner's campaign as it is at this time.
pub(crate) async fn find(
    database: &impl ConnectionTrait,
    owner: UserId,
    id: CampaignId,
    now: DateTime<Utc>,
) -> Result<Campaign> {
    from_row(owned(database, owner, id).await?, now)
}

async fn owned(database: &impl ConnectionTrait, owner: UserId, id: CampaignId) -> Result<Model> {
    let row =
        Entity::find_by_id(id.as_uuid()).filter(Column::UserId.eq(owner.as_uuid())).one(database).await?;
    row.ok_or(Error::NotFound)
}

async fn check_agent(database: &impl ConnectionTrait, owner: UserId, agent: AgentId) -> Result<()> {
    match agents::owned(database, owner, agent).await {
        Ok(_) => Ok(()),
        Err(Error::NotFound) => Err(Error::MissingInput { field: "agent_id".to_owned() }),
        Err(error) => Err(error),
    }
}

fn applied(row: Model, change: CampaignChange, now: DateTime<Utc>) -> Result<ActiveModel> {
    let start_time = change.start_time.map(stored_time).or(row.start_time);
    let end_time = change.end_time.map(stored_time).or(row.end_time);
    check_times(start_time, end_time)?;
    let agent_id = change.agent.map(|agent| Some(agent.into()));
    let phone_numbers = change.phone_numbers.map(|numbers| once(numbers).into());
    let max_concurrent_calls = change.max_concurrent_calls.map(stored_count).transpose()?;
    Ok(ActiveModel {
        agent_id: agent_id.map_or(NotSet, Set),
        name: change.name.map_or(NotSet, Set),
        phone_numbers: phone_numbers.map_or(NotSet, Set),
        start_time: Set(start_time),
        end_time: Set(end_time),
        max_concurrent_calls: max_concurrent_calls.map_or(NotSet, Set),
        updated_at: Set(now),
        ..Default::default()
    })
}

fn check_times(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Result<()> {
    match (start, end) {
        (Some(start), Some(end)) if end <= start => {
            Err(Error::input("end_time", "must lie after start_time"))
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Each number once, where it comes first.
fn once(numbers: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(numbers.len());
    numbers.into_iter().filter(|number| seen.insert(number.clone())).collect()
}

/// To the microsecond, as the databases keep it.
fn stored_time(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn stored_count(count: u32) -> Result<i32> {
    i32::try_from(count).map_err(|_| Error::input("max_concurrent_calls", "is too large"))
}
