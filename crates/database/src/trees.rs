//! Reading files and trees at a point of a branch.
//!
//! The tree of a branch is the branch's own changes above its floor, over `main` as of its base. Every change carries
//! the number that superseded it on its branch, so "as of n" is `sequence <= n AND (superseded_by IS NULL OR
//! superseded_by > n)`, and the head of `main` is a partial index in path order: a page of it costs the page, however
//! long the history is. `tree_point` (migration 1) finds base, floor and limit.

use chrono::{DateTime, Utc};
use docstore_models::{FileMode, MAIN_BRANCH};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use sqlx::{PgExecutor, types::Json};
use uuid::Uuid;

use crate::{
    Result,
    access::{RepoFacts, facts_of},
    contents::{ContentHash, StoredBytes, hash_of, stored_bytes},
    error::timestamp,
};

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeRow {
    /// The path.
    pub path: String,
    /// The content on the wire.
    pub version_id: Uuid,
    /// The hash of the bytes.
    pub hash: ContentHash,
    /// The length in bytes.
    pub size: i64,
    /// The mode.
    pub mode: FileMode,
    /// Whether the bytes were obliterated.
    pub obliterated: bool,
}

/// A file of a tree, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// The path.
    pub path: String,
    /// The hash of the bytes.
    pub hash: ContentHash,
    /// The length in bytes.
    pub size: i64,
    /// The mode.
    pub mode: FileMode,
    /// Whether the bytes were obliterated.
    pub obliterated: bool,
    /// The content inside.
    pub content_id: i64,
    /// The bytes, where they come with the file.
    pub bytes: Option<Vec<u8>>,
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
    /// Contents up to so many bytes come with the files.
    pub small_bytes_max: i32,
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

/// The files of a tree in bytewise order of their paths, each with its bytes if they are few and in the database. Streams:
/// memory does not grow with the tree.
pub fn tree<'e>(
    executor: impl PgExecutor<'e> + 'e,
    query: &TreeQuery<'_>,
) -> impl Stream<Item = Result<StoredFile>> + Send + 'e {
    sqlx::query!(
        r#"
        SELECT
            files.path AS "path!", files.content_id AS "content_id!", files.mode AS "mode!",
            small.content_hash AS "hash_of_bytes?", small.bytes AS "bytes?",
            c.content_hash AS "content_hash?", c.size AS "size?", c.obliterated AS "obliterated?"
        FROM tree_point($1, $2, $3) p
        CROSS JOIN LATERAL tree_files(
            p.branch_id, p.main_id, p.base_sequence, p.floor_sequence, p.upto_sequence, p.is_head, $4, $5, $6
        ) files
        -- Looked up one by one, so that the order of the files survives without another sort.
        LEFT JOIN LATERAL (
            SELECT content_hash, bytes FROM content_bytes
            WHERE content_id = files.content_id AND octet_length(bytes) <= $7
            OFFSET 0
        ) small ON true
        LEFT JOIN LATERAL (
            SELECT content_hash, size, obliterated FROM contents
            WHERE id = files.content_id AND small.content_hash IS NULL
            OFFSET 0
        ) c ON true
        "#,
        query.repo_id,
        query.branch.to_owned(),
        query.at,
        query.from.to_owned(),
        query.before.map(str::to_owned),
        query.limit,
        query.small_bytes_max,
    )
    .fetch(executor)
    .map(|row| {
        let row = row?;
        let hash = row.hash_of_bytes.or(row.content_hash).unwrap_or_default();
        let length = row.bytes.as_ref().and_then(|bytes| i64::try_from(bytes.len()).ok());
        Ok(StoredFile {
            path: row.path,
            hash: hash_of(&hash),
            size: length.or(row.size).unwrap_or_default(),
            mode: FileMode::from_i32(row.mode),
            obliterated: row.obliterated.unwrap_or_default(),
            content_id: row.content_id,
            bytes: row.bytes,
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
/// reads are, [`crate::access::facts_and_main_files`] asks for the right to it in the same round trip.
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
            c.version_id, c.content_hash, c.size, c.blob_key, c.obliterated, b.bytes AS "bytes?",
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
        bytes: stored_bytes(row.obliterated, row.blob_key, row.bytes),
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
) -> Result<Vec<StoredFile>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            asked.path AS "path!", f.content_id AS "content_id!", f.mode AS "mode!", c.content_hash, c.size, c.obliterated
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
    let files = rows.into_iter().map(|row| StoredFile {
        path: row.path,
        hash: hash_of(&row.content_hash),
        size: row.size,
        mode: FileMode::from_i32(row.mode),
        obliterated: row.obliterated,
        content_id: row.content_id,
        bytes: None,
    });
    Ok(files.collect())
}

/// A page as one row: the facts and the head, and the files in columns, which are null when there are none. The driver does
/// several times as much for a row as for an element of an array.
struct RawPage {
    found: Json<Found>,
    paths: Option<Vec<String>>,
    modes: Option<Vec<Option<i32>>>,
    version_ids: Option<Vec<Option<Uuid>>>,
    content_hashes: Option<Vec<Option<ContentHash>>>,
    sizes: Option<Vec<Option<i64>>>,
    obliterated: Option<Vec<Option<bool>>>,
}

/// What a page has of a file, or of one that stands for the directory that it is in.
struct RawFile {
    path: String,
    mode: Option<i32>,
    version_id: Option<Uuid>,
    content_hash: Option<ContentHash>,
    size: Option<i64>,
    obliterated: Option<bool>,
}

/// The columns of the SQL function `repo_facts`, and the head of the branch.
#[derive(Deserialize)]
struct Found {
    repo_id: i64,
    org_id: i64,
    name: String,
    created_at: DateTime<Utc>,
    created_by: String,
    explicit_role: Option<String>,
    org_role: Option<String>,
    has_admin: bool,
    head_sequence: Option<i64>,
}

impl RawPage {
    fn files(self) -> impl Iterator<Item = RawFile> {
        let paths = self.paths.unwrap_or_default().into_iter();
        let contents = self.version_ids.unwrap_or_default().into_iter().zip(self.content_hashes.unwrap_or_default());
        let sizes = self.sizes.unwrap_or_default().into_iter().zip(self.obliterated.unwrap_or_default());
        let files = paths.zip(self.modes.unwrap_or_default()).zip(contents).zip(sizes);
        files.map(|(((path, mode), (version_id, content_hash)), (size, obliterated))| RawFile {
            path,
            mode,
            version_id,
            content_hash,
            size,
            obliterated,
        })
    }

    /// The facts of a page and its entries.
    fn into_page<T>(self, entry: impl Fn(RawFile) -> Option<T>) -> (RepoFacts, Option<Page<T>>) {
        let found = &self.found.0;
        let facts = facts_of!(found);
        let page = found
            .head_sequence
            .map(|head_sequence| Page { head_sequence, entries: self.files().filter_map(entry).collect() });
        (facts, page)
    }
}

impl RawFile {
    /// A file of which all is there.
    fn file(self) -> Option<TreeRow> {
        Some(TreeRow {
            path: self.path,
            version_id: self.version_id?,
            hash: self.content_hash?,
            size: self.size?,
            mode: FileMode::from_i32(self.mode?),
            obliterated: self.obliterated?,
        })
    }
}

/// What part of a repo somebody wants to see.
#[derive(Clone, Copy, Debug)]
pub struct PageQuery<'a> {
    /// The full name of the repo.
    pub repo: &'a str,
    /// Who asks.
    pub identity: &'a str,
    /// The branch.
    pub branch: &'a str,
    /// The sequence, or the head.
    pub at: Option<i64>,
    /// Only what sorts behind this path; `""` for all.
    pub after: &'a str,
    /// At most so many.
    pub limit: i64,
}

impl PageQuery<'_> {
    fn is_head_of_main(&self) -> bool {
        self.branch == MAIN_BRANCH && self.at.is_none()
    }
}

/// A page of a tree or of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The head of the branch.
    pub head_sequence: i64,
    /// What is on the page.
    pub entries: Vec<T>,
}

/// The statement of a page. `found` selects the facts and where to read; `page` the paths on the page, in order.
///
/// The order survives what follows: the contents are looked up one by one, and no statement of ours runs in parallel.
macro_rules! facts_and_page {
    ([$($found:tt)+], [$($page:tt)+], $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            RawPage,
            "WITH found AS MATERIALIZED (" + $($found)+ + r#")
            SELECT to_json(found) AS "found!: Json<Found>", files.*
            FROM found
            CROSS JOIN LATERAL (
                SELECT
                    array_agg(page.path) AS paths, array_agg(page.mode) AS "modes: Vec<Option<i32>>",
                    array_agg(c.version_id) AS "version_ids: Vec<Option<Uuid>>",
                    array_agg(c.content_hash) AS "content_hashes: Vec<Option<ContentHash>>",
                    array_agg(c.size) AS "sizes: Vec<Option<i64>>", array_agg(c.obliterated) AS "obliterated: Vec<Option<bool>>"
                FROM ("# + $($page)+ + r#") page
                -- How long a page is cannot be guessed, and a guess too high would read all contents.
                LEFT JOIN LATERAL (
                    SELECT version_id, content_hash, size, obliterated FROM contents WHERE id = page.content_id OFFSET 0
                ) c ON true
            ) files
            "#,
            $($argument),+
        )
    };
}

/// Its page of a directory, of the files that `files` begins to call up: `found` has what it needs.
///
/// A step reads on from where the one before it ended: up to the first file in a subdirectory, behind which the next one
/// starts. As long as there is none, each reads four times as many files as the one before it, and not one more than the
/// page has room for: what is read in vain is at most three times what is shown.
macro_rules! facts_and_directory {
    ([$($found:tt)+], [$($files:tt)+], $($argument:expr),+ $(,)?) => {
        facts_and_page!(
            [$($found)+],
            [
                r#"
                WITH RECURSIVE start AS (
                    SELECT CASE
                        WHEN $3 = '' THEN $7
                        -- A control character follows nothing but the path itself, a zero everything below it.
                        WHEN NOT $4 AND EXISTS (SELECT 1 FROM "# + $($files)+ + r#" $3, $3 || chr(1), 1))
                        THEN greatest($3 || chr(1) COLLATE "C", $7)
                        ELSE greatest($3 || '0' COLLATE "C", $7)
                    END AS path
                ),
                step AS (
                    SELECT
                        start.path AS next, 1::bigint AS room, 0::bigint AS children,
                        NULL::text[] AS paths, NULL::bigint[] AS content_ids, NULL::integer[] AS modes
                    FROM start
                    UNION ALL
                    SELECT
                        CASE
                            WHEN seen.below IS NOT NULL
                            THEN $7 || split_part(seen.paths[seen.below], '/', $8) || '0'
                            WHEN seen.number = seen.room THEN seen.paths[seen.number] || chr(1)
                        END,
                        CASE WHEN seen.below IS NULL THEN 4 * step.room ELSE 1 END,
                        step.children + coalesce(seen.below, seen.number),
                        seen.paths[:coalesce(seen.below, seen.number)],
                        seen.content_ids[:coalesce(seen.below, seen.number)],
                        seen.modes[:coalesce(seen.below, seen.number)]
                    FROM step
                    CROSS JOIN LATERAL (
                        SELECT
                            array_agg(f.path) AS paths, array_agg(f.content_id) AS content_ids, array_agg(f.mode) AS modes,
                            count(*)::integer AS number, least(step.room, $5 - step.children) AS room,
                            -- The first one in a subdirectory.
                            array_position(array_agg(split_part(f.path, '/', $8 + 1) <> ''), true) AS below
                        FROM "# + $($files)+ + r#" step.next, $6, least(step.room, $5 - step.children)) f
                    ) seen
                    WHERE step.next IS NOT NULL AND step.children < $5 AND seen.number > 0
                )
                SELECT
                    child.path,
                    -- Of a subdirectory nothing is shown but its name.
                    CASE WHEN split_part(child.path, '/', $8 + 1) = '' THEN child.content_id END AS content_id,
                    child.mode
                FROM step
                CROSS JOIN LATERAL unnest(step.paths, step.content_ids, step.modes)
                    WITH ORDINALITY AS child (path, content_id, mode, place)
                ORDER BY step.children, child.place
                "#
            ],
            $($argument),+
        )
    };
}

/// The facts about a live repo and an identity, and a page of a tree of it, in one round trip; the page is for the caller to
/// give away only when the facts allow it. There is none when there is no such branch.
///
/// At the head of `main`, where most reads are, there are no layers, and the plan is the leanest.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_facts_and_tree_page(
    executor: impl PgExecutor<'_>,
    query: &PageQuery<'_>,
) -> Result<Option<(RepoFacts, Option<Page<TreeRow>>)>> {
    let after = behind(query.after);
    let row = if query.is_head_of_main() {
        facts_and_page!(
            ["SELECT r.*, m.id AS main_id, m.head_sequence
                FROM repo_facts($1, $2) r
                LEFT JOIN branches m ON m.repo_id = r.repo_id AND m.name = 'main' AND m.deleted_at IS NULL"],
            ["SELECT * FROM main_files(found.main_id, $3, NULL, $4)"],
            query.repo,
            query.identity,
            after,
            query.limit,
        )
        .fetch_optional(executor)
        .await?
    } else {
        facts_and_page!(
            ["SELECT r.*, p.*
                FROM repo_facts($1, $2) r
                LEFT JOIN LATERAL tree_point(r.repo_id, $5, $6) p ON true"],
            [r#"
                SELECT * FROM tree_files(
                    found.branch_id, found.main_id, found.base_sequence, found.floor_sequence, found.upto_sequence,
                    found.is_head, $3, NULL, $4
                )
                "#],
            query.repo,
            query.identity,
            after,
            query.limit,
            query.branch,
            query.at,
        )
        .fetch_optional(executor)
        .await?
    };
    Ok(row.map(|row| row.into_page(RawFile::file)))
}

/// The same with the children of a directory, `""` being the root. The cost is that of the children listed: from each
/// directory the walk jumps behind all that is in it.
///
/// What is in a directory `a` sorts behind `a.b`, but `a.b` sorts behind a file `a`. So an `after` with a slash at its end
/// was a directory, and one without was a file if there is one.
///
/// # Errors
/// When the database cannot answer.
pub async fn repo_facts_and_directory_page(
    executor: impl PgExecutor<'_>,
    query: &PageQuery<'_>,
    directory: &str,
) -> Result<Option<(RepoFacts, Option<Page<DirectoryRow>>)>> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let before = (!directory.is_empty()).then(|| behind_directory(directory));
    // Which part of their paths the names of the children are.
    let depth = i32::try_from(prefix.split('/').count()).unwrap_or(i32::MAX);
    let after = query.after.trim_end_matches('/');
    let after_directory = after != query.after;
    let row = if query.is_head_of_main() {
        facts_and_directory!(
            ["SELECT r.*, m.id AS main_id, m.head_sequence
                FROM repo_facts($1, $2) r
                LEFT JOIN branches m ON m.repo_id = r.repo_id AND m.name = 'main' AND m.deleted_at IS NULL"],
            ["main_files(found.main_id,"],
            query.repo,
            query.identity,
            after,
            after_directory,
            query.limit,
            before,
            prefix,
            depth,
        )
        .fetch_optional(executor)
        .await?
    } else {
        facts_and_directory!(
            ["SELECT r.*, p.*
                FROM repo_facts($1, $2) r
                LEFT JOIN LATERAL tree_point(r.repo_id, $9, $10) p ON true"],
            ["tree_files(
                    found.branch_id, found.main_id, found.base_sequence, found.floor_sequence, found.upto_sequence,
                    found.is_head,"],
            query.repo,
            query.identity,
            after,
            after_directory,
            query.limit,
            before,
            prefix,
            depth,
            query.branch,
            query.at,
        )
        .fetch_optional(executor)
        .await?
    };
    Ok(row.map(|row| row.into_page(|file| child_of(&prefix, file))))
}

/// The child of a directory in which a file is, at whatever depth.
fn child_of(prefix: &str, file: RawFile) -> Option<DirectoryRow> {
    match file.path.strip_prefix(prefix)?.split_once('/') {
        None => file.file().map(DirectoryRow::File),
        Some((name, _)) => Some(DirectoryRow::Directory(format!("{prefix}{name}"))),
    }
}

/// A child of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryRow {
    /// A file.
    File(TreeRow),
    /// A directory, by its full path without a slash at the end.
    Directory(String),
}
