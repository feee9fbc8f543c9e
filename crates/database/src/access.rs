//! Who may do what in a repo: the facts, not the decision.

use docstore_models::{OrgRole, Role, Timestamp};
use sqlx::PgExecutor;

use crate::{Result, error::timestamp};

/// What the database knows about a repo and one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoFacts {
    /// The repo.
    pub repo_id: i64,
    /// Its org.
    pub org_id: i64,
    /// The full name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// The identity's own role.
    pub explicit_role: Option<Role>,
    /// What the identity is in the repo's org.
    pub org_role: Option<OrgRole>,
    /// Whether anybody is an explicit admin.
    pub has_admin: bool,
}

/// The facts about a live repo and an identity.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_facts(executor: impl PgExecutor<'_>, repo: &str, identity: &str) -> Result<Option<RepoFacts>> {
    let row = sqlx::query!(
        r#"
        SELECT
            r.id, r.org_id, r.name, r.created_at, r.created_by,
            own.role::text AS "explicit_role?",
            m.role::text AS "org_role?",
            EXISTS (SELECT 1 FROM roles a WHERE a.repo_id = r.id AND a.role = 'admin') AS "has_admin!"
        FROM repos r
        LEFT JOIN roles own ON own.repo_id = r.id AND own.identity = $2
        LEFT JOIN org_members m ON m.org_id = r.org_id AND m.identity = $2
        WHERE r.name = $1 AND r.deleted_at IS NULL
        "#,
        repo,
        identity,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| RepoFacts {
        repo_id: row.id,
        org_id: row.org_id,
        name: row.name,
        created_at: timestamp(row.created_at),
        created_by: row.created_by,
        explicit_role: row.explicit_role.and_then(|role| role.parse().ok()),
        org_role: row.org_role.and_then(|role| role.parse().ok()),
        has_admin: row.has_admin,
    }))
}
