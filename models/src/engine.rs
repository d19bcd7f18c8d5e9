//! A thread of its own for an engine.
//!
//! Engines are synchronous, large and slow to load; their callers are asynchronous and many. An [`Owner`] loads the
//! engine on first use, serves one call at a time, drops the engine when nobody has called for a while, and outlives
//! a panic in it.

use std::any::Any;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::EngineError;

/// Callers beyond these wait before they queue.
const WAITING_CALLS: usize = 16;

/// The only way to an engine; clones share it. The engine goes when the last clone does.
pub struct Owner<T> {
    calls: mpsc::Sender<Call<T>>,
}

impl<T> Clone for Owner<T> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<T: Send + 'static> Owner<T> {
    /// `load` runs on the first call, and again on the next after it failed, the engine panicked or was idle for
    /// `idle`. `name` is for logs and the list of threads.
    pub fn new(
        name: &str,
        idle: Duration,
        load: impl FnMut() -> Result<T, EngineError> + Send + 'static,
    ) -> Self {
        let (calls, queue) = mpsc::channel(WAITING_CALLS);
        let slot = Slot { name: name.to_owned(), load: Box::new(load), engine: None };
        let spawned =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || serve(slot, queue, idle));
        if let Err(error) = spawned {
            // The queue went with the closure, so every call reports that the engine is gone.
            tracing::error!(engine = name, %error, "no thread for the engine");
        }
        Self { calls }
    }

    /// Runs `call` on the engine's thread once the calls before it are done. An error of loading is this call's error;
    /// a panic is [`EngineError::Internal`]. A call whose caller has gone before its turn does not run.
    pub async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut T) -> Result<R, EngineError> + Send + 'static,
    ) -> Result<R, EngineError> {
        self.run_unless(pending(), call).await
    }

    /// As [`Owner::run`], for a caller that may give up: [`EngineError::Cancelled`] if `given_up` ends while the call
    /// waits for its turn. A call that has begun is waited for; it learns from its observer that it is to stop.
    pub async fn run_unless<R: Send + 'static>(
        &self,
        given_up: impl Future<Output = ()>,
        call: impl FnOnce(&mut T) -> Result<R, EngineError> + Send + 'static,
    ) -> Result<R, EngineError> {
        let (begin, begun) = oneshot::channel();
        let (answer, result) = oneshot::channel();
        let call: Call<T> = Box::new(move |slot| {
            if begin.send(()).is_ok() {
                // The caller may go while the engine works: then nobody misses the result.
                drop(answer.send(slot.run(call)));
            }
        });
        let gone = || EngineError::Internal(anyhow::anyhow!("the engine's thread has ended"));
        let turn = async {
            self.calls.send(call).await.map_err(|_| gone())?;
            begun.await.map_err(|_| gone())
        };
        tokio::select! {
            biased;
            turn = turn => turn?,
            () = given_up => return Err(EngineError::Cancelled),
        }
        result.await.map_err(|_| gone())?
    }
}

type Call<T> = Box<dyn FnOnce(&mut Slot<T>) + Send>;

struct Slot<T> {
    name: String,
    load: Box<dyn FnMut() -> Result<T, EngineError> + Send>,
    engine: Option<T>,
}

impl<T> Slot<T> {
    fn run<R>(&mut self, call: impl FnOnce(&mut T) -> Result<R, EngineError>) -> Result<R, EngineError> {
        catch_unwind(AssertUnwindSafe(|| call(self.loaded()?))).unwrap_or_else(|panic| {
            // Half-done work may have left it inconsistent.
            self.engine = None;
            let message = panic_message(panic.as_ref());
            tracing::error!(engine = self.name, message, "the engine panicked");
            Err(EngineError::Internal(anyhow::anyhow!("the engine {} panicked: {message}", self.name)))
        })
    }

    fn loaded(&mut self) -> Result<&mut T, EngineError> {
        if self.engine.is_none() {
            let start = Instant::now();
            self.engine = Some((self.load)()?);
            tracing::info!(engine = self.name, seconds = start.elapsed().as_secs_f32(), "loaded");
        }
        Ok(self.engine.as_mut().expect("The engine was loaded above. This is a bug."))
    }
}

fn serve<T>(mut slot: Slot<T>, mut queue: mpsc::Receiver<Call<T>>, idle: Duration) {
    // A runtime only to wait with a limit; calls run outside of it, so an engine may block as it likes.
    let timer = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(timer) => timer,
        Err(error) => return tracing::error!(engine = slot.name, %error, "no timer for the engine"),
    };
    loop {
        let call = if slot.engine.is_none() {
            queue.blocking_recv()
        } else {
            match timer.block_on(async { tokio::time::timeout(idle, queue.recv()).await }) {
                Ok(call) => call,
                Err(_) => {
                    tracing::info!(engine = slot.name, "dropped, having been idle");
                    slot.engine = None;
                    continue;
                }
            }
        };
        match call {
            Some(call) => call(&mut slot),
            None => return,
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn loads_once_and_keeps_its_state() {
        let loads = Arc::new(AtomicUsize::new(0));
        let counter = loads.clone();
        let owner = Owner::new("counter", LONG, move || Ok(counter.fetch_add(1, Ordering::SeqCst)));
        assert_eq!(loads.load(Ordering::SeqCst), 0);
        for want in 1..=3 {
            let next = |count: &mut usize| {
                *count += 1;
                Ok(*count)
            };
            assert_eq!(owner.run(next).await.unwrap(), want);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_load_is_told_and_tried_again() {
        let mut attempts = 0;
        let owner = Owner::new("flaky", LONG, move || {
            attempts += 1;
            if attempts == 1 { Err(EngineError::ModelMissing { name: "m".into() }) } else { Ok(attempts) }
        });
        let error = owner.run(|engine| Ok(*engine)).await.unwrap_err();
        assert!(matches!(error, EngineError::ModelMissing { .. }));
        assert_eq!(owner.run(|engine| Ok(*engine)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_engine_is_loaded_anew() {
        let mut loads = 0;
        let owner = Owner::new("fragile", LONG, move || {
            loads += 1;
            Ok(loads)
        });
        let error = owner.run::<()>(|_| panic!("out of tune")).await.unwrap_err();
        assert!(error.to_string().contains("out of tune"), "{error}");
        assert_eq!(owner.run(|engine| Ok(*engine)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn an_idle_engine_is_dropped() {
        struct Noisy(mpsc::Sender<()>);
        impl Drop for Noisy {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let (dropped, drops) = mpsc::channel();
        let owner = Owner::new("idle", Duration::from_millis(1), move || Ok(Noisy(dropped.clone())));
        owner.run(|_| Ok(())).await.unwrap();
        drops.recv_timeout(Duration::from_secs(10)).unwrap();
        owner.run(|_| Ok(())).await.unwrap();
    }

    #[tokio::test]
    async fn who_gives_up_while_waiting_is_answered_at_once_and_never_served() {
        let owner = Owner::new("busy", LONG, || Ok(0));
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let busy = tokio::spawn({
            let owner = owner.clone();
            async move {
                owner
                    .run(move |_| {
                        begin.send(()).unwrap();
                        released.recv().unwrap();
                        Ok(())
                    })
                    .await
            }
        });
        begun.await.unwrap();
        let count = |served: &mut usize| {
            *served += 1;
            Ok(())
        };
        let given_up = owner.run_unless(std::future::ready(()), count).await;
        assert!(matches!(given_up, Err(EngineError::Cancelled)));
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(owner.run(|served| Ok(*served)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn calls_are_served_one_at_a_time() {
        let owner = Owner::new("queue", LONG, || Ok(Vec::new()));
        let calls = (0..40).map(|number| {
            let owner = owner.clone();
            tokio::spawn(async move {
                owner
                    .run(move |seen: &mut Vec<i32>| {
                        seen.push(number);
                        Ok(seen.len())
                    })
                    .await
                    .unwrap()
            })
        });
        let mut lengths = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            lengths.push(call.await.unwrap());
        }
        lengths.sort_unstable();
        assert_eq!(lengths, (1..=40).collect::<Vec<_>>());
    }
}
