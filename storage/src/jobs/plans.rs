//! How the database answers what is asked often. With a million rows a plan without the right index is an outage.

use super::{JobFilter, dispatch, owner, questions, submit};
use crate::{clock::Clock, database::Database, ids::UserId, page::Page, rows::jobs};
use pipeline::{parameters::JobKind, state::JobStatus};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryTrait, Statement,
    StatementBuilder,
};

#[tokio::test]
async fn hot_queries_seek_and_never_sort() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("plans.db").display());
    migrations::up(&url).await.unwrap();
    let database = Database::open(&url, 1, Clock::system()).await.unwrap();
    let (kind, now, ada) = (JobKind::Transcribe, database.now(), UserId::new());
    let line = submit::Line { kind, priority: 0 };
    let plan = async |query: &dyn Fn() -> Statement| plan(&database, query()).await;
    let sqlite = DbBackend::Sqlite;

    check(
        &plan(&|| dispatch::candidates(kind, now, 8).build(sqlite)).await,
        "INDEX jobs_due (state=? AND kind=?)",
    );
    check(
        &plan(&|| dispatch::mark(&[ada.as_uuid(), UserId::new().as_uuid()], now).build(sqlite)).await,
        "INDEX sqlite_autoindex_jobs_1 (id=?)",
    );
    check(
        &plan(&|| dispatch::active(kind, [ada.as_uuid()].into()).build(sqlite)).await,
        "COVERING INDEX jobs_of_owner_by_state (owner_id=? AND state=?)",
    );
    check(
        &plan(&|| submit::turns(line).build(sqlite)).await,
        "COVERING INDEX jobs_due (state=? AND kind=? AND priority=?)",
    );
    check(
        &plan(&|| submit::turns_of(line, ada).build(sqlite)).await,
        "COVERING INDEX jobs_of_owner_by_state (owner_id=? AND state=? AND kind=? AND priority=?)",
    );
    check(&plan(&|| questions::late(now).build(sqlite)).await, "INDEX jobs_due (state=? AND kind=?)");
    check(&plan(&|| dispatch::queued().build(sqlite)).await, "COVERING INDEX jobs_due (state=?)");
    check(&plan(&|| dispatch::unfinished().build(sqlite)).await, "COVERING INDEX jobs_due (state=?)");
    let later = Page {
        limit: 10,
        cursor: Some(format!("{:016x}{}", now.timestamp_micros(), ada.as_uuid().simple())),
    };
    let owned = jobs::Entity::find().filter(jobs::Column::OwnerId.eq(ada.as_uuid()));
    for (page, seek) in [(Page::first(), "(owner_id=?)"), (later.clone(), "(owner_id=? AND created_at<?)")] {
        let list = || owner::narrowed(owned.clone(), &JobFilter::default(), &page).unwrap().build(sqlite);
        check(&plan(&list).await, &format!("INDEX jobs_of_owner {seek}"));
    }
    let of_batch = JobFilter {
        batch: Some(crate::ids::BatchId::new()),
        status: Some(JobStatus::Failed),
        ..JobFilter::default()
    };
    let list = || owner::narrowed(owned.clone(), &of_batch, &later).unwrap().build(sqlite);
    check(&plan(&list).await, "INDEX jobs_of_batch (batch_id=? AND owner_id=? AND created_at<?)");
    let all = owner::narrowed(jobs::Entity::find(), &JobFilter::default(), &later).unwrap();
    check(&plan(&|| all.clone().build(sqlite)).await, "INDEX jobs_by_age (created_at<?)");
    let seeks = [
        "(state=? AND kind=?)",
        "(state=? AND kind=? AND priority>?)",
        "(state=? AND kind=? AND priority=? AND turn<?)",
    ];
    for (which, seek) in owner::before(&waiting()).unwrap().into_iter().zip(seeks) {
        let count = || StatementBuilder::build(&owner::counting(which.clone()), &sqlite);
        check(&plan(&count).await, &format!("COVERING INDEX jobs_due {seek}"));
    }
}

/// The plan must hold `expected`, look through no whole table or index, and sort nothing.
#[track_caller]
fn check(plan: &[String], expected: &str) {
    let shown = plan.join("; ");
    assert!(shown.contains(expected), "expected {expected} in: {shown}");
    // `SCAN ahead` is the subquery itself.
    let scans = plan.iter().any(|step| step.starts_with("SCAN") && !step.starts_with("SCAN ahead"));
    assert!(!scans && !shown.contains("TEMP B-TREE"), "{shown}");
}

async fn plan(database: &Database, query: Statement) -> Vec<String> {
    let explained = Statement::from_string(DbBackend::Sqlite, format!("EXPLAIN QUERY PLAN {query}"));
    let rows = database.reader().query_all_raw(explained).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect()
}

fn waiting() -> jobs::Model {
    let now = Clock::system().now();
    jobs::Model {
        id: uuid::Uuid::now_v7(),
        owner_id: uuid::Uuid::now_v7(),
        kind: "transcribe".into(),
        priority: 0,
        state: "waiting".into(),
        parameters: serde_json::json!({}),
        turn: 7,
        attempt: 0,
        crashes: 0,
        max_attempts: 5,
        run_after: now,
        queued_at: None,
        lease_owner: None,
        lease_until: None,
        lease_epoch: 0,
        cancel_requested_at: None,
        progress: 0.0,
        stage: None,
        version: 1,
        result: None,
        error: None,
        project_id: None,
        parent_id: None,
        batch_id: None,
        request_id: None,
        created_at: now,
        started_at: None,
        finished_at: None,
        callback: None,
        trace_parent: None,
    }
}
