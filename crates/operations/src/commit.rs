//! Committing to a branch.

use std::collections::HashMap;

use docstore_database::{
    append::Footing,
    branches::LockedBranch,
    contents::{ContentHash, ContentRow},
};
use docstore_models::{BranchStatus, CommitResponse, CommittedFile, ErrorCode, EventData, MAIN_BRANCH, Role};

use crate::{
    Error, FileChange, IdempotencyKey, Operations, Result, Writer,
    auto_merge::end_wish_of_another,
    branches::lock_to_write,
    changes::{ChainBuilder, CommitHead, NewCommits, Plan, PlannedChange, check_text, expect_head},
    gate::GateAction,
    write::begin,
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
    pub(crate) writer: Writer,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) branch: String,
    message: String,
    pub(crate) expected_head: Option<i64>,
    override_reason: Option<String>,
    pub(crate) planned: Vec<PlannedChange>,
    pub(crate) plan: Plan,
}

impl PreparedCommit {
    /// The commit behind the head of its locked branch, and the event that tells of it.
    pub(crate) fn behind(&self, locked: &LockedBranch) -> (NewCommits, EventData) {
        let sequence = locked.next_sequence.unwrap_or_default();
        let hashes: Vec<Option<String>> = self.planned.iter().map(|change| change.hash.map(hex::encode)).collect();
        let mut chain = ChainBuilder::new(self.writer.repo(), locked);
        let head = CommitHead {
            sequence,
            author: self.writer.identity().to_owned(),
            message: self.message.clone(),
            created_at: locked.now,
            replayed_from: None,
            imported_from: None,
            pushed_by: None,
        };
        chain.push(head, self.planned.iter().map(|change| self.plan.row(change)).collect(), &hashes);
        let event = EventData::CommitCreated {
            repo: self.writer.repo().to_owned(),
            branch: self.branch.clone(),
            sequence,
            author: self.writer.identity().to_owned(),
            message: self.message.clone(),
            file_count: i64::try_from(self.planned.len()).unwrap_or(i64::MAX),
        };
        (chain.finish(), event)
    }

    /// The answer. What the plan does not know to be stored is among `stored`.
    pub(crate) fn answer(
        &self,
        locked: &LockedBranch,
        commit_hash: String,
        stored: &HashMap<ContentHash, ContentRow>,
    ) -> CommitResponse {
        let files = self.planned.iter().map(|change| CommittedFile {
            path: change.path.clone(),
            version_id: change
                .hash
                .and_then(|hash| self.plan.content(change).or_else(|| stored.get(&hash)))
                .map(|content| content.version_id),
        });
        CommitResponse {
            sequence: locked.next_sequence.unwrap_or_default(),
            files: files.collect(),
            commit_hash: Some(commit_hash),
        }
    }
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
        change: CommitChange,
    ) -> Result<CommitResponse> {
        let prepared = self.prepare_commit(writer, key, change).await?;
        let committed = self.commit_in_group(prepared).await;
        self.keep_refusal(writer, committed).await
    }

    async fn prepare_commit(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        change: CommitChange,
    ) -> Result<PreparedCommit> {
        if change.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if change.files.is_empty() {
            return Err(Error::bad_request("at least one file is required"));
        }
        if change.message.is_empty() {
            return Err(Error::bad_request("message is required"));
        }
        check_text("message", &change.message, self.limits().message_bytes_max)?;
        if change.branch == MAIN_BRANCH && writer.role() < Role::Maintainer {
            return Err(Error::forbidden());
        }
        self.check_changes(&change.files)?;
        let (mut planned, plan) = self.plan(writer.repo_id(), writer.identity(), vec![change.files]).await?;
        Ok(PreparedCommit {
            writer: writer.clone(),
            key: key.cloned(),
            branch: change.branch,
            message: change.message,
            expected_head: change.expected_head,
            override_reason: change.override_reason,
            planned: planned.pop().unwrap_or_default(),
            plan,
        })
    }

    /// Makes a commit in a transaction of its own.
    pub(crate) async fn commit_alone(&self, mut prepared: PreparedCommit) -> Result<CommitResponse> {
        let writer = prepared.writer.clone();
        let mut write = begin!(self, writer.caller(), prepared.key.as_ref());
        let locked = lock_to_write(&mut write, &writer, &prepared.branch, true).await?;
        if locked.branch.status != BranchStatus::Active {
            return Err(Error::refused(ErrorCode::BranchNotActive, "branch is not active"));
        }
        expect_head(&locked, prepared.expected_head)?;
        end_wish_of_another(&mut write, &writer, &locked).await?;
        let passage = if prepared.branch == MAIN_BRANCH {
            let PreparedCommit { planned, plan, override_reason, .. } = &mut prepared;
            let reason = override_reason.as_deref();
            Some(
                self.pass_gate_directly(&mut write, &writer, GateAction::Commit, &locked, planned, plan, reason)
                    .await?,
            )
        } else {
            None
        };
        self.store_ahead(&mut write, &mut prepared.plan, writer.repo_id(), &prepared.planned).await?;
        let (NewCommits { commits, head_hash }, event) = prepared.behind(&locked);
        write.note(Some(writer.repo_id()), &event)?;
        let PreparedCommit { planned, plan, .. } = &mut prepared;
        self.append(&mut write, &locked, Footing::of(&locked), &commits, plan, planned).await?;
        if let Some(passage) = passage {
            passage.keep(&mut write, &writer, locked.next_sequence.unwrap_or_default()).await?;
        }
        let answer = prepared.answer(&locked, head_hash, &HashMap::new());
        self.finish(write, answer).await
    }
}
