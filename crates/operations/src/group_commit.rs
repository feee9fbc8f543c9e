//! Group commit: small commits to different branches of one repo that arrive while others are being written are written
//! in one transaction.
//!
//! A group takes what nothing stands against and waits for nobody. Whatever has something to it, such as a branch that is
//! locked or has moved, a path that is in the way, or a key that was used before, is made alone, as every other commit is,
//! and gets its refusal there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use docstore_database::{
    CommitError, Transaction,
    append::{Appended, BranchAppend, Brought, Footing, append_commits},
    branches::{LockedBranch, lock_free_branches},
    contents::NewContent,
    event_log::NewEvent,
    idempotency::{UsedKey, claim_keys, release_keys, store_answers},
    obliterations::obliterations_of,
};
use docstore_models::{BranchStatus, CommitResponse, MAIN_BRANCH};

use crate::{
    Error, Operations, Result,
    changes::{NewCommits, created_paths},
    commit::PreparedCommit,
    together::{Service, Together},
    write::envelope,
};

/// The most commits of one group: nobody waits for more than that many others.
const GROUP_COMMITS_MAX: usize = 64;

/// The most files of a commit in a group, for the same reason.
const GROUP_FILES_MAX: usize = 16;

/// The most bytes of new contents of a commit in a group.
const GROUP_BYTES_MAX: usize = 64 * 1024;

/// The commits that wait, by repo.
pub(crate) type CommitGroups = Together<GroupWriter>;

pub(crate) fn commit_groups() -> Arc<CommitGroups> {
    Together::new(GROUP_COMMITS_MAX)
}

/// Writes groups of commits to a repo.
#[derive(Clone)]
pub(crate) struct GroupWriter(Operations);

impl Service for GroupWriter {
    type Key = i64;
    type Question = PreparedCommit;
    type Answer = Outcome;

    async fn serve(&self, repo_id: &i64, members: Vec<PreparedCommit>) -> Vec<Outcome> {
        self.0.write_group(*repo_id, members).await
    }
}

/// What came of a commit that waited for a group.
pub(crate) enum Outcome {
    /// It was in one, and this came of it.
    Written(Result<CommitResponse>),
    /// It has to be made alone.
    Alone(Box<PreparedCommit>),
}

/// Whether a commit may be one of a group: small, and judged by nobody but the branch's lock.
fn may_join(prepared: &PreparedCommit) -> bool {
    prepared.branch != MAIN_BRANCH
        && prepared.writer.caller().covers_branch(&prepared.branch)
        && prepared.planned.len() <= GROUP_FILES_MAX
        && prepared.plan.inline_bytes().is_some_and(|bytes| bytes <= GROUP_BYTES_MAX)
}

impl Operations {
    /// Makes a commit, in a group when it may join one.
    pub(crate) async fn commit_in_group(&self, prepared: PreparedCommit) -> Result<CommitResponse> {
        if !may_join(&prepared) {
            return self.commit_alone(prepared).await;
        }
        let repo_id = prepared.writer.repo_id();
        match self.commit_groups().ask(GroupWriter(self.clone()), repo_id, prepared).await {
            Ok(Outcome::Written(written)) => written,
            Ok(Outcome::Alone(prepared)) => self.commit_alone(*prepared).await,
            Err(broken_off) => Err(Error::Internal(Box::new(broken_off))),
        }
    }

    /// Writes what can be written of a group, and says of each member what came of it.
    async fn write_group(&self, repo_id: i64, members: Vec<PreparedCommit>) -> Vec<Outcome> {
        let transaction = match docstore_database::begin_impatient(self.pool()).await {
            Ok(transaction) => transaction,
            Err(error) => {
                let error = Arc::new(error);
                return members.iter().map(|_| Outcome::Written(Err(Error::of_shared(&error)))).collect();
            }
        };
        let mut written = vec![None; members.len()];
        let mut unknown = None;
        match self.write_together(transaction, repo_id, &members).await {
            Ok((transaction, answers)) => {
                let committed = docstore_database::commit(transaction).await;
                // Also when it is not known, since it may have happened.
                self.commit_happened();
                match committed {
                    Ok(()) => written = answers,
                    Err(CommitError::Unknown(cause)) => (written, unknown) = (answers, Some(Arc::new(cause))),
                    Err(CommitError::Refused(error)) => note_dissolved(&error.into()),
                }
            }
            Err(error) => note_dissolved(&error),
        }
        let outcomes = members.into_iter().zip(written).map(|(prepared, answer)| match (answer, &unknown) {
            (Some(answer), None) => Outcome::Written(Ok(answer)),
            (Some(_), Some(cause)) => Outcome::Written(Err(Error::OutcomeUnknown(Box::new(Arc::clone(cause))))),
            (None, _) => Outcome::Alone(Box::new(prepared)),
        });
        outcomes.collect()
    }

    /// Does all but the commit of the transaction. Answers, member by member, what is written; nothing for those who have to
    /// go alone.
    ///
    /// # Errors
    /// When all have to, because something is in the way of one that cannot be told apart.
    async fn write_together(
        &self,
        mut transaction: Transaction,
        repo_id: i64,
        members: &[PreparedCommit],
    ) -> Result<(Transaction, Vec<Option<CommitResponse>>)> {
        let claimed = claim(&mut transaction, repo_id, members).await?;
        let branches: Vec<&str> = claimed.iter().map(|index| members[*index].branch.as_str()).collect();
        let locked = lock_free_branches(&mut transaction, repo_id, &branches).await?;
        let mut locked: HashMap<String, LockedBranch> =
            locked.into_iter().map(|locked| (locked.branch.name.clone(), locked)).collect();
        // By member; the order of the locks is of no matter any more.
        let ready: Vec<(usize, LockedBranch)> = claimed
            .iter()
            .filter_map(|index| {
                let prepared = &members[*index];
                let locked = locked.remove(&prepared.branch)?;
                let as_expected = prepared.expected_head.is_none_or(|head| head == locked.branch.head_sequence);
                let plain = locked.branch.status == BranchStatus::Active && !locked.branch.auto_merge;
                (as_expected && plain).then_some((*index, locked))
            })
            .collect();
        self.refuse_obliterated(&mut transaction, repo_id, members, &ready).await?;

        let now = self.now();
        let mut commits: Vec<NewCommits> = Vec::with_capacity(ready.len());
        let mut events: Vec<NewEvent> = Vec::with_capacity(ready.len());
        for (index, locked) in &ready {
            let (new, event) = members[*index].behind(locked);
            events.push(envelope(now, Some(repo_id), &event)?);
            commits.push(new);
        }
        let created: Vec<Vec<&str>> = ready.iter().map(|(index, _)| created_paths(&members[*index].planned)).collect();
        let appends: Vec<BranchAppend<'_>> = ready
            .iter()
            .zip(&commits)
            .zip(&created)
            .map(|(((_, locked), new), created)| BranchAppend {
                locked,
                footing: Footing::of(locked),
                commits: &new.commits,
                created,
            })
            .collect();
        let mut seen = HashSet::new();
        let contents: Vec<&NewContent> = ready
            .iter()
            .flat_map(|(index, _)| members[*index].plan.new_contents())
            .filter(|content| seen.insert(content.hash))
            .collect();
        let brought = Brought { contents: &contents, events: &events };
        let Appended { contents, crowded } = append_commits(&mut transaction, repo_id, &appends, brought).await?;
        if crowded || contents.len() < seen.len() {
            return Err(Error::Unavailable("the group", "a path is in the way, or a content was obliterated".into()));
        }

        let stored = contents.into_iter().map(|row| (row.hash, row)).collect();
        let mut answers = vec![None; members.len()];
        for ((index, locked), new) in ready.iter().zip(commits) {
            answers[*index] = Some(members[*index].answer(locked, new.head_hash, &stored));
        }
        settle_keys(&mut transaction, members, &claimed, &answers).await?;
        Ok((transaction, answers))
    }

    /// Dissolves a group in which somebody names a content that has been obliterated since it was looked up.
    async fn refuse_obliterated(
        &self,
        transaction: &mut Transaction,
        repo_id: i64,
        members: &[PreparedCommit],
        ready: &[(usize, LockedBranch)],
    ) -> Result<()> {
        let looked_up: Vec<_> = ready.iter().flat_map(|(index, _)| members[*index].plan.looked_up()).copied().collect();
        if looked_up.is_empty() || obliterations_of(&mut **transaction, repo_id, &looked_up).await?.is_empty() {
            return Ok(());
        }
        Err(Error::Unavailable("the group", "a content was obliterated".into()))
    }
}

fn note_dissolved(error: &Error) {
    tracing::debug!(error = error as &(dyn std::error::Error + 'static), "the commits of a group are made alone");
}

/// The key of a member, if it came with one.
fn used_key(member: &PreparedCommit) -> Option<UsedKey<'_>> {
    member.key.as_ref().map(|key| key.used_by(member.writer.identity()))
}

/// Claims the keys of members. Answers whose are theirs now, and who has none, by their index.
async fn claim(transaction: &mut Transaction, repo_id: i64, members: &[PreparedCommit]) -> Result<Vec<usize>> {
    let mut once = HashSet::new();
    let (mut free, mut keyed, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (index, member) in members.iter().enumerate() {
        match used_key(member) {
            None => free.push(index),
            Some(key) if once.insert((key.identity, key.key)) => {
                keyed.push(index);
                keys.push(key);
            }
            // The same request sent twice at once: the second one finds the answer of the first.
            Some(_) => {}
        }
    }
    if !keys.is_empty() {
        free.extend(claim_keys(transaction, Some(repo_id), &keys).await?.into_iter().map(|place| keyed[place]));
    }
    Ok(free)
}

/// Stores the answers under the claimed keys, and gives back those of members who go alone.
async fn settle_keys(
    transaction: &mut Transaction,
    members: &[PreparedCommit],
    claimed: &[usize],
    answers: &[Option<CommitResponse>],
) -> Result<()> {
    let (mut stored, mut released) = (Vec::new(), Vec::new());
    for index in claimed {
        match (used_key(&members[*index]), &answers[*index]) {
            (None, _) => {}
            (Some(key), None) => released.push(key),
            (Some(key), Some(answer)) => {
                let text = serde_json::to_string(answer).map_err(|error| Error::Internal(Box::new(error)))?;
                stored.push((key, text));
            }
        }
    }
    if !released.is_empty() {
        release_keys(&mut **transaction, &released).await?;
    }
    if !stored.is_empty() {
        store_answers(&mut **transaction, &stored).await?;
    }
    Ok(())
}
