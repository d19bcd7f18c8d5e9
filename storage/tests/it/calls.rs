//! Calls, and what they add up to.

use crate::world::{World, audio};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use storage::{
    calls::{
        Call, CallFilter, CallLog, CallStatus, Cost, EXCERPT, NewCall, Outcome, Sentiment, Tally, TallyFilter,
    },
    error::Error,
    files::NewFile,
    ids::{AgentId, CallId, CampaignId, UserId},
    page::{Page, Slice},
};
use uuid::Uuid;

const ALL: Slice = Slice { skip: 0, limit: 1000 };
const PHRASES: [&str; 5] = ["billing issue", "Billing Issue ", "refund", "Ärger", "😀"];

#[tokio::test]
async fn a_call_is_kept_as_it_was_told() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let agent = world.agent(ada, "Sales").await;
    let campaign = world.campaign(ada, agent).await;
    let recording = world.file(ada, Some(audio(2.0))).await;
    let log = CallLog {
        agent: Some(agent),
        campaign: Some(campaign),
        external_id: Some("call 7".into()),
        sentiment: Some(Sentiment::Positive),
        emotions: vec!["satisfied".into(), "relieved".into()],
        key_phrases: vec!["billing".into()],
        transcript: Some("User: \"Hello\" 😀".into()),
        summary: Some(String::new()),
        cost: Cost { micros: 500_001 },
        ..call(at(0))
    };
    let id = only(&world, ada, log.clone()).await;
    let found = world.storage.calls.find(ada, id).await.unwrap();
    assert_eq!(found, Call { id, owner: ada, log });
    assert_eq!(world.storage.calls.find_signed(id).await.unwrap(), found);
    for (user, id) in [(bob, id), (ada, CallId::new())] {
        assert!(matches!(world.storage.calls.find(user, id).await, Err(Error::NotFound)));
        assert!(matches!(world.storage.calls.delete(user, id).await, Err(Error::NotFound)));
    }
    // What is not WAV is no recording, and neither is another's.
    let of_bob = wav(&world, bob).await;
    for file in [recording.id, of_bob, CallId::new().as_uuid().into()] {
        let outcome = import(&world, ada, vec![CallLog { recording: Some(file), ..call(at(0)) }]).await;
        assert!(matches!(outcome[0], Outcome::Refused { field: "recording_file_id", .. }));
    }
}

#[tokio::test]
async fn a_recording_is_the_owners_to_delete() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = wav(&world, ada).await;
    let id = only(&world, ada, CallLog { recording: Some(file), ..call(at(0)) }).await;
    let calls = &world.storage.calls;
    let call = calls.find(ada, id).await.unwrap();
    assert_eq!(calls.recording(&call).await.unwrap().unwrap().id, file);
    world.storage.files.delete(ada, file).await.unwrap();
    assert_eq!(calls.recording(&call).await.unwrap(), None);
    let call = calls.find(ada, id).await.unwrap();
    assert_eq!((call.log.recording, calls.recording(&call).await.unwrap()), (None, None));
}

#[tokio::test]
async fn what_a_call_names_must_be_its_owners() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (agent, other) = (world.agent(ada, "Sales").await, world.agent(ada, "Support").await);
    let campaign = world.campaign(ada, agent).await;
    let of_bob = world.agent(bob, "Sales").await;
    let campaign_of_bob = world.campaign(bob, of_bob).await;
    let named = |agent, campaign| CallLog { agent, campaign, ..call(at(0)) };
    let outcomes = import(
        &world,
        ada,
        vec![
            named(Some(of_bob), None),
            named(None, Some(campaign_of_bob)),
            named(Some(AgentId::new()), Some(campaign)),
            named(Some(agent), Some(CampaignId::new())),
            named(Some(Uuid::nil().into()), None),
            named(None, Some(campaign)),
            named(Some(other), Some(campaign)),
        ],
    )
    .await;
    let fields: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Refused { field, .. } => *field,
            Outcome::Imported(_) => "",
            Outcome::Duplicate => "duplicate",
        })
        .collect();
    assert_eq!(fields, ["agent_id", "campaign_id", "agent_id", "campaign_id", "agent_id", "", ""]);
    let list = world.storage.calls.list(ada, &CallFilter::default(), &ALL).await.unwrap();
    let agents: Vec<_> = list.items.iter().map(|call| call.log.agent).collect();
    assert_eq!(
        agents,
        [Some(other), Some(agent)],
        "a call has the agent of its campaign unless it says another"
    );
    assert!(world.storage.calls.import(UserId::new(), vec![]).await.is_err());
}

#[tokio::test]
async fn a_key_is_imported_once_however_often_it_comes() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let keyed = |key: &str, log: CallLog| NewCall { log, import_key: Some(key.into()) };
    let block = || vec![keyed("a", call(at(0))), keyed("b", call(at(1))), keyed("a", call(at(2)))];
    let outcomes = join_all((0..4).map(|_| world.storage.calls.import(ada, block()))).await;
    let outcomes: Vec<_> = outcomes.into_iter().flat_map(Result::unwrap).collect();
    let imported = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Imported(_))).count();
    assert_eq!((outcomes.len(), imported), (12, 2));
    assert!(matches!(world.storage.calls.import(bob, block()).await.unwrap()[0], Outcome::Imported(_)));
    assert_eq!(tally(&world, ada).await.total, 2);
    assert!(world.storage.calls.sums_hold(ada).await.unwrap());
    // Without a key each is another.
    import(&world, ada, vec![call(at(0)), call(at(0))]).await;
    assert_eq!(tally(&world, ada).await.total, 4);
}

#[tokio::test]
async fn lists_are_narrowed_and_counted() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let agent = world.agent(ada, "Sales").await;
    let campaign = world.campaign(ada, agent).await;
    let number = "+4915112345678";
    import(
        &world,
        ada,
        vec![
            CallLog { campaign: Some(campaign), ..call(at(0)) },
            CallLog { agent: Some(agent), status: CallStatus::NoAnswer, ..call(at(1)) },
            CallLog { phone_number: Some(number.into()), ..call(at(1) + TimeDelta::seconds(86_399)) },
            CallLog { phone_number: None, ..call(at(3)) },
        ],
    )
    .await;
    import(&world, bob, vec![call(at(0))]).await;
    let check = async |filter: CallFilter, days: &[i64]| {
        let list = world.storage.calls.list(ada, &filter, &ALL).await.unwrap();
        let found: Vec<_> = list.items.iter().map(|call| (call.log.created_at - at(0)).num_days()).collect();
        assert_eq!((found.as_slice(), list.total), (days, days.len() as u64), "{filter:?}");
    };
    check(CallFilter::default(), &[3, 1, 1, 0]).await;
    check(CallFilter { agent: Some(agent), ..Default::default() }, &[1, 0]).await;
    check(CallFilter { campaign: Some(campaign), ..Default::default() }, &[0]).await;
    check(CallFilter { status: Some(CallStatus::NoAnswer), ..Default::default() }, &[1]).await;
    check(CallFilter { phone_number: Some(number.into()), ..Default::default() }, &[1]).await;
    check(CallFilter { from: Some(day(1)), until: Some(day(1)), ..Default::default() }, &[1, 1]).await;
    check(CallFilter { from: Some(day(2)), ..Default::default() }, &[3]).await;
    check(CallFilter { until: Some(NaiveDate::MAX), ..Default::default() }, &[3, 1, 1, 0]).await;
    check(CallFilter { from: Some(day(3)), until: Some(day(1)), ..Default::default() }, &[]).await;
    let both = CallFilter { agent: Some(agent), status: Some(CallStatus::NoAnswer), ..Default::default() };
    check(CallFilter { from: Some(day(1)), ..both.clone() }, &[1]).await;
    check(CallFilter { campaign: Some(campaign), ..both }, &[]).await;
    check(CallFilter { agent: Some(Uuid::nil().into()), ..Default::default() }, &[]).await;
    check(CallFilter { campaign: Some(Uuid::nil().into()), ..Default::default() }, &[]).await;

    let part =
        world.storage.calls.list(ada, &CallFilter::default(), &Slice { skip: 1, limit: 2 }).await.unwrap();
    assert_eq!((part.total, part.items.len()), (4, 2));
    let beyond = Slice { skip: u64::MAX, limit: u64::MAX };
    let none = world.storage.calls.list(ada, &CallFilter::default(), &beyond).await.unwrap();
    assert_eq!((none.total, none.items.len()), (4, 0));
}

#[tokio::test]
async fn a_list_shows_how_a_long_transcript_begins() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let spoken = |length: usize| CallLog { transcript: Some("é".repeat(length)), ..call(at(0)) };
    import(&world, ada, vec![spoken(EXCERPT), spoken(EXCERPT + 1)]).await;
    let list = world.storage.calls.list(ada, &CallFilter::default(), &ALL).await.unwrap();
    let lengths: Vec<_> =
        list.items.iter().map(|call| call.log.transcript.as_ref().unwrap().chars().count()).collect();
    assert_eq!(lengths, [EXCERPT + 1, EXCERPT]);
    assert!(list.items[0].log.transcript.as_ref().unwrap().ends_with("é…"));
    let whole = world.storage.calls.every(ada, &Page { limit: 1, cursor: None }).await.unwrap();
    assert_eq!(whole.items[0].log.transcript, spoken(EXCERPT + 1).transcript);
    assert!(whole.next_cursor.is_some());
}

#[tokio::test]
async fn sums_are_those_of_the_calls_whatever_comes_and_goes() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let agents = [world.agent(ada, "Sales").await, world.agent(ada, "Support").await];
    let campaigns = [world.campaign(ada, agents[0]).await, world.campaign(ada, agents[1]).await];
    let mut random = StdRng::seed_from_u64(20_261_122);
    let mut kept: Vec<Call> = vec![];
    for _ in 0..6 {
        let logs: Vec<_> = (0..40).map(|_| any_call(&mut random, agents, campaigns)).collect();
        for outcome in import(&world, ada, logs).await {
            let Outcome::Imported(id) = outcome else { panic!("{outcome:?}") };
            kept.push(world.storage.calls.find(ada, id).await.unwrap());
        }
        for _ in 0..30 {
            let gone = kept.swap_remove(random.random_range(0..kept.len()));
            world.storage.calls.delete(ada, gone.id).await.unwrap();
        }
    }
    // What they were made by may go, and they stay.
    world.storage.agents.delete(ada, agents[0]).await.unwrap();
    world.storage.campaigns.delete(ada, campaigns[1]).await.unwrap();
    assert!(world.storage.calls.sums_hold(ada).await.unwrap());
    for agent in [None, Some(agents[0]), Some(agents[1])] {
        for campaign in [None, Some(campaigns[0]), Some(campaigns[1])] {
            for (from, until) in [(None, None), (Some(day(3)), None), (Some(day(2)), Some(day(6)))] {
                let filter = TallyFilter { agent, campaign, from, until };
                let found = world.storage.calls.tally(ada, &filter).await.unwrap();
                assert_eq!(found, added(&kept, &filter), "{filter:?}");
            }
        }
        let mine: Vec<_> = kept.iter().filter(|call| agent.is_none() || call.log.agent == agent).collect();
        for phrase in world.storage.calls.top_phrases(ada, agent, 10).await.unwrap() {
            let has = |call: &&&Call| {
                call.log.key_phrases.iter().any(|text| text.trim().to_lowercase() == phrase.phrase)
            };
            assert_eq!(mine.iter().filter(has).count() as u64, phrase.calls, "{}", phrase.phrase);
        }
    }
    for call in kept {
        world.storage.calls.delete(ada, call.id).await.unwrap();
    }
    assert_eq!(tally(&world, ada).await, Tally::default());
    assert_eq!(world.storage.calls.top_phrases(ada, None, 10).await.unwrap(), []);
    assert!(world.storage.calls.sums_hold(ada).await.unwrap());
}

#[tokio::test]
async fn those_who_count_at_once_all_count() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let log = || CallLog { key_phrases: vec!["refund".into()], cost: Cost { micros: 1 }, ..call(at(0)) };
    let first = only(&world, ada, log()).await;
    let calls = &world.storage.calls;
    let new = || vec![NewCall { log: log(), import_key: None }];
    let imports = join_all((0..10).map(|_| calls.import(ada, new())));
    let deletions = join_all((0..3).map(|_| calls.delete(ada, first)));
    let (imports, deletions) = tokio::join!(imports, deletions);
    assert!(imports.iter().all(Result::is_ok));
    assert_eq!(deletions.iter().filter(|deletion| deletion.is_ok()).count(), 1);
    let tally = tally(&world, ada).await;
    assert_eq!((tally.total, tally.cost_micros), (10, 10));
    assert_eq!(calls.top_phrases(ada, None, 1).await.unwrap()[0].calls, 10);
    assert!(calls.sums_hold(ada).await.unwrap());
}

#[tokio::test]
async fn phrases_are_counted_once_a_call_and_listed_by_calls() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let said = |phrases: &[&str]| CallLog {
        key_phrases: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
        ..call(at(0))
    };
    import(&world, ada, vec![said(&["b", " B", "a"]), said(&["b"]), said(&["c"])]).await;
    import(&world, bob, vec![said(&["d"])]).await;
    let top = async |limit| {
        let phrases = world.storage.calls.top_phrases(ada, None, limit).await.unwrap();
        phrases.into_iter().map(|phrase| (phrase.phrase, phrase.calls)).collect::<Vec<_>>()
    };
    assert_eq!(top(10).await, [("b".to_owned(), 2), ("a".to_owned(), 1), ("c".to_owned(), 1)]);
    assert_eq!(top(1).await.len(), 1);
}

#[tokio::test]
async fn an_erased_account_takes_its_calls_along() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let recording = wav(&world, ada).await;
    let log = CallLog { key_phrases: vec!["a".into()], ..call(at(0)) };
    let id = only(&world, ada, CallLog { recording: Some(recording), ..log.clone() }).await;
    only(&world, bob, log).await;
    world.storage.erase(ada).await.unwrap();
    let calls = &world.storage.calls;
    assert!(matches!(calls.find_signed(id).await, Err(Error::NotFound)));
    assert_eq!(
        (tally(&world, ada).await, calls.top_phrases(ada, None, 9).await.unwrap()),
        (Tally::default(), vec![])
    );
    assert_eq!(tally(&world, bob).await.total, 1);
    assert!(calls.sums_hold(ada).await.unwrap() && calls.sums_hold(bob).await.unwrap());
}

fn any_call(random: &mut StdRng, agents: [AgentId; 2], campaigns: [CampaignId; 2]) -> CallLog {
    let agent = [None, Some(agents[0]), Some(agents[1])].choose(random).copied().flatten();
    let campaign = [None, Some(campaigns[0]), Some(campaigns[1])].choose(random).copied().flatten();
    let sentiments = Sentiment::ALL.map(Some).into_iter().chain([None]).collect::<Vec<_>>();
    let phrases = PHRASES.into_iter().filter(|_| random.random_bool(0.4)).map(str::to_owned).collect();
    CallLog {
        agent,
        campaign,
        status: *CallStatus::ALL.choose(random).unwrap(),
        duration_seconds: random.random_range(0..7_200),
        sentiment: sentiments.choose(random).copied().flatten(),
        key_phrases: phrases,
        cost: Cost { micros: random.random_range(0..100_000_000) },
        ..call(at(random.random_range(0..9)) + TimeDelta::seconds(random.random_range(0..86_400)))
    }
}

/// What the calls that the filter lets through add up to, one by one.
fn added(calls: &[Call], filter: &TallyFilter) -> Tally {
    let mut tally = Tally::default();
    for CallLog { agent, campaign, status, sentiment, duration_seconds, cost, created_at, .. } in
        calls.iter().map(|call| &call.log)
    {
        let date = created_at.date_naive();
        let lets_through = filter.agent.is_none_or(|of| *agent == Some(of))
            && filter.campaign.is_none_or(|of| *campaign == Some(of))
            && filter.from.is_none_or(|from| date >= from)
            && filter.until.is_none_or(|until| date <= until);
        if !lets_through {
            continue;
        }
        tally.total += 1;
        match status {
            CallStatus::Queued => tally.queued += 1,
            CallStatus::InProgress => tally.in_progress += 1,
            CallStatus::Completed => tally.completed += 1,
            CallStatus::Failed => tally.failed += 1,
            CallStatus::NoAnswer => tally.no_answer += 1,
        }
        match sentiment {
            Some(Sentiment::Positive) => tally.positive += 1,
            Some(Sentiment::Neutral) => tally.neutral += 1,
            Some(Sentiment::Negative) => tally.negative += 1,
            None => {}
        }
        tally.duration_seconds += u64::from(*duration_seconds);
        tally.cost_micros += cost.micros;
    }
    tally
}

async fn tally(world: &World, owner: UserId) -> Tally {
    world.storage.calls.tally(owner, &TallyFilter::default()).await.unwrap()
}

async fn import(world: &World, owner: UserId, logs: Vec<CallLog>) -> Vec<Outcome> {
    let calls = logs.into_iter().map(|log| NewCall { log, import_key: None }).collect();
    world.storage.calls.import(owner, calls).await.unwrap()
}

async fn only(world: &World, owner: UserId, log: CallLog) -> CallId {
    match import(world, owner, vec![log]).await.as_slice() {
        [Outcome::Imported(id)] => *id,
        others => panic!("{others:?}"),
    }
}

async fn wav(world: &World, owner: UserId) -> storage::ids::FileId {
    let new = world.new_file(owner, Some(audio(2.0))).await;
    world.storage.files.insert(NewFile { content_type: "audio/wav".into(), ..new }).await.unwrap().id
}

fn call(created_at: DateTime<Utc>) -> CallLog {
    CallLog {
        agent: None,
        campaign: None,
        external_id: None,
        phone_number: Some("+1234567890".into()),
        status: CallStatus::Completed,
        duration_seconds: 60,
        sentiment: None,
        emotions: vec![],
        key_phrases: vec![],
        transcript: None,
        summary: None,
        cost: Cost::default(),
        recording: None,
        job: None,
        created_at,
    }
}

/// Midnight, so many days after the first.
fn at(days: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 / 86_400 * 86_400, 0).unwrap() + TimeDelta::days(days)
}

fn day(days: i64) -> NaiveDate {
    at(days).date_naive()
}
