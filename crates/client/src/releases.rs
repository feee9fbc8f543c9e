use docstore_models::{CreateReleaseRequest, Release, ReleaseList};
use uuid::Uuid;

use crate::{Error, RepoClient, paths::segments, transport::Call};

impl RepoClient {
    /// One page of releases, newest first; `after` is the id of the last one of the page before.
    ///
    /// # Errors
    /// As every call.
    pub async fn releases(&self, limit: Option<u32>, after: Option<Uuid>) -> Result<Vec<Release>, Error> {
        let call = Call::get(self.path("releases")).query_some("limit", limit).query_some("after", after);
        self.client.fetch::<ReleaseList>(call).await.map(|list| list.releases)
    }

    /// One release.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn release(&self, name: &str) -> Result<Release, Error> {
        self.client.fetch(Call::get(self.path(&format!("releases/{}", segments(name))))).await
    }

    /// Names a sequence.
    ///
    /// # Errors
    /// 409 when the name is taken; otherwise as every call.
    pub async fn create_release(&self, request: &CreateReleaseRequest) -> Result<Release, Error> {
        self.client.fetch(Call::post(self.path("releases")).json(request)?).await
    }

    /// Frees the name of a release.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn delete_release(&self, name: &str) -> Result<(), Error> {
        self.client.run(Call::delete(self.path(&format!("releases/{}", segments(name))))).await
    }
}
