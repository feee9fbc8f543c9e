//! Commits and merges.

use anyhow::Result;
use bytes::Bytes;
use docstore_models::{CommitRequest, CreateBranchRequest, CreateBranchResponse, FileChangeRequest, MergeRequest};
use futures::FutureExt;
use rand::{RngExt, rngs::StdRng};
use sqlx::PgConnection;

use crate::{
    bench::Bench,
    floor::writes::{self, File, Place},
    lines::{Pair, ROUNDS, amount},
    measure::{run, run_one},
    report::Aim,
    wire::{Wire, base64, json},
    workload::{content, path, unseeded},
};

/// A file that the repo has, with new text.
fn file(bench: &Bench, random: &mut StdRng) -> File {
    File { path: path(random.random_range(0..bench.files)), bytes: content(random) }
}

/// The body of a commit of files.
pub(crate) fn commit_body(branch: &str, files: &[File]) -> Result<Bytes> {
    let files = files
        .iter()
        .map(|file| FileChangeRequest {
            path: file.path.clone(),
            content: Some(base64(&file.bytes)),
            ..FileChangeRequest::default()
        })
        .collect();
    json(&CommitRequest {
        branch: branch.to_owned(),
        message: "a change".to_owned(),
        files,
        ..CommitRequest::default()
    })
}

/// Creates a branch at the head of `main`.
pub(crate) async fn create_branch(wire: &mut Wire, repo: &str, name: &str) -> Result<()> {
    let request = CreateBranchRequest { name: name.to_owned(), draft: false };
    let _: CreateBranchResponse = wire.post_json(&format!("/repos/{repo}/-/branch"), &request).await?;
    Ok(())
}

struct ServerClient {
    wire: Wire,
    path: String,
    bodies: Vec<Bytes>,
}

struct FloorClient {
    connection: PgConnection,
    place: Place,
    files: Vec<File>,
    random: StdRng,
}

/// Commits of one small file: one client on `main`, or several on a branch each.
pub(crate) async fn commit_one(bench: &mut Bench, clients: usize) -> Result<()> {
    let name = format!("commit-1-file-{clients}");
    if !bench.arguments.wants(&name) {
        return Ok(());
    }
    let operations = bench.scaled(if clients == 1 { 400 } else { 150 });
    let mut random = unseeded();
    let branches: Vec<String> = if clients == 1 {
        vec!["main".to_owned()]
    } else {
        let run: u32 = rand::rng().random();
        (0..clients).map(|client| format!("commits-{run:08x}/{client}")).collect()
    };
    let mut on_server = Vec::new();
    for (wire, branch) in bench.target.connect_many(clients).await?.into_iter().zip(&branches) {
        let mut wire = wire;
        if branch != "main" {
            create_branch(&mut wire, &bench.repo, branch).await?;
        }
        on_server.push(ServerClient { wire, path: format!("/repos/{}/-/commit", bench.repo), bodies: Vec::new() });
    }
    let mut on_floor = Vec::new();
    if let Some(floor) = &bench.floor {
        let repo_id = floor.repo_id(&bench.repo).await?;
        for (connection, branch) in floor.copies(clients).await?.into_iter().zip(&branches) {
            let mut connection = connection;
            let place = Place { repo_id, branch: branch.clone() };
            if branch != "main" {
                writes::create_branch(&mut connection, &place).await?;
            }
            on_floor.push(FloorClient { connection, place, files: Vec::new(), random: unseeded() });
        }
    }
    let mut pair = Pair::default();
    // The first round warms both up and does not count.
    for round in 0..=ROUNDS {
        let operations = if round == 0 { operations.div_ceil(4) } else { operations };
        for (client, branch) in on_server.iter_mut().zip(&branches) {
            client.bodies =
                (0..operations).map(|_| commit_body(branch, &[file(bench, &mut random)])).collect::<Result<_>>()?;
        }
        for client in &mut on_floor {
            client.files = (0..operations).map(|_| file(bench, &mut random)).collect();
        }
        let sample;
        (sample, on_server) = run(on_server, amount(operations), |client: &mut ServerClient, index| {
            let body = client.bodies[index].clone();
            async move { client.wire.post(&client.path, body).await.map(|_| ()) }.boxed()
        })
        .await?;
        if round > 0 {
            pair.add_server(sample);
        }
        if !on_floor.is_empty() {
            let sample;
            (sample, on_floor) = run(on_floor, amount(operations), |client: &mut FloorClient, index| {
                async move {
                    let FloorClient { connection, place, files, random } = client;
                    writes::commit_one(connection, place, &files[index], random).await
                }
                .boxed()
            })
            .await?;
            if round > 0 {
                pair.add_floor(sample);
            }
        }
    }
    let work = match clients {
        1 => "commits of one small file to main, 1 client".to_owned(),
        _ => format!("commits of one small file, {clients} clients on a branch each"),
    };
    let line = pair.rate_line(&name, work, &bench.history, 0.5);
    bench.report.add(line);
    Ok(())
}

/// Commits of many files to a branch of their own, and the merges of those branches.
pub(crate) async fn commit_and_merge_many(bench: &mut Bench) -> Result<()> {
    let (commit_name, merge_name) = ("commit-1000-files", "merge-1000-files");
    if !bench.arguments.wants(commit_name) && !bench.arguments.wants(merge_name) {
        return Ok(());
    }
    let count = 1000.min(bench.files);
    let rounds = bench.scaled(20);
    let mut random = unseeded();
    let run: u32 = rand::rng().random();
    let mut wire = bench.target.connect().await?;
    let mut floor = match &bench.floor {
        None => None,
        Some(floor) => Some((floor.copy().await?, floor.repo_id(&bench.repo).await?)),
    };
    let (mut commits, mut merges) = (Pair::default(), Pair::default());
    // The first round warms up and does not count.
    for round in 0..=rounds {
        let branch = format!("many-{run:08x}/{round}");
        let start = random.random_range(0..=bench.files - count);
        let files: Vec<File> =
            (start..start + count).map(|file| File { path: path(file), bytes: content(&mut random) }).collect();
        create_branch(&mut wire, &bench.repo, &branch).await?;
        let commit = commit_body(&branch, &files)?;
        let merge = json(&MergeRequest { branch: branch.clone(), ..MergeRequest::default() })?;
        let (commit_path, merge_path) =
            (format!("/repos/{}/-/commit", bench.repo), format!("/repos/{}/-/merge", bench.repo));
        let committed = run_one(&mut wire, amount(1), async |wire: &mut Wire, _| {
            wire.post(&commit_path, commit.clone()).await.map(|_| ())
        })
        .await?;
        let merged = run_one(&mut wire, amount(1), async |wire: &mut Wire, _| {
            wire.post(&merge_path, merge.clone()).await.map(|_| ())
        })
        .await?;
        if round > 0 {
            commits.add_server(committed);
            merges.add_server(merged);
        }
        if let Some((connection, repo_id)) = &mut floor {
            let place = Place { repo_id: *repo_id, branch };
            writes::create_branch(connection, &place).await?;
            let mut client = (connection, &mut random);
            let committed = run_one(&mut client, amount(1), async |(connection, random), _| {
                writes::commit_many(connection, &place, &files, random).await
            })
            .await?;
            let merged = run_one(&mut client, amount(1), async |(connection, random), _| {
                writes::merge(connection, &place, random).await
            })
            .await?;
            if round > 0 {
                commits.add_floor(committed);
                merges.add_floor(merged);
            }
        }
    }
    for (name, what, pair) in [(commit_name, "commit", commits), (merge_name, "merge", merges)] {
        let aim = Aim::below(pair.server.percentile(50.0), 100.0, "ms (p50)");
        let line = pair.time_line(name, format!("{what} of {count} files"), &bench.history, aim);
        bench.report.add(line);
    }
    Ok(())
}
