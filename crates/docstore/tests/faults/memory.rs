//! A large file goes in and out, and the server's memory does not grow with it.

use std::io;

use bytes::Bytes;
use docstore_database::testing::TestDatabase;
use futures::stream;
use reqwest::{Method, Response};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
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

/// Contents inside a commit are in memory, and once more as base64 while they are read, but not once more for each step on
/// their way to the database.
#[tokio::test(flavor = "multi_thread")]
async fn memory_grows_with_what_a_commit_carries_and_not_with_its_way() {
    const FILES: usize = 320;
    const FILE_BYTES: usize = MIB / 8;
    let database = TestDatabase::create().await;
    let blobs = tempfile::tempdir().unwrap();
    // All of them stay in the database.
    let settings = ServerSettings::new(database.settings().url.expose_secret(), blobs.path())
        .with("DOCSTORE_BLOB_THRESHOLD_BYTES", &FILE_BYTES.to_string());
    let server = ServerProcess::start(settings).await;
    let files = |count: u64, seed: u64| -> Vec<(String, Vec<u8>)> {
        (0..count).map(|number| (format!("f{number}"), noise(seed + number, FILE_BYTES))).collect()
    };
    let commit = async |repo: &Repo, files: &[(String, Vec<u8>)]| {
        let files: Vec<_> = files.iter().map(|(path, bytes)| file(path, bytes)).collect();
        repo.commit("main", "many files", &files).await.expect(201);
    };
    commit(&Repo::create(server.admin(), "warm").await, &files(16, 0)).await;
    let (repo, files) = (Repo::create(server.admin(), "large").await, files(FILES as u64, 1000));
    std::fs::write(server.proc("clear_refs"), "5").unwrap();
    let before = memory(&server, "VmRSS");
    commit(&repo, &files).await;
    let grown = memory(&server, "VmHWM") - before;
    assert!(grown < 3 * FILES * FILE_BYTES, "{grown} bytes more for {} of contents", FILES * FILE_BYTES);
    for (path, bytes) in files {
        let get =
            repo.person.request(Method::GET, &repo.path(&format!("file/{path}?format=raw"))).send().await.unwrap();
        assert_eq!(hash_of(get, 0, FILE_BYTES).await, sha256_hex(&bytes));
    }
}
