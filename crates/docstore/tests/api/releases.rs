//! `/repos/{repo}/-/releases`.

use docstore_test_support::TestApp;
use serde_json::json;

use crate::support::{REPO, Transcript, branch, commit, paths};

#[tokio::test]
async fn releases_name_sequences() {
    let app = TestApp::start().await;
    let me = app.admin();
    let releases = format!("{REPO}/releases");
    let mut told = Transcript::new();
    told.say("of an empty repo: sequence 0");
    told.post(&me, &releases, &json!({"name": "v0"})).await;
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    let on_branch = commit(&me, REPO, "topic", &[("b", Some("2"))]).await;
    told.post(&me, &releases, &json!({"name": "v1", "body": "notes\n<b>"})).await;
    told.post(&me, &releases, &json!({"name": "nightly/2026-01", "sequence": on_branch, "body": ""})).await;
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"name": "v1"}),
        json!({"name": "12"}),
        json!({"name": "-3"}),
        json!({"name": "a b"}),
        json!({"name": "a/../b"}),
        json!({"name": "v9", "sequence": 99}),
        json!({"name": "v9", "sequence": -1}),
        json!({"name": "v9", "sequence": "1"}),
    ] {
        told.post(&me, &releases, &body).await;
    }
    told.say("reading");
    told.get(&me, &format!("{releases}/v1")).await;
    told.get(&me, &format!("{releases}/nightly/2026-01")).await;
    told.get(&me, &format!("{releases}/nightly%2F2026-01")).await;
    told.get(&me, &format!("{REPO}/tree?at=v1")).await;
    told.get(&me, &format!("{REPO}/tree?at=v0")).await;
    told.get(&me, &format!("{REPO}/file/b?branch=topic&at=nightly/2026-01")).await;
    told.say("deleting frees the name");
    told.delete(&me, &format!("{releases}/v1")).await;
    told.delete(&me, &format!("{releases}/v1")).await;
    told.get(&me, &format!("{REPO}/tree?at=v1")).await;
    told.post(&me, &releases, &json!({"name": "v1"})).await;
    insta::assert_snapshot!(told, @r#"
    # of an empty repo: sequence 0
    POST /repos/default/default/-/releases {"name":"v0"}
      201 {"created_at":"TIME","created_by":"admin@example.com","id":"ID-1","name":"v0","repo":"default/default","sequence":0}
    POST /repos/default/default/-/releases {"body":"notes\n<b>","name":"v1"}
      201 {"body":"notes\n<b>","created_at":"TIME","created_by":"admin@example.com","id":"ID-2","name":"v1","repo":"default/default","sequence":1}
    POST /repos/default/default/-/releases {"body":"","name":"nightly/2026-01","sequence":2}
      201 {"created_at":"TIME","created_by":"admin@example.com","id":"ID-3","name":"nightly/2026-01","repo":"default/default","sequence":2}
    # what cannot be
    POST /repos/default/default/-/releases {}
      400 {"code":"BAD_REQUEST","error":"name is required"}
    POST /repos/default/default/-/releases {"name":"v1"}
      409 {"code":"CONFLICT","error":"release already exists"}
    POST /repos/default/default/-/releases {"name":"12"}
      400 {"code":"BAD_REQUEST","error":"release name '12' is a number, which would be read as a sequence"}
    POST /repos/default/default/-/releases {"name":"-3"}
      400 {"code":"BAD_REQUEST","error":"release name '-3' is a number, which would be read as a sequence"}
    POST /repos/default/default/-/releases {"name":"a b"}
      400 {"code":"BAD_REQUEST","error":"release name 'a b' may not contain ' '"}
    POST /repos/default/default/-/releases {"name":"a/../b"}
      400 {"code":"BAD_REQUEST","error":"release name 'a/../b' has a segment that starts or ends with '.'"}
    POST /repos/default/default/-/releases {"name":"v9","sequence":99}
      400 {"code":"BAD_REQUEST","error":"sequence not found"}
    POST /repos/default/default/-/releases {"name":"v9","sequence":-1}
      400 {"code":"BAD_REQUEST","error":"sequence not found"}
    POST /repos/default/default/-/releases {"name":"v9","sequence":"1"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    # reading
    GET /repos/default/default/-/releases/v1
      200 {"body":"notes\n<b>","created_at":"TIME","created_by":"admin@example.com","id":"ID-2","name":"v1","repo":"default/default","sequence":1}
    GET /repos/default/default/-/releases/nightly/2026-01
      200 {"created_at":"TIME","created_by":"admin@example.com","id":"ID-3","name":"nightly/2026-01","repo":"default/default","sequence":2}
    GET /repos/default/default/-/releases/nightly%2F2026-01
      200 {"created_at":"TIME","created_by":"admin@example.com","id":"ID-3","name":"nightly/2026-01","repo":"default/default","sequence":2}
    GET /repos/default/default/-/tree?at=v1
      200 [{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-4"}]
    GET /repos/default/default/-/tree?at=v0
      200 []
    GET /repos/default/default/-/file/b?branch=topic&at=nightly/2026-01
      200 {"content":"Mg==","content_hash":"HASH-2","path":"b","version_id":"ID-5"}
    # deleting frees the name
    DELETE /repos/default/default/-/releases/v1
      204
    DELETE /repos/default/default/-/releases/v1
      404 {"code":"RELEASE_NOT_FOUND","error":"release not found"}
    GET /repos/default/default/-/tree?at=v1
      400 {"code":"BAD_REQUEST","error":"invalid 'at' parameter: not a sequence number or release name"}
    POST /repos/default/default/-/releases {"name":"v1"}
      201 {"created_at":"TIME","created_by":"admin@example.com","id":"ID-6","name":"v1","repo":"default/default","sequence":1}
    "#);
}

#[tokio::test]
async fn the_list_of_releases_has_pages() {
    let app = TestApp::start().await;
    let me = app.admin();
    let releases = format!("{REPO}/releases");
    for n in 0..7 {
        me.post(&releases, &json!({"name": format!("v{n}.x")})).await.expect(201);
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = me.get(&format!("{releases}?limit=3{after}")).await.expect(200);
        let page = page["releases"].as_array().unwrap().clone();
        let Some(last) = page.last() else { break };
        after = format!("&after={}", last["id"].as_str().unwrap());
        seen.extend(page.iter().map(|release| release["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, ["v6.x", "v5.x", "v4.x", "v3.x", "v2.x", "v1.x", "v0.x"], "newest first");
    // A cursor of another repo is none.
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let foreign = me.get(&format!("/repos/default/other/-/releases?limit=3{after}")).await;
    assert_eq!(foreign.expect(400)["error"], "invalid pagination cursor");
    // A tree at a release stays what it is when the branch goes on.
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    me.post(&releases, &json!({"name": "fixed"})).await.expect(201);
    commit(&me, REPO, "main", &[("b", Some("2"))]).await;
    assert_eq!(paths(&me.get(&format!("{REPO}/tree?at=fixed")).await.expect(200)), ["a"]);
}
