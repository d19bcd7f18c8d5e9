//! The workers that share the database. Each says now and then that it lives and what it takes; who has not been heard of
//! for a while is not counted on.

use crate::{
    database::Database,
    error::{Error, Result},
    fleet_rows::workers::{ActiveModel, Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use pipeline::parameters::JobKind;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set, sea_query::OnConflict};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How often a worker says that it lives.
pub const BEAT: Duration = Duration::from_secs(10);
/// Not heard of for so long, it is not counted on.
const SILENCE: chrono::Duration = chrono::Duration::seconds(35);
/// For how long one that is gone can still be looked up.
const KEPT: chrono::Duration = chrono::Duration::days(1);
/// More are not looked at.
const MOST: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Another at each start.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// Such as `cpu` or `cuda:0`.
    pub device: String,
    /// How many jobs of each kind it runs at once.
    pub slots: BTreeMap<JobKind, usize>,
    /// The names of the models that it has.
    pub models: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Workers {
    database: Database,
}

impl Workers {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The worker lives. To be said every [`BEAT`].
    pub async fn beat(&self, worker: &Worker) -> Result<()> {
        let now = self.database.now();
        let slots: BTreeMap<&str, usize> =
            worker.slots.iter().map(|(kind, slots)| (kind.as_str(), *slots)).collect();
        let row = ActiveModel {
            name: Set(worker.name.clone()),
            version: Set(worker.version.clone()),
            device: Set(worker.device.clone()),
            slots: Set(serde_json::to_value(slots)?),
            models: Set(serde_json::to_value(&worker.models)?),
            started_at: Set(now),
            seen_at: Set(now),
        };
        let again = OnConflict::column(Column::Name)
            .update_columns([Column::Slots, Column::Models, Column::SeenAt])
            .to_owned();
        Entity::insert(row).on_conflict(again).exec_without_returning(self.database.writer()).await?;
        Ok(())
    }

    /// The worker takes no more jobs.
    pub async fn leave(&self, name: &str) -> Result<()> {
        Entity::delete_by_id(name.to_owned()).exec(self.database.writer()).await?;
        Ok(())
    }

    /// Those that live.
    pub async fn live(&self) -> Result<Vec<Worker>> {
        let rows = Entity::find()
            .filter(Column::SeenAt.gt(self.database.now() - SILENCE))
            .order_by_asc(Column::Name)
            .limit(MOST)
            .all(self.database.reader())
            .await?;
        rows.into_iter().map(Worker::try_from).collect()
    }

    /// How many jobs of each kind those that live run at once.
    pub async fn slots(&self) -> Result<BTreeMap<JobKind, usize>> {
        let mut sum = BTreeMap::new();
        for worker in self.live().await? {
            for (kind, slots) in worker.slots {
                *sum.entry(kind).or_default() += slots;
            }
        }
        Ok(sum)
    }
}

/// Forgets those that are gone.
pub(crate) async fn sweep(database: &Database, now: DateTime<Utc>) -> Result<()> {
    Entity::delete_many().filter(Column::SeenAt.lt(now - KEPT)).exec(database.writer()).await?;
    Ok(())
}

impl TryFrom<Model> for Worker {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        // One of a newer version may take kinds that this one does not know.
        let slots: BTreeMap<String, usize> = serde_json::from_value(row.slots)?;
        let slots = slots.into_iter().filter_map(|(kind, slots)| Some((JobKind::parse(&kind)?, slots)));
        Ok(Self {
            slots: slots.collect(),
            name: row.name,
            version: row.version,
            device: row.device,
            models: serde_json::from_value(row.models)?,
        })
    }
}
