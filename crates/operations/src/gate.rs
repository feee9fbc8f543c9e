//! The one gate to `main`.
//!
//! Whatever moves `main` asks here, inside its own transaction and under its locks: a merge, a commit to `main`, an import.
//! What the gate decides by is read from rows in that transaction, never from an earlier answer, so nothing can come
//! between the decision and the change. While there is no policy the gate is open; that is how the first one lands.
//!
//! Policies are those of `main` as it is, not as it will be: a change cannot loosen what it is judged by. What it brings
//! to `main` must be usable, though, or it is refused with file and line: a policy that does not compile would block
//! everything after it.
//!
//! A refusal is kept, with its document and the event `merge.blocked`, in a transaction of its own, since that of the
//! change is rolled back.

use std::{collections::BTreeMap, sync::Arc};

use docstore_database::{
    Transaction,
    branches::{BranchRow, LockedBranch},
    commits::LatestChange,
    contents::{ContentHash, StoredBytes, content_bytes},
    policies::{self, MainFile, NewVerdict},
    proposals::open_proposal,
};
use docstore_models::{
    ErrorCode, EventData, MergeStatus, PolicyResult, PrincipalKind, Requirement, Role, VerdictOutcome, owner_of_agent,
};
use docstore_policy::{
    CarriedReview, CompileError, EvaluationError, Input, InputCheckRun, InputOverride, InputPrincipal, InputProposal,
    InputReview, OwnersTree, POLICY_BYTES_MAX, is_policy, owners_candidates, parse_owners,
};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::{
    Access, Error, Operations, Result,
    changes::{Plan, PlannedChange, check_text},
    policy_cache::{Compiled, CompiledPolicy},
    reads::checked,
    review_state::ReviewState,
    why::{self, Facts},
    write::{Begun, Write},
};

/// The longest OWNERS file; one identity takes 320 bytes at most.
const OWNERS_BYTES_MAX: i64 = 256 * 1024;
/// The longest reason for an override; it is in an event.
const OVERRIDE_BYTES_MAX: usize = 4 * 1024;
/// How large a document may be to be kept with its verdict. That of a change of ten thousand files has about a tenth.
const INPUT_BYTES_KEPT: usize = 4 * 1024 * 1024;

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
}

impl Actor {
    pub(crate) fn of(access: &Access) -> Self {
        Self {
            identity: access.identity().to_owned(),
            role: Some(access.role()),
            kind: access.caller().kind(),
            on_behalf_of: access.caller().on_behalf_of().map(|owner| owner.as_str().to_owned()),
        }
    }
}

/// The policies in force.
#[derive(Debug, Default)]
pub(crate) struct PolicySet {
    policies: Vec<(Arc<CompiledPolicy>, bool)>,
    /// What cannot be used, and whether it belongs to the org.
    broken: Vec<(CompileError, bool)>,
}

impl PolicySet {
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.broken.is_empty()
    }

    /// Refuses when a policy cannot be used.
    pub(crate) fn check_usable(&self) -> Result<()> {
        match self.broken.first() {
            None => Ok(()),
            Some((error, _)) => Err(Error::PolicyFailed(error.to_string())),
        }
    }

    fn is_org_usable(&self) -> bool {
        !self.broken.iter().any(|(_, org)| *org)
    }
}

/// What the policies say about a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judgement {
    /// What each says, in the order of the files, those of the org first.
    pub(crate) results: Vec<PolicyResult>,
    /// What the failing ones ask for, in their own words.
    pub(crate) requirements: Vec<Requirement>,
    /// Those that came to no decision.
    pub(crate) failed: Vec<EvaluationError>,
    /// The document.
    pub(crate) input: Input,
}

impl Judgement {
    /// The policies that stand in the way.
    pub(crate) fn failing(&self) -> impl Iterator<Item = &PolicyResult> {
        self.results.iter().filter(|result| !result.pass && !result.shadow)
    }

    pub(crate) fn passes(&self) -> bool {
        self.failing().next().is_none()
    }

    /// Refuses when a policy came to no decision: that is neither yes nor no.
    pub(crate) fn check_decided(&self) -> Result<()> {
        match self.failed.first() {
            None => Ok(()),
            Some(error) => Err(Error::PolicyFailed(error.to_string())),
        }
    }
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
    record: Option<Box<Record>>,
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
        record.store(write, access.repo_id(), outcome, Some(sequence)).await?;
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
    ) -> Result<()> {
        let input = serde_json::to_string(&self.judgement.input).map_err(|error| Error::Internal(Box::new(error)))?;
        let kept =
            (input.len() <= INPUT_BYTES_KEPT).then(|| serde_json::to_value(&self.judgement.input).ok()).flatten();
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
        };
        Ok(policies::store_verdict(&mut *write.transaction, &verdict).await?)
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
        let set = self.policy_set(transaction, main.id, access.org_id()).await?;
        if set.is_empty() {
            return Ok(Passage { record: None, auto_merge });
        }
        // Otherwise a policy that is broken, or one that never says yes, could not be mended by anybody.
        let mends = action == GateAction::Commit
            && override_reason.is_some()
            && actor.role >= Some(Role::Admin)
            && paths.iter().all(|path| is_policy(path));
        if !(mends && set.is_org_usable()) {
            set.check_usable()?;
        }
        let (mut input, review) = self.input(transaction, access.repo(), actor, main, branch, changes, &paths).await?;
        action.as_str().clone_into(&mut input.action);
        input.overrides = override_reason
            .map(|reason| InputOverride { actor: actor.identity.clone(), reason: reason.to_owned() })
            .into_iter()
            .collect();
        let judgement = self.let_judge(&set, input).await?;
        if !mends {
            judgement.check_decided()?;
        }
        let blocked = !judgement.passes() || !judgement.failed.is_empty() || set.check_usable().is_err();
        let no_override = match override_reason {
            Some(_) if !blocked => None,
            None => Some("").filter(|_| blocked),
            Some(_) if actor.role < Some(Role::Admin) => Some("only an admin may override"),
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
        let facts =
            Facts { branch, role: actor.role, conflicts: &[], judgement: &record.judgement, review: &review, action };
        Err(Error::PolicyDenied(Box::new(Denial {
            policies: record.judgement.failing().cloned().collect(),
            requirements: why::requirements(&facts),
            no_override: Some(no_override).filter(|why| !why.is_empty()),
            record: (!dry_run).then(|| Box::new(record)),
        })))
    }

    /// Asks whether a commit or an import may move `main`, whose contents are stored already.
    ///
    /// # Errors
    /// Those of [`Self::pass_gate`], and `POLICY_INVALID`.
    #[expect(clippy::too_many_arguments, reason = "what a commit is made of")]
    pub(crate) async fn pass_gate_directly(
        &self,
        write: &mut Write,
        access: &Access,
        action: GateAction,
        main: &LockedBranch,
        changes: &[PlannedChange],
        plan: &Plan,
        override_reason: Option<&str>,
    ) -> Result<Passage> {
        let arriving = changes.iter().filter_map(|change| {
            let content = plan.content(change)?;
            Some(MainFile { path: change.path.clone(), content_id: content.id, hash: content.hash })
        });
        self.check_arriving_policies(&mut write.transaction, arriving.collect()).await?;
        let question = Question {
            access,
            actor: &Actor::of(access),
            action,
            main: &main.branch,
            branch: &main.branch,
            changes: &[],
            paths: changes.iter().map(|change| change.path.as_str()).collect(),
            override_reason,
            dry_run: false,
        };
        self.pass_gate(&mut write.transaction, question).await
    }

    /// Keeps a refusal by policies, in a transaction of its own; everything else is handed on.
    pub(crate) async fn keep_refusal<T>(&self, access: &Access, result: Result<T>) -> Result<T> {
        let Err(Error::PolicyDenied(mut denial)) = result else { return result };
        if let Some(record) = denial.record.take() {
            let kept = self.store_refusal(access, &record, &denial.requirements).await;
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

    async fn store_refusal(&self, access: &Access, record: &Record, requirements: &[Requirement]) -> Result<()> {
        let Begun::Now(mut write) = self.begin::<()>(access.caller(), None).await? else { return Ok(()) };
        docstore_database::repos::hold_repo(&mut *write.transaction, access.repo_id()).await?;
        if !docstore_database::repos::is_live(&mut *write.transaction, access.repo_id()).await? {
            return Ok(());
        }
        record.store(&mut write, access.repo_id(), VerdictOutcome::Denied, None).await?;
        let event = EventData::MergeBlocked {
            repo: access.repo().to_owned(),
            branch: record.branch.clone(),
            actor: record.actor.identity.clone(),
            policies: record.judgement.failing().map(|policy| policy.name.clone()).collect(),
            action: record.action.as_str().to_owned(),
            requirements: requirements.to_vec(),
        };
        write.note(Some(access.repo_id()), &event)?;
        self.finish(write, ()).await
    }

    /// Refuses what would bring a policy to `main` that cannot be used.
    ///
    /// # Errors
    /// [`Error::PolicyInvalid`].
    pub(crate) async fn check_arriving_policies(
        &self,
        transaction: &mut Transaction,
        arriving: Vec<MainFile>,
    ) -> Result<()> {
        let arriving = arriving.into_iter().filter(|file| is_policy(&file.path)).collect();
        let compiled = self.compiled(transaction, arriving).await?;
        let errors: Vec<String> =
            compiled.into_iter().filter_map(|compiled| compiled.err().map(|error| error.to_string())).collect();
        if errors.is_empty() { Ok(()) } else { Err(Error::refused(ErrorCode::PolicyInvalid, errors.join("\n"))) }
    }

    /// The policies of an org and of the head of `main`.
    pub(crate) async fn policy_set(
        &self,
        transaction: &mut Transaction,
        main_id: i64,
        org_id: i64,
    ) -> Result<PolicySet> {
        let mut set = PolicySet::default();
        let mut take = |compiled: Compiled, org: bool| match compiled {
            Ok(policy) => set.policies.push((policy, org)),
            Err(error) => set.broken.push((error, org)),
        };
        for policy in policies::org_policies(&mut **transaction, org_id).await? {
            take(self.compiled_org_policy(&policy.name, policy.source).await?, true);
        }
        let files = policies::policy_files(&mut **transaction, main_id).await?;
        for compiled in self.compiled(transaction, files).await? {
            take(compiled, false);
        }
        Ok(set)
    }

    /// A policy of an org, compiled.
    pub(crate) async fn compiled_org_policy(&self, name: &str, source: String) -> Result<Compiled> {
        let file = format!("org/{name}.rego");
        let place = self.policy_cache().place(&file, Sha256::digest(&source).into());
        place.get_or_try_init(|| CompiledPolicy::compile(file, source)).await.cloned()
    }

    /// Files compiled; their texts are read only when no evaluation of this process has needed them before.
    async fn compiled(&self, transaction: &mut Transaction, files: Vec<MainFile>) -> Result<Vec<Compiled>> {
        let places: Vec<_> =
            files.into_iter().map(|file| (self.policy_cache().place(&file.path, file.hash), file)).collect();
        let missing: Vec<i64> =
            places.iter().filter(|(place, _)| !place.initialized()).map(|(_, file)| file.content_id).collect();
        let mut texts = self.texts(transaction, &missing, POLICY_BYTES_MAX as i64).await?;
        let mut compiled = Vec::with_capacity(places.len());
        for (place, file) in places {
            let text = texts.remove(&file.content_id);
            let path = file.path;
            let one = place
                .get_or_try_init(|| async move {
                    match text {
                        Some(Ok(text)) => CompiledPolicy::compile(path, text).await,
                        Some(Err(message)) => Ok(Err(CompileError { file: path, line: None, message })),
                        // Another evaluation had begun to fill it, and gave up; the next one does.
                        None => Err(Error::Unavailable("a policy", "its text was not read".into())),
                    }
                })
                .await?;
            compiled.push(one.clone());
        }
        Ok(compiled)
    }

    /// The texts of contents, by id; a sentence for what is none.
    async fn texts(
        &self,
        transaction: &mut Transaction,
        ids: &[i64],
        bytes_max: i64,
    ) -> Result<BTreeMap<i64, Result<String, String>>> {
        let mut texts = BTreeMap::new();
        if ids.is_empty() {
            return Ok(texts);
        }
        for content in content_bytes(&mut **transaction, ids).await? {
            let text = if content.size > bytes_max {
                Err(format!("it has more than {bytes_max} bytes"))
            } else {
                let bytes = self.small_bytes(content.hash, content.size, content.bytes).await?;
                String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())
            };
            texts.insert(content.id, text);
        }
        Ok(texts)
    }

    async fn small_bytes(&self, hash: ContentHash, size: i64, bytes: StoredBytes) -> Result<Vec<u8>> {
        match bytes {
            StoredBytes::Inline(bytes) => Ok(checked(bytes, &hash)?.into()),
            StoredBytes::Blob(key) => {
                let stream = self.blob(&key, hash, u64::try_from(size).unwrap_or_default(), None).await?;
                let all = stream.try_fold(Vec::new(), |mut all, chunk| async move {
                    all.extend_from_slice(&chunk);
                    Ok(all)
                });
                all.await
            }
        }
    }

    /// The owners of paths, by the OWNERS files on `main`.
    pub(crate) async fn owners(
        &self,
        transaction: &mut Transaction,
        main_id: i64,
        paths: &[&str],
    ) -> Result<BTreeMap<String, Option<Vec<String>>>> {
        let candidates: Vec<String> = owners_candidates(paths.iter().copied()).into_iter().collect();
        let files = policies::files_of_main(&mut **transaction, main_id, &candidates).await?;
        let ids: Vec<i64> = files.iter().map(|file| file.content_id).collect();
        let texts = self.texts(transaction, &ids, OWNERS_BYTES_MAX).await?;
        let mut tree = OwnersTree::default();
        for file in files {
            match texts.get(&file.content_id) {
                Some(Ok(text)) => tree.insert(&file.path, parse_owners(text)),
                // Fewer owners than there are could let something through.
                Some(Err(message)) => return Err(Error::PolicyFailed(format!("{}: {message}", file.path))),
                None => {}
            }
        }
        let owners = |path: &str| tree.owners_of(path).map(<[String]>::to_vec);
        Ok(paths.iter().map(|path| ((*path).to_owned(), owners(path))).collect())
    }

    /// The document about a branch, or about what moves `main` directly.
    #[expect(clippy::too_many_arguments, reason = "what a document is made of")]
    pub(crate) async fn input(
        &self,
        transaction: &mut Transaction,
        repo: &str,
        actor: &Actor,
        main: &BranchRow,
        branch: &BranchRow,
        changes: &[LatestChange],
        paths: &[&str],
    ) -> Result<(Input, ReviewState)> {
        let direct = main.id == branch.id;
        let review = if direct {
            ReviewState::default()
        } else {
            crate::review_state::review_state(transaction, main.id, branch, changes).await?
        };
        let proposal = if direct { None } else { open_proposal(&mut **transaction, branch.id).await? };
        let mut input = Input {
            actor: actor.identity.clone(),
            actor_roles: actor.role.iter().map(|role| role.as_str().to_owned()).collect(),
            action: GateAction::Merge.as_str().to_owned(),
            repo: repo.to_owned(),
            branch: branch.name.clone(),
            draft: branch.draft,
            changed_paths: (!paths.is_empty()).then(|| paths.iter().map(|path| (*path).to_owned()).collect()),
            owners: self.owners(transaction, main.id, paths).await?,
            head_sequence: branch.head_sequence,
            base_sequence: if direct { branch.head_sequence } else { branch.base_sequence },
            proposal: proposal.map(|proposal| InputProposal {
                id: proposal.id.to_string(),
                base_branch: proposal.base_branch,
                title: proposal.title,
                state: proposal.state.as_str().to_owned(),
            }),
            actor_kind: actor.kind.as_str().to_owned(),
            actor_on_behalf_of: actor.on_behalf_of.clone(),
            ..Input::default()
        };
        if direct {
            // Whoever commits to main is who wrote it, as far as can be known before it is there.
            input.authors = vec![actor.identity.clone()];
            input.last_pusher = Some(actor.identity.clone());
        }
        describe(&mut input, &review);
        Ok((input, review))
    }

    /// Lets the policies judge a document.
    pub(crate) async fn let_judge(&self, set: &PolicySet, input: Input) -> Result<Judgement> {
        let policies: Vec<Arc<CompiledPolicy>> = set.policies.iter().map(|(policy, _)| policy.clone()).collect();
        let decisions = self.policy_cache().decide(policies, input.clone(), self.now()).await?;
        let mut judgement = Judgement { input, ..Judgement::default() };
        for ((policy, org), decision) in set.policies.iter().zip(decisions) {
            match decision {
                Ok(decision) => {
                    let result = PolicyResult { org: *org, ..decision.result };
                    if !result.shadow {
                        judgement.requirements.extend(decision.requirements);
                    }
                    judgement.results.push(result);
                }
                // What is only tried out refuses nothing.
                Err(error) if policy.policy.is_in_shadow() => judgement.results.push(PolicyResult {
                    name: error.name.clone(),
                    reason: error.message.clone(),
                    file: Some(error.file.clone()),
                    org: *org,
                    shadow: true,
                    ..PolicyResult::default()
                }),
                Err(error) => judgement.failed.push(error),
            }
        }
        Ok(judgement)
    }
}

/// Writes what was said about a branch into a document, and what everybody in it is.
fn describe(input: &mut Input, review: &ReviewState) {
    input.reviews = review
        .reviews
        .iter()
        .map(|review| InputReview {
            reviewer: review.reviewer.clone(),
            status: review.status.as_str().to_owned(),
            sequence: review.sequence,
        })
        .collect();
    input.carried_reviews = review
        .carried
        .iter()
        .map(|carried| CarriedReview {
            reviewer: carried.review.reviewer.clone(),
            status: carried.review.status.as_str().to_owned(),
            sequence: carried.review.sequence,
            identical: carried.identical,
            moved_paths: carried.moved_paths.clone(),
        })
        .collect();
    input.check_runs = review
        .checks
        .iter()
        .map(|check| InputCheckRun {
            check_name: check.check_name.clone(),
            status: check.state.status().as_str().to_owned(),
            sequence: check.sequence,
            state: check.state.as_str().to_owned(),
        })
        .collect();
    let people = &review.contributors;
    input.authors.extend(people.authors.iter().cloned());
    input.co_authors.extend(people.co_authors.iter().cloned());
    if people.last_pusher.is_some() {
        input.last_pusher.clone_from(&people.last_pusher);
    }
    let mut principals: BTreeMap<String, InputPrincipal> = BTreeMap::new();
    let named = input.authors.iter().chain(&input.co_authors).chain(&input.last_pusher).chain([&input.actor]);
    let named = named.chain(input.reviews.iter().map(|review| &review.reviewer));
    for identity in named.chain(input.carried_reviews.iter().map(|review| &review.reviewer)) {
        principals.entry(identity.clone()).or_insert_with(|| InputPrincipal {
            kind: PrincipalKind::of(identity).as_str().to_owned(),
            on_behalf_of: owner_of_agent(identity).map(str::to_owned),
        });
    }
    if let Some(actor) = principals.get_mut(&input.actor) {
        actor.kind.clone_from(&input.actor_kind);
        actor.on_behalf_of.clone_from(&input.actor_on_behalf_of);
    }
    input.principals = principals;
}
