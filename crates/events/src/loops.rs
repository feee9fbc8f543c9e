use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use docstore_database::{Pool, event_log};
use futures::FutureExt;
use tokio::{task::JoinSet, time::sleep};

use crate::{EventHub, Settings, Wake, hub::Shared, reader, retention, sequencer};

/// How long the sequencer and the reader gather after each run that found something. Under load this bounds both to a
/// hundred runs per second, so that many commits share one; an event after a silence is not delayed at all.
pub(crate) const GATHERING_PAUSE: Duration = Duration::from_millis(10);

/// The pause before a loop that panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The running event log of this process: sequencer, reader, listener, retention. It stops when this is dropped.
pub struct Events {
    /// Where streams come from.
    pub hub: EventHub,
    /// What to tell of commits.
    pub wake: Wake,
    loops: JoinSet<()>,
}

impl Events {
    /// Asks the database how far the log goes, and starts the loops. They and all streams end once the shutdown comes;
    /// until then no loss of the database ends them.
    ///
    /// One connection of the pool is kept for listening; two more are used for moments.
    ///
    /// # Errors
    /// When the database does not answer at first.
    pub async fn start(
        pool: Pool,
        settings: &Settings,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, docstore_database::Error> {
        let head = event_log::last_position(&pool).await?;
        let shared = Arc::new(Shared::new(pool, settings, head));
        let wake = Wake::default();
        let mut loops = JoinSet::new();
        let Settings { retention_days, audit_retention_days, sequence_interval, poll_interval, .. } = *settings;
        let keep_for = retention::Keep { days: retention_days, audit_days: audit_retention_days };
        loops.spawn({
            let shared = shared.clone();
            async move {
                tokio::select! {
                    () = shutdown => shared.close(),
                    () = shared.closed.cancelled() => {}
                }
            }
        });
        loops.spawn({
            let (shared, wake) = (shared.clone(), wake.clone());
            async move { keep("sequencer", &shared, || sequencer::sequence(&shared, &wake, sequence_interval)).await }
        });
        loops.spawn({
            let shared = shared.clone();
            async move { keep("reader", &shared, || reader::read(&shared, poll_interval)).await }
        });
        loops.spawn({
            let shared = shared.clone();
            async move { keep("listener", &shared, || reader::listen(&shared)).await }
        });
        loops.spawn({
            let shared = shared.clone();
            async move { keep("retention", &shared, || retention::retain(&shared, keep_for)).await }
        });
        Ok(Self { hub: EventHub(shared), wake, loops })
    }

    /// Waits until the shutdown came and the loops have ended, which takes no longer than dropping what they had in hand:
    /// events without a position get it from another process, or after the next start.
    pub async fn finished(mut self) {
        while self.loops.join_next().await.is_some() {}
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.hub.0.close();
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("hub", &self.hub).finish_non_exhaustive()
    }
}

/// Runs a loop until the hub is closed. A defect in one must not silence the streams until somebody looks.
async fn keep<F: Future<Output = ()>>(part: &'static str, shared: &Shared, run: impl Fn() -> F) {
    let supervised = async {
        loop {
            if AssertUnwindSafe(async { run().await }).catch_unwind().await.is_err() {
                tracing::error!(part, "a loop of the events panicked, starting it again");
            }
            sleep(RESTART_PAUSE).await;
        }
    };
    tokio::select! {
        () = supervised => {}
        () = shared.closed.cancelled() => {}
    }
}
