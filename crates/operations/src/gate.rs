//! The one gate to `main`.
//!
//! Whatever moves `main` asks here, inside its own transaction and under its locks: a merge, a commit to `main`, an import.
//! What the gate decides by is read from rows in that transaction, never from an earlier answer, so nothing can come
//! between the decision and the change. While there is no policy the gate is open; that is how the first one lands.
//!
//! Policies are those of `main` as it is, not as it will be: a change cannot loosen what it is judged by. What it brings
//! to `main` must be usable, though, or it is refused with file and line: a policy that does not compile, or an OWNERS file
//! that cannot be read, would block what comes after it.
//!
//! A refusal is kept, with its document and the event `merge.blocked`, in a transaction of its own, since that of the
//! change is rolled back. Of an automatic merge it is kept where it says something new, and without an event: nobody tried.

use docstore_database::{
    Transaction,
    branch_changes::LatestChange,
    branches::{BranchRow, LockedBranch},
    policies::MainFile,
    verdicts::{NewVerdict, store_verdict},
};
use docstore_models::{Action, EventData, MergeStatus, PolicyResult, PrincipalKind, Requirement, Role, VerdictOutcome};
use docstore_policy::{InputOverride, is_owners_file, is_policy};

use crate::{
    Access, Error, Operations, Result,
    changes::{Plan, PlannedChange, check_text},
    policy_set::Judgement,
    why::{self, Facts},
    write::{Begun, Write},
};

/// The longest reason for an override; it is in an event.
const OVERRIDE_BYTES_MAX: usize = 4 * 1024;
/// How large a document may be to be kept with its verdict. That of a change of ten thousand files has about a tenth.
const KEPT_INPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same for a refusal, which a request of a few bytes can have again and again.
const KEPT_REFUSED_INPUT_BYTES_MAX: usize = 64 * 1024;

/// What wants to move `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GateAction {
    Merge,
    Commit,
    Import,
}

impl GateAction {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Commit => "commit",
            Self::Import => "import",
        }
    }
}

/// Who wants to move `main`, as policies see them.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) identity: String,
    pub(crate) role: Option<Role>,
    pub(crate) kind: PrincipalKind,
    pub(crate) on_behalf_of: Option<String>,
    /// Why they may not override policies, if they may not.
    pub(crate) no_override: Option<&'static str>,
}

impl Actor {
    pub(crate) fn of(access: &Access) -> Self {
        Self {
            identity: access.identity().to_owned(),
            role: Some(access.role()),
            kind: access.caller().kind(),
            on_behalf_of: access.caller().on_behalf_of().map(|owner| owner.as_str().to_owned()),
            no_override: no_override(access),
        }
    }
}

/// Why somebody may not override policies. It is the right of an admin who acts as one: the role of whoever made a token
/// is not what the token was made for, and an agent is never more than its owner's helper.
pub(crate) fn no_override(access: &Access) -> Option<&'static str> {
    let caller = access.caller();
    if caller.kind() != PrincipalKind::Person {
        return Some("only people may override");
    }
    if access.role() < Role::Admin {
        return Some("only an admin may override");
    }
    let acts_as_admin = caller.token().is_none_or(|token| token.scope.actions.contains(&Action::Admin));
    (!acts_as_admin).then_some("overriding takes a token with the action 'admin'")
}

/// A refusal by policies.
#[derive(Clone, Debug)]
pub struct Denial {
    /// The policies that stand in the way.
    pub policies: Vec<PolicyResult>,
    /// What is missing, who can do something about it, and how.
    pub requirements: Vec<Requirement>,
    /// Why an override that was asked for does not help.
    pub(crate) no_override: Option<&'static str>,
    waits_for_time: bool,
    record: Option<Box<Record>>,
}

impl Denial {
    /// Whether the policies may say something else later, though nothing happens.
    pub(crate) fn waits_for_time(&self) -> bool {
        self.waits_for_time
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("denied by policy: ")?;
        for (index, policy) in self.policies.iter().enumerate() {
            write!(f, "{}{}: {}", if index == 0 { "" } else { "; " }, policy.name, policy.reason)?;
        }
        self.no_override.map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

/// What is kept of a decision.
#[derive(Clone, Debug)]
struct Record {
    branch_id: i64,
    branch: String,
    action: GateAction,
    actor: Actor,
    head_sequence: i64,
    judgement: Judgement,
    override_reason: Option<String>,
}

/// A question to the gate.
pub(crate) struct Question<'a> {
    pub(crate) access: &'a Access,
    pub(crate) actor: &'a Actor,
    pub(crate) action: GateAction,
    pub(crate) main: &'a BranchRow,
    /// The branch that is merged; `main` itself for what moves it directly.
    pub(crate) branch: &'a BranchRow,
    /// What the branch changed; empty for what moves `main` directly.
    pub(crate) changes: &'a [LatestChange],
    /// The paths that change on `main`.
    pub(crate) paths: Vec<&'a str>,
    pub(crate) override_reason: Option<&'a str>,
    pub(crate) dry_run: bool,
}

/// The gate let something through. It has to be kept in the same transaction, with the number of the commit.
#[must_use]
pub(crate) struct Passage {
    record: Option<Box<Record>>,
    auto_merge: bool,
}

impl Passage {
    /// What the policies said, for the event; nothing when there are none.
    pub(crate) fn status(&self) -> MergeStatus {
        let policies = self.record.as_ref().map(|record| record.judgement.results.clone()).unwrap_or_default();
        MergeStatus { mergeable: true, policies, auto_merge: self.auto_merge }
    }

    /// Keeps the decision and, if policies were overridden, says so.
    pub(crate) async fn keep(self, write: &mut Write, access: &Access, sequence: i64) -> Result<()> {
        let Some(record) = self.record else { return Ok(()) };
        let outcome =
            if record.override_reason.is_some() { VerdictOutcome::Overridden } else { VerdictOutcome::Allowed };
        record.store(write, access.repo_id(), outcome, Some(sequence), true).await?;
        if let Some(reason) = &record.override_reason {
            let event = EventData::PolicyOverridden {
                repo: access.repo().to_owned(),
                branch: record.branch.clone(),
                action: record.action.as_str().to_owned(),
                actor: record.actor.identity.clone(),
                reason: reason.clone(),
                policies: record.judgement.failing().map(|policy| policy.name.clone()).collect(),
                sequence,
            };
            write.note(Some(access.repo_id()), &event)?;
        }
        Ok(())
    }
}

impl Record {
    async fn store(
        &self,
        write: &mut Write,
        repo_id: i64,
        outcome: VerdictOutcome,
        sequence: Option<i64>,
        even_if_repeated: bool,
    ) -> Result<()> {
        let input = serde_json::to_string(&self.judgement.input).map_err(|error| Error::Internal(Box::new(error)))?;
        let refused = outcome == VerdictOutcome::Denied;
        let bytes_max = if refused { KEPT_REFUSED_INPUT_BYTES_MAX } else { KEPT_INPUT_BYTES_MAX };
        let kept = (input.len() <= bytes_max).then(|| serde_json::to_value(&self.judgement.input).ok()).flatten();
        let verdict = NewVerdict {
            repo_id,
            branch_id: self.branch_id,
            action: self.action.as_str(),
            actor: &self.actor.identity,
            on_behalf_of: self.actor.on_behalf_of.as_deref(),
            outcome,
            head_sequence: self.head_sequence,
            sequence,
            override_reason: self.override_reason.as_deref().filter(|_| outcome == VerdictOutcome::Overridden),
            results: &self.judgement.results,
            input: kept.as_ref(),
            even_if_repeated,
        };
        Ok(store_verdict(&mut *write.transaction, &verdict).await?)
    }
}

impl Operations {
    /// Asks whether `main` may be moved.
    ///
    /// # Errors
    /// [`Error::PolicyDenied`], [`Error::PolicyFailed`].
    pub(crate) async fn pass_gate(&self, transaction: &mut Transaction, question: Question<'_>) -> Result<Passage> {
        let Question { access, actor, action, main, branch, changes, paths, override_reason, dry_run } = question;
        let override_reason = override_reason.map(str::trim).filter(|reason| !reason.is_empty());
        if let Some(reason) = override_reason {
            check_text("override", reason, OVERRIDE_BYTES_MAX)?;
        }
        let auto_merge = branch.auto_merge;
        let set = self.policy_set(transaction, access.repo_id(), main.id, access.org_id()).await?;
        if set.is_empty() {
            return Ok(Passage { record: None, auto_merge });
        }
        // Otherwise a policy that is broken, one that never says yes, or an OWNERS file that cannot be read could not be
        // mended by anybody.
        let mends = action == GateAction::Commit
            && override_reason.is_some()
            && actor.no_override.is_none()
            && paths.iter().all(|path| is_policy(path) || is_owners_file(path));
        if !(mends && set.is_org_usable()) {
            set.check_usable()?;
        }
        let (mut input, review, unreadable) =
            self.input(transaction, access, actor, main, branch, changes, &paths).await?;
        review.check_complete()?;
        action.as_str().clone_into(&mut input.action);
        // What nobody may ask for must not impress a policy.
        input.overrides = override_reason
            .filter(|_| actor.no_override.is_none())
            .map(|reason| InputOverride { actor: actor.identity.clone(), reason: reason.to_owned() })
            .into_iter()
            .collect();
        let mut judgement = self.let_judge(&set, input).await?;
        judgement.refuse_unreadable(&unreadable);
        if mends {
            judgement.check_org_decided()?;
        } else {
            judgement.check_decided()?;
        }
        let blocked = !judgement.passes() || !judgement.failed.is_empty() || set.check_usable().is_err();
        let no_override = match override_reason {
            Some(_) if !blocked => None,
            None => Some("").filter(|_| blocked),
            Some(_) if actor.no_override.is_some() => actor.no_override,
            Some(_) if mends && judgement.failing().all(|policy| !policy.org || policy.overridable) => None,
            Some(_) if judgement.failing().all(|policy| policy.overridable) => None,
            Some(_) => Some("not all of these policies can be overridden"),
        };
        let record = Record {
            branch_id: branch.id,
            branch: branch.name.clone(),
            action,
            actor: actor.clone(),
            head_sequence: branch.head_sequence,
            judgement,
            override_reason: override_reason.filter(|_| blocked).map(str::to_owned),
        };
        let Some(no_override) = no_override else {
            return Ok(Passage { record: Some(Box::new(record)), auto_merge });
        };
        let facts = Facts {
            branch,
            role: actor.role,
            no_token: None,
            judgement: &record.judgement,
            review: &review,
            action,
            conflicts: &[],
            in_the_way: &[],
            unusable: &[],
        };
        Err(Error::PolicyDenied(Box::new(Denial {
            policies: record.judgement.failing().cloned().collect(),
            requirements: why::requirements(&facts),
            no_override: Some(no_override).filter(|why| !why.is_empty()),
            waits_for_time: record.judgement.waits_for_time(),
            record: (!dry_run).then(|| Box::new(record)),
        })))
    }

    /// Asks whether a commit or an import may move `main`. Contents that have to be read for that are stored.
    ///
    /// # Errors
    /// Those of [`Self::pass_gate`], `POLICY_INVALID`, and `CONTENT_REFUSED`.
    #[expect(clippy::too_many_arguments, reason = "what a commit is made of")]
    pub(crate) async fn pass_gate_directly(
        &self,
        write: &mut Write,
        access: &Access,
        action: GateAction,
        main: &LockedBranch,
        changes: &[PlannedChange],
        plan: &mut Plan,
        override_reason: Option<&str>,
    ) -> Result<Passage> {
        if changes.iter().any(|change| is_policy(&change.path) || is_owners_file(&change.path)) {
            self.store_early(write, plan, main.repo_id, changes).await?;
        }
        let arriving = changes.iter().filter_map(|change| {
            let content = plan.content(change)?;
            let path = change.path.clone();
            // What was obliterated is refused before it is stored.
            Some(MainFile { path, content_id: content.id, hash: content.hash, size: content.size, obliterated: false })
        });
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        self.check_arriving(&mut write.transaction, main, &paths, arriving.collect()).await?;
        let question = Question {
            access,
            actor: &Actor::of(access),
            action,
            main: &main.branch,
            branch: &main.branch,
            changes: &[],
            paths,
            override_reason,
            dry_run: false,
        };
        self.pass_gate(&mut write.transaction, question).await
    }

    /// Keeps a refusal by policies, in a transaction of its own; everything else is handed on.
    pub(crate) async fn keep_refusal<T>(&self, access: &Access, result: Result<T>) -> Result<T> {
        self.keep_refusal_of(access, result, false).await
    }

    /// The same when nobody asked, and a branch was to merge by itself: it is no event, and nothing is kept that the newest
    /// verdict about the branch says.
    pub(crate) async fn keep_automatic_refusal<T>(&self, access: &Access, result: Result<T>) -> Result<T> {
        self.keep_refusal_of(access, result, true).await
    }

    async fn keep_refusal_of<T>(&self, access: &Access, result: Result<T>, automatic: bool) -> Result<T> {
        let Err(Error::PolicyDenied(mut denial)) = result else { return result };
        if let Some(record) = denial.record.take() {
            let kept = self.store_refusal(access, &record, &denial.requirements, automatic).await;
            if let Err(error) = kept {
                tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    repo = access.repo(),
                    "a refusal could not be kept"
                );
            }
        }
        Err(Error::PolicyDenied(denial))
    }

    async fn store_refusal(
        &self,
        access: &Access,
        record: &Record,
        requirements: &[Requirement],
        automatic: bool,
    ) -> Result<()> {
        let Begun::Now(mut write) = self.begin::<()>(access.caller(), None).await? else { return Ok(()) };
        docstore_database::repos::hold_repo(&mut *write.transaction, access.repo_id()).await?;
        if !docstore_database::repos::is_live(&mut *write.transaction, access.repo_id()).await? {
            return Ok(());
        }
        record.store(&mut write, access.repo_id(), VerdictOutcome::Denied, None, !automatic).await?;
        if !automatic {
            let event = EventData::MergeBlocked {
                repo: access.repo().to_owned(),
                branch: record.branch.clone(),
                actor: record.actor.identity.clone(),
                policies: record.judgement.failing().map(|policy| policy.name.clone()).collect(),
                action: record.action.as_str().to_owned(),
                requirements: requirements.to_vec(),
            };
            write.note(Some(access.repo_id()), &event)?;
        }
        self.finish(write, ()).await
    }
}
