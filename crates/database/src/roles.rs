//! Explicit roles in repos.

use docstore_models::{Identity, Role, RoleAssignment};
use sqlx::PgExecutor;

use crate::Result;

/// The explicit roles of a repo, by identity.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_roles(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    after: &str,
    limit: Option<i64>,
) -> Result<Vec<RoleAssignment>> {
    let rows = sqlx::query!(
        r#"
        SELECT identity, role::text AS "role!"
        FROM roles
        WHERE repo_id = $1 AND identity > $2
        ORDER BY identity
        LIMIT $3
        "#,
        repo_id,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(RoleAssignment { identity: Identity::parse(row.identity).ok()?, role: row.role.parse().ok()? })
        })
        .collect())
}

/// Gives an identity a role, or changes it.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_role(executor: impl PgExecutor<'_>, repo_id: i64, identity: &str, role: Role) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO roles (repo_id, identity, role) VALUES ($1, $2, $3::text::role)
        ON CONFLICT (repo_id, identity) DO UPDATE SET role = excluded.role
        "#,
        repo_id,
        identity,
        role.as_str(),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Takes an identity's role away; answers which it was.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_role(executor: impl PgExecutor<'_>, repo_id: i64, identity: &str) -> Result<Option<Role>> {
    let row = sqlx::query!(
        r#"DELETE FROM roles WHERE repo_id = $1 AND identity = $2 RETURNING role::text AS "role!""#,
        repo_id,
        identity,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.and_then(|row| row.role.parse().ok()))
}

/// Whether anybody can administer the repo after an identity has lost its explicit role: an explicit admin, or an owner
/// of its org whom no explicit role makes something less. With `by_membership` the identity itself counts as well, if it
/// is such an owner: it is when its role is taken away, and not when it gets a lower one.
///
/// # Errors
/// When the database cannot answer.
pub async fn can_administer_without(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    org_id: i64,
    identity: &str,
    by_membership: bool,
) -> Result<bool> {
    let row = sqlx::query!(
        r#"
        SELECT
            EXISTS (SELECT 1 FROM roles WHERE repo_id = $1 AND role = 'admin' AND identity <> $3)
            OR EXISTS (
                SELECT 1 FROM org_members m
                WHERE m.org_id = $2
                    AND m.role = 'owner'
                    AND CASE
                        WHEN m.identity = $3 THEN $4
                        ELSE NOT EXISTS (SELECT 1 FROM roles own WHERE own.repo_id = $1 AND own.identity = m.identity)
                    END
            ) AS "can!"
        "#,
        repo_id,
        org_id,
        identity,
        by_membership,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.can)
}
