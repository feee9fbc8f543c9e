//! Branches that merge by themselves.
//!
//! Whatever could let a branch merge leaves a row in its own transaction (`migrations/0012_auto_merge.up.sql`), so nothing
//! is missed while no process runs. Each server takes such rows one after the other, and tries the merge that a person
//! would: the same code, the same gate, the same locks. Several servers may look at one branch; the lock lets one merge it.
//!
//! It happens on behalf of whoever asked for it, as long as that person may merge, and under the name `auto-merge`. A
//! conflict ends the wish, since only a person can resolve it. So does the end of the agent that asked, and a change of the
//! branch by somebody who may not merge: what was asked for is what was there to be seen. Where policies say no, the branch
//! waits for what happens next, and is looked at again after a while, because a policy may go by the time.

use docstore_database::{
    auto_merge::{self, DueBranch},
    branches::{LockedBranch, lock_branch},
};
use docstore_models::{Action, BranchStatus, ErrorCode, EventData, MAIN_BRANCH, MergeRequest, PrincipalKind, Role};

use crate::{
    Access, Error, Maintainer, Operations, Result,
    gate::Actor,
    write::{Begun, Write},
};

/// The author of automatic merges.
pub(crate) const AUTO_MERGE: &str = "auto-merge";

/// How long a server has for one branch before another one looks at it: longer than any merge takes.
const CLAIM_SECONDS: i32 = 120;
/// When a branch that policies hold up is looked at again, though nothing happened.
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

impl Operations {
    /// Looks at every branch that is due.
    ///
    /// # Errors
    /// When the database cannot answer; what was done stays done.
    pub async fn auto_merge(&self) -> Result<AutoMerges> {
        let mut done = AutoMerges::default();
        while let Some(due) = auto_merge::claim_due(self.pool(), CLAIM_SECONDS).await? {
            done.considered += 1;
            match self.consider_due(&due).await {
                Outcome::Merged => {
                    done.merged += 1;
                    auto_merge::finish_due(self.pool(), &due).await?;
                }
                Outcome::Done => auto_merge::finish_due(self.pool(), &due).await?,
                Outcome::Wait(seconds) => auto_merge::postpone_due(self.pool(), &due, seconds).await?,
            }
        }
        Ok(done)
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
            Error::PolicyDenied(_) => Outcome::Wait(LOOK_AGAIN_SECONDS),
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
            // A draft, a branch that has ended, a person who may not merge: the next change of it is noted.
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
        match self.merge_as(maintainer, &actor, None, &request, Some(asked_by)).await {
            Ok(_) => Ok(()),
            Err(error @ Error::Conflicts(_)) => {
                self.give_up_auto_merge(maintainer, due, asked_by, "merge conflict").await?;
                Err(error)
            }
            // Not kept, as nobody tried: a branch that waits is looked at again and again.
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
