use docstore_models::{Diff, MergeRequest, MergeResponse, RebaseRequest, RebaseResponse};

use crate::{Error, RepoClient, transport::Call};

impl RepoClient {
    /// Merges a branch into `main`.
    ///
    /// # Errors
    /// 409 with conflicts, 403 with policies, 409 `HEAD_MOVED`; otherwise as every call.
    pub async fn merge(&self, request: &MergeRequest) -> Result<MergeResponse, Error> {
        self.client.fetch(Call::post(self.path("merge")).json(request)?).await
    }

    /// Replays a branch onto the head of `main`.
    ///
    /// # Errors
    /// 409 with conflicts, 409 `HEAD_MOVED`; otherwise as every call.
    pub async fn rebase(&self, request: &RebaseRequest) -> Result<RebaseResponse, Error> {
        self.client.fetch(Call::post(self.path("rebase")).json(request)?).await
    }

    /// What a branch and `main` changed since the branch's base.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn diff(&self, branch: &str) -> Result<Diff, Error> {
        self.client.fetch(Call::get(self.path("diff")).query("branch", branch)).await
    }
}
