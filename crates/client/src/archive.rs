use docstore_models::{ArchivePathsRequest, PresignResponse};

use crate::{Download, Error, RepoClient, transport::Call};

impl RepoClient {
    /// The whole tree of a branch as a tar stream. `at` 0 means the head.
    ///
    /// # Errors
    /// 404 when the branch is unknown or the server has no archives; otherwise as every call.
    pub async fn archive(&self, branch: &str, at: Option<i64>) -> Result<Download, Error> {
        let call = Call::get(self.path("archive")).query_some("at", at).query("branch", branch);
        self.download(&call, "archive".to_owned()).await
    }

    /// Chosen files of a branch as a tar stream. Those that do not exist are left out. Additive.
    ///
    /// # Errors
    /// As every call; see [`Error::is_missing_endpoint`] for servers without it.
    pub async fn archive_paths(&self, request: &ArchivePathsRequest) -> Result<Download, Error> {
        let call = Call::post_query(self.path("archive")).json(request)?;
        self.download(&call, "archive".to_owned()).await
    }

    /// An address under which anyone may fetch the archive for a while. Needs a request token.
    ///
    /// # Errors
    /// As every call.
    pub async fn presign_archive(&self) -> Result<PresignResponse, Error> {
        self.client.fetch(Call::post_query(self.path("archive/presign")).json(&())?).await
    }

    pub(crate) async fn download(&self, call: &Call, what: String) -> Result<Download, Error> {
        let response = self.client.send(call).await?;
        Ok(Download::new(response, what, self.client.base_url().to_owned(), self.client.limits().idle))
    }
}
