//! The repo that is measured on, and its growth.

use std::time::{Duration, Instant};

use anyhow::Result;
use docstore_models::{CreateRepoRequest, ImportResponse, Repo};
use rand::RngExt;

use crate::{bench::Bench, report::Line, wire::json, workload::History};

/// Creates a repo with a name that was never used before, and returns its full name.
pub(crate) async fn create_repo(bench: &Bench, purpose: &str) -> Result<String> {
    let name = format!("bench-{purpose}-{:08x}", rand::rng().random::<u32>());
    let request = CreateRepoRequest { owner: bench.arguments.org.clone(), name };
    let repo: Repo = bench.target.connect().await?.post_json("/repos", &request).await?;
    Ok(repo.name)
}

/// Imports history until the repo has so many commits.
pub(crate) async fn grow(bench: &mut Bench, history: &mut History, commits: usize) -> Result<()> {
    let mut wire = bench.target.connect().await?;
    let path = format!("/repos/{}/-/import", bench.repo);
    let (before, mut waited) = (history.commits(), Duration::ZERO);
    let mut files = 0;
    while let Some(batch) = history.batch(commits) {
        files += batch.commits.iter().map(|commit| commit.files.len()).sum::<usize>();
        let body = json(&batch)?;
        let begin = Instant::now();
        let bytes = wire.post(&path, body).await?;
        waited += begin.elapsed();
        let _: ImportResponse = serde_json::from_slice(&bytes)?;
    }
    let made = history.commits() - before;
    let rate = made as f64 / waited.as_secs_f64();
    bench.report.add(Line {
        name: "import".to_owned(),
        work: format!("import of {made} commits with {files} changed files, 1,000 commits to a request"),
        history: bench.history.clone(),
        measured: format!("{rate:.0} commits/s"),
        floor: None,
        part_of_floor: None,
        aim: None,
    });
    Ok(())
}
