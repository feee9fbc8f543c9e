//! The bare SQL that writes: a transaction that locks the branch and draws the number, because the hash of a commit needs
//! both, then one statement for all rows. Identical rows, constraints and indexes; contents are all new.

use anyhow::{Context, Result, ensure};
use rand::{RngExt, rngs::StdRng};
use sqlx::{Connection, PgConnection, Postgres, Row, Transaction};
use uuid::Uuid;

/// As long as the payload of a real event.
const PAYLOAD_BYTES: usize = 420;

/// Where commits go.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) repo_id: i64,
    pub(crate) branch: String,
}

/// One file of a commit.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

struct Locked {
    id: i64,
    head_sequence: i64,
    base_sequence: i64,
    floor_sequence: i64,
    next_sequence: i64,
}

async fn lock(transaction: &mut Transaction<'_, Postgres>, repo_id: i64, branch: &str) -> Result<Locked> {
    let row = sqlx::query(
        "SELECT id, head_sequence, base_sequence, floor_sequence, head_hash, status::text, nextval('commit_sequence')
         FROM branches
         WHERE repo_id = $1 AND name = $2 AND deleted_at IS NULL
         FOR NO KEY UPDATE",
    )
    .bind(repo_id)
    .bind(branch)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(Locked {
        id: row.try_get(0)?,
        head_sequence: row.try_get(1)?,
        base_sequence: row.try_get(2)?,
        floor_sequence: row.try_get(3)?,
        next_sequence: row.try_get(6)?,
    })
}

/// A payload, and a hash that nothing else has: computing real ones is the server's work, not the database's.
fn filler(random: &mut StdRng) -> (String, Vec<u8>) {
    ("x".repeat(PAYLOAD_BYTES), random.random::<[u8; 32]>().to_vec())
}

/// A commit of one file.
pub(crate) async fn commit_one(
    connection: &mut PgConnection,
    place: &Place,
    file: &File,
    random: &mut StdRng,
) -> Result<()> {
    let (payload, hash) = filler(random);
    let mut transaction = connection.begin().await?;
    let locked = lock(&mut transaction, place.repo_id, &place.branch).await?;
    let done = sqlx::query(
        "WITH content AS (
             INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
             VALUES ($1, $2, $3, length($4), 'bench@example.com')
             RETURNING id
         ),
         bytes AS (INSERT INTO content_bytes (content_id, bytes, content_hash) SELECT id, $4, $2 FROM content),
         superseded AS (
             UPDATE file_changes SET superseded_by = $5
             WHERE branch_id = $6 AND path = $7 AND superseded_by IS NULL AND content_id IS NOT NULL
         ),
         new_commit AS (
             INSERT INTO commits (
                 sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author,
                 created_at, commit_hash, file_count
             )
             VALUES ($5, $1, $6, $8, $9, $10, 'a change', 'bench@example.com', now(), $2, 1)
         ),
         new_change AS (
             INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
             SELECT $6, $7, $5, id, 33188, $11 FROM content
         ),
         logged AS (
             INSERT INTO event_log (event_id, subject, repo_id, type, payload)
             VALUES ($12, 'default/bench', $1, 'com.docstore.commit.created', $13)
         )
         UPDATE branches SET head_sequence = $5, head_hash = $2 WHERE id = $6",
    )
    .bind(place.repo_id)
    .bind(&hash)
    .bind(Uuid::new_v4())
    .bind(&file.bytes)
    .bind(locked.next_sequence)
    .bind(locked.id)
    .bind(&file.path)
    .bind(locked.head_sequence)
    .bind(locked.base_sequence)
    .bind(locked.floor_sequence)
    .bind(Uuid::new_v4())
    .bind(Uuid::new_v4())
    .bind(payload)
    .execute(&mut *transaction)
    .await?;
    ensure!(done.rows_affected() == 1, "the branch did not move");
    transaction.commit().await.context("the floor's commit")
}

/// A commit of many files.
pub(crate) async fn commit_many(
    connection: &mut PgConnection,
    place: &Place,
    files: &[File],
    random: &mut StdRng,
) -> Result<()> {
    let (payload, hash) = filler(random);
    let hashes: Vec<Vec<u8>> = files.iter().map(|_| random.random::<[u8; 32]>().to_vec()).collect();
    let versions: Vec<Uuid> = files.iter().map(|_| Uuid::new_v4()).collect();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let bytes: Vec<&[u8]> = files.iter().map(|file| file.bytes.as_slice()).collect();
    let mut transaction = connection.begin().await?;
    let locked = lock(&mut transaction, place.repo_id, &place.branch).await?;
    let done = sqlx::query(
        "WITH given AS MATERIALIZED (
             SELECT * FROM unnest($3::text[], $4::bytea[], $5::uuid[], $11::bytea[]) AS given (path, hash, version, bytes)
         ),
         content AS (
             INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
             SELECT $1, hash, version, length(bytes), 'bench@example.com' FROM given
             RETURNING id, content_hash
         ),
         bytes AS (
             INSERT INTO content_bytes (content_id, bytes, content_hash)
             SELECT content.id, given.bytes, given.hash FROM content JOIN given ON given.hash = content.content_hash
         ),
         superseded AS (
             UPDATE file_changes SET superseded_by = $6
             FROM given
             WHERE branch_id = $7 AND file_changes.path = given.path COLLATE \"C\"
                 AND superseded_by IS NULL AND content_id IS NOT NULL
         ),
         new_commit AS (
             INSERT INTO commits (
                 sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author,
                 created_at, commit_hash, file_count
             )
             VALUES ($6, $1, $7, $8, $9, $10, 'a change', 'bench@example.com', now(), $2, cardinality($3))
         ),
         new_changes AS (
             INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
             SELECT $7, given.path, $6, content.id, 33188, given.version
             FROM content JOIN given ON given.hash = content.content_hash
         ),
         logged AS (
             INSERT INTO event_log (event_id, subject, repo_id, type, payload)
             VALUES ($12, 'default/bench', $1, 'com.docstore.commit.created', $13)
         )
         UPDATE branches SET head_sequence = $6, head_hash = $2 WHERE id = $7",
    )
    .bind(place.repo_id)
    .bind(&hash)
    .bind(paths)
    .bind(hashes)
    .bind(&versions)
    .bind(locked.next_sequence)
    .bind(locked.id)
    .bind(locked.head_sequence)
    .bind(locked.base_sequence)
    .bind(locked.floor_sequence)
    .bind(bytes)
    .bind(Uuid::new_v4())
    .bind(payload)
    .execute(&mut *transaction)
    .await?;
    ensure!(done.rows_affected() == 1, "the branch did not move");
    transaction.commit().await.context("the floor's commit")
}

/// A merge of a branch into `main`: its changes are copied inside the database, though the hash of a real commit needs
/// them outside.
pub(crate) async fn merge(connection: &mut PgConnection, place: &Place, random: &mut StdRng) -> Result<()> {
    let (payload, hash) = filler(random);
    let mut transaction = connection.begin().await?;
    let main = lock(&mut transaction, place.repo_id, "main").await?;
    let branch = lock(&mut transaction, place.repo_id, &place.branch).await?;
    let done = sqlx::query(
        "WITH given AS MATERIALIZED (
             SELECT path, content_id, mode, content_type, gen_random_uuid() AS change_id
             FROM file_changes
             WHERE branch_id = $5 AND sequence > $6 AND superseded_by IS NULL
         ),
         superseded AS (
             UPDATE file_changes SET superseded_by = $3
             FROM given
             WHERE branch_id = $4 AND file_changes.path = given.path
                 AND superseded_by IS NULL AND file_changes.content_id IS NOT NULL
         ),
         new_commit AS (
             INSERT INTO commits (
                 sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author,
                 created_at, commit_hash, file_count
             )
             SELECT $3, $1, $4, $7, 0, 0, 'a merge', 'bench@example.com', now(), $2, count(*) FROM given
         ),
         new_changes AS (
             INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, content_type, change_id)
             SELECT $4, path, $3, content_id, mode, content_type, change_id FROM given
         ),
         logged AS (
             INSERT INTO event_log (event_id, subject, repo_id, type, payload)
             VALUES ($8, 'default/bench', $1, 'com.docstore.branch.merged', $9)
         ),
         merged AS (UPDATE branches SET status = 'merged' WHERE id = $5)
         UPDATE branches SET head_sequence = $3, head_hash = $2 WHERE id = $4",
    )
    .bind(place.repo_id)
    .bind(&hash)
    .bind(main.next_sequence)
    .bind(main.id)
    .bind(branch.id)
    .bind(branch.floor_sequence)
    .bind(main.head_sequence)
    .bind(Uuid::new_v4())
    .bind(payload)
    .execute(&mut *transaction)
    .await?;
    ensure!(done.rows_affected() == 1, "main did not move");
    transaction.commit().await.context("the floor's merge")
}

/// A branch at the head of `main`.
pub(crate) async fn create_branch(connection: &mut PgConnection, place: &Place) -> Result<()> {
    sqlx::query(
        "INSERT INTO branches (repo_id, name, head_sequence, base_sequence, floor_sequence, created_by)
         SELECT repo_id, $2, head_sequence, head_sequence, head_sequence, 'bench@example.com'
         FROM branches WHERE repo_id = $1 AND name = 'main' AND deleted_at IS NULL",
    )
    .bind(place.repo_id)
    .bind(&place.branch)
    .execute(connection)
    .await?;
    Ok(())
}
