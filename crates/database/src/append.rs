//! Appending commits to a branch: the one statement through which all history is written, whether by a commit, a
//! merge, a rebase or an import.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Result, branches::LockedBranch, event_log::NewEvent};

/// Draws numbers for new commits, ascending. Drawn under the lock, they are higher than all numbers on the branch.
///
/// # Errors
/// When the database cannot answer.
pub async fn draw_sequences(connection: &mut PgConnection, _lock: &LockedBranch, count: usize) -> Result<Vec<i64>> {
    let rows = sqlx::query!(
        r#"SELECT nextval('commit_sequence') AS "sequence!" FROM generate_series(1, $1)"#,
        i32::try_from(count).unwrap_or(i32::MAX),
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.sequence).collect())
}

/// A commit to append.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// The number, drawn under the branch's lock.
    pub sequence: i64,
    /// The message.
    pub message: String,
    /// The author.
    pub author: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The hash in the branch's chain.
    pub commit_hash: Vec<u8>,
    /// The commit that this one replays.
    pub replayed_from: Option<i64>,
    /// Where an imported commit came from.
    pub imported_from: Option<String>,
    /// Who brought it, when the author is somebody else.
    pub pushed_by: Option<String>,
    /// What it changes, each path once.
    pub changes: Vec<NewChange>,
}

/// A change of a file to append.
#[derive(Clone, Debug)]
pub struct NewChange {
    /// The path.
    pub path: String,
    /// The content inside; none deletes the file.
    pub content_id: Option<i64>,
    /// The mode as a number.
    pub mode: i32,
    /// The media type.
    pub content_type: Option<String>,
}

/// Where the branch starts from after the append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footing {
    /// The head of `main` that it starts from.
    pub base_sequence: i64,
    /// Own changes up to here are no longer part of the tree.
    pub floor_sequence: i64,
    /// What comes before the first of the new commits.
    pub parent_sequence: i64,
}

/// Appends commits to a locked branch, moves its head, logs events, and notes which checks the new head has to have: one
/// statement, whatever the number of files, and one more when checks are required.
///
/// Answers whether one of the `created` paths may now be a file and a directory at once: whether a file was ever at one
/// of its directories, or below it, on the branch or on `main`. Hardly ever is that so, and then
/// [`files_in_the_way`](crate::commits::files_in_the_way) knows.
///
/// # Errors
/// When the database cannot answer.
pub async fn append_commits(
    connection: &mut PgConnection,
    locked: &LockedBranch,
    footing: Footing,
    commits: &[NewCommit],
    created: &[&str],
    events: &[NewEvent],
) -> Result<bool> {
    let Some(last) = commits.last() else { return Ok(false) };
    let directories: BTreeSet<&str> = created.iter().copied().flat_map(directories_of).collect();
    let directories: Vec<&str> = directories.into_iter().collect();
    let mut rows = CommitColumns::default();
    let mut changes = ChangeColumns::default();
    let mut parent = footing.parent_sequence;
    // Within the batch a change supersedes the one before it on the same path.
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for commit in commits {
        rows.push(commit, parent);
        parent = commit.sequence;
        for change in &commit.changes {
            let index = changes.push(commit.sequence, change);
            if let Some(before) = latest.insert(&change.path, index) {
                changes.superseded_by[before] = Some(commit.sequence);
                changes.is_first[index] = false;
            }
        }
    }
    let events = crate::event_log::EventColumns::from(events);
    let found = sqlx::query!(
        r#"
        WITH given AS (
            SELECT *
            FROM unnest(
                $14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::integer[], $19::text[], $20::uuid[],
                $21::boolean[]
            ) AS given (path, sequence, superseded_by, content_id, mode, content_type, change_id, is_first)
        ),
        superseded AS (
            UPDATE file_changes old
            SET superseded_by = given.sequence
            FROM given
            CROSS JOIN LATERAL (
                SELECT f.sequence
                FROM file_changes f
                WHERE f.branch_id = $1 AND f.path = given.path COLLATE "C"
                ORDER BY f.sequence DESC
                LIMIT 1
            ) latest
            WHERE given.is_first
                AND old.branch_id = $1
                AND old.path = given.path COLLATE "C"
                AND old.sequence = latest.sequence
        ),
        new_commits AS (
            INSERT INTO commits (
                sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author,
                created_at, commit_hash, file_count, replayed_from, imported_from, pushed_by
            )
            SELECT
                n.sequence, $2, $1, n.parent_sequence, $3, $4, n.message, n.author,
                n.created_at, n.commit_hash, n.file_count, n.replayed_from, n.imported_from,
                n.pushed_by
            FROM unnest(
                $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::timestamptz[], $10::bytea[], $11::bigint[],
                $12::bigint[], $13::text[], $29::text[]
            ) AS n (
                sequence, parent_sequence, message, author, created_at, commit_hash, file_count, replayed_from,
                imported_from, pushed_by
            )
        ),
        new_changes AS (
            INSERT INTO file_changes (
                branch_id, path, sequence, superseded_by, content_id, mode, content_type, change_id
            )
            SELECT $1, path, sequence, superseded_by, content_id, mode, content_type, change_id FROM given
        ),
        logged AS (
            INSERT INTO event_log (event_id, subject, repo_id, type, payload, audit)
            SELECT e.event_id, e.subject, e.repo_id, e.type, e.payload, e.audit
            FROM unnest($22::uuid[], $23::text[], $24::bigint[], $25::text[], $26::text[], $31::boolean[])
                AS e (event_id, subject, repo_id, type, payload, audit)
        ),
        moved AS (
            UPDATE branches
            SET head_sequence = $27, head_hash = $28, base_sequence = $3, floor_sequence = $4
            WHERE id = $1
        )
        SELECT
            EXISTS (SELECT 1 FROM required_checks r WHERE r.repo_id = $2) AS "requires_checks!",
            EXISTS (
                SELECT 1
                FROM unnest(ARRAY[$1, (SELECT id FROM branches WHERE repo_id = $2 AND name = 'main' AND deleted_at IS NULL)])
                    AS line (branch_id)
                CROSS JOIN unnest($30::text[]) AS asked (directory)
                CROSS JOIN LATERAL (
                    SELECT 1 FROM file_changes f
                    WHERE f.branch_id = line.branch_id AND f.path = asked.directory COLLATE "C"
                    LIMIT 1
                ) found
            ) OR EXISTS (
                SELECT 1
                FROM unnest(ARRAY[$1, (SELECT id FROM branches WHERE repo_id = $2 AND name = 'main' AND deleted_at IS NULL)])
                    AS line (branch_id)
                CROSS JOIN unnest($32::text[]) AS asked (path)
                CROSS JOIN LATERAL (
                    SELECT 1 FROM file_changes f
                    WHERE f.branch_id = line.branch_id
                        AND f.path >= (asked.path || '/') COLLATE "C"
                        AND f.path < (asked.path || '0') COLLATE "C"
                    ORDER BY f.path
                    LIMIT 1
                ) found
            ) AS "crowded!"
        "#,
        locked.branch.id,
        locked.repo_id,
        footing.base_sequence,
        footing.floor_sequence,
        &rows.sequence,
        &rows.parent_sequence,
        &rows.message as &[&str],
        &rows.author as &[&str],
        &rows.created_at,
        &rows.commit_hash as &[&[u8]],
        &rows.file_count,
        &rows.replayed_from as &[Option<i64>],
        &rows.imported_from as &[Option<&str>],
        &changes.path as &[&str],
        &changes.sequence,
        &changes.superseded_by as &[Option<i64>],
        &changes.content_id as &[Option<i64>],
        &changes.mode,
        &changes.content_type as &[Option<&str>],
        &changes.change_id,
        &changes.is_first,
        &events.event_id,
        &events.subject as &[&str],
        &events.repo_id as &[Option<i64>],
        &events.event_type as &[&str],
        &events.payload as &[&str],
        last.sequence,
        last.commit_hash,
        &rows.pushed_by as &[Option<&str>],
        &directories as &[&str],
        &events.audit,
        created as &[&str],
    )
    .fetch_one(&mut *connection)
    .await?;
    if found.requires_checks {
        expect_checks(connection, locked, last.sequence).await?;
    }
    Ok(found.crowded)
}

/// Notes which checks the new head of a locked branch has to have. A requirement is made while the repo is locked alone
/// (`required_checks::require_check`), so all that were made before the lock are seen here and in [`append_commits`].
async fn expect_checks(connection: &mut PgConnection, locked: &LockedBranch, head_sequence: i64) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO check_runs (id, repo_id, branch_id, sequence, check_name, state, reporter)
        SELECT DISTINCT ON (r.check_name) gen_random_uuid(), $1, $2, $3, r.check_name, 'expected', 'system'
        FROM required_checks r
        WHERE r.repo_id = $1 AND branch_matches($4, r.branch_pattern)
        ON CONFLICT DO NOTHING
        "#,
        locked.repo_id,
        locked.branch.id,
        head_sequence,
        locked.branch.name,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The directories that a path is in, from the top.
pub(crate) fn directories_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(index, _)| &path[..index])
}

#[derive(Default)]
struct CommitColumns<'a> {
    sequence: Vec<i64>,
    parent_sequence: Vec<i64>,
    message: Vec<&'a str>,
    author: Vec<&'a str>,
    created_at: Vec<DateTime<Utc>>,
    commit_hash: Vec<&'a [u8]>,
    file_count: Vec<i64>,
    replayed_from: Vec<Option<i64>>,
    imported_from: Vec<Option<&'a str>>,
    pushed_by: Vec<Option<&'a str>>,
}

impl<'a> CommitColumns<'a> {
    fn push(&mut self, commit: &'a NewCommit, parent: i64) {
        self.sequence.push(commit.sequence);
        self.parent_sequence.push(parent);
        self.message.push(&commit.message);
        self.author.push(&commit.author);
        self.created_at.push(commit.created_at);
        self.commit_hash.push(&commit.commit_hash);
        self.file_count.push(i64::try_from(commit.changes.len()).unwrap_or(i64::MAX));
        self.replayed_from.push(commit.replayed_from);
        self.imported_from.push(commit.imported_from.as_deref());
        self.pushed_by.push(commit.pushed_by.as_deref());
    }
}

#[derive(Default)]
struct ChangeColumns<'a> {
    path: Vec<&'a str>,
    sequence: Vec<i64>,
    superseded_by: Vec<Option<i64>>,
    content_id: Vec<Option<i64>>,
    mode: Vec<i32>,
    content_type: Vec<Option<&'a str>>,
    change_id: Vec<Uuid>,
    is_first: Vec<bool>,
}

impl<'a> ChangeColumns<'a> {
    fn push(&mut self, sequence: i64, change: &'a NewChange) -> usize {
        self.path.push(&change.path);
        self.sequence.push(sequence);
        self.superseded_by.push(None);
        self.content_id.push(change.content_id);
        self.mode.push(change.mode);
        self.content_type.push(change.content_type.as_deref());
        self.change_id.push(Uuid::new_v4());
        self.is_first.push(true);
        self.path.len() - 1
    }
}
