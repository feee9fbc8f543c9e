//! Reading while others write: what is read is of one moment, or the reading fails.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use docstore_auth::{Caller, Via};
use docstore_history::ChainVerifier;
use docstore_models::{ChainEntry, Identity};
use docstore_operations::Reader;
use docstore_test_support::{ADMIN, Person};
use futures::StreamExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{file, outcome_of, sha256_hex};

use super::{app_and_repo, check, operations};

/// More files than an archive reads at once.
const MANY: usize = 2100;

/// How many entries of a chain are read at once.
const PAGE: usize = 500;

/// Starts a download as it is, neither compressed nor read.
async fn download(person: &Person, path: &str) -> Response {
    person.request(Method::GET, path).header("Accept-Encoding", "identity").send().await.unwrap()
}

/// Path and content of every file of an archive.
fn unpacked(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        files.insert(String::from_utf8(entry.path_bytes().into_owned()).unwrap(), content);
    }
    files
}

/// Each commit writes the first and the last file of the tree; an archive holds both of one commit.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_of_one_commit() {
    let (app, repo) = app_and_repo().await;
    let filler: Vec<Value> = (0..MANY).map(|number| file(&format!("m/{number}"), b"filler")).collect();
    repo.commit("main", "filler", &filler).await.expect(201);
    let pair = |number: usize| {
        let bytes = number.to_string().into_bytes();
        [file("a", &bytes), file("z", &bytes)]
    };
    repo.commit("main", "0", &pair(0)).await.expect(201);
    let done = Arc::new(AtomicBool::new(false));
    let committing = {
        let (repo, done) = (repo.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            for number in 1.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                repo.commit("main", "again", &pair(number)).await.expect(201);
            }
        })
    };
    let mut by_tag: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for _ in 0..20 {
        let response = download(&repo.person, &repo.path("archive?branch=main")).await;
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let files = unpacked(&response.bytes().await.unwrap());
        assert_eq!(files.len(), MANY + 2);
        assert_eq!(files["a"], files["z"], "the archive is of two commits");
        assert_eq!(*by_tag.entry(tag).or_insert_with(|| files["a"].clone()), files["a"], "one tag, two trees");
    }
    done.store(true, Ordering::Relaxed);
    committing.await.unwrap();
    check(&app, &repo).await;
}

/// Who downloads what is being removed gets all of it or a broken connection, never a part that looks like the whole.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_what_is_removed_is_whole_or_broken_off() {
    let (app, repo) = app_and_repo().await;
    // More than the buffers between server and client hold.
    let bytes = vec![b'x'; 4000];
    repo.upload(&bytes).await.expect(201);
    let hash = sha256_hex(&bytes);
    let files: Vec<Value> =
        (0..3 * MANY).map(|number| json!({"path": format!("f{number}"), "content_hash": hash})).collect();
    repo.create_branch("doomed").await.expect(201);
    repo.commit("doomed", "much", &files).await.expect(201);
    repo.abandon("doomed").await.expect(204);
    sqlx::query("UPDATE branches SET created_at = created_at - interval '9 days' WHERE name = 'doomed'")
        .execute(&app.pool().await)
        .await
        .unwrap();
    sqlx::query("UPDATE commits SET created_at = created_at - interval '9 days'")
        .execute(&app.pool().await)
        .await
        .unwrap();
    let mut response = download(&repo.person, &repo.path("archive?branch=doomed")).await;
    assert_eq!(response.status(), 200);
    let mut bytes = response.chunk().await.unwrap().unwrap().to_vec();
    assert_eq!(repo.post("purge", &json!({"older_than": "8d"})).await.expect(200)["branches_purged"], 1);
    // Somebody takes the name for a branch with other files.
    repo.create_branch("doomed").await.expect(201);
    let broken = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken || unpacked(&bytes).len() == files.len(), "a part of the archive looked like the whole");
    assert!(broken, "the archive was in the buffers already; the test has to be larger");
    assert_eq!(outcome_of(&repo.get("archive?branch=doomed").await), "200");
}

/// Whoever reads the chains of all branches while they grow can verify what comes: a commit that had its number early and
/// became visible late is not left out from the middle of its branch.
#[tokio::test(flavor = "multi_thread")]
async fn chains_have_no_gaps_while_they_grow() {
    let (app, repo) = app_and_repo().await;
    let (operations, pool) = (operations(&app).await, app.pool().await);
    let caller = Caller::for_test(Identity::parse(ADMIN).unwrap(), Via::Development);
    let reader: Reader = operations.access(&caller, &repo.name).await.unwrap().try_into().unwrap();
    for branch in ["late", "early"] {
        repo.create_branch(branch).await.expect(201);
    }
    let commits: Vec<Value> = (0..PAGE - 1)
        .map(|number| json!({"author": "a@b", "message": "", "imported_from": format!("git:{number}"), "files": []}))
        .collect();
    repo.post("import", &json!({"branch": "early", "commits": commits})).await.expect(201);
    repo.upload(b"locked").await.expect(201);
    // One commit has its number and waits for a content that somebody holds.
    let mut holder = docstore_database::begin(&pool).await.unwrap();
    sqlx::query("SELECT FROM contents FOR UPDATE").execute(&mut *holder).await.unwrap();
    let waiting = {
        let (repo, locked) = (repo.clone(), json!({"path": "f", "content_hash": sha256_hex(b"locked")}));
        tokio::spawn(async move { repo.commit("late", "first", &[locked]).await })
    };
    let blocked =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&pool).await.unwrap() == 0 {}
    repo.commit("early", "the last of the first page", &[json!({"path": "gone"})]).await.expect(201);
    let mut chain = pin!(operations.chain(&reader, None, 0, i64::MAX, None).unwrap());
    let mut entries: Vec<ChainEntry> = Vec::new();
    while entries.len() < PAGE {
        entries.push(chain.next().await.unwrap().unwrap());
    }
    docstore_database::commit(holder).await.unwrap();
    waiting.await.unwrap().expect(201);
    repo.commit("late", "second", &[json!({"path": "gone"})]).await.expect(201);
    while let Some(entry) = chain.next().await {
        entries.push(entry.unwrap());
    }
    for branch in ["late", "early"] {
        let mut verifier = ChainVerifier::from_genesis(&repo.name, branch);
        for entry in &entries {
            assert_eq!(verifier.check(entry), Ok(true));
        }
    }
    assert_eq!(repo.verified_chains().await["late"].len(), 2);
    check(&app, &repo).await;
}
