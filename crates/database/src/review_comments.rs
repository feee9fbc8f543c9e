//! Comments on what is reviewed, and their threads.

use chrono::{DateTime, Utc};
use docstore_models::{CommentSide, PrincipalKind, ReviewComment};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    Result,
    branches::LockedBranch,
    error::timestamp,
    lists::{PageBounds, Place},
};

/// A comment to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewComment {
    /// The id.
    pub id: Uuid,
    /// The file.
    pub path: String,
    /// The content that it is about.
    pub version_id: Uuid,
    /// The comment.
    pub body: String,
    /// First and last line.
    pub lines: Option<(i32, i32)>,
    /// The side of the diff.
    pub side: Option<CommentSide>,
    /// The first comment of the thread.
    pub in_reply_to: Option<Uuid>,
}

/// Stores comments on a branch as it is under the lock.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_comments(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    review_id: Option<Uuid>,
    author: &str,
    author_kind: PrincipalKind,
    comments: &[NewComment],
) -> Result<()> {
    let ids: Vec<Uuid> = comments.iter().map(|comment| comment.id).collect();
    let threads: Vec<Option<Uuid>> = comments.iter().map(|comment| comment.in_reply_to).collect();
    let paths: Vec<&str> = comments.iter().map(|comment| comment.path.as_str()).collect();
    let versions: Vec<Uuid> = comments.iter().map(|comment| comment.version_id).collect();
    let bodies: Vec<&str> = comments.iter().map(|comment| comment.body.as_str()).collect();
    let starts: Vec<Option<i32>> = comments.iter().map(|comment| comment.lines.map(|(start, _)| start)).collect();
    let ends: Vec<Option<i32>> = comments.iter().map(|comment| comment.lines.map(|(_, end)| end)).collect();
    let sides: Vec<Option<&str>> = comments.iter().map(|comment| comment.side.map(CommentSide::as_str)).collect();
    sqlx::query!(
        r#"
        INSERT INTO review_comments (
            id, repo_id, branch_id, review_id, in_reply_to, path, version_id, body, author, author_kind, sequence,
            start_line, end_line, side, created_at
        )
        SELECT
            n.id, $1, $2, $3, n.in_reply_to, n.path, n.version_id, n.body, $4, $5, $6,
            n.start_line, n.end_line, n.side, $7
        FROM unnest(
            $8::uuid[], $9::uuid[], $10::text[], $11::uuid[], $12::text[], $13::integer[], $14::integer[], $15::text[]
        ) AS n (id, in_reply_to, path, version_id, body, start_line, end_line, side)
        "#,
        locked.repo_id,
        locked.branch.id,
        review_id,
        author,
        author_kind.as_str(),
        locked.branch.head_sequence,
        locked.now,
        &ids,
        &threads as &[Option<Uuid>],
        &paths as &[&str],
        &versions,
        &bodies as &[&str],
        &starts as &[Option<i32>],
        &ends as &[Option<i32>],
        &sides as &[Option<&str>],
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// What a comment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commented<'a> {
    /// The file.
    pub path: &'a str,
    /// The content.
    pub version_id: Uuid,
    /// It is about lines of it.
    pub by_line: bool,
}

/// The lines of what comments are about, in the order given: `None` for a path that never had the content, on the branch or
/// on `main`. The lines of what lies in the blob store are not counted, nor are those that nobody asked for: there are no more
/// of them than bytes.
///
/// # Errors
/// When the database cannot answer.
pub async fn commented_lines(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    commented: &[Commented<'_>],
) -> Result<Vec<Option<i64>>> {
    let paths: Vec<&str> = commented.iter().map(|one| one.path).collect();
    let versions: Vec<Uuid> = commented.iter().map(|one| one.version_id).collect();
    let by_line: Vec<bool> = commented.iter().map(|one| one.by_line).collect();
    Ok(sqlx::query_scalar!(
        r#"
        WITH found AS (
            SELECT given.place, given.by_line, content.id, content.size
            FROM unnest($3::text[], $4::uuid[], $5::boolean[]) WITH ORDINALITY AS given (path, version_id, by_line, place)
            LEFT JOIN LATERAL (
                SELECT c.id, c.size
                FROM branches b
                JOIN file_changes f ON f.branch_id = b.id AND f.path = given.path COLLATE "C"
                JOIN contents c ON c.id = f.content_id
                WHERE (b.id = $1 OR (b.repo_id = $2 AND b.name = 'main' AND b.deleted_at IS NULL))
                    AND c.version_id = given.version_id
                LIMIT 1
            ) content ON true
        ),
        -- Each content once. Its bytes as text are what they are, but for those that are no ASCII.
        counted AS (
            SELECT
                content_id,
                octet_length(escaped) - octet_length(replace(escaped, E'\n', ''))
                    + (escaped <> '' AND right(escaped, 1) <> E'\n')::int AS lines
            FROM (
                SELECT b.content_id, encode(b.bytes, 'escape') AS escaped
                FROM content_bytes b
                WHERE b.content_id = ANY (ARRAY(SELECT id FROM found WHERE by_line))
            ) bytes
        )
        SELECT coalesce(counted.lines, found.size) AS lines
        FROM found
        LEFT JOIN counted ON counted.content_id = found.id
        ORDER BY found.place
        "#,
        locked.branch.id,
        locked.repo_id,
        &paths as &[&str],
        &versions,
        &by_line,
    )
    .fetch_all(executor)
    .await?)
}

/// The comment that begins a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The comment that was asked for.
    pub comment_id: Uuid,
    /// The first comment of its thread.
    pub first_id: Uuid,
    /// The file that the thread is about.
    pub path: String,
    /// The content that it is about.
    pub version_id: Uuid,
    /// The lines.
    pub lines: Option<(i32, i32)>,
    /// The side of the diff.
    pub side: Option<CommentSide>,
}

/// The threads of comments on a locked branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn threads(executor: impl PgExecutor<'_>, locked: &LockedBranch, comments: &[Uuid]) -> Result<Vec<Thread>> {
    let rows = sqlx::query!(
        r#"
        SELECT c.id AS comment_id, first.id AS first_id, first.path, first.version_id, first.start_line, first.end_line,
            first.side
        FROM review_comments c
        JOIN review_comments first ON first.id = coalesce(c.in_reply_to, c.id)
        WHERE c.branch_id = $1 AND c.id = ANY ($2)
        "#,
        locked.branch.id,
        comments,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Thread {
            comment_id: row.comment_id,
            first_id: row.first_id,
            path: row.path,
            version_id: row.version_id,
            lines: row.start_line.zip(row.end_line),
            side: row.side.and_then(|side| side.parse().ok()),
        })
        .collect())
}

struct RawComment {
    id: Uuid,
    review_id: Option<Uuid>,
    branch: String,
    path: String,
    version_id: Uuid,
    body: String,
    author: String,
    author_kind: String,
    sequence: i64,
    created_at: DateTime<Utc>,
    start_line: Option<i32>,
    end_line: Option<i32>,
    side: Option<String>,
    in_reply_to: Option<Uuid>,
    resolved_at: Option<DateTime<Utc>>,
    resolved_by: Option<String>,
}

impl From<RawComment> for ReviewComment {
    fn from(raw: RawComment) -> Self {
        Self {
            id: raw.id,
            review_id: raw.review_id,
            branch: raw.branch,
            path: raw.path,
            version_id: raw.version_id,
            body: raw.body,
            author: raw.author,
            sequence: raw.sequence,
            created_at: timestamp(raw.created_at),
            author_kind: raw.author_kind.parse().ok(),
            start_line: raw.start_line,
            end_line: raw.end_line,
            side: raw.side.and_then(|side| side.parse().ok()),
            in_reply_to: raw.in_reply_to,
            resolved_at: raw.resolved_at.map(timestamp),
            resolved_by: raw.resolved_by,
        }
    }
}

/// Which comments to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommentFilter<'a> {
    /// Only those on this file.
    pub path: Option<&'a str>,
    /// Only those newer than the one here.
    pub after: Option<Place>,
}

/// Where the list of comments goes on behind one of them; `None` when there is no such comment.
///
/// # Errors
/// When the database cannot answer.
pub async fn place_of_comment(executor: impl PgExecutor<'_>, repo_id: i64, id: Uuid) -> Result<Option<Place>> {
    let row = sqlx::query_as!(
        Place,
        "SELECT created_at, id FROM review_comments WHERE repo_id = $1 AND id = $2",
        repo_id,
        id
    )
    .fetch_optional(executor)
    .await?;
    Ok(row)
}

/// A page of the comments on a branch, oldest first; on an unknown branch there are none.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_comments(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch: &str,
    filter: CommentFilter<'_>,
    page: PageBounds,
) -> Result<Vec<ReviewComment>> {
    let (created_at, id) = Place::parts(filter.after);
    let rows = sqlx::query_as!(
        RawComment,
        r#"
        SELECT
            id, review_id, branch, path, version_id, body, author, author_kind, sequence, created_at, start_line,
            end_line, side, in_reply_to, resolved_at, resolved_by
        FROM (
            SELECT
                c.*, b.name AS branch,
                sum(octet_length(c.body)) OVER (
                    ORDER BY c.created_at, c.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS bytes_before
            FROM branches b
            JOIN review_comments c ON c.branch_id = b.id
            WHERE b.repo_id = $1
                AND b.name = $2
                AND b.deleted_at IS NULL
                AND ($3::text IS NULL OR c.path = $3)
                -- As for proposals.
                AND (c.created_at, c.id) > (
                    coalesce($4::timestamptz, '-infinity'),
                    coalesce($5::uuid, '00000000-0000-0000-0000-000000000000')
                )
            ORDER BY c.created_at, c.id
            LIMIT $6
        ) page
        WHERE coalesce(bytes_before, 0) < $7::bigint
        ORDER BY created_at, id
        "#,
        repo_id,
        branch,
        filter.path,
        created_at,
        id,
        page.rows,
        page.bytes,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(ReviewComment::from).collect())
}

/// The branch of a comment.
///
/// # Errors
/// When the database cannot answer.
pub async fn branch_of_comment(executor: impl PgExecutor<'_>, repo_id: i64, id: Uuid) -> Result<Option<String>> {
    let row = sqlx::query!(
        r#"
        SELECT b.name
        FROM review_comments c
        JOIN branches b ON b.id = c.branch_id AND b.deleted_at IS NULL
        WHERE c.repo_id = $1 AND c.id = $2
        "#,
        repo_id,
        id,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| row.name))
}

/// A comment on a locked branch, or the first one of its thread.
///
/// # Errors
/// When the database cannot answer.
pub async fn comment(
    executor: impl PgExecutor<'_>,
    locked: &LockedBranch,
    id: Uuid,
    first_of_thread: bool,
) -> Result<Option<ReviewComment>> {
    let row = sqlx::query_as!(
        RawComment,
        r#"
        SELECT
            c.id, c.review_id, $4::text AS "branch!", c.path, c.version_id, c.body, c.author, c.author_kind, c.sequence,
            c.created_at, c.start_line, c.end_line, c.side, c.in_reply_to, c.resolved_at, c.resolved_by
        FROM review_comments asked
        JOIN review_comments c ON c.id = CASE WHEN $3 THEN coalesce(asked.in_reply_to, asked.id) ELSE asked.id END
        WHERE asked.branch_id = $1 AND asked.id = $2
        "#,
        locked.branch.id,
        id,
        first_of_thread,
        locked.branch.name,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(ReviewComment::from))
}

/// Deletes a comment on a locked branch. The others of its thread stay: the oldest of them begins it from now on, and what was resolved
/// stays resolved.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_comment(connection: &mut PgConnection, _lock: &LockedBranch, id: Uuid) -> Result<()> {
    sqlx::query!(
        r#"
        WITH heir AS (
            SELECT id FROM review_comments WHERE in_reply_to = $1 ORDER BY created_at, id LIMIT 1
        )
        UPDATE review_comments c
        SET in_reply_to = CASE WHEN c.id = heir.id THEN NULL ELSE heir.id END,
            resolved_at = CASE WHEN c.id = heir.id THEN gone.resolved_at END,
            resolved_by = CASE WHEN c.id = heir.id THEN gone.resolved_by END
        FROM heir, review_comments gone
        WHERE gone.id = $1 AND c.in_reply_to = $1
        "#,
        id,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM review_comments WHERE id = $1", id).execute(connection).await?;
    Ok(())
}

/// Resolves the thread that a comment on a locked branch begins, or opens it again.
///
/// # Errors
/// When the database cannot answer.
pub async fn resolve_thread(
    executor: impl PgExecutor<'_>,
    _lock: &LockedBranch,
    id: Uuid,
    resolved: Option<(DateTime<Utc>, &str)>,
) -> Result<()> {
    sqlx::query!(
        "UPDATE review_comments SET resolved_at = $2, resolved_by = $3 WHERE id = $1",
        id,
        resolved.map(|(moment, _)| moment),
        resolved.map(|(_, identity)| identity),
    )
    .execute(executor)
    .await?;
    Ok(())
}
