use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use docstore_database::{Pool, event_log};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::{EventStream, Settings, health::Health, observe, ring::Ring};

/// The most streams of a process that read from the database at a time. After a restart every client comes back at once
/// with an old position; they must not take all connections of the pool.
const REPLAYS_MAX: usize = 4;

/// Whose events a stream is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    All,
    /// Those of the repo with this id, and not of another one that had or takes its name.
    Repo(i64),
    /// Those of this subject, exactly: the full name of a repo, or `/orgs/<org>`.
    Subject(Arc<str>),
}

/// What a stream gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Whose events.
    pub scope: Scope,
    /// Full names of types; empty for all.
    pub types: Vec<String>,
}

/// Where a stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the events that get their position from now on.
    Now,
    /// With what comes after a position. When that is older than the log, with the oldest event that is left.
    After(i64),
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The filter names something that no event can have: a bad request.
    #[error("a filter must not hold the character NUL")]
    BadFilter,
    /// Trying again later makes sense, here or at another process.
    #[error("{streams_max} event streams are open, which is the limit")]
    TooManyStreams {
        /// The limit.
        streams_max: usize,
    },
    /// The database could not say where now is.
    #[error(transparent)]
    Database(#[from] docstore_database::Error),
}

/// Where streams come from. Cloning gives another handle to the same hub.
#[derive(Clone)]
pub struct EventHub(pub(crate) Arc<Shared>);

impl EventHub {
    /// Opens a stream of the events that pass the filter, in the order of their positions, each once. For [`Start::Now`]
    /// it asks the database once where now is.
    ///
    /// # Errors
    /// When the filter cannot be used, too many streams are open, or the database does not answer.
    pub async fn subscribe(&self, filter: Filter, start: Start) -> Result<EventStream, SubscribeError> {
        let Filter { scope, mut types } = filter;
        // PostgreSQL's text knows no NUL, and replays would fail for ever.
        if types.iter().any(|name| name.contains('\0')) || matches!(&scope, Scope::Subject(name) if name.contains('\0'))
        {
            return Err(SubscribeError::BadFilter);
        }
        types.sort_unstable();
        types.dedup();
        let shared = &self.0;
        let Ok(place) = shared.places.clone().try_acquire_owned() else {
            observe::stream_refused();
            return Err(SubscribeError::TooManyStreams { streams_max: shared.streams_max });
        };
        let after = match start {
            Start::After(position) => position,
            Start::Now => event_log::last_position(&shared.pool).await?,
        };
        Ok(EventStream::open(shared.clone(), scope, types, after, Some(place)))
    }

    /// Follows everybody's events of some types, from what this process reads next. For the server itself: it takes no
    /// place from clients.
    #[must_use]
    pub fn follow(&self, types: &[&str]) -> EventStream {
        let mut types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
        types.sort_unstable();
        EventStream::open(self.0.clone(), Scope::All, types, self.position(), None)
    }

    /// Changes when somebody says that there are new positions: a hint, as notifications are.
    #[must_use]
    pub fn announced(&self) -> watch::Receiver<i64> {
        self.0.announced.subscribe()
    }

    /// The last position that this process has read.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.0.ring().head()
    }
}

impl fmt::Debug for EventHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHub").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// What loops and streams have in common.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    ring: Mutex<Ring>,
    /// Set off when loops and streams have to end.
    pub(crate) closed: CancellationToken,
    /// The position that somebody said there is, last.
    pub(crate) announced: watch::Sender<i64>,
    /// The listener connected: what was said before, nobody heard.
    pub(crate) deaf_until_now: Notify,
    /// Events came that the listener did not hear of: its connection may be dead without knowing it.
    pub(crate) deafness_suspected: Notify,
    pub(crate) replays: Semaphore,
    pub(crate) replay_health: Health,
    places: Arc<Semaphore>,
    streams_max: usize,
}

impl Shared {
    pub(crate) fn new(pool: Pool, settings: &Settings, head: i64) -> Self {
        Self {
            pool,
            ring: Mutex::new(Ring::new(head, settings.ring_events_max, settings.ring_bytes_max)),
            closed: CancellationToken::new(),
            announced: watch::Sender::new(head),
            deaf_until_now: Notify::new(),
            deafness_suspected: Notify::new(),
            replays: Semaphore::new(REPLAYS_MAX),
            replay_health: Health::new("replay"),
            places: Arc::new(Semaphore::new(settings.streams_max)),
            streams_max: settings.streams_max,
        }
    }

    /// The ring. Nobody waits for anything while holding it.
    pub(crate) fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the reader of a position, unless it has read it already.
    pub(crate) fn announce(&self, position: i64) {
        if position > self.ring().head() {
            self.announced.send_replace(position);
        }
    }

    /// Ends loops and streams.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        let woken = self.ring().close();
        woken.into_iter().for_each(Waker::wake);
    }
}
