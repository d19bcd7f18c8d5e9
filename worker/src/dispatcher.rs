//! Fills the queue from the rows: due jobs by priority, fairness and age, and never more than the workers can soon take.
//!
//! One process dispatches for all that share the database; the others are ready to follow it.

use crate::Services;
use pipeline::parameters::JobKind;
use std::error::Error;
use std::time::Duration;
use storage::Storage;
use storage::duties::Duty;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How often rows are looked at when nobody says that one is due.
const TICK: Duration = Duration::from_millis(500);
/// A wake-up unanswered for this long is taken for lost and pushed again: a worker that died may have had it in hand. Where
/// it still waits, nothing is pushed.
const LOST_AFTER: Duration = Duration::from_secs(10);
const LOST_TICK: Duration = Duration::from_secs(5);
/// For so long nobody else dispatches, should this process die.
const LEAD: Duration = Duration::from_secs(6);
/// How often the lead is kept, or asked for.
const LEAD_TICK: Duration = Duration::from_secs(2);
/// After a look for deliveries, so many times as long without another one.
const REST: u32 = 4;
/// A round that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(30);

pub(crate) async fn run(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let deliveries_from = Instant::now();
    let mut dispatcher = Dispatcher { services, leads_until: None, deliveries_from, owes_deliveries: false };
    let (mut tick, mut lost_tick, mut lead_tick) = (interval(TICK), interval(LOST_TICK), interval(LEAD_TICK));
    for ticks in [&mut tick, &mut lost_tick, &mut lead_tick] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let storage = dispatcher.services.storage.clone();
    let mut forgot = storage.queue.forgot();
    loop {
        let round = tokio::select! {
            // The lead comes first, so that the first round of a process that works alone finds it leading; what is due comes
            // last, for it may be so without end.
            biased;
            () = shutdown.cancelled() => return dispatcher.leave().await,
            _ = lead_tick.tick() => Round::Lead,
            () = &mut forgot => {
                forgot = storage.queue.forgot();
                Round::Refill
            }
            _ = lost_tick.tick() => Round::Lost,
            () = storage.jobs.due().notified() => Round::Nudged,
            () = sleep_until(dispatcher.deliveries_from), if dispatcher.owes_deliveries => Round::Owed,
            _ = tick.tick() => Round::Tick,
        };
        // A database that falls silent must not keep the process from leading again, nor from its end.
        if timeout(LONGEST, dispatcher.make(round)).await.is_err() {
            tracing::error!(limit_seconds = LONGEST.as_secs(), "the database does not answer the dispatcher");
        }
    }
}

/// What there is to do.
enum Round {
    Lead,
    Refill,
    Lost,
    /// Somebody said that a job is due.
    Nudged,
    /// Somebody said so when it was too early for deliveries.
    Owed,
    Tick,
}

struct Dispatcher {
    services: Services,
    /// None where another process leads.
    leads_until: Option<Instant>,
    /// To find a delivery that is due takes longer the more of them wait for their time, so no more than a part of the time
    /// is spent on it; each tick looks at all.
    deliveries_from: Instant,
    /// Somebody said that a job is due before then.
    owes_deliveries: bool,
}

impl Dispatcher {
    async fn make(&mut self, round: Round) {
        match round {
            Round::Lead => self.ask_to_lead().await,
            Round::Refill if self.leads() => self.refill().await,
            // Whoever gets the lead refills first, and perhaps everybody stepped back.
            Round::Refill => self.ask_to_lead().await,
            Round::Lost => self.push_lost().await,
            Round::Nudged => {
                self.owes_deliveries = Instant::now() < self.deliveries_from;
                let not_yet = self.owes_deliveries;
                self.dispatch_all(|kind| kind != JobKind::DeliverWebhook || !not_yet).await;
            }
            Round::Owed => {
                self.owes_deliveries = false;
                self.dispatch_all(|kind| kind == JobKind::DeliverWebhook).await;
            }
            Round::Tick => self.dispatch_all(|_| true).await,
        }
    }

    fn leads(&self) -> bool {
        self.leads_until.is_some_and(|until| Instant::now() < until)
    }

    async fn ask_to_lead(&mut self) {
        if self.services.storage.queue.is_behind() {
            return self.step_back().await;
        }
        let asked = Instant::now();
        let Services { storage, config, .. } = &self.services;
        match storage.duties.take(Duty::Dispatch, &config.name, LEAD).await {
            Ok(true) => {
                let led = self.leads();
                // The duty counts from before the wait for the database.
                self.leads_until = Some(asked + LEAD);
                if !led {
                    self.refill().await;
                }
            }
            Ok(false) => self.leads_until = None,
            // Whoever leads stays the leader until its time is over.
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "could not ask for the lead of the dispatch")
            }
        }
    }

    /// What this process pushes does not arrive. Somebody else may be luckier; if nobody is, all wait for the queue.
    async fn step_back(&mut self) {
        if self.leads_until.take().is_none() {
            return;
        }
        tracing::warn!("leaving the dispatch to others until wake-ups arrive again");
        let Services { storage, config, .. } = &self.services;
        if let Err(error) = storage.duties.give_up(Duty::Dispatch, &config.name).await {
            tracing::warn!(error = &error as &dyn Error, "could not give up the lead of the dispatch");
        }
    }

    /// The queue holds less than the rows say.
    async fn refill(&mut self) {
        if let Err(error) = refill(&self.services.storage).await {
            tracing::error!(error = &error as &dyn Error, "could not refill the queue; trying again");
            // Whoever gets the lead again refills first.
            self.leads_until = None;
        }
    }

    async fn dispatch_all(&mut self, wanted: impl Fn(JobKind) -> bool) {
        if !self.leads() {
            return;
        }
        let storage = &self.services.storage;
        let asked = tokio::try_join!(storage.workers.slots(), storage.jobs.queued());
        let (slots, queued) = match asked {
            Ok(asked) => asked,
            Err(error) => {
                return tracing::error!(
                    error = &error as &dyn Error,
                    "could not ask for the slots of the workers, and what is queued for them"
                );
            }
        };
        for (kind, slots) in slots.into_iter().filter(|(kind, _)| wanted(*kind)) {
            let begun = Instant::now();
            // What is not yet pushed can still be overtaken by what is more urgent.
            let depth = 2 * slots;
            let queued = queued.get(&kind).map_or(0, |queued| usize::try_from(*queued).unwrap_or(depth));
            if let Err(error) = dispatch(storage, kind, depth.saturating_sub(queued)).await {
                tracing::error!(
                    error = &error as &dyn Error,
                    job.kind = kind.as_str(),
                    "could not dispatch jobs"
                );
            }
            if kind == JobKind::DeliverWebhook {
                self.deliveries_from = Instant::now() + begun.elapsed() * REST;
            }
        }
    }

    async fn push_lost(&self) {
        if !self.leads() {
            return;
        }
        if let Err(error) = push_lost(&self.services.storage).await {
            tracing::error!(error = &error as &dyn Error, "could not push lost wake-ups again");
        }
    }

    async fn leave(self) -> anyhow::Result<()> {
        if self.leads() {
            self.services.storage.duties.give_up(Duty::Dispatch, &self.services.config.name).await?;
        }
        Ok(())
    }
}

/// The queue may have forgotten everything, whatever the rows say.
async fn refill(storage: &Storage) -> storage::error::Result<()> {
    for (kind, job) in storage.jobs.all_queued().await? {
        storage.queue.push(kind, job).await?;
    }
    Ok(())
}

async fn dispatch(storage: &Storage, kind: JobKind, at_most: usize) -> storage::error::Result<()> {
    for job in storage.jobs.dispatch(kind, at_most).await? {
        storage.queue.push(kind, job).await?;
    }
    Ok(())
}

async fn push_lost(storage: &Storage) -> storage::error::Result<()> {
    for (kind, job) in storage.jobs.requeue_lost(LOST_AFTER).await? {
        tracing::debug!(job.id = %job, "pushing a wake-up again");
        storage.queue.push(kind, job).await?;
    }
    Ok(())
}
