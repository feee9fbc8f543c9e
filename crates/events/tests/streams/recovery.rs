//! Lost notifications, lost connections, a lost database, a process that died.

use std::time::Duration;

use docstore_database::{Pool, testing::TestDatabase};
use docstore_events::{Scope, Settings, Start};
use futures::{FutureExt, StreamExt};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, postgres::PgConnectOptions};

use crate::support::{event, happen, log, log_unheard, process, rows, settings, subscribe, take, until};

const LISTENER: &str =
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %' LIMIT 1";

/// Another one when somebody listens anew, on the same connection or another.
const LISTENING_SINCE: &str = "SELECT pid || ' ' || query_start FROM pg_stat_activity \
     WHERE datname = current_database() AND query LIKE 'LISTEN %' ORDER BY query_start DESC LIMIT 1";

/// A timer that goes off soon, in tests that are about the timer.
const SOON: Duration = Duration::from_millis(20);

async fn execute(pool: &Pool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

#[tokio::test]
async fn a_stream_goes_on_when_the_connection_of_the_listener_is_killed() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &settings()).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    let first: i32 = until(&pool, LISTENER).await;
    let other = process(&database, &settings()).await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(first).execute(&pool).await.unwrap();
    // Only a notification, or the look around after listening anew, can bring this: the other process gave the position.
    happen(&pool, &other, &[event("a")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(1, "a")]));
    until::<i32>(
        &pool,
        "SELECT 1 WHERE 2 = (SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN %')",
    )
    .await;
    happen(&pool, &other, &[event("b")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(2, "b")]));
}

#[tokio::test]
async fn a_lost_notification_delays_until_the_poll_and_makes_the_listener_suspect() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &Settings { poll_interval: SOON, ..settings() }).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    let first: String = until(&pool, LISTENING_SINCE).await;
    // The look around after listening for the first time may find one of these; what the poll finds is suspect.
    let mut position = 0;
    while until::<String>(&pool, LISTENING_SINCE).await == first {
        position += 1;
        log_unheard(&pool, "a").await;
        assert_eq!(take(&mut stream, 1).await, rows(&[(position, "a")]));
    }
}

#[tokio::test]
async fn a_notification_of_nothing_harms_nobody() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &settings()).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    until::<i32>(&pool, LISTENER).await;
    execute(&pool, "NOTIFY event_log, '9223372036854775807'; NOTIFY event_log, 'x'; NOTIFY event_log").await;
    happen(&pool, &events, &[event("a")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(1, "a")]));
    let other = process(&database, &settings()).await;
    happen(&pool, &other, &[event("b")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(2, "b")]));
}

#[tokio::test]
async fn events_of_a_process_that_died_are_found_at_the_start_and_by_the_timer() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    log(&pool, "before the start").await;
    let events = process(&database, &Settings { sequence_interval: SOON, ..settings() }).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::After(0)).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(1, "before the start")]));
    log(&pool, "later").await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(2, "later")]));
}

#[tokio::test]
async fn streams_outlive_a_database_that_goes_away_and_comes_back() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &Settings { ring_events_max: 1, ..settings() }).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    happen(&pool, &events, &[event("a"), event("b"), event("c")]).await;
    take(&mut stream, 3).await;

    let options: PgConnectOptions = database.settings().url.expose_secret().parse().unwrap();
    let name = options.get_database().unwrap().to_owned();
    let mut admin = options.clone().database("postgres").connect().await.unwrap();
    admin.execute(AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))).await.unwrap();
    let killed = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'");
    admin.execute(AssertSqlSafe(killed)).await.unwrap();
    options.connect().await.expect_err("the database is away");

    // Begins a replay, which cannot be answered now.
    let mut replaying = subscribe(&events.hub, Scope::All, Start::After(0)).await;
    assert!(replaying.next().now_or_never().is_none());
    events.wake.commit_happened();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }

    admin.execute(AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))).await.unwrap();
    admin.close().await.unwrap();
    assert_eq!(take(&mut replaying, 3).await, rows(&[(1, "a"), (2, "b"), (3, "c")]));
    let pool = database.pool().await;
    happen(&pool, &events, &[event("d")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(4, "d")]));
    assert_eq!(take(&mut replaying, 1).await, rows(&[(4, "d")]));
}
