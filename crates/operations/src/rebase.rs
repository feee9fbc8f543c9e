//! Rebasing a branch onto the head of `main`.

use std::collections::HashSet;

use docstore_database::{
    append::{Footing, draw_sequences},
    branch_changes::{LatestChange, ReplayCommit, commits_to_replay, latest_changes_of},
    branches::move_empty_branch,
};
use docstore_models::{EventData, MAIN_BRANCH, RebaseResponse};

use crate::{
    Error, FileChange, IdempotencyKey, Maintainer, Operations, Result,
    auto_merge::end_wish_of_another,
    changes::{ChainBuilder, CommitHead, expect_head},
    merge::{Arrival, check_in_the_way_on_main, conflicts, lock_main_and, rows_of},
    write::begin,
};

/// A rebase to make.
#[derive(Clone, Debug, Default)]
pub struct RebaseChange {
    /// The branch.
    pub branch: String,
    /// The head of the branch that the caller saw.
    pub expected_head: Option<i64>,
    /// The head of `main` that the resolutions were made against.
    pub expected_main_head: Option<i64>,
    /// What conflicting paths shall be afterwards.
    pub resolutions: Vec<FileChange>,
}

impl Operations {
    /// Replays the commits of a branch since its last rebase on top of the head of `main`. Author and message of each
    /// commit stay; number, time and hash are new. Paths that conflict need a resolution; resolutions become one more
    /// commit, by the caller.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, `BRANCH_NOT_ACTIVE`, `HEAD_MOVED`, `CONTENT_MISSING`, `CONTENT_REFUSED`, or the conflicts without a resolution.
    pub async fn rebase(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        change: RebaseChange,
    ) -> Result<RebaseResponse> {
        if change.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if change.branch == MAIN_BRANCH {
            return Err(Error::bad_request("cannot rebase main"));
        }
        self.check_changes(&change.resolutions)?;
        let repo_id = maintainer.repo_id();
        let (mut resolutions, mut plan) = self.plan(repo_id, maintainer.identity(), vec![change.resolutions]).await?;
        let resolutions = resolutions.pop().unwrap_or_default();

        let mut write = begin!(self, maintainer.caller(), key);
        let (main, branch) = lock_main_and(&mut write, maintainer, &change.branch).await?;
        expect_head(&branch, change.expected_head)?;
        expect_head(&main, change.expected_main_head)?;
        let replay = commits_to_replay(&mut write.transaction, branch.branch.id, branch.branch.floor_sequence).await?;
        let latest = latest(&replay);
        let paths: Vec<String> = latest.iter().map(|change| change.path.clone()).collect();
        let on_main =
            latest_changes_of(&mut *write.transaction, main.branch.id, branch.branch.base_sequence, &paths).await?;
        let resolved: HashSet<&str> = resolutions.iter().map(|change| change.path.as_str()).collect();
        let mut open = conflicts(&latest, &on_main);
        open.retain(|conflict| !resolved.contains(conflict.path.as_str()));
        if !open.is_empty() {
            return Err(Error::Conflicts(open));
        }
        let mut arrivals: Vec<Arrival<'_>> =
            latest.iter().filter(|change| !resolved.contains(change.path.as_str())).map(Arrival::from).collect();
        arrivals.extend(resolutions.iter().map(|change| Arrival {
            path: &change.path,
            exists: change.hash.is_some(),
            version_id: None,
        }));
        check_in_the_way_on_main(&mut write, &main, &arrivals).await?;
        if !resolutions.is_empty() {
            end_wish_of_another(&mut write, maintainer, &branch).await?;
        }

        let base_sequence = main.branch.head_sequence;
        let commits_replayed = i64::try_from(replay.len()).unwrap_or(i64::MAX);
        let count = replay.len() + usize::from(!resolutions.is_empty());
        let mut head_sequence = base_sequence;
        if count == 0 {
            move_empty_branch(&mut *write.transaction, &branch, base_sequence).await?;
        } else {
            let sequences = draw_sequences(&mut write.transaction, &branch, count).await?;
            let mut numbers = sequences.into_iter();
            let mut chain = ChainBuilder::new(maintainer.repo(), &branch);
            for commit in replay {
                head_sequence = numbers.next().unwrap_or_default();
                let (rows, hashes) = rows_of(&commit.changes);
                let head = CommitHead {
                    sequence: head_sequence,
                    author: commit.author,
                    message: commit.message,
                    created_at: branch.now,
                    replayed_from: Some(commit.sequence),
                    imported_from: commit.imported_from,
                    // The rebaser brought nothing: what the author and the pusher wrote is written again.
                    pushed_by: commit.pushed_by,
                };
                chain.push(head, rows, &hashes);
            }
            if !resolutions.is_empty() {
                head_sequence = numbers.next().unwrap_or_default();
                // What is in the way was asked above, of the branch as it will be.
                self.store_early(&mut write, &mut plan, repo_id, &resolutions).await?;
                let rows = resolutions.iter().map(|change| plan.row(change)).collect();
                let hashes: Vec<Option<String>> =
                    resolutions.iter().map(|change| change.hash.map(hex::encode)).collect();
                let head = CommitHead {
                    sequence: head_sequence,
                    author: maintainer.identity().to_owned(),
                    message: "resolve conflicts with main".to_owned(),
                    created_at: branch.now,
                    replayed_from: None,
                    imported_from: None,
                    pushed_by: None,
                };
                chain.push(head, rows, &hashes);
            }
            let commits = chain.finish().commits;
            // Everything the branch wrote so far belongs to the time before this rebase.
            let footing = Footing {
                base_sequence,
                floor_sequence: branch.branch.head_sequence.max(branch.branch.floor_sequence),
                parent_sequence: base_sequence,
            };
            self.append(&mut write, &branch, footing, &commits, &mut plan, &[]).await?;
        }
        let event = EventData::BranchRebased {
            repo: maintainer.repo().to_owned(),
            branch: change.branch,
            new_base_sequence: base_sequence,
            new_head_sequence: head_sequence,
            commits_replayed,
            rebased_by: maintainer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, RebaseResponse { base_sequence, head_sequence, commits_replayed }).await
    }
}

/// The latest change of every path in commits to replay, by path.
fn latest(replay: &[ReplayCommit]) -> Vec<LatestChange> {
    let mut by_path = std::collections::BTreeMap::new();
    for change in replay.iter().flat_map(|commit| &commit.changes) {
        by_path.insert(change.path.as_str(), change);
    }
    by_path.into_values().cloned().collect()
}
