//! Reading files and trees at a point of a branch.
//!
//! The tree of a branch is the branch's own changes above its floor, over `main` as of its base. Every change carries
//! the number that superseded it on its branch, so "as of n" is `sequence <= n AND (superseded_by IS NULL OR
//! superseded_by > n)`, and the head of `main` is a partial index in path order: a page of it costs the page, however
//! long the history is. `tree_point` (migration 1) finds base, floor and limit.

use docstore_models::FileMode;
use futures::{Stream, StreamExt, TryStreamExt};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{
    Result,
    contents::{ContentHash, StoredBytes, stored_bytes},
};

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeRow {
    /// The path.
    pub path: String,
    /// The content inside.
    pub content_id: i64,
    /// The content on the wire.
    pub version_id: Uuid,
    /// The hash of the bytes.
    pub hash: ContentHash,
    /// The length in bytes.
    pub size: i64,
    /// The mode.
    pub mode: FileMode,
}

/// What part of which tree to read.
#[derive(Clone, Debug)]
pub struct TreeQuery<'a> {
    /// The repo.
    pub repo_id: i64,
    /// The branch.
    pub branch: &'a str,
    /// The sequence, or the head.
    pub at: Option<i64>,
    /// Only paths from here on, itself included; `""` for all. See [`behind`].
    pub from: &'a str,
    /// Only paths before this one.
    pub before: Option<&'a str>,
    /// At most so many.
    pub limit: Option<i64>,
}

/// The first path that sorts behind the one given: paths hold no control characters, so nothing lies in between.
#[must_use]
pub fn behind(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}\u{1}") }
}

/// The first path that sorts behind everything in a directory: `0` follows `/` bytewise.
#[must_use]
pub fn behind_directory(directory: &str) -> String {
    format!("{directory}0")
}

struct RawTreeRow {
    path: String,
    content_id: i64,
    version_id: Uuid,
    content_hash: Vec<u8>,
    size: i64,
    mode: i32,
}

/// The files of a tree in bytewise order of their paths. Streams: memory does not grow with the tree.
pub fn tree<'e>(
    executor: impl PgExecutor<'e> + 'e,
    query: &TreeQuery<'_>,
) -> impl Stream<Item = Result<TreeRow>> + Send + 'e {
    sqlx::query_as!(
        RawTreeRow,
        r#"
        SELECT
            files.path AS "path!", files.content_id AS "content_id!", files.mode AS "mode!",
            c.version_id, c.content_hash, c.size
        FROM (
            SELECT page.path, page.content_id, page.mode
            FROM tree_point($1, $2, $3) p
            CROSS JOIN LATERAL (
                -- The branch's own files, at its head.
                (
                    SELECT f.path, f.content_id, f.mode
                    FROM file_changes f
                    WHERE p.is_head
                        AND f.branch_id = p.branch_id
                        AND f.superseded_by IS NULL
                        AND f.content_id IS NOT NULL
                        AND f.sequence > p.floor_sequence
                        AND f.path >= $4
                        AND ($5::text IS NULL OR f.path < $5)
                    ORDER BY f.path
                    LIMIT $6
                )
                UNION ALL
                -- The branch's own files, at an earlier point.
                (
                    SELECT f.path, f.content_id, f.mode
                    FROM file_changes f
                    WHERE NOT p.is_head
                        AND f.branch_id = p.branch_id
                        AND (f.superseded_by IS NULL OR f.superseded_by > p.upto_sequence)
                        AND f.content_id IS NOT NULL
                        AND f.sequence > p.floor_sequence
                        AND f.sequence <= p.upto_sequence
                        AND f.path >= $4
                        AND ($5::text IS NULL OR f.path < $5)
                    ORDER BY f.path
                    LIMIT $6
                )
                UNION ALL
                -- The files of main at the base that are still as they were.
                (
                    SELECT f.path, f.content_id, f.mode
                    FROM file_changes f
                    WHERE p.branch_id <> p.main_id
                        AND f.branch_id = p.main_id
                        AND f.superseded_by IS NULL
                        AND f.content_id IS NOT NULL
                        AND f.sequence <= p.base_sequence
                        AND f.path >= $4
                        AND ($5::text IS NULL OR f.path < $5)
                        AND NOT EXISTS (
                            SELECT 1 FROM file_changes own
                            WHERE own.branch_id = p.branch_id
                                AND own.path = f.path
                                AND own.sequence > p.floor_sequence
                                AND own.sequence <= p.upto_sequence
                        )
                    ORDER BY f.path
                    LIMIT $6
                )
                UNION ALL
                -- The files of main at the base that main has changed or deleted since.
                (
                    SELECT f.path, f.content_id, f.mode
                    FROM file_changes f
                    WHERE p.branch_id <> p.main_id
                        AND f.branch_id = p.main_id
                        AND f.superseded_by > p.base_sequence
                        AND f.content_id IS NOT NULL
                        AND f.sequence <= p.base_sequence
                        AND f.path >= $4
                        AND ($5::text IS NULL OR f.path < $5)
                        AND NOT EXISTS (
                            SELECT 1 FROM file_changes own
                            WHERE own.branch_id = p.branch_id
                                AND own.path = f.path
                                AND own.sequence > p.floor_sequence
                                AND own.sequence <= p.upto_sequence
                        )
                    ORDER BY f.path
                    LIMIT $6
                )
            ) page
            ORDER BY page.path
            LIMIT $6
        ) files
        JOIN contents c ON c.id = files.content_id
        ORDER BY files.path
        "#,
        query.repo_id,
        query.branch.to_owned(),
        query.at,
        query.from.to_owned(),
        query.before.map(str::to_owned),
        query.limit,
    )
    .fetch(executor)
    .map(|row| {
        let row = row?;
        Ok(TreeRow {
            path: row.path,
            content_id: row.content_id,
            version_id: row.version_id,
            hash: row.content_hash.as_slice().try_into().unwrap_or_default(),
            size: row.size,
            mode: FileMode::from_i32(row.mode),
        })
    })
}

/// A point of a branch, found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreePoint {
    /// The branch.
    pub branch_id: i64,
    /// The head of the branch.
    pub head_sequence: i64,
    /// Up to where `main` counts.
    pub base_sequence: i64,
    /// Above which the branch's own changes count.
    pub floor_sequence: i64,
    /// Up to where the branch's own changes count.
    pub upto_sequence: i64,
}

/// Finds a point of a branch; nothing when there is no such branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn tree_point(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    at: Option<i64>,
) -> Result<Option<TreePoint>> {
    let row = sqlx::query!(
        r#"
        SELECT
            branch_id AS "branch_id!", head_sequence AS "head_sequence!", base_sequence AS "base_sequence!",
            floor_sequence AS "floor_sequence!", upto_sequence AS "upto_sequence!"
        FROM tree_point($1, $2, $3)
        "#,
        repo_id,
        branch,
        at,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| TreePoint {
        branch_id: row.branch_id,
        head_sequence: row.head_sequence,
        base_sequence: row.base_sequence,
        floor_sequence: row.floor_sequence,
        upto_sequence: row.upto_sequence,
    }))
}

/// A file with its bytes.
#[derive(Clone, Debug)]
pub struct FileRow {
    /// The content on the wire.
    pub version_id: Uuid,
    /// The hash of the bytes.
    pub hash: ContentHash,
    /// The length in bytes.
    pub size: i64,
    /// The media type that came with the commit.
    pub content_type: Option<String>,
    /// The mode.
    pub mode: FileMode,
    /// The bytes.
    pub bytes: StoredBytes,
    /// Whether the read was at an explicit sequence that can no longer change.
    pub settled: bool,
}

/// One file at a point of a branch; nothing when the branch, or the file there, does not exist. At the head, where most
/// reads are, [`crate::access::repo_facts_and_file`] asks for the right to it in the same round trip.
///
/// # Errors
/// When the database cannot answer.
pub async fn file(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    at: Option<i64>,
    path: &str,
) -> Result<Option<FileRow>> {
    let row = sqlx::query!(
        r#"
        SELECT
            c.version_id, c.content_hash, c.size, c.blob_key, b.bytes AS "bytes?",
            f.content_type AS "content_type?", f.mode AS "mode!", ($3 <= p.head_sequence) AS "settled?"
        FROM tree_point($1, $2, $3) p
        CROSS JOIN LATERAL (
            SELECT found.content_id, found.content_type, found.mode
            FROM (
                (
                    SELECT own.content_id, own.content_type, own.mode, 1 AS layer
                    FROM file_changes own
                    WHERE own.branch_id = p.branch_id
                        AND own.path = $4
                        AND own.sequence > p.floor_sequence
                        AND own.sequence <= p.upto_sequence
                    ORDER BY own.sequence DESC
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT under.content_id, under.content_type, under.mode, 2 AS layer
                    FROM file_changes under
                    WHERE p.branch_id <> p.main_id
                        AND under.branch_id = p.main_id
                        AND under.path = $4
                        AND under.sequence <= p.base_sequence
                    ORDER BY under.sequence DESC
                    LIMIT 1
                )
            ) found
            ORDER BY found.layer
            LIMIT 1
        ) f
        JOIN contents c ON c.id = f.content_id
        LEFT JOIN content_bytes b ON b.content_id = c.id
        "#,
        repo_id,
        branch,
        at,
        path,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| FileRow {
        version_id: row.version_id,
        hash: row.content_hash.as_slice().try_into().unwrap_or_default(),
        size: row.size,
        content_type: row.content_type,
        mode: FileMode::from_i32(row.mode),
        bytes: stored_bytes(row.blob_key, row.bytes),
        settled: row.settled.unwrap_or(false),
    }))
}

/// Those of the files that exist at a point of a branch, in bytewise order of their paths.
///
/// # Errors
/// When the database cannot answer.
pub async fn files(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    at: Option<i64>,
    paths: &[String],
) -> Result<Vec<TreeRow>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            asked.path AS "path!", f.content_id AS "content_id!", f.mode AS "mode!",
            c.version_id, c.content_hash, c.size
        FROM tree_point($1, $2, $3) p
        CROSS JOIN unnest($4::text[]) AS asked (path)
        CROSS JOIN LATERAL (
            SELECT found.content_id, found.mode
            FROM (
                (
                    SELECT own.content_id, own.mode, 1 AS layer
                    FROM file_changes own
                    WHERE own.branch_id = p.branch_id
                        AND own.path = asked.path COLLATE "C"
                        AND own.sequence > p.floor_sequence
                        AND own.sequence <= p.upto_sequence
                    ORDER BY own.sequence DESC
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT under.content_id, under.mode, 2 AS layer
                    FROM file_changes under
                    WHERE p.branch_id <> p.main_id
                        AND under.branch_id = p.main_id
                        AND under.path = asked.path COLLATE "C"
                        AND under.sequence <= p.base_sequence
                    ORDER BY under.sequence DESC
                    LIMIT 1
                )
            ) found
            ORDER BY found.layer
            LIMIT 1
        ) f
        JOIN contents c ON c.id = f.content_id
        ORDER BY asked.path COLLATE "C"
        "#,
        repo_id,
        branch,
        at,
        paths,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| TreeRow {
            path: row.path,
            content_id: row.content_id,
            version_id: row.version_id,
            hash: row.content_hash.as_slice().try_into().unwrap_or_default(),
            size: row.size,
            mode: FileMode::from_i32(row.mode),
        })
        .collect())
}

/// The children of a directory, at most so many, from the path given on. The cost is that of the children listed: from
/// each directory the walk jumps behind all that is in it.
///
/// # Errors
/// When the database cannot answer.
pub async fn directory(
    connection: &mut sqlx::PgConnection,
    query: &TreeQuery<'_>,
    directory: &str,
    limit: usize,
) -> Result<Vec<DirectoryRow>> {
    // Each query reads one batch of files; what lies behind the first directory in it is read again after the jump. So
    // batches are small among directories and grow among files.
    let mut batch_rows = BATCH_ROWS_MIN;
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let before = (!directory.is_empty()).then(|| behind_directory(directory));
    let mut from = query.from.max(prefix.as_str()).to_owned();
    let mut children = Vec::new();
    loop {
        let batch = TreeQuery {
            from: &from,
            before: before.as_deref(),
            limit: i64::try_from(batch_rows).ok(),
            ..query.clone()
        };
        let rows: Vec<TreeRow> = tree(&mut *connection, &batch).try_collect().await?;
        let mut more = rows.len() == batch_rows;
        batch_rows = (batch_rows * 4).min(BATCH_ROWS_MAX);
        for row in rows {
            if children.len() == limit {
                return Ok(children);
            }
            if let Some((name, _)) = row.path[prefix.len()..].split_once('/') {
                let path = format!("{prefix}{name}");
                from = behind_directory(&path);
                children.push(DirectoryRow::Directory(path));
                batch_rows = BATCH_ROWS_MIN;
                more = true;
                break;
            }
            from = behind(&row.path);
            children.push(DirectoryRow::File(row));
        }
        if !more || children.len() >= limit {
            return Ok(children);
        }
    }
}

/// The smallest and the largest batch of files that a walk through a directory reads.
const BATCH_ROWS_MIN: usize = 8;
const BATCH_ROWS_MAX: usize = 512;

/// A child of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryRow {
    /// A file.
    File(TreeRow),
    /// A directory, by its full path without a slash at the end.
    Directory(String),
}
