//! What calls and their analytics take with a million calls of one user, for the benchmark: a line of JSON with mean
//! milliseconds by path. `cargo run --example call_paths`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chrono::{DateTime, Days, TimeDelta, Utc};
use serde_json::Map;
use storage::agents::NewAgent;
use storage::calls::{CallFilter, CallLog, CallStatus, Cost, NewCall, Sentiment, TallyFilter};
use storage::campaigns::NewCampaign;
use storage::ids::{AgentId, CampaignId, UserId};
use storage::page::Slice;
use storage::users::{Name, NewUser};
use storage::{Storage, StorageConfig};

const CALLS: usize = 1_000_000;
/// As the API imports them.
const BLOCK: usize = 500;
const ROUNDS: u32 = 20;
const AGENTS: usize = 20;
const CAMPAIGNS: usize = 50;
/// Over how many days the calls lie, ten thousand numbers and five thousand phrases.
const DAYS: usize = 365;
const NUMBERS: usize = 10_000;
const PHRASES: usize = 5_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let config = StorageConfig {
        database_url: format!("sqlite://{}?mode=rwc", directory.path().join("voxmill.db").display()),
        database_connections: 1,
        data_directory: directory.path().join("data"),
        objects: storage::objects::ObjectsConfig::Disk,
        default_quota_bytes: u64::MAX,
        retention: None,
        redis: None,
    };
    migrations::up(&config.database_url).await?;
    let storage = Storage::open(&config).await?;
    let caller = Caller::new(&storage).await?;
    let started = Instant::now();
    for block in 0..CALLS / BLOCK {
        let calls = (block * BLOCK..(block + 1) * BLOCK).map(|number| caller.call(number)).collect();
        storage.calls.import(caller.user, calls).await?;
    }
    let import = started.elapsed().as_secs_f64() * 1000.0 / (CALLS / BLOCK) as f64;
    let mut spent = Spent::default();
    for _ in 0..ROUNDS {
        round(&storage, &caller, &mut spent).await?;
    }
    let mean = |spent: &Duration| spent.as_secs_f64() * 1000.0 / f64::from(ROUNDS);
    let mut means: BTreeMap<_, _> = spent.0.iter().map(|(path, spent)| (*path, mean(spent))).collect();
    means.insert("import of 500", import);
    writeln!(std::io::stdout(), "{}", serde_json::json!({ "calls": CALLS, "milliseconds": means }))?;
    Ok(())
}

/// Each list with its first 50 calls and their total, and each of the analytics.
async fn round(storage: &Storage, caller: &Caller, spent: &mut Spent) -> anyhow::Result<()> {
    let (agent, campaign) = (Some(caller.agents[3]), Some(caller.campaigns[3]));
    let day = caller.now.date_naive() - Days::new(100);
    let any = CallFilter::default;
    for (path, filter) in [
        ("list", any()),
        ("list of agent", CallFilter { agent, ..any() }),
        ("list of campaign", CallFilter { campaign, ..any() }),
        ("list by status", CallFilter { status: Some(CallStatus::Failed), ..any() }),
        ("list of number", CallFilter { phone_number: Some(number(3)), ..any() }),
        ("list of a month", CallFilter { from: Some(day), until: Some(day + Days::new(30)), ..any() }),
        ("list of campaign by status", CallFilter { campaign, status: Some(CallStatus::Failed), ..any() }),
    ] {
        let list = storage.calls.list(caller.user, &filter, &Slice { skip: 0, limit: 50 });
        ensure!(spent.on(path, list).await?.items.len() == 50, "{path} found too little");
    }
    let last = Slice { skip: CALLS as u64 - 50, limit: 50 };
    spent.on("list, last page", storage.calls.list(caller.user, &any(), &last)).await?;
    let since = TallyFilter { from: Some(caller.now.date_naive() - Days::new(29)), ..Default::default() };
    for (path, filter) in [
        ("analytics, all days", TallyFilter::default()),
        ("analytics, 30 days", since),
        ("analytics of agent and campaign", TallyFilter { agent, campaign, ..Default::default() }),
    ] {
        ensure!(
            spent.on(path, storage.calls.tally(caller.user, &filter)).await?.total > 0,
            "{path} is empty"
        );
    }
    spent.on("top 20 phrases", storage.calls.top_phrases(caller.user, None, 20)).await?;
    spent.on("top 20 phrases of agent", storage.calls.top_phrases(caller.user, agent, 20)).await?;
    let newest = storage.calls.list(caller.user, &any(), &Slice { skip: 0, limit: 1 }).await?;
    spent.on("delete", storage.calls.delete(caller.user, newest.items[0].id)).await?;
    Ok(())
}

#[derive(Default)]
struct Spent(BTreeMap<&'static str, Duration>);

impl Spent {
    async fn on<T>(&mut self, path: &'static str, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let outcome = work.await;
        *self.0.entry(path).or_default() += started.elapsed();
        outcome
    }
}

/// Somebody whose agents call.
struct Caller {
    user: UserId,
    agents: Vec<AgentId>,
    campaigns: Vec<CampaignId>,
    now: DateTime<Utc>,
}

impl Caller {
    async fn new(storage: &Storage) -> anyhow::Result<Self> {
        let new = NewUser {
            email: "ada@example.org".to_owned(),
            password_hash: String::new(),
            name: Name::full("Ada"),
        };
        let user = storage.users.create(new).await?.id;
        let mut agents = vec![];
        for agent in 0..AGENTS {
            let new = NewAgent {
                owner: user,
                name: format!("agent {agent}"),
                description: None,
                llm_provider: "openai".to_owned(),
                llm_model: "gpt-4".to_owned(),
                stt_provider: "deepgram".to_owned(),
                tts_provider: "cartesia".to_owned(),
                system_prompt: String::new(),
                language: "en".to_owned(),
                voice_parameters: Map::new(),
            };
            agents.push(storage.agents.create(new).await?.id);
        }
        let mut campaigns = vec![];
        for campaign in 0..CAMPAIGNS {
            let new = NewCampaign {
                owner: user,
                agent: agents[campaign % AGENTS],
                name: format!("campaign {campaign}"),
                phone_numbers: vec![],
                start_time: None,
                end_time: None,
                max_concurrent_calls: 1,
            };
            campaigns.push(storage.campaigns.create(new).await?.id);
        }
        Ok(Self { user, agents, campaigns, now: Utc::now() })
    }

    /// The same for a number each time, and scattered over all that calls differ in. Calls come in the order of their time,
    /// as they would.
    fn call(&self, number_of_call: usize) -> NewCall {
        let scattered = number_of_call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let campaign = scattered % CAMPAIGNS;
        // Common phrases are far more common than rare ones.
        let phrase = |draw: usize| format!("phrase {}", (draw % PHRASES) * (draw % 97) / 97);
        let age = TimeDelta::seconds(((CALLS - number_of_call) * DAYS * 86_400 / CALLS) as i64);
        let log = CallLog {
            agent: Some(self.agents[campaign % AGENTS]),
            campaign: Some(self.campaigns[campaign]),
            external_id: None,
            phone_number: Some(number(scattered % NUMBERS)),
            status: CallStatus::ALL[scattered % CallStatus::ALL.len()],
            duration_seconds: (scattered % 600) as u32,
            sentiment: Some(Sentiment::ALL[scattered % Sentiment::ALL.len()]),
            emotions: vec!["satisfied".to_owned()],
            key_phrases: vec![phrase(scattered), phrase(scattered / 7), phrase(scattered / 31)],
            transcript: Some("User: Hello, it is about my bill. Agent: Let me see. ".repeat(4)),
            summary: Some("The customer called about a bill.".to_owned()),
            cost: Cost { micros: 123_456 },
            recording: None,
            job: None,
            created_at: self.now - age,
        };
        NewCall { log, import_key: Some(format!("id:{number_of_call}")) }
    }
}

fn number(index: usize) -> String {
    format!("+49151{index:07}")
}
