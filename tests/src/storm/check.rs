//! What must hold once a storm is over, whatever died in it.

use super::{Rows, Ship};
use crate::fleet::BackEnds;
use crate::receiver::Received;
use crate::servers::{Store, files_below};
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
    /// Objects that no row names, and uploads in parts that nobody ends: the next sweep takes them.
    pub orphaned_objects: usize,
}

/// # Panics
/// Where something does not hold; the sentence says which, by the number that `docs/operations.md` gives it.
pub async fn check(
    rows: &Rows,
    back_ends: Option<&BackEnds>,
    ship: &Ship,
    accepted: &[String],
    webhooks: &[Received],
) -> Findings {
    let (job, of_job) = (rows.id("id"), rows.id("job_id"));
    let jobs = rows.query(&format!(
        "SELECT {job}, state, attempt, max_attempts, lease_epoch, crashes FROM jobs WHERE kind = 'extract-audio'"
    ));
    let known: BTreeSet<&str> = jobs.iter().map(|row| row[0].as_str()).collect();
    let distinct: BTreeSet<&str> = accepted.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), accepted.len(), "an idempotency key made two jobs of one");
    assert!(distinct.is_subset(&known), "I1: a job that was accepted is lost");
    assert_eq!(known.len(), accepted.len(), "I1: a job is there that nobody was told of");
    let mut findings = Findings { jobs: jobs.len(), webhooks: webhooks.len(), ..Findings::default() };
    let mut epochs = BTreeMap::new();
    for row in &jobs {
        let number = |index: usize| row[index].parse::<i64>().unwrap();
        match row[1].as_str() {
            "completed" => findings.completed += 1,
            "failed" => findings.failed += 1,
            other => panic!("I2: job {} is {other}", row[0]),
        }
        assert!(number(2) <= number(3), "I3: job {} was begun {} times", row[0], row[2]);
        findings.crashes += number(5);
        epochs.insert(row[0].as_str(), (row[1].as_str(), number(4)));
    }

    let objects = Objects::of(ship, back_ends);
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
        let bytes = objects.read(&row[1]).await;
        assert_eq!(hex(&Sha256::digest(&bytes)), row[2], "I4: the bytes of {}", row[1]);
        referenced.insert(row[1].clone());
    }
    assert_eq!(published.len(), findings.completed, "I4: a completed job published nothing");

    let mut told: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for webhook in webhooks {
        let about = webhook.json()["data"]["job_id"].as_str().unwrap().to_owned();
        told.entry(about).or_default().insert(webhook.id());
        assert!(webhook.seconds_off() < 120, "I7: a receiver takes {webhook:?} for old");
    }
    for job in accepted {
        assert_eq!(told.get(job).map(BTreeSet::len), Some(1), "I7: webhooks of job {job}");
    }

    let unnamed = objects.count("jobs/").await.saturating_sub(referenced.len());
    findings.orphaned_objects = unnamed + objects.multiparts("jobs/");
    let leases = "SELECT count(*) FROM jobs WHERE lease_owner IS NOT NULL AND state NOT IN ('running')";
    assert_eq!(rows.number(leases), 0, "I8: a lease of what does not run");
    findings
}

/// Where the objects of a ship lie.
enum Objects<'a> {
    Disk(PathBuf),
    Store { store: &'a Store, prefix: &'a str },
}

impl<'a> Objects<'a> {
    fn of(ship: &'a Ship, back_ends: Option<&'a BackEnds>) -> Self {
        match (ship, back_ends) {
            (Ship::Alone(server), _) => Self::Disk(server.data_directory().join("objects")),
            (Ship::Fleet { fleet, .. }, Some(back_ends)) => {
                Self::Store { store: &back_ends.store, prefix: fleet.setting("VOXMILL_S3_PREFIX") }
            }
            (Ship::Fleet { .. }, None) => panic!("a fleet has back ends"),
        }
    }

    async fn read(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Disk(root) => std::fs::read(root.join(key)).unwrap(),
            Self::Store { store, prefix } => store.read(&format!("{prefix}{key}")).await,
        }
    }

    /// On the disk there are none.
    fn multiparts(&self, folder: &str) -> usize {
        match self {
            Self::Disk(_) => 0,
            Self::Store { store, prefix } => store.multiparts(&format!("{prefix}{folder}")),
        }
    }

    async fn count(&self, folder: &str) -> usize {
        match self {
            Self::Disk(root) => files_below(&root.join(folder)).len(),
            Self::Store { store, prefix } => store.count(&format!("{prefix}{folder}")).await,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
