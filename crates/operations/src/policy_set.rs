//! The policies in force, and letting them judge.

use std::{collections::BTreeMap, sync::Arc};

use docstore_database::{
    Transaction,
    contents::{ContentHash, StoredBytes, content_bytes},
    policies::{self, MainFile},
};
use docstore_models::{ErrorCode, PolicyResult, Requirement};
use docstore_policy::{CompileError, EvaluationError, Input, POLICY_BYTES_MAX, is_policy};
use docstore_policy_worker::{CheckedPolicy, Document, Failure, Tenant};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::{Error, Operations, Result, policy_cache::Checked, reads::checked};

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
    /// Refuses what would bring a policy to `main` that cannot be used.
    ///
    /// # Errors
    /// [`Error::PolicyInvalid`].
    pub(crate) async fn check_arriving_policies(
        &self,
        transaction: &mut Transaction,
        repo_id: i64,
        arriving: Vec<MainFile>,
    ) -> Result<()> {
        let arriving = arriving.into_iter().filter(|file| is_policy(&file.path)).collect();
        let checked = self.checked(transaction, Tenant::Repo(repo_id), arriving).await?;
        let errors: Vec<String> =
            checked.into_iter().filter_map(|checked| checked.err().map(|error| error.to_string())).collect();
        if errors.is_empty() { Ok(()) } else { Err(Error::refused(ErrorCode::PolicyInvalid, errors.join("\n"))) }
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
        for policy in policies::org_policies(&mut **transaction, org_id).await? {
            take(self.checked_org_policy(org_id, &policy.name, policy.source).await?, true);
        }
        let files = policies::policy_files(&mut **transaction, main_id).await?;
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
        let missing: Vec<i64> =
            places.iter().filter(|(place, _)| !place.initialized()).map(|(_, file)| file.content_id).collect();
        let mut texts = self.texts(transaction, &missing, POLICY_BYTES_MAX as i64).await?;
        let mut checked = Vec::with_capacity(places.len());
        for (place, file) in places {
            let text = texts.remove(&file.content_id);
            let path = file.path;
            let fill = || async move {
                match text {
                    Some(Ok(text)) => self.check(tenant, path, text, file.hash).await,
                    Some(Err(message)) => Ok(Err(CompileError { file: path, line: None, message })),
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

    /// The texts of contents, by id; a sentence for what is none.
    pub(crate) async fn texts(
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
