//! `/audit` and `/repos/{repo}/-/audit`.

use docstore_test_support::TestApp;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, commit, identities::Verified};

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
    let mut told = Transcript::new();
    let page = me.get("/audit?limit=2").await.expect(200);
    told.value("two of them", page);
    told.value("of the repo", you.get(&format!("{REPO}/audit")).await.expect(200));
    insta::assert_snapshot!(told, @r#"
    two of them: {"events":[{"event":{"data":{"actions":["read"],"agent":"agent:fixer/you@example.com","agent_id":"ID-1","created_by":"you@example.com","expires_at":"TIME"},"datacontenttype":"application/json","id":"ID-2","source":"/identities/you@example.com","specversion":"1.0","time":"TIME","type":"com.docstore.agent.created"},"position":6},{"event":{"data":{"name":"t","owner":"you@example.com","revoked_by":"you@example.com","token_id":"ID-3"},"datacontenttype":"application/json","id":"ID-4","source":"/identities/you@example.com","specversion":"1.0","time":"TIME","type":"com.docstore.token.revoked"},"position":5}]}
    of the repo: {"events":[{"event":{"data":{"changed_by":"admin@example.com","identity":"you@example.com","repo":"default/default","role":"admin"},"datacontenttype":"application/json","id":"ID-5","source":"/repos/default/default","specversion":"1.0","time":"TIME","type":"com.docstore.role.changed"},"position":2}]}
    "#);
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
