use std::{pin::Pin, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{Clock, fetch::FetchError};

/// How long a fetched document serves, and how often it may be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// So long it serves without a look at its issuer.
    pub fresh: Duration,
    /// So long it serves while its issuer is away; after that it is worth nothing.
    pub stale: Duration,
    /// At least this long between two fetches, whatever callers send.
    pub interval: Duration,
}

/// Why nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// The document is there and does not hold it.
    Unknown,
    /// The issuer is away, so that nobody can tell.
    Unavailable,
}

type Fetching<T> = Pin<Box<dyn Future<Output = Result<T, FetchError>> + Send>>;

/// A document of an issuer, fetched when it is first needed and kept.
///
/// - One fetch at a time: whoever comes meanwhile waits for its result and does not fetch again.
/// - A fetch runs in its own task, so that a caller who hangs up neither stops it nor makes room for the next one.
/// - What is not in a fresh document is looked for once more at the issuer, but not within the minimum interval of the
///   last fetch: made-up key ids cost the issuer one request per interval.
/// - When a document has aged, one caller fetches it anew; the others are served the last good one until it is there.
pub(crate) struct Remote<T> {
    name: &'static str,
    fetch: Box<dyn Fn() -> Fetching<T> + Send + Sync>,
    clock: Clock,
    limits: CacheLimits,
    state: ArcSwap<State<T>>,
    flight: Arc<Mutex<()>>,
}

/// What is known of the document at one moment.
struct State<T> {
    /// The last good one and when it came.
    good: Option<(Arc<T>, DateTime<Utc>)>,
    /// When the last fetch ended, well or badly.
    attempted: Option<DateTime<Utc>>,
    /// Whether it ended well.
    succeeded: bool,
    /// How many fetches have ended, so that a waiter sees that one did.
    attempts: u64,
}

enum Age {
    Fresh,
    Stale,
    Gone,
}

impl<T: Send + Sync + 'static> Remote<T> {
    /// A document by the name that logs and metrics give it. Nothing is fetched yet.
    pub(crate) fn new(
        name: &'static str,
        clock: Clock,
        limits: CacheLimits,
        fetch: impl Fn() -> Fetching<T> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let state = State { good: None, attempted: None, succeeded: false, attempts: 0 };
        Arc::new(Self {
            name,
            fetch: Box::new(fetch),
            clock,
            limits,
            state: ArcSwap::from_pointee(state),
            flight: Arc::new(Mutex::new(())),
        })
    }

    /// Looks something up in the document, fetching it where the rules above say so.
    ///
    /// # Errors
    /// When a document that its issuer confirmed does not hold it, or when the issuer is away.
    pub(crate) async fn find<R>(self: &Arc<Self>, pick: impl Fn(&T) -> Option<R>) -> Result<R, Miss> {
        let state = self.state.load_full();
        let now = (self.clock)();
        let found = state.good.as_ref().and_then(|(document, _)| pick(document));
        let guard = match (self.age(&state, now), found) {
            (Age::Fresh, Some(found)) => return Ok(found),
            (Age::Stale, Some(found)) => {
                let guard = self.may_fetch(&state, now).then(|| Arc::clone(&self.flight).try_lock_owned());
                let Some(Ok(guard)) = guard else { return Ok(found) };
                guard
            }
            _ if !self.may_fetch(&state, now) => return self.judge(&state, now, &pick),
            _ => Arc::clone(&self.flight).lock_owned().await,
        };
        self.refresh(guard, state.attempts).await;
        self.judge(&self.state.load_full(), (self.clock)(), &pick)
    }

    fn judge<R>(&self, state: &State<T>, now: DateTime<Utc>, pick: impl Fn(&T) -> Option<R>) -> Result<R, Miss> {
        let (Some((document, _)), Age::Fresh | Age::Stale) = (&state.good, self.age(state, now)) else {
            return Err(Miss::Unavailable);
        };
        // After a failed fetch the key may well exist by now: that is no verdict on the token.
        pick(document).ok_or(if state.succeeded { Miss::Unknown } else { Miss::Unavailable })
    }

    fn age(&self, state: &State<T>, now: DateTime<Utc>) -> Age {
        match state.good.as_ref().map(|(_, since)| (now - since).to_std()) {
            Some(Ok(age)) if age < self.limits.fresh => Age::Fresh,
            Some(Ok(age)) if age < self.limits.stale => Age::Stale,
            // The clock was set back: a good reason to look, none to refuse everybody.
            Some(Err(_)) => Age::Stale,
            _ => Age::Gone,
        }
    }

    fn may_fetch(&self, state: &State<T>, now: DateTime<Utc>) -> bool {
        let since = state.attempted.map(|moment| (now - moment).to_std());
        since.is_none_or(|since| since.is_ok_and(|since| since >= self.limits.interval) || since.is_err())
    }

    /// Fetches and waits for the result, unless somebody did since `seen` attempts.
    async fn refresh(self: &Arc<Self>, guard: OwnedMutexGuard<()>, seen: u64) {
        if self.state.load().attempts != seen {
            return;
        }
        let this = Arc::clone(self);
        let flight = tokio::spawn(async move {
            let outcome = (this.fetch)().await;
            this.store(outcome);
            drop(guard);
        });
        if flight.await.is_err() {
            tracing::error!(document = self.name, "the fetch of an issuer's document broke off");
        }
    }

    fn store(&self, outcome: Result<T, FetchError>) {
        let before = self.state.load_full();
        let now = (self.clock)();
        let succeeded = outcome.is_ok();
        let good = match outcome {
            Ok(document) => Some((Arc::new(document), now)),
            Err(why) => {
                tracing::warn!(document = self.name, error = %why, "cannot fetch an issuer's document");
                before.good.clone()
            }
        };
        let result = if succeeded { "ok" } else { "failed" };
        metrics::counter!("docstore_auth_fetches_total", "document" => self.name, "result" => result).increment(1);
        let attempts = before.attempts + 1;
        self.state.store(Arc::new(State { good, attempted: Some(now), succeeded, attempts }));
    }
}
