use docstore_models::{CreateRepoRequest, PurgeRequest, PurgeResponse, Repo, RepoList};

use crate::{Client, Error, RepoClient, paths::segments, transport::Call};

impl Client {
    /// All repos, by name.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_repos(&self) -> Result<Vec<Repo>, Error> {
        let call = Call::get("/repos".to_owned());
        self.pages(call, None, None, |list: RepoList| list.repos, |repo| repo.name.clone()).await
    }

    /// Creates the repo `<owner>/<name>`; the name may have several segments.
    ///
    /// # Errors
    /// 404 `ORG_NOT_FOUND`, 409 `REPO_EXISTS`; otherwise as every call.
    pub async fn create_repo(&self, owner: &str, name: &str) -> Result<Repo, Error> {
        let body = CreateRepoRequest { owner: owner.to_owned(), name: name.to_owned() };
        self.fetch(Call::post("/repos".to_owned()).json(&body)?).await
    }

    /// One repo, by its full name.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn get_repo(&self, full_name: &str) -> Result<Repo, Error> {
        self.fetch(Call::get(format!("/repos/{}", segments(full_name)))).await
    }

    /// Deletes a repo and everything in it.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_repo(&self, full_name: &str) -> Result<(), Error> {
        // With `/-/` at the end, as the original client does: no repo name can be mistaken for an endpoint.
        self.run(Call::delete(format!("/repos/{}/-/", segments(full_name)))).await
    }
}

impl RepoClient {
    /// Removes merged and abandoned branches of an age, and what only they held.
    ///
    /// # Errors
    /// As every call.
    pub async fn purge(&self, request: &PurgeRequest) -> Result<PurgeResponse, Error> {
        self.client.fetch(Call::post(self.path("purge")).json(request)?).await
    }
}
