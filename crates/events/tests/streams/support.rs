use std::{sync::Arc, time::Duration};

use docstore_database::{
    Pool,
    event_log::{NewEvent, log_events},
    testing::TestDatabase,
};
use docstore_events::{Event, EventHub, EventStream, Events, Filter, Scope, Settings, Start};
use futures::StreamExt;
use sqlx::PgExecutor;
use uuid::Uuid;

/// How long a test waits for what must come. Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An interval that no test lives to see the end of.
pub(crate) const NEVER: Duration = Duration::from_secs(86_400);

pub(crate) const TYPE: &str = "com.docstore.commit.created";

/// Settings under which nothing happens by a timer.
pub(crate) fn settings() -> Settings {
    Settings {
        retention_days: 30,
        audit_retention_days: 400,
        ring_events_max: 1000,
        ring_bytes_max: 1 << 20,
        streams_max: 5000,
        sequence_interval: NEVER,
        poll_interval: NEVER,
    }
}

/// A process on the database: its own pool, its own loops.
pub(crate) async fn process(database: &TestDatabase, settings: &Settings) -> Events {
    Events::start(database.pool().await, settings, std::future::pending()).await.unwrap()
}

pub(crate) async fn repo(pool: &Pool, name: &str) -> i64 {
    sqlx::query_scalar("INSERT INTO repos (org_id, name, created_by) SELECT min(id), $1, 'x' FROM orgs RETURNING id")
        .bind(name)
        .fetch_one(pool)
        .await
        .unwrap()
}

pub(crate) fn event(payload: impl Into<String>) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        subject: "acme/app".into(),
        repo_id: None,
        event_type: TYPE.into(),
        payload: payload.into(),
    }
}

/// Logs events without telling anybody.
pub(crate) async fn log(executor: impl PgExecutor<'_>, payload: &str) {
    log_events(executor, &[event(payload)]).await.unwrap();
}

/// Logs an event and gives it its position as another process would, but says so to nobody.
pub(crate) async fn log_unheard(pool: &Pool, payload: &str) {
    let mut transaction = pool.sqlx().begin().await.unwrap();
    log(&mut *transaction, payload).await;
    sqlx::raw_sql(
        "UPDATE event_position SET last = last + 1; \
         UPDATE event_log SET position = last FROM event_position WHERE position IS NULL",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
}

/// Logs events as an operation does.
pub(crate) async fn happen(pool: &Pool, events: &Events, happened: &[NewEvent]) {
    log_events(pool, happened).await.unwrap();
    events.wake.commit_happened();
}

pub(crate) fn everything() -> Filter {
    Filter { scope: Scope::All, types: Vec::new() }
}

pub(crate) async fn subscribe(hub: &EventHub, scope: Scope, start: Start) -> EventStream {
    hub.subscribe(Filter { scope, types: Vec::new() }, start).await.unwrap()
}

pub(crate) async fn next(stream: &mut EventStream) -> Arc<Event> {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event comes").expect("the stream goes on")
}

/// The next events, as position and payload.
pub(crate) async fn take(stream: &mut EventStream, count: usize) -> Vec<(i64, String)> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let event = next(stream).await;
        taken.push((event.position(), event.payload().to_owned()));
    }
    taken
}

pub(crate) fn rows(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(position, payload)| (*position, (*payload).to_owned())).collect()
}

/// Waits until a query about the connections of the database, of which nobody is told, answers with something.
pub(crate) async fn until<T>(pool: &Pool, query: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let answer = async {
        loop {
            if let Some(value) = sqlx::query_scalar::<_, T>(query).fetch_optional(pool).await.unwrap() {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("the query finds something in the end")
}
