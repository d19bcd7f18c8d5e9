//! The one place that asks for the time. Where several machines share a database it is the database's, for theirs may
//! differ; SQLite has no clock of its own to ask: it runs on our machine.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// By which it may be set back.
const MOMENT: TimeDelta = TimeDelta::seconds(1);

/// A clock, which a test may put ahead instead of waiting.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead_micros: Arc<AtomicI64>,
    set: Arc<RwLock<Option<Setting>>>,
    /// The latest that it showed.
    shown_micros: Arc<AtomicI64>,
}

/// What another clock showed, and when that was by one that nobody sets, and that goes on while the machine sleeps.
#[derive(Clone, Copy, Debug)]
struct Setting {
    time: DateTime<Utc>,
    since: Duration,
}

impl Clock {
    /// The machine's, until it is set.
    pub fn system() -> Self {
        Self::default()
    }

    /// To the microsecond, as the databases keep it. Does not go back where it is set anew by a moment: what was due stays
    /// due.
    pub fn now(&self) -> DateTime<Utc> {
        let ahead = chrono::Duration::microseconds(self.ahead_micros.load(Ordering::Relaxed));
        let now = match *self.set.read().unwrap_or_else(PoisonError::into_inner) {
            None => Utc::now(),
            Some(Setting { time, since }) => time + since_boot().saturating_sub(since),
        };
        let now = (now + ahead).trunc_subsecs(6);
        let shown = self.shown_micros.fetch_max(now.timestamp_micros(), Ordering::Relaxed);
        let shown =
            DateTime::from_timestamp_micros(shown).filter(|shown| *shown > now && *shown - now < MOMENT);
        shown.unwrap_or(now)
    }

    /// Puts this clock and its clones ahead.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.ahead_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Sets this clock and its clones by another, which showed `time` just now. On its way here the time grew old, so we
    /// are rather late than early: a lease ends for its holder before it does for the others.
    pub(crate) fn set(&self, time: DateTime<Utc>) {
        let setting = Setting { time, since: since_boot() };
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Some(setting);
    }
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{Clock, TimeDelta, Utc};

    #[test]
    fn it_is_set_back_only_by_more_than_a_moment() {
        let (clock, time) = (Clock::system(), Utc::now());
        clock.set(time);
        let shown = clock.now();
        clock.set(time - TimeDelta::milliseconds(500));
        assert!(clock.now() >= shown, "what was due stays due");
        clock.set(time - TimeDelta::minutes(10));
        assert!(clock.now() < shown);
    }
}
