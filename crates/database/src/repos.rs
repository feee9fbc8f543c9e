//! Repos.

use docstore_models::Repo;
use sqlx::{PgConnection, PgExecutor};

use crate::{Result, error::timestamp};

/// Creates a repo with its empty `main` branch. A taken name violates `repos_live_name`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_repo(
    connection: &mut PgConnection,
    org_id: i64,
    name: &str,
    created_by: &str,
) -> Result<(i64, Repo)> {
    let row = sqlx::query!(
        "INSERT INTO repos (org_id, name, created_by) VALUES ($1, $2, $3) RETURNING id, created_at",
        org_id,
        name,
        created_by,
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!("INSERT INTO branches (repo_id, name, created_by) VALUES ($1, 'main', $2)", row.id, created_by)
        .execute(connection)
        .await?;
    let repo = Repo {
        name: name.to_owned(),
        owner: name.split('/').next().unwrap_or_default().to_owned(),
        created_at: timestamp(row.created_at),
        created_by: created_by.to_owned(),
    };
    Ok((row.id, repo))
}

/// Live repos by name: all, or those of one org.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_repos(
    executor: impl PgExecutor<'_>,
    org_id: Option<i64>,
    after: &str,
    limit: Option<i64>,
) -> Result<Vec<Repo>> {
    let rows = sqlx::query!(
        r#"
        SELECT name, created_at, created_by
        FROM repos
        WHERE deleted_at IS NULL AND ($1::bigint IS NULL OR org_id = $1) AND name > $2
        ORDER BY name
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
        .map(|row| Repo {
            owner: row.name.split('/').next().unwrap_or_default().to_owned(),
            name: row.name,
            created_at: timestamp(row.created_at),
            created_by: row.created_by,
        })
        .collect())
}

/// Locks a live repo against every write that it could race with, until the transaction ends: writes insert rows that
/// refer to the repo, which waits for this lock.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_repo(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<bool> {
    let row = sqlx::query!("SELECT id FROM repos WHERE id = $1 AND deleted_at IS NULL FOR UPDATE", repo_id)
        .fetch_optional(executor)
        .await?;
    Ok(row.is_some())
}

/// Leaves tombstones for a repo and its branches. Their contents go later, piece by piece (`purge`), so that deleting
/// a large repo is one short transaction.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_repo(connection: &mut PgConnection, repo_id: i64) -> Result<()> {
    sqlx::query!("DELETE FROM roles WHERE repo_id = $1", repo_id).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM releases WHERE repo_id = $1", repo_id).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM ci_jobs WHERE repo_id = $1", repo_id).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM event_subscriptions WHERE repo_id = $1", repo_id).execute(&mut *connection).await?;
    sqlx::query!("UPDATE branches SET deleted_at = now() WHERE repo_id = $1 AND deleted_at IS NULL", repo_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE repos SET deleted_at = now() WHERE id = $1", repo_id).execute(connection).await?;
    Ok(())
}
