//! Explicit roles in a repo.

use docstore_database::{repos, roles};
use docstore_models::{ErrorCode, EventData, Identity, PrincipalKind, Role, RoleAssignment};

use crate::{
    Admin, Error, IdempotencyKey, Operations, Result,
    write::{Write, begin},
};

impl Operations {
    /// The explicit roles by identity: all, or one page.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_roles(&self, admin: &Admin, after: &str, limit: Option<i64>) -> Result<Vec<RoleAssignment>> {
        let limit = limit.map(|limit| self.limits().page(Some(limit), limit));
        Ok(roles::list_roles(self.pool(), admin.repo_id(), after, limit).await?)
    }

    /// Gives an identity a role, or changes it.
    ///
    /// # Errors
    /// A role or identity that cannot be used; `CONFLICT` when it would leave the repo without anybody who can
    /// administer it.
    pub async fn set_role(
        &self,
        admin: &Admin,
        key: Option<&IdempotencyKey>,
        identity: &str,
        role: &str,
    ) -> Result<RoleAssignment> {
        if identity.is_empty() {
            return Err(Error::bad_request("identity is required"));
        }
        let role: Role = role.parse().map_err(Error::bad_request)?;
        let identity = Identity::parse(identity)?;
        if identity.kind() == PrincipalKind::Agent {
            return Err(Error::bad_request("an agent has no role of its own; it has what its owner has"));
        }
        let key = key.map(|key| key.of_repo(Some(admin.repo_id())));
        let mut write = begin!(self, admin.caller(), key.as_ref());
        self.lock_roles(&mut write, admin).await?;
        if role < Role::Admin {
            self.keep_an_admin(&mut write, admin, identity.as_str(), false).await?;
        }
        roles::set_role(&mut *write.transaction, admin.repo_id(), identity.as_str(), role).await?;
        note_role(&mut write, admin, identity.as_str(), role.as_str())?;
        self.finish(write, RoleAssignment { identity, role }).await
    }

    /// Takes an identity's explicit role away.
    ///
    /// # Errors
    /// `NOT_FOUND` when it has none; `CONFLICT` when it would leave the repo without anybody who can administer it.
    pub async fn delete_role(&self, admin: &Admin, key: Option<&IdempotencyKey>, identity: &str) -> Result<()> {
        let key = key.map(|key| key.of_repo(Some(admin.repo_id())));
        let mut write = begin!(self, admin.caller(), key.as_ref());
        self.lock_roles(&mut write, admin).await?;
        self.keep_an_admin(&mut write, admin, identity, true).await?;
        if roles::delete_role(&mut *write.transaction, admin.repo_id(), identity).await?.is_none() {
            return Err(Error::refused(ErrorCode::NotFound, "role not found"));
        }
        note_role(&mut write, admin, identity, "")?;
        self.finish(write, ()).await
    }

    /// Keeps two admins from removing each other at the same time.
    async fn lock_roles(&self, write: &mut Write, admin: &Admin) -> Result<()> {
        if repos::lock_roles(&mut *write.transaction, admin.repo_id()).await? {
            Ok(())
        } else {
            Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"))
        }
    }

    /// Refuses to take the last admin's role, unless somebody is left who could give it back: an owner of the org, or the
    /// global admin who is asking. An owner who gets a lower explicit role is none any more in this repo.
    async fn keep_an_admin(&self, write: &mut Write, admin: &Admin, identity: &str, by_membership: bool) -> Result<()> {
        if self.is_global_admin(admin.caller().rights_of()) {
            return Ok(());
        }
        let (repo_id, org_id) = (admin.repo_id(), admin.org_id());
        let someone_left =
            roles::can_administer_without(&mut *write.transaction, repo_id, org_id, identity, by_membership).await?;
        if someone_left {
            return Ok(());
        }
        Err(Error::refused(
            ErrorCode::Conflict,
            format!("'{identity}' is the last admin of the repo; make somebody else admin first"),
        ))
    }
}

fn note_role(write: &mut Write, admin: &Admin, identity: &str, role: &str) -> Result<()> {
    let event = EventData::RoleChanged {
        repo: admin.repo().to_owned(),
        identity: identity.to_owned(),
        role: role.to_owned(),
        changed_by: admin.identity().to_owned(),
    };
    write.note(Some(admin.repo_id()), &event)
}
