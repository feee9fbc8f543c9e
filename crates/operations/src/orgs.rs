//! Orgs.

use docstore_auth::Caller;
use docstore_database::{org_members, orgs};
use docstore_models::{ErrorCode, EventData, Org, OrgName, OrgRole};

use crate::{Error, IdempotencyKey, Operations, OrgOwner, OrgReader, Result, write::begin};

pub(crate) fn org_not_found() -> Error {
    Error::refused(ErrorCode::OrgNotFound, "org not found")
}

impl Operations {
    /// Creates an org; the caller becomes its owner.
    ///
    /// # Errors
    /// A name that cannot be used, or `ORG_EXISTS`.
    pub async fn create_org(&self, caller: &Caller, key: Option<&IdempotencyKey>, name: &str) -> Result<Org> {
        if name.is_empty() {
            return Err(Error::bad_request("name is required"));
        }
        let name = OrgName::parse(name)?;
        let identity = caller.identity().as_str();
        let mut write = begin!(self, caller, key);
        let (org_id, org) = match orgs::create_org(&mut *write.transaction, name.as_str(), identity).await {
            Err(error) if error.is_constraint("orgs_live_name") => {
                return Err(Error::refused(ErrorCode::OrgExists, "org already exists"));
            }
            other => other?,
        };
        org_members::set_member(
            &mut *write.transaction,
            org_id,
            name.as_str(),
            caller.identity(),
            OrgRole::Owner,
            identity,
        )
        .await?;
        write.note(None, &EventData::OrgCreated { org: org.name.clone(), created_by: identity.to_owned() })?;
        self.finish(write, org).await
    }

    /// The orgs by name: all, or one page.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_orgs(&self, _caller: &Caller, after: &str, limit: Option<i64>) -> Result<Vec<Org>> {
        let limit = limit.map(|limit| self.limits().page(Some(limit), limit));
        Ok(orgs::list_orgs(self.pool(), after, limit).await?)
    }

    /// One org.
    ///
    /// # Errors
    /// `ORG_NOT_FOUND`.
    pub async fn org(&self, caller: &Caller, name: &str) -> Result<Org> {
        let facts = orgs::org_facts(self.pool(), name, caller.rights_of().as_str()).await?.ok_or_else(org_not_found)?;
        Ok(facts.org)
    }

    /// Lets somebody in who may see who is in an org: its members, or the global admin.
    ///
    /// # Errors
    /// `ORG_NOT_FOUND`, then `FORBIDDEN`.
    pub async fn org_reader(&self, caller: &Caller, name: &str) -> Result<OrgReader> {
        let facts = orgs::org_facts(self.pool(), name, caller.rights_of().as_str()).await?.ok_or_else(org_not_found)?;
        if facts.role.is_some() || self.is_global_admin(caller.rights_of()) {
            return Ok(OrgReader { org_id: facts.org_id, name: facts.org.name });
        }
        tracing::info!(identity = caller.identity().as_str(), org = name, needed = "org member", "access denied");
        Err(Error::refused(ErrorCode::Forbidden, "forbidden: not an org member"))
    }

    /// Lets somebody in who may administer an org: an owner, or the global admin.
    ///
    /// # Errors
    /// `ORG_NOT_FOUND`, then `FORBIDDEN`.
    pub async fn org_owner(&self, caller: &Caller, name: &str) -> Result<OrgOwner> {
        let facts = orgs::org_facts(self.pool(), name, caller.rights_of().as_str()).await?.ok_or_else(org_not_found)?;
        if facts.role == Some(OrgRole::Owner) || self.is_global_admin(caller.rights_of()) {
            return Ok(OrgOwner { caller: caller.clone(), org_id: facts.org_id, name: facts.org.name });
        }
        tracing::info!(identity = caller.identity().as_str(), org = name, needed = "org owner", "access denied");
        Err(Error::refused(ErrorCode::Forbidden, "forbidden: org owner required"))
    }

    /// Deletes an org that has no repos.
    ///
    /// # Errors
    /// `CONFLICT` while it has repos.
    pub async fn delete_org(&self, owner: &OrgOwner, key: Option<&IdempotencyKey>) -> Result<()> {
        let mut write = begin!(self, &owner.caller, key);
        if !orgs::lock_org(&mut *write.transaction, owner.org_id).await? {
            return Err(org_not_found());
        }
        if orgs::org_has_repos(&mut *write.transaction, owner.org_id).await? {
            return Err(Error::refused(ErrorCode::Conflict, "org has repos; delete them first"));
        }
        orgs::delete_org(&mut write.transaction, owner.org_id).await?;
        let deleted_by = owner.caller.identity().as_str().to_owned();
        write.note(None, &EventData::OrgDeleted { org: owner.name.clone(), deleted_by })?;
        self.finish(write, ()).await
    }
}
