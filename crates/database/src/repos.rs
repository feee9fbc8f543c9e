//! Repos.

use docstore_models::Repo;
use sqlx::{PgConnection, PgExecutor};

use crate::{Result, error::timestamp, subscriptions::delete_subscriptions_of_repo};

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

/// What is added to the id of a repo for the advisory lock between those who write to it, who share it, and those who
/// remove what others may be writing to, who hold it alone. An advisory lock, because those who wait for it take turns:
/// a row lock that many share without a pause is never free for somebody who wants it alone.
///
/// It is taken before any lock on a row of the repo, and after the idempotency key.
pub(crate) const REPO_LOCKS: i64 = 0x7265_706f_0000_0000;

/// Keeps a repo, its branches and its contents from being removed until the transaction ends. Whether they are there is
/// for the next statement to see: its snapshot is taken after the wait.
///
/// # Errors
/// When the database cannot answer.
pub async fn hold_repo(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock_shared($2::bigint + $1)::text AS held", repo_id, REPO_LOCKS)
        .fetch_one(executor)
        .await?;
    Ok(())
}

/// Whether a repo is still there; for one that is held, until the transaction ends.
///
/// # Errors
/// When the database cannot answer.
pub async fn is_live(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<bool> {
    let row = sqlx::query!("SELECT id FROM repos WHERE id = $1 AND deleted_at IS NULL", repo_id)
        .fetch_optional(executor)
        .await?;
    Ok(row.is_some())
}

/// Waits until nobody writes to a live repo, and keeps everybody from it until the transaction ends: for removing
/// branches or the repo itself.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_repo(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<bool> {
    let row = sqlx::query!(
        r#"
        SELECT id FROM repos
        -- A lock is never null; it is taken before that of the row, which looks again whether the repo is still there.
        WHERE id = $1 AND deleted_at IS NULL AND pg_advisory_xact_lock($2::bigint + id) IS NOT NULL
        FOR NO KEY UPDATE
        "#,
        repo_id,
        REPO_LOCKS,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.is_some())
}

/// Locks the roles of a live repo, so that they change one after the other. Those who commit are not kept waiting.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_roles(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<bool> {
    let row = sqlx::query!("SELECT id FROM repos WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE", repo_id)
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
    macro_rules! delete_of_repo {
        ($table:literal) => {
            sqlx::query!("DELETE FROM " + $table + " WHERE repo_id = $1", repo_id).execute(&mut *connection).await?;
        };
    }
    delete_of_repo!("roles");
    delete_of_repo!("releases");
    delete_of_repo!("issue_counters");
    delete_of_repo!("required_checks");
    delete_of_repo!("policy_verdicts");
    delete_of_repo!("obliterations");
    delete_of_repo!("auto_merges_due");
    delete_of_repo!("auto_merge_turns");
    delete_of_repo!("token_repos");
    delete_of_repo!("ci_jobs");
    delete_of_repo!("repo_secrets");
    delete_of_repo!("idempotency_keys");
    delete_subscriptions_of_repo(connection, repo_id).await?;
    sqlx::query!("UPDATE branches SET deleted_at = now() WHERE repo_id = $1 AND deleted_at IS NULL", repo_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE repos SET deleted_at = now() WHERE id = $1", repo_id).execute(connection).await?;
    Ok(())
}
