//! What branches changed: the newest change of each path, to be merged, reviewed and compared with the other side; and
//! commit by commit, to be replayed.

use docstore_models::FileMode;
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::Result;

/// A change of a file on a branch since a point, the latest of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestChange {
    /// The path.
    pub path: String,
    /// The commit.
    pub sequence: i64,
    /// The content inside; none when the file was deleted.
    pub content_id: Option<i64>,
    /// The content on the wire.
    pub version_id: Option<Uuid>,
    /// The hash of the bytes.
    pub hash: Option<Vec<u8>>,
    /// The length in bytes.
    pub size: Option<i64>,
    /// The mode.
    pub mode: FileMode,
    /// The media type that came with the commit.
    pub content_type: Option<String>,
    /// Whether the bytes were obliterated.
    pub obliterated: bool,
}

struct RawChange {
    path: String,
    sequence: i64,
    content_id: Option<i64>,
    mode: i32,
    content_type: Option<String>,
    version_id: Option<Uuid>,
    content_hash: Option<Vec<u8>>,
    size: Option<i64>,
    obliterated: Option<bool>,
}

impl From<RawChange> for LatestChange {
    fn from(row: RawChange) -> Self {
        Self {
            path: row.path,
            sequence: row.sequence,
            content_id: row.content_id,
            version_id: row.version_id,
            hash: row.content_hash,
            size: row.size,
            mode: FileMode::from_i32(row.mode),
            content_type: row.content_type,
            obliterated: row.obliterated == Some(true),
        }
    }
}

/// The latest change of every path that a branch changed after a number, by path.
///
/// # Errors
/// When the database cannot answer.
pub async fn latest_changes(
    executor: impl PgExecutor<'_>,
    branch_id: i64,
    after_sequence: i64,
) -> Result<Vec<LatestChange>> {
    let rows = sqlx::query_as!(
        RawChange,
        r#"
        SELECT
            f.path, f.sequence, f.content_id, f.mode, f.content_type,
            c.version_id AS "version_id?", c.content_hash AS "content_hash?", c.size AS "size?",
            c.obliterated AS "obliterated?"
        FROM file_changes f
        LEFT JOIN contents c ON c.id = f.content_id
        WHERE f.branch_id = $1 AND f.sequence > $2 AND f.superseded_by IS NULL
        ORDER BY f.path
        "#,
        branch_id,
        after_sequence,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(LatestChange::from).collect())
}

/// The latest change on a branch after a number, for those of the paths given that have one. The cost is that of the
/// paths, not of what the branch has changed.
///
/// # Errors
/// When the database cannot answer.
pub async fn latest_changes_of(
    executor: impl PgExecutor<'_>,
    branch_id: i64,
    after_sequence: i64,
    paths: &[String],
) -> Result<Vec<LatestChange>> {
    let rows = sqlx::query_as!(
        RawChange,
        r#"
        SELECT
            f.path AS "path!", f.sequence AS "sequence!", f.content_id, f.mode AS "mode!", f.content_type,
            c.version_id AS "version_id?", c.content_hash AS "content_hash?", c.size AS "size?",
            c.obliterated AS "obliterated?"
        FROM unnest($3::text[]) AS wanted (path)
        CROSS JOIN LATERAL (
            SELECT * FROM file_changes latest
            WHERE latest.branch_id = $1 AND latest.path = wanted.path COLLATE "C"
            ORDER BY latest.sequence DESC
            LIMIT 1
        ) f
        LEFT JOIN contents c ON c.id = f.content_id
        WHERE f.sequence > $2
        "#,
        branch_id,
        after_sequence,
        paths,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(LatestChange::from).collect())
}

/// A commit to replay, with its changes.
#[derive(Clone, Debug)]
pub struct ReplayCommit {
    /// The number.
    pub sequence: i64,
    /// The message.
    pub message: String,
    /// The author.
    pub author: String,
    /// Who brought it, when the author is somebody else.
    pub pushed_by: Option<String>,
    /// Where an imported commit came from.
    pub imported_from: Option<String>,
    /// What it changed, by path.
    pub changes: Vec<LatestChange>,
}

/// The commits of a branch after a number, ascending, with all their changes.
///
/// # Errors
/// When the database cannot answer.
pub async fn commits_to_replay(
    connection: &mut PgConnection,
    branch_id: i64,
    after_sequence: i64,
) -> Result<Vec<ReplayCommit>> {
    let commits = sqlx::query!(
        r#"
        SELECT sequence, message, author, pushed_by, imported_from
        FROM commits
        WHERE branch_id = $1 AND sequence > $2
        ORDER BY sequence
        "#,
        branch_id,
        after_sequence,
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut replay: Vec<ReplayCommit> = commits
        .into_iter()
        .map(|row| ReplayCommit {
            sequence: row.sequence,
            message: row.message,
            author: row.author,
            pushed_by: row.pushed_by,
            imported_from: row.imported_from,
            changes: Vec::new(),
        })
        .collect();
    let changes = sqlx::query_as!(
        RawChange,
        r#"
        SELECT
            f.path, f.sequence, f.content_id, f.mode, f.content_type,
            c.version_id AS "version_id?", c.content_hash AS "content_hash?", c.size AS "size?",
            c.obliterated AS "obliterated?"
        FROM file_changes f
        LEFT JOIN contents c ON c.id = f.content_id
        WHERE f.branch_id = $1 AND f.sequence > $2
        ORDER BY f.sequence, f.path
        "#,
        branch_id,
        after_sequence,
    )
    .fetch_all(connection)
    .await?;
    for row in changes {
        if let Ok(index) = replay.binary_search_by_key(&row.sequence, |commit| commit.sequence) {
            replay[index].changes.push(row.into());
        }
    }
    Ok(replay)
}
