//! Background loops that are kept alive until shutdown.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use tokio::{task::JoinSet, time::Instant};

use crate::{Outcome, Shutdown};

/// The pause before a loop that ended is started again; it doubles up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Long enough not to fill the log, short enough that nobody waits for a human.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A loop that ran this long was well; its next pause is the shortest again.
const RAN_WELL: Duration = Duration::from_secs(60);

/// The background loops of a process.
///
/// A loop runs until shutdown. One that panics or returns before is logged, counted in
/// `docstore_task_restarts_total`, and started again after a pause of 1, 2, 4 ... up to 30 seconds.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    loops: JoinSet<()>,
}

impl Tasks {
    /// No loops yet.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, loops: JoinSet::new() }
    }

    /// Starts a loop. It gets the signal and must end soon after it is set off.
    pub fn spawn<F, Fut>(&mut self, name: &'static str, run: F)
    where
        F: FnMut(Shutdown) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.loops.spawn(keep_alive(name, self.shutdown.clone(), run));
    }

    /// Waits for the signal and then for the loops, for at most the grace; what still runs then is cut.
    ///
    /// The outcome counts the loops that were cut.
    pub async fn finish(mut self, grace: Duration) -> Outcome {
        self.shutdown.wait().await;
        let all_ended = async { while self.loops.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all_ended).await.is_ok() {
            return Outcome::Clean;
        }
        let cut = self.loops.len();
        self.loops.shutdown().await;
        tracing::error!(tasks = cut, "background tasks were cut");
        Outcome::Cut { unfinished: cut }
    }
}

async fn keep_alive<F, Fut>(name: &'static str, shutdown: Shutdown, mut run: F)
where
    F: FnMut(Shutdown) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut pause = RESTART_PAUSE_MIN;
    while !shutdown.is_begun() {
        let started = Instant::now();
        let ended = AssertUnwindSafe(async { run(shutdown.clone()).await }).catch_unwind().await;
        if shutdown.is_begun() {
            return;
        }
        if started.elapsed() >= RAN_WELL {
            pause = RESTART_PAUSE_MIN;
        }
        let why = if ended.is_err() { "it panicked" } else { "it returned" };
        tracing::error!(task = name, why, pause_ms = duration_ms(pause), "background task ended, starting it again");
        metrics::counter!("docstore_task_restarts_total", "task" => name).increment(1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => return,
        }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

/// Whole milliseconds for a log line.
pub(crate) fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_or_returns_is_started_again_with_growing_pauses() {
        let shutdown = Shutdown::new();
        let mut tasks = Tasks::new(shutdown.clone());
        let begun = Instant::now();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let seen = starts.clone();
        tasks.spawn("fragile", move |shutdown| {
            let seen = seen.clone();
            async move {
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(begun.elapsed().as_secs());
                    seen.len()
                };
                match count {
                    1 => panic!("as a defect would"),
                    2..8 | 9 => {}
                    8 => tokio::time::sleep(RAN_WELL).await,
                    _ => {
                        shutdown.begin();
                        shutdown.wait().await;
                    }
                }
            }
        });
        let outcome = tasks.finish(Duration::from_secs(1)).await;
        assert_eq!(outcome, Outcome::Clean);
        assert_eq!(*starts.lock().unwrap(), [0, 1, 3, 7, 15, 31, 61, 91, 152, 154]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_end_is_cut() {
        let shutdown = Shutdown::new();
        let mut tasks = Tasks::new(shutdown);
        tasks.spawn("polite", |shutdown| async move { shutdown.wait().await });
        tasks.spawn("stubborn", |shutdown| {
            shutdown.begin();
            std::future::pending()
        });
        assert_eq!(tasks.finish(Duration::from_secs(1)).await, Outcome::Cut { unfinished: 1 });
    }
}
