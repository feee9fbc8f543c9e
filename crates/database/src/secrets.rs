//! Secrets of repos. What is here is sealed; who opens it is elsewhere.

use chrono::{DateTime, Utc};
use docstore_models::{BranchPattern, SecretMetadata};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::{Result, error::timestamp};

/// A sealed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedColumns {
    /// How it was sealed.
    pub layout: i32,
    /// The value.
    pub ciphertext: Vec<u8>,
    /// Its nonce.
    pub nonce: Vec<u8>,
    /// The data key.
    pub encrypted_dek: Vec<u8>,
    /// The key that sealed the data key.
    pub kms_key_name: String,
}

/// A secret to set.
#[derive(Clone, Debug)]
pub struct NewSecret<'a> {
    /// The repo.
    pub repo_id: i64,
    /// The name.
    pub name: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// The value.
    pub sealed: &'a SealedColumns,
    /// The length of the value.
    pub size_bytes: i32,
    /// Patterns of branches; those of before when absent, and `*` alone for all.
    pub branches: Option<&'a [String]>,
    /// Names of checks; those of before when absent, and `*` alone for all.
    pub checks: Option<&'a [String]>,
    /// Who sets it.
    pub identity: &'a str,
}

struct Row {
    id: Uuid,
    name: String,
    description: String,
    size_bytes: i32,
    branches: Option<Vec<String>>,
    checks: Option<Vec<String>>,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_by: Option<String>,
    updated_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<Row> for SecretMetadata {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            size_bytes: row.size_bytes,
            branches: row.branches.map(patterns),
            checks: row.checks,
            created_by: row.created_by,
            created_at: timestamp(row.created_at),
            updated_by: row.updated_by,
            updated_at: row.updated_at.map(timestamp),
            last_used_at: row.last_used_at.map(timestamp),
        }
    }
}

/// Patterns were checked when they were stored; one that this version cannot read matches nothing.
fn patterns(stored: Vec<String>) -> Vec<BranchPattern> {
    stored.into_iter().filter_map(|pattern| BranchPattern::parse(pattern).ok()).collect()
}

/// The secrets of a repo, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_secrets(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    after: &str,
    limit: Option<i64>,
) -> Result<Vec<SecretMetadata>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            id, name, description, size_bytes, branches, checks, created_by, created_at, updated_by, updated_at,
            last_used_at
        FROM repo_secrets
        WHERE repo_id = $1 AND name > $2
        ORDER BY name
        LIMIT $3
        "#,
        repo_id,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// How many secrets a repo has beside one of a name.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_other_secrets(executor: impl PgExecutor<'_>, repo_id: i64, name: &str) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM repo_secrets WHERE repo_id = $1 AND name <> $2"#,
        repo_id,
        name,
    )
    .fetch_one(executor)
    .await?)
}

/// Sets a secret; whether it is new shows in `updated_at`.
///
/// # Errors
/// When the database cannot answer.
pub async fn set_secret(executor: impl PgExecutor<'_>, new: &NewSecret<'_>) -> Result<SecretMetadata> {
    let row = sqlx::query_as!(
        Row,
        r#"
        INSERT INTO repo_secrets (
            id, repo_id, name, description, layout, ciphertext, nonce, encrypted_dek, kms_key_name, size_bytes,
            branches, checks, created_by
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nullif($11::text[], '{*}'), nullif($12::text[], '{*}'), $13)
        ON CONFLICT (repo_id, name) DO UPDATE
        SET
            description = excluded.description,
            layout = excluded.layout,
            ciphertext = excluded.ciphertext,
            nonce = excluded.nonce,
            encrypted_dek = excluded.encrypted_dek,
            kms_key_name = excluded.kms_key_name,
            size_bytes = excluded.size_bytes,
            -- Another value of a secret is for whom it was before.
            branches = CASE WHEN $11::text[] IS NULL THEN repo_secrets.branches ELSE excluded.branches END,
            checks = CASE WHEN $12::text[] IS NULL THEN repo_secrets.checks ELSE excluded.checks END,
            updated_by = excluded.created_by,
            updated_at = now()
        RETURNING
            id, name, description, size_bytes, branches, checks, created_by, created_at, updated_by, updated_at,
            last_used_at
        "#,
        Uuid::new_v4(),
        new.repo_id,
        new.name,
        new.description,
        new.sealed.layout,
        new.sealed.ciphertext,
        new.sealed.nonce,
        new.sealed.encrypted_dek,
        new.sealed.kms_key_name,
        new.size_bytes,
        new.branches,
        new.checks,
        new.identity,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.into())
}

/// Deletes a secret; answers its id.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_secret(executor: impl PgExecutor<'_>, repo_id: i64, name: &str) -> Result<Option<Uuid>> {
    Ok(sqlx::query_scalar!("DELETE FROM repo_secrets WHERE repo_id = $1 AND name = $2 RETURNING id", repo_id, name)
        .fetch_optional(executor)
        .await?)
}

/// A secret that somebody may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// The id.
    pub id: Uuid,
    /// The repo.
    pub repo_id: i64,
    /// The repo's full name.
    pub repo: String,
    /// The name.
    pub name: String,
    /// The value.
    pub sealed: SealedColumns,
    /// Patterns of branches.
    pub branches: Option<Vec<BranchPattern>>,
    /// Names of checks.
    pub checks: Option<Vec<String>>,
}

struct StoredRow {
    id: Uuid,
    repo_id: i64,
    repo: String,
    name: String,
    layout: i32,
    ciphertext: Vec<u8>,
    nonce: Vec<u8>,
    encrypted_dek: Vec<u8>,
    kms_key_name: String,
    branches: Option<Vec<String>>,
    checks: Option<Vec<String>>,
}

impl From<StoredRow> for StoredSecret {
    fn from(row: StoredRow) -> Self {
        let StoredRow { layout, ciphertext, nonce, encrypted_dek, kms_key_name, .. } = row;
        Self {
            id: row.id,
            repo_id: row.repo_id,
            repo: row.repo,
            name: row.name,
            sealed: SealedColumns { layout, ciphertext, nonce, encrypted_dek, kms_key_name },
            branches: row.branches.map(patterns),
            checks: row.checks,
        }
    }
}

/// The secrets of a live repo with these names.
///
/// # Errors
/// When the database cannot answer.
pub async fn stored_secrets(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    names: &[String],
) -> Result<Vec<StoredSecret>> {
    let rows = sqlx::query_as!(
        StoredRow,
        r#"
        SELECT
            s.id, s.repo_id, r.name AS repo, s.name, s.layout, s.ciphertext, s.nonce, s.encrypted_dek, s.kms_key_name,
            s.branches, s.checks
        FROM repo_secrets s
        JOIN repos r ON r.id = s.repo_id AND r.deleted_at IS NULL
        WHERE s.repo_id = $1 AND s.name = ANY ($2)
        "#,
        repo_id,
        names,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Notes that secrets were read.
///
/// # Errors
/// When the database cannot answer.
pub async fn note_use(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<()> {
    sqlx::query!("UPDATE repo_secrets SET last_used_at = now() WHERE id = ANY ($1)", ids).execute(executor).await?;
    Ok(())
}

/// The next secrets of all repos by id, for sealing them anew.
///
/// # Errors
/// When the database cannot answer.
pub async fn next_secrets(executor: impl PgExecutor<'_>, after: Option<Uuid>, limit: i64) -> Result<Vec<StoredSecret>> {
    let rows = sqlx::query_as!(
        StoredRow,
        r#"
        SELECT
            s.id, s.repo_id, r.name AS repo, s.name, s.layout, s.ciphertext, s.nonce, s.encrypted_dek, s.kms_key_name,
            s.branches, s.checks
        FROM repo_secrets s
        JOIN repos r ON r.id = s.repo_id
        WHERE s.id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
        ORDER BY s.id
        LIMIT $2
        "#,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Replaces a sealed value in a table by the same value, sealed anew, unless another one came meanwhile; whether it did.
macro_rules! reseal_in {
    ($executor:expr, $table:literal, $id:expr, $before:expr, $sealed:expr) => {
        sqlx::query!(
            "UPDATE "
                + $table
                + " SET layout = $2, ciphertext = $3, nonce = $4, encrypted_dek = $5, kms_key_name = $6"
                + " WHERE id = $1 AND ciphertext = $7 AND nonce = $8",
            $id,
            $sealed.layout,
            $sealed.ciphertext,
            $sealed.nonce,
            $sealed.encrypted_dek,
            $sealed.kms_key_name,
            $before.ciphertext,
            $before.nonce,
        )
        .execute($executor)
        .await?
        .rows_affected()
            == 1
    };
}
pub(crate) use reseal_in;

/// Replaces a sealed value by the same value, sealed anew, unless somebody set another one meanwhile; answers whether it did.
///
/// # Errors
/// When the database cannot answer.
pub async fn reseal(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    before: &SealedColumns,
    sealed: &SealedColumns,
) -> Result<bool> {
    Ok(reseal_in!(executor, "repo_secrets", id, before, sealed))
}

/// Who brought the commits that a branch has of its own at a sequence: their pushers, or else their authors.
///
/// # Errors
/// When the database cannot answer.
pub async fn pushers(executor: impl PgExecutor<'_>, branch_id: i64, sequence: i64) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"
        SELECT DISTINCT coalesce(c.pushed_by, c.author) AS "pusher!"
        FROM commits at
        JOIN commits c
            ON c.branch_id = at.branch_id AND c.sequence > at.floor_sequence AND c.sequence <= at.sequence
        WHERE at.branch_id = $1 AND at.sequence = $2
        "#,
        branch_id,
        sequence,
    )
    .fetch_all(executor)
    .await?)
}

/// Who opened a proposal of a branch, whatever became of it.
///
/// # Errors
/// When the database cannot answer.
pub async fn proposal_author(
    executor: impl PgExecutor<'_>,
    repo_id: i64,
    branch_id: i64,
    proposal_id: Uuid,
) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "SELECT author FROM proposals WHERE repo_id = $1 AND branch_id = $2 AND id = $3",
        repo_id,
        branch_id,
        proposal_id,
    )
    .fetch_optional(executor)
    .await?)
}
