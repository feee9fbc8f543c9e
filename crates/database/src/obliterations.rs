//! Contents whose bytes were taken out of a repo for good.

use chrono::{DateTime, Utc};
use docstore_models::{BranchStatus, Obliteration, ObliterationPlace};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    Result,
    contents::{ContentHash, hash_of},
    error::timestamp,
};

/// Makes the mark of a row.
macro_rules! mark_of {
    ($row:expr) => {
        Obliteration {
            id: $row.id,
            content_hash: hex::encode($row.content_hash),
            size: $row.size,
            reason: $row.reason,
            obliterated_by: $row.obliterated_by,
            obliterated_at: timestamp($row.obliterated_at),
        }
    };
}

/// The marks of those of the hashes that were obliterated, by time.
///
/// # Errors
/// When the database cannot answer.
pub async fn obliterations_of(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    hashes: &[ContentHash],
) -> Result<Vec<Obliteration>> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT o.id, o.content_hash, o.size, o.reason, o.obliterated_by, o.obliterated_at
        FROM obliterations o
        WHERE o.repo_id = $1 AND o.content_hash = ANY ($2)
        ORDER BY o.id
        "#,
        repo_id,
        &hashes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| mark_of!(row)).collect())
}

/// The marks of a repo, newest first, before the one with the id given.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_obliterations(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Obliteration>> {
    let rows = sqlx::query!(
        r#"
        SELECT o.id, o.content_hash, o.size, o.reason, o.obliterated_by, o.obliterated_at
        FROM obliterations o
        WHERE o.repo_id = $1 AND o.id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY o.id DESC
        LIMIT $3
        "#,
        repo_id,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| mark_of!(row)).collect())
}

/// How many contents of a repo were obliterated. The number only rises.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_obliterations(executor: impl PgExecutor<'_>, repo_id: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM obliterations WHERE repo_id = $1"#, repo_id)
        .fetch_one(executor)
        .await?)
}

/// Those of the hashes that were obliterated in any repo.
///
/// # Errors
/// When the database cannot answer.
pub async fn obliterated_anywhere(executor: impl PgExecutor<'_>, hashes: &[ContentHash]) -> Result<Vec<ContentHash>> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let rows = sqlx::query!("SELECT DISTINCT content_hash FROM obliterations WHERE content_hash = ANY ($1)", &hashes)
        .fetch_all(executor)
        .await?;
    Ok(rows.into_iter().map(|row| hash_of(&row.content_hash)).collect())
}

/// A content that may be obliterated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The id inside.
    pub id: i64,
    /// The length in bytes.
    pub size: i64,
}

/// Finds a content of a repo by its hash, with bytes or without.
///
/// # Errors
/// When the database cannot answer.
pub async fn candidate(executor: impl PgExecutor<'_>, repo_id: i64, hash: &ContentHash) -> Result<Option<Candidate>> {
    let row = sqlx::query_as!(
        Candidate,
        "SELECT id, size FROM contents WHERE repo_id = $1 AND content_hash = $2",
        repo_id,
        hash,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row)
}

/// The same, and locks it, so that nobody clears it away meanwhile.
///
/// # Errors
/// When the database cannot answer.
pub async fn lock_candidate(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    hash: &ContentHash,
) -> Result<Option<Candidate>> {
    let row = sqlx::query_as!(
        Candidate,
        "SELECT id, size FROM contents WHERE repo_id = $1 AND content_hash = $2 FOR UPDATE",
        repo_id,
        hash,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row)
}

/// In how many places of the history a content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceCounts {
    /// Changes of files.
    pub changes: i64,
    /// Paths.
    pub paths: i64,
    /// Branches, ended ones included.
    pub branches: i64,
}

/// Counts the places of a content.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_places(executor: impl PgExecutor<'_>, content_id: i64) -> Result<PlaceCounts> {
    let counts = sqlx::query_as!(
        PlaceCounts,
        r#"
        SELECT
            count(*) AS "changes!", count(DISTINCT f.path) AS "paths!", count(DISTINCT f.branch_id) AS "branches!"
        FROM file_changes f
        WHERE f.content_id = $1
        "#,
        content_id,
    )
    .fetch_one(executor)
    .await?;
    Ok(counts)
}

/// The places of a content behind one, by commit and path.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_places(
    executor: impl PgExecutor<'_>,
    content_id: i64,
    (after_sequence, after_path): (i64, &str),
    limit: i64,
) -> Result<Vec<ObliterationPlace>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            f.sequence, f.path, b.name AS branch, b.status::text AS "branch_status!",
            (f.superseded_by IS NULL AND f.sequence > b.floor_sequence) AS "at_head!", c.author, c.created_at
        FROM file_changes f
        JOIN branches b ON b.id = f.branch_id
        JOIN commits c ON c.sequence = f.sequence
        WHERE f.content_id = $1 AND (f.sequence, f.path) > ($2, $3 COLLATE "C")
        ORDER BY f.sequence, f.path
        LIMIT $4
        "#,
        content_id,
        after_sequence,
        after_path,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ObliterationPlace {
            sequence: row.sequence,
            path: row.path,
            branch: row.branch,
            branch_status: row.branch_status.parse().unwrap_or(BranchStatus::Active),
            at_head: row.at_head,
            author: row.author,
            created_at: timestamp(row.created_at),
        })
        .collect())
}

/// What a content is for those who judge what reaches `main`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgedBy {
    /// A policy or OWNERS file at the head of `main` that has it.
    pub at_head: Option<String>,
    /// Whether there ever was one, on any branch.
    pub ever: bool,
}

/// Whether a content is or was that of a policy or an OWNERS file.
///
/// # Errors
/// When the database cannot answer.
pub async fn judged_by(executor: impl PgExecutor<'_>, content_id: i64) -> Result<JudgedBy> {
    let row = sqlx::query!(
        r#"
        SELECT
            min(f.path) FILTER (WHERE f.superseded_by IS NULL AND b.name = 'main') AS at_head,
            count(*) > 0 AS "ever!"
        FROM file_changes f
        JOIN branches b ON b.id = f.branch_id
        WHERE f.content_id = $1
            AND (f.path = 'OWNERS' OR f.path LIKE '%/OWNERS' OR f.path LIKE '.docstore/policy/%.rego')
        "#,
        content_id,
    )
    .fetch_one(executor)
    .await?;
    Ok(JudgedBy { at_head: row.at_head, ever: row.ever })
}

/// A content to obliterate.
#[derive(Clone, Debug)]
pub struct NewObliteration<'a> {
    /// The id of the mark.
    pub id: Uuid,
    /// The repo.
    pub repo_id: i64,
    /// The content, which is locked.
    pub content: Candidate,
    /// Its hash.
    pub hash: &'a ContentHash,
    /// Why.
    pub reason: &'a str,
    /// By whom.
    pub obliterated_by: &'a str,
    /// When.
    pub obliterated_at: DateTime<Utc>,
    /// Whether documents that policies judged by may hold parts of it.
    pub was_judged_by: bool,
}

/// Takes the bytes of a content away, and everything that was made of them, and leaves the mark. Nobody else writes to the
/// repo (`lock_repo`). Answers the blob to delete, which is due on the list of deletions. A content that was obliterated
/// before violates `obliterations_content`.
///
/// # Errors
/// See above; or when the database cannot answer.
pub async fn obliterate(
    connection: &mut PgConnection,
    new: &NewObliteration<'_>,
) -> Result<(Obliteration, Option<String>)> {
    let mark = sqlx::query!(
        r#"
        INSERT INTO obliterations (id, repo_id, content_hash, size, reason, obliterated_by, obliterated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        RETURNING id, content_hash, size, reason, obliterated_by, obliterated_at
        "#,
        new.id,
        new.repo_id,
        new.hash,
        new.content.size,
        new.reason,
        new.obliterated_by,
        new.obliterated_at,
    )
    .fetch_one(&mut *connection)
    .await?;
    let blob_key = sqlx::query_scalar!(
        r#"
        INSERT INTO blob_deletions (blob_key, not_before)
        SELECT blob_key, now() FROM contents WHERE id = $1 AND blob_key IS NOT NULL
        RETURNING blob_key
        "#,
        new.content.id,
    )
    .fetch_optional(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM content_bytes WHERE content_id = $1", new.content.id).execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM uploaded_contents WHERE content_id = $1", new.content.id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE contents SET obliterated = true, blob_key = NULL WHERE id = $1", new.content.id)
        .execute(&mut *connection)
        .await?;
    // What was uploaded and never committed needs no row: the mark keeps it from coming again.
    sqlx::query!(
        "DELETE FROM contents c WHERE c.id = $1 AND NOT EXISTS (SELECT FROM file_changes f WHERE f.content_id = c.id)",
        new.content.id,
    )
    .execute(&mut *connection)
    .await?;
    // Archives have other bytes from now on; and from a checksum a guess at what is gone could be confirmed.
    sqlx::query!(
        "DELETE FROM archive_checksums a USING branches b WHERE b.repo_id = $1 AND a.branch_id = b.id",
        new.repo_id,
    )
    .execute(&mut *connection)
    .await?;
    if new.was_judged_by {
        sqlx::query!("UPDATE policy_verdicts SET input = NULL WHERE repo_id = $1 AND input IS NOT NULL", new.repo_id)
            .execute(connection)
            .await?;
    }
    Ok((mark_of!(mark), blob_key))
}

/// How many files of a tree an archive leaves out because their bytes were obliterated. Looked for from the few contents
/// that were, not from the tree.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_left_out(executor: impl PgExecutor<'_>, repo_id: i64, branch: &str, at: Option<i64>) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!"
        FROM tree_point($1, $2, $3) p
        CROSS JOIN LATERAL (
            SELECT DISTINCT f.path
            FROM contents gone
            JOIN file_changes f ON f.content_id = gone.id
            WHERE gone.repo_id = $1 AND gone.obliterated AND f.branch_id IN (p.branch_id, p.main_id)
        ) touched
        CROSS JOIN LATERAL (
            SELECT found.content_id
            FROM (
                (
                    SELECT own.content_id, 1 AS layer
                    FROM file_changes own
                    WHERE own.branch_id = p.branch_id
                        AND own.path = touched.path
                        AND own.sequence > p.floor_sequence
                        AND own.sequence <= p.upto_sequence
                    ORDER BY own.sequence DESC
                    LIMIT 1
                )
                UNION ALL
                (
                    SELECT under.content_id, 2 AS layer
                    FROM file_changes under
                    WHERE p.branch_id <> p.main_id
                        AND under.branch_id = p.main_id
                        AND under.path = touched.path
                        AND under.sequence <= p.base_sequence
                    ORDER BY under.sequence DESC
                    LIMIT 1
                )
            ) found
            ORDER BY found.layer
            LIMIT 1
        ) f
        JOIN contents c ON c.id = f.content_id AND c.obliterated
        "#,
        repo_id,
        branch,
        at,
    )
    .fetch_one(executor)
    .await?)
}
