//! Policies of orgs, past decisions, and trying policies on them.

use std::{sync::Arc, time::Duration};

use docstore_database::{
    orgs::lock_org,
    policies,
    verdicts::{self, VerdictFilter},
};
use docstore_models::{
    ErrorCode, EventData, OrgPolicy, OrgPolicyList, PolicyResult, ReplayRequest, ReplayResponse, ReplayedVerdict,
    SetOrgPolicyRequest, Verdict, VerdictOutcome,
};
use docstore_policy::POLICY_BYTES_MAX;
use docstore_policy_worker::{CheckedPolicy, Document, Tenant};
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, Maintainer, Operations, OrgOwner, OrgReader, Reader, Result, limits::reached,
    orgs::org_not_found, write::begin,
};

/// How many policies an org may have: each judges every merge in it.
const ORG_POLICIES_MAX: usize = 50;
/// The longest name of an org's policy.
const ORG_POLICY_NAME_BYTES_MAX: usize = 100;
/// How many policies one replay tries.
const REPLAY_POLICIES_MAX: usize = 20;
/// How many decisions one replay looks at; more come page by page.
const REPLAY_DECISIONS_MAX: i64 = 200;
/// How long a replay goes on; it then tells where the next one begins. It has evaluations that merges wait for.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(20);
/// How many decisions a page has.
const VERDICTS_PAGE: i64 = 50;

/// Which decisions to list.
#[derive(Clone, Debug, Default)]
pub struct VerdictQuery {
    /// Only those about this branch.
    pub branch: Option<String>,
    /// Only those that ended so.
    pub outcome: Option<VerdictOutcome>,
    /// Only those before this one.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: Option<i64>,
}

/// How many policies of an org a page has at most: they come with their texts, of a quarter of a MiB each.
const ORG_POLICIES_PAGE: i64 = 20;

impl Operations {
    /// The policies of an org, by name: one page.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_org_policies(&self, org: &OrgReader, after: &str, limit: Option<i64>) -> Result<OrgPolicyList> {
        let limit = limit.unwrap_or(ORG_POLICIES_PAGE).min(ORG_POLICIES_PAGE);
        Ok(OrgPolicyList { policies: policies::list_org_policies(self.pool(), org.org_id, after, limit).await? })
    }

    /// Sets a policy of an org. It judges everything that moves the `main` of a repo of the org from now on.
    ///
    /// # Errors
    /// A name that cannot be used, or `POLICY_INVALID` with the line.
    pub async fn set_org_policy(
        &self,
        owner: &OrgOwner,
        key: Option<&IdempotencyKey>,
        name: &str,
        request: &SetOrgPolicyRequest,
    ) -> Result<OrgPolicy> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > ORG_POLICY_NAME_BYTES_MAX || !name.chars().all(plain) {
            return Err(Error::bad_request(format!(
                "a policy's name must have 1 to {ORG_POLICY_NAME_BYTES_MAX} lower-case letters, digits, '-' and '_'"
            )));
        }
        if request.source.contains('\0') {
            return Err(Error::bad_request("source holds a NUL character"));
        }
        if request.source.len() > POLICY_BYTES_MAX {
            reached("policy_bytes");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("a policy may have at most {POLICY_BYTES_MAX} bytes"),
            ));
        }
        if let Err(error) = self.checked_org_policy(owner.org_id, name, request.source.clone()).await? {
            return Err(Error::refused(ErrorCode::PolicyInvalid, error.to_string()));
        }
        let identity = owner.caller.identity().as_str();
        let mut write = begin!(self, &owner.caller, key);
        if !lock_org(&mut *write.transaction, owner.org_id).await? {
            return Err(org_not_found());
        }
        let there = policies::org_policies(&mut *write.transaction, owner.org_id).await?;
        if there.len() >= ORG_POLICIES_MAX && there.iter().all(|policy| policy.name != name) {
            reached("org_policies");
            return Err(Error::refused(
                ErrorCode::Conflict,
                format!("an org may have at most {ORG_POLICIES_MAX} policies"),
            ));
        }
        let policy =
            policies::set_org_policy(&mut *write.transaction, owner.org_id, name, &request.source, identity).await?;
        let event = EventData::OrgPolicyChanged {
            org: owner.name.clone(),
            name: name.to_owned(),
            deleted: false,
            changed_by: identity.to_owned(),
        };
        write.note(None, &event)?;
        self.finish(write, policy).await
    }

    /// Deletes a policy of an org.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete_org_policy(&self, owner: &OrgOwner, key: Option<&IdempotencyKey>, name: &str) -> Result<()> {
        let mut write = begin!(self, &owner.caller, key);
        if !lock_org(&mut *write.transaction, owner.org_id).await? {
            return Err(org_not_found());
        }
        if !policies::delete_org_policy(&mut *write.transaction, owner.org_id, name).await? {
            return Err(Error::refused(ErrorCode::NotFound, "policy not found"));
        }
        let event = EventData::OrgPolicyChanged {
            org: owner.name.clone(),
            name: name.to_owned(),
            deleted: true,
            changed_by: owner.caller.identity().as_str().to_owned(),
        };
        write.note(None, &event)?;
        self.finish(write, ()).await
    }

    /// One page of past decisions, newest first.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_verdicts(&self, reader: &Reader, query: &VerdictQuery) -> Result<Vec<Verdict>> {
        let filter = VerdictFilter {
            branch: query.branch.as_deref(),
            outcome: query.outcome,
            after: query.after,
            limit: self.limits().page(query.limit, VERDICTS_PAGE),
        };
        Ok(verdicts::list_verdicts(self.pool(), reader.repo_id(), &filter).await?)
    }

    /// Tries policies on past decisions: which of them would have ended otherwise.
    ///
    /// # Errors
    /// `BAD_REQUEST` with file and line, or `POLICY_FAILED` when one does not stop.
    pub async fn replay_policies(&self, maintainer: &Maintainer, request: ReplayRequest) -> Result<ReplayResponse> {
        if request.policies.is_empty() {
            return Err(Error::bad_request("policies is required"));
        }
        if request.policies.len() > REPLAY_POLICIES_MAX {
            reached("replay_policies");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("at most {REPLAY_POLICIES_MAX} policies may be tried at once"),
            ));
        }
        if request.limit.is_some_and(|limit| limit < 1) {
            return Err(Error::bad_request("limit must be at least 1"));
        }
        let mut tried = Vec::new();
        for policy in request.policies {
            if policy.file.is_empty() {
                return Err(Error::bad_request("file is required"));
            }
            let checked = self.checked_to_try(maintainer.repo_id(), policy.file, policy.source).await?;
            tried.push(checked.map_err(|error| Error::bad_request(error.to_string()))?);
        }
        let limit = request.limit.unwrap_or(REPLAY_DECISIONS_MAX).min(REPLAY_DECISIONS_MAX);
        self.replay(maintainer.repo_id(), &tried, request.after, limit).await
    }

    async fn replay(
        &self,
        repo_id: i64,
        tried: &[Arc<CheckedPolicy>],
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<ReplayResponse> {
        let tenant = Tenant::Repo(repo_id);
        let until = self.now() + REPLAY_TIME_MAX;
        let mut at_end = true;
        let mut response = ReplayResponse { next: after, ..ReplayResponse::default() };
        // One at a time: a document may have some megabytes.
        while let Some(decision) = verdicts::stored_inputs(self.pool(), repo_id, response.next, 1).await?.pop() {
            response.next = Some(decision.id);
            let input = Document::of_stored(&decision.input).map_err(|error| Error::Internal(Box::new(error)))?;
            // The time is that of the decision, so that a policy about days of the week says what it would have said.
            let said = self.evaluator().decide(tenant, tried, &input, decision.created_at).await?;
            let policies: Vec<PolicyResult> = said
                .into_iter()
                .map(|decided| match decided {
                    Ok(decided) => decided.result,
                    Err(error) => PolicyResult {
                        name: error.name,
                        reason: error.message,
                        file: Some(error.file),
                        ..PolicyResult::default()
                    },
                })
                .collect();
            let would_pass = policies.iter().all(|policy| policy.pass || policy.shadow);
            let went_ahead = decision.outcome != VerdictOutcome::Denied;
            response.replayed += 1;
            response.refused += i64::from(went_ahead && !would_pass);
            response.allowed += i64::from(!went_ahead && would_pass);
            if went_ahead != would_pass {
                response.changed.push(ReplayedVerdict {
                    id: decision.id,
                    action: decision.action,
                    branch: decision.branch,
                    actor: decision.actor,
                    was: decision.outcome,
                    would_pass,
                    policies,
                    created_at: decision.created_at.into(),
                });
            }
            at_end = false;
            if response.replayed >= limit {
                break;
            }
            if self.now() >= until {
                reached("replay_time");
                break;
            }
            at_end = true;
        }
        if at_end {
            response.next = None;
        }
        response.skipped = verdicts::count_without_input(self.pool(), repo_id, after, response.next).await?;
        Ok(response)
    }
}
