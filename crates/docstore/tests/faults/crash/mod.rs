//! Server and database are killed in the middle of sixteen clients committing: what was acknowledged is there, nothing
//! half done is, a request that is sent again has one effect, and everything goes on by itself.

mod outcomes;
mod postgres;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use docstore_database::testing::TableWatch;
use docstore_test_support::{ADMIN, Person};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet};

use self::postgres::PrivatePostgres;
use crate::{
    invariants,
    process::{ServerProcess, ServerSettings},
    support::{Repo, escaped, file, in_time, sha256_hex},
};

const CLIENTS: usize = 16;
const COMMITS_EACH: usize = 12;

/// How long a client waits for one answer: longer than the server waits for a database.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients know, all together.
#[derive(Default)]
struct Known {
    acknowledged: Vec<Acknowledged>,
    /// Commits, by message, of which nothing is known: they may be there or not.
    unknown: BTreeSet<String>,
    /// Commits that were refused: they must not be there.
    refused: BTreeSet<String>,
    /// How often a connection broke, by the word of the refusal or `broken`.
    interruptions: BTreeMap<String, usize>,
}

struct Acknowledged {
    sequence: i64,
    branch: String,
    message: String,
    files: Vec<(String, Vec<u8>)>,
}

/// The clients and what they share.
#[derive(Clone)]
struct Crowd {
    address: Arc<Mutex<String>>,
    known: Arc<Mutex<Known>>,
    /// How many commits were acknowledged.
    done: watch::Sender<usize>,
    /// Whether everything runs. What was interrupted is taken up again then, and not before.
    runs: watch::Sender<bool>,
}

impl Crowd {
    fn new(address: Arc<Mutex<String>>) -> Self {
        Self { address, known: Arc::default(), done: watch::Sender::new(0), runs: watch::Sender::new(true) }
    }

    /// Starts all clients.
    fn start(&self) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let crowd = self.clone();
            clients.spawn(async move { crowd.client(number).await });
        }
        clients
    }

    /// Waits until so many commits were acknowledged.
    async fn reached(&self, done: usize) {
        let mut count = self.done.subscribe();
        in_time("the clients have come so far", count.wait_for(|count| *count >= done)).await.unwrap();
    }

    /// Says whether everything runs.
    fn say_it_runs(&self, runs: bool) {
        self.runs.send_replace(runs);
    }

    /// Half of the clients share a branch. Three of four send a commit again, under the same key, until it is
    /// acknowledged; the others go on with the next one.
    async fn client(&self, number: usize) {
        let branch = branch_of(number);
        for round in 0..COMMITS_EACH {
            let message = format!("commit {round} of client {number}");
            let files = files_of(number, round);
            let entries: Vec<Value> = files.iter().map(|(path, bytes)| file(path, bytes)).collect();
            let body = json!({"branch": branch, "message": message, "files": entries});
            let key = (number % 4 != 3).then(|| format!("{number}-{round}"));
            loop {
                match self.send(&body, key.as_deref()).await {
                    Sent::Committed(sequence) => {
                        let branch = branch.clone();
                        self.known.lock().unwrap().acknowledged.push(Acknowledged { sequence, branch, message, files });
                        self.done.send_modify(|done| *done += 1);
                        break;
                    }
                    Sent::Interrupted(word) => {
                        let refused = word == "SERVICE_UNAVAILABLE";
                        *self.known.lock().unwrap().interruptions.entry(word).or_default() += 1;
                        in_time("everything runs", self.runs.subscribe().wait_for(|runs| *runs)).await.unwrap();
                        if key.is_none() {
                            let mut known = self.known.lock().unwrap();
                            if refused {
                                known.refused.insert(message)
                            } else {
                                known.unknown.insert(message)
                            };
                            break;
                        }
                    }
                }
            }
        }
    }

    fn person(&self) -> Person {
        Person::new(&self.address.lock().unwrap(), ADMIN)
    }

    async fn send(&self, body: &Value, key: Option<&str>) -> Sent {
        let request = self.person().request(Method::POST, "/repos/default/default/-/commit").timeout(PATIENCE);
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let broken = || Sent::Interrupted("broken".to_owned());
        let Ok(response) = request.body(body.to_string()).send().await else { return broken() };
        let status = response.status();
        let Ok(text) = response.text().await else { return broken() };
        let answer: Value = serde_json::from_str(&text).unwrap();
        match status {
            StatusCode::CREATED => Sent::Committed(answer["sequence"].as_i64().unwrap()),
            StatusCode::SERVICE_UNAVAILABLE => Sent::Interrupted(answer["code"].as_str().unwrap().to_owned()),
            other => panic!("{other}: {text}"),
        }
    }
}

enum Sent {
    Committed(i64),
    Interrupted(String),
}

fn branch_of(client: usize) -> String {
    if client.is_multiple_of(2) { "shared".to_owned() } else { format!("own{client}") }
}

/// One file for the database, one for the blob store, and one that each client writes again and again.
fn files_of(client: usize, round: usize) -> Vec<(String, Vec<u8>)> {
    let name = format!("{client}.{round} ");
    vec![
        (format!("c{client}/{round}.small"), name.clone().into_bytes()),
        (format!("c{client}/{round}.large"), name.repeat(2000).into_bytes()),
        (format!("c{client}/again"), name.into_bytes()),
    ]
}

/// A server, a database, and what the clients commit to.
struct Scene {
    postgres: PrivatePostgres,
    server: ServerProcess,
    blobs: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let postgres = PrivatePostgres::start().await;
        let blobs = tempfile::tempdir().unwrap();
        let settings = ServerSettings::new(&postgres.url(), blobs.path())
            // So that a request that finds the database gone is answered soon.
            .with("DOCSTORE_DATABASE_ACQUIRE_SECONDS", "2");
        let server = ServerProcess::start(settings).await;
        let repo = Repo::new(server.admin(), "default/default");
        repo.commit("main", "the start", &[file("main", b"main")]).await.expect(201);
        for client in 0..CLIENTS {
            let answer = repo.create_branch(&branch_of(client)).await;
            assert!([201, 409].contains(&answer.status.as_u16()), "{}", answer.text);
        }
        Self { postgres, server, blobs }
    }

    /// Everything that was acknowledged is there, with its bytes; of the rest all or nothing; nothing twice.
    async fn check(&self, crowd: &Crowd) {
        let known = std::mem::take(&mut *crowd.known.lock().unwrap());
        assert!(!known.interruptions.is_empty(), "nobody was interrupted");
        let repo = Repo::new(self.server.admin(), "default/default");
        let chains = repo.verified_chains().await;
        let mut present = BTreeMap::new();
        for entry in chains.iter().filter(|(branch, _)| *branch != "main").flat_map(|(_, entries)| entries) {
            assert_eq!(present.insert(entry.message.clone(), entry), None, "'{}' is there twice", entry.message);
        }
        for Acknowledged { sequence, branch, message, files } in &known.acknowledged {
            let entry = present.remove(message).unwrap_or_else(|| panic!("'{message}' was acknowledged and is lost"));
            assert_eq!((entry.sequence, &entry.branch), (*sequence, branch));
            let hashes: BTreeMap<&str, String> =
                files.iter().map(|(path, bytes)| (path.as_str(), sha256_hex(bytes))).collect();
            let listed: BTreeMap<&str, String> =
                entry.files.iter().map(|file| (file.path.as_str(), file.content_hash.clone())).collect();
            assert_eq!(listed, hashes, "of '{message}'");
            for (path, bytes) in files {
                let endpoint = format!("file/{}?format=raw&branch={branch}&at={sequence}", escaped(path));
                let response = repo.person.request(Method::GET, &repo.path(&endpoint)).send().await.unwrap();
                assert_eq!(response.bytes().await.unwrap(), bytes, "{path} of '{message}'");
            }
        }
        for message in present.keys() {
            assert!(!known.refused.contains(message), "'{message}' was refused and is there");
            assert!(known.unknown.contains(message), "'{message}' is there and nobody made it");
        }
        assert_eq!(self.server.admin().get("/readyz").await.status, StatusCode::OK);
        // Every client with keys got all its commits acknowledged in the end.
        assert!(known.acknowledged.len() >= CLIENTS / 4 * 3 * COMMITS_EACH);
        let pool = self.postgres.pool().await;
        let all_have_positions = "SELECT count(*) = 0 FROM event_log WHERE position IS NULL";
        TableWatch::on(&pool, "event_log").await.until(all_have_positions).await;
        invariants::check(&pool, self.blobs.path()).await;
        let log = self.server.log();
        let panics: Vec<&String> = log.iter().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_killed_while_sixteen_commit() {
    let mut scene = Scene::set().await;
    let crowd = Crowd::new(Arc::clone(&scene.server.address));
    let mut clients = crowd.start();
    for round in 1..=3 {
        crowd.reached(round * CLIENTS * COMMITS_EACH / 5).await;
        crowd.say_it_runs(false);
        scene.server.kill();
        scene.server.start_again().await;
        crowd.say_it_runs(true);
        let uploads = std::fs::read_dir(scene.blobs.path().join(".uploads")).unwrap().count();
        assert!(uploads <= CLIENTS, "what the killed server was writing is still there");
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    scene.check(&crowd).await;
    let uploads = std::fs::read_dir(scene.blobs.path().join(".uploads")).unwrap().count();
    assert_eq!(uploads, 0, "unfinished blobs are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_killed_while_sixteen_commit() {
    let mut scene = Scene::set().await;
    let crowd = Crowd::new(Arc::clone(&scene.server.address));
    let mut clients = crowd.start();
    for round in 1..=3 {
        crowd.reached(round * CLIENTS * COMMITS_EACH / 5).await;
        crowd.say_it_runs(false);
        if round == 2 {
            scene.postgres.stop_immediately();
        } else {
            scene.postgres.kill().await;
        }
        // The server lives, and knows that it is of no use.
        let person = scene.server.admin();
        assert_eq!(person.get("/healthz").await.status, StatusCode::OK);
        assert_eq!(person.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
        scene.postgres.start_again().await;
        crowd.say_it_runs(true);
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let broken = crowd.known.lock().unwrap().interruptions.get("broken").copied();
    assert_eq!(broken, None, "the server did not answer");
    scene.check(&crowd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_and_database_are_killed_at_once() {
    let mut scene = Scene::set().await;
    let crowd = Crowd::new(Arc::clone(&scene.server.address));
    let mut clients = crowd.start();
    crowd.reached(CLIENTS * COMMITS_EACH / 2).await;
    crowd.say_it_runs(false);
    scene.postgres.kill().await;
    scene.server.kill();
    scene.postgres.start_again().await;
    scene.server.start_again().await;
    crowd.say_it_runs(true);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    scene.check(&crowd).await;
}
