//! How a user wants to be spoken to by voice agents.

use crate::{
    error::Result,
    ids::UserId,
    rows::preferences::{ActiveModel, Column, Entity},
    users::{self, Users},
};
use sea_orm::{EntityTrait, Set, sea_query::OnConflict};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    pub preferred_voice: String,
    pub preferred_language: String,
    pub favorite_topics: Vec<String>,
    /// Empty leaves the agent its own.
    pub system_prompt_override: String,
}

/// Of a user who has chosen nothing.
impl Default for Preferences {
    fn default() -> Self {
        Self {
            preferred_voice: "alloy".to_owned(),
            preferred_language: "en".to_owned(),
            favorite_topics: vec![],
            system_prompt_override: String::new(),
        }
    }
}

impl Users {
    pub async fn preferences(&self, user: UserId) -> Result<Preferences> {
        let row = Entity::find_by_id(user.as_uuid()).one(self.database.reader()).await?;
        let Some(row) = row else { return Ok(Preferences::default()) };
        Ok(Preferences {
            preferred_voice: row.preferred_voice,
            preferred_language: row.preferred_language,
            favorite_topics: serde_json::from_value(row.favorite_topics)?,
            system_prompt_override: row.system_prompt_override,
        })
    }

    /// All of them at once.
    pub async fn set_preferences(&self, user: UserId, new: &Preferences) -> Result<()> {
        let row = ActiveModel {
            user_id: Set(user.into()),
            preferred_voice: Set(new.preferred_voice.clone()),
            preferred_language: Set(new.preferred_language.clone()),
            favorite_topics: Set(serde_json::to_value(&new.favorite_topics)?),
            system_prompt_override: Set(new.system_prompt_override.clone()),
            updated_at: Set(self.database.now()),
        };
        let transaction = self.database.begin(user).await?;
        users::find(&transaction, user).await?;
        Entity::insert(row)
            .on_conflict(
                OnConflict::column(Column::UserId)
                    .update_columns([
                        Column::PreferredVoice,
                        Column::PreferredLanguage,
                        Column::FavoriteTopics,
                        Column::SystemPromptOverride,
                        Column::UpdatedAt,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
