//! What an owner has room for. It is counted anew each time, in one statement, from indices that hold the sizes: a sum
//! that is kept beside the rows would one day differ from them.

use crate::{
    error::{Error, Result},
    ids::UserId,
    rooms::rows::recording_chunks,
    rows::{files, uploads, users, voice_profiles},
    users::quota,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, PaginatorTrait, QueryFilter, QuerySelect,
    QueryTrait,
    sea_query::{Expr, ExprTrait},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub quota_bytes: u64,
    /// Files, the samples of voice profiles, and recordings that are no files yet.
    pub used_bytes: u64,
    pub files: u64,
}

/// Bytes that somebody wants to store.
pub(crate) struct Room {
    pub(crate) owner: UserId,
    pub(crate) size_bytes: u64,
}

pub(crate) async fn usage(database: &impl ConnectionTrait, owner: UserId, default: u64) -> Result<Usage> {
    let files = files::Entity::find().filter(files::Column::OwnerId.eq(owner.as_uuid()));
    let files = files.count(database).await?;
    let Holdings { quota_bytes, used_bytes, .. } = holdings(database, owner, default).await?;
    Ok(Usage { quota_bytes, used_bytes, files })
}

/// [`Error::QuotaExceeded`] where there is none. Uploads that have begun have their room already.
pub(crate) async fn check_room(database: &impl ConnectionTrait, room: &Room, default: u64) -> Result<()> {
    let Holdings { quota_bytes, used_bytes, promised_bytes } =
        holdings(database, room.owner, default).await?;
    if used_bytes.saturating_add(promised_bytes).saturating_add(room.size_bytes) > quota_bytes {
        return Err(Error::QuotaExceeded { quota: quota_bytes, used: used_bytes });
    }
    Ok(())
}

struct Holdings {
    quota_bytes: u64,
    used_bytes: u64,
    /// Of uploads that have begun.
    promised_bytes: u64,
}

/// Null where there is no row.
#[derive(FromQueryResult)]
struct Sums {
    own_quota: Option<i64>,
    files: Option<i64>,
    voices: Option<i64>,
    recorded: Option<i64>,
    promised: Option<i64>,
}

async fn holdings(database: &impl ConnectionTrait, owner: UserId, default: u64) -> Result<Holdings> {
    let id = owner.as_uuid();
    let sums = users::Entity::find()
        .filter(users::Column::Id.eq(id))
        .select_only()
        .column_as(users::Column::QuotaBytes, "own_quota")
        .column_as(sum(files::Column::SizeBytes, files::Column::OwnerId.eq(id)), "files")
        .column_as(sum(voice_profiles::Column::SizeBytes, voice_profiles::Column::OwnerId.eq(id)), "voices")
        .column_as(
            sum(recording_chunks::Column::SizeBytes, recording_chunks::Column::OwnerId.eq(id)),
            "recorded",
        )
        .column_as(sum(uploads::Column::SizeBytes, uploads::Column::OwnerId.eq(id)), "promised")
        .into_model::<Sums>()
        .one(database)
        .await?;
    let sums = sums.ok_or(Error::NotFound)?;
    let bytes = |sum: Option<i64>| sum.unwrap_or(0).unsigned_abs();
    Ok(Holdings {
        quota_bytes: quota(sums.own_quota, default),
        used_bytes: bytes(sums.files) + bytes(sums.voices) + bytes(sums.recorded),
        promised_bytes: bytes(sums.promised),
    })
}

/// Of the rows for which the condition holds; null where there is none. An index on owner and size answers it alone.
fn sum<C: ColumnTrait>(size: C, condition: Expr) -> Expr
where
    C::EntityName: EntityTrait,
{
    let sizes = C::EntityName::find().select_only().filter(condition);
    // Postgres sums bigints to a numeric.
    let sum = sizes.expr(Expr::col(size).sum().cast_as("bigint"));
    Expr::SubQuery(None, Box::new(sum.into_query().into()))
}
