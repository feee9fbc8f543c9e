//! Which checks every commit to some branches has to have.

use docstore_models::RequiredCheck;
use sqlx::{PgConnection, PgExecutor};

use crate::{Result, error::timestamp};

/// The required checks of a repo, by pattern and name.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_required_checks(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<Vec<RequiredCheck>> {
    let rows = sqlx::query!(
        r#"
        SELECT branch_pattern, check_name, created_by, created_at
        FROM required_checks
        WHERE repo_id = $1
        ORDER BY branch_pattern, check_name
        "#,
        repo_id,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| RequiredCheck {
            check_name: row.check_name,
            branch_pattern: row.branch_pattern,
            created_by: row.created_by,
            created_at: timestamp(row.created_at),
        })
        .collect())
}

/// Requires a check on the branches that a pattern means, from now on and at the heads of those that are active. Answers the
/// requirement and whether it is new.
///
/// The repo must be locked alone (`repos::lock_repo`): every commit before is then seen here, and every commit after sees
/// the requirement, so that no head is without it.
///
/// # Errors
/// When the database cannot answer.
pub async fn require_check(
    connection: &mut PgConnection,
    repo_id: i64,
    branch_pattern: &str,
    check_name: &str,
    created_by: &str,
) -> Result<(RequiredCheck, bool)> {
    let done = sqlx::query!(
        r#"
        INSERT INTO required_checks (repo_id, branch_pattern, check_name, created_by)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        "#,
        repo_id,
        branch_pattern,
        check_name,
        created_by,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO check_runs (id, repo_id, branch_id, sequence, check_name, state, reporter)
        SELECT gen_random_uuid(), $1, b.id, b.head_sequence, $3, 'expected', 'system'
        FROM branches b
        WHERE b.repo_id = $1
            AND b.deleted_at IS NULL
            AND b.status = 'active'
            AND branch_matches(b.name, $2)
            -- Without a commit of its own there is nothing to check.
            AND EXISTS (SELECT 1 FROM commits c WHERE c.branch_id = b.id AND c.sequence = b.head_sequence)
            AND NOT EXISTS (
                SELECT 1 FROM check_runs c
                WHERE c.branch_id = b.id AND c.check_name = $3 AND c.sequence = b.head_sequence
            )
        "#,
        repo_id,
        branch_pattern,
        check_name,
    )
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query!(
        r#"
        SELECT created_by, created_at FROM required_checks
        WHERE repo_id = $1 AND branch_pattern = $2 AND check_name = $3
        "#,
        repo_id,
        branch_pattern,
        check_name,
    )
    .fetch_one(connection)
    .await?;
    let required = RequiredCheck {
        check_name: check_name.to_owned(),
        branch_pattern: branch_pattern.to_owned(),
        created_by: row.created_by,
        created_at: timestamp(row.created_at),
    };
    Ok((required, done.rows_affected() == 1))
}

/// No longer requires a check on the branches that a pattern means. Where it is still expected, and no other pattern
/// requires it, it ends as not applicable. Answers whether it was required. The repo must be locked as for
/// [`require_check`].
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_required_check(
    connection: &mut PgConnection,
    repo_id: i64,
    branch_pattern: &str,
    check_name: &str,
) -> Result<bool> {
    let done = sqlx::query!(
        "DELETE FROM required_checks WHERE repo_id = $1 AND branch_pattern = $2 AND check_name = $3",
        repo_id,
        branch_pattern,
        check_name,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        UPDATE check_runs c
        SET state = 'not_applicable', reason = 'no longer required', updated_at = now()
        FROM branches b
        WHERE b.repo_id = $1
            AND b.deleted_at IS NULL
            AND branch_matches(b.name, $2)
            AND c.branch_id = b.id
            AND c.check_name = $3
            AND c.sequence = b.head_sequence
            AND c.state = 'expected'
            AND NOT EXISTS (
                SELECT 1 FROM required_checks r
                WHERE r.repo_id = $1 AND r.check_name = $3 AND branch_matches(b.name, r.branch_pattern)
            )
        "#,
        repo_id,
        branch_pattern,
        check_name,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
