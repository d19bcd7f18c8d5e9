//! The long form of the fault tests: `make torture`, or `cargo run --example torture -- --jobs 10000 --kills 100 --seed 1`.
//! With `--faults` it is not kills, but what lasts for longer than a lease: `--times` is how often each comes, `--hold` its
//! seconds, `--only` a part of its name, and `--due` how many jobs are due in one second.
//! With `--folder FILES` it is `voxmill submit` with so many files and two workers, of which one is killed and another joins.
//! Without any argument it is all of these, one after the other.
//! The store is Garage, or that of the tests with `--store folder`.
//! Each storm that passed is a row of a table; one that does not ends the run with its seed.

use std::io::Write as _;
use std::time::Duration;
use tests::fleet::BackEnds;
use tests::storm::{self, Course, Folder, Outcome, Plan, Report, Ship, Trouble};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    if std::env::args().len() == 1 {
        kills().await?;
        faults().await?;
        return folder(1_000).await;
    }
    if std::env::args().any(|argument| argument == "--faults") {
        return faults().await;
    }
    match count("--folder", 0) {
        0 => kills().await,
        files => folder(files).await,
    }
}

async fn kills() -> std::io::Result<()> {
    let (first, seeds) = (number("--seed", 1), number("--seeds", 1));
    let only = text("--on");
    writeln!(std::io::stdout(), "{HEAD}")?;
    for seed in first..first + seeds {
        let plan = Plan {
            seed,
            jobs: count("--jobs", 10_000),
            workers: count("--workers", 4),
            kills: count("--kills", 100),
            api_kills: count("--api-kills", 5),
            pause: Duration::from_millis(number("--pause-ms", 8_000)),
            limit: Duration::from_secs(number("--limit", 7_200)),
        };
        if only.as_deref() != Some("sqlite") {
            let back_ends = back_ends();
            let ship = Ship::fleet(&back_ends, plan.workers);
            print("Postgres + Redis + S3", plan, storm::run(ship, Some(&back_ends), plan).await)?;
        }
        if only.as_deref() != Some("fleet") {
            print("SQLite", plan, storm::run(Ship::alone(), None, plan).await)?;
        }
    }
    Ok(())
}

async fn faults() -> std::io::Result<()> {
    let limit = Duration::from_secs(number("--limit", 7_200));
    let only = text("--only").unwrap_or_default();
    writeln!(std::io::stdout(), "{FAULTS_HEAD}")?;
    for trouble in Trouble::ALL.into_iter().filter(|trouble| trouble.as_str().contains(&only)) {
        let usual = match trouble {
            // Until others have its jobs, also where they first need a new leader.
            Trouble::Sleep => 100,
            _ => 70,
        };
        let (times, hold) = (u32::try_from(number("--times", 3)).unwrap_or(1), number("--hold", usual));
        let course = Course { times, hold: Duration::from_secs(hold), limit };
        let outcome = storm::befall(back_ends(), trouble, course).await;
        print_fault(&format!("{}, {hold} s", trouble.as_str()), times as usize, &outcome)?;
    }
    let due = count("--due", 50_000);
    let name = "deliveries are due in one second";
    if due > 0 && name.contains(&only) {
        print_fault(&format!("{due} {name}"), 1, &storm::crowd(&back_ends(), due, limit).await)?;
    }
    let name = "a job kills whoever runs it, to its end";
    if name.contains(&only) {
        let times = count("--times", 3);
        print_fault(name, times, &storm::poison(&back_ends(), times, limit).await)?;
    }
    Ok(())
}

async fn folder(files: usize) -> std::io::Result<()> {
    let Folder { files, hits, seconds } =
        storm::submit_folder(&back_ends(), files, Duration::from_secs(number("--limit", 7_200))).await;
    writeln!(
        std::io::stdout(),
        "{files} files, each with one job and one result; {hits} jobs taken from the killed worker; {seconds:.0} s"
    )
}

/// The store is Garage, unless it is to be the tests' own.
fn back_ends() -> BackEnds {
    if text("--store").as_deref() == Some("folder") {
        BackEnds::start()
    } else {
        BackEnds::start_with_garage()
    }
}

/// After an argument of this name.
fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, usual: u64) -> u64 {
    text(name).map_or(usual, |text| text.parse().unwrap_or(usual))
}

fn count(name: &str, usual: u64) -> usize {
    usize::try_from(number(name, usual)).unwrap_or(usize::MAX)
}

const HEAD: &str = "| on | seed | jobs | kills | hit a running job | completed | failed | published | webhooks | \
                    stale writes refused | recovery p50 s | p99 s | orphaned objects | minutes |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn print(on: &str, plan: Plan, report: Report) -> std::io::Result<()> {
    let mut recoveries = report.recoveries.clone();
    recoveries.sort_by(f64::total_cmp);
    let at = |quantile: f64| {
        let index = (recoveries.len().saturating_sub(1) as f64 * quantile).round() as usize;
        recoveries.get(index).copied().unwrap_or(0.0)
    };
    let found = &report.findings;
    writeln!(
        std::io::stdout(),
        "| {on} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {:.1} |",
        plan.seed,
        found.jobs,
        report.kills,
        report.hits,
        found.completed,
        found.failed,
        found.files,
        found.webhooks,
        report.stale_writes,
        at(0.5),
        at(0.99),
        found.orphaned_objects,
        report.seconds / 60.0
    )
}

const FAULTS_HEAD: &str = "| what | times | jobs | lost | published twice | stuck | failed | taken from a worker | \
                           stale writes refused | minutes |\n|---|---|---|---|---|---|---|---|---|---|";

/// What is lost, stuck or there twice ends the run, so these are none.
fn print_fault(what: &str, times: usize, outcome: &Outcome) -> std::io::Result<()> {
    let found = &outcome.findings;
    writeln!(
        std::io::stdout(),
        "| {what} | {times} | {} | 0 | 0 | 0 | {} | {} | {} | {:.1} |",
        found.jobs,
        found.failed,
        found.crashes,
        outcome.stale_writes,
        outcome.seconds / 60.0
    )
}
