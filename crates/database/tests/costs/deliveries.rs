//! Deliveries beside very many subscriptions.

use chrono::{DateTime, TimeDelta, Utc};
use docstore_database::{
    delivery_turns::{TurnBounds, next_turn, take_turns},
    event_log::{NewEvent, log_events},
    testing::TestDatabase,
};
use uuid::Uuid;

use crate::counted::{Counted, fill, repo_id};

/// In `default/default`, for which nobody has subscribed yet.
fn event(repo_id: i64) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        subject: "default/default".to_owned(),
        repo_id: Some(repo_id),
        event_type: "com.docstore.test".to_owned(),
        payload: "{}".to_owned(),
    }
}

#[tokio::test]
async fn subscriptions_without_anything_to_deliver_cost_nothing() {
    // As many as a hundred repos may have.
    const IDLE_OF_EACH: i64 = 100;
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let statements = "
        INSERT INTO repos (org_id, name, created_by)
        SELECT id, 'default/other' || n, 'system' FROM orgs, generate_series(1, 100) n;
        INSERT INTO event_log (event_id, subject, repo_id, type, payload, position)
        SELECT gen_random_uuid(), name, id, 't', '{}', 1 FROM repos WHERE name = 'default/other1';
        INSERT INTO event_subscriptions (id, repo_id, backend, config, created_by)
        SELECT gen_random_uuid(), r.id, 'webhook', '{}', 'somebody' FROM repos r, generate_series(1, {idle})
        WHERE r.name <> 'default/default';
        INSERT INTO delivery_turns (subscription_id) SELECT id FROM event_subscriptions;
        INSERT INTO event_outbox (id, event_log_id, subscription_id, delivered_at)
        SELECT gen_random_uuid(), e.id, s.id, now() FROM event_log e, event_subscriptions s;
        ANALYZE;
    ";
    fill(&pool, statements, &[("idle", IDLE_OF_EACH)]).await;
    let repo_id = repo_id(&pool, "default/default").await;
    let bounds = TurnBounds {
        free: 64,
        held_back_free: 32,
        org_max: 32,
        org_held_back_max: 16,
        slow_ms: 1000,
        ..TurnBounds::default()
    };
    for subscribers in [0, 3] {
        let subscribed = "
            WITH created AS (
                INSERT INTO event_subscriptions (id, repo_id, backend, config, created_by)
                SELECT gen_random_uuid(), $1, 'webhook', '{}', 'somebody' FROM generate_series(1, $2)
                RETURNING id
            )
            INSERT INTO delivery_turns (subscription_id) SELECT id FROM created";
        sqlx::query(subscribed).bind(repo_id).bind(subscribers).execute(pool.sqlx()).await.unwrap();
        let mut counted = Counted::begin(&pool).await;
        log_events(&mut *counted.transaction, &[event(repo_id)]).await.unwrap();
        let position = format!("UPDATE event_log SET position = {subscribers} + 2 WHERE position IS NULL");
        sqlx::query(sqlx::AssertSqlSafe(position)).execute(&mut *counted.transaction).await.unwrap();
        // Later than whatever the database's own clock has written.
        let now: DateTime<Utc> = "2100-01-01T00:00:00Z".parse().unwrap();
        let later = now + TimeDelta::seconds(90);
        let taken = take_turns(&mut *counted.transaction, Uuid::now_v7(), now, later, &bounds).await.unwrap();
        assert_eq!(next_turn(&mut *counted.transaction, now).await.unwrap().is_some(), subscribers > 0);
        let what = format!("an event to {subscribers}");
        counted.assert_cheap_write(&what, taken.len(), i64::from(subscribers)).await;
    }
}
