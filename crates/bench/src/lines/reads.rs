//! Files, trees, directories, archives.

use anyhow::{Result, ensure};
use futures::FutureExt;
use rand::{RngExt, rngs::StdRng};
use sqlx::PgConnection;

use crate::{
    bench::Bench,
    floor::reads,
    lines::{Pair, ROUNDS, amount},
    measure::{run, run_one},
    report::Aim,
    wire::Wire,
    workload::{directory_of_directories, directory_of_files, path, seeded},
};

/// Reads of one file by several clients.
pub(crate) async fn files(bench: &mut Bench, clients: usize) -> Result<()> {
    let name = format!("read-file-{clients}");
    if !bench.arguments.wants(&name) {
        return Ok(());
    }
    let operations = bench.scaled(1500);
    let mut random = seeded(4);
    let mut of_client = || seeded(random.random());
    let prefix = format!("/repos/{}/-/file/", bench.repo);
    let count = bench.files;
    let mut on_server: Vec<(Wire, StdRng)> =
        bench.target.connect_many(clients).await?.into_iter().map(|wire| (wire, of_client())).collect();
    let (mut on_floor, mut main_id) = (Vec::new(), 0);
    if let Some(floor) = &bench.floor {
        let mut connections = floor.originals(clients).await?;
        main_id = reads::main_id(&mut connections[0], floor.repo_id(&bench.repo).await?).await?;
        on_floor = connections.into_iter().map(|connection| (connection, of_client())).collect();
    }
    let mut pair = Pair::default();
    for round in 0..=ROUNDS {
        let sample;
        let prefix = prefix.clone();
        (sample, on_server) = run(on_server, amount(operations), move |(wire, random): &mut (Wire, StdRng), _| {
            // Slashes may be sent as they are.
            let path = format!("{prefix}{}", path(random.random_range(0..count)));
            async move { wire.get(&path).await.map(|_| ()) }.boxed()
        })
        .await?;
        if round > 0 {
            pair.add_server(sample);
        }
        if !on_floor.is_empty() {
            let sample;
            (sample, on_floor) =
                run(on_floor, amount(operations), move |(connection, random): &mut (PgConnection, StdRng), _| {
                    let path = path(random.random_range(0..count));
                    async move { reads::file(connection, main_id, &path).await }.boxed()
                })
                .await?;
            if round > 0 {
                pair.add_floor(sample);
            }
        }
    }
    let line = pair.rate_line(&name, format!("reads of one file, {clients} clients"), &bench.history, 0.4);
    bench.report.add(line);
    Ok(())
}

/// Measures one request beside one bare query, one client each.
async fn beside(
    bench: &Bench,
    operations: usize,
    server: impl AsyncFn(&mut Wire) -> Result<()>,
    bare: impl AsyncFn(&mut PgConnection, i64) -> Result<()>,
) -> Result<Pair> {
    let operations = bench.scaled(operations);
    let mut wire = bench.target.connect().await?;
    let mut floor = None;
    if let Some(database) = &bench.floor {
        let mut connection = database.original().await?;
        let main_id = reads::main_id(&mut connection, database.repo_id(&bench.repo).await?).await?;
        floor = Some((connection, main_id));
    }
    let mut pair = Pair::default();
    for round in 0..=ROUNDS {
        let operations = if round == 0 { operations.min(3) } else { operations };
        let sample = run_one(&mut wire, amount(operations), async |wire, _| server(wire).await).await?;
        if round > 0 {
            pair.add_server(sample);
        }
        if let Some(client) = &mut floor {
            let sample =
                run_one(client, amount(operations), async |(connection, main_id), _| bare(connection, *main_id).await)
                    .await?;
            if round > 0 {
                pair.add_floor(sample);
            }
        }
    }
    Ok(pair)
}

/// How often `needle` is in `text`: entries are counted without parsing them.
fn occurrences(text: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(text, needle).count()
}

async fn tree_of(wire: &mut Wire, path: &str, entries: usize) -> Result<()> {
    let bytes = wire.get(path).await?;
    let mark = if path.contains("dir=") { b"\"path\":\"".as_slice() } else { b"\"version_id\":\"".as_slice() };
    // Counting costs the generator something; the first and last answer are enough.
    if bytes.len() < 65_536 {
        let found = occurrences(&bytes, mark);
        ensure!(found == entries, "{path} gave {found} entries instead of {entries}");
    }
    Ok(())
}

/// Pages of a tree, the whole of it, directories.
pub(crate) async fn trees(bench: &mut Bench) -> Result<()> {
    let tree = format!("/repos/{}/-/tree", bench.repo);
    let files = bench.files;
    let twice = |pair: &Pair| Aim::part(pair.part_of_speed(), 0.5);

    if bench.arguments.wants("tree-first-page") {
        let pair = beside(
            bench,
            300,
            async |wire| tree_of(wire, &tree, 100).await,
            async |connection, main_id| {
                ensure!(reads::tree(connection, main_id, "", 100).await? == 100, "the floor's page");
                Ok(())
            },
        )
        .await?;
        bench.report.add(pair.time_line(
            "tree-first-page",
            "first tree page (100)".to_owned(),
            &bench.history,
            twice(&pair),
        ));
    }
    if bench.arguments.wants("tree-whole") {
        let path = format!("{tree}?limit=10000");
        let pair = beside(
            bench,
            12,
            async |wire| tree_of(wire, &path, files).await,
            async |connection, main_id| {
                ensure!(reads::tree(connection, main_id, "", 10_000).await? == files, "the floor's tree");
                Ok(())
            },
        )
        .await?;
        let work = format!("whole tree ({files} files) as one page");
        bench.report.add(pair.time_line("tree-whole", work, &bench.history, twice(&pair)));
    }
    if bench.arguments.wants("directory-files") {
        let path = format!("{tree}?dir={}", directory_of_files());
        let pair = beside(
            bench,
            300,
            async |wire| tree_of(wire, &path, 100).await,
            async |connection, main_id| {
                ensure!(reads::tree(connection, main_id, &directory_of_files(), 100).await? == 100, "the floor's page");
                Ok(())
            },
        )
        .await?;
        let work = "one directory of 100 files".to_owned();
        bench.report.add(pair.time_line("directory-files", work, &bench.history, twice(&pair)));
    }
    if bench.arguments.wants("directory-directories") {
        let path = format!("{tree}?dir={}", directory_of_directories());
        let count = files / 100;
        let pair = beside(
            bench,
            100,
            async |wire| tree_of(wire, &path, count).await,
            async |connection, main_id| {
                let found = reads::directories(connection, main_id, &directory_of_directories()).await?;
                ensure!(found == count, "the floor found {found} directories");
                Ok(())
            },
        )
        .await?;
        let work = format!("one directory of {count} directories");
        bench.report.add(pair.time_line("directory-directories", work, &bench.history, twice(&pair)));
    }
    Ok(())
}

/// The archive of the whole tree.
pub(crate) async fn archive(bench: &mut Bench) -> Result<()> {
    if !bench.arguments.wants("archive") {
        return Ok(());
    }
    let path = format!("/repos/{}/-/archive?branch=main", bench.repo);
    let least = bench.files as u64 * 1024;
    let pair = beside(
        bench,
        8,
        async |wire| {
            ensure!(wire.count_bytes(&path).await? > least, "the archive is too short");
            Ok(())
        },
        async |connection, main_id| {
            ensure!(reads::archive(connection, main_id).await? > least / 10, "the floor's bytes");
            Ok(())
        },
    )
    .await?;
    let aim =
        Aim::and(Aim::part(pair.part_of_speed(), 0.5), Aim::below(pair.server.percentile(50.0), 500.0, "ms (p50)"));
    let work = format!("archive of {} files", bench.files);
    bench.report.add(pair.time_line("archive", work, &bench.history, aim));
    Ok(())
}
