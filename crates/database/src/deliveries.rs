//! The outbox on its way out: deliveries and attempts (migration 9).
//!
//! **Invariant: a subscription gets its deliveries in the order of the log.** Whoever delivers to a subscription holds its
//! turn (`delivery_turns`), alone. It gives positions to the deliveries whose events have theirs, and takes pending ones by position
//! ([`next_deliveries`]). Positions of events become visible in order (see `event_log`), so behind what was placed nothing
//! lower can appear, but for what somebody asked to have again.
//!
//! **Invariant: nothing is lost.** A row is pending until an answer was recorded for it by the holder of the turn. A process
//! that dies in between loses its turn when it runs out, and the next holder sends again: at least once.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

/// Where a subscription's deliveries go.
#[derive(Clone)]
pub struct Target {
    /// The URL, as it was given.
    pub url: String,
    /// Who created the subscription.
    pub created_by: String,
    /// The repo; `None` for all events.
    pub repo_id: Option<i64>,
    /// Its full name.
    pub repo: Option<String>,
}

/// Where a subscription's deliveries go.
///
/// # Errors
/// When the database cannot answer.
pub async fn target(executor: impl PgExecutor<'_>, subscription_id: Uuid) -> Result<Option<Target>> {
    Ok(sqlx::query_as!(
        Target,
        r#"
        SELECT coalesce(s.config ->> 'url', '') AS "url!", s.created_by, s.repo_id, r.name AS "repo?"
        FROM event_subscriptions s
        LEFT JOIN repos r ON r.id = s.repo_id
        WHERE s.id = $1
        "#,
        subscription_id,
    )
    .fetch_optional(executor)
    .await?)
}

/// A delivery whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    /// The delivery.
    pub id: Uuid,
    /// How often it was tried.
    pub attempts: i32,
    /// Its place in the log.
    pub position: i64,
    /// The place of the one before it.
    pub previous_position: Option<i64>,
    /// The id of the event.
    pub event_id: Uuid,
    /// The envelope, as it is sent.
    pub payload: String,
}

/// Bounds of what is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBounds {
    /// The most deliveries that get their positions.
    pub placed_rows_max: i64,
    /// The most deliveries.
    pub rows_max: i64,
    /// The bytes of their payloads; at least one delivery is read, however large.
    pub bytes_max: i64,
}

/// Gives positions to pending deliveries whose events have theirs, and reads the next ones, in order. Only for the holder of
/// the turn; for anybody else there is nothing.
///
/// # Errors
/// When the database cannot answer.
pub async fn next_deliveries(
    executor: impl PgExecutor<'_>,
    subscription_id: Uuid,
    holder: Uuid,
    bounds: BatchBounds,
) -> Result<Vec<DueDelivery>> {
    Ok(sqlx::query_as!(
        DueDelivery,
        r#"
        WITH turn AS (
            -- Locked before any delivery, as whoever records an attempt or deletes the subscription does.
            SELECT last_position FROM delivery_turns WHERE subscription_id = $1 AND holder = $2 FOR NO KEY UPDATE
        ),
        fresh AS (
            SELECT o.id, e.position
            FROM turn, event_outbox o
            JOIN event_log e ON e.id = o.event_log_id AND e.position IS NOT NULL
            WHERE o.subscription_id = $1 AND o.position IS NULL AND o.delivered_at IS NULL AND o.dead_at IS NULL
            ORDER BY e.position
            LIMIT $3
        ),
        numbered AS (
            SELECT
                fresh.id, fresh.position,
                coalesce(
                    lag(fresh.position) OVER (ORDER BY fresh.position),
                    CASE WHEN turn.last_position < fresh.position THEN turn.last_position END
                ) AS previous
            FROM fresh, turn
        ),
        placed AS (
            UPDATE event_outbox o
            SET position = numbered.position, previous_position = numbered.previous
            FROM numbered
            WHERE o.id = numbered.id
            RETURNING o.id, o.attempts, o.position, o.previous_position, o.event_log_id
        ),
        moved AS (
            UPDATE delivery_turns
            SET last_position = greatest(last_position, highest.position)
            FROM (SELECT max(position) AS position FROM numbered) highest
            WHERE subscription_id = $1 AND holder = $2 AND highest.position IS NOT NULL
        ),
        -- What is being placed still shows as it was before: it comes from there alone.
        due AS (
            (
                SELECT id, attempts, position, previous_position, event_log_id
                FROM event_outbox
                WHERE subscription_id = $1 AND delivered_at IS NULL AND dead_at IS NULL AND position IS NOT NULL
                    AND EXISTS (SELECT FROM turn)
                ORDER BY position
                LIMIT $4
            )
            UNION ALL
            SELECT id, attempts, position, previous_position, event_log_id FROM placed
            ORDER BY position
            LIMIT $4
        )
        SELECT
            id AS "id!", attempts AS "attempts!", position AS "position!", previous_position, event_id AS "event_id!",
            payload AS "payload!"
        FROM (
            SELECT
                due.id, due.attempts, due.position, due.previous_position, e.event_id, e.payload,
                sum(octet_length(e.payload)) OVER (ORDER BY due.position) - octet_length(e.payload) AS bytes_before
            FROM due
            JOIN event_log e ON e.id = due.event_log_id
        ) sized
        WHERE bytes_before < $5
        ORDER BY position
        "#,
        subscription_id,
        holder,
        bounds.placed_rows_max,
        bounds.rows_max,
        bounds.bytes_max,
    )
    .fetch_all(executor)
    .await?)
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: i64,
    /// The status of the answer.
    pub status: Option<i32>,
    /// Why it failed; `None` when it was delivered.
    pub error: Option<&'a str>,
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered {
        /// The new end of the turn; `None` when it ends with this delivery.
        held_until: Option<DateTime<Utc>>,
    },
    /// It is tried again at a time, and the turn ends.
    Again {
        /// When.
        at: DateTime<Utc>,
    },
    /// It is given up, and the turn ends.
    Dead,
}

/// Records an attempt and what follows, unless the turn was lost meanwhile: then `false`, and nothing is recorded, since
/// whoever has it now sends the same again.
///
/// # Errors
/// When the database cannot answer.
pub async fn record_attempt(
    executor: impl PgExecutor<'_>,
    subscription_id: Uuid,
    holder: Uuid,
    delivery_id: Uuid,
    attempt: Attempt<'_>,
    verdict: Verdict,
    now: DateTime<Utc>,
) -> Result<bool> {
    let (delivered, held_until, again_at, dead) = match verdict {
        Verdict::Delivered { held_until } => (true, held_until, None, false),
        Verdict::Again { at } => (false, None, Some(at), false),
        Verdict::Dead => (false, None, None, true),
    };
    let row = sqlx::query!(
        r#"
        WITH turn AS (
            UPDATE delivery_turns
            SET
                held_until = $4,
                holder = CASE WHEN $4::timestamptz IS NULL THEN NULL ELSE holder END,
                failures = CASE WHEN $5::timestamptz IS NULL THEN 0 ELSE failures + 1 END,
                answer_ms = (3 * answer_ms + least($9::bigint, 1000000)) / 4,
                next_attempt = coalesce($5, CASE WHEN $4::timestamptz IS NULL THEN $7::timestamptz END, next_attempt)
            WHERE subscription_id = $1 AND holder = $2
            RETURNING subscription_id
        ),
        tried AS (
            UPDATE event_outbox
            SET
                attempts = attempts + 1,
                delivered_at = CASE WHEN $12 THEN $7::timestamptz END,
                dead_at = CASE WHEN $6 THEN $7::timestamptz END,
                next_attempt = coalesce($5, event_outbox.next_attempt),
                last_error = $11
            FROM turn
            WHERE event_outbox.id = $3
            RETURNING event_outbox.id
        ),
        kept AS (
            INSERT INTO delivery_attempts (delivery_id, started_at, duration_ms, status, error)
            SELECT id, $8, $9, $10, $11 FROM tried
        )
        SELECT EXISTS (SELECT FROM turn) AS "is_holder!"
        "#,
        subscription_id,
        holder,
        delivery_id,
        held_until,
        again_at,
        dead,
        now,
        attempt.started_at,
        attempt.duration_ms,
        attempt.status,
        attempt.error,
        delivered,
    )
    .fetch_one(executor)
    .await?;
    Ok(row.is_holder)
}
