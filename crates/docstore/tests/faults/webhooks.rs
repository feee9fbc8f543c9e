//! Webhooks of servers that are killed between a change and its delivery.

use docstore_database::testing::TestDatabase;
use docstore_test_support::{Behaviour, Receiver};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::process::{ServerProcess, ServerSettings};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_webhook() {
    let database = TestDatabase::create().await;
    let (blobs, pool) = (tempfile::tempdir().unwrap(), database.pool().await);
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let settings = ServerSettings::new(database.settings().url.expose_secret(), blobs.path())
        .with("DOCSTORE_SECRETS_KEY_FILE", &key.display().to_string())
        .with("DOCSTORE_EVENT_SEQUENCE_SECONDS", "1")
        .with("DOCSTORE_WEBHOOK_TIMEOUT_SECONDS", "30");
    let mut server = ServerProcess::start(settings).await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let body = json!({"backend": "webhook", "config": {"url": receiver.url(), "secret": "s"},
        "event_types": ["com.docstore.branch.created"]});
    server.admin().post("/subscriptions", &body).await.expect(201);
    // While the receiver thinks about the first event, more are acknowledged; then the server is killed.
    receiver.next([Behaviour::Hang]);
    for name in ["one", "two", "three"] {
        server.admin().post("/repos/default/default/-/branch", &json!({"name": name})).await.expect(201);
        receiver.wait_for(1).await;
    }
    server.kill();
    // The turn of the dead process runs out after a while, which this test does not wait for.
    sqlx::query("UPDATE delivery_turns SET held_until = now() - interval '1 s'").execute(&pool).await.unwrap();
    server.start_again().await;
    let received = receiver.wait_for(4).await;
    let branches: Vec<String> =
        received.iter().map(|one| one.event()["data"]["branch"].as_str().unwrap().to_owned()).collect();
    assert_eq!(branches, ["one", "one", "two", "three"], "at least once, and in order");
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"), "so that it can be told apart");
}
