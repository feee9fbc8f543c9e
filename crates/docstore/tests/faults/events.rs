//! Streams of events over two servers, of which one or the other is killed, while transactions commit out of order: who
//! reconnects with the last id seen gets every event once, in one order.

use std::sync::{Arc, Mutex};

use docstore_database::{
    Pool,
    event_log::{NewEvent, log_events},
    testing::{TableWatch, TestDatabase},
};
use docstore_test_support::{ADMIN, Person};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::types::Uuid;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    process::{ServerProcess, ServerSettings},
    support::{Repo, file, in_time},
};

const WRITERS: usize = 4;
const COMMITS_EACH: usize = 30;
const READERS: usize = 6;

/// Where both servers are now.
type Addresses = [Arc<Mutex<String>>; 2];

/// An event as it came: its place, and its bytes.
type Received = (i64, String);

/// Somebody who follows a stream, on one server and then on the other, and hangs up now and then.
struct Reader {
    http: reqwest::Client,
    addresses: Addresses,
    path: &'static str,
    /// After how many events it hangs up.
    patience: usize,
    connections: usize,
    received: Vec<Received>,
}

impl Reader {
    /// Follows until the event at a position has come, which is known in the end.
    async fn follow(mut self, mut end: watch::Receiver<Option<i64>>) -> Vec<Received> {
        loop {
            self.connections += 1;
            let address = self.addresses[self.connections % 2].lock().unwrap().clone();
            let request = self.http.request(Method::GET, address + self.path);
            let last = self.received.last().map(|(position, _)| position.to_string());
            // Every other time it names the last one as browsers do, else as the contract's clients do.
            let request: RequestBuilder = match last {
                None => request.query(&[("since_seq", "0")]),
                Some(last) if (self.connections / 2).is_multiple_of(2) => request.header("Last-Event-ID", last),
                Some(last) => request.query(&[("since_seq", last)]),
            };
            // A server that was killed refuses; the other one does not.
            let Ok(response) = request.send().await else { continue };
            assert_eq!(response.status(), 200);
            let known = *end.borrow_and_update();
            let reading = read(response, self.patience, known, &mut self.received);
            tokio::select! {
                () = reading => {}
                // What came meanwhile is in the list already; the rest comes with the next connection.
                _ = end.changed() => {}
            }
            let known = *end.borrow();
            if has_come(known, &self.received) {
                return self.received;
            }
        }
    }
}

/// Whether the last event that there will be is known, and has come.
fn has_come(end: Option<i64>, received: &[Received]) -> bool {
    end.is_some_and(|end| received.last().is_some_and(|(position, _)| *position >= end))
}

/// Reads so many events, or as many as come before the connection breaks, and none behind the last one.
async fn read(mut response: Response, count: usize, end: Option<i64>, received: &mut Vec<Received>) {
    let mut text = Vec::new();
    let mut left = count;
    while left > 0 && !has_come(end, received) {
        let Ok(Some(chunk)) = response.chunk().await else { return };
        text.extend_from_slice(&chunk);
        while let Some(length) = text.windows(2).position(|pair| pair == b"\n\n") {
            let frame = String::from_utf8(text.drain(..length + 2).collect()).unwrap();
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            // Comments keep the connection alive.
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                received.push((id.parse().unwrap(), data));
                left = left.saturating_sub(1);
            }
        }
    }
}

/// Commits until all of its commits are there, on whichever server answers.
async fn write(addresses: Addresses, writer: usize, done: watch::Sender<usize>) {
    let people = || addresses.clone().map(|address| Person::new(&address.lock().unwrap(), ADMIN));
    let mut both = people();
    for number in 0..COMMITS_EACH {
        let path = format!("of{writer}/{number}");
        let body = json!({"branch": "main", "message": path, "files": [file(&path, b"x")]});
        for attempt in 0.. {
            let request = both[(writer + attempt) % 2].request(Method::POST, "/repos/default/default/-/commit");
            match request.header("Idempotency-Key", &path).body(body.to_string()).send().await {
                Ok(answer) if answer.status() == 201 => break,
                Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap()),
                Err(_) => both = people(),
            }
        }
        done.send_modify(|done| *done += 1);
    }
}

/// Transactions that log their events in one order and commit in the other one.
async fn commit_out_of_order(pool: Pool, repo_id: i64) {
    for round in 0..30 {
        let mut open = Vec::new();
        for place in 0..3 {
            let mut transaction = docstore_database::begin(&pool).await.unwrap();
            let event = NewEvent {
                event_id: Uuid::now_v7(),
                subject: "default/default".to_owned(),
                repo_id: Some(repo_id),
                event_type: "com.docstore.test".to_owned(),
                payload: json!({"round": round, "place": place}).to_string(),
            };
            log_events(&mut *transaction, &[event]).await.unwrap();
            open.push(transaction);
        }
        while let Some(transaction) = open.pop() {
            docstore_database::commit(transaction).await.unwrap();
        }
    }
}

async fn logged(pool: &Pool, repo_id: Option<i64>) -> Vec<Received> {
    let query = "SELECT position, payload FROM event_log WHERE $1::bigint IS NULL OR repo_id = $1 ORDER BY position";
    sqlx::query_as(query).bind(repo_id).fetch_all(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_an_event_or_sees_one_twice() {
    let database = TestDatabase::create().await;
    let (blobs, pool) = (tempfile::tempdir().unwrap(), database.pool().await);
    let settings = ServerSettings::new(database.settings().url.expose_secret(), blobs.path())
        // So that streams come from memory and from the database.
        .with("DOCSTORE_EVENT_RING_EVENTS", "16")
        // So that what a killed server left without a position is found soon.
        .with("DOCSTORE_EVENT_SEQUENCE_SECONDS", "1");
    let mut servers = [ServerProcess::start(settings.clone()).await, ServerProcess::start(settings).await];
    let addresses = [0, 1].map(|server: usize| Arc::clone(&servers[server].address));
    let repo_id: i64 =
        sqlx::query_scalar("SELECT id FROM repos WHERE name = 'default/default'").fetch_one(&pool).await.unwrap();
    // Another repo, whose events are none of those who watch the first one.
    let other = Repo::create(servers[0].admin(), "other").await;

    let (end, ends): (Vec<_>, Vec<_>) = (0..READERS).map(|_| watch::channel(None)).unzip();
    let mut readers = JoinSet::new();
    for (number, end) in ends.into_iter().enumerate() {
        let reader = Reader {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            addresses: addresses.clone(),
            path: if number.is_multiple_of(2) { "/events" } else { "/repos/default/default/-/events" },
            patience: 5 + 7 * number,
            connections: number,
            received: Vec::new(),
        };
        readers.spawn(async move { (number, reader.follow(end).await) });
    }
    let (done, mut count) = watch::channel(0);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(addresses.clone(), writer, done.clone()));
    }
    writers.spawn(commit_out_of_order(pool.clone(), repo_id));

    // Each server is killed twice; the other one goes on.
    for round in 1..=4 {
        let come_so_far = count.wait_for(|count| *count >= round * WRITERS * COMMITS_EACH / 5);
        in_time("the writers have come so far", come_so_far).await.unwrap();
        servers[round % 2].kill();
        Repo::new(servers[(round + 1) % 2].admin(), &other.name)
            .commit("main", "m", &[file("f", b"f")])
            .await
            .expect(201);
        servers[round % 2].start_again().await;
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let all_have_positions = "SELECT count(*) = 0 FROM event_log WHERE position IS NULL";
    TableWatch::on(&pool, "event_log").await.until(all_have_positions).await;

    let whole = logged(&pool, None).await;
    let of_repo = logged(&pool, Some(repo_id)).await;
    assert!(of_repo.len() >= WRITERS * COMMITS_EACH + 90 && of_repo.len() < whole.len());
    let expected = |number: usize| if number.is_multiple_of(2) { &whole } else { &of_repo };
    for (number, end) in end.iter().enumerate() {
        end.send_replace(expected(number).last().map(|(position, _)| *position));
    }
    while let Some(reader) = readers.join_next().await {
        let (number, received) = reader.unwrap();
        let places = |events: &[Received]| events.iter().map(|(position, _)| *position).collect::<Vec<_>>();
        assert_eq!(places(&received), places(expected(number)), "reader {number}");
        assert_eq!(received, *expected(number), "reader {number}");
    }
}
