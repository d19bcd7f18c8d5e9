//! The chunks that a recording comes in: numbered from 0, in any order, and again after a failure. Each is an object of
//! its own until all are one file.

use super::{
    recordings::{Recording, Recordings, from_row, held, seen},
    rows::{
        recording_chunks::{ActiveModel, Column, Entity, Model},
        recordings,
    },
};
use crate::{
    error::{Conflict, Error, Result},
    files::stored_size,
    garbage,
    ids::{RecordingId, UserId},
    objects::{ObjectKey, StagedObject},
    quota::{Room, check_room},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, ModelTrait, QueryFilter,
    QueryOrder, QuerySelect, sea_query::Expr,
};
use uuid::Uuid;

/// A day of chunks of one second.
pub const MOST_CHUNKS: u32 = 100_000;

pub struct NewChunk {
    /// Below [`MOST_CHUNKS`].
    pub number: u32,
    pub staged: StagedObject,
}

/// A place for a chunk.
pub struct Slot {
    pub recording: Recording,
    /// What is there already, and gives way.
    pub replaced_bytes: u64,
}

/// What the chunks of a recording come to.
pub enum Assembled {
    Whole(StagedObject),
    /// Chunks before the last that never came, in order.
    Missing(Vec<u32>),
    /// There is no chunk at all.
    Nothing,
}

impl Recordings {
    /// Where a host is about to put a chunk. [`Conflict::RecordingStopped`] where none may come.
    pub async fn slot(&self, host: UserId, id: RecordingId, number: u32) -> Result<Slot> {
        let reader = self.database().reader();
        let (row, seat) = seen(reader, host, id).await?;
        seat.check_host()?;
        let recording = check_open(from_row(row, seat.owner())?)?;
        let there = Entity::find_by_id((id.as_uuid(), stored_number(number)?)).one(reader).await?;
        Ok(Slot { recording, replaced_bytes: there.map_or(0, |chunk| chunk.size_bytes.unsigned_abs()) })
    }

    /// Keeps a chunk; one of that number that was there is replaced. As with [`Recordings::slot`], and
    /// [`Error::QuotaExceeded`] where the room's owner has none left.
    pub async fn put_chunk(&self, host: UserId, id: RecordingId, chunk: NewChunk) -> Result<Recording> {
        let NewChunk { number, staged } = chunk;
        // Another key than that of one it replaces, so that whoever reads a row finds the bytes that it speaks of.
        let key = chunk_key(id, number)?;
        let row = Model {
            recording_id: id.into(),
            number: stored_number(number)?,
            // Who owns the room is known once it is held.
            owner_id: host.into(),
            size_bytes: stored_size(staged.size_bytes)?,
            object_key: key.to_string(),
        };
        let objects = self.files.objects.as_ref();
        objects.publish(staged, &key).await?;
        match self.note(host, id, row).await {
            Ok((recording, replaced)) => {
                if let Some(replaced) = replaced {
                    garbage::collect_one(self.database(), objects, &replaced).await;
                }
                Ok(recording)
            }
            Err(error) => {
                garbage::delete(objects, &key).await;
                Err(error)
            }
        }
    }

    /// The chunks put together, in their order.
    pub async fn assemble(&self, recording: &Recording) -> Result<Assembled> {
        let rows = Entity::find()
            .filter(Column::RecordingId.eq(recording.id.as_uuid()))
            .order_by_asc(Column::Number)
            .all(self.database().reader())
            .await?;
        let missing = missing(rows.iter().map(|row| row.number.unsigned_abs()));
        if !missing.is_empty() {
            return Ok(Assembled::Missing(missing));
        }
        if rows.iter().all(|row| row.size_bytes == 0) {
            return Ok(Assembled::Nothing);
        }
        let mut staging = self.files.objects.stage().await?;
        for row in rows {
            let mut chunk = self.files.objects.open(&ObjectKey::parse(&row.object_key)?, None).await?;
            tokio::io::copy(&mut chunk, &mut staging).await?;
        }
        Ok(Assembled::Whole(staging.finish().await?))
    }

    /// Writes the row of the chunk; the recording, and the key of the chunk that was replaced.
    async fn note(
        &self,
        host: UserId,
        id: RecordingId,
        chunk: Model,
    ) -> Result<(Recording, Option<ObjectKey>)> {
        let now = self.database().now();
        // The turn of whose room it takes, and of nobody else: the recording's row is locked.
        let owner = self.find(host, id).await?.owner;
        let transaction = self.database().begin(owner).await?;
        let recording = check_open(held(&transaction, host, id).await?)?;
        let replaced = Entity::find_by_id((id.as_uuid(), chunk.number)).one(&transaction).await?;
        let mut growth = Growth { chunks: 1, bytes: chunk.size_bytes };
        let mut freed = None;
        if let Some(replaced) = replaced {
            growth = Growth { chunks: 0, bytes: chunk.size_bytes - replaced.size_bytes };
            freed = Some(ObjectKey::parse(&replaced.object_key)?);
            garbage::add(&transaction, [replaced.object_key.clone()], now).await?;
            replaced.delete(&transaction).await?;
        }
        let room = Room { owner: recording.owner, size_bytes: chunk.size_bytes.unsigned_abs() };
        check_room(&transaction, &room, self.files.default_quota_bytes).await?;
        let chunk = Model { owner_id: recording.owner.into(), ..chunk };
        Entity::insert(ActiveModel::from(chunk).reset_all()).exec_without_returning(&transaction).await?;
        grow(&transaction, id, growth, now).await?;
        let (row, seat) = seen(&transaction, host, id).await?;
        transaction.commit().await?;
        Ok((from_row(row, seat.owner())?, freed))
    }
}

struct Growth {
    chunks: i32,
    bytes: i64,
}

async fn grow(
    transaction: &impl ConnectionTrait,
    id: RecordingId,
    growth: Growth,
    now: DateTime<Utc>,
) -> Result<()> {
    use recordings::Column;
    recordings::Entity::update_many()
        .col_expr(Column::Chunks, Expr::col(Column::Chunks).add(growth.chunks))
        .col_expr(Column::SizeBytes, Expr::col(Column::SizeBytes).add(growth.bytes))
        .col_expr(Column::LastChunkAt, Expr::value(now))
        .filter(Column::Id.eq(id.as_uuid()))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Takes the chunks of a recording; their bytes go after the transaction.
pub(crate) async fn discard(
    transaction: &impl ConnectionTrait,
    id: RecordingId,
    now: DateTime<Utc>,
) -> Result<()> {
    let of_recording = Column::RecordingId.eq(id.as_uuid());
    let mut rest: Vec<String> = Entity::find()
        .filter(of_recording.clone())
        .select_only()
        .column(Column::ObjectKey)
        .into_tuple()
        .all(transaction)
        .await?;
    while !rest.is_empty() {
        let some = rest.split_off(rest.len().saturating_sub(garbage::BATCH as usize));
        garbage::add(transaction, some, now).await?;
    }
    Entity::delete_many().filter(of_recording).exec(transaction).await?;
    Ok(())
}

/// Notes that the chunks have gone.
pub(super) async fn count_none(transaction: &impl ConnectionTrait, id: RecordingId) -> Result<()> {
    recordings::Entity::update_many()
        .col_expr(recordings::Column::Chunks, Expr::value(0))
        .col_expr(recordings::Column::SizeBytes, Expr::value(0_i64))
        .filter(recordings::Column::Id.eq(id.as_uuid()))
        .exec(transaction)
        .await?;
    Ok(())
}

fn check_open(recording: Recording) -> Result<Recording> {
    if recording.status.is_open() { Ok(recording) } else { Err(Conflict::RecordingStopped.into()) }
}

/// The numbers that lie before the last of `numbers` and are not among them. `numbers` go up.
fn missing(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut missing = vec![];
    let mut next = 0;
    for number in numbers {
        missing.extend(next..number);
        next = number + 1;
    }
    missing
}

fn stored_number(number: u32) -> Result<i32> {
    if number < MOST_CHUNKS {
        return Ok(number.cast_signed());
    }
    Err(Error::input("number", format!("must be less than {MOST_CHUNKS}")))
}

fn chunk_key(id: RecordingId, number: u32) -> Result<ObjectKey> {
    let (id, each) = (id.as_uuid().simple(), Uuid::new_v4().simple());
    ObjectKey::parse(&format!("recordings/{id}/{number}-{each}"))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn gaps_are_found() {
        assert_eq!(missing([].into_iter()), [0_u32; 0]);
        assert_eq!(missing([0, 1, 2].into_iter()), [0_u32; 0]);
        assert_eq!(missing([1, 2, 5].into_iter()), [0, 3, 4]);
    }
}
