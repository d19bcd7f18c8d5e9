//! Many jobs in one second.

use super::LIMIT;
use tests::fleet::BackEnds;
use tests::storm;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_are_due_at_once_all_run_and_the_queue_stays_shallow() {
    let outcome = storm::due_at_once(BackEnds::shared(), 200, LIMIT).await;
    assert_eq!(outcome.findings.completed, 200);
}
