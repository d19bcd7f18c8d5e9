//! The long form of the fault tests: `make torture`, or `cargo run --example torture -- --jobs 10000 --kills 100 --seed 1`.
//! Each storm that passed is a row of a table; one that does not ends the run with its seed.

use std::io::Write as _;
use std::time::Duration;
use tests::fleet::BackEnds;
use tests::storm::{self, Plan, Report, Ship};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let number = |name: &str, usual: u64| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1).map_or(usual, |text| text.parse().unwrap_or(usual))
    };
    let jobs = number("--jobs", 10_000);
    let kills = number("--kills", 100);
    let (first, seeds) = (number("--seed", 1), number("--seeds", 1));
    let workers = number("--workers", 4);
    let only = std::env::args().skip_while(|argument| argument != "--on").nth(1);
    writeln!(std::io::stdout(), "{HEAD}")?;
    for seed in first..first + seeds {
        let plan = Plan {
            seed,
            jobs: usize::try_from(jobs).unwrap_or(usize::MAX),
            workers: usize::try_from(workers).unwrap_or(1),
            kills: usize::try_from(kills).unwrap_or(0),
            api_kills: usize::try_from(number("--api-kills", 5)).unwrap_or(0),
            pause: Duration::from_millis(number("--pause-ms", 8_000)),
            limit: Duration::from_secs(number("--limit", 7_200)),
        };
        if only.as_deref() != Some("sqlite") {
            let back_ends = BackEnds::start();
            let ship = Ship::fleet(&back_ends, plan.workers);
            print("Postgres + Redis + S3", plan, storm::run(ship, Some(&back_ends), plan).await)?;
        }
        if only.as_deref() != Some("fleet") {
            print("SQLite", plan, storm::run(Ship::alone(), None, plan).await)?;
        }
    }
    Ok(())
}

const HEAD: &str = "| on | seed | jobs | kills | hit a running job | completed | failed | published | webhooks | \
                    recovery p50 s | p99 s | orphaned objects | minutes |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|";

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
        "| {on} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {:.1} |",
        plan.seed,
        found.jobs,
        report.kills,
        report.hits,
        found.completed,
        found.failed,
        found.files,
        found.webhooks,
        at(0.5),
        at(0.99),
        found.orphaned_objects,
        report.seconds / 60.0
    )
}
