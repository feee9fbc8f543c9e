use docstore_models::{
    Branch, BranchStatus, CreateBranchRequest, CreateBranchResponse, UpdateBranchRequest, UpdateBranchResponse,
};

use crate::{Error, RepoClient, paths::segment, transport::Call};

/// Which branches to list. By default all but drafts, whatever their status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BranchQuery {
    /// Only those with this status.
    pub status: Option<BranchStatus>,
    /// Only drafts.
    pub only_drafts: bool,
    /// Drafts too.
    pub include_drafts: bool,
}

impl RepoClient {
    /// Branches, by name.
    ///
    /// # Errors
    /// As every call.
    pub async fn branches(&self, query: &BranchQuery) -> Result<Vec<Branch>, Error> {
        let call = Call::get(self.path("branches"))
            .query_some("draft", query.only_drafts.then_some(true))
            .query_some("include_draft", query.include_drafts.then_some(true))
            .query_some("status", query.status.map(BranchStatus::as_str));
        self.client.pages(call, None, None, |branches| branches, |branch: &Branch| branch.name.clone()).await
    }

    /// One branch, drafts included.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn branch(&self, name: &str) -> Result<Branch, Error> {
        self.client.fetch(Call::get(self.branch_path(name, ""))).await
    }

    /// Creates a branch at the head of `main`.
    ///
    /// # Errors
    /// 409 `BRANCH_EXISTS`; otherwise as every call.
    pub async fn create_branch(&self, name: &str, draft: bool) -> Result<CreateBranchResponse, Error> {
        let body = CreateBranchRequest { name: name.to_owned(), draft };
        self.client.fetch(Call::post(self.path("branch")).json(&body)?).await
    }

    /// Makes a branch a draft, or ready.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn set_branch_draft(&self, name: &str, draft: bool) -> Result<UpdateBranchResponse, Error> {
        let body = UpdateBranchRequest { draft };
        self.client.fetch(Call::patch(self.branch_path(name, "")).json(&body)?).await
    }

    /// Abandons a branch; it stays readable until it is purged.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`, 409 `BRANCH_NOT_ACTIVE`; otherwise as every call.
    pub async fn delete_branch(&self, name: &str) -> Result<(), Error> {
        self.client.run(Call::delete(self.branch_path(name, ""))).await
    }

    /// Lets a branch merge by itself as soon as that is allowed.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn enable_auto_merge(&self, name: &str) -> Result<(), Error> {
        self.client.run(Call::post(self.branch_path(name, "/auto-merge")).json(&())?).await
    }

    /// Takes [`RepoClient::enable_auto_merge`] back.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn disable_auto_merge(&self, name: &str) -> Result<(), Error> {
        self.client.run(Call::delete(self.branch_path(name, "/auto-merge"))).await
    }

    pub(crate) fn branch_path(&self, name: &str, rest: &str) -> String {
        self.path(&format!("branch/{}{rest}", segment(name)))
    }
}
