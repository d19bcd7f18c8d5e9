//! Objects whose rows are gone. Bytes are deleted after the row, never before, so no row is ever without its bytes;
//! the list of what is still to delete is written with the row's end, so no byte is forgotten either.

use crate::{
    database::Database,
    error::Result,
    objects::{ObjectKey, Objects},
    rows::garbage::{ActiveModel, Column, Entity},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::OnConflict,
};

/// Rows deleted, or objects looked at, in one go: a lock is held no longer than a few milliseconds.
pub(crate) const BATCH: u64 = 500;

/// Notes that the objects are to be deleted, in the transaction that ends their rows.
pub(crate) async fn add(
    database: &impl ConnectionTrait,
    keys: impl IntoIterator<Item = String>,
    now: DateTime<Utc>,
) -> Result<()> {
    let rows: Vec<_> =
        keys.into_iter().map(|key| ActiveModel { object_key: Set(key), created_at: Set(now) }).collect();
    if rows.is_empty() {
        return Ok(());
    }
    Entity::insert_many(rows)
        .on_conflict(OnConflict::column(Column::ObjectKey).do_nothing().to_owned())
        .exec_without_returning(database)
        .await?;
    Ok(())
}

/// Deletes the bytes of what was noted, and then the notes. What cannot be deleted stays noted. Returns how many went.
pub(crate) async fn collect(database: &Database, objects: &dyn Objects) -> Result<u64> {
    let mut collected = 0;
    let mut last = String::new();
    loop {
        let rows = Entity::find()
            .filter(Column::ObjectKey.gt(last.as_str()))
            .order_by_asc(Column::ObjectKey)
            .limit(BATCH)
            .all(database.reader())
            .await?;
        let Some(end) = rows.last() else { return Ok(collected) };
        last = end.object_key.clone();
        let keys: Vec<ObjectKey> =
            rows.iter().map(|row| ObjectKey::parse(&row.object_key)).collect::<Result<_>>()?;
        let gone = delete_all(objects, &keys).await;
        collected += gone.len() as u64;
        forget(database, gone).await?;
    }
}

/// The names of those that are gone, and a warning where some are not: they must not keep the rest.
pub(crate) async fn delete_all(objects: &dyn Objects, keys: &[ObjectKey]) -> Vec<String> {
    let left = match objects.delete_all(keys).await {
        Ok(left) => left,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "could not delete objects; the next sweep tries again");
            return vec![];
        }
    };
    if !left.is_empty() {
        tracing::warn!(left = left.len(), "could not delete some objects; the next sweep tries again");
    }
    keys.iter().filter(|key| !left.contains(key)).map(ToString::to_string).collect()
}

/// False, and a warning, where it could not be deleted: one such must not keep the rest.
pub(crate) async fn delete(objects: &dyn Objects, key: &ObjectKey) -> bool {
    let deleted = objects.delete(key).await;
    if let Err(error) = &deleted {
        let error: &dyn std::error::Error = error;
        tracing::warn!(error, %key, "could not delete an object; the next sweep tries again");
    }
    deleted.is_ok()
}

/// Deletes one object that was noted just now. If that fails it stays noted, and the sweeper tries again.
pub(crate) async fn collect_one(database: &Database, objects: &dyn Objects, key: &ObjectKey) {
    if delete(objects, key).await
        && let Err(error) = forget(database, vec![key.as_str().to_owned()]).await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "a deleted object stays noted as garbage");
    }
}

async fn forget(database: &Database, keys: Vec<String>) -> Result<()> {
    Entity::delete_many().filter(Column::ObjectKey.is_in(keys)).exec(database.writer()).await?;
    Ok(())
}
