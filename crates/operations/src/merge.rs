//! Merging a branch into `main`, and what stands between the two.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use docstore_database::{
    Transaction,
    append::{BranchAppend, Brought, Footing, NewChange, append_commits, draw_sequences},
    branch_changes::{LatestChange, latest_changes, latest_changes_of},
    branches::{self, BranchRow, LockedBranch, lock_branch},
    commits::files_in_the_way,
    policies::MainFile,
};
use docstore_history::{Change, clashing_paths, conflicts_between};
use docstore_models::{
    BranchStatus, Conflict, Diff, DiffEntry, ErrorCode, EventData, MAIN_BRANCH, MergeRequest, MergeResponse,
};
use uuid::Uuid;

use crate::{
    Access, Error, IdempotencyKey, Maintainer, Operations, Reader, Result, auto_merge,
    branches::lock_to_write,
    changes::{ChainBuilder, CommitHead, expect_head},
    gate::{Actor, GateAction, Question},
    proposals::merge_proposal,
    write::{Write, begin},
};

impl Operations {
    /// Merges a branch into `main` as one commit by the caller. A dry run tells what would happen, spends no number and
    /// emits nothing; its answer is the head of `main` as it is.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, `BRANCH_NOT_ACTIVE`, `BRANCH_DRAFT`, `HEAD_MOVED`, the conflicts, or the policies that do not
    /// allow it. What is about the branch as it is comes with what to do about it.
    pub async fn merge(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        request: &MergeRequest,
    ) -> Result<MergeResponse> {
        let actor = Actor::of(maintainer);
        let merged = self.merge_as(maintainer, &actor, key, request, None).await;
        let merged = self.keep_refusal(maintainer, merged).await;
        self.explain_refusal(maintainer, &request.branch, merged).await
    }

    /// Merges as the actor, by the right of the maintainer. With `asked_by`, only while the branch is to merge by itself
    /// because of that person.
    pub(crate) async fn merge_as(
        &self,
        maintainer: &Maintainer,
        actor: &Actor,
        key: Option<&IdempotencyKey>,
        request: &MergeRequest,
        asked_by: Option<&str>,
    ) -> Result<MergeResponse> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if request.branch == MAIN_BRANCH {
            return Err(Error::bad_request("cannot merge main into itself"));
        }
        // A merge writes both.
        maintainer.check_branch(MAIN_BRANCH)?;
        let repo_id = maintainer.repo_id();
        let mut write = begin!(self, maintainer.caller(), key);
        let (main, branch) = lock_main_and(&mut write, maintainer, &request.branch).await?;
        if let Some(asked_by) = asked_by {
            auto_merge::check_still_asked(&mut write, &branch, asked_by).await?;
        }
        if branch.branch.draft {
            return Err(Error::refused(ErrorCode::BranchDraft, "branch is in draft state"));
        }
        expect_head(&branch, request.expected_head)?;
        let changes = latest_changes(&mut *write.transaction, branch.branch.id, branch.branch.floor_sequence).await?;
        let paths: Vec<String> = changes.iter().map(|change| change.path.clone()).collect();
        // While main stands where the branch starts from, the merge makes of it what the branch is. Nothing conflicts with that,
        // and no file is in the way: the commits of the branch have looked.
        if main.branch.head_sequence != branch.branch.base_sequence {
            let on_main =
                latest_changes_of(&mut *write.transaction, main.branch.id, branch.branch.base_sequence, &paths).await?;
            let conflicts = conflicts(&changes, &on_main);
            if !conflicts.is_empty() {
                return Err(Error::Conflicts(conflicts));
            }
            let arrivals: Vec<Arrival<'_>> = changes.iter().map(Arrival::from).collect();
            check_in_the_way_on_main(&mut write, &main, &arrivals).await?;
        }
        let arriving = changes.iter().filter_map(arriving_file).collect();
        let touched: Vec<&str> = paths.iter().map(String::as_str).collect();
        self.check_arriving(&mut write.transaction, &main, &touched, arriving).await?;
        let question = Question {
            access: maintainer,
            actor,
            action: GateAction::Merge,
            main: &main.branch,
            // The wait for the branch came after the look.
            branch: &branch.branch,
            changes: &changes,
            paths: touched,
            override_reason: request.override_reason.as_deref(),
            dry_run: request.dry_run,
        };
        let passage = self.pass_gate(&mut write.transaction, question).await?;
        if request.dry_run {
            return Ok(MergeResponse { sequence: main.branch.head_sequence });
        }
        let mut sequence = main.branch.head_sequence;
        if !changes.is_empty() {
            sequence = append_merge(&mut write, maintainer, actor, &main, &request.branch, &changes).await?;
        }
        branches::set_status(&mut *write.transaction, &branch, BranchStatus::Merged).await?;
        merge_proposal(&mut write, maintainer.repo(), &branch).await?;
        let event = EventData::BranchMerged {
            repo: maintainer.repo().to_owned(),
            branch: request.branch.clone(),
            sequence,
            merged_by: actor.identity.clone(),
            branch_status: Some(passage.status()),
            on_behalf_of: asked_by.map(str::to_owned),
        };
        passage.keep(&mut write, maintainer, sequence).await?;
        write.note(Some(repo_id), &event)?;
        self.finish(write, MergeResponse { sequence }).await
    }

    /// What branch and `main` each changed since the branch's base, and where that conflicts.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`.
    pub async fn diff(&self, reader: &Reader, branch: &str) -> Result<Diff> {
        if branch.is_empty() {
            return Err(Error::bad_request("branch parameter is required"));
        }
        // One snapshot for all reads, so that the sides belong together.
        let mut transaction = docstore_database::begin_snapshot(self.pool()).await?;
        let row =
            branches::branch(&mut *transaction, reader.repo_id(), branch).await?.ok_or_else(Error::branch_not_found)?;
        let ours = latest_changes(&mut *transaction, row.id, row.floor_sequence).await?;
        if branch == MAIN_BRANCH {
            // Everything on main is changed since its base, 0, and nothing conflicts with itself.
            let changes: Vec<DiffEntry> = ours.iter().map(entry).collect();
            return Ok(Diff { branch_changes: changes.clone(), main_changes: changes, conflicts: Vec::new() });
        }
        let main = branches::branch(&mut *transaction, reader.repo_id(), MAIN_BRANCH)
            .await?
            .ok_or_else(Error::branch_not_found)?;
        let theirs = latest_changes(&mut *transaction, main.id, row.base_sequence).await?;
        Ok(Diff {
            conflicts: conflicts(&ours, &theirs),
            branch_changes: ours.iter().map(entry).collect(),
            main_changes: theirs.iter().map(entry).collect(),
        })
    }
}

/// Locks `main` and then another, active branch, which the caller is going to write: always in this order, so that nobody
/// waits in a circle.
pub(crate) async fn lock_main_and(
    write: &mut Write,
    access: &Access,
    name: &str,
) -> Result<(LockedBranch, LockedBranch)> {
    access.check_branch(name)?;
    let main = lock_branch(&mut write.transaction, access.repo_id(), MAIN_BRANCH, false)
        .await?
        .ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?;
    let branch = lock_to_write(write, access, name, false).await?;
    if branch.branch.status != BranchStatus::Active {
        return Err(Error::refused(ErrorCode::BranchNotActive, "branch is not active"));
    }
    Ok((main, branch))
}

async fn append_merge(
    write: &mut Write,
    maintainer: &Maintainer,
    actor: &Actor,
    main: &LockedBranch,
    branch: &str,
    changes: &[LatestChange],
) -> Result<i64> {
    let sequences = draw_sequences(&mut write.transaction, main, 1).await?;
    let sequence = sequences.first().copied().unwrap_or_default();
    let mut chain = ChainBuilder::new(maintainer.repo(), main);
    let head = CommitHead {
        sequence,
        author: actor.identity.clone(),
        message: format!("merge branch '{branch}'"),
        created_at: main.now,
        replayed_from: None,
        imported_from: None,
        pushed_by: None,
    };
    let (rows, hashes) = rows_of(changes);
    chain.push(head, rows, &hashes);
    let commits = chain.finish().commits;
    let footing = Footing { base_sequence: 0, floor_sequence: 0, parent_sequence: main.branch.head_sequence };
    let append = BranchAppend { branch: main, footing, commits: &commits, created: &[] };
    append_commits(&mut write.transaction, main.repo_id, &[append], Brought::default()).await?;
    Ok(sequence)
}

/// What a change brings to `main`; nothing when it deletes.
pub(crate) fn arriving_file(change: &LatestChange) -> Option<MainFile> {
    let hash = change.hash.as_deref().and_then(|hash| hash.try_into().ok())?;
    let content_id = change.content_id?;
    Some(MainFile { path: change.path.clone(), content_id, hash, size: change.size?, obliterated: change.obliterated })
}

/// Changes as they are, to be appended elsewhere, with the hashes that go into the chain.
pub(crate) fn rows_of(changes: &[LatestChange]) -> (Vec<NewChange>, Vec<Option<String>>) {
    changes
        .iter()
        .map(|change| {
            let row = NewChange {
                path: change.path.clone(),
                content: change.content_id.into(),
                mode: change.mode.to_i32(),
                content_type: change.content_type.clone(),
            };
            (row, change.hash.as_ref().map(hex::encode))
        })
        .unzip()
}

/// Where two sides changed the same path to different results.
pub(crate) fn conflicts(branch: &[LatestChange], main: &[LatestChange]) -> Vec<Conflict> {
    let results = |changes: &[LatestChange]| -> BTreeMap<String, Change<i64>> {
        changes
            .iter()
            .map(|change| (change.path.clone(), change.content_id.map(|id| (id, change.mode.to_i32()))))
            .collect()
    };
    let versions = |changes: &'_ [LatestChange]| -> HashMap<String, String> {
        changes.iter().filter_map(|change| Some((change.path.clone(), change.version_id?.to_string()))).collect()
    };
    let (mut on_branch, mut on_main) = (versions(branch), versions(main));
    conflicts_between(&results(branch), &results(main))
        .into_iter()
        .map(|path| Conflict {
            main_version_id: on_main.remove(&path).unwrap_or_default(),
            branch_version_id: on_branch.remove(&path).unwrap_or_default(),
            path,
        })
        .collect()
}

/// What a merge or a rebase makes of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) path: &'a str,
    /// Whether the file is there afterwards.
    pub(crate) exists: bool,
    /// Its content, as far as it has an id already.
    pub(crate) version_id: Option<Uuid>,
}

impl<'a> From<&'a LatestChange> for Arrival<'a> {
    fn from(change: &'a LatestChange) -> Self {
        Self { path: &change.path, exists: change.content_id.is_some(), version_id: change.version_id }
    }
}

/// Refuses to bring changes, each path once, to the head of `main` when a path would then be a file and a directory.
pub(crate) async fn check_in_the_way_on_main(
    write: &mut Write,
    main: &LockedBranch,
    changes: &[Arrival<'_>],
) -> Result<()> {
    let conflicts = in_the_way_on_main(&mut write.transaction, main.repo_id, &main.branch, changes).await?;
    if conflicts.is_empty() { Ok(()) } else { Err(Error::Conflicts(conflicts)) }
}

/// The paths that would then be a file and a directory.
pub(crate) async fn in_the_way_on_main(
    transaction: &mut Transaction,
    repo_id: i64,
    main: &BranchRow,
    changes: &[Arrival<'_>],
) -> Result<Vec<Conflict>> {
    let (created, deleted): (Vec<Arrival<'_>>, Vec<Arrival<'_>>) = changes.iter().partition(|change| change.exists);
    if created.is_empty() {
        return Ok(Vec::new());
    }
    let versions: BTreeMap<&str, Option<Uuid>> =
        created.iter().map(|change| (change.path, change.version_id)).collect();
    let created: Vec<&str> = versions.keys().copied().collect();
    let deleted: Vec<&str> = deleted.iter().map(|change| change.path).collect();
    let among_themselves = clashing_paths(&created).into_iter().map(|(file, _)| file.to_owned());
    let with_main = files_in_the_way(&mut **transaction, main, repo_id, &created, &deleted).await?;
    let refused: BTreeSet<String> = among_themselves.chain(with_main.into_iter().map(|(path, _)| path)).collect();
    // Shown like any other conflict: the path on the branch, which main has no file for.
    let conflict = |path: String| {
        let version = versions.get(path.as_str()).copied().flatten();
        let branch_version_id = version.map(|id| id.to_string()).unwrap_or_default();
        Conflict { branch_version_id, main_version_id: String::new(), path }
    };
    Ok(refused.into_iter().map(conflict).collect())
}

fn entry(change: &LatestChange) -> DiffEntry {
    let binary = change.content_type.as_deref().is_some_and(|content_type| !content_type.starts_with("text/"));
    DiffEntry { path: change.path.clone(), version_id: change.version_id, binary, obliterated: change.obliterated }
}
