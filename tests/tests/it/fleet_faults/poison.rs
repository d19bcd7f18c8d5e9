//! A job under which workers die.

use super::LIMIT;
use tests::fleet::BackEnds;
use tests::storm;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_workers_fails_and_the_others_do_not() {
    storm::poison(BackEnds::shared(), 1, LIMIT).await;
}
