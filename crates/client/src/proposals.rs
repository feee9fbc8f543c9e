use docstore_models::{
    CreateProposalRequest, CreateProposalResponse, Issue, IssueList, Proposal, ProposalState, UpdateProposalRequest,
};
use uuid::Uuid;

use crate::{Error, RepoClient, transport::Call};

/// Which proposals to list. By default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProposalQuery {
    /// Only those in this state.
    pub state: Option<ProposalState>,
    /// Only those of this branch.
    pub branch: Option<String>,
    /// At most so many; all when absent.
    pub limit: Option<u32>,
    /// Only those behind this one.
    pub after: Option<Uuid>,
}

impl RepoClient {
    /// Opens a proposal for a branch.
    ///
    /// # Errors
    /// 409 `PROPOSAL_EXISTS`, 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn create_proposal(&self, request: &CreateProposalRequest) -> Result<CreateProposalResponse, Error> {
        self.client.fetch(Call::post(self.path("proposals")).json(request)?).await
    }

    /// Proposals, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn proposals(&self, query: &ProposalQuery) -> Result<Vec<Proposal>, Error> {
        let call = Call::get(self.path("proposals"))
            .query_some("state", query.state.map(ProposalState::as_str))
            .query_some("branch", query.branch.as_deref());
        let cursor = |proposal: &Proposal| proposal.id;
        self.client.pages(call, query.limit, query.after, |proposals| proposals, cursor).await
    }

    /// One proposal.
    ///
    /// # Errors
    /// 404 `PROPOSAL_NOT_FOUND`; otherwise as every call.
    pub async fn proposal(&self, id: Uuid) -> Result<Proposal, Error> {
        self.client.fetch(Call::get(self.proposal_path(id, ""))).await
    }

    /// Changes title and description.
    ///
    /// # Errors
    /// 404 `PROPOSAL_NOT_FOUND`; otherwise as every call.
    pub async fn update_proposal(&self, id: Uuid, request: &UpdateProposalRequest) -> Result<Proposal, Error> {
        self.client.fetch(Call::patch(self.proposal_path(id, "")).json(request)?).await
    }

    /// Gives a proposal up.
    ///
    /// # Errors
    /// 404 `PROPOSAL_NOT_FOUND`, 409 when it is not open; otherwise as every call.
    pub async fn close_proposal(&self, id: Uuid) -> Result<(), Error> {
        self.client.run(Call::post(self.proposal_path(id, "/close")).json(&())?).await
    }

    /// Opens a closed proposal again.
    ///
    /// # Errors
    /// 404 `PROPOSAL_NOT_FOUND`, 409 when it is not closed or the branch has another one; otherwise as every call.
    pub async fn reopen_proposal(&self, id: Uuid) -> Result<Proposal, Error> {
        self.client.fetch(Call::post(self.proposal_path(id, "/reopen")).json(&())?).await
    }

    /// The issues that are tied to a proposal, by number.
    ///
    /// # Errors
    /// As every call.
    pub async fn proposal_issues(&self, id: Uuid) -> Result<Vec<Issue>, Error> {
        let call = Call::get(self.proposal_path(id, "/issues"));
        self.client.pages(call, None, None, |list: IssueList| list.issues, |issue| issue.number).await
    }

    fn proposal_path(&self, id: Uuid, rest: &str) -> String {
        self.path(&format!("proposals/{id}{rest}"))
    }
}
