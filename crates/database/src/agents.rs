//! Agents (migration 11): principals of their own, each with an owner, a life and one token.

use chrono::{DateTime, Utc};
use docstore_models::Agent;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    Result,
    error::timestamp,
    tokens::{OfOwner, identity, scope},
};

/// Ends agents of an identity whose time is over, so that the name is free again. Then creates the agent; one that is there
/// violates `agents_live_identity`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_agent(
    connection: &mut PgConnection,
    agent_id: Uuid,
    identity: &str,
    owner: &str,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE agents SET revoked_at = expires_at WHERE identity = $1 AND revoked_at IS NULL AND expires_at <= $2",
        identity,
        now,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO agents (agent_id, identity, owner, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        agent_id,
        identity,
        owner,
        now,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The agents, oldest first.
///
/// # Errors
/// When the database cannot answer, or a row makes no sense.
pub async fn list_agents(executor: impl PgExecutor<'_>, which: OfOwner<'_>) -> Result<Vec<Agent>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            a.agent_id AS "agent_id!", a.identity AS "identity!", a.owner AS "owner!", a.created_at AS "created_at!",
            a.expires_at AS "expires_at!", a.revoked_at, t.all_repos, t.branches, t.actions, t.last_used_at,
            ARRAY(
                SELECT r.name FROM token_repos s JOIN repos r ON r.id = s.repo_id WHERE s.token_id = t.id ORDER BY r.name
            ) AS "repos!"
        FROM (
            -- As for tokens.
            SELECT * FROM agents WHERE $1::text IS NULL
            UNION ALL
            SELECT * FROM agents WHERE owner = $1
        ) a
        -- An agent has one. It is looked for by the agent, not joined with everybody's.
        CROSS JOIN LATERAL (SELECT * FROM tokens WHERE agent_id = a.id LIMIT 1) t
        WHERE a.agent_id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
        ORDER BY a.agent_id
        LIMIT $3
        "#,
        which.owner,
        which.after,
        which.limit,
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Agent {
                id: row.agent_id,
                name: docstore_models::name_of_agent(&row.identity).unwrap_or_default().to_owned(),
                identity: identity(row.identity)?,
                owner: identity(row.owner)?,
                scope: scope(&row.actions, (!row.all_repos).then_some(row.repos), row.branches),
                created_at: timestamp(row.created_at),
                expires_at: timestamp(row.expires_at),
                last_used_at: row.last_used_at.map(timestamp),
                revoked_at: row.revoked_at.map(timestamp),
            })
        })
        .collect()
}

/// Whether there is an agent of an identity, neither revoked nor over; if `since` is given, one that is older than what has
/// that id.
///
/// # Errors
/// When the database cannot answer.
pub async fn agent_lives(
    executor: impl PgExecutor<'_>,
    identity: &str,
    since: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM agents
            WHERE identity = $1 AND revoked_at IS NULL AND expires_at > $2 AND ($3::uuid IS NULL OR agent_id < $3)
        ) AS "lives!"
        "#,
        identity,
        now,
        since,
    )
    .fetch_one(executor)
    .await?)
}

/// What an agent that is revoked was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedAgent {
    /// Who it was.
    pub identity: String,
    /// Whose it was.
    pub owner: String,
    /// Whether it had not been revoked before.
    pub was_good: bool,
}

/// Revokes an agent, and with it its token: of this owner, or of anybody. `None` when there is none.
///
/// # Errors
/// When the database cannot answer.
pub async fn revoke_agent(
    executor: impl PgExecutor<'_>,
    agent_id: Uuid,
    owner: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<RevokedAgent>> {
    Ok(sqlx::query_as!(
        RevokedAgent,
        r#"
        WITH found AS (
            SELECT id, identity, owner, revoked_at IS NULL AS was_good
            FROM agents
            WHERE agent_id = $1 AND ($2::text IS NULL OR owner = $2)
            FOR UPDATE
        ),
        revoked AS (
            UPDATE agents a SET revoked_at = $3 FROM found WHERE a.id = found.id AND found.was_good
        ),
        tokens_revoked AS (
            UPDATE tokens t SET revoked_at = $3 FROM found WHERE t.agent_id = found.id AND t.revoked_at IS NULL
        )
        SELECT identity, owner, was_good AS "was_good!" FROM found
        "#,
        agent_id,
        owner,
        now,
    )
    .fetch_optional(executor)
    .await?)
}
