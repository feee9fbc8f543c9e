use docstore_models::{ImportRequest, ImportResponse};

use crate::{Error, RepoClient, transport::Call};

impl RepoClient {
    /// Appends commits with authors and dates of their own, all or none. Additive; admins only.
    ///
    /// # Errors
    /// 409 `HEAD_MOVED`, 409 `CONTENT_MISSING`; otherwise as every call, see [`Error::is_missing_endpoint`] for
    /// servers without it.
    pub async fn import(&self, request: &ImportRequest) -> Result<ImportResponse, Error> {
        self.client.fetch(Call::post(self.path("import")).json(request)?).await
    }
}
