//! Committing to a branch.

use docstore_database::append::Footing;
use docstore_models::{BranchStatus, CommitResponse, CommittedFile, ErrorCode, EventData, MAIN_BRANCH, Role};

use crate::{
    Error, FileChange, IdempotencyKey, Operations, Result, Writer,
    auto_merge::end_wish_of_another,
    branches::lock_to_write,
    changes::{ChainBuilder, CommitHead, check_text, expect_head},
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
        let committed = self.commit_judged(writer, key, change).await;
        self.keep_refusal(writer, committed).await
    }

    async fn commit_judged(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        change: CommitChange,
    ) -> Result<CommitResponse> {
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
        let repo_id = writer.repo_id();
        let (mut planned, mut plan) = self.plan(repo_id, vec![change.files]).await?;
        let planned = planned.pop().unwrap_or_default();

        let mut write = begin!(self, writer.caller(), key);
        let locked = lock_to_write(&mut write, writer, &change.branch, true).await?;
        if locked.branch.status != BranchStatus::Active {
            return Err(Error::refused(ErrorCode::BranchNotActive, "branch is not active"));
        }
        expect_head(&locked, change.expected_head)?;
        end_wish_of_another(&mut write, writer, &locked).await?;
        let passage = if change.branch == MAIN_BRANCH {
            let reason = change.override_reason.as_deref();
            Some(
                self.pass_gate_directly(&mut write, writer, GateAction::Commit, &locked, &planned, &mut plan, reason)
                    .await?,
            )
        } else {
            None
        };

        let sequence = locked.next_sequence.unwrap_or_default();
        let hashes: Vec<Option<String>> = planned.iter().map(|change| change.hash.map(hex::encode)).collect();
        let mut chain = ChainBuilder::new(writer.repo(), &locked);
        let head = CommitHead {
            sequence,
            author: writer.identity().to_owned(),
            message: change.message.clone(),
            created_at: locked.now,
            replayed_from: None,
            imported_from: None,
            pushed_by: None,
        };
        chain.push(head, planned.iter().map(|change| plan.row(change)).collect(), &hashes);
        let (commits, commit_hash) = chain.finish();
        let event = EventData::CommitCreated {
            repo: writer.repo().to_owned(),
            branch: change.branch,
            sequence,
            author: writer.identity().to_owned(),
            message: change.message,
            file_count: i64::try_from(planned.len()).unwrap_or(i64::MAX),
        };
        write.note(Some(repo_id), &event)?;
        let footing = Footing {
            base_sequence: locked.branch.base_sequence,
            floor_sequence: locked.branch.floor_sequence,
            parent_sequence: locked.branch.head_sequence,
        };
        self.append(&mut write, &locked, footing, &commits, &mut plan, &planned).await?;
        if let Some(passage) = passage {
            passage.keep(&mut write, writer, sequence).await?;
        }

        let files = planned
            .iter()
            .map(|change| CommittedFile {
                path: change.path.clone(),
                version_id: plan.content(change).map(|content| content.version_id),
            })
            .collect();
        self.finish(write, CommitResponse { sequence, files, commit_hash: Some(commit_hash) }).await
    }
}
