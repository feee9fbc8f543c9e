//! Browser logins that ended before their time. A session is a signed cookie and has no row; one that is ended has, until it
//! would have run out.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::Result;

/// Whether a session was ended, alone or with all of its person's.
///
/// # Errors
/// When the database cannot answer.
pub async fn session_ended(
    executor: impl PgExecutor<'_>,
    digest: &[u8],
    identity: &str,
    began_at: DateTime<Utc>,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT
            EXISTS (SELECT FROM ended_sessions WHERE digest = $1)
            OR EXISTS (SELECT FROM session_epochs WHERE identity = $2 AND began_at >= $3) AS "ended!"
        "#,
        digest,
        identity,
        began_at,
    )
    .fetch_one(executor)
    .await?)
}

/// Ends one session; answers whether it had not ended before.
///
/// # Errors
/// When the database cannot answer.
pub async fn end_session(executor: impl PgExecutor<'_>, digest: &[u8], expires_at: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO ended_sessions (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        digest,
        expires_at,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends every session of a person that began up to now.
///
/// # Errors
/// When the database cannot answer.
pub async fn end_sessions(executor: impl PgExecutor<'_>, identity: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO session_epochs AS epoch (identity, began_at) VALUES ($1, $2)
        ON CONFLICT (identity) DO UPDATE SET began_at = greatest(epoch.began_at, excluded.began_at)
        "#,
        identity,
        now,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Forgets what was ended and would be over by now anyway, at most so many rows of each kind; answers how many. No session
/// outlives the number of days given.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_ended_sessions(
    executor: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    session_days_max: i32,
    limit: i64,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"
        WITH single AS (
            DELETE FROM ended_sessions
            WHERE digest = ANY (ARRAY(SELECT digest FROM ended_sessions WHERE expires_at < $1 LIMIT $3))
            RETURNING 1 AS one
        ),
        whole AS (
            DELETE FROM session_epochs
            WHERE identity = ANY (
                ARRAY(
                    SELECT identity FROM session_epochs
                    WHERE began_at < $1::timestamptz - make_interval(days => $2)
                    LIMIT $3
                )
            )
            RETURNING 1 AS one
        )
        SELECT (SELECT count(*) FROM single) + (SELECT count(*) FROM whole) AS "count!"
        "#,
        now,
        session_days_max,
        limit,
    )
    .fetch_one(executor)
    .await?)
}
