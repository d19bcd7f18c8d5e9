//! Agents, whose names are their owner's to give once.

use crate::world::{World, new_agent};
use futures_util::future::join_all;
use serde_json::json;
use storage::{
    agents::{Agent, AgentChange, AgentFilter, AgentStatus, NewAgent},
    campaigns::CampaignStatus,
    error::{Conflict, Error, Result},
    ids::{AgentId, UserId},
    page::{Page, Slice},
};

#[tokio::test]
async fn an_agent_is_kept_as_it_was_made_and_changed_in_part() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let agents = &world.storage.agents;
    let parameters = json!({"voice_id": "english_male", "speed": 1.0, "deep": {"nothing": null}});
    let new = NewAgent {
        description: Some("Handles \"everything\" 😀".into()),
        voice_parameters: parameters.as_object().unwrap().clone(),
        ..new_agent(ada, "Support")
    };
    let made = agents.create(new).await.unwrap();
    assert_eq!((made.status, made.updated_at), (AgentStatus::Active, made.created_at));
    assert_eq!(json!(made.voice_parameters), parameters);
    assert_eq!(agents.find(ada, made.id).await.unwrap(), made);

    world.pass(5);
    let change = AgentChange { system_prompt: Some("Be brief.".into()), ..Default::default() };
    let changed = agents.change(ada, made.id, change).await.unwrap();
    assert!(changed.updated_at > made.updated_at);
    let expected =
        Agent { system_prompt: "Be brief.".into(), updated_at: changed.updated_at, ..made.clone() };
    assert_eq!(changed, expected);
    assert_eq!(agents.find(ada, made.id).await.unwrap(), expected);
    agents.delete(ada, made.id).await.unwrap();
    assert!(matches!(agents.find(ada, made.id).await, Err(Error::NotFound)));
    assert!(matches!(agents.delete(ada, made.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_name_is_given_once_by_each_owner() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let agents = &world.storage.agents;
    let made = join_all((0..5).map(|_| agents.create(new_agent(ada, "Sales")))).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 4));
    for refused in refused {
        assert_taken(refused);
    }
    world.agent(bob, "Sales").await;
    let other = world.agent(ada, "sales").await;
    let rename = |name: &str| AgentChange { name: Some(name.into()), ..Default::default() };
    assert_taken(agents.change(ada, other, rename("Sales")).await);
    agents.change(ada, other, rename("sales")).await.unwrap();
    agents.change(ada, other, rename("Support")).await.unwrap();
    world.agent(ada, "sales").await;
}

#[tokio::test]
async fn lists_are_counted_searched_and_cut() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let agents = &world.storage.agents;
    for (name, description) in [
        ("Sales Agent", "Handles inquiries"),
        ("Support", "After SALES and before"),
        ("Élodie", "50% off_peak \\ night"),
        ("Other", ""),
    ] {
        let new = NewAgent { description: Some(description.into()), ..new_agent(ada, name) };
        agents.create(new).await.unwrap();
        world.pass(1);
    }
    let idle = agents.list(ada, &AgentFilter::default(), &slice(0, 1)).await.unwrap().items.remove(0);
    let change = AgentChange { status: Some(AgentStatus::Inactive), ..Default::default() };
    agents.change(ada, idle.id, change).await.unwrap();

    let all = ["Other", "Élodie", "Support", "Sales Agent"];
    assert_eq!(names(&world, ada, AgentFilter::default(), slice(0, 10)).await, found(4, &all));
    assert_eq!(names(&world, ada, AgentFilter::default(), slice(1, 2)).await, found(4, &all[1..3]));
    assert_eq!(names(&world, ada, AgentFilter::default(), slice(9, 2)).await, found(4, &[]));
    assert_eq!(names(&world, ada, AgentFilter::default(), slice(u64::MAX, u64::MAX)).await, found(4, &[]));
    for (search, expected) in [
        ("sales", vec!["Support", "Sales Agent"]),
        ("ÉLO", vec!["Élodie"]),
        ("0% OFF_", vec!["Élodie"]),
        ("\\", vec!["Élodie"]),
        ("_ff", vec![]),
        ("%o", vec![]),
        ("'; --", vec![]),
        ("", all.to_vec()),
    ] {
        let filter = AgentFilter { search: Some(search.into()), status: None };
        assert_eq!(names(&world, ada, filter, slice(0, 10)).await.1, expected, "{search}");
    }
    let with = |status| AgentFilter { search: None, status: Some(status) };
    assert_eq!(names(&world, ada, with(AgentStatus::Inactive), slice(0, 10)).await, found(1, &["Other"]));
    assert_eq!(names(&world, ada, with(AgentStatus::Active), slice(0, 1)).await, found(3, &["Élodie"]));

    let first = agents.every(ada, &Page { limit: 3, cursor: None }).await.unwrap();
    let rest = agents.every(ada, &Page { limit: 3, cursor: first.next_cursor }).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (3, 1, None));
}

#[tokio::test]
async fn anothers_agent_is_none() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let agents = &world.storage.agents;
    let agent = world.agent(ada, "Sales").await;
    for id in [agent, AgentId::new()] {
        assert!(matches!(agents.find(bob, id).await, Err(Error::NotFound)));
        let change = AgentChange { status: Some(AgentStatus::Inactive), ..Default::default() };
        assert!(matches!(agents.change(bob, id, change).await, Err(Error::NotFound)));
        assert!(matches!(agents.delete(bob, id).await, Err(Error::NotFound)));
    }
    assert_eq!(names(&world, bob, AgentFilter::default(), slice(0, 10)).await, found(0, &[]));
    assert_eq!(agents.find(ada, agent).await.unwrap().status, AgentStatus::Active);
}

#[tokio::test]
async fn campaigns_pause_when_their_agent_goes() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let storage = &world.storage;
    let (agent, other) = (world.agent(ada, "Sales").await, world.agent(ada, "Support").await);
    let (running, draft) = (world.campaign(ada, agent).await, world.campaign(ada, agent).await);
    let untouched = world.campaign(ada, other).await;
    for campaign in [running, untouched] {
        storage.campaigns.launch(ada, campaign).await.unwrap();
    }
    let status = async |id| storage.campaigns.find(ada, id).await.unwrap().status;
    let set = async |status| {
        storage.agents.change(ada, agent, AgentChange { status: Some(status), ..Default::default() }).await
    };

    set(AgentStatus::Inactive).await.unwrap();
    assert_eq!((status(running).await, status(draft).await), (CampaignStatus::Paused, CampaignStatus::Draft));
    assert_idle(storage.campaigns.launch(ada, running).await);
    set(AgentStatus::Active).await.unwrap();
    assert_eq!(status(running).await, CampaignStatus::Paused, "its owner takes it up again");
    storage.campaigns.launch(ada, running).await.unwrap();

    storage.agents.delete(ada, agent).await.unwrap();
    let left = storage.campaigns.find(ada, running).await.unwrap();
    assert_eq!((left.status, left.agent), (CampaignStatus::Paused, None));
    assert_idle(storage.campaigns.launch(ada, draft).await);
    assert_eq!(status(untouched).await, CampaignStatus::Active);
    let change = storage::campaigns::CampaignChange { agent: Some(other), ..Default::default() };
    storage.campaigns.change(ada, running, change).await.unwrap();
    assert_eq!(storage.campaigns.launch(ada, running).await.unwrap().status, CampaignStatus::Active);
}

async fn names(world: &World, owner: UserId, filter: AgentFilter, slice: Slice) -> (u64, Vec<String>) {
    let listed = world.storage.agents.list(owner, &filter, &slice).await.unwrap();
    (listed.total, listed.items.into_iter().map(|agent| agent.name).collect())
}

fn found(total: u64, names: &[&str]) -> (u64, Vec<String>) {
    (total, names.iter().map(|name| (*name).to_owned()).collect())
}

fn slice(skip: u64, limit: u64) -> Slice {
    Slice { skip, limit }
}

#[track_caller]
fn assert_taken(outcome: Result<Agent>) {
    assert!(matches!(outcome, Err(Error::Conflict(Conflict::AgentExists))), "{outcome:?}");
}

#[track_caller]
fn assert_idle<T: std::fmt::Debug>(outcome: Result<T>) {
    assert!(matches!(outcome, Err(Error::Conflict(Conflict::CampaignWithoutAgent))), "{outcome:?}");
}
