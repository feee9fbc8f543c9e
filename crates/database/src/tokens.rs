//! API tokens (migration 11) and their scopes. The agents that some of them stand for are in `agents`.

use chrono::{DateTime, Utc};
use docstore_models::{Action, BranchPattern, Identity, Token, TokenScope};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Result, error::timestamp};

/// A token as a request needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// Its id on the wire.
    pub token_id: Uuid,
    /// The stored digest.
    pub digest: Vec<u8>,
    /// Whom it stands for.
    pub identity: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was used last, as far as that was noted.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether it or its agent was revoked.
    pub revoked: bool,
    /// Whether it is for all repos.
    pub all_repos: bool,
    /// The repos it is for, unless it is for all.
    pub repos: Vec<i64>,
    /// The patterns of branches; `None` for all.
    pub branches: Option<Vec<String>>,
    /// The words of its actions.
    pub actions: Vec<String>,
}

/// Finds a token by its digest, whether it is still good or not.
///
/// # Errors
/// When the database cannot answer.
pub async fn token_facts(executor: impl PgExecutor<'_>, digest: &[u8]) -> Result<Option<TokenFacts>> {
    Ok(sqlx::query_as!(
        TokenFacts,
        r#"
        SELECT
            t.token_id, t.digest, coalesce(a.identity, t.owner) AS "identity!", t.expires_at, t.last_used_at,
            (t.revoked_at IS NOT NULL OR a.revoked_at IS NOT NULL) AS "revoked!", t.all_repos,
            ARRAY(SELECT r.repo_id FROM token_repos r WHERE r.token_id = t.id) AS "repos!",
            t.branches, t.actions
        FROM tokens t
        LEFT JOIN agents a ON a.id = t.agent_id
        WHERE t.digest = $1
        "#,
        digest,
    )
    .fetch_optional(executor)
    .await?)
}

/// Notes that a token was used, unless that was noted less than a minute before.
///
/// # Errors
/// When the database cannot answer.
pub async fn note_token_use(executor: impl PgExecutor<'_>, token_id: Uuid, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE tokens SET last_used_at = $2::timestamptz
        WHERE token_id = $1 AND (last_used_at IS NULL OR last_used_at < $2::timestamptz - interval '1 minute')
        "#,
        token_id,
        now,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// A token to store.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// Its id on the wire.
    pub token_id: Uuid,
    /// What it is called.
    pub name: &'a str,
    /// Whose rights it has.
    pub owner: &'a str,
    /// The agent that it stands for, by its id on the wire.
    pub agent_id: Option<Uuid>,
    /// SHA-256 of its text.
    pub digest: &'a [u8],
    /// The repos it is for; `None` for all.
    pub repos: Option<&'a [i64]>,
    /// The patterns of branches; `None` for all.
    pub branches: Option<&'a [String]>,
    /// The words of its actions.
    pub actions: &'a [String],
    /// The time.
    pub now: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Stores a token with its repos. A repo that was deleted meanwhile is left out, so the token is not for it.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_token(executor: impl PgExecutor<'_>, token: &NewToken<'_>) -> Result<()> {
    sqlx::query!(
        r#"
        WITH created AS (
            INSERT INTO tokens (
                token_id, name, owner, agent_id, digest, all_repos, branches, actions, created_at, expires_at
            )
            VALUES ($1, $2, $3, (SELECT id FROM agents WHERE agent_id = $4), $5, $6, $7, $8, $9, $10)
            RETURNING id
        )
        INSERT INTO token_repos (token_id, repo_id)
        SELECT created.id, r.id
        FROM created, repos r
        WHERE r.id = ANY ($11::bigint[]) AND r.deleted_at IS NULL
        "#,
        token.token_id,
        token.name,
        token.owner,
        token.agent_id,
        token.digest,
        token.repos.is_none(),
        token.branches,
        token.actions,
        token.now,
        token.expires_at,
        token.repos.unwrap_or_default(),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// How many tokens of an owner are good at a moment, those of agents included.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_tokens(executor: impl PgExecutor<'_>, owner: &str, now: DateTime<Utc>) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM tokens WHERE owner = $1 AND revoked_at IS NULL AND expires_at > $2"#,
        owner,
        now,
    )
    .fetch_one(executor)
    .await?)
}

/// Which tokens or agents to list.
#[derive(Clone, Copy, Debug)]
pub struct OfOwner<'a> {
    /// Only this owner's; `None` for everybody's.
    pub owner: Option<&'a str>,
    /// Only those behind this one.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// The tokens of people, oldest first. Those of agents are told with them.
///
/// # Errors
/// When the database cannot answer, or a row makes no sense.
pub async fn list_tokens(executor: impl PgExecutor<'_>, which: OfOwner<'_>) -> Result<Vec<Token>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            t.token_id AS "token_id!", t.name AS "name!", t.owner AS "owner!", t.all_repos AS "all_repos!", t.branches,
            t.actions AS "actions!", t.created_at AS "created_at!", t.expires_at AS "expires_at!", t.last_used_at,
            t.revoked_at,
            ARRAY(
                SELECT r.name FROM token_repos s JOIN repos r ON r.id = s.repo_id WHERE s.token_id = t.id ORDER BY r.name
            ) AS "repos!"
        FROM (
            -- One of the two runs: a plan for both ways of asking would go through everybody's.
            SELECT * FROM tokens WHERE $1::text IS NULL
            UNION ALL
            SELECT * FROM tokens WHERE owner = $1
        ) t
        WHERE t.agent_id IS NULL AND t.token_id > coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
        ORDER BY t.token_id
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
            Ok(Token {
                id: row.token_id,
                name: row.name,
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

/// What a token that is revoked was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedToken {
    /// What it was called.
    pub name: String,
    /// Whose it was.
    pub owner: String,
    /// Whether it had been good until now.
    pub was_good: bool,
}

/// Revokes a person's token: of this owner, or of anybody. `None` when there is none.
///
/// # Errors
/// When the database cannot answer.
pub async fn revoke_token(
    executor: impl PgExecutor<'_>,
    token_id: Uuid,
    owner: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<RevokedToken>> {
    Ok(sqlx::query_as!(
        RevokedToken,
        r#"
        WITH found AS (
            SELECT id, name, owner, revoked_at IS NULL AS was_good
            FROM tokens
            WHERE token_id = $1 AND agent_id IS NULL AND ($2::text IS NULL OR owner = $2)
            FOR UPDATE
        ),
        revoked AS (
            UPDATE tokens t SET revoked_at = $3 FROM found WHERE t.id = found.id AND found.was_good
        )
        SELECT name, owner, was_good AS "was_good!" FROM found
        "#,
        token_id,
        owner,
        now,
    )
    .fetch_optional(executor)
    .await?)
}

/// The names of live repos among these, in order.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_names(executor: impl PgExecutor<'_>, repos: &[i64]) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        "SELECT name FROM repos WHERE id = ANY ($1::bigint[]) AND deleted_at IS NULL ORDER BY name",
        repos,
    )
    .fetch_all(executor)
    .await?)
}

/// Forgets tokens and agents that ended longer ago than so many days, and says how many.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_ended(connection: &mut PgConnection, now: DateTime<Utc>, days: i32, limit: i64) -> Result<u64> {
    macro_rules! forget {
        ($table:literal) => {
            sqlx::query!(
                "DELETE FROM "
                    + $table
                    + " WHERE id IN (SELECT id FROM "
                    + $table
                    + " WHERE expires_at < $1::timestamptz - make_interval(days => $2) ORDER BY expires_at LIMIT $3)",
                now,
                days,
                limit,
            )
            .execute(&mut *connection)
            .await?
            .rows_affected()
        };
    }
    // The token of an agent before it, by itself: an agent takes along what is left.
    let tokens = forget!("tokens");
    let agents = forget!("agents");
    Ok(tokens + agents)
}

/// Actions that this build does not know are left out, which denies them.
#[must_use]
pub fn known_actions(words: &[String]) -> Vec<Action> {
    words.iter().filter_map(|word| word.parse().ok()).collect()
}

/// Patterns that this build cannot read match nothing.
#[must_use]
pub fn known_patterns(patterns: Vec<String>) -> Vec<BranchPattern> {
    patterns.into_iter().filter_map(|pattern| BranchPattern::parse(pattern).ok()).collect()
}

pub(crate) fn scope(actions: &[String], repos: Option<Vec<String>>, branches: Option<Vec<String>>) -> TokenScope {
    TokenScope { actions: known_actions(actions), repos, branches: branches.map(known_patterns) }
}

pub(crate) fn identity(text: String) -> Result<Identity> {
    Identity::parse(text).map_err(|error| sqlx::Error::Decode(Box::new(error)).into())
}
