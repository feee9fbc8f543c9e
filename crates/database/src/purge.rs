//! Removing what is no longer wanted: branches that ended long ago, the rows of deleted repos, contents that nothing
//! points at.

use docstore_models::PurgeResponse;
use sqlx::PgConnection;

use crate::Result;

/// Counts and deletes branches of a locked repo that were merged or abandoned and whose last commit is older than so
/// many days, with their commits, and then every content of the repo that nothing points at any more. The blobs of
/// those contents are put on the list of deletions.
///
/// The caller rolls back for a dry run.
///
/// # Errors
/// When the database cannot answer.
pub async fn purge_branches(
    connection: &mut PgConnection,
    repo_id: i64,
    older_than_days: i32,
) -> Result<PurgeResponse> {
    let branches: Vec<i64> = sqlx::query_scalar!(
        r#"
        SELECT b.id
        FROM branches b
        LEFT JOIN commits head ON head.sequence = b.head_sequence AND head.branch_id = b.id
        WHERE b.repo_id = $1
            AND b.deleted_at IS NULL
            AND b.status <> 'active'
            AND b.name <> 'main'
            -- No branch is older than itself, though imported commits on it may be.
            AND greatest(head.created_at, b.created_at) < now() - make_interval(days => $2)
        "#,
        repo_id,
        older_than_days,
    )
    .fetch_all(&mut *connection)
    .await?;
    let counts = delete_branches(connection, &branches).await?;
    let documents_deleted = delete_unused_contents(connection, repo_id).await?;
    Ok(PurgeResponse { documents_deleted, ..counts })
}

/// Deletes the rows of a table that belong to branches, and says how many.
macro_rules! delete_of_branches {
    ($connection:expr, $table:literal, $branches:expr) => {
        sqlx::query!("DELETE FROM " + $table + " WHERE branch_id = ANY ($1)", $branches)
            .execute(&mut *$connection)
            .await?
            .rows_affected()
    };
}

/// Deletes rows of a table that belong to a repo, at most so many, and says how many.
macro_rules! delete_some_of_repo {
    ($connection:expr, $table:literal, $repo_id:expr, $rows_max:expr) => {
        sqlx::query!(
            "DELETE FROM "
                + $table
                + " WHERE ctid = ANY (ARRAY(SELECT ctid FROM "
                + $table
                + " WHERE repo_id = $1 LIMIT $2))",
            $repo_id,
            $rows_max,
        )
        .execute(&mut *$connection)
        .await?
        .rows_affected()
    };
}

/// Deletes the rows of branches and leaves their tombstones.
async fn delete_branches(connection: &mut PgConnection, branches: &[i64]) -> Result<PurgeResponse> {
    let file_changes = delete_of_branches!(connection, "file_changes", branches);
    let commits = delete_of_branches!(connection, "commits", branches);
    delete_of_branches!(connection, "proposals", branches);
    delete_of_branches!(connection, "review_comments", branches);
    let reviews = delete_of_branches!(connection, "reviews", branches);
    let check_runs = delete_of_branches!(connection, "check_runs", branches);
    delete_of_branches!(connection, "auto_merges_due", branches);
    delete_of_branches!(connection, "ci_jobs", branches);
    delete_of_branches!(connection, "archive_checksums", branches);
    sqlx::query!("UPDATE branches SET deleted_at = now() WHERE id = ANY ($1) AND deleted_at IS NULL", branches)
        .execute(connection)
        .await?;
    let count = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    Ok(PurgeResponse {
        branches_purged: i64::try_from(branches.len()).unwrap_or(i64::MAX),
        file_commits_deleted: count(file_changes),
        commits_deleted: count(commits),
        reviews_deleted: count(reviews),
        check_runs_deleted: count(check_runs),
        ..PurgeResponse::default()
    })
}

/// Deletes contents of a repo that no change points at, and puts their blobs on the list of deletions. Contents that were
/// uploaded for a commit still to come stay: they have a day of their own.
async fn delete_unused_contents(connection: &mut PgConnection, repo_id: i64) -> Result<i64> {
    let row = sqlx::query!(
        r#"
        WITH unused AS (
            DELETE FROM contents c
            WHERE c.repo_id = $1
                AND NOT EXISTS (SELECT 1 FROM file_changes f WHERE f.content_id = c.id)
                AND NOT EXISTS (SELECT 1 FROM uploaded_contents u WHERE u.content_id = c.id)
            RETURNING c.blob_key
        ),
        listed AS (
            INSERT INTO blob_deletions (blob_key, not_before)
            SELECT blob_key, now() FROM unused WHERE blob_key IS NOT NULL
        )
        SELECT count(*) AS "count!" FROM unused
        "#,
        repo_id,
    )
    .fetch_one(connection)
    .await?;
    Ok(row.count)
}

/// A repo that has something to clear away: a deleted one with branches that still have commits or contents.
///
/// # Errors
/// When the database cannot answer.
pub async fn deleted_repo_with_rows(connection: &mut PgConnection) -> Result<Option<i64>> {
    let row = sqlx::query!(
        r#"
        SELECT r.id
        FROM repos r
        WHERE r.deleted_at IS NOT NULL
            AND (
                EXISTS (SELECT 1 FROM commits c WHERE c.repo_id = r.id)
                OR EXISTS (SELECT 1 FROM contents c WHERE c.repo_id = r.id)
                OR EXISTS (SELECT 1 FROM proposals p WHERE p.repo_id = r.id)
                OR EXISTS (SELECT 1 FROM issues i WHERE i.repo_id = r.id)
                OR EXISTS (SELECT 1 FROM review_comments c WHERE c.repo_id = r.id)
                OR EXISTS (SELECT 1 FROM reviews v WHERE v.repo_id = r.id)
                OR EXISTS (SELECT 1 FROM check_runs c WHERE c.repo_id = r.id)
            )
        LIMIT 1
        FOR UPDATE SKIP LOCKED
        "#,
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.id))
}

/// Clears away a part of a deleted repo that is locked, at most so many rows of each kind: changes of files first, then
/// what they pointed at, then the commits. Answers whether there may be more.
///
/// # Errors
/// When the database cannot answer.
pub async fn clear_deleted_repo(connection: &mut PgConnection, repo_id: i64, rows_max: i64) -> Result<bool> {
    let changes = sqlx::query!(
        r#"
        DELETE FROM file_changes
        WHERE ctid = ANY (ARRAY(
            SELECT f.ctid FROM branches b JOIN file_changes f ON f.branch_id = b.id WHERE b.repo_id = $1 LIMIT $2
        ))
        "#,
        repo_id,
        rows_max,
    )
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if changes > 0 {
        return Ok(true);
    }
    let contents = sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM contents
            WHERE id = ANY (ARRAY(SELECT c.id FROM contents c WHERE c.repo_id = $1 LIMIT $2))
            RETURNING blob_key
        ),
        listed AS (
            INSERT INTO blob_deletions (blob_key, not_before)
            SELECT blob_key, now() FROM gone WHERE blob_key IS NOT NULL
        )
        SELECT count(*) AS "count!" FROM gone
        "#,
        repo_id,
        rows_max,
    )
    .fetch_one(&mut *connection)
    .await?
    .count;
    let commits = delete_some_of_repo!(connection, "commits", repo_id, rows_max);
    let discussed = clear_issues(&mut *connection, repo_id, rows_max).await?;
    let reviewed = clear_reviews(connection, repo_id, rows_max).await?;
    sqlx::query!(
        "DELETE FROM archive_checksums a USING branches b WHERE b.repo_id = $1 AND a.branch_id = b.id",
        repo_id,
    )
    .execute(connection)
    .await?;
    Ok(contents > 0 || commits > 0 || discussed || reviewed)
}

/// Clears away proposals and issues of a deleted repo with comments and refs, at most so many rows of each. Answers whether
/// there may be more.
async fn clear_issues(connection: &mut PgConnection, repo_id: i64, rows_max: i64) -> Result<bool> {
    let proposals = delete_some_of_repo!(connection, "proposals", repo_id, rows_max);
    let comments = delete_some_of_repo!(connection, "issue_comments", repo_id, rows_max);
    let refs = delete_some_of_repo!(connection, "issue_refs", repo_id, rows_max);
    // An issue takes along whatever is left of its own: first that, in pieces.
    if comments > 0 || refs > 0 {
        return Ok(true);
    }
    let issues = delete_some_of_repo!(connection, "issues", repo_id, rows_max);
    Ok(issues > 0 || proposals > 0)
}

/// Clears away reviews, their comments and check runs of a deleted repo, at most so many rows of each. Answers whether there
/// may be more.
async fn clear_reviews(connection: &mut PgConnection, repo_id: i64, rows_max: i64) -> Result<bool> {
    // A comment takes the replies to it along, so there may be fewer pieces than it looks.
    let comments = delete_some_of_repo!(connection, "review_comments", repo_id, rows_max);
    let check_runs = delete_some_of_repo!(connection, "check_runs", repo_id, rows_max);
    if comments > 0 || check_runs > 0 {
        return Ok(true);
    }
    let reviews = delete_some_of_repo!(connection, "reviews", repo_id, rows_max);
    Ok(reviews > 0)
}
