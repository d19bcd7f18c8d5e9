//! Many jobs in one second.

use super::LIMIT;
use tests::fleet::BackEnds;
use tests::storm;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_are_due_at_once_all_run_and_the_queue_stays_shallow() {
    storm::crowd(BackEnds::shared(), 500, LIMIT).await;
}
