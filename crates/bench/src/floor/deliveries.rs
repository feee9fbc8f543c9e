//! The bare SQL of deliveries: events are logged with a row for each subscription, what is pending is read by subscription in
//! the order of the log, and each one that was sent is marked, with a row for the attempt. Identical rows, constraints and
//! indexes; no turns, since nobody else delivers, and no commits that the events tell of.

use anyhow::{Result, ensure};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

/// Deliveries read at a time.
const BATCH: i64 = 50;

/// A delivery to send.
pub(crate) struct Due {
    pub(crate) id: Uuid,
    pub(crate) position: i64,
    pub(crate) previous: Option<i64>,
    pub(crate) payload: String,
}

/// Subscriptions to a type of event that nothing else has.
pub(crate) async fn subscribe(connection: &mut PgConnection, event_type: &str, count: usize) -> Result<Vec<Uuid>> {
    let ids: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    sqlx::query(
        "INSERT INTO event_subscriptions (id, event_types, backend, config, created_by)
         SELECT id, ARRAY[$2], 'webhook', '{}', 'bench@example.com' FROM unnest($1::uuid[]) AS id",
    )
    .bind(&ids)
    .bind(event_type)
    .execute(connection)
    .await?;
    Ok(ids)
}

/// An event that has its position at once; the table's trigger writes its delivery to each subscription.
pub(crate) async fn log(connection: &mut PgConnection, event_type: &str, payload: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO event_log (event_id, subject, type, payload, position)
         SELECT gen_random_uuid(), 'default/bench', $1, $2, coalesce(max(position), 0) + 1 FROM event_log",
    )
    .bind(event_type)
    .bind(payload)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives the deliveries of a subscription their places.
pub(crate) async fn place(connection: &mut PgConnection, subscription: Uuid) -> Result<()> {
    sqlx::query(
        "UPDATE event_outbox o
         SET position = numbered.position, previous_position = numbered.previous
         FROM (
             SELECT o.id, e.position, lag(e.position) OVER (ORDER BY e.position) AS previous
             FROM event_outbox o
             JOIN event_log e ON e.id = o.event_log_id
             WHERE o.subscription_id = $1 AND o.position IS NULL AND o.delivered_at IS NULL AND o.dead_at IS NULL
         ) numbered
         WHERE o.id = numbered.id",
    )
    .bind(subscription)
    .execute(connection)
    .await?;
    Ok(())
}

/// The next ones.
pub(crate) async fn due(connection: &mut PgConnection, subscription: Uuid) -> Result<Vec<Due>> {
    let rows = sqlx::query(
        "SELECT o.id, o.position, o.previous_position, e.payload
         FROM event_outbox o
         JOIN event_log e ON e.id = o.event_log_id
         WHERE o.subscription_id = $1 AND o.delivered_at IS NULL AND o.dead_at IS NULL AND o.position IS NOT NULL
         ORDER BY o.position
         LIMIT $2",
    )
    .bind(subscription)
    .bind(BATCH)
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Due {
                id: row.try_get(0)?,
                position: row.try_get(1)?,
                previous: row.try_get(2)?,
                payload: row.try_get(3)?,
            })
        })
        .collect()
}

/// Marks one as delivered.
pub(crate) async fn mark(connection: &mut PgConnection, id: Uuid) -> Result<()> {
    let done = sqlx::query(
        "WITH tried AS (
             UPDATE event_outbox SET attempts = attempts + 1, delivered_at = now() WHERE id = $1 RETURNING id
         )
         INSERT INTO delivery_attempts (delivery_id, started_at, duration_ms, status)
         SELECT id, now(), 1, 204 FROM tried",
    )
    .bind(id)
    .execute(connection)
    .await?;
    ensure!(done.rows_affected() == 1, "a delivery is gone");
    Ok(())
}
