//! One large file in and out, and what it does to the server's memory.

use std::{convert::Infallible, time::Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use docstore_models::{CommitRequest, CommitResponse, FileChangeRequest};
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::{Method, body::Frame};
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::{
    bench::Bench,
    lines::prepare::create_repo,
    report::{Aim, Line},
    wire::{RequestBody, full},
    workload::seeded,
};

/// One piece of the body.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces that do not compress, each different by its first bytes, so that making them costs next to nothing.
fn pieces(count: usize) -> impl Iterator<Item = Bytes> + Send {
    let mut piece = vec![0; PIECE_BYTES];
    seeded(6).fill_bytes(&mut piece);
    (0..count).map(move |number| {
        piece[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Bytes::from(piece.clone())
    })
}

fn body(count: usize) -> RequestBody {
    StreamBody::new(stream::iter(pieces(count).map(|piece| Ok::<_, Infallible>(Frame::data(piece))))).boxed_unsync()
}

/// 1 GiB in by its hash, committed, and out again.
pub(crate) async fn large_file(bench: &mut Bench) -> Result<()> {
    if !bench.arguments.wants("large-file") {
        return Ok(());
    }
    let mebibytes = bench.scaled(1024);
    let count = mebibytes * 1024 * 1024 / PIECE_BYTES;
    let mut hasher = Sha256::new();
    pieces(count).for_each(|piece| hasher.update(&piece));
    let hash = hex::encode(hasher.finalize());
    let repo = create_repo(bench, "large").await?;
    let mut wire = bench.target.connect().await?;
    let before = match &mut bench.memory {
        None => None,
        Some(memory) => Some(memory.restart()?),
    };

    let begin = Instant::now();
    wire.answer(Method::PUT, &format!("/repos/{repo}/-/contents/{hash}"), body(count)).await?;
    let change =
        FileChangeRequest { path: "large.bin".to_owned(), content_hash: Some(hash.clone()), ..Default::default() };
    let request = CommitRequest {
        branch: "main".to_owned(),
        message: "large".to_owned(),
        files: vec![change],
        ..CommitRequest::default()
    };
    let _: CommitResponse = wire.post_json(&format!("/repos/{repo}/-/commit"), &request).await?;
    let inwards = mebibytes as f64 / begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    let path = format!("/repos/{repo}/-/file/large.bin?format=raw");
    let response = wire.open(Method::GET, &path, full(Bytes::new())).await?;
    ensure!(response.status().is_success(), "GET {path}: {}", response.status());
    let mut body = response.into_body();
    let mut hasher = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            hasher.update(&data);
        }
    }
    let outwards = mebibytes as f64 / begin.elapsed().as_secs_f64();
    ensure!(hex::encode(hasher.finalize()) == hash, "the file came back different");

    let grown = match (&mut bench.memory, before) {
        (Some(memory), Some(before)) => Some(memory.peak()?.saturating_sub(before)),
        _ => None,
    };
    bench.report.add(Line {
        name: "large-file".to_owned(),
        work: format!("one file of {mebibytes} MiB in (hashed, committed) and out (its hash checked by the client)"),
        history: String::new(),
        measured: match grown {
            None => format!("in {inwards:.0} MiB/s, out {outwards:.0} MiB/s"),
            Some(grown) => format!(
                "in {inwards:.0} MiB/s, out {outwards:.0} MiB/s; the server's memory grew by {:.1} MiB",
                grown as f64 / 1024.0
            ),
        },
        floor: None,
        part_of_floor: None,
        aim: grown.and_then(|grown| Aim::below(grown as f64 / 1024.0, 64.0, "MiB of growth")),
    });
    Ok(())
}

/// The most memory that the server had in all of the run.
pub(crate) fn peak_memory(bench: &mut Bench) -> Result<()> {
    let Some(memory) = &mut bench.memory else { return Ok(()) };
    let kibibytes = memory.peak_of_all().context("the server's memory")?;
    let mebibytes = kibibytes as f64 / 1024.0;
    bench.report.add(Line {
        name: "memory".to_owned(),
        work: "peak resident memory of the server (VmHWM) in all of the above".to_owned(),
        history: String::new(),
        measured: format!("{mebibytes:.0} MiB"),
        floor: None,
        part_of_floor: None,
        aim: Aim::below(mebibytes, 150.0, "MiB"),
    });
    Ok(())
}
