//! Branches that merge by themselves.

mod refusals;
mod triggers;
mod turns;
mod wishes;

use docstore_database::Pool;
use docstore_test_support::{Person, TestApp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use crate::support::{
    REPO, commit,
    sse::{PATIENCE, Sse},
};

/// Lets pass what has a file `ready`.
const READY: &str = "package docstore.ready\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.actor_roles != []\n\n\
    allow if \"ready\" in input.changed_paths\n\nallow_override := true\n";

/// Waits until a branch has merged. A loop of the server does it, and the stream tells.
async fn until_merged(who: &Person, name: &str) {
    until_told(who, "branch.merged", name).await;
    assert_eq!(branch_now(who, name).await["status"], "merged");
}

/// Waits for an event about a branch, be it before or after now.
async fn until_told(who: &Person, kind: &str, name: &str) {
    let path = format!("{REPO}/events?since_seq=0&types=com.docstore.{kind}");
    Sse::open(who, &path, None).await.find(|seen| seen.event["data"]["branch"] == name).await;
}

async fn branch_now(who: &Person, name: &str) -> Value {
    who.get(&format!("{REPO}/branch/{name}")).await.expect(200)
}

/// Has the database tell whenever the list of branches to look at changes: of a branch that stays as it is, no event says
/// that it was looked at.
async fn tell_looks(pool: &Pool) {
    for statement in [
        "CREATE FUNCTION tell_looks() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_notify('looks', ''); RETURN NULL; END $$",
        "CREATE TRIGGER tell_looks AFTER INSERT OR UPDATE OR DELETE ON auto_merges_due
            FOR EACH STATEMENT EXECUTE FUNCTION tell_looks()",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

/// Waits until every branch that was due was looked at: it is off the list, or put off for longer than a look takes.
async fn until_looked_at(app: &TestApp) {
    let pool = app.pool().await;
    let mut looks = PgListener::connect(app.database().settings().url.expose_secret()).await.unwrap();
    looks.listen("looks").await.unwrap();
    let due = "SELECT count(*) FROM auto_merges_due WHERE due_at <= now() + interval '3 minutes'";
    while sqlx::query_scalar::<_, i64>(due).fetch_one(&pool).await.unwrap() > 0 {
        timeout(PATIENCE, looks.recv()).await.expect("every branch is looked at").unwrap();
    }
}

async fn enable(who: &Person, name: &str) {
    who.post(&format!("{REPO}/branch/{name}/auto-merge"), &Value::Null).await.expect(204);
}

async fn give(app: &TestApp, who: &str, role: &str) -> Person {
    app.admin().put(&format!("{REPO}/roles/{who}"), &json!({"role": role})).await.expect(200);
    app.person(who)
}

async fn events(app: &TestApp, event_type: &str) -> Vec<Value> {
    let payloads: Vec<String> = sqlx::query_scalar("SELECT payload FROM event_log WHERE type = $1 ORDER BY id")
        .bind(format!("com.docstore.{event_type}"))
        .fetch_all(&app.pool().await)
        .await
        .unwrap();
    payloads.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()["data"].clone()).collect()
}

async fn start() -> (TestApp, Person, Person) {
    let app = TestApp::start().await;
    tell_looks(&app.pool().await).await;
    let admin = app.admin();
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    commit(&admin, REPO, "main", &[(".docstore/policy/ready.rego", Some(READY)), ("a", Some("1"))]).await;
    (app, admin, maintainer)
}
