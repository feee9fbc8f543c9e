//! A large file goes in and out, and the server's memory does not grow with it; nor is what a commit carries sent at once.

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use docstore_database::testing::TestDatabase;
use docstore_test_support::TestApp;
use futures::stream;
use reqwest::{Method, Response};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    invariants,
    process::{ServerProcess, ServerSettings},
    support::{Repo, file, noise, sha256_hex},
};

const MIB: usize = 1024 * 1024;

const LARGE_BYTES: usize = 256 * MIB;

/// Far more than an upload and a download hold at a time, and far less than the file.
const GROWTH_BYTES_MAX: usize = 64 * MIB;

const PIECE_BYTES: usize = 256 * 1024;

/// So many bytes in pieces that do not compress. Each differs from the one before by its beginning, so that making them
/// costs next to nothing.
fn pieces(length: usize) -> impl Iterator<Item = Bytes> + Send {
    let mut piece = noise(1, PIECE_BYTES);
    (0..length / PIECE_BYTES).map(move |number| {
        piece[..8].copy_from_slice(&number.to_be_bytes());
        Bytes::copy_from_slice(&piece)
    })
}

/// Reads an answer to its end; gives the SHA-256 of a part of it, as of a file in an archive.
async fn hash_of(mut answer: Response, skip: usize, length: usize) -> String {
    assert_eq!(answer.status(), 200);
    let (mut hasher, mut at) = (Sha256::new(), 0);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        let within = |place: usize| place.saturating_sub(at).min(chunk.len());
        hasher.update(&chunk[within(skip)..within(skip + length)]);
        at += chunk.len();
    }
    assert!(at >= skip + length, "the answer has {at} bytes only");
    hex::encode(hasher.finalize())
}

/// Takes a file of this length in as a stream, commits it, and gets it back: as it is, and in an archive.
async fn in_and_out(repo: &Repo, length: usize) {
    let mut hasher = Sha256::new();
    pieces(length).for_each(|piece| hasher.update(&piece));
    let hash = hex::encode(hasher.finalize());
    let body = reqwest::Body::wrap_stream(stream::iter(pieces(length).map(Ok::<_, io::Error>)));
    let path = repo.path(&format!("contents/{hash}"));
    let uploaded = repo.person.request(Method::PUT, &path).body(body).send().await.unwrap();
    assert_eq!(uploaded.status(), 201);
    let file = json!({"path": "large.bin", "content_hash": hash});
    repo.commit("main", "a large file", &[file]).await.expect(201);
    let get = async |endpoint: &str| repo.person.request(Method::GET, &repo.path(endpoint)).send().await.unwrap();
    assert_eq!(hash_of(get("file/large.bin?format=raw").await, 0, length).await, hash);
    // Behind the header of its one file.
    assert_eq!(hash_of(get("archive?branch=main").await, 512, length).await, hash);
}

/// A field of the process's status, in bytes.
fn memory(server: &ServerProcess, field: &str) -> usize {
    let status = std::fs::read_to_string(server.proc("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_a_file() {
    let database = TestDatabase::create().await;
    let blobs = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(ServerSettings::new(database.settings().url.expose_secret(), blobs.path())).await;
    // So that what is there once, whatever comes, is there before: code, pools, buffers.
    in_and_out(&Repo::create(server.admin(), "warm").await, 4 * MIB).await;
    // proc(5): 5 resets the peak to what is resident now.
    std::fs::write(server.proc("clear_refs"), "5").unwrap();
    let before = memory(&server, "VmRSS");
    in_and_out(&Repo::create(server.admin(), "large").await, LARGE_BYTES).await;
    let (after, peak) = (memory(&server, "VmRSS"), memory(&server, "VmHWM"));
    assert!(peak.max(after) - before < GROWTH_BYTES_MAX, "before {before}, after {after}, at most {peak}");
}

/// A statement that is sent has several times its parameters in memory, so that none may take all that a commit carries. Rows
/// that one transaction stored know by which of its statements.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_takes_more_than_its_part_of_what_a_commit_carries() {
    const FILES: u64 = 1_400;
    // All of them stay in the database.
    const FILE_BYTES: usize = 4096;
    const STATEMENT_BYTES: i64 = 2 * MIB as i64;
    let app = TestApp::start().await;
    let repo = Repo::create(app.admin(), "large").await;
    let files: Vec<_> = (0..FILES).map(|number| (format!("f{number}"), noise(number, FILE_BYTES))).collect();
    let changes: Vec<_> = files.iter().map(|(path, bytes)| file(path, bytes)).collect();
    repo.commit("main", "many files", &changes).await.expect(201);
    let statements: Vec<i64> =
        sqlx::query_scalar("SELECT sum(size)::bigint FROM contents GROUP BY xmin::text, cmin::text")
            .fetch_all(&app.pool().await)
            .await
            .unwrap();
    assert_eq!(statements.iter().sum::<i64>(), FILES as i64 * FILE_BYTES as i64);
    assert!(statements.iter().all(|bytes| *bytes <= STATEMENT_BYTES), "{statements:?}");
    let hashes: BTreeMap<String, String> =
        files.iter().map(|(path, bytes)| (path.clone(), sha256_hex(bytes))).collect();
    let tree = repo.get(&format!("tree?limit={FILES}")).await.expect(200);
    let found =
        tree.as_array().unwrap().iter().map(|entry| {
            (entry["path"].as_str().unwrap().to_owned(), entry["content_hash"].as_str().unwrap().to_owned())
        });
    assert_eq!(found.collect::<BTreeMap<_, _>>(), hashes);
    invariants::check(&app.pool().await, app.blobs()).await;
}
