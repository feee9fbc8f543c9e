//! `/audit` and `/repos/{repo}/-/audit`.

use docstore_test_support::TestApp;
use serde_json::{Value, json};

use crate::support::{REPO, commit, identities::Verified};

/// What a page of the audit trail tells, newest first. Positions come a moment after the change.
async fn trail(who: &docstore_test_support::Person, path: &str, wanted: usize) -> Vec<Value> {
    loop {
        let page = who.get(path).await.expect(200);
        let events = page["events"].as_array().unwrap().clone();
        if events.len() >= wanted {
            return events;
        }
    }
}

fn kinds(events: &[Value]) -> Vec<String> {
    let kind = |event: &Value| event["event"]["type"].as_str().unwrap().trim_start_matches("com.docstore.").to_owned();
    events.iter().map(kind).collect()
}

#[tokio::test]
async fn the_audit_trail_tells_who_may_do_what_since_when() {
    let app = TestApp::start().await;
    let me = app.admin();
    let you = app.person("you@example.com");
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "admin"})).await.expect(200);
    you.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    let token = you.post("/tokens", &json!({"name": "t"})).await.expect(201);
    you.delete(&format!("/tokens/{}", token["token"]["id"].as_str().unwrap())).await;
    you.post("/agents", &json!({"name": "fixer"})).await.expect(201);
    let all = trail(&me, "/audit", 5).await;
    assert_eq!(kinds(&all), ["agent.created", "token.revoked", "token.created", "org.created", "role.changed"]);
    assert_eq!(all[2]["event"]["source"], json!("/identities/you@example.com"));
    let before = all[1]["position"].as_i64().unwrap();
    assert_eq!(
        kinds(&trail(&me, &format!("/audit?after={before}&limit=2"), 2).await),
        ["token.created", "org.created"]
    );
    // Of the repo, for its admins; the rest is not theirs.
    assert_eq!(kinds(&trail(&you, &format!("{REPO}/audit"), 1).await), ["role.changed"]);
    you.get("/audit").await.expect(403);
    let reader = app.person("reader@example.com");
    you.put(&format!("{REPO}/roles/reader@example.com"), &json!({"role": "maintainer"})).await.expect(200);
    reader.get(&format!("{REPO}/audit")).await.expect(403);
    for bad in ["limit=0", "limit=x", "after=x"] {
        me.get(&format!("/audit?{bad}")).await.expect(400);
    }
}

#[tokio::test]
async fn every_login_is_in_the_audit_trail() {
    let verified = Verified::start().await;
    verified.log_in("somebody@example.com").await;
    let admin = verified.issuer.id_token(docstore_test_support::ADMIN);
    let all = trail(&verified.nobody().with_token(&admin), "/audit", 1).await;
    assert_eq!(all[0]["event"]["data"], json!({"identity": "somebody@example.com", "via": "session"}));
}
