//! Importing history: commits whose author and time are given, marked with where they came from.

use std::collections::BTreeMap;

use chrono::Datelike;
use docstore_database::append::{Footing, draw_sequences};
use docstore_history::clashing_paths;
use docstore_models::{
    BranchStatus, ErrorCode, EventData, Identity, ImportRequest, ImportResponse, ImportedCommit, MAIN_BRANCH, Timestamp,
};

use crate::{
    Admin, Error, FileChange, IdempotencyKey, Operations, Result,
    auto_merge::end_wish_of_another,
    branches::lock_to_write,
    changes::{ChainBuilder, CommitHead, NewCommits, PlannedChange, check_text, expect_head},
    gate::GateAction,
    limits::reached,
    write::begin,
};

/// The longest mark of where a commit came from, in bytes: `git:` and a SHA-256 object id take 68.
const IMPORTED_FROM_BYTES_MAX: usize = 255;

/// An import to make, checked.
#[derive(Clone, Debug)]
pub struct ImportChange {
    branch: String,
    expected_head: Option<i64>,
    override_reason: Option<String>,
    heads: Vec<ImportHead>,
    files: Vec<Vec<FileChange>>,
}

#[derive(Clone, Debug)]
struct ImportHead {
    author: Identity,
    message: String,
    created_at: Option<Timestamp>,
    imported_from: String,
}

impl ImportChange {
    /// Checks an import as it came in.
    ///
    /// # Errors
    /// Names the commit and the rule that it breaks.
    pub fn from_request(request: ImportRequest) -> Result<Self> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if request.commits.is_empty() {
            return Err(Error::bad_request("at least one commit is required"));
        }
        let mut heads = Vec::with_capacity(request.commits.len());
        let mut files = Vec::with_capacity(request.commits.len());
        for (index, commit) in request.commits.into_iter().enumerate() {
            let (head, changes) = check_commit(commit)
                .map_err(|error| Error::refused(error.code(), format!("commits[{index}]: {error}")))?;
            heads.push(head);
            files.push(changes);
        }
        Ok(Self {
            branch: request.branch,
            expected_head: request.expected_head,
            override_reason: request.override_reason,
            heads,
            files,
        })
    }
}

fn check_commit(commit: ImportedCommit) -> Result<(ImportHead, Vec<FileChange>)> {
    let author = Identity::parse(commit.author)?;
    if commit.imported_from.is_empty() {
        return Err(Error::bad_request("imported_from is required"));
    }
    check_text("imported_from", &commit.imported_from, IMPORTED_FROM_BYTES_MAX)?;
    // RFC 3339, in which commits are shown and hashed, knows only years of four digits; an offset can leave them.
    if commit.created_at.is_some_and(|moment| !(1..=9999).contains(&moment.to_utc().year())) {
        return Err(Error::bad_request("created_at lies outside the years 0001 to 9999"));
    }
    let files = commit.files.into_iter().map(FileChange::from_request).collect::<Result<_>>()?;
    let head = ImportHead {
        author,
        message: commit.message,
        created_at: commit.created_at,
        imported_from: commit.imported_from,
    };
    Ok((head, files))
}

impl Operations {
    /// Appends imported commits to a branch in one transaction.
    ///
    /// # Errors
    /// A commit that makes no sense, `BRANCH_NOT_FOUND`, `BRANCH_NOT_ACTIVE`, `HEAD_MOVED`, `CONTENT_MISSING`, or on `main`
    /// the policies that do not allow it.
    pub async fn import(
        &self,
        admin: &Admin,
        key: Option<&IdempotencyKey>,
        change: ImportChange,
    ) -> Result<ImportResponse> {
        let imported = self.import_judged(admin, key, change).await;
        self.keep_refusal(admin, imported).await
    }

    async fn import_judged(
        &self,
        admin: &Admin,
        key: Option<&IdempotencyKey>,
        change: ImportChange,
    ) -> Result<ImportResponse> {
        if change.heads.len() > self.limits().import_commits_max {
            reached("import_commits");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("one import may hold at most {} commits", self.limits().import_commits_max),
            ));
        }
        for (index, (head, files)) in change.heads.iter().zip(&change.files).enumerate() {
            check_text("message", &head.message, self.limits().message_bytes_max)
                .and_then(|()| self.check_changes(files))
                .map_err(|error| Error::refused(error.code(), format!("commits[{index}]: {error}")))?;
        }
        let repo_id = admin.repo_id();
        let (planned, mut plan) = self.plan(repo_id, admin.identity(), change.files).await?;

        let mut write = begin!(self, admin.caller(), key);
        let locked = lock_to_write(&mut write, admin, &change.branch, false).await?;
        if locked.branch.status != BranchStatus::Active {
            return Err(Error::refused(ErrorCode::BranchNotActive, "branch is not active"));
        }
        expect_head(&locked, change.expected_head)?;
        end_wish_of_another(&mut write, admin, &locked).await?;
        let outcome = outcome(&planned);
        check_clashes(&outcome)?;
        let passage = if change.branch == MAIN_BRANCH {
            let reason = change.override_reason.as_deref();
            Some(
                self.pass_gate_directly(&mut write, admin, GateAction::Import, &locked, &outcome, &mut plan, reason)
                    .await?,
            )
        } else {
            None
        };
        self.store_ahead(&mut write, &mut plan, repo_id, &outcome).await?;
        let sequences = draw_sequences(&mut write.transaction, &locked, change.heads.len()).await?;
        let mut chain = ChainBuilder::new(admin.repo(), &locked);
        for ((sequence, head), files) in sequences.iter().zip(change.heads).zip(&planned) {
            let hashes: Vec<Option<String>> = files.iter().map(|change| change.hash.map(hex::encode)).collect();
            let pushed_by = (head.author.as_str() != admin.identity()).then(|| admin.identity().to_owned());
            let head = CommitHead {
                sequence: *sequence,
                author: head.author.into(),
                message: head.message,
                created_at: head.created_at.map_or(locked.now, Timestamp::to_utc),
                replayed_from: None,
                imported_from: Some(head.imported_from),
                pushed_by,
            };
            chain.push(head, files.iter().map(|change| plan.row(change)).collect(), &hashes);
        }
        let NewCommits { commits, head_hash: commit_hash } = chain.finish();
        let first_sequence = sequences.first().copied().unwrap_or_default();
        let head_sequence = sequences.last().copied().unwrap_or_default();
        let event = EventData::CommitsImported {
            repo: admin.repo().to_owned(),
            branch: change.branch,
            first_sequence,
            last_sequence: head_sequence,
            commit_count: i64::try_from(commits.len()).unwrap_or(i64::MAX),
            imported_by: admin.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.append(&mut write, &locked, Footing::of(&locked), &commits, &mut plan, &outcome).await?;
        if let Some(passage) = passage {
            passage.keep(&mut write, admin, head_sequence).await?;
        }
        self.finish(write, ImportResponse { sequences, head_sequence, commit_hash }).await
    }
}

/// Refuses commits that together leave a path that is a file and a directory; one by one they were checked before.
fn check_clashes(outcome: &[PlannedChange]) -> Result<()> {
    let files = outcome.iter().filter(|change| change.hash.is_some());
    let files: Vec<&str> = files.map(|change| change.path.as_str()).collect();
    match clashing_paths(&files).first() {
        None => Ok(()),
        Some((file, below)) => Err(Error::refused(
            ErrorCode::Conflict,
            format!("'{file}' cannot be a file and the directory of '{below}' at once"),
        )),
    }
}

/// What all commits together make of each path, by path.
fn outcome(planned: &[Vec<PlannedChange>]) -> Vec<PlannedChange> {
    let mut by_path = BTreeMap::new();
    for change in planned.iter().flatten() {
        by_path.insert(change.path.as_str(), change);
    }
    by_path.into_values().cloned().collect()
}
