//! Who may do what in a repo (contract, server §3).

use std::collections::BTreeMap;

use docstore_auth::Caller;
use docstore_database::{
    Transaction,
    access::{Grants, RepoFacts, grants_of, repo_facts},
};
use docstore_models::{ErrorCode, Grant, Identity, OrgRole, Repo, Role, person_behind};

use crate::{Error, Operations, Result, auto_merge::AUTO_MERGE};

/// A caller's standing in a repo that exists.
#[derive(Clone, Debug)]
pub struct Access {
    caller: Caller,
    facts: RepoFacts,
    role: Role,
}

impl Access {
    /// Who is asking.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who is asking, as text.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.caller.identity().as_str()
    }

    /// The caller's role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The full name of the repo.
    #[must_use]
    pub fn repo(&self) -> &str {
        &self.facts.name
    }

    /// The repo inside.
    #[must_use]
    pub fn repo_id(&self) -> i64 {
        self.facts.repo_id
    }

    /// Lets the caller write a branch, as far as its credential is concerned.
    ///
    /// # Errors
    /// `FORBIDDEN` when it is a token for other branches.
    pub(crate) fn check_branch(&self, branch: &str) -> Result<()> {
        if self.caller.covers_branch(branch) {
            return Ok(());
        }
        tracing::info!(identity = self.identity(), repo = self.repo(), branch, "the token is for other branches");
        Err(Error::refused(ErrorCode::Forbidden, "forbidden: the API token is for other branches"))
    }

    /// The same for all branches at once.
    ///
    /// # Errors
    /// `FORBIDDEN` when it is a token for some branches.
    pub(crate) fn check_all_branches(&self) -> Result<()> {
        if self.caller.token().is_none_or(|token| token.scope.branches.is_none()) {
            return Ok(());
        }
        Err(Error::refused(ErrorCode::Forbidden, "forbidden: the API token is for some branches only"))
    }

    pub(crate) fn org_id(&self) -> i64 {
        self.facts.org_id
    }

    /// The repo as the wire shows it.
    #[must_use]
    pub fn to_wire(&self) -> Repo {
        Repo {
            name: self.facts.name.clone(),
            owner: self.facts.name.split('/').next().unwrap_or_default().to_owned(),
            created_at: self.facts.created_at,
            created_by: self.facts.created_by.clone(),
        }
    }
}

macro_rules! level {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Access);

        impl std::ops::Deref for $name {
            type Target = Access;

            fn deref(&self) -> &Access {
                &self.0
            }
        }

        impl TryFrom<Access> for $name {
            type Error = Error;

            /// # Errors
            /// `FORBIDDEN` when the role is lower.
            fn try_from(access: Access) -> Result<Self> {
                if access.role >= $role {
                    Ok(Self(access))
                } else {
                    tracing::info!(
                        identity = access.identity(),
                        repo = access.repo(),
                        role = access.role.as_str(),
                        needed = $role.as_str(),
                        "access denied"
                    );
                    Err(Error::forbidden())
                }
            }
        }
    };
}

level!(
    /// Proof that the caller may read the repo.
    Reader,
    Role::Reader
);
level!(
    /// Proof that the caller may write to branches of the repo other than `main`.
    Writer,
    Role::Writer
);
level!(
    /// Proof that the caller may move `main` and manage branches.
    Maintainer,
    Role::Maintainer
);
level!(
    /// Proof that the caller may grant roles, import and delete.
    Admin,
    Role::Admin
);

/// Proof that the caller is the configured global admin.
#[derive(Clone, Debug)]
pub struct GlobalAdmin(Caller);

impl GlobalAdmin {
    /// Who is asking.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.0
    }
}

/// Proof that the caller may see who is in an org.
#[derive(Clone, Debug)]
pub struct OrgReader {
    pub(crate) org_id: i64,
    pub(crate) name: String,
}

/// Proof that the caller may administer an org.
#[derive(Clone, Debug)]
pub struct OrgOwner {
    pub(crate) caller: Caller,
    pub(crate) org_id: i64,
    pub(crate) name: String,
}

/// Lets in whoever wrote something, and maintainers.
///
/// # Errors
/// `FORBIDDEN` for everybody else, with the contract's sentence.
pub(crate) fn require_author(access: &Access, author: &str, of_what: &'static str) -> Result<()> {
    if access.identity() == author || access.role >= Role::Maintainer {
        return Ok(());
    }
    tracing::info!(identity = access.identity(), repo = access.repo(), needed = of_what, "access denied");
    Err(Error::refused(ErrorCode::Forbidden, format!("forbidden: must be {of_what} author or maintainer")))
}

/// The role of an identity in a repo, and what gives it: the explicit role, else the one that org membership gives (contract,
/// server §3.4). The global admin is admin of repos that have no explicit admin (§3.2).
pub(crate) fn role_and_grant(facts: &RepoFacts, global_admin: bool) -> Option<(Role, Grant)> {
    role_of(facts.explicit_role, facts.org_role, global_admin && !facts.has_admin)
}

fn role_of(explicit_role: Option<Role>, org_role: Option<OrgRole>, last_resort: bool) -> Option<(Role, Grant)> {
    if last_resort {
        return Some((Role::Admin, Grant::GlobalAdmin));
    }
    let explicit = explicit_role.map(|role| (role, Grant::Role));
    explicit.or_else(|| {
        org_role.map(|org_role| {
            let grant = if org_role == OrgRole::Owner { Grant::OrgOwner } else { Grant::OrgMember };
            (org_role.repo_role(), grant)
        })
    })
}

impl Operations {
    /// Whether an identity is the configured global admin.
    #[must_use]
    pub fn is_global_admin(&self, identity: &Identity) -> bool {
        self.inner.global_admin.as_ref() == Some(identity)
    }

    /// Finds out what a caller is in a repo (`role_and_grant`). An agent is what its owner is. A token for other
    /// repos opens no door here.
    ///
    /// # Errors
    /// For the global admin a repo that does not exist is `REPO_NOT_FOUND`; for everybody else it looks like one that
    /// they may not enter: `FORBIDDEN`.
    pub async fn access(&self, caller: &Caller, repo: &str) -> Result<Access> {
        let facts = self.facts(caller, repo).await?;
        self.judge(caller, repo, facts)
    }

    /// The roles that people have in a repo now; those without one are not among them.
    pub(crate) async fn roles_of(
        &self,
        transaction: &mut Transaction,
        repo_id: i64,
        people: &[&str],
    ) -> Result<BTreeMap<String, Role>> {
        let global_admin = self.inner.global_admin.as_ref().map(Identity::as_str);
        let grants = grants_of(&mut **transaction, repo_id, people).await?;
        let role = |grants: Grants| {
            let last_resort = global_admin == Some(&grants.identity) && !grants.has_admin;
            let (role, _) = role_of(grants.explicit_role, grants.org_role, last_resort)?;
            Some((grants.identity, role))
        };
        Ok(grants.into_iter().filter_map(role).collect())
    }

    /// Whether a caller who could read a repo still can; nothing when that repo is gone, whoever has its name now.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn still_reads(&self, caller: &Caller, repo: &str, repo_id: i64) -> Result<Option<bool>> {
        let facts = self.facts(caller, repo).await?;
        let global_admin = self.is_global_admin(caller.rights_of());
        let facts = facts.filter(|facts| facts.repo_id == repo_id);
        Ok(facts.map(|facts| caller.covers_repo(repo_id) && role_and_grant(&facts, global_admin).is_some()))
    }

    /// Decides what the facts make of a caller.
    pub(crate) fn judge(&self, caller: &Caller, repo: &str, facts: Option<RepoFacts>) -> Result<Access> {
        let global_admin = self.is_global_admin(caller.rights_of());
        let Some(facts) = facts else {
            if global_admin {
                return Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"));
            }
            tracing::info!(identity = caller.identity().as_str(), repo, "access denied");
            return Err(Error::forbidden());
        };
        if !caller.covers_repo(facts.repo_id) {
            tracing::info!(identity = caller.identity().as_str(), repo, "the token is for other repos");
            return Err(Error::forbidden());
        }
        let Some((role, _)) = role_and_grant(&facts, global_admin) else {
            tracing::info!(identity = caller.identity().as_str(), repo, "access denied");
            return Err(Error::forbidden());
        };
        Ok(Access { caller: caller.clone(), facts, role })
    }

    /// The right by which a branch merges by itself: that of the person who asked for it, as it is now. Whoever acts is
    /// the server.
    ///
    /// # Errors
    /// `FORBIDDEN` when that person may not merge any more.
    pub(crate) async fn access_for_auto_merge(&self, repo: &str, asked_by: &str) -> Result<Maintainer> {
        let caller = Caller::system(AUTO_MERGE).map_err(|error| Error::Internal(Box::new(error)))?;
        let rights_of = Identity::parse(person_behind(asked_by))?;
        let facts = repo_facts(self.pool(), repo, rights_of.as_str()).await?.ok_or_else(Error::forbidden)?;
        let (role, _) = role_and_grant(&facts, self.is_global_admin(&rights_of)).ok_or_else(Error::forbidden)?;
        Access { caller, facts, role }.try_into()
    }

    /// The global admin as admin of a repo, also of one that has admins: for deleting, the last resort.
    pub(crate) async fn access_as_global_admin(&self, caller: &Caller, repo: &str) -> Result<Admin> {
        let GlobalAdmin(caller) = self.global_admin(caller)?;
        let facts = self
            .facts(&caller, repo)
            .await?
            .ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?;
        if !caller.covers_repo(facts.repo_id) {
            return Err(Error::forbidden());
        }
        Ok(Admin(Access { caller, facts, role: Role::Admin }))
    }

    /// Lets the global admin in.
    ///
    /// # Errors
    /// `FORBIDDEN`, with the contract's sentences (server §3.3).
    pub fn global_admin(&self, caller: &Caller) -> Result<GlobalAdmin> {
        if self.is_global_admin(caller.rights_of()) {
            return Ok(GlobalAdmin(caller.clone()));
        }
        let message = match self.inner.global_admin {
            None => "forbidden: no global admin configured",
            Some(_) => "forbidden: global admin required",
        };
        tracing::info!(identity = caller.identity().as_str(), needed = "global admin", "access denied");
        Err(Error::refused(ErrorCode::Forbidden, message))
    }
}
