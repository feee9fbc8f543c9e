use docstore_models::{CreateReleaseRequest, Release, ReleaseList};

use crate::{Error, RepoClient, paths::segments, transport::Call};

impl RepoClient {
    /// Releases, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn releases(&self) -> Result<Vec<Release>, Error> {
        let call = Call::get(self.path("releases"));
        self.client.pages(call, None, None, |list: ReleaseList| list.releases, |release| release.id).await
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
