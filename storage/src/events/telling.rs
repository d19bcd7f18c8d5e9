//! What this process tells the others.

use crate::{broker::Broker, ids::JobId};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

/// Events that wait to be told. Those beyond are made up for by one message that some were missed.
const WAITING: usize = 4096;
/// After this it is said again that some were missed.
const AGAIN: Duration = Duration::from_secs(1);
/// Events of one message.
const TOGETHER: usize = 256;
const DUE: u8 = 1;
const MISSED: u8 = 2;

#[derive(Debug)]
pub(super) struct Teller {
    origin: Uuid,
    events: mpsc::Sender<Event>,
    missed: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Event {
    Changed(JobId),
    Due,
}

/// Some events of one process: its id, a byte of flags, and the ids of the jobs that changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) origin: [u8; 16],
    pub(super) due: bool,
    /// There were more, and nobody knows which.
    pub(super) missed: bool,
    pub(super) changed: BTreeSet<JobId>,
}

impl Teller {
    pub(super) fn start(broker: Broker, channel: String) -> Self {
        let (events, waiting) = mpsc::channel(WAITING);
        let teller = Self { origin: Uuid::new_v4(), events, missed: Arc::default() };
        tokio::spawn(tell(Line { broker, channel, origin: teller.origin() }, waiting, teller.missed.clone()));
        teller
    }

    pub(super) fn origin(&self) -> [u8; 16] {
        self.origin.into_bytes()
    }

    pub(super) fn changed(&self, job: JobId) {
        self.say(Event::Changed(job));
    }

    pub(super) fn due(&self) {
        self.say(Event::Due);
    }

    fn say(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

struct Line {
    broker: Broker,
    channel: String,
    origin: [u8; 16],
}

/// Ends with the teller.
async fn tell(line: Line, mut waiting: mpsc::Receiver<Event>, missed: Arc<AtomicBool>) {
    let mut events = Vec::with_capacity(TOGETHER);
    loop {
        // What was missed is told as soon as it can be, also where nothing else happens.
        let limit = if missed.load(Ordering::Acquire) { AGAIN } else { Duration::MAX };
        if timeout(limit, waiting.recv_many(&mut events, TOGETHER)).await == Ok(0) {
            return;
        }
        let mut message = Message {
            origin: line.origin,
            due: false,
            missed: missed.swap(false, Ordering::AcqRel),
            changed: BTreeSet::new(),
        };
        for event in events.drain(..) {
            match event {
                Event::Changed(job) => drop(message.changed.insert(job)),
                Event::Due => message.due = true,
            }
        }
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&line.channel).arg(message.write());
        if line.broker.query::<u64>(&publish).await.is_err() {
            missed.store(true, Ordering::Release);
        }
    }
}

impl Message {
    fn write(&self) -> Vec<u8> {
        let flags = u8::from(self.due) * DUE + u8::from(self.missed) * MISSED;
        let mut bytes = self.origin.to_vec();
        bytes.push(flags);
        self.changed.iter().for_each(|job| bytes.extend(job.as_uuid().into_bytes()));
        bytes
    }

    /// None where it is none, or one of a later version.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (origin, rest) = bytes.split_first_chunk()?;
        let (flags, rest) = rest.split_first()?;
        let (ids, rest) = rest.as_chunks();
        if flags & !(DUE | MISSED) != 0 || !rest.is_empty() {
            return None;
        }
        let changed = ids.iter().map(|id| JobId::from(Uuid::from_bytes(*id))).collect();
        Some(Self { origin: *origin, due: flags & DUE != 0, missed: flags & MISSED != 0, changed })
    }
}

#[cfg(test)]
mod tests {
    use super::Message;
    use crate::ids::JobId;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let changed = [JobId::new(), JobId::new()].into();
        let message = Message { origin: [7; 16], due: true, missed: false, changed };
        let bytes = message.write();
        assert_eq!(Message::read(&bytes), Some(message));
        for length in [0, 15, 16, 18, bytes.len() - 1] {
            assert_eq!(Message::read(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Message::read(&[vec![7; 16], vec![4]].concat()), None, "a flag that nobody knows");
    }
}
