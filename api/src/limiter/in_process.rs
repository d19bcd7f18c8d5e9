//! The counts of one process.

use std::collections::HashMap;
use std::mem::{self, Discriminant};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::{Bucket, Limiter, Requester, Verdict};
use crate::rates::Rate;

/// Most requesters of one kind and rate whose counts are held: twice this, for there are two generations of them.
const GENERATION: usize = 1 << 15;

/// The counts of one process. Their memory is bounded, whoever calls.
pub(crate) struct InProcess<C: Clock = DefaultClock> {
    clock: C,
    counters: Mutex<HashMap<CounterKey, Arc<Counter<C>>>>,
}

/// Addresses are kept apart from users: a flood of them must not push a user's counts out.
type CounterKey = (Rate, Discriminant<Requester>);
type Counter<C> = RateLimiter<Bucket, Counts<C>, C, StateInformationMiddleware>;

impl InProcess {
    pub(crate) fn new() -> Self {
        Self::with_clock(DefaultClock::default())
    }
}

impl<C: Clock + Clone> InProcess<C> {
    fn with_clock(clock: C) -> Self {
        Self { clock, counters: Mutex::default() }
    }

    fn counter(&self, rate: Rate, requester: Requester) -> Arc<Counter<C>> {
        let mut counters = lock(&self.counters);
        let counter = counters.entry((rate, mem::discriminant(&requester))).or_insert_with(|| {
            let quota = Quota::with_period(rate.interval())
                .expect("a million requests in a second take a microsecond each. This is a bug.")
                .allow_burst(rate.requests());
            let counts = Counts::new(self.clock.clone(), rate.period());
            Arc::new(RateLimiter::new(quota, counts, self.clock.clone()))
        });
        counter.clone()
    }
}

#[async_trait]
impl<C> Limiter for InProcess<C>
where
    C: Clock + Clone + Send + Sync,
{
    async fn admit_several(&self, bucket: Bucket, rate: Rate, several: NonZeroU32) -> Verdict {
        let counted = self
            .counter(rate, bucket.requester)
            .check_key_n(&bucket, several.min(rate.requests()))
            .expect("no more are counted than there can be at once. This is a bug.");
        match counted {
            Ok(state) => Verdict::Admitted { remaining: state.remaining_burst_capacity() },
            Err(refusal) => Verdict::Refused { wait: refusal.wait_time_from(self.clock.now()) },
        }
    }
}

/// When each bucket will be full again, in two generations: the older one goes when the younger one is a period old, for
/// by then all in it are full, or when the younger one has grown large.
struct Counts<C: Clock> {
    clock: C,
    period: Nanos,
    generations: Mutex<Generations<C::Instant>>,
}

struct Generations<I> {
    young: HashMap<Bucket, Nanos>,
    old: HashMap<Bucket, Nanos>,
    begun: I,
}

impl<C: Clock> Counts<C> {
    fn new(clock: C, period: Duration) -> Self {
        let begun = clock.now();
        let generations = Mutex::new(Generations { young: HashMap::new(), old: HashMap::new(), begun });
        Self { clock, period: period.into(), generations }
    }
}

impl<C: Clock> StateStore for Counts<C> {
    type Key = Bucket;

    fn measure_and_replace<T, F, E>(&self, bucket: &Bucket, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let now = self.clock.now();
        let mut generations = lock(&self.generations);
        if generations.young.len() >= GENERATION || now.duration_since(generations.begun) >= self.period {
            generations.old = mem::take(&mut generations.young);
            generations.begun = now;
        }
        let known = generations.young.get(bucket).or_else(|| generations.old.get(bucket)).copied();
        let (outcome, full) = match measure(known) {
            Ok((outcome, full)) => (Ok(outcome), Some(full)),
            // Whoever is refused is here nonetheless, and not forgotten.
            Err(refusal) => (Err(refusal), known),
        };
        if let Some(full) = full {
            generations.young.insert(*bucket, full);
        }
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use governor::nanos::Nanos;
    use governor::state::StateStore;
    use storage::ids::UserId;

    use super::{Counts, GENERATION, InProcess, lock};
    use crate::limiter::{Bucket, Limiter, Requester, Verdict};
    use crate::rates::Rate;
    use crate::throttle::Class;

    fn address(number: u32) -> Bucket {
        Bucket { class: Class::Auth, requester: Requester::Address(Ipv4Addr::from(number).into()) }
    }

    fn rate() -> Rate {
        "5/min".parse().unwrap()
    }

    fn limiter() -> (InProcess<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (InProcess::with_clock(clock.clone()), clock)
    }

    async fn use_up(limiter: &InProcess<FakeRelativeClock>, bucket: Bucket) {
        for remaining in (0..5).rev() {
            assert_eq!(limiter.admit(bucket, rate()).await, Verdict::Admitted { remaining });
        }
    }

    #[tokio::test]
    async fn a_rate_is_there_at_once_and_comes_back_bit_by_bit() {
        let (limiter, clock) = limiter();
        use_up(&limiter, address(1)).await;
        let wait = Duration::from_secs(12);
        assert_eq!(limiter.admit(address(1), rate()).await, Verdict::Refused { wait });
        clock.advance(Duration::from_secs(5));
        let wait = Duration::from_secs(7);
        assert_eq!(limiter.admit(address(1), rate()).await, Verdict::Refused { wait });
        clock.advance(wait);
        assert_eq!(limiter.admit(address(1), rate()).await, Verdict::Admitted { remaining: 0 });
        clock.advance(Duration::from_secs(60));
        use_up(&limiter, address(1)).await;
    }

    #[tokio::test]
    async fn a_flood_of_addresses_pushes_no_user_out() {
        let (limiter, _) = limiter();
        let user = Bucket { class: Class::Auth, requester: Requester::User(UserId::new()) };
        use_up(&limiter, user).await;
        for number in 0..5 * GENERATION as u32 {
            limiter.admit(address(number), rate()).await;
        }
        assert!(matches!(limiter.admit(user, rate()).await, Verdict::Refused { .. }));
    }

    fn counts(clock: &FakeRelativeClock) -> Counts<FakeRelativeClock> {
        Counts::new(clock.clone(), Duration::from_secs(60))
    }

    fn admit(counts: &Counts<FakeRelativeClock>, bucket: Bucket) -> Option<Nanos> {
        counts.measure_and_replace(&bucket, |known| Ok::<_, ()>((known, Nanos::new(1)))).unwrap()
    }

    fn refuse(counts: &Counts<FakeRelativeClock>, bucket: Bucket) {
        counts.measure_and_replace(&bucket, |_| Err::<((), Nanos), ()>(())).unwrap_err();
    }

    fn held(counts: &Counts<FakeRelativeClock>) -> usize {
        let generations = lock(&counts.generations);
        generations.young.len() + generations.old.len()
    }

    #[test]
    fn a_flood_takes_so_much_memory_and_no_more() {
        let counts = counts(&FakeRelativeClock::default());
        for number in 0..5 * GENERATION as u32 {
            admit(&counts, address(number));
            assert!(held(&counts) <= 2 * GENERATION);
        }
    }

    #[test]
    fn a_flood_does_not_free_whom_it_refuses() {
        let counts = counts(&FakeRelativeClock::default());
        admit(&counts, address(0));
        for number in 1..5 * GENERATION as u32 {
            admit(&counts, address(number));
            refuse(&counts, address(0));
        }
        assert!(admit(&counts, address(0)).is_some());
    }

    #[test]
    fn the_idle_are_dropped_once_their_rate_is_full_again() {
        let clock = FakeRelativeClock::default();
        let counts = counts(&clock);
        admit(&counts, address(0));
        clock.advance(Duration::from_secs(59));
        assert!(admit(&counts, address(0)).is_some());
        for _ in 0..2 {
            clock.advance(Duration::from_secs(60));
            admit(&counts, address(1));
        }
        assert_eq!(held(&counts), 2, "the other's two generations");
        assert_eq!(admit(&counts, address(0)), None);
    }
}
