//! Committing to a branch.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use docstore_auth::Caller;
use docstore_database::{
    append::Footing,
    commits,
    contents::{ContentHash, ContentRow},
};
use docstore_models::{
    BranchStatus, CommitDetail, CommitResponse, CommittedFile, ErrorCode, EventData, MAIN_BRANCH, Role,
};
use docstore_policy::{is_owners_file, is_policy};

use crate::{
    Error, FileChange, IdempotencyKey, Operations, Result, Writer,
    auto_merge::end_wish_of_another,
    branches::lock_to_write,
    changes::{ChainBuilder, CommitHead, NewCommits, Plan, PlannedChange, check_text, expect_head},
    gate::GateAction,
    write::Begun,
};

/// A commit to make.
#[derive(Clone, Debug)]
pub struct CommitChange {
    /// The branch.
    pub branch: String,
    /// The message.
    pub message: String,
    /// The changes.
    pub files: Vec<FileChange>,
    /// The head that the author saw.
    pub expected_head: Option<i64>,
    /// Why an admin commits to `main` against policies.
    pub override_reason: Option<String>,
}

/// A commit that was checked as far as it can be without the branch, and whose contents have names.
pub(crate) struct PreparedCommit {
    pub(crate) caller: Caller,
    pub(crate) repo: String,
    /// The right to it, once it is known.
    pub(crate) writer: Option<Writer>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) branch: String,
    message: String,
    pub(crate) expected_head: Option<i64>,
    override_reason: Option<String>,
    pub(crate) planned: Vec<PlannedChange>,
    pub(crate) plan: Plan,
}

impl PreparedCommit {
    /// Who commits.
    pub(crate) fn identity(&self) -> &str {
        self.caller.identity().as_str()
    }

    /// Puts the commit behind those of a chain. Answers the event that tells of it.
    pub(crate) fn push_to(&self, chain: &mut ChainBuilder<'_>, sequence: i64, now: DateTime<Utc>) -> EventData {
        let hashes: Vec<Option<String>> = self.planned.iter().map(|change| change.hash.map(hex::encode)).collect();
        let head = CommitHead {
            sequence,
            author: self.identity().to_owned(),
            message: self.message.clone(),
            created_at: now,
            replayed_from: None,
            imported_from: None,
            pushed_by: None,
        };
        chain.push(head, self.planned.iter().map(|change| self.plan.row(change)).collect(), &hashes);
        EventData::CommitCreated {
            repo: self.repo.clone(),
            branch: self.branch.clone(),
            sequence,
            author: self.identity().to_owned(),
            message: self.message.clone(),
            file_count: i64::try_from(self.planned.len()).unwrap_or(i64::MAX),
        }
    }

    /// Whether nobody has to look at it who does not look at others on `main`: it neither overrides policies nor changes what
    /// judges there.
    pub(crate) fn is_plain_on_main(&self) -> bool {
        self.override_reason.is_none()
            && !self.planned.iter().any(|change| is_policy(&change.path) || is_owners_file(&change.path))
    }

    /// The files of the answer. What the plan does not know to be stored is among `stored`.
    pub(crate) fn files(&self, stored: &HashMap<ContentHash, ContentRow>) -> Vec<CommittedFile> {
        let files = self.planned.iter().map(|change| CommittedFile {
            path: change.path.clone(),
            version_id: change
                .hash
                .and_then(|hash| self.plan.content(change).or_else(|| stored.get(&hash)))
                .map(|content| content.version_id),
        });
        files.collect()
    }

    /// The files of the answer, when the commit was made before.
    fn files_of(&self, commit: Option<CommitDetail>) -> Vec<CommittedFile> {
        let files = commit.into_iter().flat_map(|commit| commit.files);
        let mut versions: HashMap<String, _> = files.map(|file| (file.path, file.version_id)).collect();
        let files = self.planned.iter().map(|change| CommittedFile {
            path: change.path.clone(),
            version_id: versions.remove(&change.path).flatten(),
        });
        files.collect()
    }
}

/// What is kept of the answer under the key of the request: the files are in the history, and in the request.
pub(crate) fn answer_to_keep(sequence: i64, commit_hash: String) -> CommitResponse {
    CommitResponse { sequence, files: Vec::new(), commit_hash: Some(commit_hash) }
}

impl CommitChange {
    fn check(&self, operations: &Operations) -> Result<()> {
        if self.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if self.files.is_empty() {
            return Err(Error::bad_request("at least one file is required"));
        }
        if self.message.is_empty() {
            return Err(Error::bad_request("message is required"));
        }
        check_text("message", &self.message, operations.limits().message_bytes_max)
    }
}

/// Lets a writer commit to any branch but `main`, and a maintainer to that.
pub(crate) fn check_may_commit(writer: &Writer, branch: &str) -> Result<()> {
    if branch == MAIN_BRANCH && writer.role() < Role::Maintainer { Err(Error::forbidden()) } else { Ok(()) }
}

impl Operations {
    /// Commits to a branch. The author is the caller. A writer may commit to any branch but `main`; what goes to `main` is
    /// judged by the policies as a merge is.
    ///
    /// # Errors
    /// A request that makes no sense, `FORBIDDEN` on `main`, `BRANCH_NOT_FOUND`, `BRANCH_NOT_ACTIVE`, `HEAD_MOVED`,
    /// `CONTENT_MISSING`, `CONTENT_REFUSED`, `CONFLICT` when a file would have to be a directory as well, or the policies that do not allow
    /// it.
    pub async fn commit(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        mut change: CommitChange,
    ) -> Result<CommitResponse> {
        change.check(self)?;
        check_may_commit(writer, &change.branch)?;
        self.check_changes(&change.files)?;
        let files = std::mem::take(&mut change.files);
        let (mut planned, plan) = self.plan(writer.repo_id(), writer.identity(), vec![files]).await?;
        let key = key.map(|key| key.of_repo(Some(writer.repo_id())));
        let mut prepared =
            prepare(writer.caller(), writer.repo(), key, change, planned.pop().unwrap_or_default(), plan);
        prepared.writer = Some(writer.clone());
        self.commit_in_group(prepared).await
    }

    /// The same for a caller whose right is not known yet: a small commit finds it out with all else that it looks at.
    ///
    /// # Errors
    /// Those of [`Self::access`] first, then those of [`Self::commit`].
    pub async fn commit_as(
        &self,
        caller: &Caller,
        repo: &str,
        key: Option<&IdempotencyKey>,
        mut change: CommitChange,
    ) -> Result<CommitResponse> {
        let checked = change.check(self).and_then(|()| self.check_changes(&change.files));
        if checked.is_ok() && self.is_small(&change.files) {
            let files = std::mem::take(&mut change.files);
            let (planned, plan) = Plan::of_small(caller.identity().as_str(), files);
            return self.commit_in_group(prepare(caller, repo, key.cloned(), change, planned, plan)).await;
        }
        let writer: Writer = self.access(caller, repo).await?.try_into()?;
        checked?;
        self.commit(&writer, key, change).await
    }

    /// Makes a commit in a transaction of its own.
    pub(crate) async fn commit_alone(&self, mut prepared: PreparedCommit) -> Result<CommitResponse> {
        let writer = match prepared.writer.take() {
            Some(writer) => writer,
            None => {
                let writer: Writer = self.access(&prepared.caller, &prepared.repo).await?.try_into()?;
                check_may_commit(&writer, &prepared.branch)?;
                writer
            }
        };
        prepared.key = prepared.key.map(|key| key.of_repo(Some(writer.repo_id())));
        let committed = self.commit_as_writer(&writer, prepared).await;
        self.keep_refusal(&writer, committed).await
    }

    async fn commit_as_writer(&self, writer: &Writer, mut prepared: PreparedCommit) -> Result<CommitResponse> {
        let mut write = match self.begin(writer.caller(), prepared.key.as_ref()).await? {
            Begun::Now(write) => write,
            Begun::Before(kept) => return self.recall(writer, &prepared, kept).await,
        };
        let locked = lock_to_write(&mut write, writer, &prepared.branch, true).await?;
        if locked.branch.status != BranchStatus::Active {
            return Err(Error::refused(ErrorCode::BranchNotActive, "branch is not active"));
        }
        expect_head(&locked, prepared.expected_head)?;
        end_wish_of_another(&mut write, writer, &locked).await?;
        let passage = if prepared.branch == MAIN_BRANCH {
            let PreparedCommit { planned, plan, override_reason, .. } = &mut prepared;
            let reason = override_reason.as_deref();
            Some(self.pass_gate_directly(&mut write, writer, GateAction::Commit, &locked, planned, plan, reason).await?)
        } else {
            None
        };
        self.store_ahead(&mut write, &mut prepared.plan, writer.repo_id(), &prepared.planned).await?;
        let sequence = locked.sequence.unwrap_or_default();
        let mut chain = ChainBuilder::new(writer.repo(), &locked);
        let event = prepared.push_to(&mut chain, sequence, locked.now);
        let NewCommits { commits, head_hash } = chain.finish();
        write.note(Some(writer.repo_id()), &event)?;
        let PreparedCommit { planned, plan, .. } = &mut prepared;
        self.append(&mut write, &locked, Footing::of(&locked), &commits, plan, planned).await?;
        if let Some(passage) = passage {
            passage.keep(&mut write, writer, sequence).await?;
        }
        let kept = self.finish(write, answer_to_keep(sequence, head_hash)).await?;
        Ok(CommitResponse { files: prepared.files(&HashMap::new()), ..kept })
    }

    /// The answer that a commit got before.
    async fn recall(&self, writer: &Writer, prepared: &PreparedCommit, kept: CommitResponse) -> Result<CommitResponse> {
        // Releases before this one kept the files as well.
        if !kept.files.is_empty() {
            return Ok(kept);
        }
        let mut connection = self.pool().acquire().await?;
        let commit = commits::commit(&mut connection, writer.repo_id(), kept.sequence).await?;
        connection.done();
        Ok(CommitResponse { files: prepared.files_of(commit), ..kept })
    }
}

fn prepare(
    caller: &Caller,
    repo: &str,
    key: Option<IdempotencyKey>,
    change: CommitChange,
    planned: Vec<PlannedChange>,
    plan: Plan,
) -> PreparedCommit {
    let CommitChange { branch, message, files: _, expected_head, override_reason } = change;
    PreparedCommit {
        caller: caller.clone(),
        repo: repo.to_owned(),
        writer: None,
        key,
        branch,
        message,
        expected_head,
        override_reason,
        planned,
        plan,
    }
}
