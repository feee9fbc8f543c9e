//! One run: what it needs, and the order of things.

use anyhow::Result;

use crate::{
    Arguments, Size,
    floor::Floor,
    lines::{client, commits, large, policies, prepare, reads, streams, webhooks},
    machine::{self, Memory},
    report::Report,
    wire::Target,
    workload::History,
};

/// Clients that work at once.
const CLIENTS: usize = 16;

/// A run.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) target: Target,
    pub(crate) floor: Option<Floor>,
    pub(crate) memory: Option<Memory>,
    pub(crate) report: Report,
    /// The repo that is measured on.
    pub(crate) repo: String,
    /// How many files it has.
    pub(crate) files: usize,
    /// How much history it has, in words.
    pub(crate) history: String,
}

impl Bench {
    pub(crate) fn new(arguments: Arguments) -> Result<Self> {
        Ok(Self {
            target: Target::from_arguments(&arguments)?,
            floor: arguments.database_url.as_deref().map(Floor::new).transpose()?,
            memory: arguments.server_pid.map(Memory::new),
            report: Report::default(),
            repo: String::new(),
            files: if arguments.size == Size::Quick { 1000 } else { 10_000 },
            history: String::new(),
            arguments,
        })
    }

    /// A number of operations, or a tenth of it in a quick run.
    pub(crate) fn scaled(&self, count: usize) -> usize {
        if self.arguments.size == Size::Quick { count.div_ceil(10) } else { count }
    }

    /// Whether something is wanted whose name begins with one of these.
    fn wants_any(&self, beginnings: &[&str]) -> bool {
        let only = &self.arguments.only;
        only.is_empty()
            || beginnings.iter().any(|beginning| {
                only.iter().any(|only| only.starts_with(beginning) || beginning.starts_with(only.as_str()))
            })
    }

    /// Everything.
    pub(crate) async fn run(&mut self) -> Result<()> {
        self.report.conditions.push(format!("{}; load before the run {}", machine::describe(), machine::load()));
        if let Some(floor) = &self.floor {
            self.report.conditions.push(floor.describe().await?);
        }
        if self.wants_any(&["import", "commit-", "merge-", "read-", "tree-", "directory-", "archive", "client-"]) {
            self.repo = prepare::create_repo(self, "history").await?;
            let mut history = History::new(self.files);
            let commits = self.scaled(20_000);
            let growth = self.arguments.growth;
            for factor in std::iter::once(1).chain((growth > 1).then_some(growth)) {
                let commits = commits * factor;
                prepare::grow(self, &mut history, commits).await?;
                self.history = format!("{} commits", history.commits());
                self.measure_history().await?;
                if factor == 1 {
                    client::sync_and_status(self).await?;
                }
            }
            self.history.clear();
        }
        client::import(self).await?;
        policies::merges(self).await?;
        webhooks::webhooks(self).await?;
        streams::streams(self).await?;
        large::large_file(self).await?;
        large::peak_memory(self)?;
        if let Some(floor) = &self.floor {
            floor.drop_copy().await?;
        }
        Ok(())
    }

    /// What may depend on the length of the history.
    async fn measure_history(&mut self) -> Result<()> {
        self.copy_database(&self.repo).await?;
        reads::files(self, CLIENTS).await?;
        reads::trees(self).await?;
        reads::archive(self).await?;
        commits::commit_one(self, 1).await?;
        commits::commit_one(self, CLIENTS).await?;
        commits::commit_and_merge_many(self).await
    }

    /// Copies the database for the floor, if there is one, as it is with this repo.
    pub(crate) async fn copy_database(&self, repo: &str) -> Result<()> {
        let Some(floor) = &self.floor else { return Ok(()) };
        let path = format!("/repos/{repo}/-/tree?limit=1");
        floor.make_copy(async || is_ready(&self.target, &path).await).await
    }
}

/// Whether the server answers from the database.
async fn is_ready(target: &Target, path: &str) -> bool {
    let answer: Result<_> = async { target.connect().await?.get(path).await }.await;
    answer.is_ok()
}
