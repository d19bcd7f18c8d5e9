//! Jobs by the thousand in one second: what a receiver of webhooks is owed that was away and is back.

use super::{Findings, Load, Outcome, Ship, Sort, stale_writes};
use crate::fleet::BackEnds;
use crate::server::{Often, eventually_each};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const WORKERS: usize = 2;

/// So many deliveries are due in the same second: each is made once, and the queue stays shallow meanwhile.
///
/// # Panics
/// Where something that must hold does not.
pub async fn crowd(back_ends: &BackEnds, jobs: usize, limit: Duration) -> Outcome {
    let begun = Instant::now();
    let mut load = Load::begin(Ship::fleet(back_ends, 1)).await;
    load.submit(Sort::Quick).await;
    load.settle(Some(back_ends), limit).await;
    let slots = load.ship.answers().counted("voxmill_worker_slots{", "deliver-webhook").await;
    assert!(load.ship.workers().remove(0).terminate().success());
    load.rows.query(&copies(jobs));
    for _ in 0..WORKERS {
        let worker = load.fleet().worker();
        load.ship.workers().push(worker);
    }

    let state = |state: &str| {
        format!("SELECT count(*) FROM jobs WHERE kind = 'deliver-webhook' AND state IN ({state})")
    };
    let lane = format!("{}:queue:deliver-webhook:active", load.fleet().setting("VOXMILL_REDIS_PREFIX"));
    let most = 2 * WORKERS as i64 * slots.cast_signed();
    let often = Often { every: Duration::from_secs(1), limit };
    eventually_each("the end of all that was due", often, async || {
        let waits: i64 = back_ends.redis.cli(&["LLEN", &lane]).parse().unwrap();
        let queued = load.rows.number(&state("'queued'"));
        assert!(waits.max(queued) <= most, "{waits} wake-ups wait, {queued} rows are queued");
        (load.rows.number(&state("'waiting', 'queued', 'running'")) == 0).then_some(())
    })
    .await;

    let all = jobs + 1;
    let ends =
        "SELECT state, attempt, count(*) FROM jobs WHERE kind = 'deliver-webhook' GROUP BY state, attempt";
    assert_eq!(load.rows.query(ends), [["completed".to_owned(), "1".to_owned(), all.to_string()]]);
    let received = load.received();
    let distinct: BTreeSet<&str> = received.iter().map(|webhook| webhook.id()).collect();
    assert_eq!(
        (distinct.len(), received.len()),
        (all, all),
        "I7: each delivery comes once where nobody dies"
    );
    let findings = Findings { jobs, completed: jobs, webhooks: received.len(), ..Findings::default() };
    let stale_writes = stale_writes(load.ship.servers()).await;
    Outcome { findings, stale_writes, seconds: begun.elapsed().as_secs_f64() }
}

/// Makes so many more of the one delivery that there is, due in ten seconds.
fn copies(jobs: usize) -> String {
    format!(
        "WITH copies AS (SELECT gen_random_uuid() run, gen_random_uuid() delivery, number \
             FROM generate_series(1, {jobs}) number), \
         deliveries AS (INSERT INTO webhook_deliveries SELECT copy.* FROM webhook_deliveries one, copies, \
             jsonb_populate_record(one, jsonb_build_object('id', copies.delivery, 'run_id', copies.run, \
             'status', 'pending')) copy) \
         INSERT INTO jobs SELECT copy.* FROM jobs one, copies, jsonb_populate_record(one, jsonb_build_object( \
             'id', copies.run, 'parameters', one.parameters::jsonb || jsonb_build_object('delivery_id', copies.delivery), \
             'state', 'waiting', 'attempt', 0, 'lease_epoch', 0, 'progress', 0, 'stage', NULL, 'result', NULL, \
             'turn', copies.number, 'run_after', now() + interval '10 seconds', 'started_at', NULL, \
             'finished_at', NULL)) copy WHERE one.kind = 'deliver-webhook'"
    )
}
