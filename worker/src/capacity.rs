//! What this machine can run, so that it takes no job only to fail it.

use crate::Services;
use crate::engines::choice::can_run;
use pipeline::parameters::JobKind;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use storage::workers::Worker;
use tokio::time::Instant;

/// What a job takes beside the weights of its models: sound, pictures, buffers.
const WORKING_MEMORY: u64 = 256 << 20;
/// A disk with less is full: what a job fetches first would fail it.
const ROOM: u64 = 16 << 20;
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
const CGROUP: &str = "/sys/fs/cgroup";

/// The kinds of job that are configured and for which the models are here; of the others the log says what to do.
pub(crate) fn runnable(services: &Services) -> BTreeMap<JobKind, usize> {
    let mut slots = services.config.slots.clone();
    let stock = services.engines.stock();
    slots.retain(|kind, _| match can_run(&stock, *kind) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(job.kind = kind.as_str(), "jobs of this kind are not taken here: {error}");
            false
        }
    });
    slots
}

/// This process, as the others see it.
pub(crate) fn described(services: &Services, slots: &BTreeMap<JobKind, usize>) -> Worker {
    Worker {
        name: services.config.name.clone(),
        version: services.config.version.clone(),
        device: services.engines.device().to_string(),
        slots: slots.clone(),
        models: services.engines.stock().names().clone(),
    }
}

/// Whether the disk on which jobs work has any room.
pub(crate) fn has_room(services: &Services) -> bool {
    let disk = rustix::fs::statvfs(&services.config.work_directory);
    // Where nobody says how much there is, there is enough.
    disk.map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM)
}

/// Waits until it has.
pub(crate) async fn await_room(services: &Services) {
    tracing::warn!("waiting for room on the disk of {}", services.config.work_directory.display());
    while !has_room(services) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the machine has the memory that a job of this kind may take. Its wake-up waits with it, and is pushed again
/// for the others after a minute; then it is tried here all the same, for the guess is a careful one.
pub(crate) async fn await_memory(services: &Services, kind: JobKind) {
    let mut waited = false;
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        let needed = WORKING_MEMORY + services.engines.memory_to_load(kind);
        match available_memory() {
            Some(available) if available < needed => {
                if !waited {
                    tracing::warn!(job.kind = kind.as_str(), available, needed, "waiting for memory");
                }
                waited = true;
                tokio::time::sleep(LOOK).await;
            }
            // Where nobody says how much there is, there is enough.
            Some(_) | None => return,
        }
    }
}

/// Bytes, of the machine or of the container, whichever has less.
fn available_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| of_machine(&text));
    match (machine, of_container()) {
        (Some(machine), Some(container)) => Some(machine.min(container)),
        (machine, container) => machine.or(container),
    }
}

fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// None outside of one, and in one without a limit. What the kernel caches of files it gives back when asked.
fn of_container() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("{CGROUP}/{name}")).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    let cached = read("memory.stat")?
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "))
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::{available_memory, of_machine};

    #[test]
    fn the_kernel_says_how_much_memory_there_is() {
        let text = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(of_machine(text), Some(20_000_000 << 10));
        assert_eq!(of_machine("nothing"), None);
        assert!(available_memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
