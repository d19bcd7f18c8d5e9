//! The tables of calls as sea-orm sees them.
#![expect(unreachable_pub, reason = "the derives write public items beside these")]

pub(crate) mod call_logs {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "call_logs")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub agent_id: Option<Uuid>,
        pub campaign_id: Option<Uuid>,
        pub job_id: Option<Uuid>,
        pub recording_file_id: Option<Uuid>,
        pub external_id: Option<String>,
        pub import_key: Option<String>,
        pub phone_number: Option<String>,
        pub status: String,
        pub duration_seconds: i64,
        pub sentiment: Option<String>,
        pub emotions: Json,
        pub key_phrases: Json,
        pub transcript: Option<String>,
        pub summary: Option<String>,
        pub cost_micros: i64,
        pub created_at: DateTimeUtc,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod call_days {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "call_days")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub campaign_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: i32,
        pub total: i64,
        pub queued: i64,
        pub in_progress: i64,
        pub completed: i64,
        pub failed: i64,
        pub no_answer: i64,
        pub duration_seconds: i64,
        pub cost_micros: i64,
        pub positive: i64,
        pub neutral: i64,
        pub negative: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod call_phrases {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "call_phrases")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub phrase: String,
        pub calls: i64,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
