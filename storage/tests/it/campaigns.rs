//! Campaigns, which go on by steps and end by the clock.

use crate::world::{World, new_campaign};
use futures_util::future::join_all;
use std::time::Duration;
use storage::{
    campaigns::{Campaign, CampaignChange, CampaignFilter, CampaignStatus, NewCampaign},
    error::{Conflict, Error, Result},
    ids::{AgentId, CampaignId, UserId},
    page::{Page, Slice},
};

const HOUR: Duration = Duration::from_secs(3600);
const ALL: Slice = Slice { skip: 0, limit: 100 };

#[tokio::test]
async fn a_campaign_takes_each_step_once_and_in_order() {
    let (world, ada, agent) = world().await;
    let campaigns = &world.storage.campaigns;
    let draft = campaigns.create(new_campaign(ada, agent)).await.unwrap();
    assert_eq!((draft.status, draft.agent, draft.launched_at), (CampaignStatus::Draft, Some(agent), None));
    assert_conflict(campaigns.pause(ada, draft.id).await, Conflict::CampaignNotActive);

    world.pass(5);
    let active = campaigns.launch(ada, draft.id).await.unwrap();
    let launched_at = active.launched_at;
    assert!(launched_at > Some(draft.created_at));
    let expected =
        Campaign { status: CampaignStatus::Active, launched_at, updated_at: launched_at.unwrap(), ..draft };
    assert_eq!(active, expected);
    assert_conflict(campaigns.launch(ada, active.id).await, Conflict::CampaignLaunched);
    assert_conflict(campaigns.delete(ada, active.id).await, Conflict::CampaignActive);
    let renamed = campaigns.change(ada, active.id, named("Another")).await;
    assert_conflict(renamed, Conflict::CampaignActive);

    world.pass(5);
    let paused = campaigns.pause(ada, active.id).await.unwrap();
    assert_eq!((paused.status, paused.launched_at), (CampaignStatus::Paused, launched_at));
    assert!(paused.paused_at > launched_at);
    assert_conflict(campaigns.pause(ada, active.id).await, Conflict::CampaignNotActive);
    assert_eq!(campaigns.change(ada, active.id, named("Another")).await.unwrap().name, "Another");

    world.pass(5);
    let resumed = campaigns.launch(ada, active.id).await.unwrap();
    assert_eq!((resumed.status, resumed.paused_at), (CampaignStatus::Active, paused.paused_at));
    assert!(resumed.launched_at > paused.paused_at);
    campaigns.pause(ada, active.id).await.unwrap();
    campaigns.delete(ada, active.id).await.unwrap();
    assert!(matches!(campaigns.find(ada, active.id).await, Err(Error::NotFound)));
    assert!(matches!(campaigns.delete(ada, active.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn of_many_clicks_at_once_one_counts() {
    let (world, ada, agent) = world().await;
    let campaigns = &world.storage.campaigns;
    let id = world.campaign(ada, agent).await;
    only(join_all((0..5).map(|_| campaigns.launch(ada, id))).await);
    only(join_all((0..5).map(|_| campaigns.pause(ada, id))).await);
    let (launched, deleted) = tokio::join!(campaigns.launch(ada, id), campaigns.delete(ada, id));
    match (launched, deleted) {
        (Ok(_), deleted) => assert_conflict(deleted, Conflict::CampaignActive),
        (Err(Error::NotFound), Ok(())) => {}
        outcome => panic!("{outcome:?}"),
    }
    let id = world.campaign(ada, agent).await;
    let (launched, gone) = tokio::join!(campaigns.launch(ada, id), world.storage.agents.delete(ada, agent));
    gone.unwrap();
    let left = campaigns.find(ada, id).await.unwrap();
    match launched {
        Ok(_) => assert_eq!((left.status, left.agent), (CampaignStatus::Paused, None)),
        outcome => assert_conflict(outcome, Conflict::CampaignWithoutAgent),
    }
}

#[tokio::test]
async fn the_clock_completes_what_has_begun_and_nothing_else() {
    let (world, ada, agent) = world().await;
    let campaigns = &world.storage.campaigns;
    let end = world.clock.now() + HOUR;
    let ending = || NewCampaign { end_time: Some(end), ..new_campaign(ada, agent) };
    let mut made = vec![];
    for _ in 0..3 {
        made.push(campaigns.create(ending()).await.unwrap().id);
        world.pass(1);
    }
    let [draft, active, paused] = made[..] else { unreachable!() };
    let endless = world.campaign(ada, agent).await;
    for id in [active, paused, endless] {
        campaigns.launch(ada, id).await.unwrap();
    }
    campaigns.pause(ada, paused).await.unwrap();
    assert_eq!(listed(&world, ada, Some(CampaignStatus::Completed)).await, []);
    assert_eq!(world.storage.sweep().await.unwrap().campaigns, 0);

    world.clock.advance(HOUR);
    let look = async || {
        let mut seen = vec![];
        for id in [draft, active, paused, endless] {
            seen.push(campaigns.find(ada, id).await.unwrap());
        }
        seen
    };
    let before = look().await;
    let expected =
        [CampaignStatus::Draft, CampaignStatus::Completed, CampaignStatus::Completed, CampaignStatus::Active];
    assert_eq!(before.iter().map(|campaign| campaign.status).collect::<Vec<_>>(), expected);
    let ends: Vec<_> = before.iter().map(|campaign| campaign.completed_at).collect();
    assert_eq!(ends, [None, Some(end), Some(end), None]);
    let lists = async || {
        let mut lists = vec![];
        for status in CampaignStatus::ALL {
            lists.push(listed(&world, ada, Some(status)).await);
        }
        lists
    };
    let expected = [vec![draft], vec![endless], vec![], vec![paused, active]];
    assert_eq!(lists().await, expected);
    assert_conflict(campaigns.launch(ada, draft).await, Conflict::CampaignOver);
    for id in [active, paused] {
        assert_conflict(campaigns.launch(ada, id).await, Conflict::CampaignOver);
        assert_conflict(campaigns.pause(ada, id).await, Conflict::CampaignNotActive);
        assert_conflict(campaigns.change(ada, id, named("x")).await, Conflict::CampaignOver);
    }

    assert_eq!(world.storage.sweep().await.unwrap().campaigns, 2);
    assert_eq!(look().await, before, "the sweep writes down what everybody saw");
    assert_eq!(lists().await, expected);
    assert_eq!(world.storage.sweep().await.unwrap().campaigns, 0);
    assert_conflict(campaigns.launch(ada, active).await, Conflict::CampaignOver);
    assert_conflict(campaigns.change(ada, paused, named("x")).await, Conflict::CampaignOver);
    campaigns.delete(ada, active).await.unwrap();

    let later = CampaignChange { end_time: Some(world.clock.now() + HOUR), ..Default::default() };
    campaigns.change(ada, draft, later).await.unwrap();
    campaigns.launch(ada, draft).await.unwrap();
    world.clock.advance(HOUR);
    campaigns.delete(ada, draft).await.unwrap();
}

#[tokio::test]
async fn a_paused_campaign_whose_end_is_put_into_the_past_is_completed_then() {
    let (world, ada, agent) = world().await;
    let campaigns = &world.storage.campaigns;
    let id = world.campaign(ada, agent).await;
    campaigns.launch(ada, id).await.unwrap();
    campaigns.pause(ada, id).await.unwrap();
    let past = CampaignChange { end_time: Some(world.clock.now() - HOUR), ..Default::default() };
    let ended = campaigns.change(ada, id, past).await.unwrap();
    assert_eq!((ended.status, ended.completed_at), (CampaignStatus::Completed, Some(ended.updated_at)));
    assert!(ended.completed_at > ended.paused_at);
    world.storage.sweep().await.unwrap();
    assert_eq!(campaigns.find(ada, id).await.unwrap(), ended);
}

#[tokio::test]
async fn what_is_changed_is_checked_with_what_stays() {
    let (world, ada, agent) = world().await;
    let bob = world.user("bob").await;
    let theirs = world.agent(bob, "Theirs").await;
    let campaigns = &world.storage.campaigns;
    let start = world.clock.now();
    for end in [start, start - HOUR] {
        let new = NewCampaign { start_time: Some(start), end_time: Some(end), ..new_campaign(ada, agent) };
        assert_input(campaigns.create(new).await, "end_time");
    }
    for agent in [theirs, AgentId::new()] {
        assert_missing(campaigns.create(new_campaign(ada, agent)).await);
    }
    let numbers = ["+12", "+13", "+12", "+14", "+13"].map(str::to_owned).to_vec();
    let new =
        NewCampaign { start_time: Some(start), phone_numbers: numbers.clone(), ..new_campaign(ada, agent) };
    let made = campaigns.create(new).await.unwrap();
    assert_eq!(made.phone_numbers, ["+12", "+13", "+14"]);

    let past = CampaignChange { end_time: Some(start - HOUR), ..Default::default() };
    assert_input(campaigns.change(ada, made.id, past).await, "end_time");
    for agent in [theirs, AgentId::new()] {
        let change = CampaignChange { agent: Some(agent), ..Default::default() };
        assert_missing(campaigns.change(ada, made.id, change).await);
    }
    assert_eq!(campaigns.find(ada, made.id).await.unwrap(), made);

    let other = world.agent(ada, "Other").await;
    let change = CampaignChange {
        agent: Some(other),
        name: Some("Renamed".into()),
        phone_numbers: Some(numbers[1..].to_vec()),
        start_time: Some(start + HOUR),
        end_time: Some(start + 2 * HOUR),
        max_concurrent_calls: Some(3),
    };
    world.pass(1);
    let changed = campaigns.change(ada, made.id, change).await.unwrap();
    let expected = Campaign {
        agent: Some(other),
        name: "Renamed".into(),
        phone_numbers: ["+13", "+12", "+14"].map(str::to_owned).to_vec(),
        start_time: Some(start + HOUR),
        end_time: Some(start + 2 * HOUR),
        max_concurrent_calls: 3,
        updated_at: changed.updated_at,
        ..made.clone()
    };
    assert_eq!(changed, expected);
    assert!(changed.updated_at > made.updated_at);
}

#[tokio::test]
async fn lists_are_ones_own_by_agent_and_status() {
    let (world, ada, agent) = world().await;
    let bob = world.user("bob").await;
    let other = world.agent(ada, "Other").await;
    let mut made = vec![];
    for agent in [agent, other, agent] {
        made.push(world.campaign(ada, agent).await);
        world.pass(1);
    }
    let [first, second, third] = made[..] else { unreachable!() };
    let campaigns = &world.storage.campaigns;
    assert_eq!(listed(&world, ada, None).await, [third, second, first]);
    let slice = campaigns.list(ada, &CampaignFilter::default(), &Slice { skip: 1, limit: 1 }).await.unwrap();
    assert_eq!((slice.total, slice.items), (3, vec![second]));
    campaigns.launch(ada, third).await.unwrap();
    let of = async |owner, agent, status| {
        let filter = CampaignFilter { agent: Some(agent), status };
        campaigns.list(owner, &filter, &ALL).await.unwrap().items
    };
    assert_eq!(of(ada, agent, None).await, [third, first]);
    assert_eq!(of(ada, agent, Some(CampaignStatus::Draft)).await, [first]);
    assert_eq!(of(bob, agent, None).await, []);
    assert_eq!(listed(&world, bob, None).await, []);
    for id in [first, CampaignId::new()] {
        assert!(matches!(campaigns.find(bob, id).await, Err(Error::NotFound)));
        assert!(matches!(campaigns.launch(bob, id).await, Err(Error::NotFound)));
        assert!(matches!(campaigns.pause(bob, id).await, Err(Error::NotFound)));
        assert!(matches!(campaigns.change(bob, id, named("x")).await, Err(Error::NotFound)));
        assert!(matches!(campaigns.delete(bob, id).await, Err(Error::NotFound)));
    }
    let page = campaigns.every(ada, &Page { limit: 2, cursor: None }).await.unwrap();
    let rest = campaigns.every(ada, &Page { limit: 2, cursor: page.next_cursor }).await.unwrap();
    let ids: Vec<_> = page.items.iter().chain(&rest.items).map(|campaign| campaign.id).collect();
    assert_eq!((ids, rest.next_cursor), (vec![third, second, first], None));
}

/// A user who has an agent.
async fn world() -> (World, UserId, AgentId) {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let agent = world.agent(ada, "Sales").await;
    (world, ada, agent)
}

async fn listed(world: &World, owner: UserId, status: Option<CampaignStatus>) -> Vec<CampaignId> {
    let filter = CampaignFilter { agent: None, status };
    let listed = world.storage.campaigns.list(owner, &filter, &ALL).await.unwrap();
    assert_eq!(listed.total, listed.items.len() as u64);
    listed.items
}

fn named(name: &str) -> CampaignChange {
    CampaignChange { name: Some(name.into()), ..Default::default() }
}

/// The one that came about; the others were in conflict with it.
#[track_caller]
fn only<T: std::fmt::Debug>(outcomes: Vec<Result<T>>) -> T {
    let refused = |outcome: &Result<T>| matches!(outcome, Ok(_) | Err(Error::Conflict(_)));
    assert!(outcomes.iter().all(refused), "{outcomes:?}");
    let mut done: Vec<T> = outcomes.into_iter().filter_map(Result::ok).collect();
    assert_eq!(done.len(), 1, "{done:?}");
    done.remove(0)
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(outcome: Result<T>, expected: Conflict) {
    assert!(matches!(&outcome, Err(Error::Conflict(conflict)) if *conflict == expected), "{outcome:?}");
}

#[track_caller]
fn assert_input<T: std::fmt::Debug>(outcome: Result<T>, expected: &str) {
    assert!(matches!(&outcome, Err(Error::Input { field, .. }) if field == expected), "{outcome:?}");
}

#[track_caller]
fn assert_missing<T: std::fmt::Debug>(outcome: Result<T>) {
    assert!(matches!(&outcome, Err(Error::MissingInput { field }) if field == "agent_id"), "{outcome:?}");
}
