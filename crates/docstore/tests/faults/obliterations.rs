//! Contents that are obliterated while others bring, move and read them, and by a server that is killed meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use docstore_database::{
    Pool,
    testing::{TableWatch, TestDatabase},
};
use docstore_test_support::TestApp;
use futures::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    invariants,
    process::{ServerProcess, ServerSettings},
    support::{Repo, file, noise, outcome_of, sha256_hex},
};

/// The rows of a content that hold its bytes, or say where they are, and those that could be committed by their hash.
async fn rows_left(pool: &Pool, hash: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM contents c
                LEFT JOIN content_bytes b ON b.content_id = c.id
                WHERE c.content_hash = decode($1, 'hex')
                    AND (b.content_id IS NOT NULL OR c.blob_key IS NOT NULL OR NOT c.obliterated))
            + (SELECT count(*) FROM content_bytes WHERE sha256(bytes) = decode($1, 'hex'))",
    )
    .bind(hash)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Whoever brings the same bytes meanwhile, or moves them from branch to branch, does so before and they go, or is refused.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_brings_or_moves_the_bytes_meanwhile_comes_before_or_is_refused() {
    let app = TestApp::start().await;
    let repo = Repo::create(app.admin(), "leaky").await;
    let pool = app.pool().await;
    for round in 0..12_u64 {
        // Every other one lies in the blob store.
        let leak = noise(round, if round % 2 == 0 { 100 } else { 20_000 });
        let hash = sha256_hex(&leak);
        let name = |what: &str| format!("{what}{round}");
        repo.commit("main", "the base", &[file(&name("env"), b"clean")]).await.expect(201);
        for branch in ["merged", "rebased", "written"] {
            repo.create_branch(&name(branch)).await.expect(201);
        }
        for branch in ["merged", "rebased"] {
            repo.commit(&name(branch), "the leak", &[file(&name(branch), &leak)]).await.expect(201);
        }
        repo.commit("main", "moves on", &[file(&name("b"), b"2")]).await.expect(201);
        let obliterating = async {
            let answer = repo.post("obliterations", &json!({"content_hash": hash, "reason": "a leak"})).await;
            (vec!["201"], answer)
        };
        let committing = async {
            let answer = repo.commit(&name("written"), "again", &[file(&name("again"), &leak)]).await;
            (vec!["201", "409 CONTENT_REFUSED"], answer)
        };
        let naming = async {
            let named = json!({"path": name("named"), "content_hash": hash});
            (vec!["201", "409 CONTENT_REFUSED", "409 HEAD_MOVED"], repo.commit("main", "by hash", &[named]).await)
        };
        // Rows of the history are moved with their hash, whatever became of the bytes.
        let merging = async { (vec!["200"], repo.post("merge", &json!({"branch": name("merged")})).await) };
        let rebasing = async { (vec!["200"], repo.post("rebase", &json!({"branch": name("rebased")})).await) };
        let uploading = async { (vec!["200", "201", "409 CONTENT_REFUSED"], repo.upload(&leak).await) };
        let reading = async {
            let path = format!("file/{}?format=raw&branch={}", name("merged"), name("merged"));
            let response = repo.person.request(reqwest::Method::GET, &repo.path(&path)).send().await.unwrap();
            let status = response.status().as_u16();
            let bytes = response.bytes().await.unwrap();
            assert!(status == 410 || (status == 200 && bytes == leak), "{status}, {} bytes", bytes.len());
        };
        let (a, b, c, d, e, f, ()) =
            futures::join!(obliterating, committing, naming, merging, rebasing, uploading, reading);
        for (expected, answer) in [a, b, c, d, e, f] {
            let outcome = outcome_of(&answer);
            assert!(expected.contains(&outcome.as_str()), "{outcome}, one of {expected:?} is right: {}", answer.text);
        }
        assert_eq!(rows_left(&pool, &hash).await, 0, "in round {round}");
        // Whoever comes later is refused, and the history is what it was.
        assert_eq!(outcome_of(&repo.upload(&leak).await), "409 CONTENT_REFUSED");
        let tree = repo.tree("main").await;
        assert_eq!(tree.get(&name("merged")), Some(&hash));
        repo.verified_chains().await;
    }
    invariants::check(&pool, app.blobs()).await;
}

/// A server that is killed at any instant of an obliteration has done all of it or nothing, and what it has done is finished
/// after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_no_half_of_an_obliteration() {
    const ROUNDS: u64 = 8;
    const LEAKS: u64 = 6;
    let database = TestDatabase::create().await;
    let (blobs, pool) = (tempfile::tempdir().unwrap(), database.pool().await);
    // What is on the list of deletions goes in the next round of clearing away.
    let settings = ServerSettings::new(database.settings().url.expose_secret(), blobs.path())
        .with("DOCSTORE_MAINTENANCE_SECONDS", "1");
    let mut server = ServerProcess::start(settings).await;
    let mut acknowledged: Vec<String> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    Repo::create(server.admin(), "leaky").await;
    let mut marks = TableWatch::on(&pool, "obliterations").await;
    for round in 0..ROUNDS {
        let repo = Repo::new(server.admin(), "default/leaky");
        let leaks: Vec<Vec<u8>> =
            (0..LEAKS).map(|n| noise(round * LEAKS + n, if n % 2 == 0 { 20_000 } else { 300 })).collect();
        let files: Vec<Value> = leaks.iter().enumerate().map(|(n, leak)| file(&format!("{round}/{n}"), leak)).collect();
        repo.commit("main", "leaks", &files).await.expect(201);
        let hashes: Vec<String> = leaks.iter().map(|leak| sha256_hex(leak)).collect();
        asked.extend(hashes.iter().cloned());
        let killed = Arc::new(AtomicBool::new(false));
        let obliterating = join_all(hashes.iter().map(|hash| {
            let (repo, killed, hash) = (repo.clone(), Arc::clone(&killed), hash.clone());
            async move {
                let body = json!({"content_hash": hash, "reason": "a leak"});
                let path = repo.path("obliterations");
                let sent = repo.person.request(reqwest::Method::POST, &path).body(body.to_string()).send().await;
                match sent {
                    Ok(response) if response.status() == 201 => Some(hash),
                    Ok(response) => panic!("{}", response.status()),
                    Err(error) => {
                        assert!(killed.load(Ordering::Relaxed), "{error}");
                        None
                    }
                }
            }
        }));
        // Killed as soon as so many of them are committed, at another point in each round.
        let wanted = acknowledged.len() as u64 + round % LEAKS;
        let killing = async {
            marks.until(&format!("SELECT count(*) >= {wanted} FROM obliterations")).await;
            killed.store(true, Ordering::Relaxed);
            server.kill();
        };
        let (answers, ()) = futures::join!(obliterating, killing);
        acknowledged.extend(answers.into_iter().flatten());
        server.start_again().await;
        // What was committed and not acknowledged counts as well.
        let marked: Vec<String> =
            sqlx::query_scalar("SELECT encode(content_hash, 'hex') FROM obliterations").fetch_all(&pool).await.unwrap();
        assert!(acknowledged.iter().all(|hash| marked.contains(hash)), "what was acknowledged is not there");
        acknowledged = marked;
    }
    let repo = Repo::new(server.admin(), "default/leaky");
    let the_blobs_are_gone = "SELECT count(*) = 0 FROM blob_deletions";
    TableWatch::on(&pool, "blob_deletions").await.until(the_blobs_are_gone).await;
    for hash in &asked {
        let whole: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM contents WHERE content_hash = decode($1, 'hex') AND NOT obliterated",
        )
        .bind(hash)
        .fetch_one(&pool)
        .await
        .unwrap();
        if acknowledged.contains(hash) {
            assert_eq!(rows_left(&pool, hash).await, 0);
        } else {
            assert_eq!(whole, 1, "half of it is gone");
        }
    }
    invariants::check(&pool, blobs.path()).await;
    repo.verified_chains().await;
    let events: i64 =
        sqlx::query_scalar("SELECT count(*) FROM event_log WHERE type = 'com.docstore.content.obliterated'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(events).unwrap(), acknowledged.len(), "each is told of");
    assert!(!acknowledged.is_empty());
}
