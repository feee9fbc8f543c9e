use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::observe;

/// The pause after the first failure; it doubles up to [`PAUSE_MAX`]. Short, because the first failure after a restart of
/// the database is a dead connection, and the next try gets another one.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// How late a recovery may be noticed.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long one visit to the database may take. Longer than the server's own limit on a statement by default, so that its
/// answer comes first; this one ends the wait on a connection whose other end is gone without a word.
const VISIT_MAX: Duration = Duration::from_secs(45);

/// Why a visit to the database failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VisitError {
    #[error(transparent)]
    Query(#[from] docstore_database::Error),
    #[error(transparent)]
    Commit(#[from] docstore_database::CommitError),
    #[error("the database did not answer within {} s", VISIT_MAX.as_secs())]
    Silent,
}

/// Bounds a visit to the database in time.
pub(crate) async fn visit<T>(work: impl Future<Output = Result<T, VisitError>>) -> Result<T, VisitError> {
    tokio::time::timeout(VISIT_MAX, work).await.unwrap_or(Err(VisitError::Silent))
}

/// Whether one part of this crate can do its work. Logs when that changes, not at every try.
#[derive(Debug)]
pub(crate) struct Health {
    part: &'static str,
    state: Mutex<Option<Outage>>,
}

#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    pause: Duration,
}

impl Health {
    pub(crate) fn new(part: &'static str) -> Self {
        Self { part, state: Mutex::new(None) }
    }

    /// Notes a failure and says how long to pause before the next try: 100 ms, then twice as long each time, up to 5 s.
    pub(crate) fn failed(&self, error: &(dyn Error + 'static)) -> Duration {
        observe::failed(self.part);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = match *state {
            Some(outage) => Outage { pause: (outage.pause * 2).min(PAUSE_MAX), ..outage },
            None => {
                tracing::error!(part = self.part, error, "events are held up, trying again until it works");
                Outage { since: Instant::now(), pause: PAUSE_MIN }
            }
        };
        *state = Some(outage);
        outage.pause
    }

    /// Notes a success.
    pub(crate) fn worked(&self) {
        let ended = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(outage) = ended {
            let lost_ms = u64::try_from(outage.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(part = self.part, lost_ms, "events go on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing::{Event, Metadata, Subscriber, span};

    use super::*;

    /// Counts log lines.
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn an_outage_is_logged_when_it_begins_and_when_it_ends() {
        let lines = Arc::new(AtomicUsize::new(0));
        tracing::subscriber::with_default(Lines(lines.clone()), || {
            let health = Health::new("test");
            health.worked();
            assert_eq!(lines.load(Ordering::Relaxed), 0);
            let pauses: Vec<_> = (0..8).map(|_| health.failed(&VisitError::Silent).as_millis()).collect();
            assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
            assert_eq!(lines.load(Ordering::Relaxed), 1);
            health.worked();
            health.worked();
            assert_eq!(lines.load(Ordering::Relaxed), 2);
            assert_eq!(health.failed(&VisitError::Silent), PAUSE_MIN, "the next outage begins anew");
            assert_eq!(lines.load(Ordering::Relaxed), 3);
        });
    }
}
