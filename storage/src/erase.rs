//! The end of an account, and of everything that it owns.

use crate::{
    Storage,
    error::{Error, Result},
    garbage,
    ids::{JobId, UploadId, UserId},
    jobs::erase_questions,
    rooms::rows::recording_chunks,
    rows::{files, garbage as garbage_rows, idempotency_keys, jobs, uploads, users, voice_profiles},
    uploads::Dropped,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, IntoColumnRef, IntoTableRef, Query, SelectStatement},
};
use uuid::Uuid;

impl Storage {
    /// Erases the user's rows in one transaction, and then their bytes; what of these cannot be deleted now, the next
    /// sweep does. A job that runs loses its lease and leaves nothing behind. [`Error::NotFound`] where there is no
    /// such user.
    pub async fn erase(&self, user: UserId) -> Result<()> {
        let transaction = self.database.begin(user).await?;
        let jobs: Vec<Uuid> = jobs::Entity::find()
            .filter(jobs::Column::OwnerId.eq(user.as_uuid()))
            .select_only()
            .column(jobs::Column::Id)
            .into_tuple()
            .all(&transaction)
            .await?;
        let uploads = uploads::Entity::find()
            .filter(uploads::Column::OwnerId.eq(user.as_uuid()))
            .all(&transaction)
            .await?;
        self.erase_rows(&transaction, user).await?;
        transaction.commit().await?;
        jobs.into_iter().for_each(|job| self.events.notify(JobId::from(job)));
        for row in uploads {
            self.uploads.discard(&Dropped { id: UploadId::from(row.id), store_name: row.store_name }).await;
        }
        garbage::collect(&self.database, self.objects.as_ref()).await?;
        Ok(())
    }

    async fn erase_rows(&self, transaction: &DatabaseTransaction, user: UserId) -> Result<()> {
        let id = user.as_uuid();
        let now = self.database.now();
        let of_files = keys(files::Entity, files::Column::ObjectKey, files::Column::OwnerId.eq(id));
        let of_voices = keys(
            voice_profiles::Entity,
            voice_profiles::Column::ObjectKey,
            voice_profiles::Column::OwnerId.eq(id),
        );
        let of_recordings = keys(
            recording_chunks::Entity,
            recording_chunks::Column::ObjectKey,
            recording_chunks::Column::OwnerId.eq(id),
        );
        for mut keys in [of_files, of_voices, of_recordings] {
            keys.expr(Expr::value(now));
            let mut insert = Query::insert();
            insert
                .into_table(garbage_rows::Entity.into_table_ref())
                .columns([garbage_rows::Column::ObjectKey, garbage_rows::Column::CreatedAt])
                .select_from(keys)
                .map_err(Error::internal)?;
            transaction.execute(&insert).await?;
        }
        erase_questions(transaction, user, now).await?;
        files::Entity::delete_many().filter(files::Column::OwnerId.eq(id)).exec(transaction).await?;
        voice_profiles::Entity::delete_many()
            .filter(voice_profiles::Column::OwnerId.eq(id))
            .exec(transaction)
            .await?;
        uploads::Entity::delete_many().filter(uploads::Column::OwnerId.eq(id)).exec(transaction).await?;
        jobs::Entity::delete_many().filter(jobs::Column::OwnerId.eq(id)).exec(transaction).await?;
        idempotency_keys::Entity::delete_many()
            .filter(idempotency_keys::Column::OwnerId.eq(id))
            .exec(transaction)
            .await?;
        // Logins, tokens, keys, projects, agents, campaigns, preferences, and webhooks, and rooms with all that happened in
        // them go with the user.
        let erased = users::Entity::delete_many().filter(users::Column::Id.eq(id)).exec(transaction).await?;
        if erased.rows_affected == 0 { Err(Error::NotFound) } else { Ok(()) }
    }
}

/// The object keys of the rows of `table` that `which` selects.
fn keys<E: EntityTrait>(table: E, key: impl IntoColumnRef, which: Expr) -> SelectStatement {
    Query::select().column(key).from(table.into_table_ref()).and_where(which).to_owned()
}
