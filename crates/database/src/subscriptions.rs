//! Subscriptions to events.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use docstore_models::{MASKED_SECRET, Subscription};
use sqlx::{PgConnection, PgExecutor, types::Json};
use uuid::Uuid;

use crate::{Result, error::timestamp};

/// A subscription to create.
#[derive(Clone, Debug)]
pub struct NewSubscription<'a> {
    /// Its id.
    pub id: Uuid,
    /// The repo; `None` for all events.
    pub repo_id: Option<i64>,
    /// Full event types; `None` for all.
    pub event_types: Option<&'a [String]>,
    /// Everything but the secret.
    pub config: &'a BTreeMap<String, String>,
    /// Who creates it.
    pub created_by: &'a str,
}

/// A subscription, and what the wire does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// As it is shown, with a masked secret.
    pub shown: Subscription,
    /// The repo inside.
    pub repo_id: Option<i64>,
}

struct Row {
    id: Uuid,
    repo_id: Option<i64>,
    repo: Option<String>,
    event_types: Option<Vec<String>>,
    backend: String,
    config: Json<BTreeMap<String, String>>,
    has_secret: bool,
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    created_by: String,
    suspended_at: Option<DateTime<Utc>>,
    suspended_reason: Option<String>,
    failure_count: i32,
}

impl From<Row> for StoredSubscription {
    fn from(row: Row) -> Self {
        let mut config = row.config.0;
        if row.has_secret {
            config.insert("secret".to_owned(), MASKED_SECRET.to_owned());
        }
        Self {
            shown: Subscription {
                id: row.id,
                repo: row.repo,
                event_types: row.event_types,
                backend: row.backend,
                config,
                created_at: timestamp(row.created_at),
                created_by: row.created_by,
                suspended_at: row.suspended_at.map(timestamp),
                failure_count: row.failure_count,
                suspended_reason: row.suspended_reason,
                previous_secret_until: row.previous_secret_until.map(timestamp),
            },
            repo_id: row.repo_id,
        }
    }
}

/// Creates a subscription and its turn.
///
/// # Errors
/// When the database cannot answer.
pub async fn create_subscription(executor: impl PgExecutor<'_>, new: &NewSubscription<'_>) -> Result<()> {
    sqlx::query!(
        r#"
        WITH created AS (
            INSERT INTO event_subscriptions (id, repo_id, event_types, backend, config, created_by)
            VALUES ($1, $2, $3, 'webhook', $4, $5)
            RETURNING id
        )
        INSERT INTO delivery_turns (subscription_id) SELECT id FROM created
        "#,
        new.id,
        new.repo_id,
        new.event_types,
        Json(new.config) as _,
        new.created_by,
    )
    .execute(executor)
    .await?;
    Ok(())
}

/// How many subscriptions a repo has, or how many there are to all events.
///
/// # Errors
/// When the database cannot answer.
pub async fn count_subscriptions(executor: impl PgExecutor<'_>, repo_id: Option<i64>) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM event_subscriptions WHERE repo_id IS NOT DISTINCT FROM $1"#,
        repo_id,
    )
    .fetch_one(executor)
    .await?)
}

/// One subscription.
///
/// # Errors
/// When the database cannot answer.
pub async fn subscription(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<StoredSubscription>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            s.id, s.repo_id, r.name AS "repo?", s.event_types, s.backend,
            s.config AS "config: Json<BTreeMap<String, String>>",
            EXISTS (
                SELECT FROM signing_secrets k WHERE k.subscription_id = s.id AND k.signs_until IS NULL
            ) AS "has_secret!",
            (
                SELECT max(k.signs_until) FROM signing_secrets k WHERE k.subscription_id = s.id AND k.signs_until > $2
            ) AS previous_secret_until,
            s.created_at, s.created_by, s.suspended_at, s.suspended_reason, s.failure_count
        FROM event_subscriptions s
        LEFT JOIN repos r ON r.id = s.repo_id
        WHERE s.id = $1
        "#,
        id,
        now,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(Into::into))
}

/// Which subscriptions to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whose<'a> {
    /// Only those that this person or an agent of theirs created; `None` for everybody's.
    pub person: Option<&'a str>,
    /// Only those that this identity itself created.
    pub created_by: Option<&'a str>,
    /// Only those to these repos.
    pub repos: Option<&'a [i64]>,
}

/// Subscriptions, oldest first, behind the one with the id given.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_subscriptions(
    executor: impl PgExecutor<'_>,
    whose: Whose<'_>,
    after: Option<Uuid>,
    limit: Option<i64>,
    now: DateTime<Utc>,
) -> Result<Vec<Subscription>> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            s.id AS "id!", s.repo_id, r.name AS "repo?", s.event_types, s.backend AS "backend!",
            s.config AS "config!: Json<BTreeMap<String, String>>",
            EXISTS (
                SELECT FROM signing_secrets k WHERE k.subscription_id = s.id AND k.signs_until IS NULL
            ) AS "has_secret!",
            (
                SELECT max(k.signs_until) FROM signing_secrets k WHERE k.subscription_id = s.id AND k.signs_until > $4
            ) AS previous_secret_until,
            s.created_at AS "created_at!", s.created_by AS "created_by!", s.suspended_at, s.suspended_reason,
            s.failure_count AS "failure_count!"
        FROM (
            -- One of the two runs: a plan for both ways of asking would go through everybody's.
            SELECT * FROM event_subscriptions WHERE $1::text IS NULL
            UNION ALL
            SELECT * FROM event_subscriptions WHERE regexp_replace(created_by, '^agent:[^/]*/', '') = $1
        ) s
        LEFT JOIN repos r ON r.id = s.repo_id
        WHERE ($6::text IS NULL OR s.created_by = $6)
            AND ($5::bigint[] IS NULL OR s.repo_id = ANY ($5))
            AND (
                $2::uuid IS NULL
                OR (s.created_at, s.id) > (SELECT f.created_at, f.id FROM event_subscriptions f WHERE f.id = $2)
            )
        ORDER BY s.created_at, s.id
        LIMIT $3
        "#,
        whose.person,
        after,
        limit,
        now,
        whose.repos as Option<&[i64]>,
        whose.created_by,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| StoredSubscription::from(row).shown).collect())
}

/// What a subscription becomes. `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionChange<'a> {
    /// Where to send.
    pub url: Option<&'a str>,
    /// Event types; `Some(None)` for all.
    pub event_types: Option<Option<&'a [String]>>,
}

/// Changes a subscription; answers whether it is there.
///
/// # Errors
/// When the database cannot answer.
pub async fn update_subscription(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    change: &SubscriptionChange<'_>,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE event_subscriptions
        SET
            config = CASE WHEN $2::text IS NULL THEN config ELSE config || jsonb_build_object('url', $2::text) END,
            event_types = CASE WHEN $3 THEN $4 ELSE event_types END
        WHERE id = $1
        "#,
        id,
        change.url,
        change.event_types.is_some(),
        change.event_types.flatten() as Option<&[String]>,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a subscription with its deliveries; answers whether it was there.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_subscription(connection: &mut PgConnection, id: Uuid) -> Result<bool> {
    let locked = sqlx::query_scalar!("SELECT id FROM event_subscriptions WHERE id = $1 FOR UPDATE", id)
        .fetch_all(&mut *connection)
        .await?;
    delete_locked(connection, &locked).await
}

/// Deletes all subscriptions to a repo with their deliveries.
///
/// # Errors
/// When the database cannot answer.
pub async fn delete_subscriptions_of_repo(connection: &mut PgConnection, repo_id: i64) -> Result<()> {
    let locked =
        sqlx::query_scalar!("SELECT id FROM event_subscriptions WHERE repo_id = $1 ORDER BY id FOR UPDATE", repo_id,)
            .fetch_all(&mut *connection)
            .await?;
    delete_locked(connection, &locked).await?;
    Ok(())
}

/// Deletes locked subscriptions. Whoever delivers locks the turn and then the delivery; the cascade alone would begin with
/// the deliveries, and both would wait in a circle.
async fn delete_locked(connection: &mut PgConnection, ids: &[Uuid]) -> Result<bool> {
    sqlx::query!(
        "SELECT FROM delivery_turns WHERE subscription_id = ANY ($1) ORDER BY subscription_id FOR UPDATE",
        ids,
    )
    .execute(&mut *connection)
    .await?;
    let done = sqlx::query!("DELETE FROM event_subscriptions WHERE id = ANY ($1)", ids).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

/// Lets a subscription go on at once, and forgets its failures; answers whether it is there.
///
/// # Errors
/// When the database cannot answer.
pub async fn resume_subscription(executor: impl PgExecutor<'_>, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        WITH resumed AS (
            UPDATE event_subscriptions
            SET suspended_at = NULL, suspended_reason = NULL, failure_count = 0
            WHERE id = $1
            RETURNING id
        )
        UPDATE delivery_turns SET next_attempt = $2, failures = 0 FROM resumed WHERE subscription_id = resumed.id
        "#,
        id,
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stops a subscription, unless it is stopped already; answers whether this did it. What is queued stays queued, and
/// events from now on are not.
///
/// # Errors
/// When the database cannot answer.
pub async fn suspend_subscription(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE event_subscriptions
        SET suspended_at = $3, suspended_reason = $2, failure_count = failure_count + 1
        WHERE id = $1 AND suspended_at IS NULL
        "#,
        id,
        reason,
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}
