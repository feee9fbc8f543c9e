use docstore_models::{
    AgentContext, MergeStatus, OrgPolicy, OrgPolicyList, ReplayRequest, ReplayResponse, SetOrgPolicyRequest, Verdict,
    VerdictList, VerdictOutcome, Why,
};
use uuid::Uuid;

use crate::{Client, Error, RepoClient, paths::segment, transport::Call};

/// Which decisions of policies to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerdictQuery<'a> {
    /// Only those about this branch.
    pub branch: Option<&'a str>,
    /// Only those that ended so.
    pub outcome: Option<VerdictOutcome>,
    /// At most so many; all when absent.
    pub limit: Option<u32>,
    /// Only those before this one.
    pub after: Option<Uuid>,
}

impl RepoClient {
    /// Whether policies let the caller merge a branch.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn merge_status(&self, branch: &str) -> Result<MergeStatus, Error> {
        self.client.fetch(Call::get(self.path(&format!("branch/{}/status", segment(branch))))).await
    }

    /// Why the caller cannot merge a branch, and what to do about it.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn why(&self, branch: &str) -> Result<Why, Error> {
        self.client.fetch(Call::get(self.path(&format!("branch/{}/why", segment(branch))))).await
    }

    /// Everything about a branch at once.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn agent_context(&self, branch: &str) -> Result<AgentContext, Error> {
        self.client.fetch(Call::get(self.path(&format!("branch/{}/agent-context", segment(branch))))).await
    }

    /// What policies decided, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn verdicts(&self, query: &VerdictQuery<'_>) -> Result<Vec<Verdict>, Error> {
        let call = Call::get(self.path("policies/verdicts"))
            .query_some("branch", query.branch)
            .query_some("outcome", query.outcome.map(VerdictOutcome::as_str));
        let list = |list: VerdictList| list.verdicts;
        self.client.pages(call, query.limit, query.after, list, |verdict| verdict.id).await
    }

    /// Tries policies on past decisions; changes nothing.
    ///
    /// # Errors
    /// 400 with file and line; otherwise as every call.
    pub async fn replay_policies(&self, request: &ReplayRequest) -> Result<ReplayResponse, Error> {
        self.client.fetch(Call::post_query(self.path("policies/replay")).json(request)?).await
    }
}

impl Client {
    /// The policies of an org, by name.
    ///
    /// # Errors
    /// 403 for who is no member; otherwise as every call.
    pub async fn org_policies(&self, org: &str) -> Result<Vec<OrgPolicy>, Error> {
        /// What the server gives at once.
        const PAGE: usize = 20;
        let mut policies: Vec<OrgPolicy> = Vec::new();
        loop {
            let call = Call::get(format!("/orgs/{}/policies", segment(org))).query("limit", PAGE.to_string());
            let call = call.query_some("after", policies.last().map(|policy| policy.name.as_str()));
            let page = self.fetch::<OrgPolicyList>(call).await?.policies;
            let is_last = page.len() < PAGE;
            policies.extend(page);
            if is_last {
                return Ok(policies);
            }
        }
    }

    /// Sets a policy that judges every repo of an org.
    ///
    /// # Errors
    /// 409 `POLICY_INVALID` with the line; otherwise as every call.
    pub async fn set_org_policy(&self, org: &str, name: &str, source: &str) -> Result<OrgPolicy, Error> {
        let body = SetOrgPolicyRequest { source: source.to_owned() };
        self.fetch(Call::put(format!("/orgs/{}/policies/{}", segment(org), segment(name))).json(&body)?).await
    }

    /// Deletes a policy of an org.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn delete_org_policy(&self, org: &str, name: &str) -> Result<(), Error> {
        self.run(Call::delete(format!("/orgs/{}/policies/{}", segment(org), segment(name)))).await
    }
}
