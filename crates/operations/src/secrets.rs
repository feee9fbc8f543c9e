//! Secrets of repos (contract, server §4.13 and ci §8): people write them, only jobs read them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use docstore_ci_config::{CI_CONFIG_PATH, CheckSecrets, check_secrets, is_reserved_secret_name, is_secret_name};
use docstore_database::{
    counts::{Counted, lock_count},
    jobs::{JobToken, job_of_request_token},
    org_members::member_role,
    repos::{hold_repo, is_live},
    secrets::{self, NewSecret, StoredSecret},
    trees,
};
use docstore_models::{
    BranchPattern, ErrorCode, EventData, Identity, MAIN_BRANCH, RevealRequest, RevealResponse, SecretMetadata,
    SetSecretRequest,
};
use docstore_secrets::{Binding, Zeroizing};
use futures::{TryStreamExt, future::try_join_all};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Admin, Error, FileBytes, FileRead, IdempotencyKey, Operations, Reader, Result,
    changes::check_text,
    limits::reached,
    write::{Begun, begin},
};

/// The longest value (contract, ci §8.4).
const SECRET_VALUE_BYTES_MAX: usize = 32_768;

/// The longest description: a line or two.
const SECRET_DESCRIPTION_BYTES_MAX: usize = 1024;

/// The most secrets of one repo. The list is one answer.
const SECRETS_PER_REPO_MAX: i64 = 1000;

/// The most branch patterns, and the most checks, of one secret.
const SECRET_BINDINGS_MAX: usize = 100;

/// The longest name of a check that a secret can be bound to.
const CHECK_NAME_BYTES_MAX: usize = 255;

/// The most names that one request reveals: each is a call to the key service.
const REVEALED_NAMES_MAX: usize = 100;

/// The values that one request opens at a time.
const OPENED_AT_ONCE_MAX: usize = 8;

/// The largest config that is read.
const CI_CONFIG_BYTES_MAX: u64 = 1024 * 1024;

fn secret_not_found() -> Error {
    Error::refused(ErrorCode::NotFound, "secret not found")
}

/// The job that presented its request token. Having one is the proof that it may ask for secrets of its repo.
#[derive(Clone, Debug)]
pub struct RevealingJob(JobToken);

impl Operations {
    /// The secrets of a repo by name, without their values: all, or one page.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` without a key.
    pub async fn list_secrets(&self, reader: &Reader, after: &str, limit: Option<i64>) -> Result<Vec<SecretMetadata>> {
        self.keeper()?;
        let limit = limit.map(|limit| self.limits().page(Some(limit), limit));
        Ok(secrets::list_secrets(self.pool(), reader.repo_id(), after, limit).await?)
    }

    /// Sets a secret, or replaces it. Sent again it does the same; the answer of a request is not kept, since a hash of the
    /// request could be tried against weak values.
    ///
    /// # Errors
    /// A name, value or binding that cannot be used, or too many secrets.
    pub async fn set_secret(&self, admin: &Admin, name: &str, request: &SetSecretRequest) -> Result<SecretMetadata> {
        self.keeper()?;
        check_name(name)?;
        if is_reserved_secret_name(name) {
            return Err(Error::bad_request("secret name uses reserved prefix"));
        }
        let value = value_of(request)?;
        let description = request.description.as_deref().unwrap_or_default();
        check_text("description", description, SECRET_DESCRIPTION_BYTES_MAX)?;
        let branches = request.branches.as_deref();
        for pattern in branches.unwrap_or_default() {
            BranchPattern::parse(pattern.as_str())?;
        }
        let checks = request.checks.as_deref();
        if checks.unwrap_or_default().iter().any(|check| check.is_empty() || check.len() > CHECK_NAME_BYTES_MAX) {
            return Err(Error::bad_request(format!("names of checks must have 1 to {CHECK_NAME_BYTES_MAX} bytes")));
        }
        if [branches, checks].iter().flatten().any(|list| list.is_empty() || list.len() > SECRET_BINDINGS_MAX) {
            return Err(Error::bad_request(format!(
                "branches and checks must have 1 to {SECRET_BINDINGS_MAX} entries; leave them out for all"
            )));
        }
        // The key service is asked before the transaction: nobody waits for it with a connection in hand.
        let sealed = self.seal(Binding::RepoSecret { repo_id: admin.repo_id(), name }, &value).await?;
        let mut write = match self.begin::<()>(admin.caller(), None).await? {
            Begun::Now(write) => write,
            Begun::Before(()) => return Err(Error::Internal("a request without a key was answered before".into())),
        };
        hold_repo(&mut *write.transaction, admin.repo_id()).await?;
        // Deleted while we waited: nothing clears what is added now.
        if !is_live(&mut *write.transaction, admin.repo_id()).await? {
            return Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"));
        }
        lock_count(&mut *write.transaction, Counted::Secrets(admin.repo_id())).await?;
        if secrets::count_other_secrets(&mut *write.transaction, admin.repo_id(), name).await? >= SECRETS_PER_REPO_MAX {
            reached("secrets_per_repo");
            return Err(Error::bad_request(format!(
                "the repo has {SECRETS_PER_REPO_MAX} secrets already; delete one first"
            )));
        }
        let size_bytes = i32::try_from(value.len()).unwrap_or(i32::MAX);
        let new = NewSecret {
            repo_id: admin.repo_id(),
            name,
            description,
            sealed: &sealed,
            size_bytes,
            branches,
            checks,
            identity: admin.identity(),
        };
        let set = secrets::set_secret(&mut *write.transaction, &new).await?;
        let (repo, actor) = (admin.repo().to_owned(), admin.identity().to_owned());
        let (name, id) = (set.name.clone(), set.id);
        let event = if set.updated_at.is_none() {
            EventData::SecretCreated { repo, name, id, size_bytes, actor }
        } else {
            EventData::SecretUpdated { repo, name, id, size_bytes, actor }
        };
        write.note(Some(admin.repo_id()), &event)?;
        self.finish(write, set).await
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete_secret(&self, admin: &Admin, key: Option<&IdempotencyKey>, name: &str) -> Result<()> {
        self.keeper()?;
        let mut write = begin!(self, admin.caller(), key);
        hold_repo(&mut *write.transaction, admin.repo_id()).await?;
        let id = secrets::delete_secret(&mut *write.transaction, admin.repo_id(), name).await?;
        let id = id.ok_or_else(secret_not_found)?;
        let event = EventData::SecretDeleted {
            repo: admin.repo().to_owned(),
            name: name.to_owned(),
            id,
            actor: admin.identity().to_owned(),
        };
        write.note(Some(admin.repo_id()), &event)?;
        self.finish(write, ()).await
    }

    /// The job that may ask for secrets of a repo with its request token.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` without a key, `UNAUTHORIZED` when the token opens nothing, `NOT_FOUND` when it is of another
    /// repo.
    pub async fn job_for_reveal(&self, repo: &str, token: &str) -> Result<RevealingJob> {
        self.keeper().map_err(|_| Error::refused(ErrorCode::ServiceUnavailable, "secrets reveal not available"))?;
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()));
        let job = job_of_request_token(self.pool(), &hash).await?;
        let job = job.ok_or_else(|| Error::refused(ErrorCode::Unauthorized, "unauthorized"))?;
        if job.repo != repo {
            return Err(Error::refused(ErrorCode::NotFound, "not found"));
        }
        Ok(RevealingJob(job))
    }

    /// Gives a claimed job what the repo's config on `main` says that its checks use, as far as its trigger, its branch and
    /// the secrets' own bindings allow. Every value that is given and every one that is denied is an event, which is
    /// committed before the answer leaves.
    ///
    /// # Errors
    /// `FORBIDDEN` when the job may have no secrets at all.
    pub async fn reveal_secrets(&self, job: &RevealingJob, request: &RevealRequest) -> Result<RevealResponse> {
        let RevealingJob(job) = job;
        check_names(&request.names)?;
        if let Some(reason) = self.blocked(job).await? {
            let denied = BTreeMap::from([(reason.to_owned(), request.names.clone())]);
            self.note_reveal(job, &[], denied).await?;
            return Err(Error::refused(ErrorCode::Forbidden, format!("secrets_blocked: {reason}")));
        }
        let named = self.named_on_main(job.repo_id).await?;
        let stored = secrets::stored_secrets(self.pool(), job.repo_id, &request.names).await?;
        let stored: HashMap<&str, &StoredSecret> = stored.iter().map(|secret| (secret.name.as_str(), secret)).collect();
        let mut response = RevealResponse::default();
        let mut missing = BTreeSet::new();
        let mut revealed: Vec<&StoredSecret> = Vec::new();
        let mut denied: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in &request.names {
            let Some(secret) = stored.get(name.as_str()) else {
                missing.insert(name.clone());
                continue;
            };
            match withheld(secret, job, named.as_deref(), request.check.as_deref()) {
                Some(why) => {
                    missing.insert(name.clone());
                    denied.entry(why.clone()).or_default().push(name.clone());
                    response.withheld.insert(name.clone(), why);
                }
                None => revealed.push(secret),
            }
        }
        response.missing = request.names.iter().filter(|name| missing.remove(*name)).cloned().collect();
        let unique: BTreeMap<&str, &StoredSecret> = revealed.iter().map(|one| (one.name.as_str(), *one)).collect();
        let unique: Vec<&StoredSecret> = unique.into_values().collect();
        for some in unique.chunks(OPENED_AT_ONCE_MAX) {
            let opened = try_join_all(some.iter().map(|secret| self.open_secret(secret))).await?;
            for (secret, value) in some.iter().zip(&opened) {
                response.values.insert(secret.name.clone(), STANDARD.encode(&**value));
            }
        }
        self.note_reveal(job, &revealed, denied).await?;
        Ok(response)
    }

    /// Logs who was given what, and that it was used; and what was denied, by reason.
    async fn note_reveal(
        &self,
        job: &JobToken,
        revealed: &[&StoredSecret],
        denied: BTreeMap<String, Vec<String>>,
    ) -> Result<()> {
        if revealed.is_empty() && denied.is_empty() {
            return Ok(());
        }
        let system = docstore_auth::Caller::system("secrets").map_err(|error| Error::Internal(Box::new(error)))?;
        let mut write = match self.begin::<()>(&system, None).await? {
            Begun::Now(write) => write,
            Begun::Before(()) => return Ok(()),
        };
        let ids: Vec<Uuid> = revealed.iter().map(|secret| secret.id).collect();
        secrets::note_use(&mut *write.transaction, &ids).await?;
        for secret in revealed {
            let event = EventData::SecretAccessed {
                repo: job.repo.clone(),
                name: secret.name.clone(),
                job_id: job.job_id,
                sequence: job.sequence,
                branch: job.branch.clone(),
            };
            write.note(Some(job.repo_id), &event)?;
        }
        for (reason, names) in denied {
            let event = EventData::SecretDenied {
                repo: job.repo.clone(),
                names,
                job_id: job.job_id,
                sequence: job.sequence,
                branch: job.branch.clone(),
                reason,
            };
            write.note(Some(job.repo_id), &event)?;
        }
        self.finish(write, ()).await
    }

    /// Why a job may have no secrets at all, going by what started it (contract, ci §8.5). Of a proposal, its author and
    /// whoever brought the branch's commits must be members of the org; of an agent, its owner.
    async fn blocked(&self, job: &JobToken) -> Result<Option<&'static str>> {
        match job.trigger_type.as_deref() {
            Some("push" | "manual" | "schedule") => return Ok(None),
            Some("proposal" | "proposal_synchronized") => {}
            _ => return Ok(Some("trigger_not_allowed")),
        }
        let Some(id) = job.trigger_proposal_id.as_deref().and_then(|id| id.parse().ok()) else {
            return Ok(Some("missing_proposal"));
        };
        let Some(author) = secrets::proposal_author(self.pool(), job.repo_id, job.branch_id, id).await? else {
            return Ok(Some("proposal_not_found"));
        };
        if !self.is_member(job.org_id, author).await? {
            return Ok(Some("non_member_proposal"));
        }
        for pusher in secrets::pushers(self.pool(), job.branch_id, job.sequence).await? {
            if !self.is_member(job.org_id, pusher).await? {
                return Ok(Some("non_member_pusher"));
            }
        }
        Ok(None)
    }

    /// Whether somebody, or the owner of an agent, is a member of an org.
    async fn is_member(&self, org_id: i64, identity: String) -> Result<bool> {
        let Ok(identity) = Identity::parse(identity) else { return Ok(false) };
        let identity = identity.agent_owner().unwrap_or(identity);
        Ok(member_role(self.pool(), org_id, identity.as_str()).await?.is_some())
    }

    /// What the config at the head of `main` says that checks use. Nothing when there is none that can be read.
    async fn named_on_main(&self, repo_id: i64) -> Result<Option<Vec<CheckSecrets>>> {
        let Some(row) = trees::file(self.pool(), repo_id, MAIN_BRANCH, None, CI_CONFIG_PATH).await? else {
            return Ok(None);
        };
        let file = FileRead::new(repo_id, row);
        if file.is_obliterated() {
            tracing::warn!(repo_id, "the CI config on main was obliterated: it names no secrets");
            return Ok(None);
        }
        if file.size > CI_CONFIG_BYTES_MAX {
            reached("ci_config_bytes");
            return Ok(None);
        }
        let bytes = match self.file_bytes(file, None).await? {
            FileBytes::Whole(bytes) => bytes.to_vec(),
            FileBytes::Stream(mut stream) => {
                let mut whole = Vec::new();
                while let Some(chunk) = stream.try_next().await? {
                    whole.extend_from_slice(&chunk);
                }
                whole
            }
        };
        let named = String::from_utf8(bytes).ok().and_then(|yaml| check_secrets(&yaml).ok());
        Ok(named)
    }
}

/// Why a job may not have a secret, if it may not.
fn withheld(
    secret: &StoredSecret,
    job: &JobToken,
    named: Option<&[CheckSecrets]>,
    check: Option<&str>,
) -> Option<String> {
    if let Some(branches) = &secret.branches
        && !branches.iter().any(|pattern| pattern.matches(&job.branch))
    {
        return Some("it is for other branches".to_owned());
    }
    let Some(named) = named else { return Some(format!("main has no {CI_CONFIG_PATH} that can be read")) };
    let users: Vec<&str> = named
        .iter()
        .filter(|one| check.is_none_or(|check| one.check == check))
        .filter(|one| one.secrets.iter().any(|used| used.repo_name == secret.name))
        .map(|one| one.check.as_str())
        .collect();
    if users.is_empty() {
        return Some(format!("{CI_CONFIG_PATH} on main does not name it for this check"));
    }
    match &secret.checks {
        Some(checks) if !users.iter().any(|user| checks.iter().any(|check| check == user)) => {
            Some("it is for other checks".to_owned())
        }
        _ => None,
    }
}

fn check_name(name: &str) -> Result<()> {
    if is_secret_name(name) { Ok(()) } else { Err(Error::bad_request("invalid secret name")) }
}

fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::bad_request("names is required"));
    }
    if names.len() > REVEALED_NAMES_MAX {
        reached("revealed_names");
        return Err(Error::bad_request(format!("names holds more than {REVEALED_NAMES_MAX} names")));
    }
    names.iter().try_for_each(|name| check_name(name))
}

/// The bytes of the value, from text or base64.
fn value_of(request: &SetSecretRequest) -> Result<Zeroizing<Vec<u8>>> {
    let value = match &request.value_base64 {
        None => Zeroizing::new(request.value.expose().as_bytes().to_vec()),
        Some(_) if !request.value.is_empty() => {
            return Err(Error::bad_request("value and value_base64 exclude each other"));
        }
        Some(encoded) => {
            let decoded = STANDARD.decode(encoded.expose());
            Zeroizing::new(decoded.map_err(|_| Error::bad_request("value_base64 is not standard base64"))?)
        }
    };
    if value.is_empty() {
        return Err(Error::bad_request("secret value is empty"));
    }
    if value.len() > SECRET_VALUE_BYTES_MAX {
        reached("secret_value_bytes");
        return Err(Error::bad_request("secret value exceeds maximum size"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use docstore_ci_config::SecretUse;
    use docstore_database::secrets::SealedColumns;

    use super::*;

    fn job(branch: &str) -> JobToken {
        JobToken {
            job_id: Uuid::nil(),
            repo_id: 1,
            org_id: 1,
            branch_id: 1,
            repo: "a/b".to_owned(),
            branch: branch.to_owned(),
            sequence: 1,
            trigger_type: Some("push".to_owned()),
            trigger_proposal_id: None,
        }
    }

    fn secret(branches: Option<&[&str]>, checks: Option<&[&str]>) -> StoredSecret {
        let columns = SealedColumns {
            layout: 2,
            ciphertext: Vec::new(),
            nonce: Vec::new(),
            encrypted_dek: Vec::new(),
            kms_key_name: String::new(),
        };
        StoredSecret {
            id: Uuid::nil(),
            repo_id: 1,
            repo: "a/b".to_owned(),
            name: "TOKEN".to_owned(),
            sealed: columns,
            branches: branches.map(|all| all.iter().map(|one| BranchPattern::parse(*one).unwrap()).collect()),
            checks: checks.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
        }
    }

    #[test]
    fn a_secret_is_given_where_config_branch_and_check_agree() {
        let used = |name: &str| SecretUse { local_name: name.to_owned(), repo_name: name.to_owned() };
        let named = [
            CheckSecrets { check: "test".to_owned(), secrets: vec![used("TOKEN")] },
            CheckSecrets { check: "deploy".to_owned(), secrets: vec![used("OTHER")] },
        ];
        let asked = |secret: &StoredSecret, branch: &str, check: Option<&str>| {
            withheld(secret, &job(branch), Some(&named), check).is_none()
        };
        let free = secret(None, None);
        assert!(asked(&free, "any", None) && asked(&free, "any", Some("test")));
        assert!(!asked(&free, "any", Some("deploy")), "named for another check");
        assert!(!asked(&free, "any", Some("unknown")));
        let bound = secret(Some(&["main", "release/*"]), Some(&["test", "deploy"]));
        assert!(asked(&bound, "main", None) && asked(&bound, "release/1", Some("test")));
        assert!(!asked(&bound, "feature", None));
        assert!(!asked(&secret(None, Some(&["deploy"])), "main", None), "its own check does not use it");
        assert!(withheld(&free, &job("main"), None, None).is_some(), "no config, no secrets");
    }
}
