use docstore_models::{ChainEntry, CommitDetail, CommitList, CommitRequest, CommitResponse};
use serde::Serialize;

use crate::{Error, RepoClient, transport::Call};

/// A commit as the original client sends it: servers ignore the author and take the authenticated identity.
#[derive(Serialize)]
struct AuthoredCommit<'a> {
    author: &'a str,
    #[serde(flatten)]
    request: &'a CommitRequest,
}

impl RepoClient {
    /// The same as [`RepoClient::commit`], with the field `author` of the contract.
    ///
    /// # Errors
    /// As [`RepoClient::commit`].
    pub async fn commit_as(&self, request: &CommitRequest, author: &str) -> Result<CommitResponse, Error> {
        self.client.fetch(Call::post(self.path("commit")).json(&AuthoredCommit { author, request })?).await
    }

    /// Commits changes to a branch.
    ///
    /// # Errors
    /// 409 `HEAD_MOVED`, `CONTENT_MISSING` or `BRANCH_NOT_ACTIVE`; otherwise as every call.
    pub async fn commit(&self, request: &CommitRequest) -> Result<CommitResponse, Error> {
        self.client.fetch(Call::post(self.path("commit")).json(request)?).await
    }

    /// One commit, by its number.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn commit_detail(&self, sequence: i64) -> Result<CommitDetail, Error> {
        self.client.fetch(Call::get(self.path(&format!("commit/{sequence}")))).await
    }

    /// One page of a branch's commits, newest first, below `before`. Additive.
    ///
    /// # Errors
    /// As every call; see [`Error::is_missing_endpoint`] for servers without it.
    pub async fn commits(&self, branch: &str, limit: u32, before: Option<i64>) -> Result<CommitList, Error> {
        let call = Call::get(self.path("commits"))
            .query_some("before", before)
            .query("branch", branch)
            .query("limit", limit.to_string());
        self.client.fetch(call).await
    }

    /// What enters the hashes of the commits `from` to `to`, both inclusive, ascending.
    ///
    /// A server may ignore `branch` and `limit` and answer with all commits of the repo in the range.
    ///
    /// # Errors
    /// As every call.
    pub async fn chain(
        &self,
        from: i64,
        to: i64,
        branch: Option<&str>,
        limit: Option<u32>,
    ) -> Result<Vec<ChainEntry>, Error> {
        let call = Call::get(self.path("chain"))
            .query_some("branch", branch)
            .query("from", from.to_string())
            .query_some("limit", limit)
            .query("to", to.to_string());
        self.client.fetch(call).await
    }
}
