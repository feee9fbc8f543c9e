//! Delivering webhooks to a real receiver that behaves badly in every way.

mod places;
mod receivers;
mod stage;

use std::sync::Arc;

use chrono::TimeDelta;
use docstore_database::{begin, commit, event_log::log_events};
use docstore_models::{DeliveryState, UpdateSubscriptionRequest};
use docstore_test_support::{ADMIN, Behaviour, Received, Receiver, TestApp};
use docstore_webhooks::{Addresses, Lookup, wire_signature};
use futures::FutureExt;
use http::Method;
use secrecy::SecretString;
use serde_json::json;

use self::stage::Stage;
use crate::support::{REPO, Transcript, identities::give_role};

fn numbers(received: &[Received]) -> Vec<i64> {
    received.iter().map(|one| one.event()["data"]["n"].as_i64().unwrap()).collect()
}

async fn states(stage: &Stage, id: uuid::Uuid) -> Vec<(DeliveryState, i32)> {
    let mut list = stage.operations.list_deliveries(&stage.owner(id).await, None, None, None).await.unwrap();
    list.reverse();
    list.iter().map(|delivery| (delivery.state, delivery.attempts)).collect()
}

#[tokio::test]
async fn a_receiver_gets_the_exact_bytes_signed_and_in_order() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(204)).await;
    let subscription = stage.subscribe(ADMIN, receiver.url(), Some("s3cret")).await;
    assert_eq!(subscription.config["secret"], docstore_models::MASKED_SECRET);
    stage.log(1..=3).await;
    assert_eq!(stage.deliver().await, 3);
    let received = receiver.received();
    assert_eq!(numbers(&received), [1, 2, 3]);
    let payloads: Vec<String> =
        sqlx::query_scalar("SELECT payload FROM event_log WHERE type = 'com.docstore.test' ORDER BY position")
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    let mut previous = None;
    for (one, payload) in received.iter().zip(&payloads) {
        assert_eq!(&one.body, payload, "byte for byte");
        assert_eq!(one.header("content-type"), Some("application/cloudevents+json"));
        let expected = wire_signature(&SecretString::from("s3cret"), payload.as_bytes());
        assert_eq!(one.header("x-docstore-signature"), Some(expected.as_str()));
        assert_eq!(one.header("x-docstore-signature-previous"), None);
        assert_eq!(one.header("webhook-id"), one.event()["id"].as_str());
        assert_eq!(one.number("webhook-timestamp"), Some(stage.now().timestamp()));
        assert!(one.header("webhook-signature").unwrap().starts_with("v1,"));
        assert_eq!(one.number("x-docstore-attempt"), Some(1));
        assert_eq!(one.number("x-docstore-previous-sequence"), previous);
        previous = one.number("x-docstore-sequence");
        assert!(previous.is_some());
    }
    assert_eq!(states(&stage, subscription.id).await, [(DeliveryState::Delivered, 1); 3]);
    assert_eq!(stage.deliver().await, 0, "nothing is sent twice");
}

#[tokio::test]
async fn during_a_rotation_both_secrets_sign() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), Some("old")).await.id;
    let change = UpdateSubscriptionRequest {
        secret: Some("new".to_owned().into()),
        previous_secret_seconds: Some(60),
        ..UpdateSubscriptionRequest::default()
    };
    let changed = stage.operations.update_subscription(&stage.owner(id).await, None, &change).await.unwrap();
    assert!(changed.previous_secret_until.is_some());
    stage.log([1]).await;
    stage.deliver().await;
    stage.advance(61);
    stage.log([2]).await;
    stage.deliver().await;
    let received = receiver.received();
    let signed = |secret: &str, one: &Received| wire_signature(&SecretString::from(secret), one.body.as_bytes());
    assert_eq!(received[0].header("x-docstore-signature").unwrap(), signed("new", &received[0]));
    assert_eq!(received[0].header("x-docstore-signature-previous").unwrap(), signed("old", &received[0]));
    assert_eq!(received[0].header("webhook-signature").unwrap().split(' ').count(), 2);
    assert_eq!(received[1].header("x-docstore-signature-previous"), None, "the rotation is over");
    assert_eq!(received[1].header("webhook-signature").unwrap().split(' ').count(), 1);
}

#[tokio::test]
async fn what_signs_is_sealed_for_its_place_and_nothing_is_sent_without_it() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let [one, other] = [
        stage.subscribe(ADMIN, receiver.url(), Some("s3cret-1")).await,
        stage.subscribe(ADMIN, receiver.url(), Some("s3cret-2")).await,
    ];
    let rotate = |secret: &str| UpdateSubscriptionRequest {
        secret: Some(secret.to_owned().into()),
        ..UpdateSubscriptionRequest::default()
    };
    stage.operations.update_subscription(&stage.owner(one.id).await, None, &rotate("s3cret-3")).await.unwrap();
    let dump: Vec<String> = sqlx::query_scalar(
        "SELECT row_to_json(s)::text || coalesce((SELECT string_agg(encode(k.ciphertext, 'escape') || k.layout, ' ')
         FROM subscription_secrets k WHERE k.subscription_id = s.id), '') FROM event_subscriptions s",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    assert_eq!(dump.len(), 2);
    assert!(!dump.concat().contains("s3cret"), "{dump:?}");
    // Moved to another subscription it opens nothing, and its deliveries wait.
    sqlx::query("DELETE FROM subscription_secrets WHERE subscription_id = $1")
        .bind(other.id)
        .execute(&stage.pool)
        .await
        .unwrap();
    sqlx::query(
        "UPDATE subscription_secrets SET subscription_id = $1 WHERE signs_until IS NULL AND subscription_id = $2",
    )
    .bind(other.id)
    .bind(one.id)
    .execute(&stage.pool)
    .await
    .unwrap();
    stage.log([1]).await;
    stage.deliver().await;
    let signed: Vec<_> = receiver.received();
    assert_eq!(signed.len(), 1, "only the one whose secret opens");
    let expected = wire_signature(&SecretString::from("s3cret-1"), signed[0].body.as_bytes());
    assert_eq!(signed[0].header("x-docstore-signature"), Some(expected.as_str()));
    assert_eq!(states(&stage, other.id).await, [(DeliveryState::Pending, 0)]);
    assert!(stage.operations.ping_subscription(&stage.owner(other.id).await).await.is_err());
    // A new secret heals it, although the one before does not open.
    stage.operations.update_subscription(&stage.owner(other.id).await, None, &rotate("new")).await.unwrap();
    stage.advance(31);
    assert_eq!(stage.deliver().await, 1);
    let healed = receiver.received().pop().unwrap();
    let expected = wire_signature(&SecretString::from("new"), healed.body.as_bytes());
    assert_eq!(healed.header("x-docstore-signature"), Some(expected.as_str()));
    assert_eq!(healed.header("x-docstore-signature-previous"), None);
    // What no longer signs is forgotten.
    stage.advance(24 * 60 * 60);
    stage.operations.maintain().await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM subscription_secrets WHERE signs_until IS NOT NULL")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn clear_secrets_of_the_release_before_sign_until_they_are_sealed() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), None).await.id;
    // As the release before wrote it.
    sqlx::query("UPDATE event_subscriptions SET secret = 'new', previous_secret = 'old', previous_secret_until = $1")
        .bind(stage.now() + chrono::TimeDelta::hours(1))
        .execute(&stage.pool)
        .await
        .unwrap();
    assert_eq!(stage.subscription(id).await.config["secret"], docstore_models::MASKED_SECRET);
    assert!(stage.subscription(id).await.previous_secret_until.is_some());
    stage.log([1]).await;
    stage.deliver().await;
    let admin = stage.operations.global_admin(&Stage::admin()).unwrap();
    let done = stage.operations.rewrap_secrets(&admin, None).await.unwrap();
    assert_eq!((done.rewrapped, done.failed.len(), done.next_after), (2, 0, None));
    stage.log([2]).await;
    stage.deliver().await;
    for one in receiver.received() {
        let signed = |secret: &str| wire_signature(&SecretString::from(secret), one.body.as_bytes());
        assert_eq!(one.header("x-docstore-signature"), Some(signed("new").as_str()));
        assert_eq!(one.header("x-docstore-signature-previous"), Some(signed("old").as_str()));
    }
    assert_eq!(receiver.received().len(), 2);
    let clear: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM event_subscriptions WHERE secret IS NOT NULL OR previous_secret IS NOT NULL)
            + (SELECT count(*) FROM subscription_secrets WHERE layout = 0)",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(clear, 0);
    assert_eq!(stage.operations.rewrap_secrets(&admin, None).await.unwrap().rewrapped, 2, "it can be done again");
}

#[tokio::test]
async fn without_a_key_webhooks_have_no_secret() {
    let app = TestApp::start_with(&[("DOCSTORE_SECRETS_KEY_FILE", "")]).await;
    let me = app.admin();
    let with = |config: serde_json::Value| json!({"backend": "webhook", "repo": "default/default", "config": config});
    let unsigned = me.post("/subscriptions", &with(json!({"url": "https://example.com/"}))).await.expect(201);
    let mut told = Transcript::new();
    told.post(&me, "/subscriptions", &with(json!({"url": "https://example.com/", "secret": "s"}))).await;
    let path = format!("/subscriptions/{}", unsigned["id"].as_str().unwrap());
    told.note("rotating", &me.patch(&path, &json!({"secret": "s"})).await);
    insta::assert_snapshot!(told, @r#"
    POST /subscriptions {"backend":"webhook","config":{"secret":"s","url":"https://example.com/"},"repo":"default/default"}
      503 {"code":"SERVICE_UNAVAILABLE","error":"secrets service not configured"}
    rotating
      503 {"code":"SERVICE_UNAVAILABLE","error":"secrets service not configured"}
    "#);
}

#[tokio::test]
async fn every_kind_of_failure_is_told_and_tried_again() {
    let stage = Stage::new().await;
    let elsewhere = Receiver::start(Behaviour::Status(200)).await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), None).await.id;
    let script = [
        Behaviour::Status(500),
        Behaviour::Redirect(elsewhere.url().to_owned()),
        Behaviour::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()),
        Behaviour::Hang,
        Behaviour::Reset,
        Behaviour::Trickle,
        Behaviour::Endless,
    ];
    let failures = i32::try_from(script.len()).unwrap() - 1;
    receiver.next(script);
    stage.log([1, 2]).await;
    for attempt in 0..failures {
        assert_eq!(stage.deliver().await, 1, "attempt {attempt}");
        assert_eq!(stage.deliver().await, 0, "not before its time");
        stage.advance((1 << attempt) - 1);
        assert_eq!(stage.deliver().await, 0, "not before its time");
        stage.advance(1);
    }
    assert_eq!(stage.deliver().await, 2, "a gigabyte behind a 200 is a success, and so is what waited behind it");
    assert_eq!(numbers(&receiver.received()), [1, 1, 1, 1, 1, 1, 1, 2]);
    assert_eq!(elsewhere.received().len(), 0, "nobody follows a redirect");
    let attempts: Vec<Option<i64>> = receiver.received().iter().map(|one| one.number("x-docstore-attempt")).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6, 7, 1].map(Some));
    let owner = stage.owner(id).await;
    let list = stage.operations.list_deliveries(&owner, None, None, None).await.unwrap();
    let detail = stage.operations.delivery(&owner, list[1].id).await.unwrap();
    let told: Vec<String> = detail
        .history
        .iter()
        .map(|attempt| {
            // What follows the first words of a broken connection is the system's.
            let error = attempt.error.as_deref().unwrap_or("delivered");
            format!("{:?} {}", attempt.status, error.split(": client error").next().unwrap_or_default())
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    Some(500) status 500
    Some(301) status 301; redirects are not followed
    Some(301) status 301; redirects are not followed
    None no answer within 0.4 s
    None error sending request
    None no answer within 0.4 s
    Some(200) delivered
    "#);
    assert_eq!(detail.event.id, detail.delivery.event_id);
}

#[tokio::test]
async fn ten_failures_suspend_a_subscription_until_it_is_resumed() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(503)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), None).await.id;
    stage.log([1, 2]).await;
    for _ in 0..10 {
        assert_eq!(stage.deliver().await, 1);
        stage.advance(3600);
    }
    assert_eq!(stage.deliver().await, 0);
    let suspended = stage.subscription(id).await;
    assert!(suspended.suspended_at.is_some());
    assert_eq!(suspended.failure_count, 1);
    assert_eq!(suspended.suspended_reason.as_deref(), Some("a delivery failed 10 times: status 503"));
    stage.log([3]).await;
    let told: i64 =
        sqlx::query_scalar("SELECT count(*) FROM event_log WHERE type = 'com.docstore.subscription.suspended'")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(told, 1);
    // What was queued before goes on; what was given up stays given up; what happened meanwhile was not queued.
    receiver.next([Behaviour::Status(200), Behaviour::Status(200), Behaviour::Status(200), Behaviour::Status(200)]);
    stage.operations.resume_subscription(&stage.owner(id).await, None).await.unwrap();
    assert_eq!(stage.subscription(id).await.failure_count, 0);
    assert_eq!(stage.deliver().await, 1);
    let last = receiver.received().pop().unwrap();
    assert_eq!(numbers(std::slice::from_ref(&last)), [2]);
    assert_eq!(
        last.number("x-docstore-previous-sequence"),
        receiver.received()[0].number("x-docstore-sequence"),
        "the receiver sees that it did not take the one before"
    );
    assert_eq!(states(&stage, id).await, [(DeliveryState::Dead, 10), (DeliveryState::Delivered, 1)]);
    // Everything can be had again, also what was never queued.
    let since = "2000-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(stage.redeliver(id, None, Some(since)).await, 3);
    assert_eq!(stage.deliver().await, 3);
    assert_eq!(numbers(&receiver.received()[11..]), [1, 2, 3]);
}

#[tokio::test]
async fn one_delivery_can_be_had_again() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), None).await.id;
    stage.log(1..=3).await;
    stage.deliver().await;
    let list = stage.operations.list_deliveries(&stage.owner(id).await, None, None, None).await.unwrap();
    assert_eq!(stage.redeliver(id, Some(list[1].id), None).await, 1);
    assert_eq!(stage.deliver().await, 1);
    let received = receiver.received();
    assert_eq!(numbers(&received), [1, 2, 3, 2]);
    assert_eq!(received[1].header("webhook-id"), received[3].header("webhook-id"));
    assert_eq!(received[1].number("x-docstore-sequence"), received[3].number("x-docstore-sequence"));
    assert_eq!(received[1].number("x-docstore-previous-sequence"), received[3].number("x-docstore-previous-sequence"));
}

#[tokio::test]
async fn a_backlog_of_several_batches_arrives_in_order_and_each_event_once() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), None).await.id;
    // More than two batches, and then exactly one.
    for numbers_sent in [1..=120, 121..=170] {
        let count = numbers_sent.clone().count();
        stage.log(numbers_sent).await;
        assert_eq!(stage.deliver().await, count);
    }
    let received = receiver.received();
    assert_eq!(numbers(&received), (1..=170).collect::<Vec<i64>>());
    let mut previous = None;
    for one in &received {
        assert_eq!(one.number("x-docstore-previous-sequence"), previous);
        previous = one.number("x-docstore-sequence");
    }
    assert_eq!(stage.deliver().await, 0);
    // The turn was given back: nothing has to run out before the next event.
    stage.log([171]).await;
    assert_eq!(stage.deliver().await, 1);
    assert_eq!(stage.subscription(id).await.suspended_at, None);
}

#[tokio::test]
async fn what_has_no_position_yet_waits_for_nothing_else() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    stage.subscribe(ADMIN, receiver.url(), None).await;
    log_events(&stage.pool, &[stage.event(1)]).await.unwrap();
    assert_eq!(stage.deliver().await, 0);
    stage.sequence().await;
    assert_eq!(stage.deliver().await, 1, "although the clock stands still");
    assert_eq!(numbers(&receiver.received()), [1]);
}

#[tokio::test]
async fn transactions_that_commit_out_of_order_are_delivered_in_the_order_of_the_log() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    stage.subscribe(ADMIN, receiver.url(), None).await;
    let mut early = begin(&stage.pool).await.unwrap();
    log_events(&mut *early, &[stage.event(1)]).await.unwrap();
    stage.log([2, 3]).await;
    receiver.next([Behaviour::Status(500)]);
    assert_eq!(stage.deliver().await, 1, "the first of them fails");
    // The one with the lowest id commits last.
    commit(early).await.unwrap();
    stage.sequence().await;
    stage.advance(1);
    assert_eq!(stage.deliver().await, 3);
    let received = receiver.received();
    assert_eq!(numbers(&received), [2, 2, 3, 1]);
    let positions: Vec<i64> = received.iter().filter_map(|one| one.number("x-docstore-sequence")).collect();
    assert!(positions.is_sorted(), "{positions:?}");
}

#[tokio::test]
async fn a_bad_receiver_harms_nobody_else() {
    let stage = Stage::new().await;
    let good = Receiver::start(Behaviour::Status(200)).await;
    let bad = Receiver::start(Behaviour::Hang).await;
    // More bad ones than there are places.
    for _ in 0..20 {
        stage.subscribe(ADMIN, bad.url(), None).await;
    }
    let id = stage.subscribe(ADMIN, good.url(), None).await.id;
    stage.log(1..=5).await;
    stage.deliver().await;
    assert_eq!(numbers(&good.received()), [1, 2, 3, 4, 5]);
    assert_eq!(states(&stage, id).await, [(DeliveryState::Delivered, 1); 5]);
    // Those that failed take half of the places at most; the good one is served in the very next round.
    stage.advance(1);
    stage.log([6]).await;
    stage.deliver().await;
    assert_eq!(numbers(&good.received()), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn two_replicas_deliver_in_order_and_each_event_once() {
    let stage = Stage::new().await;
    let other = stage.replica().await;
    let receivers = [Receiver::start(Behaviour::Status(200)).await, Receiver::start(Behaviour::Status(200)).await];
    for receiver in &receivers {
        stage.subscribe(ADMIN, receiver.url(), None).await;
    }
    stage.log(1..=60).await;
    let (one, two) = tokio::join!(stage.operations.deliver_due(), other.deliver_due());
    assert_eq!(one.unwrap() + two.unwrap(), 120);
    for receiver in &receivers {
        assert_eq!(numbers(&receiver.received()), (1..=60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_process_that_dies_in_the_middle_loses_its_turn_and_nothing_else() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    stage.subscribe(ADMIN, receiver.url(), None).await;
    stage.log([1, 2]).await;
    receiver.next([Behaviour::Hang]);
    // It has sent, and never comes to record the answer.
    {
        let dying = stage.operations.deliver_due();
        tokio::pin!(dying);
        tokio::select! {
            _ = &mut dying => panic!("the receiver hangs"),
            _ = receiver.wait_for(1) => {}
        }
    }
    assert_eq!(stage.deliver().await, 0, "nobody else may deliver while the turn lasts");
    stage.advance(90);
    assert_eq!(stage.deliver().await, 2);
    assert_eq!(numbers(&receiver.received()), [1, 1, 2], "at least once");
}

#[tokio::test]
async fn whoever_may_no_longer_read_is_no_longer_told() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    give_role(&stage.pool, "default/default", "reader@example.com", "reader").await;
    let id = stage.subscribe("reader@example.com", receiver.url(), None).await.id;
    stage.log([1]).await;
    assert_eq!(stage.deliver().await, 1);
    sqlx::query("DELETE FROM roles WHERE identity = 'reader@example.com'").execute(&stage.pool).await.unwrap();
    stage.log([2]).await;
    assert_eq!(stage.deliver().await, 0);
    let reason = stage.subscription(id).await.suspended_reason.unwrap();
    assert_eq!(reason, "reader@example.com may no longer read what this is about");
    assert_eq!(numbers(&receiver.received()), [1]);
}

#[tokio::test]
async fn what_an_agent_set_up_ends_with_it() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    give_role(&stage.pool, "default/default", "reader@example.com", "reader").await;
    let agent = "agent:hooks/reader@example.com";
    let make = async || {
        sqlx::query(
            "INSERT INTO agents (agent_id, identity, owner, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(uuid::Uuid::now_v7())
        .bind(agent)
        .bind("reader@example.com")
        .bind(stage.now())
        .bind(stage.now() + TimeDelta::hours(1))
        .execute(&stage.pool)
        .await
        .unwrap();
    };
    make().await;
    let id = stage.subscribe("reader@example.com", receiver.url(), None).await.id;
    sqlx::query("UPDATE event_subscriptions SET created_by = $1").bind(agent).execute(&stage.pool).await.unwrap();
    stage.log([1]).await;
    assert_eq!(stage.deliver().await, 1);
    stage.advance(60 * 60);
    stage.log([2]).await;
    assert_eq!(stage.deliver().await, 0, "its time is over");
    let reason = stage.subscription(id).await.suspended_reason.unwrap();
    assert_eq!(reason, "agent:hooks/reader@example.com may no longer read what this is about");
    // Another one of the name, which did not subscribe.
    sqlx::query("UPDATE agents SET revoked_at = expires_at").execute(&stage.pool).await.unwrap();
    make().await;
    stage.operations.resume_subscription(&stage.owner(id).await, None).await.unwrap();
    assert_eq!(stage.deliver().await, 0);
    assert!(stage.subscription(id).await.suspended_at.is_some());
    assert_eq!(numbers(&receiver.received()), [1]);
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    // Public when somebody looks, inside when the connection is made: there is one look-up, and it is the connection's.
    let lookup: Lookup = Arc::new(|_| async { Ok(vec!["127.0.0.1".parse().unwrap()]) }.boxed());
    let stage = Stage::with_addresses(Addresses::with_lookup(&[], lookup)).await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let port = receiver.url().rsplit(':').next().unwrap().to_owned();
    let id = stage.subscribe(ADMIN, &format!("http://rebound.example:{port}"), None).await.id;
    stage.log([1]).await;
    assert_eq!(stage.deliver().await, 1);
    let list = stage.operations.list_deliveries(&stage.owner(id).await, None, None, None).await.unwrap();
    assert_eq!(list[0].last_error.as_deref(), Some("the host has no address that webhooks may go to"));
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn old_deliveries_are_forgotten_and_pending_ones_hold_their_events() {
    let stage = Stage::new().await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = stage.subscribe(ADMIN, receiver.url(), None).await.id;
    receiver.next([Behaviour::Status(200), Behaviour::Status(500)]);
    stage.log([1, 2]).await;
    stage.deliver().await;
    // The database wrote when they were queued; the test's clock is years ahead of that.
    sqlx::query("UPDATE event_outbox SET created_at = $1").bind(stage.now()).execute(&stage.pool).await.unwrap();
    stage.operations.maintain().await.unwrap();
    assert_eq!(states(&stage, id).await.len(), 2);
    stage.advance(8 * 24 * 3600);
    assert_eq!(stage.operations.maintain().await.unwrap().deliveries_forgotten, 1);
    assert_eq!(states(&stage, id).await, [(DeliveryState::Pending, 1)]);
    stage.advance(23 * 24 * 3600);
    assert_eq!(stage.operations.maintain().await.unwrap().deliveries_forgotten, 1);
}

#[tokio::test]
async fn a_server_delivers_by_itself() {
    let app = TestApp::start().await;
    let me = app.admin();
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let body = json!({"backend": "webhook", "config": {"url": receiver.url(), "secret": "s"},
        "event_types": ["com.docstore.branch.created"]});
    let created = me.post("/subscriptions", &body).await.expect(201);
    let id = created["id"].as_str().unwrap();
    crate::support::branch(&me, REPO, "one").await;
    crate::support::branch(&me, REPO, "two").await;
    let received = receiver.wait_for(2).await;
    let branches: Vec<String> =
        received.iter().map(|one| one.event()["data"]["branch"].as_str().unwrap().to_owned()).collect();
    assert_eq!(branches, ["one", "two"]);
    // The same as on the stream and in the log.
    let page = me.get(&format!("{REPO}/events/log?types=com.docstore.branch.created")).await.expect(200);
    let logged: Vec<i64> =
        page["events"].as_array().unwrap().iter().map(|one| one["position"].as_i64().unwrap()).collect();
    let sent: Vec<i64> = received.iter().filter_map(|one| one.number("x-docstore-sequence")).collect();
    assert_eq!(sent, logged);
    assert_eq!(page["events"][0]["event"], received[0].event());
    let ping = me.send(Method::POST, &format!("/subscriptions/{id}/ping"), &json!({})).await.expect(200);
    assert_eq!((&ping["delivered"], &ping["status"]), (&json!(true), &json!(200)));
    let ping = receiver.wait_for(3).await.pop().unwrap();
    assert_eq!(ping.event()["type"], "com.docstore.subscription.pinged");
    assert_eq!(ping.header("x-docstore-sequence"), None);
    assert!(ping.header("x-docstore-signature").is_some());
}
