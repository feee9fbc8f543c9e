//! Who the caller is, what they may do, and the audit trail of that.

use docstore_auth::Caller;
use docstore_database::{access::facts_of_identity, event_log::audit_page, tokens::repo_names};
use docstore_models::{Action, AuditEntry, AuditPage, PresentedToken, Right, Timestamp, TokenScope, Whoami};

use crate::{Admin, Error, GlobalAdmin, Operations, Result, access::role_and_grant};

/// Rights of one page, when nobody says how many.
const RIGHTS_PAGE: i64 = 100;

/// Audit events of one page, when nobody says how many.
const AUDIT_PAGE: i64 = 100;

/// The most audit events of one page: their payloads are in memory at once.
const AUDIT_PAGE_MAX: i64 = 1000;

impl Operations {
    /// Who the caller is, and what the token that they sent is good for.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn whoami(&self, caller: &Caller) -> Result<Whoami> {
        let token = match caller.token() {
            None => None,
            Some(token) => {
                let repos = match &token.scope.repos {
                    None => None,
                    Some(repos) => Some(repo_names(self.pool(), repos).await?),
                };
                let scope =
                    TokenScope { actions: token.scope.actions.clone(), repos, branches: token.scope.branches.clone() };
                Some(PresentedToken { id: token.token_id, scope, expires_at: Timestamp::from(token.expires_at) })
            }
        };
        Ok(Whoami {
            identity: caller.identity().clone(),
            via: caller.via().as_str().to_owned(),
            kind: caller.kind(),
            on_behalf_of: caller.on_behalf_of().cloned(),
            token,
        })
    }

    /// The repos in which the caller has a role, by name, with what gives it: what [`Operations::access`] would decide.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_rights(&self, caller: &Caller, after: &str, limit: Option<i64>) -> Result<Vec<Right>> {
        let global_admin = self.is_global_admin(caller.rights_of());
        let scope = caller.token().map(|token| &token.scope);
        let only = scope.and_then(|scope| scope.repos.as_deref());
        let limit = self.limits().page(limit, RIGHTS_PAGE);
        let facts =
            facts_of_identity(self.pool(), caller.rights_of().as_str(), global_admin, only, after, limit).await?;
        Ok(facts
            .into_iter()
            .filter_map(|facts| {
                let (role, granted_by) = role_and_grant(&facts, global_admin)?;
                let possible = |action: &Action| action.least_role() <= role;
                let actions = scope.map(|scope| scope.actions.iter().copied().filter(possible).collect());
                let branches = scope.and_then(|scope| scope.branches.clone());
                Some(Right { repo: facts.name, role, granted_by, actions, branches })
            })
            .collect())
    }

    /// A page of the audit trail of the server, newest first, before a position.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn audit(&self, _admin: &GlobalAdmin, before: Option<i64>, limit: Option<i64>) -> Result<AuditPage> {
        self.audit_page(None, before, limit).await
    }

    /// A page of the audit trail of a repo, newest first, before a position.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn repo_audit(&self, admin: &Admin, before: Option<i64>, limit: Option<i64>) -> Result<AuditPage> {
        self.audit_page(Some(admin.repo_id()), before, limit).await
    }

    async fn audit_page(&self, repo_id: Option<i64>, before: Option<i64>, limit: Option<i64>) -> Result<AuditPage> {
        let limit = self.limits().page(limit, AUDIT_PAGE).min(AUDIT_PAGE_MAX);
        let rows = audit_page(self.pool(), repo_id, before, limit).await?;
        let events = rows
            .into_iter()
            .map(|(position, payload)| {
                let event = serde_json::from_str(&payload).map_err(|error| Error::Internal(Box::new(error)))?;
                Ok(AuditEntry { position, event })
            })
            .collect::<Result<_>>()?;
        Ok(AuditPage { events })
    }
}
