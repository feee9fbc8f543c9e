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

/// Claims a key for the transaction, for a request about a repo or about none: a second request with the same key waits here until the first one ends, and then
/// finds its answer. Answers the stored answer, or nothing when the key is now ours.
///
/// # Errors
/// When the database cannot answer.
pub async fn claim_key(
    connection: &mut sqlx::PgConnection,
    repo_id: Option<i64>,
    key: UsedKey<'_>,
) -> Result<Option<StoredAnswer>> {
    if !claim_keys(connection, repo_id, &[key]).await?.is_empty() {
        return Ok(None);
    }
    // Gone between the two statements only when it was just forgotten for its age.
    let stored = stored_answer(connection, key.identity, key.key).await?;
    stored.map(Some).ok_or(Error::Contention(sqlx::Error::RowNotFound))
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

/// Claims keys for the transaction, each once, for requests about one repo or about none. Answers which of them are ours now, by their
/// index; the others were used before.
///
/// # Errors
/// When the database cannot answer.
pub async fn claim_keys(
    connection: &mut sqlx::PgConnection,
    repo_id: Option<i64>,
    keys: &[UsedKey<'_>],
) -> Result<Vec<usize>> {
    let identities: Vec<&str> = keys.iter().map(|key| key.identity).collect();
    let names: Vec<&str> = keys.iter().map(|key| key.key).collect();
    let hashes: Vec<&[u8]> = keys.iter().map(|key| key.request_hash).collect();
    let claimed = sqlx::query!(
        r#"
        WITH given AS MATERIALIZED (
            SELECT * FROM unnest($2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY
                AS given (identity, key, request_hash, place)
        ),
        claimed AS (
            INSERT INTO idempotency_keys (identity, key, request_hash, repo_id, answer)
            -- In one order, so that two such statements cannot wait for each other.
            SELECT identity, key, request_hash, $1, '' FROM given ORDER BY identity, key
            ON CONFLICT (identity, key) DO NOTHING
            RETURNING identity, key
        )
        SELECT given.place AS "place!" FROM given JOIN claimed USING (identity, key)
        "#,
        repo_id,
        &identities as &[&str],
        &names as &[&str],
        &hashes as &[&[u8]],
    )
    .fetch_all(connection)
    .await?;
    Ok(claimed.into_iter().filter_map(|row| usize::try_from(row.place - 1).ok()).collect())
}

/// Gives back claimed keys whose requests are done elsewhere.
///
/// # Errors
/// When the database cannot answer.
pub async fn release_keys(executor: impl PgExecutor<'_>, keys: &[UsedKey<'_>]) -> Result<()> {
    let identities: Vec<&str> = keys.iter().map(|key| key.identity).collect();
    let names: Vec<&str> = keys.iter().map(|key| key.key).collect();
    sqlx::query!(
        r#"
        DELETE FROM idempotency_keys k USING unnest($1::text[], $2::text[]) AS given (identity, key)
        WHERE k.identity = given.identity COLLATE "C" AND k.key = given.key COLLATE "C"
        "#,
        &identities as &[&str],
        &names as &[&str],
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Stores the answers under claimed keys.
///
/// # Errors
/// When the database cannot answer.
pub async fn store_answers(executor: impl PgExecutor<'_>, answers: &[(UsedKey<'_>, String)]) -> Result<()> {
    let identities: Vec<&str> = answers.iter().map(|(key, _)| key.identity).collect();
    let names: Vec<&str> = answers.iter().map(|(key, _)| key.key).collect();
    let texts: Vec<&str> = answers.iter().map(|(_, answer)| answer.as_str()).collect();
    sqlx::query!(
        r#"
        UPDATE idempotency_keys k SET answer = given.answer
        FROM unnest($1::text[], $2::text[], $3::text[]) AS given (identity, key, answer)
        WHERE k.identity = given.identity COLLATE "C" AND k.key = given.key COLLATE "C"
        "#,
        &identities as &[&str],
        &names as &[&str],
        &texts as &[&str],
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
