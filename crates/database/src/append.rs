//! Appending commits to branches: the one statement through which all history is written, whether by a commit, several
//! commits at once, a merge, a rebase or an import.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Result,
    branches::{BranchRow, LockedBranch},
    contents::{ContentColumns, ContentHash, ContentRow, NewContent, call_off_deletions, hash_of, placing_contents},
    event_log::NewEvent,
};

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
    /// What is in the file from now on.
    pub content: ChangedContent,
    /// The mode as a number.
    pub mode: i32,
    /// The media type.
    pub content_type: Option<String>,
}

/// What is in a file that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedContent {
    /// Nothing: it is deleted.
    Deleted,
    /// A content that the repo has, by its id inside.
    Stored(i64),
    /// One of those that are stored with the commits, by its hash.
    New(ContentHash),
}

impl From<Option<i64>> for ChangedContent {
    fn from(content_id: Option<i64>) -> Self {
        content_id.map_or(Self::Deleted, Self::Stored)
    }
}

/// What to append to one branch.
#[derive(Clone, Copy, Debug)]
pub struct BranchAppend<'a> {
    /// The branch.
    pub locked: &'a LockedBranch,
    /// Where it starts from afterwards.
    pub footing: Footing,
    /// The commits, ascending.
    pub commits: &'a [NewCommit],
    /// The paths for which it matters what is in their way.
    pub created: &'a [&'a str],
}

/// What comes with the commits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Brought<'a> {
    /// The contents, each hash once.
    pub contents: &'a [&'a NewContent],
    /// What to log.
    pub events: &'a [NewEvent],
}

/// What came of an append.
#[derive(Clone, Debug, Default)]
pub struct Appended {
    /// Those of the new contents that the repo has now, in no order. The others were obliterated: the transaction must not
    /// commit, since files that need them would be deleted by it.
    pub contents: Vec<ContentRow>,
    /// Whether one of the created paths may now be a file and a directory at once: whether a file was ever at one of its
    /// directories, or below it, on its branch or on `main`. Hardly ever is that so, and then
    /// [`files_in_the_way`](crate::commits::files_in_the_way) knows.
    pub crowded: bool,
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

impl Footing {
    /// Where a locked branch starts from already, the next commit being behind its head.
    #[must_use]
    pub fn of(locked: &LockedBranch) -> Self {
        let BranchRow { base_sequence, floor_sequence, head_sequence, .. } = locked.branch;
        Self { base_sequence, floor_sequence, parent_sequence: head_sequence }
    }
}

/// Stores contents, appends commits to locked branches of one repo, moves their heads, logs events, and notes which checks
/// the new heads have to have: one statement, whatever the number of branches, commits and files, one more when contents are
/// in the blob store, and one more for each branch when checks are required.
///
/// # Errors
/// When the database cannot answer; [`Error::Contention`](crate::Error::Contention) when a blob was deleted before it was
/// named.
pub async fn append_commits(
    connection: &mut PgConnection,
    repo_id: i64,
    branches: &[BranchAppend<'_>],
    Brought { contents, events }: Brought<'_>,
) -> Result<Appended> {
    let mut heads = HeadColumns::default();
    let mut rows = CommitColumns::default();
    let mut changes = ChangeColumns::default();
    let mut in_the_way = Surroundings::default();
    for append in branches {
        let Some(last) = append.commits.last() else { continue };
        let branch_id = append.locked.branch.id;
        heads.push(branch_id, append.footing, last);
        in_the_way.push(append.locked, append.created);
        let mut parent = append.footing.parent_sequence;
        // Among these commits a change supersedes the one before it on the same path.
        let mut latest: HashMap<&str, usize> = HashMap::new();
        for commit in append.commits {
            rows.push(branch_id, append.footing, commit, parent);
            parent = commit.sequence;
            for change in &commit.changes {
                let index = changes.push(branch_id, commit.sequence, change);
                if let Some(before) = latest.insert(&change.path, index) {
                    changes.superseded_by[before] = Some(commit.sequence);
                    changes.is_first[index] = false;
                }
            }
        }
    }
    if rows.sequence.is_empty() {
        return Ok(Appended::default());
    }
    let contents = ContentColumns::of(contents.iter().copied());
    let events = crate::event_log::EventColumns::from(events);
    let found = placing_contents!(
        repo_id,
        contents,
        r#",
        given AS (
            SELECT *
            FROM unnest(
                $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[], $14::integer[],
                $15::text[], $16::uuid[], $17::boolean[]
            ) AS given (
                branch_id, path, sequence, superseded_by, content_id, content_hash, mode, content_type, change_id, is_first
            )
        ),
        superseded AS (
            UPDATE file_changes old
            SET superseded_by = given.sequence
            FROM given
            -- By its place: joined by its key, the planner may look through all that the path ever was, for each.
            WHERE given.is_first AND old.ctid = (
                SELECT f.ctid
                FROM file_changes f
                WHERE f.branch_id = given.branch_id AND f.path = given.path COLLATE "C"
                ORDER BY f.sequence DESC
                LIMIT 1
            )
        ),
        new_commits AS (
            INSERT INTO commits (
                repo_id, branch_id, sequence, parent_sequence, base_sequence, floor_sequence, message, author,
                created_at, commit_hash, file_count, replayed_from, imported_from, pushed_by
            )
            SELECT $1, n.*
            FROM unnest(
                $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::text[], $24::text[],
                $25::timestamptz[], $26::bytea[], $27::bigint[], $28::bigint[], $29::text[], $30::text[]
            ) AS n (
                branch_id, sequence, parent_sequence, base_sequence, floor_sequence, message, author,
                created_at, commit_hash, file_count, replayed_from, imported_from, pushed_by
            )
        ),
        new_changes AS (
            INSERT INTO file_changes (
                branch_id, path, sequence, superseded_by, content_id, mode, content_type, change_id
            )
            SELECT
                given.branch_id, given.path, given.sequence, given.superseded_by,
                coalesce(given.content_id, placed.id), given.mode, given.content_type, given.change_id
            FROM given
            FULL JOIN placed ON placed.content_hash = given.content_hash
            -- A content without a file has none to go into. (See the contents for why the join is full.)
            WHERE CASE WHEN given.path IS NULL THEN false ELSE true END
        ),
        logged AS (
            INSERT INTO event_log (event_id, subject, repo_id, type, payload, audit)
            SELECT e.event_id, e.subject, e.repo_id, e.type, e.payload, e.audit
            FROM unnest($31::uuid[], $32::text[], $33::bigint[], $34::text[], $35::text[], $36::boolean[])
                AS e (event_id, subject, repo_id, type, payload, audit)
        ),
        moved AS (
            UPDATE branches b
            SET head_sequence = m.head_sequence, head_hash = m.head_hash,
                base_sequence = m.base_sequence, floor_sequence = m.floor_sequence
            FROM unnest($37::bigint[], $38::bigint[], $39::bytea[], $40::bigint[], $41::bigint[])
                AS m (branch_id, head_sequence, head_hash, base_sequence, floor_sequence)
            -- The second condition says nothing new, but what to look for in the index, however few branches there were when
            -- this was planned.
            WHERE b.id = m.branch_id AND b.id = ANY ($37)
        )
        SELECT
            placed.id AS "id?", placed.content_hash AS "content_hash?", placed.version_id AS "version_id?",
            placed.size AS "size?", placed.blob_key,
            EXISTS (SELECT 1 FROM required_checks r WHERE r.repo_id = $1) AS "requires_checks!",
            EXISTS (
                SELECT 1
                FROM unnest($42::bigint[], $43::text[], $44::text[]) AS asked (branch_id, low, high)
                CROSS JOIN LATERAL (
                    SELECT 1 FROM file_changes f
                    WHERE f.branch_id = asked.branch_id
                        AND f.path >= asked.low COLLATE "C"
                        AND f.path <= asked.high COLLATE "C"
                    ORDER BY f.path
                    LIMIT 1
                ) found
            ) AS "crowded!"
        -- Also when nothing was placed, there is an answer.
        FROM (SELECT) one
        LEFT JOIN placed ON true
        "#,
        &changes.branch_id,
        &changes.path as &[&str],
        &changes.sequence,
        &changes.superseded_by as &[Option<i64>],
        &changes.content_id as &[Option<i64>],
        &changes.content_hash as &[Option<&[u8]>],
        &changes.mode,
        &changes.content_type as &[Option<&str>],
        &changes.change_id,
        &changes.is_first,
        &rows.branch_id,
        &rows.sequence,
        &rows.parent_sequence,
        &rows.base_sequence,
        &rows.floor_sequence,
        &rows.message as &[&str],
        &rows.author as &[&str],
        &rows.created_at,
        &rows.commit_hash as &[&[u8]],
        &rows.file_count,
        &rows.replayed_from as &[Option<i64>],
        &rows.imported_from as &[Option<&str>],
        &rows.pushed_by as &[Option<&str>],
        &events.event_id,
        &events.subject as &[&str],
        &events.repo_id as &[Option<i64>],
        &events.event_type as &[&str],
        &events.payload as &[&str],
        &events.audit,
        &heads.branch_id,
        &heads.head_sequence,
        &heads.head_hash as &[&[u8]],
        &heads.base_sequence,
        &heads.floor_sequence,
        &in_the_way.branch_id,
        &in_the_way.low,
        &in_the_way.high,
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut appended = Appended::default();
    let (mut requires_checks, mut keys) = (false, Vec::new());
    for row in found {
        appended.crowded = row.crowded;
        requires_checks = row.requires_checks;
        if let (Some(id), Some(hash), Some(version_id), Some(size)) =
            (row.id, row.content_hash, row.version_id, row.size)
        {
            appended.contents.push(ContentRow { id, hash: hash_of(&hash), version_id, size });
        }
        keys.extend(row.blob_key);
    }
    call_off_deletions(connection, &contents, keys).await?;
    if requires_checks {
        for append in branches {
            if let Some(last) = append.commits.last() {
                expect_checks(connection, append.locked, last.sequence).await?;
            }
        }
    }
    Ok(appended)
}

/// Where a file would be in the way of new ones: ranges of paths, both ends included, each on a branch.
#[derive(Default)]
struct Surroundings {
    branch_id: Vec<i64>,
    low: Vec<String>,
    high: Vec<String>,
}

impl Surroundings {
    /// On the branch and on `main`.
    fn push(&mut self, locked: &LockedBranch, created: &[&str]) {
        let directories: BTreeSet<&str> = created.iter().copied().flat_map(directories_of).collect();
        let branches = [Some(locked.branch.id), Some(locked.main_id).filter(|main| *main != locked.branch.id)];
        for branch_id in branches.into_iter().flatten() {
            for directory in &directories {
                self.range(branch_id, (*directory).to_owned(), (*directory).to_owned());
            }
            for path in created {
                // The character after the slash. A file that is called so is taken for one in the way, which costs a look.
                self.range(branch_id, format!("{path}/"), format!("{path}0"));
            }
        }
    }

    fn range(&mut self, branch_id: i64, low: String, high: String) {
        self.branch_id.push(branch_id);
        self.low.push(low);
        self.high.push(high);
    }
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
struct HeadColumns<'a> {
    branch_id: Vec<i64>,
    head_sequence: Vec<i64>,
    head_hash: Vec<&'a [u8]>,
    base_sequence: Vec<i64>,
    floor_sequence: Vec<i64>,
}

impl<'a> HeadColumns<'a> {
    fn push(&mut self, branch_id: i64, footing: Footing, head: &'a NewCommit) {
        self.branch_id.push(branch_id);
        self.head_sequence.push(head.sequence);
        self.head_hash.push(&head.commit_hash);
        self.base_sequence.push(footing.base_sequence);
        self.floor_sequence.push(footing.floor_sequence);
    }
}

#[derive(Default)]
struct CommitColumns<'a> {
    branch_id: Vec<i64>,
    sequence: Vec<i64>,
    parent_sequence: Vec<i64>,
    base_sequence: Vec<i64>,
    floor_sequence: Vec<i64>,
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
    fn push(&mut self, branch_id: i64, footing: Footing, commit: &'a NewCommit, parent: i64) {
        self.branch_id.push(branch_id);
        self.sequence.push(commit.sequence);
        self.parent_sequence.push(parent);
        self.base_sequence.push(footing.base_sequence);
        self.floor_sequence.push(footing.floor_sequence);
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
    branch_id: Vec<i64>,
    path: Vec<&'a str>,
    sequence: Vec<i64>,
    superseded_by: Vec<Option<i64>>,
    content_id: Vec<Option<i64>>,
    content_hash: Vec<Option<&'a [u8]>>,
    mode: Vec<i32>,
    content_type: Vec<Option<&'a str>>,
    change_id: Vec<Uuid>,
    is_first: Vec<bool>,
}

impl<'a> ChangeColumns<'a> {
    fn push(&mut self, branch_id: i64, sequence: i64, change: &'a NewChange) -> usize {
        self.branch_id.push(branch_id);
        self.path.push(&change.path);
        self.sequence.push(sequence);
        self.superseded_by.push(None);
        let (id, hash) = match &change.content {
            ChangedContent::Deleted => (None, None),
            ChangedContent::Stored(id) => (Some(*id), None),
            ChangedContent::New(hash) => (None, Some(hash.as_slice())),
        };
        self.content_id.push(id);
        self.content_hash.push(hash);
        self.mode.push(change.mode);
        self.content_type.push(change.content_type.as_deref());
        self.change_id.push(Uuid::new_v4());
        self.is_first.push(true);
        self.path.len() - 1
    }
}
