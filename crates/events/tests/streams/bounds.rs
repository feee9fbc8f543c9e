//! Slow readers, a ring that overflows, old events that go, and the end.

use docstore_database::testing::{TableWatch, TestDatabase};
use docstore_events::{Events, Scope, Settings, Start, sse_body};
use futures::{FutureExt, StreamExt};
use tokio::sync::oneshot;

use crate::support::{event, happen, next, process, rows, settings, subscribe, take};

#[tokio::test]
async fn a_slow_reader_falls_back_to_the_database_and_into_memory_again() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &Settings { ring_events_max: 5, ..settings() }).await;
    let mut slow = subscribe(&events.hub, Scope::All, Start::Now).await;
    let mut quick = subscribe(&events.hub, Scope::All, Start::Now).await;
    let mut expected = 0;
    for round in [3, 100, 1, 700, 5, 6] {
        let many: Vec<_> = (0..round).map(|number| event(number.to_string())).collect();
        happen(&pool, &events, &many).await;
        take(&mut quick, round).await;
        // Some stay behind for the next round.
        for _ in 0..round.div_ceil(2) {
            expected += 1;
            assert_eq!(next(&mut slow).await.position(), expected);
        }
    }
    while expected < events.hub.position() {
        expected += 1;
        assert_eq!(next(&mut slow).await.position(), expected);
    }
    assert_eq!(expected, 815);
}

#[tokio::test]
async fn an_event_larger_than_the_ring_reaches_its_streams() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &Settings { ring_bytes_max: 1000, ..settings() }).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    assert!(stream.next().now_or_never().is_none());
    // Larger than a page of the reader and of a replay, too.
    let large = "x".repeat(2 << 20);
    happen(&pool, &events, &[event("a"), event(&large), event(&large), event("b")]).await;
    let expected = [(1, "a"), (2, large.as_str()), (3, large.as_str()), (4, "b")];
    assert!(take(&mut stream, 4).await == rows(&expected));
}

#[tokio::test]
async fn the_shutdown_ends_streams_whatever_they_are_at() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let first = process(&database, &settings()).await;
    let mut probe = subscribe(&first.hub, Scope::All, Start::Now).await;
    happen(&pool, &first, &[event("a"), event("b")]).await;
    take(&mut probe, 2).await;

    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let events = Events::start(database.pool().await, &settings(), shutdown).await.unwrap();
    let mut idle = subscribe(&events.hub, Scope::All, Start::Now).await;
    assert!(idle.next().now_or_never().is_none());
    let mut replaying = subscribe(&events.hub, Scope::All, Start::After(0)).await;
    // Begins a replay, which the database may have answered by the time of the shutdown, or not.
    drop(replaying.next().now_or_never());
    let mut holding = subscribe(&events.hub, Scope::All, Start::After(0)).await;
    take(&mut holding, 1).await;
    let never_polled = subscribe(&events.hub, Scope::Repo(7), Start::Now).await;
    let waiting = tokio::spawn(async move { idle.next().await });

    stop.send(()).unwrap();
    let hub = events.hub.clone();
    events.finished().await;
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(replaying.next().await, None);
    assert_eq!(holding.next().await, None);
    assert_eq!(sse_body(never_polled, std::future::pending()).count().await, 0);
    assert_eq!(subscribe(&hub, Scope::All, Start::Now).await.next().await, None);
    happen(&pool, &first, &[event("c")]).await;
    assert_eq!(take(&mut probe, 1).await, rows(&[(3, "c")]), "other processes go on");
}

#[tokio::test]
async fn old_events_are_deleted_and_older_positions_start_at_the_oldest() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let first = process(&database, &settings()).await;
    let mut probe = subscribe(&first.hub, Scope::All, Start::Now).await;
    // More than a batch.
    let old: Vec<_> = (0..1500).map(|number| event(number.to_string())).collect();
    happen(&pool, &first, &old).await;
    take(&mut probe, old.len()).await;
    sqlx::query("UPDATE event_log SET created_at = now() - interval '49 hours'").execute(&pool).await.unwrap();
    happen(&pool, &first, &[event("young")]).await;
    take(&mut probe, 1).await;

    let second = process(&database, &Settings { retention_days: 2, ..settings() }).await;
    TableWatch::on(&pool, "event_log").await.until("SELECT count(*) = 1 FROM event_log").await;
    let mut stream = subscribe(&second.hub, Scope::All, Start::After(3)).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(1501, "young")]));
    happen(&pool, &second, &[event("next")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(1502, "next")]), "numbers go on");
}
