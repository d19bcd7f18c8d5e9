//! How far a job is, told by its steps and engines, watched by its runner; and how long each stage took, for the metrics.

use pipeline::parameters::JobKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// The stage that a job is in, and the part of it that is done, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reached {
    pub stage: &'static str,
    pub fraction: f32,
}

/// Where the steps of one job report. Clones report on the same job.
#[derive(Clone)]
pub(crate) struct Progress {
    kind: JobKind,
    reached: watch::Sender<Reached>,
    entered: Arc<Mutex<(&'static str, Instant)>>,
}

impl Progress {
    /// Begins in `stage`; the receiver sees every later report.
    pub(crate) fn begin(kind: JobKind, stage: &'static str) -> (Self, watch::Receiver<Reached>) {
        let (reached, receiver) = watch::channel(Reached { stage, fraction: 0.0 });
        (Self { kind, reached, entered: Arc::new(Mutex::new((stage, Instant::now()))) }, receiver)
    }

    pub(crate) fn report(&self, stage: &'static str, fraction: f32) {
        let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
        if entered.0 != stage {
            let (left, since) = std::mem::replace(&mut *entered, (stage, Instant::now()));
            let seconds = since.elapsed().as_secs_f64();
            metrics::histogram!("voxmill_stage_seconds", "kind" => self.kind.as_str(), "stage" => left)
                .record(seconds);
        }
        drop(entered);
        self.reached.send_replace(Reached { stage, fraction });
    }
}
