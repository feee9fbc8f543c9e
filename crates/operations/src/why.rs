//! Why a branch cannot be merged, and what to do about it: one answer, for whoever asks and wherever it is told.

use std::collections::BTreeMap;

use docstore_database::{
    Transaction,
    branch_changes::{LatestChange, latest_changes, latest_changes_of},
    branches::{self, BranchRow},
    commits::chain_of_branch,
    lists::PageBounds,
    verdicts::newest_verdict,
};
use docstore_models::{
    Action, AgentContext, BranchStatus, CheckStatus, Conflict, ErrorCode, MAIN_BRANCH, MergeStatus, PolicyResult,
    ProposalState, Requirement, RequirementKind, ReviewStatus, Role, Verdict, VerdictOutcome, Why, shell_argument,
    shell_option,
};
use docstore_policy::CompileError;

use crate::{
    Access, CheckQuery, Error, Maintainer, Operations, ProposalQuery, Reader, Result, ReviewQuery,
    auto_merge::AUTO_MERGE,
    gate::{Actor, GateAction},
    lists::LIST_PAGE_BYTES,
    merge::{Arrival, arriving_file, conflicts, in_the_way_on_main},
    policy_set::Judgement,
    review_state::ReviewState,
};

/// How far back the recent commits go (contract, server §4.7).
const RECENT_SEQUENCES: i64 = 50;
/// How many conflicting paths are named; the diff has them all.
const CONFLICTS_NAMED: usize = 20;

/// What the answer is made of.
pub(crate) struct Facts<'a> {
    pub(crate) branch: &'a BranchRow,
    /// The role of whoever wants to merge.
    pub(crate) role: Option<Role>,
    /// Why their token does not merge the branch, whatever their role.
    pub(crate) no_token: Option<&'static str>,
    pub(crate) conflicts: &'a [Conflict],
    /// What would make a path of `main` a file and a directory.
    pub(crate) in_the_way: &'a [Conflict],
    /// What is wrong with the policies and OWNERS files that the branch brings.
    pub(crate) unusable: &'a [CompileError],
    pub(crate) judgement: &'a Judgement,
    pub(crate) review: &'a ReviewState,
    pub(crate) action: GateAction,
}

/// What stands between a branch and `main`: first what is about the branch itself, then what policies ask for.
pub(crate) fn requirements(facts: &Facts<'_>) -> Vec<Requirement> {
    let mut all = Vec::new();
    if facts.action == GateAction::Merge {
        about_branch(facts, &mut all);
    }
    about_policies(facts, &mut all);
    all
}

fn requirement(kind: RequirementKind, what: String, who: &[&str], command: Option<String>) -> Requirement {
    let who = who.iter().map(|&who| who.to_owned()).collect();
    Requirement { kind, what, who, command, policy: None }
}

/// Why the token of a caller does not merge a branch, whatever the role behind it.
fn no_token(access: &Access, branch: &str) -> Option<&'static str> {
    let caller = access.caller();
    let token = caller.token()?;
    if !token.scope.actions.contains(&Action::Merge) {
        return Some("merging takes a token with the action 'merge'");
    }
    let covered = caller.covers_branch(MAIN_BRANCH) && caller.covers_branch(branch);
    (!covered).then_some("merging takes a token for the branch and for main; yours is for other branches")
}

fn about_branch(facts: &Facts<'_>, all: &mut Vec<Requirement>) {
    let name = &facts.branch.name;
    let to_merge = || Some(format!("ds merge {}", shell_argument(name)));
    if facts.branch.status != BranchStatus::Active {
        let what = format!("the branch is {}; only an active branch can be merged", facts.branch.status.as_str());
        all.push(requirement(RequirementKind::Status, what, &[], None));
    }
    if facts.branch.draft {
        let what = "the branch is a draft; somebody must say that it is ready".to_owned();
        let command = Some(format!("ds ready {}", shell_argument(name)));
        all.push(requirement(RequirementKind::Draft, what, &["role:writer"], command));
    }
    if facts.role < Some(Role::Maintainer) {
        let what = format!("merging takes the role maintainer; yours is {}", facts.role.map_or("none", Role::as_str));
        all.push(requirement(RequirementKind::Role, what, &["role:maintainer"], to_merge()));
    } else if let Some(what) = facts.no_token {
        all.push(requirement(RequirementKind::Role, what.to_owned(), &["role:maintainer"], to_merge()));
    }
    if !facts.conflicts.is_empty() {
        let what = format!("{name} and main both changed: {}", named(facts.conflicts));
        // They are resolved in files, hence where the branch is checked out.
        let command = Some(format!("ds checkout {} && ds rebase", shell_argument(name)));
        all.push(requirement(RequirementKind::Conflict, what, &["role:maintainer"], command));
    }
    if !facts.in_the_way.is_empty() {
        let what =
            format!("a file would be where main has a directory, or the other way round: {}", named(facts.in_the_way));
        all.push(requirement(RequirementKind::Conflict, what, &["role:writer"], None));
    }
    for error in facts.unusable {
        let what = format!("the branch brings what cannot be used on main: {error}");
        all.push(requirement(RequirementKind::Policy, what, &["role:writer"], None));
    }
}

/// Paths in a sentence.
fn named(conflicts: &[Conflict]) -> String {
    let mut paths: Vec<&str> = conflicts.iter().take(CONFLICTS_NAMED).map(|conflict| conflict.path.as_str()).collect();
    if conflicts.len() > CONFLICTS_NAMED {
        paths.push("…");
    }
    paths.join(", ")
}

fn about_policies(facts: &Facts<'_>, all: &mut Vec<Requirement>) {
    let judgement = facts.judgement;
    for (failed, _) in &judgement.failed {
        let what = format!("policy {} came to no decision: {}", failed.name, failed.message);
        let requirement = requirement(RequirementKind::Policy, what, &["role:admin"], None);
        all.push(Requirement { policy: Some(failed.name.clone()), ..requirement });
    }
    let failing: Vec<&PolicyResult> = judgement.failing().collect();
    if failing.is_empty() {
        return;
    }
    let mut unexplained = false;
    for policy in &failing {
        let before = all.len();
        all.extend(
            judgement.requirements.iter().filter(|asked| asked.policy.as_deref() == Some(&policy.name)).cloned(),
        );
        if all.len() == before {
            unexplained = true;
            let requirement = requirement(RequirementKind::Policy, policy.reason.clone(), &[], None);
            all.push(Requirement { policy: Some(policy.name.clone()), ..requirement });
        }
    }
    // A policy that does not say what it wants most often wants one of these.
    if unexplained && facts.action == GateAction::Merge {
        about_checks(facts, all);
        about_reviews(facts, all);
    }
    if failing.iter().all(|policy| policy.overridable) {
        let what = "or an admin goes ahead, with a reason".to_owned();
        let command = match facts.action {
            GateAction::Merge => Some(format!("ds merge --override REASON {}", shell_argument(&facts.branch.name))),
            GateAction::Commit => Some("ds commit --override REASON".to_owned()),
            GateAction::Import => Some("ds import-git --override REASON PATH".to_owned()),
        };
        all.push(requirement(RequirementKind::Policy, what, &["role:admin"], command));
    }
}

fn about_checks(facts: &Facts<'_>, all: &mut Vec<Requirement>) {
    let branch = shell_option("--branch", &facts.branch.name);
    for check in &facts.review.checks {
        let name = &check.check_name;
        let (what, command) = match check.state.status() {
            CheckStatus::Passed => continue,
            CheckStatus::Failed => {
                (format!("check {name} failed"), format!("ds retry {branch} {}", shell_option("--check", name)))
            }
            CheckStatus::Pending => (
                format!("check {name} has not ended"),
                format!("ds check {branch} {} --status passed", shell_option("--name", name)),
            ),
        };
        all.push(requirement(RequirementKind::Check, what, &["role:writer"], Some(command)));
    }
}

fn about_reviews(facts: &Facts<'_>, all: &mut Vec<Requirement>) {
    let branch = shell_option("--branch", &facts.branch.name);
    let command = Some(format!("ds review --status approved {branch}"));
    let mut seen: Vec<&str> = Vec::new();
    for review in &facts.review.reviews {
        if seen.contains(&review.reviewer.as_str()) {
            continue;
        }
        seen.push(&review.reviewer);
        if review.status == ReviewStatus::Rejected {
            let what = format!("{} rejected the change", review.reviewer);
            all.push(requirement(RequirementKind::Review, what, &[&review.reviewer], command.clone()));
        }
    }
    for carried in &facts.review.carried {
        if carried.review.status == ReviewStatus::Approved {
            let reviewer = &carried.review.reviewer;
            let what = if carried.identical && carried.moved_paths.is_empty() {
                format!("the approval by {reviewer} is of an earlier head with the same change")
            } else {
                format!("the approval by {reviewer} is of an earlier change")
            };
            all.push(requirement(RequirementKind::Review, what, &[reviewer], command.clone()));
        }
    }
}

/// A branch with everything that decides about it, read at one moment.
pub(crate) struct Considered {
    pub(crate) branch: BranchRow,
    pub(crate) changes: Vec<LatestChange>,
    pub(crate) on_main: Vec<LatestChange>,
    in_the_way: Vec<Conflict>,
    unusable: Vec<CompileError>,
    pub(crate) judgement: Judgement,
    pub(crate) review: ReviewState,
    /// Whether there is any policy.
    has_policies: bool,
}

impl Considered {
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        conflicts(&self.changes, &self.on_main)
    }

    fn requirements(&self, reader: &Reader) -> Vec<Requirement> {
        requirements(&Facts {
            branch: &self.branch,
            role: Some(reader.role()),
            no_token: no_token(reader, &self.branch.name),
            conflicts: &self.conflicts(),
            in_the_way: &self.in_the_way,
            unusable: &self.unusable,
            judgement: &self.judgement,
            review: &self.review,
            action: GateAction::Merge,
        })
    }

    /// What each policy says; a policy that came to no decision is an error (contract, server §6).
    fn results(&self) -> Result<Vec<PolicyResult>> {
        self.judgement.check_decided()?;
        Ok(self.judgement.results.clone())
    }
}

impl Operations {
    /// Whether the policies let the caller merge a branch, and what each says.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, or `POLICY_FAILED` when one came to no decision.
    pub async fn merge_status(&self, reader: &Reader, branch: &str) -> Result<MergeStatus> {
        let considered = self.consider(reader, branch).await?;
        Ok(MergeStatus {
            mergeable: considered.judgement.passes(),
            policies: considered.results()?,
            auto_merge: considered.branch.auto_merge,
        })
    }

    /// Why the caller cannot merge a branch, and what to do about it.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, or `POLICY_FAILED` when a policy on `main` cannot be used.
    pub async fn why(&self, reader: &Reader, branch: &str) -> Result<Why> {
        if branch == MAIN_BRANCH {
            return Err(Error::bad_request("main is not merged into itself"));
        }
        let considered = self.consider(reader, branch).await?;
        let requirements = considered.requirements(reader);
        Ok(Why {
            automatic: self.denied_by_itself(&considered.branch).await?,
            branch: branch.to_owned(),
            head_sequence: considered.branch.head_sequence,
            mergeable: requirements.is_empty(),
            requirements,
            policies: considered.judgement.results,
        })
    }

    /// The verdict that keeps a branch from merging by itself.
    async fn denied_by_itself(&self, branch: &BranchRow) -> Result<Option<Verdict>> {
        if !branch.auto_merge {
            return Ok(None);
        }
        let newest = newest_verdict(self.pool(), branch.id).await?;
        Ok(newest.filter(|verdict| {
            verdict.actor == AUTO_MERGE
                && verdict.outcome == VerdictOutcome::Denied
                && verdict.head_sequence == branch.head_sequence
        }))
    }

    /// Everything about a branch at once, as somebody needs it who is about to work on it.
    /// Of each list it has what is on its first page.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, or `POLICY_FAILED` when one came to no decision.
    pub async fn agent_context(&self, reader: &Reader, name: &str) -> Result<AgentContext> {
        let considered = self.consider(reader, name).await?;
        let branch = &considered.branch;
        let at_head = Some(branch.head_sequence);
        let reviews = self.list_reviews(reader, name, ReviewQuery { at: at_head, ..ReviewQuery::default() }).await?;
        let reviews = reviews.first_page().await?;
        let check_runs = self.list_checks(reader, name, CheckQuery { at: at_head, ..CheckQuery::default() }).await?;
        let check_runs = check_runs.first_page().await?;
        let open = ProposalQuery {
            state: Some(ProposalState::Open),
            branch: Some(name.to_owned()),
            ..ProposalQuery::default()
        };
        let proposals = self.list_proposals(reader, open).await?.first_page().await?;
        let linked_issues = match proposals.first() {
            None => Vec::new(),
            Some(proposal) => {
                self.list_proposal_issues(reader, &proposal.id.to_string(), None, None).first_page().await?
            }
        };
        let after = branch.base_sequence.max(branch.floor_sequence).max(branch.head_sequence - RECENT_SEQUENCES);
        let page = PageBounds { rows: RECENT_SEQUENCES, bytes: LIST_PAGE_BYTES };
        let recent_commits =
            chain_of_branch(self.pool(), reader.repo_id(), name, after + 1, branch.head_sequence, page).await?;
        Ok(AgentContext {
            diff: self.diff(reader, name).await?,
            reviews,
            check_runs,
            proposals,
            linked_issues,
            recent_commits,
            policies: considered.results()?,
            mergeable: considered.judgement.passes(),
            requirements: considered.requirements(reader),
            branch: branch.to_wire(reader.repo()),
            file_ownership: if considered.has_policies { considered.judgement.input.owners } else { BTreeMap::new() },
        })
    }

    /// Adds the answer to a refused merge that is about the branch as it is.
    pub(crate) async fn explain_refusal<T>(&self, access: &Access, branch: &str, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        let about_branch = matches!(error, Error::Conflicts(_))
            || matches!(
                error.code(),
                ErrorCode::BranchDraft
                    | ErrorCode::BranchNotActive
                    | ErrorCode::PolicyInvalid
                    // The token is for other branches.
                    | ErrorCode::Forbidden
            );
        if !about_branch {
            return Err(error);
        }
        let Ok(reader) = Reader::try_from(access.clone()) else { return Err(error) };
        Err(self.explained(&reader, branch, error).await)
    }

    /// Lets in who may merge. For whom that does not hold, the refusal says who may, and what else the branch needs.
    ///
    /// # Errors
    /// `FORBIDDEN` when the role is lower than maintainer.
    pub async fn maintainer_to_merge(&self, reader: Reader, branch: Option<&str>) -> Result<Maintainer> {
        match (Maintainer::try_from(Access::clone(&reader)), branch) {
            (Err(refused), Some(branch)) => Err(self.explained(&reader, branch, refused).await),
            (decided, _) => decided,
        }
    }

    async fn explained(&self, reader: &Reader, branch: &str, error: Error) -> Error {
        match self.why(reader, branch).await {
            Ok(why) => Error::Explained(Box::new(error), why.requirements),
            Err(failed) => {
                tracing::debug!(error = &failed as &(dyn std::error::Error + 'static), "no requirements are told");
                error
            }
        }
    }

    /// Reads a branch with everything that decides about it, and lets the policies judge it. What they take time for holds
    /// no connection.
    pub(crate) async fn consider(&self, reader: &Reader, name: &str) -> Result<Considered> {
        let mut transaction = docstore_database::begin_snapshot(self.pool()).await?;
        let main = branch_of(&mut transaction, reader, MAIN_BRANCH).await?;
        let branch = branch_of(&mut transaction, reader, name).await?;
        let direct = main.id == branch.id;
        let changes = if direct {
            Vec::new()
        } else {
            latest_changes(&mut *transaction, branch.id, branch.floor_sequence).await?
        };
        let paths: Vec<String> = changes.iter().map(|change| change.path.clone()).collect();
        let on_main = latest_changes_of(&mut *transaction, main.id, branch.base_sequence, &paths).await?;
        let arrivals: Vec<Arrival<'_>> = changes.iter().map(Arrival::from).collect();
        let in_the_way = in_the_way_on_main(&mut transaction, reader.repo_id(), &main, &arrivals).await?;
        let arriving = changes.iter().filter_map(arriving_file).collect();
        let touched: Vec<&str> = paths.iter().map(String::as_str).collect();
        let unusable = self.unusable_arriving(&mut transaction, reader.repo_id(), main.id, &touched, arriving).await?;
        let set = self.policy_set(&mut transaction, reader.repo_id(), main.id, reader.org_id()).await?;
        let paths: Vec<&str> = if set.is_empty() { Vec::new() } else { touched };
        let actor = Actor::of(reader);
        let (input, review, unreadable) =
            self.input(&mut transaction, reader, &actor, &main, &branch, &changes, &paths).await?;
        drop(transaction);
        set.check_usable()?;
        let has_policies = !set.is_empty();
        if has_policies {
            review.check_complete()?;
        }
        let mut judgement = if has_policies { self.let_judge(&set, input).await? } else { Judgement::default() };
        judgement.refuse_unreadable(&unreadable);
        Ok(Considered { branch, changes, on_main, in_the_way, unusable, judgement, review, has_policies })
    }
}

async fn branch_of(transaction: &mut Transaction, reader: &Reader, name: &str) -> Result<BranchRow> {
    branches::branch(&mut **transaction, reader.repo_id(), name).await?.ok_or_else(Error::branch_not_found)
}
