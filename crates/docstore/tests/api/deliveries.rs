//! `/subscriptions/{id}/deliveries` and `ping` against a real receiver, and the log in pages as it is answered.

use docstore_database::testing::TableWatch;
use docstore_test_support::{Behaviour, Receiver, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch};

#[tokio::test]
async fn what_was_sent_is_told_with_every_attempt() {
    let app = TestApp::start().await;
    let me = app.admin();
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    receiver.next([Behaviour::Status(200), Behaviour::Status(500)]);
    let body = json!({"backend": "webhook", "repo": "default/default", "config": {"url": receiver.url()},
        "event_types": ["com.docstore.branch.created"]});
    let created = me.post("/subscriptions", &body).await.expect(201);
    let path = format!("/subscriptions/{}", created["id"].as_str().unwrap());
    branch(&me, REPO, "one").await;
    receiver.wait_for(1).await;
    branch(&me, REPO, "two").await;
    let list = format!("{path}/deliveries");
    let all_sent = "SELECT count(*) = 2 FROM event_outbox WHERE delivered_at IS NOT NULL";
    TableWatch::on(&app.pool().await, "event_outbox").await.until(all_sent).await;
    let page = me.get(&list).await.expect(200);
    let mut told = Transcript::new();
    for delivery in page["deliveries"].as_array().unwrap() {
        told.value("delivery", delivery.clone());
    }
    let newest = page["deliveries"][0]["id"].as_str().unwrap();
    for (key, value) in me.get(&format!("{list}/{newest}")).await.expect(200).as_object().unwrap() {
        told.value(key, value.clone());
    }
    receiver.next([Behaviour::Status(204), Behaviour::Status(404)]);
    told.post(&me, &format!("{path}/ping"), &Value::Null).await;
    told.post(&me, &format!("{path}/ping"), &Value::Null).await;
    let pinged = receiver.received().pop().unwrap().event();
    told.value("what a ping sends", pinged);
    insta::assert_snapshot!(told, @r#"
    delivery: {"attempts":2,"created_at":"TIME","delivered_at":"TIME","event_id":"ID-1","event_type":"com.docstore.branch.created","id":"ID-2","position":3,"previous_position":2,"state":"delivered"}
    delivery: {"attempts":1,"created_at":"TIME","delivered_at":"TIME","event_id":"ID-3","event_type":"com.docstore.branch.created","id":"ID-4","position":2,"state":"delivered"}
    delivery: {"attempts":2,"created_at":"TIME","delivered_at":"TIME","event_id":"ID-1","event_type":"com.docstore.branch.created","id":"ID-2","position":3,"previous_position":2,"state":"delivered"}
    event: {"data":{"base_sequence":0,"branch":"two","created_by":"admin@example.com","repo":"default/default"},"datacontenttype":"application/json","id":"ID-1","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.branch.created"}
    history: [{"duration_ms":"DURATION","error":"status 500","started_at":"TIME","status":500},{"duration_ms":"DURATION","started_at":"TIME","status":200}]
    POST /subscriptions/ID-5/ping
      200 {"delivered":true,"duration_ms":"DURATION","status":204}
    POST /subscriptions/ID-5/ping
      200 {"delivered":false,"duration_ms":"DURATION","error":"status 404","status":404}
    what a ping sends: {"data":{"pinged_by":"admin@example.com","repo":"default/default","subscription_id":"ID-5"},"datacontenttype":"application/json","id":"ID-6","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.subscription.pinged"}
    "#);
}

#[tokio::test]
async fn a_page_of_the_log_is_events_with_their_positions() {
    let app = TestApp::start().await;
    let me = app.admin();
    for name in ["one", "two"] {
        branch(&me, REPO, name).await;
    }
    let both_have_positions = "SELECT count(*) = 2 FROM event_log WHERE position IS NOT NULL";
    TableWatch::on(&app.pool().await, "event_log").await.until(both_have_positions).await;
    let whole = me.get(&format!("{REPO}/events/log")).await.expect(200);
    let mut told = Transcript::new();
    told.value("whole", whole);
    told.value("a page", me.get(&format!("{REPO}/events/log?limit=1")).await.expect(200));
    told.value("the next one", me.get(&format!("{REPO}/events/log?limit=1&after=1")).await.expect(200));
    told.value("behind the end", me.get(&format!("{REPO}/events/log?limit=1&after=2")).await.expect(200));
    insta::assert_snapshot!(told, @r#"
    whole: {"events":[{"event":{"data":{"base_sequence":0,"branch":"one","created_by":"admin@example.com","repo":"default/default"},"datacontenttype":"application/json","id":"ID-1","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.branch.created"},"position":1},{"event":{"data":{"base_sequence":0,"branch":"two","created_by":"admin@example.com","repo":"default/default"},"datacontenttype":"application/json","id":"ID-2","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.branch.created"},"position":2}],"more":false,"next_after":2}
    a page: {"events":[{"event":{"data":{"base_sequence":0,"branch":"one","created_by":"admin@example.com","repo":"default/default"},"datacontenttype":"application/json","id":"ID-1","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.branch.created"},"position":1}],"more":true,"next_after":1}
    the next one: {"events":[{"event":{"data":{"base_sequence":0,"branch":"two","created_by":"admin@example.com","repo":"default/default"},"datacontenttype":"application/json","id":"ID-2","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.branch.created"},"position":2}],"more":false,"next_after":2}
    behind the end: {"events":[],"more":false,"next_after":2}
    "#);
}
