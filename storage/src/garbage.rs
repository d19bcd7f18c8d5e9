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

/// Deletes the bytes of what was noted, and then the notes. Returns how many.
pub(crate) async fn collect(database: &Database, objects: &dyn Objects) -> Result<u64> {
    let mut collected = 0;
    loop {
        let rows = Entity::find().order_by_asc(Column::ObjectKey).limit(BATCH).all(database.reader()).await?;
        if rows.is_empty() {
            return Ok(collected);
        }
        for row in &rows {
            objects.delete(&ObjectKey::parse(&row.object_key)?).await?;
        }
        collected += rows.len() as u64;
        forget(database, rows.into_iter().map(|row| row.object_key).collect()).await?;
    }
}

/// Deletes one object that was noted just now. If that fails it stays noted, and the sweeper tries again.
pub(crate) async fn collect_one(database: &Database, objects: &dyn Objects, key: &ObjectKey) {
    let collected = async {
        objects.delete(key).await?;
        forget(database, vec![key.as_str().to_owned()]).await
    };
    if let Err(error) = collected.await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "an object is left for the sweeper to delete"
        );
    }
}

async fn forget(database: &Database, keys: Vec<String>) -> Result<()> {
    Entity::delete_many().filter(Column::ObjectKey.is_in(keys)).exec(database.writer()).await?;
    Ok(())
}
