//! Contents: bytes, once per repo and hash.

use std::collections::HashSet;

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Error, Result};

/// SHA-256 of bytes.
pub type ContentHash = [u8; 32];

/// A content that a repo has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRow {
    /// The id inside.
    pub id: i64,
    /// The hash.
    pub hash: ContentHash,
    /// The id on the wire.
    pub version_id: Uuid,
    /// The length in bytes.
    pub size: i64,
}

/// Reads a hash out of a row. The column has a length check, so the fallback is never met.
pub(crate) fn hash_of(bytes: &[u8]) -> ContentHash {
    bytes.try_into().unwrap_or_default()
}

/// What a repo knows of hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundContents {
    /// The contents that it has, in no order.
    pub known: Vec<ContentRow>,
    /// Those that were obliterated, in no order: it takes them no more.
    pub obliterated: Vec<ContentHash>,
}

/// What the repo knows of the hashes.
///
/// # Errors
/// When the database cannot answer.
pub async fn find_contents(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    hashes: &[ContentHash],
) -> Result<FoundContents> {
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            wanted.hash AS "hash!", c.id AS "id?", c.version_id AS "version_id?", c.size AS "size?",
            EXISTS (
                SELECT FROM obliterations o WHERE o.repo_id = $1 AND o.content_hash = wanted.hash
            ) AS "obliterated!"
        FROM unnest($2::bytea[]) AS wanted (hash)
        LEFT JOIN contents c ON c.repo_id = $1 AND c.content_hash = wanted.hash
        "#,
        repo_id,
        &hashes,
    )
    .fetch_all(executor)
    .await?;
    let mut found = FoundContents::default();
    for row in rows {
        let hash = hash_of(&row.hash);
        match (row.obliterated, row.id, row.version_id, row.size) {
            (true, ..) => found.obliterated.push(hash),
            (false, Some(id), Some(version_id), Some(size)) => {
                found.known.push(ContentRow { id, hash, version_id, size });
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Where the bytes of a new content are.
#[derive(Clone, Debug)]
pub enum NewBytes {
    /// In the database.
    Inline(Vec<u8>),
    /// In the blob store, under a key that this content alone will ever name.
    Blob(String),
}

/// A content to store.
#[derive(Clone, Debug)]
pub struct NewContent {
    /// The hash.
    pub hash: ContentHash,
    /// The length in bytes.
    pub size: i64,
    /// The bytes.
    pub bytes: NewBytes,
    /// Who brings it.
    pub created_by: String,
}

impl NewContent {
    /// How many bytes go into the database.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        match &self.bytes {
            NewBytes::Inline(bytes) => bytes.len(),
            NewBytes::Blob(_) => 0,
        }
    }
}

/// Contents as columns of a statement.
#[derive(Default)]
pub(crate) struct ContentColumns<'a> {
    pub(crate) hash: Vec<&'a [u8]>,
    pub(crate) version_id: Vec<Uuid>,
    pub(crate) size: Vec<i64>,
    pub(crate) blob_key: Vec<Option<&'a str>>,
    pub(crate) bytes: Vec<Option<&'a [u8]>>,
    pub(crate) created_by: Vec<&'a str>,
}

impl<'a> ContentColumns<'a> {
    pub(crate) fn of(contents: impl IntoIterator<Item = &'a NewContent>) -> Self {
        let mut columns = Self::default();
        for content in contents {
            let (key, bytes) = match &content.bytes {
                NewBytes::Inline(bytes) => (None, Some(bytes.as_slice())),
                NewBytes::Blob(key) => (Some(key.as_str()), None),
            };
            columns.hash.push(&content.hash);
            columns.version_id.push(Uuid::new_v4());
            columns.size.push(content.size);
            columns.blob_key.push(key);
            columns.bytes.push(bytes);
            columns.created_by.push(&content.created_by);
        }
        columns
    }
}

/// A statement of a repo that is held, so that nothing is obliterated meanwhile, and that begins with storing contents,
/// each hash once. What follows finds them in `placed`, in no order: `id`, `content_hash`, `version_id`, `size`, and for
/// those that were not known before the `blob_key`. A content that another transaction stores at the same time is taken from
/// there. What was obliterated is not stored and not in `placed`. Whoever commits calls
/// [`call_off_deletions`] afterwards.
///
/// Parameters 1 to 7 are those of the contents; those of what follows begin at 8.
macro_rules! placing_contents {
    ($row:ident, $repo_id:expr, $contents:expr, $then:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $row,
            r#"
        WITH seen AS (
            SELECT given.*, known.id, known.version_id AS known_as, known.size AS known_size, marked.is_obliterated
            FROM unnest($2::text[], $3::bytea[], $4::uuid[], $5::bigint[], $6::text[])
                AS given (created_by, hash, new_version_id, new_size, blob_key)
            -- One by one: as long as the tables are young, the planner would look through all that the repo has.
            LEFT JOIN LATERAL (
                SELECT id, version_id, size
                FROM contents
                WHERE repo_id = $1 AND content_hash = given.hash
                LIMIT 1
                -- One that is being cleared away is waited for, and then stored anew.
                FOR KEY SHARE
            ) known ON true
            LEFT JOIN LATERAL (
                SELECT true AS is_obliterated FROM obliterations WHERE repo_id = $1 AND content_hash = given.hash LIMIT 1
            ) marked ON true
        ),
        stored AS (
            INSERT INTO contents (repo_id, content_hash, version_id, size, blob_key, created_by)
            SELECT $1, hash, new_version_id, new_size, blob_key, created_by
            FROM seen
            WHERE id IS NULL AND is_obliterated IS NULL
            ORDER BY hash
            -- The assignment changes nothing; it makes the row that another transaction stored meanwhile come back. It is to a
            -- column of no key: otherwise the row would be locked against those who know it already, and two who want what
            -- the other has would wait in a circle.
            ON CONFLICT (repo_id, content_hash) DO UPDATE SET created_by = contents.created_by
            RETURNING id, content_hash, version_id, size, blob_key
        ),
        inlined AS (
            INSERT INTO content_bytes (content_id, bytes, content_hash)
            SELECT stored.id, small.bytes, stored.content_hash
            FROM stored
            -- Only a row that was just made has the version id that was just drawn. The join is full, since the planner takes
            -- all arrays for short, and would compare each of a thousand contents with each for any other.
            FULL JOIN unnest($4::uuid[], $7::bytea[]) AS small (version_id, bytes)
                ON small.version_id = stored.version_id
            WHERE CASE WHEN stored.id IS NULL OR small.bytes IS NULL THEN false ELSE true END
        ),
        placed AS (
            SELECT id, hash AS content_hash, known_as AS version_id, known_size AS size, NULL AS blob_key
            FROM seen
            WHERE id IS NOT NULL AND is_obliterated IS NULL
            UNION ALL
            SELECT id, content_hash, version_id, size, blob_key FROM stored
        )
            "# + $then,
            $repo_id,
            &$contents.created_by as &[&str],
            &$contents.hash as &[&[u8]],
            &$contents.version_id,
            &$contents.size,
            &$contents.blob_key as &[Option<&str>],
            &$contents.bytes as &[Option<&[u8]>],
            $($argument),*
        )
    };
}
pub(crate) use placing_contents;

/// Calls off the deletions that were scheduled for blobs which contents name now, before anybody can see that. `placed` are
/// the keys that came back for `contents`.
///
/// # Errors
/// When the database cannot answer; [`Error::Contention`] when one is no longer scheduled, that is, when the blob was deleted
/// before it was named: the upload took longer than its blob may go unnamed, and has to be made again.
pub(crate) async fn call_off_deletions(
    connection: &mut PgConnection,
    contents: &ContentColumns<'_>,
    mut placed: Vec<String>,
) -> Result<()> {
    // Of a content that somebody else stored meanwhile, their blob is named.
    let ours: HashSet<&str> = contents.blob_key.iter().copied().flatten().collect();
    placed.retain(|key| ours.contains(key.as_str()));
    if placed.is_empty() {
        return Ok(());
    }
    let called_off =
        sqlx::query!("DELETE FROM blob_deletions WHERE blob_key = ANY ($1)", &placed).execute(connection).await?;
    if called_off.rows_affected() < placed.len() as u64 {
        return Err(Error::Contention(sqlx::Error::RowNotFound));
    }
    Ok(())
}

/// Stores contents of a repo that is held, each hash once. Answers all contents asked for, in no order, but for those that
/// were obliterated: they are not stored.
///
/// # Errors
/// When the database cannot answer; [`Error::Contention`] when a blob was deleted before it was named.
pub async fn store_contents(
    connection: &mut PgConnection,
    repo_id: i64,
    contents: &[NewContent],
) -> Result<Vec<ContentRow>> {
    struct Placed {
        id: i64,
        content_hash: Vec<u8>,
        version_id: Uuid,
        size: i64,
        blob_key: Option<String>,
    }
    let contents = ContentColumns::of(contents);
    let rows = placing_contents!(
        Placed,
        repo_id,
        contents,
        r#"
        SELECT
            id AS "id!", content_hash AS "content_hash!", version_id AS "version_id!", size AS "size!", blob_key
        FROM placed
        "#
    )
    .fetch_all(&mut *connection)
    .await?;
    let (mut placed, mut keys) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let hash = hash_of(&row.content_hash);
        placed.push(ContentRow { id: row.id, hash, version_id: row.version_id, size: row.size });
        keys.extend(row.blob_key);
    }
    call_off_deletions(connection, &contents, keys).await?;
    Ok(placed)
}

/// The bytes of a content, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredBytes {
    /// In the database.
    Inline(Vec<u8>),
    /// In the blob store, under this key.
    Blob(String),
    /// Nowhere: they were obliterated.
    Obliterated,
}

/// A content and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentBytes {
    /// The id inside.
    pub id: i64,
    /// The hash that the bytes must have.
    pub hash: ContentHash,
    /// The length in bytes.
    pub size: i64,
    /// The bytes.
    pub bytes: StoredBytes,
}

/// The bytes of contents, in no order.
///
/// # Errors
/// When the database cannot answer.
pub async fn content_bytes(executor: impl PgExecutor<'_>, ids: &[i64]) -> Result<Vec<ContentBytes>> {
    let rows = sqlx::query!(
        r#"
        SELECT
            c.id AS "id!", c.content_hash AS "content_hash!", c.size AS "size!", c.blob_key, b.bytes AS "bytes?",
            c.obliterated AS "obliterated!"
        FROM contents c
        LEFT JOIN content_bytes b ON b.content_id = c.id
        WHERE c.id = ANY ($1)
        "#,
        ids,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ContentBytes {
            id: row.id,
            hash: hash_of(&row.content_hash),
            size: row.size,
            bytes: stored_bytes(row.obliterated, row.blob_key, row.bytes),
        })
        .collect())
}

/// The bytes of those of the contents that are in the database, by id and in no order.
///
/// # Errors
/// When the database cannot answer.
pub async fn inline_bytes(executor: impl PgExecutor<'_>, ids: &[i64]) -> Result<Vec<(i64, Vec<u8>)>> {
    let rows = sqlx::query!("SELECT content_id, bytes FROM content_bytes WHERE content_id = ANY ($1)", ids)
        .fetch_all(executor)
        .await?;
    Ok(rows.into_iter().map(|row| (row.content_id, row.bytes)).collect())
}

pub(crate) fn stored_bytes(obliterated: bool, blob_key: Option<String>, bytes: Option<Vec<u8>>) -> StoredBytes {
    match blob_key {
        _ if obliterated => StoredBytes::Obliterated,
        Some(key) => StoredBytes::Blob(key),
        None => StoredBytes::Inline(bytes.unwrap_or_default()),
    }
}

/// Schedules the deletion of a blob that is about to be written, in case nothing ever names it.
///
/// # Errors
/// When the database cannot answer.
pub async fn schedule_blob_deletion(executor: impl PgExecutor<'_>, blob_key: &str, after_hours: i32) -> Result<()> {
    sqlx::query!(
        "INSERT INTO blob_deletions (blob_key, not_before) VALUES ($1, now() + make_interval(hours => $2))",
        blob_key,
        after_hours,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Makes the deletion of blobs due that was scheduled for later.
///
/// # Errors
/// When the database cannot answer.
pub async fn hasten_blob_deletions(executor: impl PgExecutor<'_>, blob_keys: &[String]) -> Result<()> {
    sqlx::query!("UPDATE blob_deletions SET not_before = now() WHERE blob_key = ANY ($1)", blob_keys)
        .execute(executor)
        .await?;
    Ok(())
}

/// Blobs whose deletion is due, at most so many, locked against other collectors until the transaction ends.
///
/// # Errors
/// When the database cannot answer.
pub async fn due_blob_deletions(connection: &mut PgConnection, limit: i64) -> Result<Vec<String>> {
    let rows = sqlx::query!(
        r#"
        SELECT blob_key FROM blob_deletions
        WHERE not_before <= now()
        ORDER BY not_before
        LIMIT $1
        FOR UPDATE SKIP LOCKED
        "#,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.blob_key).collect())
}

/// Strikes blobs that have been deleted off the list.
///
/// # Errors
/// When the database cannot answer.
pub async fn finish_blob_deletions(executor: impl PgExecutor<'_>, blob_keys: &[String]) -> Result<()> {
    sqlx::query!("DELETE FROM blob_deletions WHERE blob_key = ANY ($1)", blob_keys).execute(executor).await?;
    Ok(())
}

/// Remembers that a content was uploaded ahead of a commit. Answers whether the content is still there.
///
/// # Errors
/// When the database cannot answer.
pub async fn note_upload(executor: impl PgExecutor<'_>, content_id: i64) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        INSERT INTO uploaded_contents (content_id)
        -- One that is being cleared away is waited for, and is not there then.
        SELECT c.id FROM contents c WHERE c.id = $1 AND NOT c.obliterated FOR KEY SHARE
        ON CONFLICT (content_id) DO UPDATE SET uploaded_at = now()
        "#,
        content_id,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets uploads older than so many hours, at most so many, and deletes those contents that no commit took up; their
/// blobs go on the list of deletions. Answers how many uploads were looked at.
///
/// # Errors
/// When the database cannot answer.
pub async fn expire_uploads(connection: &mut PgConnection, older_than_hours: i32, limit: i64) -> Result<i64> {
    // Two statements: the second sees every commit that used one of the contents before it was locked, and nobody can use
    // it afterwards. What somebody is using is left to the next round, so that nobody waits in a circle.
    let expired = sqlx::query_scalar!(
        r#"
        SELECT u.content_id
        FROM uploaded_contents u
        JOIN contents c ON c.id = u.content_id
        WHERE u.uploaded_at < now() - make_interval(hours => $1)
        ORDER BY u.uploaded_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
        "#,
        older_than_hours,
        limit,
    )
    .fetch_all(&mut *connection)
    .await?;
    if expired.is_empty() {
        return Ok(0);
    }
    sqlx::query!(
        r#"
        WITH forgotten AS (
            DELETE FROM uploaded_contents WHERE content_id = ANY ($1)
        ),
        unused AS (
            DELETE FROM contents c
            WHERE c.id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM file_changes f WHERE f.content_id = c.id)
            RETURNING c.blob_key
        )
        INSERT INTO blob_deletions (blob_key, not_before)
        SELECT blob_key, now() FROM unused WHERE blob_key IS NOT NULL
        "#,
        &expired,
    )
    .execute(connection)
    .await?;
    Ok(i64::try_from(expired.len()).unwrap_or(limit))
}
