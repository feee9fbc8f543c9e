use docstore_models::{CreateOrgRequest, Org, OrgList, Repo, RepoList};

use crate::{Client, Error, paths::segment, transport::Call};

impl Client {
    /// All orgs, by name.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_orgs(&self) -> Result<Vec<Org>, Error> {
        let call = Call::get("/orgs".to_owned());
        self.pages(call, None, None, |list: OrgList| list.orgs, |org| org.name.clone()).await
    }

    /// Creates an org; its creator becomes its owner.
    ///
    /// # Errors
    /// 409 `ORG_EXISTS`; otherwise as every call.
    pub async fn create_org(&self, name: &str) -> Result<Org, Error> {
        self.fetch(Call::post("/orgs".to_owned()).json(&CreateOrgRequest { name: name.to_owned() })?).await
    }

    /// One org.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn get_org(&self, name: &str) -> Result<Org, Error> {
        self.fetch(Call::get(format!("/orgs/{}", segment(name)))).await
    }

    /// Deletes an org without repos.
    ///
    /// # Errors
    /// 409 when it still has repos; otherwise as every call.
    pub async fn delete_org(&self, name: &str) -> Result<(), Error> {
        self.run(Call::delete(format!("/orgs/{}", segment(name)))).await
    }

    /// The repos of an org, by name.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_org_repos(&self, name: &str) -> Result<Vec<Repo>, Error> {
        let call = Call::get(format!("/orgs/{}/repos", segment(name)));
        self.pages(call, None, None, |list: RepoList| list.repos, |repo| repo.name.clone()).await
    }
}
