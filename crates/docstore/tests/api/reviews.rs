//! `/repos/{repo}/-/review`, `/comment`, and what is read of them below a branch.

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, text_file};

/// People with a role in the default repo.
async fn people<const N: usize>(app: &TestApp, roles: [(&str, &str); N]) -> [Person; N] {
    // The first explicit admin ends the global admin's special standing.
    let admin = app.admin();
    admin.put(&format!("{REPO}/roles/admin@example.com"), &json!({"role": "admin"})).await.expect(200);
    for (name, role) in roles {
        admin.put(&format!("{REPO}/roles/{name}@example.com"), &json!({"role": role})).await.expect(200);
    }
    roles.map(|(name, _)| app.person(&format!("{name}@example.com")))
}

async fn version(who: &Person, path: &str, branch: &str) -> Value {
    who.get(&format!("{REPO}/file/{path}?branch={branch}")).await.expect(200)["version_id"].clone()
}

async fn events(app: &TestApp, start: &str) -> Vec<String> {
    let query = sqlx::query_scalar("SELECT payload::jsonb->>'data' FROM event_log WHERE type LIKE $1 ORDER BY id");
    query.bind(format!("com.docstore.{start}%")).fetch_all(&app.pool().await).await.unwrap()
}

#[tokio::test]
async fn a_branch_is_reviewed_by_others_than_its_authors() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    let [alice, bob, carol, reader] =
        people(&app, [("alice", "writer"), ("bob", "maintainer"), ("carol", "writer"), ("reader", "reader")]).await;
    let change = json!({"branch": "topic", "message": "m\n\nCo-authored-by: Carol <CAROL@example.com>",
        "files": [text_file("b", "2")]});
    alice.post(&format!("{REPO}/commit"), &change).await.expect(201);
    let review = format!("{REPO}/review");
    let reviews = format!("{REPO}/branch/topic/reviews");
    let mut told = Transcript::new();
    told.say("who wrote it, and whom it names, may reject it, but not approve it");
    told.post(&alice, &review, &json!({"branch": "topic", "status": "approved"})).await;
    told.post(&carol, &review, &json!({"branch": "topic", "status": "approved"})).await;
    told.post(&alice, &review, &json!({"branch": "topic", "status": "rejected", "body": "not yet"})).await;
    told.post(&reader, &review, &json!({"branch": "topic", "status": "approved"})).await;
    told.say("what was read is what is approved");
    told.post(&bob, &review, &json!({"branch": "topic", "status": "approved", "expected_head": 1})).await;
    told.post(&bob, &review, &json!({"branch": "topic", "status": "approved", "expected_head": 2, "body": ""})).await;
    told.get(&reader, &reviews).await;
    told.say("a rebase makes the rebaser no author, and lets the authors off nothing");
    commit(&me, REPO, "main", &[("c", Some("3"))]).await;
    bob.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    for who in [&alice, &carol, &bob] {
        told.post(who, &review, &json!({"branch": "topic", "status": "approved"})).await;
    }
    told.get(&me, &format!("{reviews}?at=2")).await;
    told.get(&me, &format!("{reviews}?at=4")).await;
    told.say("what a rebase resolves is written by the rebaser");
    commit(&me, REPO, "main", &[("b", Some("4"))]).await;
    let resolved = json!({"branch": "topic", "resolutions": [text_file("b", "5")]});
    bob.post(&format!("{REPO}/rebase"), &resolved).await.expect(200);
    told.post(&bob, &review, &json!({"branch": "topic", "status": "approved"})).await;
    told.post(&bob, &review, &json!({"branch": "topic", "status": "dismissed"})).await;
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"branch": "topic"}),
        json!({"branch": "topic", "status": "maybe"}),
        json!({"branch": "topic", "status": "approved", "body": "\0"}),
        json!({"branch": "none", "status": "approved"}),
        json!({"branch": "a\0b", "status": "approved"}),
    ] {
        told.post(&bob, &review, &body).await;
    }
    told.get(&me, &format!("{REPO}/branch/none/reviews")).await;
    told.get(&me, &format!("{reviews}?at=x")).await;
    told.get(&me, &format!("{reviews}?limit=1&after=00000000-0000-7000-8000-000000000000")).await;
    told.get(&me, &format!("{reviews}?after=x")).await;
    insta::assert_snapshot!(told, @r#"
    # who wrote it, and whom it names, may reject it, but not approve it
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      403 {"code":"FORBIDDEN","error":"reviewer cannot approve their own commits"}
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      403 {"code":"FORBIDDEN","error":"reviewer cannot approve their own commits"}
    POST /repos/default/default/-/review {"body":"not yet","branch":"topic","status":"rejected"}
      201 {"id":"ID-1","sequence":2}
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    # what was read is what is approved
    POST /repos/default/default/-/review {"branch":"topic","expected_head":1,"status":"approved"}
      409 {"code":"HEAD_MOVED","error":"branch 'topic' has moved to 2; fetch it and try again","head_sequence":2}
    POST /repos/default/default/-/review {"body":"","branch":"topic","expected_head":2,"status":"approved"}
      201 {"id":"ID-2","sequence":2}
    GET /repos/default/default/-/branch/topic/reviews
      200 [{"base_sequence":1,"branch":"topic","change_digest":"HASH-1","created_at":"TIME","id":"ID-2","repo":"default/default","reviewer":"bob@example.com","reviewer_kind":"person","sequence":2,"status":"approved"},{"base_sequence":1,"body":"not yet","branch":"topic","change_digest":"HASH-1","created_at":"TIME","id":"ID-1","repo":"default/default","reviewer":"alice@example.com","reviewer_kind":"person… (436 bytes)
    # a rebase makes the rebaser no author, and lets the authors off nothing
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      403 {"code":"FORBIDDEN","error":"reviewer cannot approve their own commits"}
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      403 {"code":"FORBIDDEN","error":"reviewer cannot approve their own commits"}
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      201 {"id":"ID-3","sequence":4}
    GET /repos/default/default/-/branch/topic/reviews?at=2
      200 [{"base_sequence":1,"branch":"topic","change_digest":"HASH-1","created_at":"TIME","id":"ID-2","repo":"default/default","reviewer":"bob@example.com","reviewer_kind":"person","sequence":2,"status":"approved"},{"base_sequence":1,"body":"not yet","branch":"topic","change_digest":"HASH-1","created_at":"TIME","id":"ID-1","repo":"default/default","reviewer":"alice@example.com","reviewer_kind":"person… (436 bytes)
    GET /repos/default/default/-/branch/topic/reviews?at=4
      200 [{"base_sequence":3,"branch":"topic","change_digest":"HASH-1","created_at":"TIME","id":"ID-3","repo":"default/default","reviewer":"bob@example.com","reviewer_kind":"person","sequence":4,"status":"approved"}]
    # what a rebase resolves is written by the rebaser
    POST /repos/default/default/-/review {"branch":"topic","status":"approved"}
      403 {"code":"FORBIDDEN","error":"reviewer cannot approve their own commits"}
    POST /repos/default/default/-/review {"branch":"topic","status":"dismissed"}
      201 {"id":"ID-4","sequence":7}
    # what cannot be
    POST /repos/default/default/-/review {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/review {"branch":"topic"}
      400 {"code":"BAD_REQUEST","error":"status is required"}
    POST /repos/default/default/-/review {"branch":"topic","status":"maybe"}
      400 {"code":"BAD_REQUEST","error":"invalid status; must be approved, rejected, or dismissed"}
    POST /repos/default/default/-/review {"body":"\u0000","branch":"topic","status":"approved"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    POST /repos/default/default/-/review {"branch":"none","status":"approved"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/review {"branch":"a\u0000b","status":"approved"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    GET /repos/default/default/-/branch/none/reviews
      200 []
    GET /repos/default/default/-/branch/topic/reviews?at=x
      400 {"code":"BAD_REQUEST","error":"invalid 'at' parameter"}
    GET /repos/default/default/-/branch/topic/reviews?limit=1&after=ID-5
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /repos/default/default/-/branch/topic/reviews?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    "#);
    let seen = events(&app, "review.submitted").await;
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[1].contains(r#""status": "approved""#), "{seen:?}");
    // Pages are the list in pieces.
    let all = me.get(&reviews).await.expect(200);
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = me.get(&format!("{reviews}?limit=3{after}")).await.expect(200);
        let Some(last) = page.as_array().unwrap().last() else { break };
        after = format!("&after={}", last["id"].as_str().unwrap());
        paged.extend(page.as_array().unwrap().clone());
    }
    assert_eq!(Value::Array(paged), all);
}

#[tokio::test]
async fn who_pushed_what_others_wrote_does_not_approve_it() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    let [alice, bob] = people(&app, [("alice", "maintainer"), ("bob", "maintainer")]).await;
    let imported = json!({"branch": "topic", "commits": [{"author": "alice@example.com", "message": "m",
        "imported_from": "git:1", "files": [text_file("b", "2")]}]});
    me.post(&format!("{REPO}/import"), &imported).await.expect(201);
    let pushed_by =
        async |sequence: i64| me.get(&format!("{REPO}/commit/{sequence}")).await.expect(200)["pushed_by"].clone();
    assert_eq!((pushed_by(1).await, pushed_by(2).await), (Value::Null, json!("admin@example.com")));
    let review = json!({"branch": "topic", "status": "approved"});
    for part in [&me, &alice] {
        let refused = part.post(&format!("{REPO}/review"), &review).await.expect(403);
        assert_eq!(refused["error"], "reviewer cannot approve their own commits");
    }
    // A rebase by somebody else changes nothing of that.
    commit(&me, REPO, "main", &[("c", Some("1"))]).await;
    let rebased = bob.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    assert_eq!(pushed_by(rebased["head_sequence"].as_i64().unwrap()).await, "admin@example.com");
    for part in [&me, &alice] {
        part.post(&format!("{REPO}/review"), &review).await.expect(403);
    }
    bob.post(&format!("{REPO}/review"), &review).await.expect(201);
}

#[tokio::test]
async fn files_and_lines_are_commented_on_in_threads() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1\n2\n3\n"))]).await;
    branch(&me, REPO, "topic").await;
    branch(&me, REPO, "other").await;
    commit(&me, REPO, "topic", &[("a", Some("1\n2\n4\n")), ("b", Some("x"))]).await;
    let [alice, bob] = people(&app, [("alice", "writer"), ("bob", "writer")]).await;
    let (old, new) = (version(&me, "a", "main").await, version(&me, "a", "topic").await);
    let comment = format!("{REPO}/comment");
    let comments = format!("{REPO}/branch/topic/comments");
    let mut told = Transcript::new();
    let about = |version: &Value, more: Value| {
        let mut body = json!({"branch": "topic", "path": "a", "version_id": version, "body": "why?"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let first = told.post(&alice, &comment, &about(&new, json!({"review_id": ""}))).await.json();
    told.post(&alice, &comment, &about(&old, json!({"start_line": 3, "side": "old"}))).await;
    told.post(&alice, &comment, &about(&new, json!({"start_line": 2, "end_line": 3, "side": "new"}))).await;
    told.say("replies have what their thread has, whichever comment of it they reply to");
    let thread = |id: &Value, body: &str| json!({"branch": "topic", "in_reply_to": id, "body": body});
    let reply = told.post(&bob, &comment, &thread(&first["id"], "because")).await.json();
    told.post(&alice, &comment, &thread(&reply["id"], "I see")).await;
    told.get(&alice, &comments).await;
    told.say("resolving any of them resolves the thread");
    let one = |id: &Value| format!("{comment}/{}", id.as_str().unwrap());
    told.patch(&bob, &one(&reply["id"]), &json!({"resolved": true})).await;
    told.patch(&bob, &one(&first["id"]), &json!({"resolved": true})).await;
    told.say("the next one begins the thread when the first is gone");
    told.delete(&bob, &one(&first["id"])).await;
    told.delete(&alice, &one(&first["id"])).await;
    told.delete(&alice, &one(&first["id"])).await;
    let left = me.get(&comments).await.expect(200);
    let shape = |comment: &Value| {
        json!([comment["body"], comment["in_reply_to"] == reply["id"], !comment["resolved_at"].is_null()])
    };
    let shapes: Vec<Value> = left.as_array().unwrap().iter().map(shape).collect();
    assert_eq!(
        Value::Array(shapes),
        json!([["why?", false, false], ["why?", false, false], ["because", false, true], ["I see", true, false]])
    );
    told.patch(&alice, &one(&reply["id"]), &json!({"resolved": false})).await;
    told.delete(&me, &one(&reply["id"])).await;
    told.get(&me, &format!("{comments}?path=b")).await;
    told.get(&me, &format!("{REPO}/branch/none/comments")).await;
    told.say("what cannot be");
    let none = json!("00000000-0000-7000-8000-000000000000");
    for body in [
        json!({}),
        json!({"branch": "topic"}),
        json!({"branch": "topic", "path": "a"}),
        json!({"branch": "topic", "path": "a", "version_id": new}),
        about(&json!("x"), json!({})),
        about(&none, json!({})),
        about(&new, json!({"path": "b"})),
        about(&new, json!({"path": "a\0"})),
        about(&new, json!({"branch": "none"})),
        about(&new, json!({"review_id": "x"})),
        about(&new, json!({"review_id": none})),
        about(&new, json!({"in_reply_to": "x"})),
        about(&new, json!({"in_reply_to": none})),
        about(&new, json!({"start_line": 0})),
        about(&new, json!({"start_line": 3, "end_line": 2})),
        about(&new, json!({"end_line": 2})),
        about(&new, json!({"start_line": 3, "end_line": 4})),
        about(&old, json!({"start_line": 4, "side": "old"})),
        about(&new, json!({"side": "left"})),
    ] {
        told.post(&alice, &comment, &body).await;
    }
    let elsewhere = json!({"branch": "other", "in_reply_to": reply["id"], "body": "x"});
    told.post(&alice, &comment, &elsewhere).await;
    told.patch(&alice, &format!("{comment}/x"), &json!({"resolved": true})).await;
    told.patch(&alice, &one(&none), &json!({"resolved": true})).await;
    told.patch(&alice, &one(&none), &json!({})).await;
    told.delete(&alice, &format!("{comment}/x")).await;
    told.get(&me, &format!("{comments}?after=x")).await;
    told.get(&me, &format!("{comments}?after=00000000-0000-7000-8000-000000000000")).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","review_id":"","version_id":"ID-1"}
      201 {"id":"ID-2","sequence":2}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","side":"old","start_line":3,"version_id":"ID-3"}
      201 {"id":"ID-4","sequence":2}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","end_line":3,"path":"a","side":"new","start_line":2,"version_id":"ID-1"}
      201 {"id":"ID-5","sequence":2}
    # replies have what their thread has, whichever comment of it they reply to
    POST /repos/default/default/-/comment {"body":"because","branch":"topic","in_reply_to":"ID-2"}
      201 {"id":"ID-6","sequence":2}
    POST /repos/default/default/-/comment {"body":"I see","branch":"topic","in_reply_to":"ID-6"}
      201 {"id":"ID-7","sequence":2}
    GET /repos/default/default/-/branch/topic/comments
      200 [{"author":"alice@example.com","author_kind":"person","body":"why?","branch":"topic","created_at":"TIME","id":"ID-2","path":"a","sequence":2,"version_id":"ID-1"},{"author":"alice@example.com","author_kind":"person","body":"why?","branch":"topic","created_at":"TIME","end_line":3,"id":"ID-4","path":"a","sequence":2,"side":"old","start_line":3,"version_id":"ID-3"},{"author":"alice@example.com","a… (936 bytes)
    # resolving any of them resolves the thread
    PATCH /repos/default/default/-/comment/ID-6 {"resolved":true}
      200 {"author":"alice@example.com","author_kind":"person","body":"why?","branch":"topic","created_at":"TIME","id":"ID-2","path":"a","resolved_at":"TIME","resolved_by":"bob@example.com","sequence":2,"version_id":"ID-1"}
    PATCH /repos/default/default/-/comment/ID-2 {"resolved":true}
      200 {"author":"alice@example.com","author_kind":"person","body":"why?","branch":"topic","created_at":"TIME","id":"ID-2","path":"a","resolved_at":"TIME","resolved_by":"bob@example.com","sequence":2,"version_id":"ID-1"}
    # the next one begins the thread when the first is gone
    DELETE /repos/default/default/-/comment/ID-2
      403 {"code":"FORBIDDEN","error":"forbidden: must be comment author or maintainer"}
    DELETE /repos/default/default/-/comment/ID-2
      204
    DELETE /repos/default/default/-/comment/ID-2
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    PATCH /repos/default/default/-/comment/ID-6 {"resolved":false}
      200 {"author":"bob@example.com","author_kind":"person","body":"because","branch":"topic","created_at":"TIME","id":"ID-6","path":"a","sequence":2,"version_id":"ID-1"}
    DELETE /repos/default/default/-/comment/ID-6
      204
    GET /repos/default/default/-/branch/topic/comments?path=b
      200 []
    GET /repos/default/default/-/branch/none/comments
      200 []
    # what cannot be
    POST /repos/default/default/-/comment {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/comment {"branch":"topic"}
      400 {"code":"BAD_REQUEST","error":"path is required"}
    POST /repos/default/default/-/comment {"branch":"topic","path":"a"}
      400 {"code":"BAD_REQUEST","error":"version_id is required"}
    POST /repos/default/default/-/comment {"branch":"topic","path":"a","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"body is required"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","version_id":"x"}
      400 {"code":"BAD_REQUEST","error":"version_id is not a UUID"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","version_id":"ID-8"}
      400 {"code":"BAD_REQUEST","error":"version_id is not a content of 'a'"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"b","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"version_id is not a content of 'b'"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a\u0000","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"none","path":"a","version_id":"ID-1"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","review_id":"x","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"review_id is not a UUID"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","review_id":"ID-8","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"review_id is not a review of the branch"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","in_reply_to":"x","path":"a","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"in_reply_to is not a UUID"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","in_reply_to":"ID-8","path":"a","version_id":"ID-1"}
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","start_line":0,"version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"lines must be 1 <= start_line <= end_line"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","end_line":2,"path":"a","start_line":3,"version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"lines must be 1 <= start_line <= end_line"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","end_line":2,"path":"a","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"lines must be 1 <= start_line <= end_line"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","end_line":4,"path":"a","start_line":3,"version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"line 4 is not in 'a', which has 3 lines"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","side":"old","start_line":4,"version_id":"ID-3"}
      400 {"code":"BAD_REQUEST","error":"line 4 is not in 'a', which has 3 lines"}
    POST /repos/default/default/-/comment {"body":"why?","branch":"topic","path":"a","side":"left","version_id":"ID-1"}
      400 {"code":"BAD_REQUEST","error":"invalid side; must be old or new"}
    POST /repos/default/default/-/comment {"body":"x","branch":"other","in_reply_to":"ID-6"}
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    PATCH /repos/default/default/-/comment/x {"resolved":true}
      400 {"code":"BAD_REQUEST","error":"comment id is not a UUID"}
    PATCH /repos/default/default/-/comment/ID-8 {"resolved":true}
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    PATCH /repos/default/default/-/comment/ID-8 {}
      400 {"code":"BAD_REQUEST","error":"resolved is required"}
    DELETE /repos/default/default/-/comment/x
      400 {"code":"BAD_REQUEST","error":"comment id is not a UUID"}
    GET /repos/default/default/-/branch/topic/comments?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /repos/default/default/-/branch/topic/comments?after=ID-8
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    "#);
    let kinds: Vec<String> =
        sqlx::query_scalar("SELECT type FROM event_log WHERE type LIKE '%.review.comment.%' ORDER BY id")
            .fetch_all(&app.pool().await)
            .await
            .unwrap();
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.rsplit('.').next().unwrap()).collect();
    assert_eq!(
        kinds,
        ["created", "created", "created", "created", "created", "resolved", "deleted", "reopened", "deleted"]
    );
}

#[tokio::test]
async fn a_review_brings_its_comments_or_nothing() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("2"))]).await;
    let [alice] = people(&app, [("alice", "writer")]).await;
    let new = version(&me, "a", "topic").await;
    let draft = |body: &str| json!({"path": "a", "version_id": new, "body": body, "start_line": 1});
    let review = |comments: Vec<Value>| json!({"branch": "topic", "status": "rejected", "comments": comments});
    let path = format!("{REPO}/review");
    let mut told = Transcript::new();
    told.post(&alice, &path, &review(vec![draft("one"), draft("two")])).await;
    told.get(&alice, &format!("{REPO}/branch/topic/comments")).await;
    told.say("one that cannot be, and none is there");
    told.post(&alice, &path, &review(vec![draft("three"), draft("")])).await;
    let unknown = json!({"path": "b", "version_id": new, "body": "x"});
    told.post(&alice, &path, &review(vec![draft("three"), unknown])).await;
    let nowhere = json!({"in_reply_to": "00000000-0000-7000-8000-000000000000", "body": "x"});
    told.post(&alice, &path, &review(vec![draft("three"), nowhere])).await;
    told.say("too many");
    told.post(&alice, &path, &review(vec![draft("x"); 201])).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/review {"branch":"topic","comments":[{"body":"one","path":"a","start_line":1,"version_id":"ID-1"},{"body":"two","path":"a","start_line":1,"version_id":"ID-1"}],"status":"rejected"}
      201 {"comment_ids":["ID-2","ID-3"],"id":"ID-4","sequence":2}
    GET /repos/default/default/-/branch/topic/comments
      200 [{"author":"alice@example.com","author_kind":"person","body":"one","branch":"topic","created_at":"TIME","end_line":1,"id":"ID-2","path":"a","review_id":"ID-4","sequence":2,"start_line":1,"version_id":"ID-1"},{"author":"alice@example.com","author_kind":"person","body":"two","branch":"topic","created_at":"TIME","end_line":1,"id":"ID-3","path":"a","review_id":"ID-4","sequence":2,"start_line":1,"v… (419 bytes)
    # one that cannot be, and none is there
    POST /repos/default/default/-/review {"branch":"topic","comments":[{"body":"three","path":"a","start_line":1,"version_id":"ID-1"},{"body":"","path":"a","start_line":1,"version_id":"ID-1"}],"status":"rejected"}
      400 {"code":"BAD_REQUEST","error":"comments[1]: body is required"}
    POST /repos/default/default/-/review {"branch":"topic","comments":[{"body":"three","path":"a","start_line":1,"version_id":"ID-1"},{"body":"x","path":"b","version_id":"ID-1"}],"status":"rejected"}
      400 {"code":"BAD_REQUEST","error":"version_id is not a content of 'b'"}
    POST /repos/default/default/-/review {"branch":"topic","comments":[{"body":"three","path":"a","start_line":1,"version_id":"ID-1"},{"body":"x","in_reply_to":"ID-5"}],"status":"rejected"}
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    # too many
    POST /repos/default/default/-/review {"branch":"topic","comments":[{"body":"x","path":"a","start_line":1,"version_id":"ID-1"},{"body":"x","path":"a","start_line":1,"version_id":"ID-1"},{"body":"x","path":"a","start_line":1,"version_id":"ID-1"},{"body":"x","path":"a","start_line":1,"version_id":"ID-1"},{"body… (18342 bytes)
      413 {"code":"PAYLOAD_TOO_LARGE","error":"one review may hold at most 200 comments"}
    "#);
    assert_eq!(me.get(&format!("{REPO}/branch/topic/reviews")).await.expect(200).as_array().unwrap().len(), 1);
    assert_eq!(me.get(&format!("{REPO}/branch/topic/comments")).await.expect(200).as_array().unwrap().len(), 2);
    assert_eq!(events(&app, "review").await.len(), 3);
}

#[tokio::test]
async fn what_was_said_goes_with_the_branch() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    me.put(&format!("{REPO}/required-checks"), &json!({"check_name": "test"})).await.expect(200);
    for name in ["gone", "kept"] {
        branch(&me, REPO, name).await;
        commit(&me, REPO, name, &[("a", Some(name))]).await;
        let body = json!({"path": "a", "version_id": version(&me, "a", name).await, "body": "x"});
        let review = json!({"branch": name, "status": "rejected", "comments": [body]});
        let made = me.post(&format!("{REPO}/review"), &review).await.expect(201);
        let reply = json!({"branch": name, "in_reply_to": made["comment_ids"][0], "body": "y"});
        me.post(&format!("{REPO}/comment"), &reply).await.expect(201);
    }
    me.delete(&format!("{REPO}/branch/gone")).await.expect(204);
    let pool = app.pool().await;
    for table in ["commits", "branches"] {
        let age = format!("UPDATE {table} SET created_at = created_at - interval '3 days'");
        sqlx::query(sqlx::AssertSqlSafe(age)).execute(&pool).await.unwrap();
    }
    let purged = me.post(&format!("{REPO}/purge"), &json!({"older_than": "1d"})).await.expect(200);
    assert_eq!((&purged["reviews_deleted"], &purged["check_runs_deleted"]), (&json!(1), &json!(1)));
    let count = async |table: &str| -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&pool).await.unwrap()
    };
    assert_eq!([count("reviews").await, count("review_comments").await], [1, 2]);
    // A new branch of that name inherits nothing.
    branch(&me, REPO, "gone").await;
    for what in ["reviews", "comments", "checks"] {
        assert_eq!(me.get(&format!("{REPO}/branch/gone/{what}")).await.expect(200), json!([]));
    }
}
