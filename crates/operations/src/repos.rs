//! Repos.

use docstore_auth::Caller;
use docstore_database::{orgs, repos, roles};
use docstore_models::{CreateRepoRequest, ErrorCode, EventData, Repo, RepoName, Role};

use crate::{Admin, Error, IdempotencyKey, Operations, Result, write::begin};

/// The org of a new database: while it has no members, everybody may create repos in it.
const OPEN_ORG: &str = "default";

impl Operations {
    /// Creates a repo; the caller becomes its admin. Members of the org may, and the global admin; in the org `default`
    /// everybody may while it has no members.
    ///
    /// # Errors
    /// A name that cannot be used, `ORG_NOT_FOUND`, `FORBIDDEN`, or `REPO_EXISTS`.
    pub async fn create_repo(
        &self,
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        request: &CreateRepoRequest,
    ) -> Result<Repo> {
        if request.owner.is_empty() {
            return Err(Error::bad_request("owner is required"));
        }
        if request.name.is_empty() {
            return Err(Error::bad_request("name is required"));
        }
        if request.owner.contains('/') {
            return Err(Error::bad_request("owner must match first segment of repo name"));
        }
        let name = RepoName::parse(format!("{}/{}", request.owner, request.name))?;
        let identity = caller.identity().as_str();
        let org_not_found = || Error::refused(ErrorCode::OrgNotFound, "org not found");
        let mut write = begin!(self, caller, key);
        let org = orgs::org_facts(&mut *write.transaction, name.org(), caller.rights_of().as_str())
            .await?
            .ok_or_else(org_not_found)?;
        let open = org.org.name == OPEN_ORG && !org.has_members;
        if org.role.is_none() && !open && !self.is_global_admin(caller.rights_of()) {
            tracing::info!(identity, org = name.org(), needed = "org member", "access denied");
            return Err(Error::refused(ErrorCode::Forbidden, "forbidden: not an org member"));
        }
        if !orgs::lock_org(&mut *write.transaction, org.org_id).await? {
            return Err(org_not_found());
        }
        let created = repos::create_repo(&mut write.transaction, org.org_id, name.as_str(), identity).await;
        let (repo_id, repo) = match created {
            Err(error) if error.is_constraint("repos_live_name") => {
                return Err(Error::refused(ErrorCode::RepoExists, "repo already exists"));
            }
            other => other?,
        };
        roles::set_role(&mut *write.transaction, repo_id, identity, Role::Admin).await?;
        let event = EventData::RepoCreated {
            repo: repo.name.clone(),
            owner: repo.owner.clone(),
            created_by: identity.to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, repo).await
    }

    /// The repos by name: all, or one page.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_repos(&self, _caller: &Caller, after: &str, limit: Option<i64>) -> Result<Vec<Repo>> {
        let limit = limit.map(|limit| self.limits().page(Some(limit), limit));
        Ok(repos::list_repos(self.pool(), None, after, limit).await?)
    }

    /// The repos of an org by name: all, or one page.
    ///
    /// # Errors
    /// `ORG_NOT_FOUND`.
    pub async fn list_org_repos(
        &self,
        caller: &Caller,
        org: &str,
        after: &str,
        limit: Option<i64>,
    ) -> Result<Vec<Repo>> {
        let facts = orgs::org_facts(self.pool(), org, caller.rights_of().as_str())
            .await?
            .ok_or_else(|| Error::refused(ErrorCode::OrgNotFound, "org not found"))?;
        let limit = limit.map(|limit| self.limits().page(Some(limit), limit));
        Ok(repos::list_repos(self.pool(), Some(facts.org_id), after, limit).await?)
    }

    /// What everybody may know of a repo.
    ///
    /// # Errors
    /// `REPO_NOT_FOUND`; `FORBIDDEN` for a token for other repos.
    pub async fn repo(&self, caller: &Caller, name: &str) -> Result<Repo> {
        let facts =
            self.facts(caller, name).await?.ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?;
        if !caller.covers_repo(facts.repo_id) {
            return Err(Error::forbidden());
        }
        Ok(Repo {
            owner: facts.name.split('/').next().unwrap_or_default().to_owned(),
            name: facts.name,
            created_at: facts.created_at,
            created_by: facts.created_by,
        })
    }

    /// Lets somebody in who may delete a repo: its admin, or the global admin as the last resort.
    ///
    /// # Errors
    /// `REPO_NOT_FOUND` (that a repo exists is no secret), then `FORBIDDEN`.
    pub async fn repo_deleter(&self, caller: &Caller, name: &str) -> Result<Admin> {
        self.repo(caller, name).await?;
        if self.is_global_admin(caller.rights_of()) {
            return self.access_as_global_admin(caller, name).await;
        }
        self.access(caller, name).await?.try_into()
    }

    /// Deletes a repo: its name is free again at once, its rows go later, and nothing of it passes to a new repo of the
    /// same name.
    ///
    /// # Errors
    /// `REPO_NOT_FOUND` when somebody else was faster.
    pub async fn delete_repo(&self, admin: &Admin, key: Option<&IdempotencyKey>) -> Result<()> {
        admin.check_all_branches()?;
        let mut write = begin!(self, admin.caller(), key);
        if !repos::lock_repo(&mut *write.transaction, admin.repo_id()).await? {
            return Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"));
        }
        repos::delete_repo(&mut write.transaction, admin.repo_id()).await?;
        let event = EventData::RepoDeleted { repo: admin.repo().to_owned(), deleted_by: admin.identity().to_owned() };
        write.note(Some(admin.repo_id()), &event)?;
        self.finish(write, ()).await
    }
}
