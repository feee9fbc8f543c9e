//! Branches that merge by themselves.
//!
//! Whatever could let a branch merge leaves a row in its own transaction (`migrations/0012_auto_merge.up.sql`), so nothing
//! is missed while no process runs. Each server looks at some such branches at a time, and tries the merge that a person
//! would: the same code, the same gate, the same locks. Repos take turns, over all servers: at most one branch of a repo is
//! looked at at a time, and whichever repo waits longest comes next. So nobody waits for a repo with a thousand branches and
//! slow policies for longer than it takes to look at one of them.
//!
//! It happens on behalf of whoever asked for it, as long as that person may merge, and under the name `auto-merge`. A
//! conflict ends the wish, since only a person can resolve it. So does the end of the agent that asked, and a change of the
//! branch by somebody who may not merge: what was asked for is what was there to be seen. Where policies say no, that is
//! kept like a refusal, and the branch waits for what happens next. It is looked at again after a while where all of them go
//! by the time, since nothing needs to happen then.

use std::time::Duration;

use docstore_database::{
    auto_merge::{self, DueBranch, NextTurn, RepoTurn},
    branches::{LockedBranch, lock_branch},
};
use docstore_models::{Action, BranchStatus, ErrorCode, EventData, MAIN_BRANCH, MergeRequest, PrincipalKind, Role};
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::sleep,
};

use crate::{
    Access, Error, Maintainer, Operations, Result,
    gate::Actor,
    write::{Begun, Write},
};

/// The author of automatic merges.
pub(crate) const AUTO_MERGE: &str = "auto-merge";

/// How many branches may wait in one repo to merge by themselves: each commit to `main` has all of them looked at. Requests
/// that run at once may go a little beyond.
pub(crate) const AUTO_MERGES_PER_REPO_MAX: i64 = 1_000;
/// How many branches a server looks at at a time, each of another repo. Each takes a connection and evaluates policies, of
/// which there are more for those who wait for an answer.
const LOOKS_AT_ONCE_MAX: usize = 4;
/// How often branches are looked for, beside after each commit of this process: other processes commit as well, and some
/// branches are due at a time.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long commits are gathered before branches are looked for.
const GATHERING_PAUSE: Duration = Duration::from_millis(10);
/// How long a server has for one branch before another one looks at it: longer than any merge takes.
const CLAIM_SECONDS: i32 = 120;
/// When a branch that policies hold up is looked at again, though nothing happened: they go by the time.
const LOOK_AGAIN_SECONDS: i32 = 15 * 60;
/// How long a branch is put off whose merge failed for another reason than the branch itself; doubled each time.
const FAILED_SECONDS: i32 = 5;
/// The longest that it is put off.
const FAILED_SECONDS_MAX: i32 = 10 * 60;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AutoMerges {
    /// How many branches were looked at.
    pub considered: usize,
    /// How many of them merged.
    pub merged: usize,
}

/// What became of a branch that was looked at.
enum Outcome {
    Merged,
    /// Nothing to do until something happens.
    Done,
    /// It has to wait.
    Wait(i32),
}

/// A branch to look at, in the turn of its repo.
struct Claim {
    turn: RepoTurn,
    due: DueBranch,
}

impl Operations {
    /// Merges what is to merge by itself until shutdown, and then lets every look that is under way end. `committed` tells
    /// that this process has committed something.
    pub async fn merge_by_itself_until(&self, committed: &Notify, shutdown: impl Future<Output = ()>) {
        let mut looks = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            while looks.len() < LOOKS_AT_ONCE_MAX {
                match self.claim_due().await {
                    Ok(Some(claim)) => {
                        let this = self.clone();
                        looks.spawn(async move { this.look_at(claim).await });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        log_failure(&error);
                        break;
                    }
                }
            }
            tokio::select! {
                () = &mut shutdown => break,
                // Commits that follow share one look.
                () = committed.notified() => sleep(GATHERING_PAUSE).await,
                Some(ended) = looks.join_next() => look_ended(ended),
                () = sleep(LOOK_INTERVAL) => {}
            }
            while let Some(ended) = looks.try_join_next() {
                look_ended(ended);
            }
        }
        while let Some(ended) = looks.join_next().await {
            look_ended(ended);
        }
    }

    /// Looks at every branch that is due, one after the other.
    ///
    /// # Errors
    /// When the database cannot answer; what was done stays done.
    pub async fn auto_merge(&self) -> Result<AutoMerges> {
        let mut done = AutoMerges::default();
        while let Some(claim) = self.claim_due().await? {
            done.considered += 1;
            done.merged += usize::from(self.look_at(claim).await?);
        }
        Ok(done)
    }

    /// The branch that is due longest of the repo that waits longest.
    async fn claim_due(&self) -> Result<Option<Claim>> {
        let mut empty = Vec::new();
        loop {
            let turn = match auto_merge::take_turn(self.pool(), CLAIM_SECONDS).await? {
                NextTurn::Nobody => return Ok(None),
                NextTurn::Lost => continue,
                NextTurn::Taken(turn) => turn,
            };
            if let Some(due) = auto_merge::claim_due(self.pool(), &turn, CLAIM_SECONDS).await? {
                return Ok(Some(Claim { turn, due }));
            }
            if empty.contains(&turn.repo_id) {
                auto_merge::give_back_turn(self.pool(), &turn).await?;
                return Ok(None);
            }
            // Somebody else was done with it in between, or whoever notes the branch has not committed yet.
            auto_merge::forget_turn(self.pool(), &turn).await?;
            empty.push(turn.repo_id);
        }
    }

    /// Tries to merge a branch, and says whether it did.
    async fn look_at(&self, claim: Claim) -> Result<bool> {
        let Claim { turn, due } = claim;
        let outcome = self.consider_due(&due).await;
        match outcome {
            Outcome::Merged | Outcome::Done => auto_merge::finish_due(self.pool(), &due).await?,
            Outcome::Wait(seconds) => auto_merge::postpone_due(self.pool(), &due, seconds).await?,
        }
        auto_merge::give_back_turn(self.pool(), &turn).await?;
        Ok(matches!(outcome, Outcome::Merged))
    }

    async fn consider_due(&self, due: &DueBranch) -> Outcome {
        let Some(asked_by) = &due.asked_by else { return Outcome::Done };
        let result = match self.access_for_auto_merge(&due.repo, asked_by).await {
            Ok(maintainer) => self.merge_by_itself(&maintainer, due, asked_by).await,
            Err(error) => Err(error),
        };
        let error = match result {
            Ok(()) => return Outcome::Merged,
            Err(error) => error,
        };
        match error {
            Error::PolicyDenied(denial) if denial.waits_for_time() => Outcome::Wait(LOOK_AGAIN_SECONDS),
            Error::Unavailable(..) | Error::OutcomeUnknown(_) | Error::Internal(_) | Error::PolicyFailed(_) => {
                tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    repo = due.repo,
                    branch = due.branch,
                    attempts = due.attempts,
                    "a branch could not be merged by itself, trying again later"
                );
                let doubled = FAILED_SECONDS.saturating_mul(1_i32 << due.attempts.clamp(0, 10));
                Outcome::Wait(doubled.min(FAILED_SECONDS_MAX))
            }
            // A draft, a branch that has ended, a person who may not merge, policies that say no to what is there: the next
            // change of it is noted.
            _ => {
                tracing::debug!(%error, repo = due.repo, branch = due.branch, "not merged by itself");
                Outcome::Done
            }
        }
    }

    async fn merge_by_itself(&self, maintainer: &Maintainer, due: &DueBranch, asked_by: &str) -> Result<()> {
        if !auto_merge::asker_lives(self.pool(), due.branch_id, self.now()).await? {
            let reason = format!("{asked_by} has ended");
            self.give_up_auto_merge(maintainer, due, asked_by, &reason).await?;
            return Err(Error::refused(ErrorCode::Conflict, reason));
        }
        let actor = Actor {
            identity: AUTO_MERGE.to_owned(),
            // As in the contract: policies see that nobody with a role does it.
            role: None,
            kind: PrincipalKind::System,
            on_behalf_of: Some(asked_by.to_owned()),
            no_override: Some("nothing overrides by itself"),
        };
        let request = MergeRequest { branch: due.branch.clone(), ..MergeRequest::default() };
        let merged = self.merge_as(maintainer, &actor, None, &request, Some(asked_by)).await;
        match self.keep_automatic_refusal(maintainer, merged).await {
            Ok(_) => Ok(()),
            Err(error @ Error::Conflicts(_)) => {
                self.give_up_auto_merge(maintainer, due, asked_by, "merge conflict").await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the wish back, and says why.
    async fn give_up_auto_merge(
        &self,
        maintainer: &Maintainer,
        due: &DueBranch,
        asked_by: &str,
        reason: &str,
    ) -> Result<()> {
        let Begun::Now(mut write) = self.begin::<()>(maintainer.caller(), None).await? else { return Ok(()) };
        let locked = lock_branch(&mut write.transaction, maintainer.repo_id(), &due.branch, false)
            .await?
            .ok_or_else(Error::branch_not_found)?;
        check_still_asked(&mut write, &locked, asked_by).await?;
        auto_merge::set_auto_merge(&mut *write.transaction, &locked, None).await?;
        let event = EventData::BranchAutomergeFailed {
            repo: maintainer.repo().to_owned(),
            branch: due.branch.clone(),
            reason: reason.to_owned(),
        };
        write.note(Some(maintainer.repo_id()), &event)?;
        self.finish(write, ()).await
    }
}

fn look_ended(ended: Result<Result<bool>, JoinError>) {
    match ended {
        Ok(Ok(true)) => tracing::info!("a branch merged by itself"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => log_failure(&error),
        Err(error) => tracing::error!(
            error = &error as &(dyn std::error::Error + 'static),
            "looking at a branch that merges by itself broke off, its repo waits until its turn runs out"
        ),
    }
}

fn log_failure(error: &Error) {
    tracing::warn!(
        error = error as &(dyn std::error::Error + 'static),
        "looking at branches that merge by themselves failed, trying again later"
    );
}

/// Takes back somebody else's wish that a locked branch merge by itself, when the caller changes the branch and may not
/// merge: whoever asked has not seen what comes now, and would bring it to `main` by their right.
pub(crate) async fn end_wish_of_another(write: &mut Write, access: &Access, branch: &LockedBranch) -> Result<()> {
    if !branch.branch.auto_merge || may_merge(access) {
        return Ok(());
    }
    let asked_by = auto_merge::asked_by(&mut *write.transaction, branch.branch.id).await?;
    if asked_by.as_deref() == Some(access.identity()) {
        return Ok(());
    }
    auto_merge::set_auto_merge(&mut *write.transaction, branch, None).await?;
    let event = EventData::BranchAutomergeFailed {
        repo: access.repo().to_owned(),
        branch: branch.branch.name.clone(),
        reason: format!("changed by {}, who may not merge", access.identity()),
    };
    write.note(Some(access.repo_id()), &event)
}

/// Whether the caller could merge, as far as the role and the credential go.
fn may_merge(access: &Access) -> bool {
    let caller = access.caller();
    access.role() >= Role::Maintainer
        && caller.token().is_none_or(|token| token.scope.actions.contains(&Action::Merge))
        && caller.covers_branch(MAIN_BRANCH)
}

/// Refuses when a locked branch is not to merge by itself any more, or because of somebody else.
pub(crate) async fn check_still_asked(write: &mut Write, branch: &LockedBranch, asked_by: &str) -> Result<()> {
    let asked = auto_merge::asked_by(&mut *write.transaction, branch.branch.id).await?;
    if asked.as_deref() == Some(asked_by) && branch.branch.status == BranchStatus::Active {
        return Ok(());
    }
    Err(Error::refused(ErrorCode::Conflict, "the branch is not to merge by itself any more"))
}
