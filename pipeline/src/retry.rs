//! When a failed attempt is tried again, and how often.

use std::time::Duration;

/// Attempts that end in an error, after which the job fails.
pub const MAX_ATTEMPTS: u32 = 5;
/// Attempts whose worker died under them; the job that reaches this many is poison.
pub const MAX_CRASHES: u32 = 4;

const FIRST: Duration = Duration::from_secs(2);
const GROWTH: u32 = 4;
const LONGEST: Duration = Duration::from_secs(300);

/// The wait after `attempt` (from 1) failed: exponential with full jitter, so that jobs that failed together do not
/// return together. `random` is uniform in 0..1. All attempts together wait for 85 s on average: long enough for a
/// database to start again, or for somebody to make room on a disk.
/// See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let steps = attempt.saturating_sub(1).min(8);
    let ceiling = (FIRST * GROWTH.pow(steps)).min(LONGEST);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, backoff};

    #[test]
    fn the_wait_grows_and_is_bounded() {
        let waits: Vec<_> = (1..=30).map(|attempt| backoff(attempt, 1.0)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&LONGEST));
        assert!(backoff(3, 0.0).is_zero());
    }
}
