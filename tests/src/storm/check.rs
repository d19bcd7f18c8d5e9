//! What must hold once a storm is over, whatever died in it.

use super::{Rows, Ship};
use crate::fleet::BackEnds;
use crate::receiver::Received;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub jobs: usize,
    pub completed: usize,
    pub failed: usize,
    /// Attempts that were taken from their holder.
    pub crashes: i64,
    pub files: usize,
    pub webhooks: usize,
    /// Objects that no row names, and that the next sweep takes.
    pub orphaned_objects: usize,
}

/// # Panics
/// Where something does not hold; the sentence says which, by the number that `docs/operations.md` gives it.
pub fn check(
    rows: &Rows,
    back_ends: Option<&BackEnds>,
    ship: &Ship,
    accepted: &[String],
    webhooks: &[Received],
) -> Findings {
    let (job, of_job) = (rows.id("id"), rows.id("job_id"));
    let jobs = rows.query(&format!(
        "SELECT {job}, state, attempt, max_attempts, lease_epoch, crashes, callback IS NOT NULL FROM jobs WHERE kind = 'extract-audio'"
    ));
    let known: BTreeSet<&str> = jobs.iter().map(|row| row[0].as_str()).collect();
    let distinct: BTreeSet<&str> = accepted.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), accepted.len(), "an idempotency key made two jobs of one");
    assert!(distinct.is_subset(&known), "I1: a job that was accepted is lost");
    assert_eq!(known.len(), accepted.len(), "I1: a job is there that nobody was told of");
    let mut findings = Findings { jobs: jobs.len(), webhooks: webhooks.len(), ..Findings::default() };
    let (mut epochs, mut untold) = (BTreeMap::new(), BTreeSet::new());
    for row in &jobs {
        let number = |index: usize| row[index].parse::<i64>().unwrap();
        match row[1].as_str() {
            "completed" => findings.completed += 1,
            "failed" => findings.failed += 1,
            other => panic!("I2: job {} is {other}", row[0]),
        }
        assert!(number(2) <= number(3), "I3: job {} was begun {} times", row[0], row[2]);
        findings.crashes += number(5);
        // As Postgres and SQLite say it.
        if !matches!(row[6].as_str(), "t" | "1") {
            untold.insert(row[0].as_str());
        }
        epochs.insert(row[0].as_str(), (row[1].as_str(), number(4)));
    }

    let files =
        rows.query(&format!("SELECT {of_job}, object_key, sha256 FROM files WHERE job_id IS NOT NULL"));
    findings.files = files.len();
    let mut published = BTreeSet::new();
    let mut referenced = BTreeSet::new();
    for row in &files {
        let (state, epoch) = epochs[row[0].as_str()];
        assert_eq!(state, "completed", "I4: job {} published and did not complete", row[0]);
        assert!(published.insert(row[0].as_str()), "I4: job {} published twice", row[0]);
        let prefix = format!("jobs/{}/{epoch}/", row[0]);
        assert!(row[1].starts_with(&prefix), "I5: {} is not of the last epoch", row[1]);
        let bytes = std::fs::read(object(ship, back_ends, &row[1])).unwrap();
        assert_eq!(hex(&Sha256::digest(&bytes)), row[2], "I4: the bytes of {}", row[1]);
        referenced.insert(row[1].clone());
    }
    assert_eq!(published.len(), findings.completed, "I4: a completed job published nothing");

    let mut told: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for webhook in webhooks {
        let about = webhook.json()["data"]["job_id"].as_str().unwrap().to_owned();
        told.entry(about).or_default().insert(webhook.id());
    }
    for job in accepted {
        let ids = if untold.contains(job.as_str()) { None } else { Some(1) };
        assert_eq!(told.get(job).map(BTreeSet::len), ids, "I7: webhooks of job {job}");
    }

    let stored = files_below(&object(ship, back_ends, "jobs"));
    findings.orphaned_objects = stored.len().saturating_sub(referenced.len());
    let leases = "SELECT count(*) FROM jobs WHERE lease_owner IS NOT NULL AND state NOT IN ('running')";
    assert_eq!(rows.number(leases), 0, "I8: a lease of what does not run");
    findings
}

/// Where the object lies on this machine.
fn object(ship: &Ship, back_ends: Option<&BackEnds>, key: &str) -> PathBuf {
    match (ship, back_ends) {
        (Ship::Alone(server), _) => server.data_directory().join("objects").join(key),
        (Ship::Fleet { fleet, .. }, Some(back_ends)) => {
            back_ends.s3.path(&format!("{}/{key}", fleet.setting("VOXMILL_S3_PREFIX").trim_end_matches('/')))
        }
        (Ship::Fleet { .. }, None) => panic!("a fleet has back ends"),
    }
}

fn files_below(directory: &std::path::Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(_) if !hidden => files.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    files
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
