//! `/repos/{repo}/-/branch` and `/branches`.

use docstore_test_support::TestApp;
use http::Method;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit};

#[tokio::test]
async fn branches_are_created_listed_and_abandoned() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    let create = format!("{REPO}/branch");
    let mut told = Transcript::new();
    told.post(&me, &create, &json!({"name": "feature/x"})).await;
    told.post(&me, &create, &json!({"name": "wip", "draft": true})).await;
    told.post(&me, &create, &json!({"name": "feature/x"})).await;
    for name in [
        "",
        "main",
        "a b",
        "a//b",
        "/a",
        "a/",
        "a:b",
        "a@b",
        "..",
        "x/.hidden",
        "x/-/y",
        "feature/status",
        "checks",
        "x/auto-merge",
        "x/reviews",
        "x/comments",
        "x/agent-context",
    ] {
        told.post(&me, &create, &json!({"name": name})).await;
    }
    told.say("lists");
    told.get(&me, &format!("{REPO}/branches")).await;
    told.get(&me, &format!("{REPO}/branches?draft=true")).await;
    told.get(&me, &format!("{REPO}/branches?include_draft=true&limit=2")).await;
    told.get(&me, &format!("{REPO}/branches?include_draft=true&after=main")).await;
    told.say("abandoning");
    told.delete(&me, &format!("{REPO}/branch/main")).await;
    told.delete(&me, &format!("{REPO}/branch/feature/x")).await;
    told.delete(&me, &format!("{REPO}/branch/feature%2Fx")).await;
    told.delete(&me, &format!("{REPO}/branch/none")).await;
    told.get(&me, &format!("{REPO}/branches?status=abandoned")).await;
    told.get(&me, &format!("{REPO}/branches?status=active")).await;
    told.say("it keeps its name and stays readable, and no more");
    told.post(&me, &create, &json!({"name": "feature/x"})).await;
    told.get(&me, &format!("{REPO}/tree?branch=feature/x")).await;
    told.post(
        &me,
        &format!("{REPO}/commit"),
        &json!({"branch": "feature/x", "message": "m", "files": [{"path": "x", "content": ""}]}),
    )
    .await;
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "feature/x"})).await;
    told.post(&me, &format!("{REPO}/rebase"), &json!({"branch": "feature/x"})).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/branch {"name":"feature/x"}
      201 {"base_sequence":1,"name":"feature/x"}
    POST /repos/default/default/-/branch {"draft":true,"name":"wip"}
      201 {"base_sequence":1,"draft":true,"name":"wip"}
    POST /repos/default/default/-/branch {"name":"feature/x"}
      409 {"code":"BRANCH_EXISTS","error":"branch already exists"}
    POST /repos/default/default/-/branch {"name":""}
      400 {"code":"BAD_REQUEST","error":"name is required"}
    POST /repos/default/default/-/branch {"name":"main"}
      400 {"code":"BAD_REQUEST","error":"cannot create branch named 'main'"}
    POST /repos/default/default/-/branch {"name":"a b"}
      400 {"code":"BAD_REQUEST","error":"branch name 'a b' may not contain ' '"}
    POST /repos/default/default/-/branch {"name":"a//b"}
      400 {"code":"BAD_REQUEST","error":"branch name 'a//b' has an empty segment"}
    POST /repos/default/default/-/branch {"name":"/a"}
      400 {"code":"BAD_REQUEST","error":"branch name '/a' has an empty segment"}
    POST /repos/default/default/-/branch {"name":"a/"}
      400 {"code":"BAD_REQUEST","error":"branch name 'a/' has an empty segment"}
    POST /repos/default/default/-/branch {"name":"a:b"}
      400 {"code":"BAD_REQUEST","error":"branch name 'a:b' may not contain ':'"}
    POST /repos/default/default/-/branch {"name":"a@b"}
      400 {"code":"BAD_REQUEST","error":"branch name 'a@b' may not contain '@'"}
    POST /repos/default/default/-/branch {"name":".."}
      400 {"code":"BAD_REQUEST","error":"branch name '..' has a segment that starts or ends with '.'"}
    POST /repos/default/default/-/branch {"name":"x/.hidden"}
      400 {"code":"BAD_REQUEST","error":"branch name 'x/.hidden' has a segment that starts or ends with '.'"}
    POST /repos/default/default/-/branch {"name":"x/-/y"}
      400 {"code":"BAD_REQUEST","error":"branch name 'x/-/y' has the reserved segment '-'"}
    POST /repos/default/default/-/branch {"name":"feature/status"}
      400 {"code":"BAD_REQUEST","error":"branch name 'feature/status' may not end in the reserved segment 'status'"}
    POST /repos/default/default/-/branch {"name":"checks"}
      400 {"code":"BAD_REQUEST","error":"branch name 'checks' may not end in the reserved segment 'checks'"}
    POST /repos/default/default/-/branch {"name":"x/auto-merge"}
      400 {"code":"BAD_REQUEST","error":"branch name 'x/auto-merge' may not end in the reserved segment 'auto-merge'"}
    POST /repos/default/default/-/branch {"name":"x/reviews"}
      400 {"code":"BAD_REQUEST","error":"branch name 'x/reviews' may not end in the reserved segment 'reviews'"}
    POST /repos/default/default/-/branch {"name":"x/comments"}
      400 {"code":"BAD_REQUEST","error":"branch name 'x/comments' may not end in the reserved segment 'comments'"}
    POST /repos/default/default/-/branch {"name":"x/agent-context"}
      400 {"code":"BAD_REQUEST","error":"branch name 'x/agent-context' may not end in the reserved segment 'agent-context'"}
    # lists
    GET /repos/default/default/-/branches
      200 [{"auto_merge":false,"base_sequence":1,"draft":false,"head_sequence":1,"name":"feature/x","repo":"default/default","status":"active"},{"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":1,"name":"main","repo":"default/default","status":"active"}]
    GET /repos/default/default/-/branches?draft=true
      200 [{"auto_merge":false,"base_sequence":1,"draft":true,"head_sequence":1,"name":"wip","repo":"default/default","status":"active"}]
    GET /repos/default/default/-/branches?include_draft=true&limit=2
      200 [{"auto_merge":false,"base_sequence":1,"draft":false,"head_sequence":1,"name":"feature/x","repo":"default/default","status":"active"},{"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":1,"name":"main","repo":"default/default","status":"active"}]
    GET /repos/default/default/-/branches?include_draft=true&after=main
      200 [{"auto_merge":false,"base_sequence":1,"draft":true,"head_sequence":1,"name":"wip","repo":"default/default","status":"active"}]
    # abandoning
    DELETE /repos/default/default/-/branch/main
      400 {"code":"BAD_REQUEST","error":"cannot delete branch 'main'"}
    DELETE /repos/default/default/-/branch/feature/x
      204
    DELETE /repos/default/default/-/branch/feature%2Fx
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is already merged or abandoned"}
    DELETE /repos/default/default/-/branch/none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/branches?status=abandoned
      200 [{"auto_merge":false,"base_sequence":1,"draft":false,"head_sequence":1,"name":"feature/x","repo":"default/default","status":"abandoned"}]
    GET /repos/default/default/-/branches?status=active
      200 [{"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":1,"name":"main","repo":"default/default","status":"active"}]
    # it keeps its name and stays readable, and no more
    POST /repos/default/default/-/branch {"name":"feature/x"}
      409 {"code":"BRANCH_EXISTS","error":"branch already exists"}
    GET /repos/default/default/-/tree?branch=feature/x
      200 [{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"}]
    POST /repos/default/default/-/commit {"branch":"feature/x","files":[{"content":"","path":"x"}],"message":"m"}
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is not active"}
    POST /repos/default/default/-/merge {"branch":"feature/x"}
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is not active","requirements":[{"kind":"status","what":"the branch is abandoned; only an active branch can be merged","who":[]}]}
    POST /repos/default/default/-/rebase {"branch":"feature/x"}
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is not active"}
    "#);
}

#[tokio::test]
async fn flags_are_set_and_cleared() {
    let app = TestApp::start().await;
    let me = app.admin();
    branch(&me, REPO, "topic").await;
    let topic = format!("{REPO}/branch/topic");
    let mut told = Transcript::new();
    told.patch(&me, &topic, &json!({"draft": true})).await;
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.post(&me, &format!("{topic}/auto-merge"), &Value::Null).await;
    told.get(&me, &topic).await;
    told.send_with(&me, Method::DELETE, &format!("{topic}/auto-merge"), &[], "null").await;
    told.say("a missing flag is false");
    told.patch(&me, &topic, &json!({})).await;
    told.get(&me, &topic).await;
    told.say("not on main, and not where nothing is");
    told.patch(&me, &format!("{REPO}/branch/main"), &json!({"draft": true})).await;
    told.post(&me, &format!("{REPO}/branch/main/auto-merge"), &json!({})).await;
    told.delete(&me, &format!("{REPO}/branch/main/auto-merge")).await;
    told.patch(&me, &format!("{REPO}/branch/none"), &json!({"draft": true})).await;
    told.post(&me, &format!("{REPO}/branch/none/auto-merge"), &json!({})).await;
    insta::assert_snapshot!(told, @r#"
    PATCH /repos/default/default/-/branch/topic {"draft":true}
      200 {"draft":true,"name":"topic"}
    POST /repos/default/default/-/merge {"branch":"topic"}
      409 {"code":"BRANCH_DRAFT","error":"branch is in draft state","requirements":[{"command":"ds ready topic","kind":"draft","what":"the branch is a draft; somebody must say that it is ready","who":["role:writer"]}]}
    POST /repos/default/default/-/branch/topic/auto-merge
      204
    GET /repos/default/default/-/branch/topic
      200 {"auto_merge":true,"base_sequence":0,"draft":true,"head_sequence":0,"name":"topic","repo":"default/default","status":"active"}
    DELETE /repos/default/default/-/branch/topic/auto-merge null
      204
    # a missing flag is false
    PATCH /repos/default/default/-/branch/topic {}
      200 {"draft":false,"name":"topic"}
    GET /repos/default/default/-/branch/topic
      200 {"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":0,"name":"topic","repo":"default/default","status":"active"}
    # not on main, and not where nothing is
    PATCH /repos/default/default/-/branch/main {"draft":true}
      400 {"code":"BAD_REQUEST","error":"cannot modify branch 'main'"}
    POST /repos/default/default/-/branch/main/auto-merge {}
      400 {"code":"BAD_REQUEST","error":"cannot enable auto-merge on branch 'main'"}
    DELETE /repos/default/default/-/branch/main/auto-merge
      400 {"code":"BAD_REQUEST","error":"cannot disable auto-merge on branch 'main'"}
    PATCH /repos/default/default/-/branch/none {"draft":true}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/branch/none/auto-merge {}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    "#);
}

#[tokio::test]
async fn a_condition_holds_a_change_to_the_head_that_was_seen() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    let repo = "/repos/acme/app/-";
    commit(&me, repo, "main", &[("a", Some("1"))]).await;
    let main = me.get(&format!("{repo}/branch/main")).await;
    // The contract's example: the tag of `acme/app`, `main` at 1.
    assert_eq!(main.headers["etag"], "\"fd0c768b44249befe4568a1145944d38c39dc8a4f535521d39da493e8b120f0a\"");
    branch(&me, repo, "topic").await;
    let topic = format!("{repo}/branch/topic");
    let seen = me.get(&topic).await.headers["etag"].to_str().unwrap().to_owned();
    commit(&me, repo, "topic", &[("b", Some("2"))]).await;
    let now = me.get(&topic).await.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(seen, now);
    let bare = now.trim_matches('"').to_owned();
    let mut told = Transcript::new();
    for (tag, what) in [
        (seen.as_str(), "of before"),
        (&bare, "without quotes"),
        (&format!("W/{now}"), "weak"),
        (&format!("{seen}, {now}"), "a list"),
        ("", "empty"),
        (&now, "current"),
        ("*", "any"),
    ] {
        let request = |method, path: &str| me.request(method, path).header("If-Match", tag);
        told.say(what);
        let patch = request(Method::PATCH, &topic).body("{\"draft\":true}");
        told.note("PATCH", &docstore_test_support::Answer::of(patch).await);
        let enable = request(Method::POST, &format!("{topic}/auto-merge"));
        told.note("POST auto-merge", &docstore_test_support::Answer::of(enable).await);
    }
    told.say("`*` asks for existence; main is refused before the tag is looked at");
    let star = me.request(Method::DELETE, &format!("{repo}/branch/none")).header("If-Match", "*");
    told.note("DELETE none", &docstore_test_support::Answer::of(star).await);
    let main = me.request(Method::DELETE, &format!("{repo}/branch/main")).header("If-Match", "\"x\"");
    told.note("DELETE main", &docstore_test_support::Answer::of(main).await);
    let old = me.request(Method::DELETE, &topic).header("If-Match", &seen);
    told.note("DELETE of before", &docstore_test_support::Answer::of(old).await);
    let gone = me.request(Method::DELETE, &topic).header("If-Match", &now);
    told.note("DELETE current", &docstore_test_support::Answer::of(gone).await);
    insta::assert_snapshot!(told, @r#"
    # of before
    PATCH
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST auto-merge
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    # without quotes
    PATCH
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST auto-merge
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    # weak
    PATCH
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST auto-merge
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    # a list
    PATCH
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST auto-merge
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    # empty
    PATCH
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST auto-merge
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    # current
    PATCH
      200 {"draft":true,"name":"topic"}
    POST auto-merge
      204
    # any
    PATCH
      200 {"draft":true,"name":"topic"}
    POST auto-merge
      204
    # `*` asks for existence; main is refused before the tag is looked at
    DELETE none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    DELETE main
      400 {"code":"BAD_REQUEST","error":"cannot delete branch 'main'"}
    DELETE of before
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    DELETE current
      204
    "#);
}
