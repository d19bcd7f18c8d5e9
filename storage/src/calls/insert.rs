//! How calls come and go: each with what it adds to the sums, in one transaction.

use super::{
    CallLog, Calls, from_row,
    rows::call_logs::{ActiveModel, Column, Entity},
    tally::{Change, Direction},
};
use crate::{
    calling_rows::{agents, campaigns},
    database::Database,
    error::{Error, Result},
    ids::{AgentId, CallId, UserId},
    rows::files,
    users,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, QueryTrait,
    Set, sea_query::OnConflict,
};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Rows of one statement.
const CHUNK: usize = 500;
/// The only type of file that a recording may be.
const WAV: &str = "audio/wav";

#[derive(Clone, Debug)]
pub struct NewCall {
    pub log: CallLog,
    /// Of an owner's calls with the same key the first is kept and the others are passed over.
    pub import_key: Option<String>,
}

/// What became of a call that was to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Imported(CallId),
    /// It was imported before.
    Duplicate,
    /// What it names is not there for its owner.
    Refused {
        field: &'static str,
        issue: &'static str,
    },
}

impl Calls {
    /// Takes what can be taken, all at once; what became of each, in their order. A call that names a campaign and no
    /// agent has the campaign's. [`Error::NotFound`] where the owner is gone.
    pub async fn import(&self, owner: UserId, calls: Vec<NewCall>) -> Result<Vec<Outcome>> {
        let transaction = self.database.begin(owner).await?;
        users::find(&transaction, owner).await?;
        let named = Named::find(&transaction, owner, &calls).await?;
        let mut outcomes = vec![Outcome::Duplicate; calls.len()];
        let (mut places, mut accepted) = (vec![], vec![]);
        for (place, mut call) in calls.into_iter().enumerate() {
            match named.check(&mut call.log) {
                Err(refused) => outcomes[place] = refused,
                Ok(()) => {
                    places.push(place);
                    accepted.push(call);
                }
            }
        }
        for (place, inserted) in places.into_iter().zip(insert(&transaction, owner, accepted).await?) {
            if let Some(id) = inserted {
                outcomes[place] = Outcome::Imported(id);
            }
        }
        transaction.commit().await?;
        Ok(outcomes)
    }
}

/// Adds the calls and what they add to the sums, in a transaction that may hold more, such as the end of the job that
/// heard them. The id of each, none where its key was there before. What they name is the caller's to check.
pub(crate) async fn insert(
    transaction: &DatabaseTransaction,
    owner: UserId,
    calls: Vec<NewCall>,
) -> Result<Vec<Option<CallId>>> {
    let ids: Vec<CallId> = calls.iter().map(|_| CallId::new()).collect();
    let mut inserted: HashSet<Uuid> = HashSet::new();
    for (ids, calls) in ids.chunks(CHUNK).zip(calls.chunks(CHUNK)) {
        let rows = ids.iter().zip(calls).map(|(id, call)| row(*id, owner, call));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let key = OnConflict::columns([Column::UserId, Column::ImportKey]).do_nothing().to_owned();
        let mut statement = Entity::insert_many(rows).on_conflict(key).into_query();
        statement.returning_col(Column::Id);
        for row in transaction.query_all(&statement).await? {
            inserted.insert(row.try_get_by_index(0)?);
        }
    }
    let mut change = Change::default();
    let is_new = |id: &CallId| inserted.contains(&id.as_uuid());
    for (_, call) in ids.iter().zip(&calls).filter(|(id, _)| is_new(id)) {
        change.count(&call.log, Direction::Comes);
    }
    change.apply(transaction, owner).await?;
    Ok(ids.into_iter().map(|id| Some(id).filter(is_new)).collect())
}

/// Takes a call away, and what it added to the sums.
pub(super) async fn remove(database: &Database, owner: UserId, id: CallId) -> Result<()> {
    let transaction = database.begin(owner).await?;
    let of_owner = Column::UserId.eq(owner.as_uuid());
    let row = Entity::find_by_id(id.as_uuid()).filter(of_owner.clone()).one(&transaction).await?;
    let call = from_row(row.ok_or(Error::NotFound)?)?;
    let deleted = Entity::delete_by_id(id.as_uuid()).filter(of_owner).exec(&transaction).await?;
    if deleted.rows_affected == 0 {
        return Err(Error::NotFound);
    }
    let mut change = Change::default();
    change.count(&call.log, Direction::Goes);
    change.apply(&transaction, owner).await?;
    change.prune(&transaction, owner).await?;
    transaction.commit().await?;
    Ok(())
}

/// What the calls name, as far as it is their owner's.
struct Named {
    agents: HashSet<Uuid>,
    /// With their agents.
    campaigns: HashMap<Uuid, Option<Uuid>>,
    recordings: HashSet<Uuid>,
}

impl Named {
    async fn find(transaction: &DatabaseTransaction, owner: UserId, calls: &[NewCall]) -> Result<Self> {
        let owner = owner.as_uuid();
        let agents = distinct(calls, |log| log.agent.map(Uuid::from));
        let agents: Vec<Uuid> = agents::Entity::find()
            .filter(agents::Column::UserId.eq(owner))
            .filter(agents::Column::Id.is_in(agents))
            .select_only()
            .column(agents::Column::Id)
            .into_tuple()
            .all(transaction)
            .await?;
        let campaigns = distinct(calls, |log| log.campaign.map(Uuid::from));
        let campaigns: Vec<(Uuid, Option<Uuid>)> = campaigns::Entity::find()
            .filter(campaigns::Column::UserId.eq(owner))
            .filter(campaigns::Column::Id.is_in(campaigns))
            .select_only()
            .columns([campaigns::Column::Id, campaigns::Column::AgentId])
            .into_tuple()
            .all(transaction)
            .await?;
        let recordings = distinct(calls, |log| log.recording.map(Uuid::from));
        let recordings: Vec<Uuid> = files::Entity::find()
            .filter(files::Column::OwnerId.eq(owner))
            .filter(files::Column::Id.is_in(recordings))
            .filter(files::Column::ContentType.eq(WAV))
            .select_only()
            .column(files::Column::Id)
            .into_tuple()
            .all(transaction)
            .await?;
        Ok(Self {
            agents: agents.into_iter().collect(),
            campaigns: campaigns.into_iter().collect(),
            recordings: recordings.into_iter().collect(),
        })
    }

    /// Refuses what names nothing; a call without an agent gets that of its campaign.
    fn check(&self, log: &mut CallLog) -> std::result::Result<(), Outcome> {
        let refused = |field, issue| Err(Outcome::Refused { field, issue });
        if log.agent.is_some_and(|agent| !self.agents.contains(&agent.as_uuid())) {
            return refused("agent_id", "names nothing that exists");
        }
        if log.recording.is_some_and(|file| !self.recordings.contains(&file.as_uuid())) {
            return refused("recording_file_id", "names no WAV file that exists");
        }
        let Some(campaign) = log.campaign else { return Ok(()) };
        let Some(agent) = self.campaigns.get(&campaign.as_uuid()) else {
            return refused("campaign_id", "names nothing that exists");
        };
        log.agent = log.agent.or(agent.map(AgentId::from));
        Ok(())
    }
}

fn distinct(calls: &[NewCall], id: impl Fn(&CallLog) -> Option<Uuid>) -> HashSet<Uuid> {
    calls.iter().filter_map(|call| id(&call.log)).collect()
}

fn row(id: CallId, owner: UserId, call: &NewCall) -> Result<ActiveModel> {
    let NewCall { log, import_key } = call;
    Ok(ActiveModel {
        id: Set(id.into()),
        user_id: Set(owner.into()),
        agent_id: Set(log.agent.map(Uuid::from)),
        campaign_id: Set(log.campaign.map(Uuid::from)),
        job_id: Set(log.job.map(Uuid::from)),
        recording_file_id: Set(log.recording.map(Uuid::from)),
        external_id: Set(log.external_id.clone()),
        import_key: Set(import_key.clone()),
        phone_number: Set(log.phone_number.clone()),
        status: Set(log.status.as_str().to_owned()),
        duration_seconds: Set(log.duration_seconds.into()),
        sentiment: Set(log.sentiment.map(|sentiment| sentiment.as_str().to_owned())),
        emotions: Set(serde_json::to_value(&log.emotions)?),
        key_phrases: Set(serde_json::to_value(&log.key_phrases)?),
        transcript: Set(log.transcript.clone()),
        summary: Set(log.summary.clone()),
        cost_micros: Set(log.cost.micros),
        created_at: Set(log.created_at),
    })
}
