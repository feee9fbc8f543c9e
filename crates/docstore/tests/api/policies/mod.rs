//! Policies: `/repos/{repo}/-/branch/{branch}/status`, `/why` and `/agent-context`, `/policies/…`, `/orgs/{org}/policies`,
//! and the gate that everything which moves `main` goes through.

mod document;
mod everywhere;
mod gate;
mod kept;
mod starter;
mod stopped;

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, text_file};

/// A policy that lets pass what does not touch `locked/`, for whoever is not Eve.
const PATHS: &str = "package docstore.paths\n\nimport rego.v1\n\ndefault allow := false\n\nallow if not touches_locked\n\n\
    touches_locked if {\n\tsome path in input.changed_paths\n\tstartswith(path, \"locked/\")\n}\n\n\
    reason := sprintf(\"%s may not touch locked/\", [input.actor])\n";

const NEVER: &str = "package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n";

async fn policy(who: &Person, name: &str, text: &str) -> Value {
    let body = json!({"branch": "main", "message": "a policy", "override": "set up",
        "files": [text_file(&format!(".docstore/policy/{name}"), text)]});
    who.post(&format!("{REPO}/commit"), &body).await.expect(201)
}

async fn give(app: &TestApp, who: &str, role: &str) -> Person {
    app.admin().put(&format!("{REPO}/roles/{who}"), &json!({"role": role})).await.expect(200);
    app.person(who)
}

/// The admin keeps their role by the row, not by being the only one.
async fn start() -> (TestApp, Person) {
    let app = TestApp::start().await;
    let admin = app.admin();
    let me = admin.get("/whoami").await.json()["identity"].as_str().unwrap().to_owned();
    admin.put(&format!("{REPO}/roles/{me}"), &json!({"role": "admin"})).await.expect(200);
    (app, admin)
}

async fn verdict_rows(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM policy_verdicts").fetch_one(&app.pool().await).await.unwrap()
}

async fn last_event(app: &TestApp, event_type: &str) -> Value {
    let payload: String = sqlx::query_scalar("SELECT payload FROM event_log WHERE type = $1 ORDER BY id DESC LIMIT 1")
        .bind(format!("com.docstore.{event_type}"))
        .fetch_one(&app.pool().await)
        .await
        .unwrap();
    serde_json::from_str::<Value>(&payload).unwrap()["data"].clone()
}
