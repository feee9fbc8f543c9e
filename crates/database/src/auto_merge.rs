//! Which branches are to be looked at, because they want to merge by themselves and something happened.
//!
//! Triggers write the rows (`migrations/0012_auto_merge.up.sql`). A server claims one by moving its time ahead, so that one
//! which dies in between only delays it. What makes sure that a branch merges once is the lock of the merge itself.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{Result, branches::LockedBranch};

/// A branch to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueBranch {
    /// The branch.
    pub branch_id: i64,
    /// Its name.
    pub branch: String,
    /// The full name of its repo.
    pub repo: String,
    /// Who asked for it to merge by itself, if it still shall.
    pub asked_by: Option<String>,
    /// What happened last, as a number.
    pub generation: i64,
    /// How often looking at it has failed since.
    pub attempts: i32,
}

/// Takes the branch that is due longest, for so many seconds.
///
/// # Errors
/// When the database cannot answer.
pub async fn claim_due(executor: impl PgExecutor<'_>, lease_seconds: i32) -> Result<Option<DueBranch>> {
    let row = sqlx::query!(
        r#"
        WITH claimed AS (
            UPDATE auto_merges_due d
            SET due_at = now() + make_interval(secs => $1), attempts = d.attempts + 1
            WHERE d.branch_id = (
                SELECT branch_id FROM auto_merges_due
                WHERE due_at <= now()
                ORDER BY due_at
                LIMIT 1
                FOR UPDATE SKIP LOCKED
            )
            RETURNING d.branch_id, d.generation, d.attempts
        )
        SELECT
            c.branch_id, c.generation, c.attempts, b.name AS branch, r.name AS repo,
            CASE
                WHEN b.auto_merge AND b.status = 'active' AND b.deleted_at IS NULL AND r.deleted_at IS NULL
                THEN b.auto_merge_by
            END AS asked_by
        FROM claimed c
        JOIN branches b ON b.id = c.branch_id
        JOIN repos r ON r.id = b.repo_id
        "#,
        f64::from(lease_seconds),
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| DueBranch {
        branch_id: row.branch_id,
        branch: row.branch,
        repo: row.repo,
        asked_by: row.asked_by,
        generation: row.generation,
        attempts: row.attempts,
    }))
}

/// Takes a branch off the list, unless something happened since it was claimed; then it is due at once.
///
/// # Errors
/// When the database cannot answer.
pub async fn finish_due(executor: impl PgExecutor<'_>, due: &DueBranch) -> Result<()> {
    sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM auto_merges_due WHERE branch_id = $1 AND generation = $2
        )
        UPDATE auto_merges_due SET due_at = now() WHERE branch_id = $1 AND generation <> $2
        "#,
        due.branch_id,
        due.generation,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Puts a branch off for so many seconds, unless something happened since it was claimed; then it is due at once.
///
/// # Errors
/// When the database cannot answer.
pub async fn postpone_due(executor: impl PgExecutor<'_>, due: &DueBranch, seconds: i32) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE auto_merges_due
        SET due_at = CASE WHEN generation = $2 THEN now() + make_interval(secs => $3) ELSE now() END
        WHERE branch_id = $1
        "#,
        due.branch_id,
        due.generation,
        f64::from(seconds),
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// How many branches are due.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_due(executor: impl PgExecutor<'_>) -> Result<i64> {
    let row = sqlx::query!(r#"SELECT count(*) AS "count!" FROM auto_merges_due WHERE due_at <= now()"#)
        .fetch_one(executor)
        .await?;
    Ok(row.count)
}

/// Who asked for a branch to merge by itself; nobody when it shall not.
///
/// # Errors
/// When the database cannot answer.
pub async fn asked_by(executor: impl PgExecutor<'_>, branch_id: i64) -> Result<Option<String>> {
    let row = sqlx::query!(
        "SELECT CASE WHEN auto_merge THEN auto_merge_by END AS asked_by FROM branches WHERE id = $1",
        branch_id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.and_then(|row| row.asked_by))
}

/// Has the branches looked at that an agent asked for.
///
/// # Errors
/// When the database cannot answer.
pub async fn note_wishes_of_agent(executor: impl PgExecutor<'_>, agent_id: Uuid) -> Result<()> {
    sqlx::query!(
        "SELECT note_auto_merges(ARRAY(SELECT id FROM branches WHERE auto_merge_agent = $1))::text AS noted",
        agent_id,
    )
    .fetch_one(executor)
    .await?;
    Ok(())
}

/// Whether whoever asked for a branch to merge by itself is still there: a person is, an agent until its end.
///
/// # Errors
/// When the database cannot answer.
pub async fn asker_lives(executor: impl PgExecutor<'_>, branch_id: i64, now: DateTime<Utc>) -> Result<bool> {
    let row = sqlx::query!(
        r#"
        SELECT EXISTS (
            SELECT FROM branches b
            LEFT JOIN agents a ON a.agent_id = b.auto_merge_agent AND a.revoked_at IS NULL AND a.expires_at > $2
            WHERE b.id = $1 AND b.auto_merge AND (a.id IS NOT NULL OR b.auto_merge_by NOT LIKE 'agent:%')
        ) AS "lives!"
        "#,
        branch_id,
        now,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.lives)
}

/// Notes who asks for a branch to merge by itself, or that it shall not.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_auto_merge(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    asked_by: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE branches
        SET
            auto_merge = $2::text IS NOT NULL,
            auto_merge_by = $2,
            auto_merge_agent = (SELECT agent_id FROM agents WHERE identity = $2 AND revoked_at IS NULL)
        WHERE id = $1
        "#,
        locked.branch.id,
        asked_by,
    )
    .execute(executor)
    .await?;
    Ok(())
}
