//! Checksums of archives that were presigned before.

use sqlx::PgExecutor;

use crate::Result;

/// The checksum of the archive of a branch at a sequence, if it was made before.
///
/// # Errors
/// When the database cannot answer.
pub async fn archive_checksum(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    sequence: i64,
) -> Result<Option<Vec<u8>>> {
    let row = sqlx::query!(
        r#"
        SELECT a.checksum
        FROM branches b
        JOIN archive_checksums a ON a.branch_id = b.id AND a.sequence = $3
        WHERE b.repo_id = $1 AND b.name = $2 AND b.deleted_at IS NULL
        "#,
        repo_id,
        branch,
        sequence,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.checksum))
}

/// Keeps the checksum of an archive whose bytes can no longer change: only of sequences that are commits of the branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn store_archive_checksum(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    sequence: i64,
    checksum: &[u8],
) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO archive_checksums (branch_id, sequence, checksum)
        SELECT b.id, $3, $4
        FROM branches b
        JOIN commits c ON c.branch_id = b.id AND c.sequence = $3
        WHERE b.repo_id = $1 AND b.name = $2 AND b.deleted_at IS NULL
        ON CONFLICT (branch_id, sequence) DO NOTHING
        "#,
        repo_id,
        branch,
        sequence,
        checksum,
    )
    .execute(executor)
    .await?;
    Ok(())
}
