//! Merges that policies judge, beside the same merges without any.
//!
//! A tenth of the files are OWNERS, one in each directory. A change is to twenty files of ten directories; an owner of all of
//! them approves it, two required checks pass, and a proposal has a title that the policies like. What comes before the
//! merge is not timed.

use anyhow::Result;
use docstore_models::{
    CommitRequest, CommitResponse, CreateProposalRequest, CreateProposalResponse, CreateReviewRequest,
    CreateReviewResponse, FileChangeRequest, ImportRequest, ImportResponse, ImportedCommit, MergeRequest,
    ReportCheckRequest, RequireCheckRequest, SetRoleRequest,
};
use rand::{RngExt, rngs::StdRng, seq::index::sample};

use crate::{
    bench::Bench,
    floor::writes::{self, File, Place},
    lines::{
        Pair, amount,
        commits::{commit_body, create_branch},
        prepare::create_repo,
        time_text,
    },
    measure::{Sample, run_one},
    report::{Aim, Line},
    wire::{Wire, base64, json},
    workload::{change, content, unseeded},
};

/// Files in one directory, its OWNERS included.
const DIRECTORY_FILES: usize = 10;
/// Directories of a service.
const SERVICE_DIRECTORIES: usize = 10;
/// Files that are created by one commit.
const COMMIT_FILES: usize = 500;
/// Directories that a change touches, and files in each.
const CHANGED_DIRECTORIES: usize = 10;
const CHANGED_PER_DIRECTORY: usize = 2;

/// What each branch needs.
const CHECKS: [&str; 2] = ["build", "test"];

macro_rules! policies {
    ($($name:literal),*) => {
        [$((concat!(".docstore/policy/", $name, ".rego"), include_str!(concat!("../../policies/", $name, ".rego")))),*]
    };
}

/// The policies, by path.
const POLICIES: [(&str, &str); 10] =
    policies!("approvers", "authors", "checks", "freeze", "message", "owners", "places", "required", "review", "size");

fn directory(number: usize) -> String {
    let (service, part) = (number / SERVICE_DIRECTORIES, number % SERVICE_DIRECTORIES);
    // What begins with 000 needs a second approval.
    format!("packages/{:03}-service/part-{part}", service + 1)
}

/// A file of a directory, but for OWNERS.
fn module(number: usize, module: usize) -> String {
    format!("{}/module_{module}.txt", directory(number))
}

/// The policies, each with a comment that makes it another text.
fn policy_changes(revision: usize) -> Vec<FileChangeRequest> {
    let change = |(path, text): (&str, &str)| FileChangeRequest {
        path: path.to_owned(),
        content: Some(base64(format!("{text}# Revision {revision}.\n").as_bytes())),
        ..FileChangeRequest::default()
    };
    POLICIES.into_iter().map(change).collect()
}

/// A repo that merges are made in.
struct Stage {
    repo: String,
    wire: Wire,
    reviewer: Wire,
}

impl Stage {
    /// A repo with its files, OWNERS and required checks.
    async fn create(bench: &Bench, purpose: &str) -> Result<Self> {
        let repo = create_repo(bench, purpose).await?;
        let mut wire = bench.target.connect().await?;
        let reviewer = &bench.arguments.reviewer;
        let role = SetRoleRequest { role: "writer".to_owned() };
        wire.put_json(&format!("/repos/{repo}/-/roles/{reviewer}"), &role).await?;
        let mut random = unseeded();
        let mut files = Vec::with_capacity(bench.files);
        for number in 0..bench.files / DIRECTORY_FILES {
            let owners = format!("# Part {number}.\nteam-{number}@example.com\n{reviewer}\n");
            files.push(FileChangeRequest {
                path: format!("{}/OWNERS", directory(number)),
                content: Some(base64(owners.as_bytes())),
                ..FileChangeRequest::default()
            });
            files.extend((1..DIRECTORY_FILES).map(|file| change(module(number, file), &mut random)));
        }
        let commits = files.chunks(COMMIT_FILES).enumerate().map(|(number, files)| ImportedCommit {
            author: "generator@example.com".to_owned(),
            created_at: None,
            message: "files".to_owned(),
            imported_from: format!("bench:{number}"),
            files: files.to_vec(),
        });
        let import =
            ImportRequest { branch: "main".to_owned(), commits: commits.collect(), ..ImportRequest::default() };
        let _: ImportResponse = wire.post_json(&format!("/repos/{repo}/-/import"), &import).await?;
        for check in CHECKS {
            let required = RequireCheckRequest { check_name: check.to_owned(), ..RequireCheckRequest::default() };
            wire.put_json(&format!("/repos/{repo}/-/required-checks"), &required).await?;
        }
        let reviewer = bench.target.of(reviewer, bench.arguments.reviewer_token.as_deref())?.connect().await?;
        Ok(Self { repo, wire, reviewer })
    }

    /// Commits the policies to `main`, over those that are there.
    async fn commit_policies(&mut self, revision: usize) -> Result<Sample> {
        let body = json(&CommitRequest {
            branch: "main".to_owned(),
            message: "policy: the next revision".to_owned(),
            files: policy_changes(revision),
            override_reason: Some("they are being measured".to_owned()),
            ..CommitRequest::default()
        })?;
        let path = format!("/repos/{}/-/commit", self.repo);
        run_one(&mut self.wire, amount(1), async |wire: &mut Wire, _| wire.post(&path, body.clone()).await.map(|_| ()))
            .await
    }

    /// A branch that may be merged.
    async fn prepare(&mut self, branch: &str, files: &[File]) -> Result<()> {
        let repo = format!("/repos/{}/-", self.repo);
        create_branch(&mut self.wire, &self.repo, branch).await?;
        let committed = self.wire.post(&format!("{repo}/commit"), commit_body(branch, files)?).await?;
        let committed: CommitResponse = serde_json::from_slice(&committed)?;
        let proposal = CreateProposalRequest {
            branch: branch.to_owned(),
            title: "packages: bring ten parts up to date".to_owned(),
            ..CreateProposalRequest::default()
        };
        let _: CreateProposalResponse = self.wire.post_json(&format!("{repo}/proposals"), &proposal).await?;
        for check in CHECKS {
            let report = ReportCheckRequest {
                branch: branch.to_owned(),
                check_name: check.to_owned(),
                status: "passed".to_owned(),
                ..ReportCheckRequest::default()
            };
            self.wire.post(&format!("{repo}/check"), json(&report)?).await?;
        }
        let review = CreateReviewRequest {
            branch: branch.to_owned(),
            status: "approved".to_owned(),
            expected_head: Some(committed.sequence),
            ..CreateReviewRequest::default()
        };
        let _: CreateReviewResponse = self.reviewer.post_json(&format!("{repo}/review"), &review).await?;
        Ok(())
    }

    async fn merge(&mut self, branch: &str) -> Result<Sample> {
        let body = json(&MergeRequest { branch: branch.to_owned(), ..MergeRequest::default() })?;
        let path = format!("/repos/{}/-/merge", self.repo);
        run_one(&mut self.wire, amount(1), async |wire: &mut Wire, _| wire.post(&path, body.clone()).await.map(|_| ()))
            .await
    }
}

/// New texts of some files that are there.
fn changed_files(directories: usize, random: &mut StdRng) -> Vec<File> {
    let chosen = sample(random, directories, CHANGED_DIRECTORIES.min(directories));
    let mut files = Vec::with_capacity(CHANGED_DIRECTORIES * CHANGED_PER_DIRECTORY);
    for number in chosen {
        for file in 1..=CHANGED_PER_DIRECTORY {
            files.push(File { path: module(number, file), bytes: content(random) });
        }
    }
    files
}

/// Merges under ten policies, without any, and right after the policies changed.
pub(crate) async fn merges(bench: &mut Bench) -> Result<()> {
    let names = ["policies-merge", "policies-none", "policies-changed"];
    if !names.iter().any(|name| bench.arguments.wants(name)) {
        return Ok(());
    }
    if bench.arguments.token.is_some() && bench.arguments.reviewer_token.is_none() {
        eprintln!("merges under policies are left out: they need a reviewer's token as well");
        return Ok(());
    }
    let directories = bench.files / DIRECTORY_FILES;
    let mut open = Stage::create(bench, "open").await?;
    let mut gated = Stage::create(bench, "gated").await?;
    gated.commit_policies(0).await?;
    bench.copy_database(&open.repo).await?;
    let mut floor = match &bench.floor {
        None => None,
        Some(floor) => Some((floor.copy().await?, floor.repo_id(&open.repo).await?)),
    };
    let mut random = unseeded();
    let run: u32 = rand::rng().random();
    let (mut with, mut without) = (Pair::default(), Pair::default());
    // The first round warms up and does not count.
    for round in 0..=bench.scaled(50) {
        let branch = format!("change-{run:08x}/{round}");
        let files = changed_files(directories, &mut random);
        gated.prepare(&branch, &files).await?;
        let judged = gated.merge(&branch).await?;
        open.prepare(&branch, &files).await?;
        let merged = open.merge(&branch).await?;
        if round > 0 {
            with.add_server(judged);
            without.add_server(merged);
        }
        if let Some((connection, repo_id)) = &mut floor {
            let place = Place { repo_id: *repo_id, branch };
            writes::create_branch(connection, &place).await?;
            writes::commit_many(connection, &place, &files, &mut random).await?;
            let mut client = (connection, &mut random);
            let sample = run_one(&mut client, amount(1), async |(connection, random), _| {
                writes::merge(connection, &place, random).await
            })
            .await?;
            if round > 0 {
                with.add_floor(sample.clone());
                without.add_floor(sample);
            }
        }
    }
    let (mut arrivals, mut first_merges) = (Sample::default(), Sample::default());
    for round in 1..=bench.scaled(20) {
        arrivals = arrivals.join(gated.commit_policies(round).await?);
        let branch = format!("after-{run:08x}/{round}");
        gated.prepare(&branch, &changed_files(directories, &mut random)).await?;
        first_merges = first_merges.join(gated.merge(&branch).await?);
    }
    let [merge, none, changed] = names;
    let work = format!(
        "merge of {} files of {CHANGED_DIRECTORIES} directories, ten policies, {directories} OWNERS files",
        CHANGED_DIRECTORIES * CHANGED_PER_DIRECTORY
    );
    let below = |sample: &Sample| Aim::below(sample.percentile(50.0), 100.0, "ms (p50)");
    let line = with.time_line(merge, work, "", below(&with.server));
    bench.report.add(line);
    let line = without.time_line(none, "the same merge without policies".to_owned(), "", None);
    bench.report.add(line);
    bench.report.add(Line {
        name: changed.to_owned(),
        work: "the first such merge after all ten policies changed".to_owned(),
        history: String::new(),
        measured: format!(
            "{}; the commit that changes them, which compiles them: {}",
            time_text(&first_merges),
            time_text(&arrivals)
        ),
        floor: None,
        part_of_floor: None,
        aim: below(&first_merges),
    });
    Ok(())
}
