//! Reading commits: one, a log, a history of a file, a chain; and the files in the way of a new one.
//!
//! A page costs the page, whatever else the tables hold. So where an index gives the order, rows are compared and not
//! columns: with a column that is equal to something the planner may take another index in the order of the rest, such as
//! the primary key of commits, and look through all repos for the few rows of one.

use chrono::{DateTime, Utc};
use docstore_models::{ChainEntry, ChainFile, CommitDetail, CommitFile, CommitSummary, FileHistoryEntry, FileMode};
use sqlx::{PgConnection, PgExecutor};

use crate::{Result, append::directories_of, branches::BranchRow, error::timestamp, lists::PageBounds};

/// One commit with its files by path.
///
/// # Errors
/// When the database cannot answer.
pub async fn commit(connection: &mut PgConnection, repo_id: i64, sequence: i64) -> Result<Option<CommitDetail>> {
    let Some(row) = sqlx::query!(
        r#"
        SELECT
            c.branch_id, b.name AS branch, c.message, c.author, c.created_at, c.commit_hash, c.parent_sequence,
            c.imported_from, c.pushed_by
        FROM commits c
        JOIN branches b ON b.id = c.branch_id
        WHERE c.sequence = $2 AND c.repo_id = $1
        "#,
        repo_id,
        sequence,
    )
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(None);
    };
    let files = sqlx::query!(
        r#"
        SELECT
            f.change_id, f.path, f.mode, c.version_id AS "version_id?", c.content_hash AS "content_hash?",
            c.obliterated AS "obliterated?"
        FROM file_changes f
        LEFT JOIN contents c ON c.id = f.content_id
        WHERE f.branch_id = $1 AND f.sequence = $2
        ORDER BY f.path
        "#,
        row.branch_id,
        sequence,
    )
    .fetch_all(connection)
    .await?;
    Ok(Some(CommitDetail {
        sequence,
        branch: row.branch,
        message: row.message,
        author: row.author,
        created_at: timestamp(row.created_at),
        commit_hash: row.commit_hash.map(hex::encode),
        parent_sequence: row.parent_sequence,
        imported_from: row.imported_from,
        pushed_by: row.pushed_by,
        files: files
            .into_iter()
            .map(|file| CommitFile {
                commit_id: file.change_id,
                path: file.path,
                version_id: file.version_id,
                content_hash: file.content_hash.map(hex::encode),
                mode: FileMode::from_i32(file.mode),
                obliterated: file.obliterated == Some(true),
            })
            .collect(),
    }))
}

/// A page of the current commits of a branch, newest first: its own above its floor, then those of `main` up to its base.
///
/// # Errors
/// When the database cannot answer.
pub async fn log(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    before: Option<i64>,
    page: PageBounds,
) -> Result<Vec<CommitSummary>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            sequence AS "sequence!", branch AS "branch!", message AS "message!", author AS "author!",
            created_at AS "created_at!: DateTime<Utc>", commit_hash, file_count AS "file_count!", imported_from
        FROM (
            SELECT
                c.*,
                sum(octet_length(c.message))
                    OVER (ORDER BY c.sequence DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM tree_point($1, $2, NULL) p
            CROSS JOIN LATERAL (
                -- The floor ends no walk, being no column of its own: what a rebase replaced is cut off behind the limit.
                SELECT own.*, $2 AS branch
                FROM (
                    SELECT *
                    FROM commits
                    WHERE (branch_id, sequence) < (p.branch_id, coalesce($3, p.head_sequence + 1))
                        AND branch_id >= p.branch_id
                    ORDER BY branch_id DESC, sequence DESC
                    LIMIT $4
                ) own
                WHERE own.sequence > p.floor_sequence
                UNION ALL
                (
                    SELECT under.*, 'main' AS branch
                    FROM commits under
                    WHERE p.branch_id <> p.main_id
                        AND (under.branch_id, under.sequence)
                            < (p.main_id, least(p.base_sequence + 1, coalesce($3, p.base_sequence + 1)))
                        AND under.branch_id >= p.main_id
                    ORDER BY under.branch_id DESC, under.sequence DESC
                    LIMIT $4
                )
            ) c
            ORDER BY c.sequence DESC
            LIMIT $4
        ) page
        WHERE coalesce(bytes_before, 0) < $5::bigint
        ORDER BY sequence DESC
        "#,
        repo_id,
        branch,
        before,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| CommitSummary {
            sequence: row.sequence,
            branch: row.branch,
            message: row.message,
            author: row.author,
            created_at: timestamp(row.created_at),
            commit_hash: row.commit_hash.map(hex::encode),
            file_count: row.file_count,
            imported_from: row.imported_from,
        })
        .collect())
}

/// The changes of one path that lead to the head of a branch, newest first.
///
/// # Errors
/// When the database cannot answer.
pub async fn file_history(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    path: &str,
    before: Option<i64>,
    page: PageBounds,
) -> Result<Vec<FileHistoryEntry>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            page.sequence AS "sequence!", content.version_id AS "version_id?", content.obliterated AS "obliterated?",
            page.message AS "message!", page.author AS "author!", page.created_at AS "created_at!: DateTime<Utc>"
        FROM (
            SELECT
                f.sequence, f.content_id, c.message, c.author, c.created_at,
                sum(octet_length(c.message))
                    OVER (ORDER BY f.sequence DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM tree_point($1, $2, NULL) p
            CROSS JOIN LATERAL (
                (
                    SELECT own.sequence, own.content_id
                    FROM file_changes own
                    WHERE own.branch_id = p.branch_id
                        AND own.path = $3
                        AND own.sequence > p.floor_sequence
                        AND own.sequence < coalesce($4, 9223372036854775807)
                    ORDER BY own.sequence DESC
                    LIMIT $5
                )
                UNION ALL
                (
                    SELECT under.sequence, under.content_id
                    FROM file_changes under
                    WHERE p.branch_id <> p.main_id
                        AND under.branch_id = p.main_id
                        AND under.path = $3
                        AND under.sequence <= p.base_sequence
                        AND under.sequence < coalesce($4, 9223372036854775807)
                    ORDER BY under.sequence DESC
                    LIMIT $5
                )
            ) f
            JOIN commits c ON c.sequence = f.sequence
            ORDER BY f.sequence DESC
            LIMIT $5
        ) page
        LEFT JOIN contents content ON content.id = page.content_id
        WHERE coalesce(bytes_before, 0) < $6::bigint
        ORDER BY page.sequence DESC
        "#,
        repo_id,
        branch,
        path,
        before,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| FileHistoryEntry {
            sequence: row.sequence,
            version_id: row.version_id,
            message: row.message,
            author: row.author,
            created_at: timestamp(row.created_at),
            obliterated: row.obliterated == Some(true),
        })
        .collect())
}

/// Branches of a repo and where each of them is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    branch_ids: Vec<i64>,
    sequences: Vec<i64>,
}

/// Where all branches of a repo are at one moment.
///
/// # Errors
/// When the database cannot answer.
pub async fn heads(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<Heads> {
    let rows =
        sqlx::query!("SELECT id, head_sequence FROM branches WHERE repo_id = $1 AND deleted_at IS NULL", repo_id)
            .fetch_all(executor)
            .await?;
    Ok(rows.into_iter().fold(Heads::default(), |mut heads, row| {
        heads.branch_ids.push(row.id);
        heads.sequences.push(row.head_sequence);
        heads
    }))
}

struct RawChainEntry {
    sequence: i64,
    branch: String,
    author: String,
    message: String,
    created_at: DateTime<Utc>,
    commit_hash: Option<Vec<u8>>,
    paths: Vec<String>,
    hashes: Vec<String>,
}

impl From<RawChainEntry> for ChainEntry {
    fn from(row: RawChainEntry) -> Self {
        Self {
            sequence: row.sequence,
            branch: row.branch,
            author: row.author,
            message: row.message,
            created_at: timestamp(row.created_at),
            commit_hash: row.commit_hash.map(hex::encode),
            files: row
                .paths
                .into_iter()
                .zip(row.hashes)
                .map(|(path, content_hash)| ChainFile { path, content_hash })
                .collect(),
        }
    }
}

/// What a file of an entry counts in a page of a chain: its hash and a path as long as most are.
const CHAIN_FILE_BYTES: i64 = 150;

/// What an entry counts in a page of a chain.
#[must_use]
pub fn chain_bytes(entry: &ChainEntry) -> i64 {
    let length = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    length(entry.message.len()).saturating_add(CHAIN_FILE_BYTES.saturating_mul(length(entry.files.len())))
}

/// A page of the commits of a branch from one number to another, both included, ascending, with all that enters their
/// hashes. How much of it there is, [`chain_bytes`] tells.
///
/// # Errors
/// When the database cannot answer.
pub async fn chain_of_branch(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    from: i64,
    to: i64,
    page: PageBounds,
) -> Result<Vec<ChainEntry>> {
    let rows = sqlx::query_as!(
        RawChainEntry,
        r#"
        SELECT
            c.sequence, b.name AS branch, c.author, c.message, c.created_at, c.commit_hash,
            files.paths AS "paths!", files.hashes AS "hashes!"
        FROM branches b
        CROSS JOIN LATERAL (
            SELECT
                page.*,
                sum(octet_length(page.message) + $7::bigint * page.file_count) OVER (
                    ORDER BY page.branch_id, page.sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM (
                SELECT * FROM commits
                WHERE (branch_id, sequence) >= (b.id, $2) AND branch_id <= b.id
                ORDER BY branch_id, sequence
                LIMIT $5
            ) page
            -- The end of the range ends no walk, being no column of its own.
            WHERE page.sequence <= $3
        ) c
        CROSS JOIN LATERAL (
            SELECT
                coalesce(array_agg(f.path ORDER BY f.path), '{}') AS paths,
                coalesce(array_agg(coalesce(encode(content.content_hash, 'hex'), '') ORDER BY f.path), '{}') AS hashes
            FROM file_changes f
            LEFT JOIN contents content ON content.id = f.content_id
            WHERE f.branch_id = c.branch_id AND f.sequence = c.sequence
        ) files
        WHERE b.repo_id = $1 AND b.name = $4 AND b.deleted_at IS NULL AND coalesce(c.bytes_before, 0) < $6::bigint
        ORDER BY c.sequence
        "#,
        repo_id,
        from,
        to,
        branch,
        page.rows,
        page.bytes,
        CHAIN_FILE_BYTES,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(ChainEntry::from).collect())
}

/// The same of all branches given, up to their heads.
///
/// Branches move at the same time, and a commit with a lower number may become visible after one with a higher number on
/// another branch. Up to heads of one moment nothing is added any more, so pages that are read one after the other have
/// no gaps.
///
/// # Errors
/// When the database cannot answer.
pub async fn chain(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    heads: &Heads,
    from: i64,
    to: i64,
    page: PageBounds,
) -> Result<Vec<ChainEntry>> {
    let rows = sqlx::query_as!(
        RawChainEntry,
        r#"
        SELECT
            c.sequence, (SELECT name FROM branches WHERE id = c.branch_id) AS "branch!", c.author, c.message, c.created_at,
            c.commit_hash, files.paths AS "paths!", files.hashes AS "hashes!"
        FROM (
            SELECT
                page.*,
                sum(octet_length(page.message) + $8::bigint * page.file_count) OVER (
                    ORDER BY page.repo_id, page.sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM (
                SELECT * FROM commits
                WHERE (repo_id, sequence) >= ($1, $2)
                    AND repo_id <= $1
                    -- Not a join, so that the index gives the order and a page costs the page.
                    AND sequence <= ($5::bigint[])[array_position($4::bigint[], branch_id)]
                ORDER BY repo_id, sequence
                LIMIT $6
            ) page
            WHERE page.sequence <= $3
        ) c
        CROSS JOIN LATERAL (
            SELECT
                coalesce(array_agg(f.path ORDER BY f.path), '{}') AS paths,
                coalesce(array_agg(coalesce(encode(content.content_hash, 'hex'), '') ORDER BY f.path), '{}') AS hashes
            FROM file_changes f
            LEFT JOIN contents content ON content.id = f.content_id
            WHERE f.branch_id = c.branch_id AND f.sequence = c.sequence
        ) files
        WHERE coalesce(c.bytes_before, 0) < $7::bigint
        ORDER BY c.sequence
        "#,
        repo_id,
        from,
        to,
        &heads.branch_ids,
        &heads.sequences,
        page.rows,
        page.bytes,
        CHAIN_FILE_BYTES,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(ChainEntry::from).collect())
}

/// Files that stand in the way of new ones at the head of a branch: a file where a directory is needed, or anything
/// below a path that is to be a file. Files that the same commit deletes are in nobody's way. Answers pairs of the new
/// path and the file in its way.
///
/// # Errors
/// When the database cannot answer.
pub async fn files_in_the_way(
    executor: impl PgExecutor<'_>,
    branch: &BranchRow,
    repo_id: i64,
    paths: &[&str],
    deleted: &[&str],
) -> Result<Vec<(String, String)>> {
    let mut parents = Vec::new();
    let mut children = Vec::new();
    for path in paths {
        for directory in directories_of(path) {
            parents.push(directory);
            children.push(*path);
        }
    }
    let rows = sqlx::query!(
        r#"
        -- A file where a directory is needed.
        SELECT asked.child AS "path!", asked.parent AS "in_the_way!"
        FROM (
            -- Each directory once: a thousand files in one directory are one question.
            SELECT given.parent COLLATE "C" AS parent, min(given.child) AS child
            FROM unnest($5::text[], $6::text[]) AS given (parent, child)
            GROUP BY given.parent COLLATE "C"
        ) asked
        CROSS JOIN LATERAL (
            (
                SELECT f.content_id, 1 AS layer
                FROM file_changes f
                WHERE f.branch_id = $1 AND f.path = asked.parent AND f.sequence > $2
                ORDER BY f.sequence DESC
                LIMIT 1
            )
            UNION ALL
            (
                SELECT f.content_id, 2 AS layer
                FROM branches m
                JOIN file_changes f ON f.branch_id = m.id
                WHERE m.repo_id = $4
                    AND m.name = 'main'
                    AND m.deleted_at IS NULL
                    AND m.id <> $1
                    AND f.path = asked.parent
                    AND f.sequence <= $3
                ORDER BY f.sequence DESC
                LIMIT 1
            )
            ORDER BY layer
            LIMIT 1
        ) found
        WHERE found.content_id IS NOT NULL AND asked.parent <> ALL ($8::text[])
        UNION ALL
        -- A directory where a file is wanted.
        SELECT asked.path AS "path!", below.path AS "in_the_way!"
        FROM unnest($7::text[]) AS asked (path)
        CROSS JOIN LATERAL (
            (
                SELECT f.path
                FROM file_changes f
                WHERE f.branch_id = $1
                    AND f.path >= (asked.path || '/') COLLATE "C"
                    AND f.path < (asked.path || '0') COLLATE "C"
                    AND f.sequence > $2
                    AND f.superseded_by IS NULL
                    AND f.content_id IS NOT NULL
                    AND f.path <> ALL ($8::text[])
                ORDER BY f.path
                LIMIT 1
            )
            UNION ALL
            (
                SELECT f.path
                FROM branches m
                JOIN file_changes f ON f.branch_id = m.id
                WHERE m.repo_id = $4
                    AND m.name = 'main'
                    AND m.deleted_at IS NULL
                    AND m.id <> $1
                    AND f.path >= (asked.path || '/') COLLATE "C"
                    AND f.path < (asked.path || '0') COLLATE "C"
                    AND f.sequence <= $3
                    AND (f.superseded_by IS NULL OR f.superseded_by > $3)
                    AND f.content_id IS NOT NULL
                    AND f.path <> ALL ($8::text[])
                    AND NOT EXISTS (
                        SELECT 1 FROM file_changes own
                        WHERE own.branch_id = $1 AND own.path = f.path AND own.sequence > $2
                    )
                ORDER BY f.path
                LIMIT 1
            )
            LIMIT 1
        ) below
        "#,
        branch.id,
        branch.floor_sequence,
        branch.base_sequence,
        repo_id,
        &parents as &[&str],
        &children as &[&str],
        paths as &[&str],
        deleted as &[&str],
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.path, row.in_the_way)).collect())
}
