//! Orgs.

use docstore_models::{Org, OrgRole};
use sqlx::PgExecutor;

use crate::{Result, error::timestamp};

/// Creates an org. A taken name violates `orgs_live_name`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_org(executor: impl PgExecutor<'_>, name: &str, created_by: &str) -> Result<(i64, Org)> {
    let row =
        sqlx::query!("INSERT INTO orgs (name, created_by) VALUES ($1, $2) RETURNING id, created_at", name, created_by)
            .fetch_one(executor)
            .await?;
    let org = Org { name: name.to_owned(), created_at: timestamp(row.created_at), created_by: created_by.to_owned() };
    Ok((row.id, org))
}

/// All live orgs, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_orgs(executor: impl PgExecutor<'_>, after: &str, limit: Option<i64>) -> Result<Vec<Org>> {
    let rows = sqlx::query!(
        "SELECT name, created_at, created_by FROM orgs WHERE deleted_at IS NULL AND name > $1 ORDER BY name LIMIT $2",
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Org { name: row.name, created_at: timestamp(row.created_at), created_by: row.created_by })
        .collect())
}

/// An org and what one identity is in it.
#[derive(Clone, Debug)]
pub struct OrgFacts {
    /// The org.
    pub org_id: i64,
    /// As the wire shows it.
    pub org: Org,
    /// What the identity is in it.
    pub role: Option<OrgRole>,
    /// Whether it has any members.
    pub has_members: bool,
}

/// The facts about a live org and an identity.
///
/// # Errors
/// When the database cannot answer.
pub async fn org_facts(executor: impl PgExecutor<'_>, name: &str, identity: &str) -> Result<Option<OrgFacts>> {
    let row = sqlx::query!(
        r#"
        SELECT
            o.id, o.name, o.created_at, o.created_by, m.role::text AS "role?",
            EXISTS (SELECT 1 FROM org_members a WHERE a.org_id = o.id) AS "has_members!"
        FROM orgs o
        LEFT JOIN org_members m ON m.org_id = o.id AND m.identity = $2
        WHERE o.name = $1 AND o.deleted_at IS NULL
        "#,
        name,
        identity,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| OrgFacts {
        org_id: row.id,
        org: Org { name: row.name, created_at: timestamp(row.created_at), created_by: row.created_by },
        role: row.role.and_then(|role| role.parse().ok()),
        has_members: row.has_members,
    }))
}

/// Locks a live org against being deleted, or against repos being created in it, until the transaction ends.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_org(executor: impl PgExecutor<'_>, org_id: i64) -> Result<bool> {
    let row = sqlx::query!("SELECT id FROM orgs WHERE id = $1 AND deleted_at IS NULL FOR UPDATE", org_id)
        .fetch_optional(executor)
        .await?;
    Ok(row.is_some())
}

/// Whether a live repo belongs to the org.
///
/// # Errors
/// When the database cannot answer.
pub async fn org_has_repos(executor: impl PgExecutor<'_>, org_id: i64) -> Result<bool> {
    let row = sqlx::query!(
        r#"SELECT EXISTS (SELECT 1 FROM repos WHERE org_id = $1 AND deleted_at IS NULL) AS "exists!""#,
        org_id
    )
    .fetch_one(executor)
    .await?;
    Ok(row.exists)
}

/// Leaves a tombstone for an org and removes its members and invitations.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_org(connection: &mut sqlx::PgConnection, org_id: i64) -> Result<()> {
    sqlx::query!("DELETE FROM org_members WHERE org_id = $1", org_id).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM org_invites WHERE org_id = $1", org_id).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM org_policies WHERE org_id = $1", org_id).execute(&mut *connection).await?;
    sqlx::query!("UPDATE orgs SET deleted_at = now() WHERE id = $1", org_id).execute(connection).await?;
    Ok(())
}
