//! Whose turn it is to deliver to a subscription, and whose is next.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::Result;

/// A turn that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenTurn {
    /// The subscription.
    pub subscription_id: Uuid,
    /// The org of its repo, whose places it counts for; 0 when it is about all repos.
    pub org_id: i64,
    /// Whether its receiver fails or is slow.
    pub held_back: bool,
}

/// How many turns may be taken, and whose are under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnBounds {
    /// In all.
    pub free: i64,
    /// Of those whose receivers fail or are slow.
    pub held_back_free: i64,
    /// Of one org, those under way included.
    pub org_max: i64,
    /// Of those of one org whose receivers fail or are slow.
    pub org_held_back_max: i64,
    /// Whoever takes longer than this, in milliseconds, is slow.
    pub slow_ms: i32,
    /// The orgs of the turns under way, one for each.
    pub busy_orgs: Vec<i64>,
    /// Whether their receivers fail or are slow, in the same order.
    pub busy_held_back: Vec<bool>,
}

/// Takes the turns of subscriptions that have something to send and may send it now: of the orgs in turn, and of each those
/// first that waited longest. What has no position yet cannot be sent, and whoever gives it one wakes the senders. Turns that
/// somebody else is just taking are left to them.
///
/// The cost is that of the subscriptions for which something waits, however many there are beside them: they are found by
/// skipping through the index of what is pending.
///
/// # Errors
/// When the database cannot answer.
pub async fn take_turns(
    executor: impl PgExecutor<'_>,
    holder: Uuid,
    now: DateTime<Utc>,
    held_until: DateTime<Utc>,
    bounds: &TurnBounds,
) -> Result<Vec<TakenTurn>> {
    Ok(sqlx::query_as!(
        TakenTurn,
        r#"
        WITH RECURSIVE waiting AS (
            (
                SELECT subscription_id
                FROM event_outbox
                WHERE delivered_at IS NULL AND dead_at IS NULL
                ORDER BY subscription_id
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT o.subscription_id
                FROM event_outbox o
                WHERE o.delivered_at IS NULL AND o.dead_at IS NULL AND o.subscription_id > waiting.subscription_id
                ORDER BY o.subscription_id
                LIMIT 1
            )
            FROM waiting
            WHERE waiting.subscription_id IS NOT NULL
        ),
        due AS MATERIALIZED (
            SELECT
                t.subscription_id, t.next_attempt, t.failures > 0 OR t.answer_ms >= $5 AS held_back,
                coalesce(r.org_id, 0) AS org_id
            FROM delivery_turns t
            JOIN event_subscriptions s ON s.id = t.subscription_id AND s.suspended_at IS NULL
            LEFT JOIN repos r ON r.id = s.repo_id
            -- One look into the index for each turn, however much waits behind the first: without the limit this would
            -- be a join with all that is pending. What has a position comes first in the index.
            CROSS JOIN LATERAL (
                SELECT FROM event_outbox o
                JOIN event_log e ON e.id = o.event_log_id AND e.position IS NOT NULL
                WHERE o.subscription_id = t.subscription_id AND o.delivered_at IS NULL AND o.dead_at IS NULL
                ORDER BY o.position
                LIMIT 1
            ) front
            -- An array, since for a join all turns would be read as soon as a hundred are thought to be due.
            WHERE t.subscription_id = ANY (ARRAY(SELECT subscription_id FROM waiting))
                AND t.next_attempt <= $2 AND (t.held_until IS NULL OR t.held_until <= $2)
        ),
        busy AS (
            SELECT org_id, count(*) AS turns, count(*) FILTER (WHERE held_back) AS held_back_turns
            FROM unnest($6::bigint[], $7::boolean[]) AS busy (org_id, held_back)
            GROUP BY org_id
        ),
        -- Which place of its org each would have.
        ranked AS (
            SELECT
                due.*,
                coalesce(busy.turns, 0)
                    + row_number() OVER (PARTITION BY due.org_id ORDER BY due.held_back, due.next_attempt) AS of_org,
                CASE WHEN due.held_back THEN coalesce(busy.held_back_turns, 0) ELSE coalesce(busy.turns, 0) END
                    + row_number() OVER (PARTITION BY due.org_id, due.held_back ORDER BY due.next_attempt) AS of_kind
            FROM due
            LEFT JOIN busy ON busy.org_id = due.org_id
        ),
        fitting AS (
            SELECT ranked.*, row_number() OVER (PARTITION BY held_back ORDER BY of_kind, next_attempt) AS place
            FROM ranked
            WHERE of_org <= $8 AND (NOT held_back OR of_kind <= $9)
        ),
        locked AS (
            SELECT turn.subscription_id, chosen.org_id, chosen.held_back
            FROM (
                SELECT subscription_id, org_id, held_back
                FROM fitting
                WHERE NOT held_back OR place <= $10
                ORDER BY held_back, of_kind, next_attempt
            ) chosen
            CROSS JOIN LATERAL (
                SELECT t.subscription_id
                FROM delivery_turns t
                WHERE t.subscription_id = chosen.subscription_id
                    -- Again, since somebody may have taken it after it was read: this is looked at under the lock.
                    AND t.next_attempt <= $2 AND (t.held_until IS NULL OR t.held_until <= $2)
                FOR UPDATE OF t SKIP LOCKED
            ) turn
            LIMIT $4
        ),
        taken AS (
            UPDATE delivery_turns
            SET holder = $1, held_until = $3
            WHERE subscription_id = ANY (ARRAY(SELECT subscription_id FROM locked))
            RETURNING subscription_id
        )
        SELECT locked.subscription_id AS "subscription_id!", locked.org_id AS "org_id!", locked.held_back AS "held_back!"
        FROM locked
        JOIN taken ON taken.subscription_id = locked.subscription_id
        "#,
        holder,
        now,
        held_until,
        bounds.free,
        bounds.slow_ms,
        &bounds.busy_orgs,
        &bounds.busy_held_back,
        bounds.org_max,
        bounds.org_held_back_max,
        bounds.held_back_free,
    )
    .fetch_all(executor)
    .await?)
}

/// When the next subscription that has something to send may send it, if nobody is at it.
///
/// # Errors
/// When the database cannot answer.
pub async fn next_turn(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar!(
        r#"
        -- As in take_turns.
        WITH RECURSIVE waiting AS (
            (
                SELECT subscription_id
                FROM event_outbox
                WHERE delivered_at IS NULL AND dead_at IS NULL
                ORDER BY subscription_id
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT o.subscription_id
                FROM event_outbox o
                WHERE o.delivered_at IS NULL AND o.dead_at IS NULL AND o.subscription_id > waiting.subscription_id
                ORDER BY o.subscription_id
                LIMIT 1
            )
            FROM waiting
            WHERE waiting.subscription_id IS NOT NULL
        )
        SELECT min(greatest(t.next_attempt, t.held_until))
        FROM delivery_turns t
        JOIN event_subscriptions s ON s.id = t.subscription_id AND s.suspended_at IS NULL
        WHERE t.subscription_id = ANY (ARRAY(SELECT subscription_id FROM waiting))
            AND greatest(t.next_attempt, t.held_until) > $1
        "#,
        now,
    )
    .fetch_one(executor)
    .await?)
}

/// Gives a turn back, to be taken again from a time on.
///
/// # Errors
/// When the database cannot answer.
pub async fn give_back_turn(
    executor: impl PgExecutor<'_>,
    subscription_id: Uuid,
    holder: Uuid,
    next_attempt: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE delivery_turns
        SET holder = NULL, held_until = NULL, next_attempt = $3
        WHERE subscription_id = $1 AND holder = $2
        "#,
        subscription_id,
        holder,
        next_attempt,
    )
    .execute(executor)
    .await?;
    Ok(())
}
