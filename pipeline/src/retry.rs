//! When a failed attempt is tried again, and how often.

use crate::parameters::JobKind;
use std::time::Duration;

/// Attempts that end in an error, after which a job that somebody asked for fails.
pub const MAX_ATTEMPTS: u32 = 5;
/// Attempts whose worker died under them; the job that reaches this many is poison.
pub const MAX_CRASHES: u32 = 4;

/// Somebody waits for the answer, and not for long.
const ATTEMPTS_TO_ANSWER: u32 = 3;
const BEFORE_ANSWERING_AGAIN: Duration = Duration::from_millis(500);

const FIRST: Duration = Duration::from_secs(2);
const GROWTH: u32 = 4;
const LONGEST: Duration = Duration::from_secs(300);

/// The waits between the attempts of a delivery, as Standard Webhooks 1.0 recommends them: three days in all, so that a
/// receiver may be away over a weekend.
const BETWEEN_DELIVERIES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// Attempts that end in an error, after which a job of this kind fails.
pub fn max_attempts(kind: JobKind) -> u32 {
    match kind {
        JobKind::ExtractAudio | JobKind::Transcribe | JobKind::CloneVoice | JobKind::GenerateVideo => {
            MAX_ATTEMPTS
        }
        JobKind::AnswerSpeech => ATTEMPTS_TO_ANSWER,
        JobKind::DeliverWebhook => 1 + BETWEEN_DELIVERIES.len() as u32,
    }
}

/// The wait after `attempt` (from 1) of a job of this kind failed. `random` is uniform in 0..1.
pub fn wait(kind: JobKind, attempt: u32, random: f64) -> Duration {
    match kind {
        JobKind::ExtractAudio | JobKind::Transcribe | JobKind::CloneVoice | JobKind::GenerateVideo => {
            backoff(attempt, random)
        }
        JobKind::AnswerSpeech => BEFORE_ANSWERING_AGAIN,
        JobKind::DeliverWebhook => between_deliveries(attempt, random),
    }
}

/// The wait after `attempt` (from 1) failed: exponential with full jitter, so that jobs that failed together do not
/// return together. `random` is uniform in 0..1. All attempts together wait for 85 s on average: long enough for a
/// database to start again, or for somebody to make room on a disk.
/// See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let steps = attempt.saturating_sub(1).min(8);
    let ceiling = (FIRST * GROWTH.pow(steps)).min(LONGEST);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

/// A tenth more at most, so that what one outage held up does not come back all at once.
fn between_deliveries(attempt: u32, random: f64) -> Duration {
    let last = BETWEEN_DELIVERIES.len() - 1;
    let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(last).min(last);
    BETWEEN_DELIVERIES[step].mul_f64(1.0 + random.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, backoff, max_attempts, wait};
    use crate::parameters::JobKind;
    use crate::questions::PATIENCE;
    use std::time::Duration;

    #[test]
    fn the_wait_grows_and_is_bounded() {
        let waits: Vec<_> = (1..=30).map(|attempt| backoff(attempt, 1.0)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&LONGEST));
        assert!(backoff(3, 0.0).is_zero());
    }

    #[test]
    fn a_question_is_given_up_before_nobody_waits() {
        let kind = JobKind::AnswerSpeech;
        let waits = (1..max_attempts(kind)).map(|attempt| wait(kind, attempt, 1.0));
        assert!(waits.sum::<Duration>() < PATIENCE / 4);
    }

    #[test]
    fn a_delivery_is_tried_ten_times_in_three_days() {
        let kind = JobKind::DeliverWebhook;
        assert_eq!(max_attempts(kind), 10);
        let waits = |random| (1..10).map(move |attempt| wait(kind, attempt, random));
        assert!(waits(0.0).is_sorted());
        assert_eq!(wait(kind, 1, 0.0), Duration::from_secs(5));
        assert_eq!(wait(kind, 99, 0.0), Duration::from_hours(24));
        assert_eq!(waits(0.0).sum::<Duration>(), Duration::from_secs(272_105));
        assert!(waits(1.0).zip(waits(0.0)).all(|(late, early)| late > early && late <= early.mul_f64(1.11)));
    }
}
