//! The policies in force, and letting them judge.

use std::{collections::HashSet, sync::Arc};

use docstore_database::{
    Transaction,
    branches::LockedBranch,
    contents::ContentHash,
    policies::{self, MainFile},
};
use docstore_models::{ErrorCode, MAIN_BRANCH, PolicyResult, Requirement, RequirementKind};
use docstore_policy::{
    CompileError, EvaluationError, Input, OWNERS_FILE, POLICY_BYTES_MAX, POLICY_DIRECTORY, is_owners_file, is_policy,
};
use docstore_policy_worker::{CheckedPolicy, Document, Failure, Tenant};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::{Error, Operations, Result, limits::reached, owners::Unreadable, policy_cache::Checked};

/// The most policies on `main`: each judges every change, while `main` is locked.
const MAIN_POLICIES_MAX: usize = 200;
/// The most bytes of them together: they are read and compiled at once where nobody has asked before.
const MAIN_POLICIES_BYTES_MAX: i64 = 4 << 20;

/// The policies in force.
#[derive(Debug)]
pub(crate) struct PolicySet {
    repo_id: i64,
    policies: Vec<(Arc<CheckedPolicy>, bool)>,
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

    pub(crate) fn is_org_usable(&self) -> bool {
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
    /// Those that came to no decision, and whether they belong to the org.
    pub(crate) failed: Vec<(EvaluationError, bool)>,
    /// The document.
    pub(crate) input: Input,
    /// Whether something stands in the way that says the same of this document at any time.
    stands_for_good: bool,
}

impl Judgement {
    /// The policies that stand in the way.
    pub(crate) fn failing(&self) -> impl Iterator<Item = &PolicyResult> {
        self.results.iter().filter(|result| !result.pass && !result.shadow)
    }

    pub(crate) fn passes(&self) -> bool {
        self.failing().next().is_none()
    }

    /// Whether it may pass later though nothing happens: whatever stands in the way asks for the time.
    pub(crate) fn waits_for_time(&self) -> bool {
        !self.passes() && !self.stands_for_good
    }

    /// Lets OWNERS files that cannot be read refuse the change, beside what the policies say.
    pub(crate) fn refuse_unreadable(&mut self, unreadable: &[CompileError]) {
        for error in unreadable {
            self.stands_for_good = true;
            self.results.push(PolicyResult {
                name: OWNERS_FILE.to_owned(),
                reason: error.to_string(),
                file: Some(error.file.clone()),
                ..PolicyResult::default()
            });
            let mend = Requirement {
                kind: RequirementKind::Policy,
                what: format!("{error}; an admin replaces it, with a commit of nothing but policies and OWNERS files"),
                who: vec!["role:admin".to_owned()],
                command: Some(format!("ds checkout {MAIN_BRANCH} && ds commit --override REASON")),
                policy: Some(OWNERS_FILE.to_owned()),
            };
            if !self.requirements.contains(&mend) {
                self.requirements.push(mend);
            }
        }
    }

    /// Refuses when a policy came to no decision: that is neither yes nor no.
    pub(crate) fn check_decided(&self) -> Result<()> {
        match self.failed.first() {
            None => Ok(()),
            Some((error, _)) => Err(Error::PolicyFailed(error.to_string())),
        }
    }

    /// The same for the policies of the org alone: what is no decision of theirs must not let a repo go its own way.
    pub(crate) fn check_org_decided(&self) -> Result<()> {
        match self.failed.iter().find(|(_, org)| *org) {
            None => Ok(()),
            Some((error, _)) => Err(Error::PolicyFailed(error.to_string())),
        }
    }
}

/// What is wrong with the number or the length of the policies of `main`.
fn too_many_policies<'a>(files: impl IntoIterator<Item = &'a MainFile>) -> Option<CompileError> {
    let (mut number, mut bytes) = (0, 0);
    for file in files {
        number += 1;
        bytes += file.size;
    }
    let message = if number > MAIN_POLICIES_MAX {
        reached("main_policies");
        format!("main may have at most {MAIN_POLICIES_MAX} policies")
    } else if bytes > MAIN_POLICIES_BYTES_MAX {
        reached("main_policies_bytes");
        format!("the policies of main may have at most {MAIN_POLICIES_BYTES_MAX} bytes together")
    } else {
        return None;
    };
    Some(CompileError { file: POLICY_DIRECTORY.to_owned(), line: None, message })
}

/// Why it is not known whether a text is a policy.
enum Unchecked {
    /// Compiling it was stopped: it cannot be used now, and is tried again the next time.
    Stopped(CompileError),
    Failed(Error),
}

fn checked_or_stopped(result: Result<Checked, Unchecked>) -> Result<Checked> {
    match result {
        Ok(checked) => Ok(checked),
        Err(Unchecked::Stopped(error)) => Ok(Err(error)),
        Err(Unchecked::Failed(error)) => Err(error),
    }
}

impl Operations {
    /// Refuses what would bring a policy or an OWNERS file to `main` that cannot be used, or more policies than may be
    /// there. `touched` are all paths that change.
    ///
    /// # Errors
    /// [`ErrorCode::PolicyInvalid`].
    pub(crate) async fn check_arriving(
        &self,
        transaction: &mut Transaction,
        main: &LockedBranch,
        touched: &[&str],
        arriving: Vec<MainFile>,
    ) -> Result<()> {
        let errors = self.unusable_arriving(transaction, main.repo_id, main.branch.id, touched, arriving).await?;
        if errors.is_empty() {
            return Ok(());
        }
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Err(Error::refused(ErrorCode::PolicyInvalid, errors.join("\n")))
    }

    /// What is wrong with the policies and OWNERS files that would come to `main`.
    pub(crate) async fn unusable_arriving(
        &self,
        transaction: &mut Transaction,
        repo_id: i64,
        main_id: i64,
        touched: &[&str],
        arriving: Vec<MainFile>,
    ) -> Result<Vec<CompileError>> {
        let arriving = arriving.into_iter().filter(|file| is_policy(&file.path) || is_owners_file(&file.path));
        let (arriving, owners): (Vec<MainFile>, Vec<MainFile>) = arriving.partition(|file| is_policy(&file.path));
        let mut errors = self.check_owners_files(transaction, owners).await?;
        if !arriving.is_empty() {
            let touched: HashSet<&str> = touched.iter().copied().collect();
            let most = MAIN_POLICIES_MAX as i64 + 1;
            let mut there = policies::policies_in_force(&mut **transaction, None, main_id, most).await?.of_main;
            there.retain(|file| !touched.contains(file.path.as_str()));
            if let Some(error) = too_many_policies(there.iter().chain(&arriving)) {
                errors.push(error);
            } else {
                let checked = self.checked(transaction, Tenant::Repo(repo_id), arriving).await?;
                errors.extend(checked.into_iter().filter_map(Result::err));
            }
        }
        Ok(errors)
    }

    /// The policies of an org and of the head of a repo's `main`.
    pub(crate) async fn policy_set(
        &self,
        transaction: &mut Transaction,
        repo_id: i64,
        main_id: i64,
        org_id: i64,
    ) -> Result<PolicySet> {
        let mut set = PolicySet { repo_id, policies: Vec::new(), broken: Vec::new() };
        let mut take = |checked: Checked, org: bool| match checked {
            Ok(policy) => set.policies.push((policy, org)),
            Err(error) => set.broken.push((error, org)),
        };
        let most = MAIN_POLICIES_MAX as i64 + 1;
        let in_force = policies::policies_in_force(&mut **transaction, Some(org_id), main_id, most).await?;
        for (name, source) in in_force.of_org {
            take(self.checked_org_policy(org_id, &name, source).await?, true);
        }
        let files = in_force.of_main;
        if let Some(error) = too_many_policies(&files) {
            take(Err(error), false);
            return Ok(set);
        }
        for checked in self.checked(transaction, Tenant::Repo(repo_id), files).await? {
            take(checked, false);
        }
        Ok(set)
    }

    /// A policy of an org, compiled.
    pub(crate) async fn checked_org_policy(&self, org_id: i64, name: &str, source: String) -> Result<Checked> {
        let file = format!("org/{name}.rego");
        let hash = Sha256::digest(&source).into();
        let place = self.policy_cache().place(&file, hash);
        let fill = || self.check(Tenant::Org(org_id), file, source, hash);
        checked_or_stopped(place.get_or_try_init(fill).await.cloned())
    }

    /// Policies that are only tried. Not by the cache: their texts must not push out those that judge.
    pub(crate) async fn checked_to_try(&self, repo_id: i64, file: String, source: String) -> Result<Checked> {
        let hash = Sha256::digest(&source).into();
        checked_or_stopped(self.check(Tenant::Repo(repo_id), file, source, hash).await)
    }

    /// Files compiled; their texts are read only when this process has not needed them before.
    async fn checked(
        &self,
        transaction: &mut Transaction,
        tenant: Tenant,
        files: Vec<MainFile>,
    ) -> Result<Vec<Checked>> {
        let places: Vec<_> =
            files.into_iter().map(|file| (self.policy_cache().place(&file.path, file.hash), file)).collect();
        let is_missing =
            |(place, file): &&(Arc<OnceCell<Checked>>, MainFile)| !place.initialized() && !file.obliterated;
        let missing: Vec<MainFile> = places.iter().filter(is_missing).map(|(_, file)| file.clone()).collect();
        let texts = self.texts(transaction, &missing, POLICY_BYTES_MAX as i64).await?;
        let mut checked = Vec::with_capacity(places.len());
        for (place, file) in places {
            if file.obliterated {
                // Not what this process may still know of it: all replicas judge alike. Nor is that kept: another repo may
                // have the same text.
                self.policy_cache().forget(&[file.hash]);
                checked.push(Err(Unreadable::obliterated().of_file(file.path)));
                continue;
            }
            // Several files may have one content.
            let text = texts.get(&file.content_id).cloned();
            let path = file.path;
            let fill = || async move {
                match text {
                    Some(Ok(text)) => self.check(tenant, path, text, file.hash).await,
                    Some(Err(unreadable)) => Ok(Err(unreadable.of_file(path))),
                    // Another evaluation had begun to fill it, and gave up; the next one does.
                    None => Err(Unchecked::Failed(Error::Unavailable("a policy", "its text was not read".into()))),
                }
            };
            checked.push(checked_or_stopped(place.get_or_try_init(fill).await.cloned())?);
        }
        Ok(checked)
    }

    async fn check(
        &self,
        tenant: Tenant,
        file: String,
        source: String,
        hash: ContentHash,
    ) -> Result<Checked, Unchecked> {
        match self.evaluator().compile(tenant, file, source, hash).await {
            Ok(checked) => Ok(checked.map(Arc::new)),
            Err(Failure::Stopped(error)) => Err(Unchecked::Stopped(error)),
            Err(failure) => Err(Unchecked::Failed(failure.into())),
        }
    }

    /// Lets the policies judge a document.
    pub(crate) async fn let_judge(&self, set: &PolicySet, input: Input) -> Result<Judgement> {
        let policies: Vec<Arc<CheckedPolicy>> = set.policies.iter().map(|(policy, _)| policy.clone()).collect();
        let document = Document::new(&input).map_err(|error| Error::Internal(Box::new(error)))?;
        let decisions = self.evaluator().decide(Tenant::Repo(set.repo_id), &policies, &document, self.now()).await?;
        let mut judgement = Judgement { input, ..Judgement::default() };
        for ((policy, org), decision) in set.policies.iter().zip(decisions) {
            match decision {
                Ok(decision) => {
                    let result = PolicyResult { org: *org, ..decision.result };
                    if !result.shadow {
                        judgement.stands_for_good |= !result.pass && !policy.reads_time();
                        judgement.requirements.extend(decision.requirements);
                    }
                    judgement.results.push(result);
                }
                // What is only tried out refuses nothing.
                Err(error) if policy.is_in_shadow() => judgement.results.push(PolicyResult {
                    name: error.name.clone(),
                    reason: error.message.clone(),
                    file: Some(error.file.clone()),
                    org: *org,
                    shadow: true,
                    ..PolicyResult::default()
                }),
                Err(error) => judgement.failed.push((error, *org)),
            }
        }
        Ok(judgement)
    }
}
