//! Appending commits to branches: the one statement through which all history is written, whether by a commit, several
//! commits at once, a merge, a rebase or an import.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    CommitError, Error, Result,
    branches::{BranchRow, LockedBranch, SeenBranch},
    contents::{ContentColumns, ContentHash, ContentRow, NewContent, call_off_deletions, hash_of, placing_contents},
    event_log::NewEvent,
    idempotency::UsedKey,
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

/// What to append to one branch, which is locked already or is going to be by the statement.
#[derive(Clone, Copy, Debug)]
pub struct BranchAppend<'a, Branch = LockedBranch> {
    /// The branch.
    pub branch: &'a Branch,
    /// Where it starts from afterwards.
    pub footing: Footing,
    /// The commits, ascending.
    pub commits: &'a [NewCommit],
    /// The paths for which it matters what is in their way.
    pub created: &'a [&'a str],
}

impl<'a, Branch> BranchAppend<'a, Branch> {
    /// The same for the branch as it was seen.
    fn of_seen(&self, branch: &'a SeenBranch) -> BranchAppend<'a, SeenBranch> {
        let Self { branch: _, footing, commits, created } = *self;
        BranchAppend { branch, footing, commits, created }
    }
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
    /// Where a branch starts from already, the next commit being behind its head.
    #[must_use]
    pub fn of(seen: &SeenBranch) -> Self {
        let BranchRow { base_sequence, floor_sequence, head_sequence, .. } = seen.branch;
        Self { base_sequence, floor_sequence, parent_sequence: head_sequence }
    }
}

/// Stores contents, appends commits to locked branches of one repo, moves their heads, logs events, and notes which checks
/// the new heads have to have: one statement, whatever the number of branches, commits and files, one more when contents are
/// in the blob store, and one more for each branch when checks are required.
///
/// # Errors
/// When the database cannot answer; [`Error::Contention`] when a blob was deleted before it was
/// named.
pub async fn append_commits(
    connection: &mut PgConnection,
    repo_id: i64,
    branches: &[BranchAppend<'_>],
    brought: Brought<'_>,
) -> Result<Appended> {
    let contents = ContentColumns::of(brought.contents.iter().copied());
    let columns = Columns::of(branches.iter().map(|append| append.of_seen(append.branch)));
    if columns.commits.sequence.is_empty() {
        return Ok(Appended::default());
    }
    let found = append(connection, repo_id, &columns, &contents, brought.events, None).await?;
    let mut appended = Appended::default();
    let (mut requires_checks, mut keys) = (false, Vec::new());
    for row in found {
        appended.crowded = row.crowded;
        requires_checks = row.requires_checks;
        keys.extend(row.blob_key.clone());
        appended.contents.extend(row.content());
    }
    call_off_deletions(connection, &contents, keys).await?;
    if requires_checks {
        for append in branches {
            if let Some(last) = append.commits.last() {
                expect_checks(connection, append.branch, last.sequence).await?;
            }
        }
    }
    Ok(appended)
}

/// The conditions of [`append_unmoved`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// The contents that must not have been obliterated: all that the commits have.
    pub hashes: &'a [ContentHash],
    /// The keys that must not have been used, each once, with the answers that go under them.
    pub answers: &'a [(UsedKey<'a>, String)],
}

/// The same as [`append_commits`] for small commits without blobs, in a transaction of its own that is this one statement:
/// the branches are not locked before, but seen by [`look_at_branches`](crate::branches::look_at_branches), and nobody has said
/// anything against the commits. Where they have moved since, or a condition does not hold, nothing happens. Answers the
/// contents, in no order.
///
/// # Errors
/// [`CommitError::Refused`] when nothing happened, with [`Error::Contention`] when it is not as it was
/// seen; [`CommitError::Unknown`].
pub async fn append_unmoved(
    connection: &mut PgConnection,
    repo_id: i64,
    branches: &[BranchAppend<'_, SeenBranch>],
    brought: Brought<'_>,
    conditions: Conditions<'_>,
) -> Result<Vec<ContentRow>, CommitError> {
    let contents = ContentColumns::of(brought.contents.iter().copied());
    // What may be in the way was looked for before.
    let columns = Columns::of(branches.iter().map(|append| BranchAppend { created: &[], ..*append }));
    if columns.commits.sequence.is_empty() {
        return Ok(Vec::new());
    }
    let appended = append(connection, repo_id, &columns, &contents, brought.events, Some(conditions)).await;
    match appended.map_err(Error::from) {
        Ok(found) => Ok(found.into_iter().filter_map(FoundContent::content).collect()),
        Err(Error::Unavailable(source)) => Err(CommitError::Unknown(source)),
        Err(error) => Err(CommitError::Refused(error)),
    }
}

/// A row of what the statement answers: a content, and what is the same for all.
struct FoundContent {
    id: Option<i64>,
    content_hash: Option<Vec<u8>>,
    version_id: Option<Uuid>,
    size: Option<i64>,
    blob_key: Option<String>,
    requires_checks: bool,
    crowded: bool,
}

impl FoundContent {
    fn content(self) -> Option<ContentRow> {
        let hash = hash_of(&self.content_hash?);
        Some(ContentRow { id: self.id?, hash, version_id: self.version_id?, size: self.size? })
    }
}

/// The statement. With conditions it is a transaction, and locks the branches itself.
async fn append(
    connection: &mut PgConnection,
    repo_id: i64,
    Columns { heads, commits: rows, changes, around }: &Columns<'_>,
    contents: &ContentColumns<'_>,
    events: &[NewEvent],
    conditions: Option<Conditions<'_>>,
) -> Result<Vec<FoundContent>, sqlx::Error> {
    let events = crate::event_log::EventColumns::from(events);
    let locks = conditions.is_some();
    let Conditions { hashes, answers } = conditions.unwrap_or_default();
    let hashes: Vec<&[u8]> = hashes.iter().map(ContentHash::as_slice).collect();
    let answers = AnswerColumns::of(answers);
    placing_contents!(
        FoundContent,
        repo_id,
        contents,
        r#",
        given AS (
            SELECT *
            FROM unnest(
                $8::bigint[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[], $14::integer[],
                $15::text[], $16::uuid[], $17::boolean[]
            ) AS given (
                branch_id, path, sequence, superseded_by, content_id, content_hash, mode, content_type, change_id, may_supersede
            )
        ),
        superseded AS (
            UPDATE file_changes old
            SET superseded_by = given.sequence
            FROM given
            -- By its place: joined by its key, the planner may look through all that the path ever was, for each.
            WHERE given.may_supersede AND old.ctid = (
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
                FROM unnest($42::integer[], $43::text[], $44::text[]) AS around (place, low, high)
                -- On the branch, if it has commits, and on `main`.
                CROSS JOIN LATERAL (
                    VALUES (($53::bigint[])[around.place]), (nullif($45, ($37::bigint[])[around.place]))
                ) layer (branch_id)
                CROSS JOIN LATERAL (
                    SELECT FROM file_changes f
                    WHERE f.branch_id = layer.branch_id
                        AND f.path >= around.low COLLATE "C"
                        AND f.path <= around.high COLLATE "C"
                    ORDER BY f.path
                    LIMIT 1
                ) found
            ) AS "crowded!"
        -- Before anything else. Also when nothing was placed, there is an answer.
        FROM (
            SELECT CASE
                WHEN $46 THEN hold_unmoved($1, $37, $47, $38, $45 = ANY ($37), $48, $49, $50, $51, $52)
                ELSE true
            END AS held
        ) one
        LEFT JOIN placed ON one.held
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
        &changes.may_supersede,
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
        &around.place,
        &around.low,
        &around.high,
        heads.main_id,
        locks,
        &heads.seen_head_sequence,
        &hashes as &[&[u8]],
        &answers.identity as &[&str],
        &answers.key as &[&str],
        &answers.request_hash as &[&[u8]],
        &answers.answer as &[&str],
        &heads.own_layer as &[Option<i64>],
    )
    .fetch_all(connection)
    .await
}

/// What is appended, in columns.
#[derive(Default)]
struct Columns<'a> {
    heads: HeadColumns<'a>,
    commits: CommitColumns<'a>,
    changes: ChangeColumns<'a>,
    around: Surroundings,
}

impl<'a> Columns<'a> {
    fn of(branches: impl Iterator<Item = BranchAppend<'a, SeenBranch>>) -> Self {
        let mut columns = Self::default();
        for BranchAppend { branch: seen, footing, commits, created } in branches {
            let Some(last) = commits.last() else { continue };
            columns.heads.push(seen, footing, last);
            columns.around.push(columns.heads.branch_id.len().try_into().unwrap_or(i32::MAX), created);
            let mut parent = footing.parent_sequence;
            // Among these commits a change supersedes the one before it on the same path.
            let mut latest: HashMap<&str, usize> = HashMap::new();
            for commit in commits {
                columns.commits.push(seen.branch.id, footing, commit, parent);
                parent = commit.sequence;
                for change in &commit.changes {
                    let index = columns.changes.push(seen.branch.id, commit.sequence, change);
                    let before = latest.insert(&change.path, index);
                    if let Some(before) = before {
                        columns.changes.superseded_by[before] = Some(commit.sequence);
                    }
                    columns.changes.may_supersede.push(before.is_none() && seen.branch.has_commits());
                }
            }
        }
        columns
    }
}

/// Where a file would be in the way of new ones: ranges of paths, both ends included, each of somebody at a
/// place, counted from one.
#[derive(Default)]
pub(crate) struct Surroundings {
    pub(crate) place: Vec<i32>,
    pub(crate) low: Vec<String>,
    pub(crate) high: Vec<String>,
}

impl Surroundings {
    pub(crate) fn push(&mut self, place: i32, created: &[&str]) {
        let directories: BTreeSet<&str> = created.iter().copied().flat_map(directories_of).collect();
        for directory in directories {
            self.range(place, directory.to_owned(), directory.to_owned());
        }
        for path in created {
            // The character after the slash. A file that is called so is taken for one in the way, which costs a look.
            self.range(place, format!("{path}/"), format!("{path}0"));
        }
    }

    fn range(&mut self, place: i32, low: String, high: String) {
        self.place.push(place);
        self.low.push(low);
        self.high.push(high);
    }
}

/// Notes which checks the new head of a locked branch has to have. A requirement is made while the repo is locked alone
/// (`required_checks::require_check`), so all that were made before the lock are seen here and in [`append_commits`].
async fn expect_checks(connection: &mut PgConnection, locked: &LockedBranch, head_sequence: i64) -> Result<()> {
    sqlx::query!("SELECT expect_checks($1, $2, $3)::text AS done", locked.repo_id, locked.branch.id, head_sequence,)
        .fetch_all(connection)
        .await?;
    Ok(())
}

/// The directories that a path is in, from the top.
pub(crate) fn directories_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(index, _)| &path[..index])
}

#[derive(Default)]
struct HeadColumns<'a> {
    /// That of the repo.
    main_id: i64,
    branch_id: Vec<i64>,
    /// The branches again, where they have changes of their own.
    own_layer: Vec<Option<i64>>,
    seen_head_sequence: Vec<i64>,
    head_sequence: Vec<i64>,
    head_hash: Vec<&'a [u8]>,
    base_sequence: Vec<i64>,
    floor_sequence: Vec<i64>,
}

impl<'a> HeadColumns<'a> {
    fn push(&mut self, seen: &SeenBranch, footing: Footing, head: &'a NewCommit) {
        self.main_id = seen.main_id;
        self.branch_id.push(seen.branch.id);
        self.own_layer.push(seen.branch.has_commits().then_some(seen.branch.id));
        self.seen_head_sequence.push(seen.branch.head_sequence);
        self.head_sequence.push(head.sequence);
        self.head_hash.push(&head.commit_hash);
        self.base_sequence.push(footing.base_sequence);
        self.floor_sequence.push(footing.floor_sequence);
    }
}

#[derive(Default)]
struct AnswerColumns<'a> {
    identity: Vec<&'a str>,
    key: Vec<&'a str>,
    request_hash: Vec<&'a [u8]>,
    answer: Vec<&'a str>,
}

impl<'a> AnswerColumns<'a> {
    fn of(answers: &'a [(UsedKey<'a>, String)]) -> Self {
        let mut columns = Self::default();
        for (key, answer) in answers {
            columns.identity.push(key.identity);
            columns.key.push(key.key);
            columns.request_hash.push(key.request_hash);
            columns.answer.push(answer);
        }
        columns
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
    /// Whether there may be a change of the same path before these commits.
    may_supersede: Vec<bool>,
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
        self.path.len() - 1
    }
}
