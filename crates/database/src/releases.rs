//! Releases.

use docstore_models::Release;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Result,
    error::timestamp,
    lists::{PageBounds, Place},
};

/// Whether a sequence is a commit of the repo, on any branch. A deleted repo has none.
///
/// # Errors
/// When the database cannot answer.
pub async fn sequence_exists(executor: impl PgExecutor<'_>, repo_id: i64, sequence: i64) -> Result<bool> {
    let row = sqlx::query!(
        r#"
        SELECT EXISTS (
            SELECT 1 FROM commits c
            JOIN repos r ON r.id = c.repo_id AND r.deleted_at IS NULL
            WHERE c.sequence = $2 AND c.repo_id = $1
        ) AS "exists!"
        "#,
        repo_id,
        sequence,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.exists)
}

/// Creates a release. A taken name violates `releases_name`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn create_release(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    name: &str,
    sequence: i64,
    body: Option<&str>,
    created_by: &str,
) -> Result<Release> {
    let row = sqlx::query!(
        r#"
        INSERT INTO releases (id, repo_id, name, sequence, body, created_by)
        VALUES ($1, $2, $3, $4, $5, $6)
        RETURNING id, created_at
        "#,
        Uuid::now_v7(),
        repo_id,
        name,
        sequence,
        body,
        created_by,
    )
    .fetch_one(executor)
    .await?;
    Ok(Release {
        id: row.id,
        repo: repo.to_owned(),
        name: name.to_owned(),
        sequence,
        body: body.map(str::to_owned),
        created_by: created_by.to_owned(),
        created_at: timestamp(row.created_at),
    })
}

/// Where the list of releases goes on behind one of them; `None` when there is no such release.
///
/// # Errors
/// When the database cannot answer.
pub async fn place_of_release(executor: impl PgExecutor<'_>, repo_id: i64, id: Uuid) -> Result<Option<Place>> {
    let row = sqlx::query_as!(Place, "SELECT created_at, id FROM releases WHERE repo_id = $1 AND id = $2", repo_id, id)
        .fetch_optional(executor)
        .await?;
    Ok(row)
}

/// A page of releases, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_releases(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    repo: &str,
    after: Option<Place>,
    page: PageBounds,
) -> Result<Vec<Release>> {
    let (created_at, id) = Place::parts(after);
    let rows = sqlx::query!(
        r#"
        SELECT id, name, sequence, body, created_by, created_at
        FROM (
            SELECT
                *,
                sum(coalesce(octet_length(body), 0)) OVER (
                    ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM releases
            WHERE repo_id = $1
                -- As for proposals.
                AND (created_at, id) < (
                    coalesce($2::timestamptz, 'infinity'), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                )
            ORDER BY created_at DESC, id DESC
            LIMIT $4
        ) page
        WHERE coalesce(bytes_before, 0) < $5::bigint
        ORDER BY created_at DESC, id DESC
        "#,
        repo_id,
        created_at,
        id,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Release {
            id: row.id,
            repo: repo.to_owned(),
            name: row.name,
            sequence: row.sequence,
            body: row.body,
            created_by: row.created_by,
            created_at: timestamp(row.created_at),
        })
        .collect())
}

/// One release by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn release(executor: impl PgExecutor<'_>, repo_id: i64, repo: &str, name: &str) -> Result<Option<Release>> {
    let row = sqlx::query!(
        r#"
        SELECT id, name, sequence, body, created_by, created_at
        FROM releases
        WHERE repo_id = $1 AND name = $2
        "#,
        repo_id,
        name,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Release {
        id: row.id,
        repo: repo.to_owned(),
        name: row.name,
        sequence: row.sequence,
        body: row.body,
        created_by: row.created_by,
        created_at: timestamp(row.created_at),
    }))
}

/// Deletes a release; answers whether it was there.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_release(executor: impl PgExecutor<'_>, repo_id: i64, name: &str) -> Result<bool> {
    let done =
        sqlx::query!("DELETE FROM releases WHERE repo_id = $1 AND name = $2", repo_id, name).execute(executor).await?;
    Ok(done.rows_affected() == 1)
}
