//! State: database rows, the bytes of files, and the engine of jobs. Clients of this crate see domain types alone.

pub mod agents;
pub mod api_keys;
pub mod audit;
mod broker;
mod calling_rows;
pub mod calls;
pub mod campaigns;
pub mod clock;
pub mod conversations;
mod database;
pub mod duties;
mod erase;
pub mod error;
pub mod events;
pub mod files;
mod fleet_rows;
mod garbage;
pub mod ids;
pub mod jobs;
pub mod live_names;
pub mod logins;
pub mod objects;
pub mod page;
pub mod password_resets;
pub mod preferences;
pub mod projects;
pub mod queue;
pub mod quota;
pub mod rooms;
mod rows;
mod secrets;
pub mod shared_counts;
mod sweep;
pub mod uploads;
pub mod users;
pub mod voice_sessions;
pub mod voices;
pub mod webhooks;
pub mod workers;

use crate::sweep::Orphans;
use crate::{
    agents::Agents,
    api_keys::ApiKeys,
    audit::Audit,
    broker::Broker,
    calls::Calls,
    campaigns::Campaigns,
    clock::Clock,
    conversations::Conversations,
    database::Database,
    duties::Duties,
    error::Result,
    events::Events,
    files::Files,
    jobs::{Jobs, Terms},
    live_names::LiveNames,
    logins::Logins,
    objects::{DiskObjects, Objects, ObjectsConfig, S3Objects},
    projects::Projects,
    queue::{MemoryQueue, Queue, RedisQueue},
    rooms::{Rooms, meetings::Meetings, recordings::Recordings},
    shared_counts::SharedCounts,
    uploads::{DiskParts, Parts, S3Parts, Uploads},
    users::Users,
    voice_sessions::VoiceSessions,
    voices::Voices,
    webhooks::Webhooks,
    workers::Workers,
};
pub use crate::{broker::RedisConfig, sweep::Swept};
use sea_orm::ConnectionTrait;
use std::{path::PathBuf, sync::Arc, time::Duration};

#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Such as `sqlite:///var/lib/voxmill/voxmill.db?mode=rwc` or `postgres://voxmill:secret@db.example/voxmill`. Its
    /// tables must be there: `migrations` makes them.
    pub database_url: String,
    /// The most that this process opens to Postgres.
    pub database_connections: u32,
    /// Holds `staging/` and, where objects are on the disk, `objects/` and `uploads/`, on one file system.
    pub data_directory: PathBuf,
    pub objects: ObjectsConfig,
    /// Of users who have none of their own.
    pub default_quota_bytes: u64,
    /// How long files, finished jobs and security events are kept; none keeps them until they are deleted.
    pub retention: Option<Duration>,
    /// Where several processes work on one database; without it each waits for itself alone.
    pub redis: Option<RedisConfig>,
}

/// The one door to all state. Clones share everything.
#[derive(Clone)]
pub struct Storage {
    pub users: Users,
    pub logins: Logins,
    pub api_keys: ApiKeys,
    pub audit: Audit,
    pub live_names: LiveNames,
    pub projects: Projects,
    pub voice_sessions: VoiceSessions,
    pub files: Files,
    pub uploads: Uploads,
    pub jobs: Jobs,
    pub voices: Voices,
    pub rooms: Rooms,
    pub meetings: Meetings,
    pub agents: Agents,
    pub campaigns: Campaigns,
    pub calls: Calls,
    pub recordings: Recordings,
    pub conversations: Conversations,
    pub webhooks: Webhooks,
    pub workers: Workers,
    pub duties: Duties,
    pub objects: Arc<dyn Objects>,
    pub events: Events,
    pub queue: Arc<dyn Queue>,
    /// None where no Redis is configured.
    pub shared_counts: Option<SharedCounts>,
    database: Database,
    broker: Option<Broker>,
    retention: Option<Duration>,
    orphans: Orphans,
}

impl Storage {
    pub async fn open(config: &StorageConfig) -> Result<Self> {
        Self::open_with_clock(config, Clock::system()).await
    }

    /// For tests that do not wait.
    pub async fn open_with_clock(config: &StorageConfig, clock: Clock) -> Result<Self> {
        let database = Database::open(&config.database_url, config.database_connections, clock).await?;
        let (objects, parts) = open_objects(config, &database).await?;
        let broker = config.redis.as_ref().map(Broker::open).transpose()?;
        let events = match &broker {
            Some(broker) => Events::shared(broker),
            None if database.is_postgres() => Events::unheard(),
            None => Events::default(),
        };
        let queue: Arc<dyn Queue> = match &broker {
            Some(broker) => Arc::new(RedisQueue::new(broker.clone())),
            None => Arc::new(MemoryQueue::new()),
        };
        let files = Files {
            database: database.clone(),
            objects: objects.clone(),
            default_quota_bytes: config.default_quota_bytes,
            retention: config.retention,
        };
        let uploads = Uploads {
            database: database.clone(),
            objects: objects.clone(),
            default_quota_bytes: config.default_quota_bytes,
            parts,
        };
        let terms = Terms { retention: config.retention, default_quota_bytes: config.default_quota_bytes };
        let jobs = Jobs::new(database.clone(), events.clone(), terms);
        Ok(Self {
            users: Users::new(database.clone(), config.default_quota_bytes),
            logins: Logins::new(database.clone()),
            api_keys: ApiKeys::new(database.clone()),
            audit: Audit::new(database.clone()),
            live_names: LiveNames::new(database.clone()),
            projects: Projects::new(database.clone()),
            voice_sessions: VoiceSessions::new(database.clone()),
            voices: Voices::new(files.clone()),
            rooms: Rooms::new(database.clone()),
            meetings: Meetings::new(database.clone()),
            agents: Agents::new(database.clone()),
            campaigns: Campaigns::new(database.clone()),
            calls: Calls::new(database.clone()),
            recordings: Recordings::new(files.clone()),
            conversations: Conversations::new(database.clone()),
            webhooks: Webhooks::new(database.clone(), jobs.clone()),
            jobs,
            workers: Workers::new(database.clone()),
            duties: Duties::new(database.clone()),
            files,
            uploads,
            objects,
            events,
            queue,
            shared_counts: broker.clone().map(SharedCounts::new),
            database,
            broker,
            retention: config.retention,
            orphans: Orphans::default(),
        })
    }

    /// Whether other processes may share the database.
    pub fn is_shared(&self) -> bool {
        self.database.is_postgres()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.database.reader().execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// Whether Redis answers, where one is configured.
    pub async fn ping_redis(&self) -> Result<()> {
        match &self.broker {
            Some(broker) => broker.ping().await,
            None => Ok(()),
        }
    }
}

/// Where the bytes are, and where those of uploads in parts are meanwhile.
async fn open_objects(
    config: &StorageConfig,
    database: &Database,
) -> Result<(Arc<dyn Objects>, Arc<dyn Parts>)> {
    match &config.objects {
        ObjectsConfig::Disk => {
            let objects: Arc<dyn Objects> = Arc::new(DiskObjects::open(&config.data_directory).await?);
            let parts = DiskParts::open(database.clone(), objects.clone(), &config.data_directory).await?;
            Ok((objects, Arc::new(parts)))
        }
        ObjectsConfig::S3(s3) => {
            let objects = S3Objects::open(s3, &config.data_directory).await?;
            let parts = S3Parts::new(database.clone(), objects.clone());
            Ok((Arc::new(objects), Arc::new(parts)))
        }
    }
}
