use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use docstore_database::event_log::{self, PageLimit, ReplayedEvent};
use futures::{Stream, future::BoxFuture};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    Event, Scope,
    health::{VisitError, visit},
    hub::Shared,
    observe,
    ring::Found,
};

/// One page of a replay. The bytes bound what a slow reader holds on to; the rows bound the work of a page of which the
/// stream wants little.
const REPLAY_PAGE: PageLimit = PageLimit { rows_max: 500, bytes_max: 64 * 1024 };

/// The events that pass a filter, in the order of their positions, without gaps or doubles. Ends when the hub shuts down,
/// and only then: while the database is away it waits.
///
/// It holds at most one page; behind a slow reader it waits, and goes on where it was, from memory or from the database.
pub struct EventStream {
    shared: Arc<Shared>,
    scope: Scope,
    /// Sorted; empty for all.
    types: Arc<[String]>,
    id: u64,
    /// Everything up to here is in `ready` or was given out.
    cursor: i64,
    ready: VecDeque<Arc<Event>>,
    replay: Option<BoxFuture<'static, Page>>,
    /// None for the server itself.
    place: Option<OwnedSemaphorePermit>,
}

struct Page {
    events: VecDeque<Arc<Event>>,
    reached: i64,
}

impl EventStream {
    pub(crate) fn open(
        shared: Arc<Shared>,
        scope: Scope,
        types: Vec<String>,
        after: i64,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let id = shared.ring().open(&scope);
        if place.is_some() {
            observe::stream_opened();
        }
        Self { shared, scope, types: types.into(), id, cursor: after, ready: VecDeque::new(), replay: None, place }
    }

    /// The position that this stream has come to: a client that goes on after it misses nothing of what was not given out
    /// yet. Before the first event it is where the stream started.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.ready.front().map_or(self.cursor, |event| event.position() - 1)
    }

    fn replay(&self, up_to: i64) -> BoxFuture<'static, Page> {
        let (shared, scope, types) = (self.shared.clone(), self.scope.clone(), self.types.clone());
        Box::pin(replay_page(shared, scope, types, self.cursor, up_to))
    }
}

impl Stream for EventStream {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.shared.closed.is_cancelled() {
                return Poll::Ready(None);
            }
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if let Some(replay) = &mut this.replay {
                let page = ready!(replay.as_mut().poll(context));
                this.replay = None;
                this.ready = page.events;
                this.cursor = page.reached;
                continue;
            }
            let wanted = |event: &Event| is_wanted(&this.types, event.event_type());
            let found = this.shared.ring().find(&this.scope, this.id, this.cursor, wanted, context.waker());
            match found {
                Found::Events(events, reached) => {
                    this.ready = events.into();
                    this.cursor = reached;
                }
                Found::Forgotten { up_to } => this.replay = Some(this.replay(up_to)),
                Found::Nothing { reached } => {
                    this.cursor = reached;
                    return Poll::Pending;
                }
                Found::Closed => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.shared.ring().close_stream(&self.scope, self.id);
        if self.place.is_some() {
            observe::stream_closed();
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("scope", &self.scope)
            .field("types", &self.types)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

fn is_wanted(types: &[String], event_type: &str) -> bool {
    types.is_empty() || types.binary_search_by(|name| name.as_str().cmp(event_type)).is_ok()
}

/// Reads the next page of a stream from the database, trying until it works. Gives up when
/// the hub is closed.
async fn replay_page(shared: Arc<Shared>, scope: Scope, types: Arc<[String]>, after: i64, up_to: i64) -> Page {
    loop {
        let read = async {
            // The semaphore is never closed.
            let _permit = shared.replays.acquire().await;
            visit(read_page(&shared, &scope, &types, after, up_to)).await
        };
        let result = tokio::select! {
            result = read => result,
            () = shared.closed.cancelled() => return Page { events: VecDeque::new(), reached: after },
        };
        match result {
            Ok(rows) => {
                shared.replay_health.worked();
                observe::replayed();
                return page(rows, up_to);
            }
            Err(error) => {
                let pause = shared.replay_health.failed(&error);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = shared.closed.cancelled() => {}
                }
            }
        }
    }
}

async fn read_page(
    shared: &Shared,
    scope: &Scope,
    types: &[String],
    after: i64,
    up_to: i64,
) -> Result<Vec<ReplayedEvent>, VisitError> {
    let types = (!types.is_empty()).then_some(types);
    let pool = &shared.pool;
    Ok(match scope {
        Scope::All => event_log::replay_log(pool, None, types, after, up_to, REPLAY_PAGE).await?,
        Scope::Subject(subject) => event_log::replay_log(pool, Some(subject), types, after, up_to, REPLAY_PAGE).await?,
        Scope::Repo(id) => event_log::replay_repo(pool, *id, types, after, up_to, REPLAY_PAGE).await?,
    })
}

/// A page that ended early leaves off at its last row, an empty one at the end of what was asked for.
fn page(rows: Vec<ReplayedEvent>, up_to: i64) -> Page {
    let reached = rows.last().map_or(up_to, |row| row.position);
    let events = rows
        .into_iter()
        .filter_map(|row| Some(Arc::new(Event::new(row.position, row.event_type, &row.payload?))))
        .collect();
    Page { events, reached }
}
