//! Fills the queue from the rows: due jobs by priority, fairness and age, and never more than the workers can soon take.
//!
//! One process dispatches for all that share the database; the others are ready to follow it.

use crate::Services;
use pipeline::parameters::JobKind;
use std::time::Duration;
use storage::Storage;
use storage::duties::Duty;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often rows are looked at when nobody says that one is due.
const TICK: Duration = Duration::from_millis(500);
/// A wake-up unanswered for this long is taken for lost and pushed again.
const LOST_AFTER: Duration = Duration::from_secs(60);
const LOST_TICK: Duration = Duration::from_secs(15);
/// For so long nobody else dispatches, should this process die.
const LEAD: Duration = Duration::from_secs(6);
/// How often the lead is kept, or asked for.
const LEAD_TICK: Duration = Duration::from_secs(2);

pub(crate) async fn run(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut dispatcher = Dispatcher { services, leads_until: None };
    let (mut tick, mut lost_tick, mut lead_tick) = (interval(TICK), interval(LOST_TICK), interval(LEAD_TICK));
    for ticks in [&mut tick, &mut lost_tick, &mut lead_tick] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let storage = dispatcher.services.storage.clone();
    let mut forgot = storage.queue.forgot();
    loop {
        tokio::select! {
            // The lead comes first, so that the first round of a process that works alone finds it leading; what is due comes
            // last, for it may be so without end.
            biased;
            () = shutdown.cancelled() => return dispatcher.leave().await,
            _ = lead_tick.tick() => dispatcher.ask_to_lead().await,
            () = &mut forgot => {
                dispatcher.refill().await;
                forgot = storage.queue.forgot();
            }
            _ = lost_tick.tick() => dispatcher.push_lost().await,
            () = storage.jobs.due().notified() => dispatcher.dispatch_all().await,
            _ = tick.tick() => dispatcher.dispatch_all().await,
        }
    }
}

struct Dispatcher {
    services: Services,
    /// None where another process leads.
    leads_until: Option<Instant>,
}

impl Dispatcher {
    fn leads(&self) -> bool {
        self.leads_until.is_some_and(|until| Instant::now() < until)
    }

    async fn ask_to_lead(&mut self) {
        let asked = Instant::now();
        let Services { storage, config, .. } = &self.services;
        match storage.duties.take(Duty::Dispatch, &config.name, LEAD).await {
            Ok(true) => {
                if !self.leads()
                    && let Err(error) = refill(storage).await
                {
                    tracing::error!(%error, "could not refill the queue; trying again");
                    return;
                }
                // The duty counts from before the wait for the database.
                self.leads_until = Some(asked + LEAD);
            }
            Ok(false) => self.leads_until = None,
            // Whoever leads stays the leader until its time is over.
            Err(error) => tracing::warn!(%error, "could not ask for the lead of the dispatch"),
        }
    }

    /// The queue holds less than the rows say.
    async fn refill(&mut self) {
        if !self.leads() {
            return;
        }
        if let Err(error) = refill(&self.services.storage).await {
            tracing::error!(%error, "could not refill the queue; trying again");
            // Whoever gets the lead again refills first.
            self.leads_until = None;
        }
    }

    async fn dispatch_all(&self) {
        if !self.leads() {
            return;
        }
        let storage = &self.services.storage;
        let slots = match storage.workers.slots().await {
            Ok(slots) => slots,
            Err(error) => return tracing::error!(%error, "could not ask for the slots of the workers"),
        };
        for (kind, slots) in slots {
            if let Err(error) = dispatch(storage, kind, 2 * slots as u64).await {
                tracing::error!(%error, job.kind = kind.as_str(), "could not dispatch jobs");
            }
        }
    }

    async fn push_lost(&self) {
        if !self.leads() {
            return;
        }
        if let Err(error) = push_lost(&self.services.storage).await {
            tracing::error!(%error, "could not push lost wake-ups again");
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

/// Keeps `depth` jobs of `kind` in the queue: what is not yet pushed can still be overtaken by what is more urgent.
async fn dispatch(storage: &Storage, kind: JobKind, depth: u64) -> storage::error::Result<()> {
    let room = depth.saturating_sub(storage.jobs.queued(kind).await?);
    if room == 0 {
        return Ok(());
    }
    for job in storage.jobs.dispatch(kind, room as usize).await? {
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
