//! Random plays against the engine, whose rules are checked after every step. `SEED=` plays one again.

use crate::{
    lifecycle::completion,
    webhooks::callback,
    world::{World, audio, transcribe},
};
use pipeline::{failure::Failure, retry::MAX_CRASHES, state::JobState};
use std::collections::HashMap;
use storage::{
    ids::{JobId, UserId},
    jobs::{Job, Lease, NewJob, Renewal},
    page::Page,
    webhooks::DeliveryFilter,
};

/// Whatever happens in whatever order, a job goes only from states to states that follow, its version and epoch only
/// grow, at most one lease holds it, what it published is what its one completion held, and each end was told once.
#[tokio::test]
async fn no_order_of_events_breaks_the_rules() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let world = World::new().await;
    let owners = [world.user("ada").await, world.user("bob").await];
    let mut play = Play { random: Random(seed), world, jobs: HashMap::new(), leases: vec![] };
    for _ in 0..300 {
        play.step(owners).await;
        play.check().await;
    }
}

struct Play {
    random: Random,
    world: World,
    jobs: HashMap<JobId, Seen>,
    leases: Vec<Lease>,
}

struct Seen {
    owner: UserId,
    job: Job,
    published_by: Option<Lease>,
    ends: usize,
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

impl Play {
    async fn step(&mut self, owners: [UserId; 2]) {
        let jobs = self.world.storage.jobs.clone();
        let mut ids: Vec<JobId> = self.jobs.keys().copied().collect();
        ids.sort();
        let action = self.random.below(if ids.is_empty() { 1 } else { 13 });
        if action == 0 {
            if ids.len() < 12 {
                let owner = owners[self.random.below(2)];
                let file = self.world.file(owner, Some(audio(1.0))).await.id;
                let new = NewJob { callback: callback(), ..transcribe(owner, file) };
                let job = self.world.submit(new).await;
                self.jobs.insert(job.id, Seen { owner, job, published_by: None, ends: 0 });
            }
            return;
        }
        let id = ids[self.random.below(ids.len())];
        let owner = self.jobs[&id].owner;
        match action {
            1 | 2 => {
                let at_most = self.random.below(4);
                let picked = self.world.dispatch(at_most).await;
                assert!(picked.len() <= at_most);
            }
            3 | 4 => {
                if let Some(claim) = jobs.claim(id, "worker").await.unwrap() {
                    self.leases.push(claim.lease);
                }
            }
            5 => {
                // Finished ones are refused, which is as much a part of the rules.
                let _refused = jobs.cancel(owner, id).await;
            }
            6 => {
                let _refused = jobs.retry(owner, id).await;
            }
            7 => self.world.pass(20),
            8 => {
                jobs.reap().await.unwrap();
            }
            _ => self.act_on_a_lease(action).await,
        }
    }

    /// Of any that ever was, so mostly of one that is lost.
    async fn act_on_a_lease(&mut self, action: usize) {
        let jobs = self.world.storage.jobs.clone();
        if self.leases.is_empty() {
            return;
        }
        let index = self.leases.len().saturating_sub(1 + self.random.below(6));
        let lease = self.leases[index];
        match action {
            9 => {
                let progress = self.random.below(100) as f32;
                jobs.renew(&lease, progress, "stage").await.unwrap();
            }
            10 => {
                let failure =
                    if self.random.below(2) == 0 { Failure::internal() } else { Failure::timed_out() };
                jobs.fail(&lease, &failure, 0.1).await.unwrap();
            }
            11 => {
                jobs.hand_back(&lease).await.unwrap();
            }
            _ => {
                let completion = completion(&self.world, &lease, &["out.txt"]).await;
                if jobs.complete(&lease, completion).await.unwrap()
                    && let Some(seen) = self.jobs.get_mut(&lease.job)
                {
                    assert!(seen.published_by.is_none_or(|by| by == lease), "published twice");
                    seen.published_by = Some(lease);
                }
            }
        }
    }

    async fn check(&mut self) {
        let jobs = &self.world.storage.jobs;
        for (id, seen) in &mut self.jobs {
            let now = jobs.find(seen.owner, *id).await.unwrap();
            let before = &seen.job;
            if now != *before {
                assert!(now.version > before.version, "{before:?} became {now:?} silently");
                // One step may take a job through two changes, such as a reaped one; none takes it through three.
                let direct = now.state == before.state || before.state.may_become(now.state);
                assert!(direct, "{before:?} became {now:?}");
            }
            seen.ends += usize::from(now.state.is_terminal() && !before.state.is_terminal());
            let filter = DeliveryFilter { job: Some(*id), status: None };
            let told =
                self.world.storage.webhooks.list(seen.owner, &filter, &Page::first()).await.unwrap().items;
            assert_eq!(told.len(), seen.ends, "{now:?}");
            let held = self.leases.iter().filter(|lease| lease.job == *id);
            let mut holders = 0;
            for lease in held {
                holders += usize::from(jobs.standing(lease).await.unwrap() != Renewal::Lost);
            }
            assert_eq!(holders, usize::from(now.state == JobState::Running), "{now:?}");
            let outputs = jobs.outputs(&now).await.unwrap();
            match (now.state, seen.published_by) {
                (JobState::Completed, Some(lease)) => {
                    let keys: Vec<_> = outputs.iter().map(|file| file.object_key.to_string()).collect();
                    assert_eq!(keys, [lease.object_key("out.txt").unwrap().to_string()]);
                }
                (_, None) => assert_eq!(outputs, []),
                (state, Some(lease)) => panic!("{lease:?} published, but the job is {state:?}"),
            }
            assert_eq!(now.state.is_terminal(), now.finished_at.is_some());
            assert_eq!(now.state == JobState::Failed, now.error.is_some());
            assert!(now.attempt >= now.crashes && now.crashes <= MAX_CRASHES);
            seen.job = now;
        }
    }
}
