//! Call logs: what is known of each call, by whoever made it known: an import, or a job that heard its recording.
//! A call names its agent and campaign also when these are gone: it is history, and so are the sums over it.

mod analytics;
mod cost;
pub(crate) mod insert;
pub(crate) mod rows;
mod tally;

pub use self::{
    analytics::{Phrase, TallyFilter},
    cost::{CallPrice, Cost},
    insert::{NewCall, Outcome},
    tally::Tally,
};
use crate::{
    database::Database,
    error::{Error, Result},
    files::{self, File},
    ids::{AgentId, CallId, CampaignId, FileId, JobId, UserId},
    page::{Counted, Keys, Listing, Page, Position, Slice, listing, narrow, narrow_slice},
};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use rows::call_logs::{Column, Entity, Model};
use sea_orm::{
    ColumnTrait, EntityTrait, Iterable, PaginatorTrait, QueryFilter, QuerySelect, Select,
    sea_query::{Expr, Func},
};

/// Characters of a transcript that a list shows.
pub const EXCERPT: usize = 1_000;
const KEYS: Keys<Column> = Keys { created_at: Column::CreatedAt, id: Column::Id };

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub id: CallId,
    pub owner: UserId,
    pub log: CallLog,
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLog {
    pub agent: Option<AgentId>,
    pub campaign: Option<CampaignId>,
    /// What the owner's own system calls it.
    pub external_id: Option<String>,
    /// As in E.164, with its `+`.
    pub phone_number: Option<String>,
    pub status: CallStatus,
    pub duration_seconds: u32,
    pub sentiment: Option<Sentiment>,
    pub emotions: Vec<String>,
    pub key_phrases: Vec<String>,
    pub transcript: Option<String>,
    pub summary: Option<String>,
    pub cost: Cost,
    pub recording: Option<FileId>,
    /// The job that heard it.
    pub job: Option<JobId>,
    /// When it took place.
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStatus {
    Queued,
    InProgress,
    Completed,
    Failed,
    NoAnswer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sentiment {
    Positive,
    Neutral,
    Negative,
}

#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    pub agent: Option<AgentId>,
    pub campaign: Option<CampaignId>,
    pub status: Option<CallStatus>,
    pub phone_number: Option<String>,
    /// The first day, in UTC.
    pub from: Option<NaiveDate>,
    /// The last day, in UTC.
    pub until: Option<NaiveDate>,
}

#[derive(Clone)]
pub struct Calls {
    database: Database,
}

impl Calls {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn find(&self, owner: UserId, id: CallId) -> Result<Call> {
        let select = Entity::find_by_id(id.as_uuid()).filter(Column::UserId.eq(owner.as_uuid()));
        from_row(select.one(self.database.reader()).await?.ok_or(Error::NotFound)?)
    }

    /// Whoever it belongs to: only for a caller who holds our signature over the id.
    pub async fn find_signed(&self, id: CallId) -> Result<Call> {
        let row = Entity::find_by_id(id.as_uuid()).one(self.database.reader()).await?;
        from_row(row.ok_or(Error::NotFound)?)
    }

    /// The file that the call names as its recording; none where it has none, or it was deleted.
    pub async fn recording(&self, call: &Call) -> Result<Option<File>> {
        let Some(id) = call.log.recording else { return Ok(None) };
        match files::find(self.database.reader(), call.owner, id).await {
            Ok(file) => Ok(Some(file)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// With the beginnings of long transcripts only: see [`EXCERPT`].
    pub async fn list(&self, owner: UserId, filter: &CallFilter, slice: &Slice) -> Result<Counted<Call>> {
        let total = self.count(owner, filter).await?;
        let excerpt = Func::cust("substr")
            .arg(Expr::col(Column::Transcript))
            .arg(Expr::val(1))
            .arg(Expr::val(EXCERPT as i32 + 1));
        let select = narrowed(owner, filter)
            .select_only()
            .columns(Column::iter().filter(|column| !matches!(column, Column::Transcript)))
            .expr_as(excerpt, "transcript");
        let rows = narrow_slice(select, KEYS, slice).all(self.database.reader()).await?;
        let items = rows.into_iter().map(|row| from_row(row).map(abridged)).collect::<Result<_>>()?;
        Ok(Counted { total, items })
    }

    /// Whole calls, for who wants all of them.
    pub async fn every(&self, owner: UserId, page: &Page) -> Result<Listing<Call>> {
        let select = narrowed(owner, &CallFilter::default());
        let rows = narrow(select, KEYS, page)?.all(self.database.reader()).await?;
        listing(rows, page, |row| Position { created_at: row.created_at, id: row.id }).try_map(from_row)
    }

    /// Its recording stays a file of its owner's.
    pub async fn delete(&self, owner: UserId, id: CallId) -> Result<()> {
        insert::remove(&self.database, owner, id).await
    }

    /// From the sums, unless a number is asked for, of which there are none.
    async fn count(&self, owner: UserId, filter: &CallFilter) -> Result<u64> {
        if filter.phone_number.is_some() {
            return Ok(narrowed(owner, filter).count(self.database.reader()).await?);
        }
        let CallFilter { agent, campaign, from, until, .. } = *filter;
        let tally = self.tally(owner, &TallyFilter { agent, campaign, from, until }).await?;
        Ok(match filter.status {
            None => tally.total,
            Some(status) => tally.with_status(status),
        })
    }
}

impl CallStatus {
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::InProgress, Self::Completed, Self::Failed, Self::NoAnswer];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::NoAnswer => "no_answer",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl Sentiment {
    pub const ALL: [Self; 3] = [Self::Positive, Self::Neutral, Self::Negative];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Neutral => "neutral",
            Self::Negative => "negative",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sentiment| sentiment.as_str() == text)
    }
}

fn narrowed(owner: UserId, filter: &CallFilter) -> Select<Entity> {
    let CallFilter { agent, campaign, status, phone_number, from, until } = filter;
    let mut select = Entity::find().filter(Column::UserId.eq(owner.as_uuid()));
    if let Some(agent) = agent {
        select = select.filter(Column::AgentId.eq(agent.as_uuid()));
    }
    if let Some(campaign) = campaign {
        select = select.filter(Column::CampaignId.eq(campaign.as_uuid()));
    }
    if let Some(status) = status {
        select = select.filter(Column::Status.eq(status.as_str()));
    }
    if let Some(number) = phone_number {
        select = select.filter(Column::PhoneNumber.eq(number));
    }
    if let Some(day) = from {
        select = select.filter(Column::CreatedAt.gte(start_of(*day)));
    }
    // After the last day of all there is none.
    if let Some(day) = until.and_then(|day| day.succ_opt()) {
        select = select.filter(Column::CreatedAt.lt(start_of(day)));
    }
    select
}

fn start_of(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn abridged(call: Call) -> Call {
    let mut call = call;
    if let Some(text) = &mut call.log.transcript
        && let Some((cut, _)) = text.char_indices().nth(EXCERPT)
    {
        text.truncate(cut);
        text.push('…');
    }
    call
}

fn from_row(row: Model) -> Result<Call> {
    let id = row.id.into();
    let owner = row.user_id.into();
    Ok(Call { id, owner, log: log(row)? })
}

fn log(row: Model) -> Result<CallLog> {
    let unknown = |what: &str, text: &str| Error::internal(format!("a row has the unknown {what} {text}"));
    let sentiment =
        row.sentiment.as_deref().map(|text| Sentiment::parse(text).ok_or_else(|| unknown("sentiment", text)));
    Ok(CallLog {
        agent: row.agent_id.map(AgentId::from),
        campaign: row.campaign_id.map(CampaignId::from),
        external_id: row.external_id,
        phone_number: row.phone_number,
        status: CallStatus::parse(&row.status).ok_or_else(|| unknown("status", &row.status))?,
        duration_seconds: u32::try_from(row.duration_seconds).map_err(Error::internal)?,
        sentiment: sentiment.transpose()?,
        emotions: serde_json::from_value(row.emotions)?,
        key_phrases: serde_json::from_value(row.key_phrases)?,
        transcript: row.transcript,
        summary: row.summary,
        cost: Cost { micros: row.cost_micros },
        recording: row.recording_file_id.map(FileId::from),
        job: row.job_id.map(JobId::from),
        created_at: row.created_at,
    })
}
