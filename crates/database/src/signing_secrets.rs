//! What signs webhooks: sealed, or in clear where it was not sealed yet (migration 13).

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{
    Result,
    secrets::{SealedColumns, reseal_in},
};

/// The layout of what stands there in clear: the value is the ciphertext, and there is no key.
pub const CLEAR_LAYOUT: i32 = 0;

/// What signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSigningSecret {
    /// The id of the secret.
    pub id: Uuid,
    /// The subscription.
    pub subscription_id: Uuid,
    /// The value.
    pub sealed: SealedColumns,
}

struct Row {
    id: Uuid,
    subscription_id: Uuid,
    layout: i32,
    ciphertext: Vec<u8>,
    nonce: Vec<u8>,
    encrypted_dek: Vec<u8>,
    kms_key_name: String,
}

impl From<Row> for StoredSigningSecret {
    fn from(row: Row) -> Self {
        let Row { id, subscription_id, layout, ciphertext, nonce, encrypted_dek, kms_key_name } = row;
        Self { id, subscription_id, sealed: SealedColumns { layout, ciphertext, nonce, encrypted_dek, kms_key_name } }
    }
}

/// What signs a subscription's deliveries: the secret of now, and during a rotation the one before it.
///
/// # Errors
/// When the database cannot answer.
pub async fn signing_secrets(
    executor: impl PgExecutor<'_>,
    subscription_id: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<StoredSigningSecret>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            id AS "id!", subscription_id AS "subscription_id!", layout AS "layout!", ciphertext AS "ciphertext!",
            nonce AS "nonce!", encrypted_dek AS "encrypted_dek!", kms_key_name AS "kms_key_name!"
        FROM signing_secrets
        WHERE subscription_id = $1 AND (signs_until IS NULL OR signs_until > $2)
        ORDER BY signs_until DESC NULLS FIRST
        LIMIT 2
        "#,
        subscription_id,
        now,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Gives a subscription that has none a secret to sign with.
///
/// # Errors
/// When the database cannot answer.
pub async fn add_signing_secret(executor: impl PgExecutor<'_>, secret: &StoredSigningSecret) -> Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO subscription_secrets (id, subscription_id, layout, ciphertext, nonce, encrypted_dek, kms_key_name)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        secret.id,
        secret.subscription_id,
        secret.sealed.layout,
        secret.sealed.ciphertext,
        secret.sealed.nonce,
        secret.sealed.encrypted_dek,
        secret.sealed.kms_key_name,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// Gives a subscription another secret. The one that it had signs beside it until then, and one before that no more. To be
/// called while the subscription's row is locked.
///
/// # Errors
/// When the database cannot answer.
pub async fn rotate_signing_secret(
    connection: &mut PgConnection,
    secret: &StoredSigningSecret,
    previous_until: DateTime<Utc>,
) -> Result<()> {
    move_clear_secrets(&mut *connection, Some(secret.subscription_id)).await?;
    sqlx::query!(
        "DELETE FROM subscription_secrets WHERE subscription_id = $1 AND signs_until IS NOT NULL",
        secret.subscription_id,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE subscription_secrets SET signs_until = $2 WHERE subscription_id = $1",
        secret.subscription_id,
        previous_until,
    )
    .execute(&mut *connection)
    .await?;
    add_signing_secret(connection, secret).await
}

/// Moves secrets, of one subscription or all, from where the last release kept them in clear to where they are sealed one
/// by one. They stay in clear. It is one statement, since there are few subscriptions.
///
/// # Errors
/// When the database cannot answer.
pub async fn move_clear_secrets(executor: impl PgExecutor<'_>, subscription_id: Option<Uuid>) -> Result<()> {
    sqlx::query!(
        r#"
        WITH before AS (
            SELECT id, secret, previous_secret, previous_secret_until
            FROM event_subscriptions
            WHERE (secret IS NOT NULL OR previous_secret IS NOT NULL) AND ($1::uuid IS NULL OR id = $1)
            FOR UPDATE
        ),
        moved AS (
            UPDATE event_subscriptions s
            SET secret = NULL, previous_secret = NULL, previous_secret_until = NULL
            FROM before
            WHERE s.id = before.id
            RETURNING before.*
        )
        INSERT INTO subscription_secrets
            (id, subscription_id, signs_until, layout, ciphertext, nonce, encrypted_dek, kms_key_name)
        SELECT gen_random_uuid(), id, NULL, 0, convert_to(secret, 'UTF8'), ''::bytea, ''::bytea, ''
        FROM moved
        WHERE secret IS NOT NULL
        UNION ALL
        SELECT gen_random_uuid(), id, previous_secret_until, 0, convert_to(previous_secret, 'UTF8'), ''::bytea, ''::bytea, ''
        FROM moved
        WHERE previous_secret IS NOT NULL AND previous_secret_until IS NOT NULL
        ON CONFLICT (subscription_id) WHERE signs_until IS NULL DO NOTHING
        "#,
        subscription_id,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// The next secrets of all subscriptions by id, for sealing them anew.
///
/// # Errors
/// When the database cannot answer.
pub async fn next_signing_secrets(
    executor: impl PgExecutor<'_>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StoredSigningSecret>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT id, subscription_id, layout, ciphertext, nonce, encrypted_dek, kms_key_name
        FROM subscription_secrets
        WHERE id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
        ORDER BY id
        LIMIT $2
        "#,
        after,
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Replaces a sealed secret by the same one, sealed anew, unless somebody did so meanwhile; answers whether it did.
///
/// # Errors
/// When the database cannot answer.
pub async fn reseal_signing_secret(
    executor: impl PgExecutor<'_>,
    before: &StoredSigningSecret,
    sealed: &SealedColumns,
) -> Result<bool> {
    Ok(reseal_in!(executor, "subscription_secrets", before.id, before.sealed, sealed))
}

/// Forgets secrets that no longer sign.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_signing_secrets(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64> {
    Ok(sqlx::query!("DELETE FROM subscription_secrets WHERE signs_until <= $1", now)
        .execute(executor)
        .await?
        .rows_affected())
}

/// How many secrets there are to sign with: in clear, and sealed.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_signing_secrets(executor: impl PgExecutor<'_>) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"
        SELECT
            count(*) FILTER (WHERE layout = 0) AS "clear!",
            count(*) FILTER (WHERE layout <> 0) AS "sealed!"
        FROM signing_secrets
        "#,
    )
    .fetch_one(executor)
    .await?;
    Ok((row.clear, row.sealed))
}
