//! The members of orgs.

use docstore_models::{Identity, OrgMember, OrgRole};
use sqlx::PgExecutor;

use crate::{Result, error::timestamp};

/// The members of an org by identity, behind the one given.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_members(
    executor: impl PgExecutor<'_>,
    org_id: i64,
    org: &str,
    after: &str,
    limit: Option<i64>,
) -> Result<Vec<OrgMember>> {
    let rows = sqlx::query!(
        r#"
        SELECT identity, role::text AS "role!", invited_by, created_at
        FROM org_members
        WHERE org_id = $1 AND identity > $2
        ORDER BY identity
        LIMIT $3
        "#,
        org_id,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(OrgMember {
                org: org.to_owned(),
                identity: Identity::parse(row.identity).ok()?,
                role: row.role.parse().ok()?,
                invited_by: row.invited_by,
                created_at: timestamp(row.created_at),
            })
        })
        .collect())
}

/// Makes an identity a member or owner, or changes which, and answers the row as it is now. Who added somebody first stays.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_member(
    executor: impl PgExecutor<'_>,
    org_id: i64,
    org: &str,
    identity: &Identity,
    role: OrgRole,
    invited_by: &str,
) -> Result<OrgMember> {
    let row = sqlx::query!(
        r#"
        INSERT INTO org_members (org_id, identity, role, invited_by) VALUES ($1, $2, $3::text::org_role, $4)
        ON CONFLICT (org_id, identity) DO UPDATE SET role = excluded.role
        RETURNING invited_by, created_at
        "#,
        org_id,
        identity.as_str(),
        role.as_str(),
        invited_by,
    )
    .fetch_one(executor)
    .await?;
    Ok(OrgMember {
        org: org.to_owned(),
        identity: identity.clone(),
        role,
        invited_by: row.invited_by,
        created_at: timestamp(row.created_at),
    })
}

/// What an identity is in an org.
///
/// # Errors
/// When the database cannot answer.
pub async fn member_role(executor: impl PgExecutor<'_>, org_id: i64, identity: &str) -> Result<Option<OrgRole>> {
    let row = sqlx::query!(
        r#"SELECT role::text AS "role!" FROM org_members WHERE org_id = $1 AND identity = $2"#,
        org_id,
        identity,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.and_then(|row| row.role.parse().ok()))
}

/// Removes a member; answers whether it was one.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_member(executor: impl PgExecutor<'_>, org_id: i64, identity: &str) -> Result<bool> {
    let done = sqlx::query!("DELETE FROM org_members WHERE org_id = $1 AND identity = $2", org_id, identity)
        .execute(executor)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether an org has an owner beside this identity.
///
/// # Errors
/// When the database cannot answer.
pub async fn has_other_owner(executor: impl PgExecutor<'_>, org_id: i64, identity: &str) -> Result<bool> {
    let row = sqlx::query!(
        r#"
        SELECT EXISTS (
            SELECT 1 FROM org_members WHERE org_id = $1 AND role = 'owner' AND identity <> $2
        ) AS "exists!"
        "#,
        org_id,
        identity,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.exists)
}
