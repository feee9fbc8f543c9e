//! The bare SQL that reads. All of it reads the head of `main`, whose id the caller knows already.

use anyhow::{Result, ensure};
use futures::TryStreamExt;
use sqlx::{PgConnection, Row};

/// The live files of a branch, its id being 1.
const LIVE: &str = "f.branch_id = $1 AND f.superseded_by IS NULL AND f.content_id IS NOT NULL";

/// The id of a repo's `main`.
pub(crate) async fn main_id(connection: &mut PgConnection, repo_id: i64) -> Result<i64> {
    let row = sqlx::query("SELECT id FROM branches WHERE repo_id = $1 AND name = 'main' AND deleted_at IS NULL")
        .bind(repo_id)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// One file with its bytes.
pub(crate) async fn file(connection: &mut PgConnection, main_id: i64, path: &str) -> Result<()> {
    let row = sqlx::query(
        "SELECT c.version_id, c.content_hash, c.size, f.content_type, f.mode, b.bytes
         FROM file_changes f
         JOIN contents c ON c.id = f.content_id
         JOIN content_bytes b ON b.content_id = c.id
         WHERE f.branch_id = $1 AND f.path = $2 AND f.superseded_by IS NULL AND f.content_id IS NOT NULL",
    )
    .bind(main_id)
    .bind(path)
    .fetch_one(connection)
    .await?;
    let bytes: &[u8] = row.try_get(5)?;
    ensure!(!bytes.is_empty(), "an empty file");
    Ok(())
}

/// The first files of a tree, or those of one directory, without their bytes.
pub(crate) async fn tree(connection: &mut PgConnection, main_id: i64, directory: &str, limit: i64) -> Result<usize> {
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT f.path, f.mode, c.version_id, c.content_hash, c.size
         FROM file_changes f
         JOIN contents c ON c.id = f.content_id
         WHERE {LIVE} AND f.path >= $2 AND f.path < $3
         ORDER BY f.path
         LIMIT $4"
    ));
    let (from, before) = if directory.is_empty() {
        (String::new(), "\u{10ffff}".to_owned())
    } else {
        (format!("{directory}/"), format!("{directory}0"))
    };
    let mut rows = sqlx::query(sql).bind(main_id).bind(from).bind(before).bind(limit).fetch(connection);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        let _: &str = row.try_get(0)?;
        count += 1;
    }
    Ok(count)
}

/// The directories in a directory: a walk that jumps from each behind all that is in it.
pub(crate) async fn directories(connection: &mut PgConnection, main_id: i64, directory: &str) -> Result<usize> {
    let sql = sqlx::AssertSqlSafe(format!(
        "WITH RECURSIVE child AS (
             (SELECT f.path FROM file_changes f WHERE {LIVE} AND f.path >= $2 AND f.path < $3 ORDER BY f.path LIMIT 1)
             UNION ALL
             SELECT (
                 SELECT f.path FROM file_changes f
                 WHERE {LIVE} AND f.path >= $2 || split_part(substr(child.path, length($2) + 1), '/', 1) || '0'
                     AND f.path < $3
                 ORDER BY f.path LIMIT 1
             )
             FROM child WHERE child.path IS NOT NULL
         )
         SELECT split_part(substr(path, length($2) + 1), '/', 1) FROM child WHERE path IS NOT NULL"
    ));
    let rows = sqlx::query(sql)
        .bind(main_id)
        .bind(format!("{directory}/"))
        .bind(format!("{directory}0"))
        .fetch_all(connection)
        .await?;
    Ok(rows.len())
}

/// All files with their bytes, as a stream. Answers how many bytes.
pub(crate) async fn archive(connection: &mut PgConnection, main_id: i64) -> Result<u64> {
    let sql = sqlx::AssertSqlSafe(format!(
        "SELECT f.path, f.mode, b.bytes
         FROM file_changes f
         JOIN content_bytes b ON b.content_id = f.content_id
         WHERE {LIVE}
         ORDER BY f.path"
    ));
    let mut rows = sqlx::query(sql).bind(main_id).fetch(connection);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        let bytes: &[u8] = row.try_get(2)?;
        count += bytes.len() as u64;
    }
    Ok(count)
}
