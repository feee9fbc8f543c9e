//! Invitations into orgs.

use chrono::{DateTime, Utc};
use docstore_models::{OrgInvite, OrgRole};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Result, error::timestamp};

/// An invitation to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewInvite<'a> {
    /// Whom it is for.
    pub email: &'a str,
    /// What it makes of them.
    pub role: OrgRole,
    /// Who invites.
    pub invited_by: &'a str,
    /// SHA-256 of the token.
    pub token_hash: &'a [u8],
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
}

/// Makes an invitation.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_invite(executor: impl PgExecutor<'_>, org_id: i64, invite: NewInvite<'_>) -> Result<Uuid> {
    let id = Uuid::now_v7();
    sqlx::query!(
        r#"
        INSERT INTO org_invites (id, org_id, email, role, invited_by, token_hash, expires_at)
        VALUES ($1, $2, $3, $4::text::org_role, $5, $6, $7)
        "#,
        id,
        org_id,
        invite.email,
        invite.role.as_str(),
        invite.invited_by,
        invite.token_hash,
        invite.expires_at,
    )
    .execute(executor)
    .await?;
    Ok(id)
}

/// Gives an invitation that nobody has accepted another token. Answers whether it is still there.
///
/// # Errors
/// When the database cannot answer.
pub async fn replace_token(executor: impl PgExecutor<'_>, org_id: i64, id: Uuid, token_hash: &[u8]) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE org_invites SET token_hash = $3 WHERE org_id = $1 AND id = $2 AND accepted_at IS NULL",
        org_id,
        id,
        token_hash,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The invitations of an org that nobody has accepted and that have not run out, oldest first, behind the one given. `None`
/// when there is no such invitation to start after.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_invites(
    connection: &mut PgConnection,
    org_id: i64,
    org: &str,
    now: DateTime<Utc>,
    after: Option<Uuid>,
    limit: Option<i64>,
) -> Result<Option<Vec<OrgInvite>>> {
    let after = match after {
        None => None,
        Some(id) => {
            let row = sqlx::query!("SELECT created_at FROM org_invites WHERE org_id = $1 AND id = $2", org_id, id)
                .fetch_optional(&mut *connection)
                .await?;
            let Some(row) = row else { return Ok(None) };
            Some((row.created_at, id))
        }
    };
    let rows = sqlx::query!(
        r#"
        SELECT id, email, role::text AS "role!", invited_by, expires_at, accepted_at, created_at
        FROM org_invites
        WHERE org_id = $1
            AND accepted_at IS NULL
            AND expires_at > $2
            -- As for proposals.
            AND (created_at, id) > (
                coalesce($3::timestamptz, '-infinity'), coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
            )
        ORDER BY created_at, id
        LIMIT $5
        "#,
        org_id,
        now,
        after.map(|(created_at, _)| created_at),
        after.map(|(_, id)| id),
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(Some(
        rows.into_iter()
            .filter_map(|row| {
                Some(OrgInvite {
                    id: row.id,
                    org: org.to_owned(),
                    email: row.email,
                    role: row.role.parse().ok()?,
                    invited_by: row.invited_by,
                    expires_at: timestamp(row.expires_at),
                    accepted_at: row.accepted_at.map(timestamp),
                    created_at: timestamp(row.created_at),
                })
            })
            .collect(),
    ))
}

/// The live org into which the invitation with this token leads.
///
/// # Errors
/// When the database cannot answer.
pub async fn org_of_invite(executor: impl PgExecutor<'_>, org: &str, token_hash: &[u8]) -> Result<Option<i64>> {
    let row = sqlx::query!(
        r#"
        SELECT o.id
        FROM org_invites i
        JOIN orgs o ON o.id = i.org_id
        WHERE o.name = $1 AND o.deleted_at IS NULL AND i.token_hash = $2
        "#,
        org,
        token_hash,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.id))
}

/// Locks the invitation with this token into an org that is locked until the transaction ends, and answers it as it is then.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_invite(
    executor: impl PgExecutor<'_>,
    org_id: i64,
    org: &str,
    token_hash: &[u8],
) -> Result<Option<OrgInvite>> {
    let row = sqlx::query!(
        r#"
        SELECT id, email, role::text AS "role!", invited_by, expires_at, accepted_at, created_at
        FROM org_invites
        WHERE org_id = $1 AND token_hash = $2
        FOR NO KEY UPDATE
        "#,
        org_id,
        token_hash,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.and_then(|row| {
        Some(OrgInvite {
            id: row.id,
            org: org.to_owned(),
            email: row.email,
            role: row.role.parse().ok()?,
            invited_by: row.invited_by,
            expires_at: timestamp(row.expires_at),
            accepted_at: row.accepted_at.map(timestamp),
            created_at: timestamp(row.created_at),
        })
    }))
}

/// Marks a locked invitation as accepted.
///
/// # Errors
/// When the database cannot answer.
pub async fn accept_invite(executor: impl PgExecutor<'_>, id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!("UPDATE org_invites SET accepted_at = $2 WHERE id = $1", id, now).execute(executor).await?;
    Ok(())
}

/// Deletes an invitation, accepted or not; answers whether it was there.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_invite(executor: impl PgExecutor<'_>, org_id: i64, id: Uuid) -> Result<bool> {
    let done =
        sqlx::query!("DELETE FROM org_invites WHERE org_id = $1 AND id = $2", org_id, id).execute(executor).await?;
    Ok(done.rows_affected() == 1)
}
