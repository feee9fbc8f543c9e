//! No event is skipped and none comes twice.

use std::sync::{Arc, Mutex};

use docstore_database::{Pool, begin, commit, event_log::log_events, testing::TestDatabase};
use docstore_events::{EventHub, Scope, Settings, Start, Wake};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{event, happen, log, log_unheard, next, process, repo, rows, settings, subscribe, take};

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_skipped() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &settings()).await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    let mut early = begin(&pool).await.unwrap();
    log(&mut *early, "lower id").await;
    let mut late = begin(&pool).await.unwrap();
    log(&mut *late, "higher id").await;

    commit(late).await.unwrap();
    events.wake.commit_happened();
    assert_eq!(take(&mut stream, 1).await, rows(&[(1, "higher id")]));
    commit(early).await.unwrap();
    events.wake.commit_happened();
    assert_eq!(take(&mut stream, 1).await, rows(&[(2, "lower id")]));
    let mut reconnected = subscribe(&events.hub, Scope::All, Start::After(1)).await;
    assert_eq!(take(&mut reconnected, 1).await, rows(&[(2, "lower id")]));
}

#[tokio::test]
async fn processes_on_one_database_see_each_others_events() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let (here, there) = (process(&database, &settings()).await, process(&database, &settings()).await);
    let mut from_here = subscribe(&here.hub, Scope::All, Start::Now).await;
    let mut from_there = subscribe(&there.hub, Scope::All, Start::Now).await;
    happen(&pool, &here, &[event("a")]).await;
    assert_eq!(take(&mut from_there, 1).await, rows(&[(1, "a")]));
    happen(&pool, &there, &[event("b")]).await;
    assert_eq!(take(&mut from_here, 2).await, rows(&[(1, "a"), (2, "b")]));
    assert_eq!(take(&mut from_there, 1).await, rows(&[(2, "b")]));
    // A client that was connected to the process that is ahead does not see anything twice at the other one.
    let mut moved = subscribe(&here.hub, Scope::All, Start::After(2)).await;
    happen(&pool, &there, &[event("c")]).await;
    assert_eq!(take(&mut moved, 1).await, rows(&[(3, "c")]));
}

#[tokio::test]
async fn now_is_behind_what_has_a_position_even_if_this_process_did_not_hear_of_it() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let events = process(&database, &settings()).await;
    log_unheard(&pool, "before").await;
    let mut stream = subscribe(&events.hub, Scope::All, Start::Now).await;
    assert_eq!(stream.position(), 1);
    happen(&pool, &events, &[event("after")]).await;
    assert_eq!(take(&mut stream, 1).await, rows(&[(2, "after")]));
}

const WRITERS: usize = 8;
const TRANSACTIONS: usize = 30;

/// Commits and rolls back, in an order that differs from that of the ids, and returns what was committed.
async fn write(pool: Pool, wake: Wake, writer: usize, repo_id: i64, committed: Arc<Mutex<Vec<(i64, String)>>>) {
    let mut random = StdRng::seed_from_u64(writer as u64);
    for number in 0..TRANSACTIONS {
        let mut transaction = begin(&pool).await.unwrap();
        let mut mine = Vec::new();
        for part in 0..random.random_range(1..=3) {
            let payload = format!("{writer:02}-{number:02}-{part}");
            let mut event = event(&payload);
            (event.repo_id, event.subject) = (Some(repo_id), format!("acme/{repo_id}"));
            log_events(&mut *transaction, &[event]).await.unwrap();
            mine.push((repo_id, payload));
            for _ in 0..random.random_range(0..5) {
                tokio::task::yield_now().await;
            }
        }
        if random.random_ratio(1, 4) {
            drop(transaction);
        } else {
            commit(transaction).await.unwrap();
            wake.commit_happened();
            committed.lock().unwrap().extend(mine);
        }
    }
}

/// Reads until the last event, reconnecting again and again, here or there, with the last position it has seen.
async fn follow(hubs: [EventHub; 2], seed: u64, scope: Scope) -> Vec<(i64, String)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen: Vec<(i64, String)> = Vec::new();
    loop {
        let last = seen.last().map_or(0, |(position, _)| *position);
        let hub = &hubs[random.random_range(0..2)];
        let mut stream = subscribe(hub, scope.clone(), Start::After(last)).await;
        for _ in 0..random.random_range(1..=25) {
            let event = next(&mut stream).await;
            seen.push((event.position(), event.payload().to_owned()));
            if event.payload().starts_with("end") {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_reconnect_anywhere_see_every_event_once_while_writers_race() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repos = [repo(&pool, "acme/one").await, repo(&pool, "acme/two").await];
    // So small that readers are thrown back to the database all the time.
    let narrow = Settings { ring_events_max: 6, ..settings() };
    let processes = [process(&database, &narrow).await, process(&database, &narrow).await];
    let hubs = || [processes[0].hub.clone(), processes[1].hub.clone()];

    let committed = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let wake = processes[(writer / 2) % 2].wake.clone();
            tokio::spawn(write(pool.clone(), wake, writer, repos[writer % 2], committed.clone()))
        })
        .collect();
    let scopes = [
        (Scope::All, None),
        (Scope::All, None),
        (Scope::Repo(repos[0]), Some(repos[0])),
        (Scope::Repo(repos[1]), Some(repos[1])),
        (Scope::Subject(format!("acme/{}", repos[0]).into()), Some(repos[0])),
    ];
    let readers: Vec<_> =
        (100..).zip(scopes).map(|(seed, (scope, only))| (tokio::spawn(follow(hubs(), seed, scope)), only)).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for repo_id in repos {
        let mut end = event(format!("end-{repo_id}"));
        (end.repo_id, end.subject) = (Some(repo_id), format!("acme/{repo_id}"));
        committed.lock().unwrap().push((repo_id, end.payload.clone()));
        happen(&pool, &processes[0], &[end]).await;
    }

    let committed = committed.lock().unwrap().clone();
    for (reader, only) in readers {
        let mut seen = reader.await.unwrap();
        assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "in order, none twice");
        if only.is_none() {
            // It stops at the first of the two ends.
            let positions: Vec<i64> = seen.iter().map(|(position, _)| *position).collect();
            assert_eq!(positions, (1..=seen.len() as i64).collect::<Vec<_>>(), "none skipped");
        }
        for writer in 0..WRITERS {
            let prefix = format!("{writer:02}-");
            let of_writer = seen.iter().map(|(_, payload)| payload).filter(|payload| payload.starts_with(&prefix));
            assert!(of_writer.is_sorted(), "what one writer did comes in the order in which it did it");
        }
        seen.retain(|(_, payload)| !payload.starts_with("end"));
        let mut seen: Vec<String> = seen.into_iter().map(|(_, payload)| payload).collect();
        let mut expected: Vec<String> = committed
            .iter()
            .filter(|(repo_id, payload)| only.is_none_or(|only| only == *repo_id) && !payload.starts_with("end"))
            .map(|(_, payload)| payload.clone())
            .collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }
}
