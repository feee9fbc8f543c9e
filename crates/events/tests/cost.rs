//! What streams cost the database. Alone in its program, because it counts everything that the driver reports in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

#[path = "streams/support.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use docstore_database::{event_log::NewEvent, testing::TestDatabase};
use docstore_events::{Scope, Settings, Start};
use futures::{FutureExt, StreamExt};
use tracing::{Event, Metadata, Subscriber, span};

use crate::support::{event, happen, next, process, repo, settings, subscribe};

static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts the statements that the driver sends: it reports each of them, but for those that begin or end a transaction.
struct Statements;

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// How many statements a number of events cost, with all that a process does at its start, while a number of streams
/// watches other repos.
async fn statements(events_count: usize, idle_count: i64) -> usize {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let (busy, quiet) = (repo(&pool, "acme/busy").await, repo(&pool, "acme/quiet").await);
    // The ring turns over again and again, so that idle streams are far behind it.
    let events = process(&database, &Settings { ring_events_max: 2, ..settings() }).await;
    let mut idle = Vec::new();
    let mut watching = subscribe(&events.hub, Scope::Repo(busy), Start::After(0)).await;
    for number in 0..idle_count {
        let mut stream = subscribe(&events.hub, Scope::Repo(quiet + number), Start::After(0)).await;
        assert!(stream.next().now_or_never().is_none());
        idle.push(stream);
    }
    let before = STATEMENTS.load(Ordering::Relaxed);
    for _ in 0..events_count {
        happen(&pool, &events, &[NewEvent { repo_id: Some(busy), ..event("x") }]).await;
        next(&mut watching).await;
    }
    for stream in &mut idle {
        assert!(stream.next().now_or_never().is_none());
    }
    // One of them hears of it from memory, whatever has passed through the ring meanwhile.
    happen(&pool, &events, &[NewEvent { repo_id: Some(quiet), ..event("x") }]).await;
    assert_eq!(next(&mut idle[0]).await.position(), i64::try_from(events_count).unwrap() + 1);
    STATEMENTS.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn idle_streams_cost_no_queries() {
    tracing::subscriber::set_global_default(Statements).unwrap();
    // What the loops do at their start comes in some order beside this.
    const AT_START: usize = 15;
    const EVENTS: usize = 40;
    // The change, the sequencer's transaction, the reader's page.
    const PER_EVENT: usize = 5;
    for idle_count in [1, 1000] {
        let counted = statements(EVENTS, idle_count).await;
        let expected = PER_EVENT * (EVENTS + 1);
        assert!((expected..expected + AT_START).contains(&counted), "{counted} statements beside {idle_count} streams");
    }
}
