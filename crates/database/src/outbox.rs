//! The outbox for whoever looks after a subscription: deliveries listed, looked at with their attempts, sent again, and
//! forgotten. How they leave is in `deliveries`.

use chrono::{DateTime, Utc};
use docstore_models::{Delivery, DeliveryAttempt, DeliveryState};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{Result, error::timestamp};

struct Row {
    id: Uuid,
    event_id: Uuid,
    event_type: String,
    position: Option<i64>,
    previous_position: Option<i64>,
    attempts: i32,
    created_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
    dead_at: Option<DateTime<Utc>>,
    next_attempt: DateTime<Utc>,
    last_error: Option<String>,
}

impl From<Row> for Delivery {
    fn from(row: Row) -> Self {
        let state = match (row.delivered_at, row.dead_at) {
            (Some(_), _) => DeliveryState::Delivered,
            (None, Some(_)) => DeliveryState::Dead,
            (None, None) => DeliveryState::Pending,
        };
        let waits = state == DeliveryState::Pending && row.attempts > 0;
        Self {
            id: row.id,
            event_id: row.event_id,
            event_type: row.event_type,
            position: row.position,
            previous_position: row.previous_position,
            state,
            attempts: row.attempts,
            created_at: timestamp(row.created_at),
            delivered_at: row.delivered_at.map(timestamp),
            dead_at: row.dead_at.map(timestamp),
            next_attempt: waits.then(|| timestamp(row.next_attempt)),
            last_error: row.last_error,
        }
    }
}

/// A page of a subscription's deliveries, newest first, behind the one with the id given. `None` when there is no such
/// delivery to start behind.
///
/// # Errors
/// When the database cannot answer.
pub async fn list_deliveries(
    connection: &mut PgConnection,
    subscription_id: Uuid,
    state: Option<DeliveryState>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Option<Vec<Delivery>>> {
    let before = match after {
        None => i64::MAX,
        Some(id) => {
            let found = sqlx::query_scalar!(
                "SELECT event_log_id FROM event_outbox WHERE subscription_id = $1 AND id = $2",
                subscription_id,
                id,
            )
            .fetch_optional(&mut *connection)
            .await?;
            match found {
                Some(event_log_id) => event_log_id,
                None => return Ok(None),
            }
        }
    };
    let state = state.map(|state| match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Dead => "dead",
    });
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            o.id, e.event_id, e.type AS event_type, e.position, o.previous_position, o.attempts, o.created_at,
            o.delivered_at, o.dead_at, o.next_attempt, o.last_error
        FROM event_outbox o
        JOIN event_log e ON e.id = o.event_log_id
        WHERE o.subscription_id = $1
            AND o.event_log_id < $2
            AND CASE $3::text
                WHEN 'pending' THEN o.delivered_at IS NULL AND o.dead_at IS NULL
                WHEN 'delivered' THEN o.delivered_at IS NOT NULL
                WHEN 'dead' THEN o.delivered_at IS NULL AND o.dead_at IS NOT NULL
                ELSE true
            END
        ORDER BY o.event_log_id DESC
        LIMIT $4
        "#,
        subscription_id,
        before,
        state,
        limit,
    )
    .fetch_all(connection)
    .await?;
    Ok(Some(rows.into_iter().map(Into::into).collect()))
}

/// One delivery of a subscription, with its attempts and its payload.
///
/// # Errors
/// When the database cannot answer.
pub async fn delivery(
    connection: &mut PgConnection,
    subscription_id: Uuid,
    id: Uuid,
    attempts_max: i64,
) -> Result<Option<(Delivery, Vec<DeliveryAttempt>, String)>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            o.id, e.event_id, e.type AS event_type, e.position, o.previous_position, o.attempts, o.created_at,
            o.delivered_at, o.dead_at, o.next_attempt, o.last_error
        FROM event_outbox o
        JOIN event_log e ON e.id = o.event_log_id
        WHERE o.subscription_id = $1 AND o.id = $2
        "#,
        subscription_id,
        id,
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let payload = sqlx::query_scalar!(
        "SELECT e.payload FROM event_outbox o JOIN event_log e ON e.id = o.event_log_id WHERE o.id = $1",
        id,
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut history = sqlx::query!(
        r#"
        SELECT started_at, duration_ms, status, error
        FROM delivery_attempts
        WHERE delivery_id = $1
        ORDER BY id DESC
        LIMIT $2
        "#,
        id,
        attempts_max,
    )
    .fetch_all(connection)
    .await?;
    history.reverse();
    let history = history.into_iter().map(|row| DeliveryAttempt {
        started_at: timestamp(row.started_at),
        duration_ms: row.duration_ms,
        status: row.status,
        error: row.error,
    });
    Ok(Some((row.into(), history.collect(), payload)))
}

/// Queues one delivery again, whatever became of it; answers whether it is there.
///
/// # Errors
/// When the database cannot answer.
pub async fn redeliver(
    executor: impl PgExecutor<'_>,
    subscription_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE event_outbox
        SET attempts = 0, delivered_at = NULL, dead_at = NULL, last_error = NULL, next_attempt = $3, created_at = $3
        WHERE subscription_id = $1 AND id = $2
        "#,
        subscription_id,
        id,
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Queues every event since a time that a subscription is about, oldest first, at most so many: also those of while it
/// was suspended, and those that were delivered before. Answers how many were queued; those that are pending anyway count
/// as well.
///
/// # Errors
/// When the database cannot answer.
pub async fn redeliver_since(
    executor: impl PgExecutor<'_>,
    subscription_id: Uuid,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"
        WITH wanted AS (
            SELECT e.id
            FROM event_subscriptions s
            JOIN event_log e
                ON (s.repo_id IS NULL OR s.repo_id = e.repo_id)
                AND (s.event_types IS NULL OR e.type = ANY (s.event_types))
            WHERE s.id = $1 AND e.created_at >= $2
            ORDER BY e.created_at, e.id
            LIMIT $4
            -- Before the deliveries that refer to it: whoever deletes it begins there too.
            FOR KEY SHARE OF s
        ),
        queued AS (
            INSERT INTO event_outbox (id, event_log_id, subscription_id, created_at, next_attempt)
            SELECT gen_random_uuid(), id, $1, $3, $3 FROM wanted
            ON CONFLICT (subscription_id, event_log_id) DO UPDATE
            SET
                attempts = 0, delivered_at = NULL, dead_at = NULL, last_error = NULL,
                next_attempt = excluded.next_attempt, created_at = excluded.created_at
            RETURNING 1 AS one
        )
        SELECT count(*) AS "count!" FROM queued
        "#,
        subscription_id,
        since,
        now,
        limit,
    )
    .fetch_one(executor)
    .await?)
}

/// Deletes deliveries that nobody asks about any more, oldest first, and says how many: delivered ones after some days,
/// and all others, of suspended subscriptions too, after some more.
///
/// # Errors
/// When the database cannot answer.
pub async fn forget_deliveries(
    executor: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    delivered_days: i32,
    other_days: i32,
    limit: i64,
) -> Result<u64> {
    Ok(sqlx::query!(
        r#"
        DELETE FROM event_outbox
        WHERE id IN (
            SELECT id
            FROM event_outbox
            WHERE created_at < $1::timestamptz - make_interval(days => least($2::int, $3::int))
                AND (
                    created_at < $1::timestamptz - make_interval(days => $3)
                    OR delivered_at < $1::timestamptz - make_interval(days => $2)
                )
            ORDER BY created_at
            LIMIT $4
            FOR UPDATE SKIP LOCKED
        )
        "#,
        now,
        delivered_days,
        other_days,
        limit,
    )
    .execute(executor)
    .await?
    .rows_affected())
}
