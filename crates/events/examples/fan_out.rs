//! How long events take from their commit to the last of many streams. Needs `DATABASE_URL`, where it makes a database of
//! its own.
//!
//! `cargo run --release --package docstore-events --example fan_out [streams] [commits]`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, run by hand")]

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use docstore_database::{
    Pool,
    event_log::{NewEvent, log_events},
    testing::TestDatabase,
};
use docstore_events::{Events, Filter, Scope, Settings, Start, sse_body};
use docstore_settings::Environment;
use futures::StreamExt;
use tokio::sync::mpsc;
use uuid::Uuid;

const WRITERS: usize = 16;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let streams = arguments.next().unwrap_or(1000);
    let commits = arguments.next().unwrap_or(200);
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repos: Vec<i64> = sqlx::query_scalar(
        "INSERT INTO repos (org_id, name, created_by) \
         SELECT min(orgs.id), 'acme/' || n, 'x' FROM orgs, generate_series(1, $1) n GROUP BY n RETURNING id",
    )
    .bind(i32::try_from(streams).unwrap())
    .fetch_all(&pool)
    .await
    .unwrap();
    let settings = Settings::from_environment(&Environment::default()).unwrap();
    let events = Events::start(database.pool().await, &settings, std::future::pending()).await.unwrap();
    println!("{streams} streams, {commits} commits");
    for (name, spread, one_by_one) in [
        ("a repo per stream, one commit after another", true, true),
        ("a repo per stream, 16 writers", true, false),
        ("one repo for all, one commit after another", false, true),
        ("one repo for all, 16 writers", false, false),
    ] {
        let latencies = measure(&pool, &events, &repos, commits, spread, one_by_one).await;
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{name}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms over {}",
            at(0.5),
            at(0.99),
            at(1.0),
            latencies.len()
        );
    }
}

/// From each commit's return to each frame that tells of it, sorted.
async fn measure(
    pool: &Pool,
    events: &Events,
    repos: &[i64],
    commits: usize,
    spread: bool,
    one_by_one: bool,
) -> Vec<Duration> {
    let committed: Arc<Vec<OnceLock<Instant>>> = Arc::new((0..commits).map(|_| OnceLock::new()).collect());
    let (sender, mut arrived) = mpsc::unbounded_channel::<(usize, Instant)>();
    let mut readers = Vec::new();
    for repo in repos {
        let scope = Scope::Repo(if spread { *repo } else { repos[0] });
        let stream = events.hub.subscribe(Filter { scope, types: Vec::new() }, Start::Now).await.unwrap();
        let sender = sender.clone();
        readers.push(tokio::spawn(async move {
            let mut body = Box::pin(sse_body(stream, std::future::pending()));
            while let Some(Ok(frame)) = body.next().await {
                let now = Instant::now();
                let text = std::str::from_utf8(&frame).unwrap();
                let Some((_, rest)) = text.split_once("\"n\":") else { continue };
                sender.send((rest.split('}').next().unwrap().parse().unwrap(), now)).unwrap();
            }
        }));
    }
    let watchers = if spread { 1 } else { repos.len() };
    let mut found = Vec::new();
    let writers = if one_by_one { 1 } else { WRITERS };
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (pool, wake, committed, repos) = (pool.clone(), events.wake.clone(), committed.clone(), repos.to_vec());
            tokio::spawn(async move {
                for number in (writer..commits).step_by(writers) {
                    let event = NewEvent {
                        event_id: Uuid::now_v7(),
                        subject: "acme/x".into(),
                        repo_id: Some(if spread { repos[number % repos.len()] } else { repos[0] }),
                        event_type: "com.docstore.commit.created".into(),
                        payload: format!(r#"{{"specversion":"1.0","padding":"{}","n":{number}}}"#, "x".repeat(400)),
                    };
                    log_events(&pool, &[event]).await.unwrap();
                    committed[number].set(Instant::now()).unwrap();
                    wake.commit_happened();
                    if one_by_one {
                        // As a lone client would: not in step with the loops.
                        tokio::time::sleep(Duration::from_millis(15)).await;
                    }
                }
            })
        })
        .collect();
    while found.len() < commits * watchers {
        let (number, at) = arrived.recv().await.unwrap();
        // The frame may overtake the writer's own clock.
        found
            .push(committed[number].get().map_or(Duration::ZERO, |committed| at.saturating_duration_since(*committed)));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for reader in readers {
        reader.abort();
    }
    found.sort_unstable();
    found
}
