//! Answers of writes that may be sent again.

use sqlx::PgExecutor;

use crate::{Error, Result};

/// The answer that a request got the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// SHA-256 of the request that got it.
    pub request_hash: Vec<u8>,
    /// The result of the operation, as JSON.
    pub answer: String,
}

/// A key that somebody uses for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedKey<'a> {
    /// Who.
    pub identity: &'a str,
    /// Their key.
    pub key: &'a str,
    /// SHA-256 of the request.
    pub request_hash: &'a [u8],
}

/// Claims a key for the transaction, for a request about a repo or about none: a second request with the same key waits here
/// until the first one ends, and then finds its answer. Answers the stored answer, or nothing when the key is now ours.
///
/// # Errors
/// When the database cannot answer.
pub async fn claim_key(
    connection: &mut sqlx::PgConnection,
    repo_id: Option<i64>,
    key: UsedKey<'_>,
) -> Result<Option<StoredAnswer>> {
    let claimed = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (identity, key, request_hash, repo_id, answer)
        VALUES ($1, $2, $3, $4, '')
        ON CONFLICT (identity, key) DO NOTHING
        "#,
        key.identity,
        key.key,
        key.request_hash,
        repo_id,
    )
    .execute(&mut *connection)
    .await?;
    if claimed.rows_affected() == 1 {
        return Ok(None);
    }
    // Gone between the two statements only when it was just forgotten for its age.
    let stored = stored_answer(connection, key.identity, key.key).await?;
    stored.map(Some).ok_or(Error::Contention(sqlx::Error::RowNotFound))
}

/// Stores the answer under a claimed key.
///
/// # Errors
/// When the database cannot answer.
pub async fn store_answer(executor: impl PgExecutor<'_>, key: UsedKey<'_>, answer: &str) -> Result<()> {
    sqlx::query!(
        "UPDATE idempotency_keys SET answer = $3 WHERE identity = $1 AND key = $2",
        key.identity,
        key.key,
        answer,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// The answer stored under a key.
///
/// # Errors
/// When the database cannot answer.
pub async fn stored_answer(executor: impl PgExecutor<'_>, identity: &str, key: &str) -> Result<Option<StoredAnswer>> {
    let row = sqlx::query!(
        "SELECT request_hash, answer FROM idempotency_keys WHERE identity = $1 AND key = $2",
        identity,
        key,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| StoredAnswer { request_hash: row.request_hash, answer: row.answer }))
}

/// Forgets answers that are older than the number of hours given, at most so many at a time; answers how many went.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_answers(executor: impl PgExecutor<'_>, older_than_hours: i32, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        r#"
        DELETE FROM idempotency_keys
        WHERE ctid IN (
            SELECT ctid FROM idempotency_keys WHERE created_at < now() - make_interval(hours => $1) LIMIT $2
        )
        "#,
        older_than_hours,
        limit,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}
