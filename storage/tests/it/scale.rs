//! What the hot paths take with a million jobs waiting. Run by hand:
//! `cargo test -p storage scale -- --ignored --nocapture`

use crate::world::{World, transcribe};
use pipeline::state::JobState;
use sea_orm::{ConnectionTrait, Database};
use std::time::{Duration, Instant};
use storage::{jobs::JobFilter, page::Page};

const ROWS: u32 = 1_000_000;
const ROUNDS: u32 = 50;
/// Far more than any of them takes on an idle machine, and far less than a walk over all rows.
const LIMIT: Duration = Duration::from_millis(100);

#[tokio::test]
#[ignore = "takes a minute; a million rows"]
async fn hot_paths_do_not_grow_with_the_rows() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (adas, bobs) = (world.audio(ada).await, world.audio(bob).await);
    world.submit(transcribe(ada, adas)).await;
    fill(&world).await;
    let jobs = &world.storage.jobs;
    let (mut submit, mut dispatch, mut claim, mut renew, mut list, mut position, mut due) =
        Default::default();
    for _ in 0..ROUNDS {
        let job = timed(&mut submit, world.submit(transcribe(bob, bobs))).await;
        timed(&mut position, jobs.queue_position(&job)).await.unwrap();
        let picked = timed(&mut dispatch, world.dispatch(2)).await;
        assert!(picked.contains(&job.id), "a newcomer is seen behind a million");
        let claimed = timed(&mut claim, jobs.claim(job.id, "worker")).await.unwrap().unwrap();
        timed(&mut renew, jobs.renew(&claimed.lease, 1.0, "stage")).await.unwrap();
        timed(&mut due, jobs.next_due()).await.unwrap();
        let page = Page { limit: 20, cursor: None };
        timed(&mut list, jobs.list(ada, &JobFilter::default(), &page)).await.unwrap();
        assert!(jobs.cancelled(&claimed.lease).await.unwrap());
    }
    for (name, total) in [
        ("submit", submit),
        ("dispatch", dispatch),
        ("claim", claim),
        ("renew", renew),
        ("list", list),
        ("queue_position", position),
        ("next_due", due),
    ] {
        let mean: Duration = total / ROUNDS;
        println!("{name}: {mean:?}");
        assert!(mean < LIMIT, "{name} takes {mean:?}");
    }
    let started = Instant::now();
    let counts = jobs.counts().await.unwrap();
    println!("counts: {:?}", started.elapsed());
    let waiting = counts.iter().find(|count| count.state == JobState::Waiting).unwrap().count;
    assert!(waiting >= u64::from(ROWS - ROUNDS), "{waiting}");
}

/// Copies the only job, each copy with the owner's next turn.
async fn fill(world: &World) {
    let database = Database::connect(&world.config.database_url).await.unwrap();
    let columns = "owner_id, kind, priority, state, parameters, attempt, crashes, max_attempts, run_after, \
                   lease_epoch, progress, version, created_at";
    let sql = format!(
        "WITH RECURSIVE copies(turn) AS (SELECT 1 UNION ALL SELECT turn + 1 FROM copies WHERE turn < {ROWS}) \
         INSERT INTO jobs (id, turn, {columns}) SELECT randomblob(16), copies.turn, {columns} FROM copies, jobs"
    );
    database.execute_unprepared(&sql).await.unwrap();
    database.close().await.unwrap();
}

async fn timed<T>(total: &mut Duration, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let outcome = work.await;
    *total += started.elapsed();
    outcome
}
