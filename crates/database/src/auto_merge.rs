//! Which branches are to be looked at, because they want to merge by themselves and something happened.
//!
//! Triggers write the rows (`migrations/0012_auto_merge.up.sql`). Repos take turns: a server takes the turn of a repo, and in
//! it claims a branch by moving its time ahead. So one repo has one place, however many of its branches are due, and one that
//! has had its turn comes after all that wait. A server that dies delays the repo until its turn runs out. What makes sure
//! that a branch merges once is the lock of the merge itself.

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

/// The turn of a repo. Whoever has it is the only one who looks at branches of the repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepoTurn {
    /// The repo.
    pub repo_id: i64,
    /// When it runs out; by this it is known again.
    held_until: DateTime<Utc>,
}

/// What came of asking for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTurn {
    /// Nobody waits, or those who wait have servers at them.
    Nobody,
    /// Another server was faster; the next one may be free.
    Lost,
    /// It is the caller's.
    Taken(RepoTurn),
}

/// Takes the turn of the repo that waits longest with a branch that is due, for so many seconds.
///
/// # Errors
/// When the database cannot answer.
pub async fn take_turn(executor: impl PgExecutor<'_>, lease_seconds: i32) -> Result<NextTurn> {
    let row = sqlx::query!(
        r#"
        WITH RECURSIVE waiting AS (
            -- From one repo to the next in the index, without reading all that is due in it.
            (SELECT repo_id, due_at FROM auto_merges_due ORDER BY repo_id, due_at LIMIT 1)
            UNION ALL
            SELECT following.repo_id, following.due_at
            FROM waiting w
            CROSS JOIN LATERAL (
                SELECT d.repo_id, d.due_at FROM auto_merges_due d
                WHERE d.repo_id > w.repo_id
                ORDER BY d.repo_id, d.due_at
                LIMIT 1
            ) following
        ),
        next AS (
            SELECT w.repo_id
            FROM waiting w
            LEFT JOIN auto_merge_turns t ON t.repo_id = w.repo_id
            WHERE w.due_at <= now() AND (t.held_until IS NULL OR t.held_until <= now())
            -- It waits since something is due, but not for longer than since its last turn.
            ORDER BY greatest(w.due_at, t.held_until), w.repo_id
            LIMIT 1
        ),
        taken AS (
            INSERT INTO auto_merge_turns (repo_id, held_until)
            SELECT n.repo_id, now() + make_interval(secs => $1) FROM next n
            ON CONFLICT (repo_id) DO UPDATE SET held_until = excluded.held_until
                WHERE auto_merge_turns.held_until <= now()
            RETURNING repo_id, held_until
        )
        SELECT n.repo_id AS "repo_id!", t.held_until AS "held_until?"
        FROM next n
        LEFT JOIN taken t ON t.repo_id = n.repo_id
        "#,
        f64::from(lease_seconds),
    )
    .fetch_optional(executor)
    .await?;
    Ok(match row {
        None => NextTurn::Nobody,
        Some(row) => match row.held_until {
            None => NextTurn::Lost,
            Some(held_until) => NextTurn::Taken(RepoTurn { repo_id: row.repo_id, held_until }),
        },
    })
}

/// Gives a turn back. The repo comes after all that wait now.
///
/// # Errors
/// When the database cannot answer.
pub async fn give_back_turn(executor: impl PgExecutor<'_>, turn: &RepoTurn) -> Result<()> {
    sqlx::query!(
        "UPDATE auto_merge_turns SET held_until = now() WHERE repo_id = $1 AND held_until = $2",
        turn.repo_id,
        turn.held_until,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Forgets a turn in which there was nothing to do; the repo may be gone.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_turn(executor: impl PgExecutor<'_>, turn: &RepoTurn) -> Result<()> {
    sqlx::query!("DELETE FROM auto_merge_turns WHERE repo_id = $1 AND held_until = $2", turn.repo_id, turn.held_until,)
        .execute(executor)
        .await?;
    Ok(())
}

/// Takes the branch that is due longest in the repo whose turn it is, for so many seconds. One that somebody is just noting
/// is left for the next turn.
///
/// # Errors
/// When the database cannot answer.
pub async fn claim_due(
    executor: impl PgExecutor<'_>,
    turn: &RepoTurn,
    lease_seconds: i32,
) -> Result<Option<DueBranch>> {
    let row = sqlx::query!(
        r#"
        WITH claimed AS (
            UPDATE auto_merges_due d
            SET due_at = now() + make_interval(secs => $2), attempts = d.attempts + 1
            WHERE d.branch_id = (
                SELECT branch_id FROM auto_merges_due
                WHERE repo_id = $1 AND due_at <= now()
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
        turn.repo_id,
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

/// How many branches of a repo are to merge by themselves.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_wishes(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!" FROM branches
        WHERE repo_id = $1 AND auto_merge AND status = 'active' AND deleted_at IS NULL
        "#,
        repo_id,
    )
    .fetch_one(executor)
    .await?)
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
