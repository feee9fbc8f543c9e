//! `/repos/{repo}/-/issues`, with comments and refs.

use docstore_test_support::{ADMIN, Person, TestApp};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, clear_until_empty, commit, grant};

const ISSUES: &str = "/repos/default/default/-/issues";

/// A server with its admin, a maintainer and two writers.
async fn world() -> (TestApp, Person, Person, Person, Person) {
    let app = TestApp::start().await;
    let me = app.admin();
    grant(&me, ADMIN, "admin").await;
    for (who, role) in [("max@example.com", "maintainer"), ("ann@example.com", "writer"), ("bob@example.com", "writer")]
    {
        grant(&me, who, role).await;
    }
    let (max, ann, bob) = (app.person("max@example.com"), app.person("ann@example.com"), app.person("bob@example.com"));
    (app, me, max, ann, bob)
}

async fn open(who: &Person, title: &str) -> i64 {
    who.post(ISSUES, &json!({"title": title})).await.expect(201)["number"].as_i64().unwrap()
}

#[tokio::test]
async fn an_issue_is_opened_changed_closed_and_opened_again() {
    let (app, _me, max, ann, bob) = world().await;
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    told.post(&ann, ISSUES, &json!({"title": "First", "body": "text", "labels": ["bug", "ui", "bug"]})).await;
    told.get(&bob, &format!("{ISSUES}/1")).await;
    told.say("somebody else's");
    told.patch(&bob, &format!("{ISSUES}/1"), &json!({"title": "Mine"})).await;
    told.post(&bob, &format!("{ISSUES}/1/close"), &Value::Null).await;
    told.say("the author's; what stays as it is changes nothing");
    told.patch(&ann, &format!("{ISSUES}/1"), &json!({"title": "Second", "labels": null})).await;
    told.patch(&ann, &format!("{ISSUES}/1"), &json!({"labels": ["bug", "ui"]})).await;
    told.patch(&ann, &format!("{ISSUES}/1"), &json!({"labels": [], "body": ""})).await;
    told.say("closing and opening");
    told.post(&ann, &format!("{ISSUES}/1/close"), &json!({"reason": "wrong"})).await;
    told.post(&ann, &format!("{ISSUES}/1/reopen"), &json!({})).await;
    told.post(&max, &format!("{ISSUES}/1/close"), &json!({"reason": "not_planned"})).await;
    told.post(&max, &format!("{ISSUES}/1/close"), &json!({"reason": "not_planned"})).await;
    told.post(&bob, &format!("{ISSUES}/1/reopen"), &Value::Null).await;
    told.post(&ann, &format!("{ISSUES}/1/reopen"), &Value::Null).await;
    told.say("without a body");
    told.send(&ann, http::Method::POST, &format!("{ISSUES}/1/close"), &Value::Null).await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/issues {"body":"text","labels":["bug","ui","bug"],"title":"First"}
      201 {"id":"ID-1","number":1}
    GET /repos/default/default/-/issues/1
      200 {"author":"ann@example.com","body":"text","created_at":"TIME","id":"ID-1","labels":["bug","ui"],"number":1,"repo":"default/default","state":"open","title":"First","updated_at":"TIME"}
    # somebody else's
    PATCH /repos/default/default/-/issues/1 {"title":"Mine"}
      403 {"code":"FORBIDDEN","error":"forbidden: must be issue author or maintainer"}
    POST /repos/default/default/-/issues/1/close
      403 {"code":"FORBIDDEN","error":"forbidden: must be issue author or maintainer"}
    # the author's; what stays as it is changes nothing
    PATCH /repos/default/default/-/issues/1 {"labels":null,"title":"Second"}
      200 {"author":"ann@example.com","body":"text","created_at":"TIME","id":"ID-1","labels":["bug","ui"],"number":1,"repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    PATCH /repos/default/default/-/issues/1 {"labels":["bug","ui"]}
      200 {"author":"ann@example.com","body":"text","created_at":"TIME","id":"ID-1","labels":["bug","ui"],"number":1,"repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    PATCH /repos/default/default/-/issues/1 {"body":"","labels":[]}
      200 {"author":"ann@example.com","created_at":"TIME","id":"ID-1","labels":[],"number":1,"repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    # closing and opening
    POST /repos/default/default/-/issues/1/close {"reason":"wrong"}
      400 {"code":"BAD_REQUEST","error":"invalid close reason"}
    POST /repos/default/default/-/issues/1/reopen {}
      409 {"code":"CONFLICT","error":"conflict: issue is already open"}
    POST /repos/default/default/-/issues/1/close {"reason":"not_planned"}
      200 {"author":"ann@example.com","close_reason":"not_planned","closed_at":"TIME","closed_by":"max@example.com","created_at":"TIME","id":"ID-1","labels":[],"number":1,"repo":"default/default","state":"closed","title":"Second","updated_at":"TIME"}
    POST /repos/default/default/-/issues/1/close {"reason":"not_planned"}
      409 {"code":"CONFLICT","error":"conflict: issue is already closed"}
    POST /repos/default/default/-/issues/1/reopen
      403 {"code":"FORBIDDEN","error":"forbidden: must be issue author or maintainer"}
    POST /repos/default/default/-/issues/1/reopen
      200 {"author":"ann@example.com","created_at":"TIME","id":"ID-1","labels":[],"number":1,"repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    # without a body
    POST /repos/default/default/-/issues/1/close
      200 {"author":"ann@example.com","close_reason":"completed","closed_at":"TIME","closed_by":"ann@example.com","created_at":"TIME","id":"ID-1","labels":[],"number":1,"repo":"default/default","state":"closed","title":"Second","updated_at":"TIME"}
    ! /repos/default/default issue.opened {"author":"ann@example.com","issue_id":"ID-1","number":1,"repo":"default/default"}
    ! /repos/default/default issue.updated {"issue_id":"ID-1","number":1,"repo":"default/default","updated_by":"ann@example.com"}
    ! /repos/default/default issue.updated {"issue_id":"ID-1","number":1,"repo":"default/default","updated_by":"ann@example.com"}
    ! /repos/default/default issue.closed {"closed_by":"max@example.com","issue_id":"ID-1","number":1,"reason":"not_planned","repo":"default/default"}
    ! /repos/default/default issue.reopened {"issue_id":"ID-1","number":1,"reopened_by":"ann@example.com","repo":"default/default"}
    ! /repos/default/default issue.closed {"closed_by":"ann@example.com","issue_id":"ID-1","number":1,"reason":"completed","repo":"default/default"}
    "#);
}

#[tokio::test]
async fn what_cannot_be_an_issue() {
    let (app, me, _max, ann, _bob) = world().await;
    open(&ann, "one").await;
    let mut told = Transcript::new();
    for body in [
        json!({}),
        json!({"title": ""}),
        json!({"title": "x".repeat(2000)}),
        json!({"title": "t", "labels": [""]}),
        json!({"title": "t", "labels": ["a\nb"]}),
        json!({"title": "t", "labels": ["x".repeat(101)]}),
        json!({"title": "t", "labels": "bug"}),
        json!({"title": "t", "body": "a\u{0}b"}),
    ] {
        told.post(&ann, ISSUES, &body).await;
    }
    told.say("numbers of nothing");
    for number in ["0", "-1", "x", "99999999999999999999", "7"] {
        told.get(&ann, &format!("{ISSUES}/{number}")).await;
    }
    for (method, path) in [("patch", "7"), ("post", "7/close"), ("post", "7/reopen")] {
        let method = method.to_uppercase().parse().unwrap();
        told.send(&ann, method, &format!("{ISSUES}/{path}"), &json!({"title": "t"})).await;
    }
    told.say("issues are never deleted");
    told.delete(&me, &format!("{ISSUES}/1")).await;
    told.get(&me, &format!("{ISSUES}/1/other")).await;
    told.say("by somebody who only reads, or is nobody");
    grant(&me, "rea@example.com", "reader").await;
    told.post(&app.person("rea@example.com"), ISSUES, &json!({"title": "t"})).await;
    told.get(&app.person("nobody@example.com"), ISSUES).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/issues {}
      400 {"code":"BAD_REQUEST","error":"title is required"}
    POST /repos/default/default/-/issues {"title":""}
      400 {"code":"BAD_REQUEST","error":"title is required"}
    POST /repos/default/default/-/issues {"title":"x*2000"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"title is longer than 1024 bytes"}
    POST /repos/default/default/-/issues {"labels":[""],"title":"t"}
      400 {"code":"BAD_REQUEST","error":"a label is empty or holds a control character"}
    POST /repos/default/default/-/issues {"labels":["a\nb"],"title":"t"}
      400 {"code":"BAD_REQUEST","error":"a label is empty or holds a control character"}
    POST /repos/default/default/-/issues {"labels":["x*101"],"title":"t"}
      400 {"code":"BAD_REQUEST","error":"a label is longer than 100 bytes"}
    POST /repos/default/default/-/issues {"labels":"bug","title":"t"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/issues {"body":"a\u0000b","title":"t"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    # numbers of nothing
    GET /repos/default/default/-/issues/0
      400 {"code":"BAD_REQUEST","error":"invalid issue number"}
    GET /repos/default/default/-/issues/-1
      400 {"code":"BAD_REQUEST","error":"invalid issue number"}
    GET /repos/default/default/-/issues/x
      400 {"code":"BAD_REQUEST","error":"invalid issue number"}
    GET /repos/default/default/-/issues/99999999999999999999
      400 {"code":"BAD_REQUEST","error":"invalid issue number"}
    GET /repos/default/default/-/issues/7
      404 {"code":"ISSUE_NOT_FOUND","error":"issue not found"}
    PATCH /repos/default/default/-/issues/7 {"title":"t"}
      404 {"code":"ISSUE_NOT_FOUND","error":"issue not found"}
    POST /repos/default/default/-/issues/7/close {"title":"t"}
      404 {"code":"ISSUE_NOT_FOUND","error":"issue not found"}
    POST /repos/default/default/-/issues/7/reopen {"title":"t"}
      404 {"code":"ISSUE_NOT_FOUND","error":"issue not found"}
    # issues are never deleted
    DELETE /repos/default/default/-/issues/1
      405 {"code":"METHOD_NOT_ALLOWED","error":"method not allowed"}
    GET /repos/default/default/-/issues/1/other
      404 {"code":"NOT_FOUND","error":"not found"}
    # by somebody who only reads, or is nobody
    POST /repos/default/default/-/issues {"title":"t"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    GET /repos/default/default/-/issues
      403 {"code":"FORBIDDEN","error":"forbidden"}
    "#);
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let (_app, _me, _max, ann, bob) = world().await;
    for (who, title, labels) in [
        (&ann, "one", vec!["bug"]),
        (&bob, "two", vec!["bug", "ui"]),
        (&ann, "three", vec![]),
        (&bob, "four", vec!["Bug"]),
    ] {
        who.post(ISSUES, &json!({"title": title, "labels": labels})).await.expect(201);
    }
    ann.post(&format!("{ISSUES}/1/close"), &Value::Null).await.expect(200);
    let numbers = async |query: &str| -> Vec<i64> {
        let list = ann.get(&format!("{ISSUES}{query}")).await.expect(200);
        list["issues"].as_array().unwrap().iter().map(|issue| issue["number"].as_i64().unwrap()).collect()
    };
    for (query, expected) in [
        ("", vec![4, 3, 2]),
        ("?state=open", vec![4, 3, 2]),
        ("?state=closed", vec![1]),
        ("?state=all", vec![4, 3, 2, 1]),
        ("?author=bob@example.com", vec![4, 2]),
        ("?label=bug&state=all", vec![2, 1]),
        ("?label=bug", vec![2]),
        ("?label=ui&author=ann@example.com", vec![]),
        ("?state=all&limit=2", vec![4, 3]),
        ("?state=all&limit=2&after=3", vec![2, 1]),
        ("?state=all&limit=2&after=1", vec![]),
    ] {
        assert_eq!(numbers(query).await, expected, "{query}");
    }
    let mut told = Transcript::new();
    for query in ["?state=x", "?limit=0", "?after=x"] {
        told.get(&ann, &format!("{ISSUES}{query}")).await;
    }
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/issues?state=x
      400 {"code":"BAD_REQUEST","error":"invalid state; must be open, closed, or all"}
    GET /repos/default/default/-/issues?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    GET /repos/default/default/-/issues?after=x
      400 {"code":"BAD_REQUEST","error":"invalid 'after' parameter"}
    "#);
}

#[tokio::test]
async fn comments_belong_to_their_author_and_their_issue() {
    let (app, me, max, ann, bob) = world().await;
    open(&ann, "one").await;
    open(&ann, "two").await;
    let comments = format!("{ISSUES}/1/comments");
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    let id = told.post(&ann, &comments, &json!({"body": "first"})).await.json()["id"].as_str().unwrap().to_owned();
    let mine = format!("{comments}/{id}");
    told.post(&bob, &comments, &json!({"body": "second"})).await;
    told.patch(&ann, &mine, &json!({"body": "better"})).await;
    told.get(&bob, &comments).await;
    told.say("somebody else's");
    told.patch(&bob, &mine, &json!({"body": "mine"})).await;
    told.delete(&bob, &mine).await;
    told.say("of another issue");
    told.patch(&ann, &format!("{ISSUES}/2/comments/{id}"), &json!({"body": "x"})).await;
    told.delete(&ann, &format!("{ISSUES}/2/comments/{id}")).await;
    told.say("what is no comment");
    for body in [json!({}), json!({"body": ""})] {
        told.post(&ann, &comments, &body).await;
        told.patch(&ann, &mine, &body).await;
    }
    told.post(&ann, &format!("{ISSUES}/7/comments"), &json!({"body": "x"})).await;
    told.post(&ann, &format!("{ISSUES}/x/comments"), &json!({"body": "x"})).await;
    told.get(&ann, &format!("{ISSUES}/7/comments")).await;
    told.patch(&ann, &format!("{comments}/x"), &json!({"body": "x"})).await;
    told.delete(&ann, &format!("{comments}/00000000-0000-7000-8000-000000000000")).await;
    told.say("by somebody who only reads");
    grant(&me, "rea@example.com", "reader").await;
    told.post(&app.person("rea@example.com"), &comments, &json!({"body": "x"})).await;
    told.say("the author deletes, and a maintainer");
    told.delete(&ann, &mine).await;
    told.delete(&ann, &mine).await;
    let other = max.get(&comments).await.expect(200)["comments"][0]["id"].as_str().unwrap().to_owned();
    told.delete(&max, &format!("{comments}/{other}")).await;
    told.get(&ann, &comments).await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/issues/1/comments {"body":"first"}
      201 {"id":"ID-1"}
    POST /repos/default/default/-/issues/1/comments {"body":"second"}
      201 {"id":"ID-2"}
    PATCH /repos/default/default/-/issues/1/comments/ID-1 {"body":"better"}
      200 {"author":"ann@example.com","body":"better","created_at":"TIME","edited_at":"TIME","id":"ID-1","issue_id":"ID-3","repo":"default/default"}
    GET /repos/default/default/-/issues/1/comments
      200 {"comments":[{"author":"ann@example.com","body":"better","created_at":"TIME","edited_at":"TIME","id":"ID-1","issue_id":"ID-3","repo":"default/default"},{"author":"bob@example.com","body":"second","created_at":"TIME","id":"ID-2","issue_id":"ID-3","repo":"default/default"}]}
    # somebody else's
    PATCH /repos/default/default/-/issues/1/comments/ID-1 {"body":"mine"}
      403 {"code":"FORBIDDEN","error":"forbidden: must be comment author or maintainer"}
    DELETE /repos/default/default/-/issues/1/comments/ID-1
      403 {"code":"FORBIDDEN","error":"forbidden: must be comment author or maintainer"}
    # of another issue
    PATCH /repos/default/default/-/issues/2/comments/ID-1 {"body":"x"}
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    DELETE /repos/default/default/-/issues/2/comments/ID-1
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    # what is no comment
    POST /repos/default/default/-/issues/1/comments {}
      400 {"code":"BAD_REQUEST","error":"body is required"}
    PATCH /repos/default/default/-/issues/1/comments/ID-1 {}
      400 {"code":"BAD_REQUEST","error":"body is required"}
    POST /repos/default/default/-/issues/1/comments {"body":""}
      400 {"code":"BAD_REQUEST","error":"body is required"}
    PATCH /repos/default/default/-/issues/1/comments/ID-1 {"body":""}
      400 {"code":"BAD_REQUEST","error":"body is required"}
    POST /repos/default/default/-/issues/7/comments {"body":"x"}
      404 {"code":"ISSUE_NOT_FOUND","error":"issue not found"}
    POST /repos/default/default/-/issues/x/comments {"body":"x"}
      400 {"code":"BAD_REQUEST","error":"invalid issue number"}
    GET /repos/default/default/-/issues/7/comments
      200 {"comments":[]}
    PATCH /repos/default/default/-/issues/1/comments/x {"body":"x"}
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    DELETE /repos/default/default/-/issues/1/comments/ID-4
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    # by somebody who only reads
    POST /repos/default/default/-/issues/1/comments {"body":"x"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    # the author deletes, and a maintainer
    DELETE /repos/default/default/-/issues/1/comments/ID-1
      204
    DELETE /repos/default/default/-/issues/1/comments/ID-1
      404 {"code":"COMMENT_NOT_FOUND","error":"comment not found"}
    DELETE /repos/default/default/-/issues/1/comments/ID-2
      204
    GET /repos/default/default/-/issues/1/comments
      200 {"comments":[]}
    ! /repos/default/default issue.comment.created {"author":"ann@example.com","comment_id":"ID-1","issue_id":"ID-3","number":1,"repo":"default/default"}
    ! /repos/default/default issue.comment.created {"author":"bob@example.com","comment_id":"ID-2","issue_id":"ID-3","number":1,"repo":"default/default"}
    ! /repos/default/default issue.comment.updated {"comment_id":"ID-1","issue_id":"ID-3","number":1,"repo":"default/default","updated_by":"ann@example.com"}
    ! /repos/default/default role.changed {"changed_by":"admin@example.com","identity":"rea@example.com","repo":"default/default","role":"reader"}
    ! /repos/default/default issue.comment.deleted {"comment_id":"ID-1","deleted_by":"ann@example.com","issue_id":"ID-3","number":1,"repo":"default/default"}
    ! /repos/default/default issue.comment.deleted {"comment_id":"ID-2","deleted_by":"max@example.com","issue_id":"ID-3","number":1,"repo":"default/default"}
    "#);
}

#[tokio::test]
async fn issues_are_tied_by_hand_and_by_what_texts_mention() {
    let (app, me, _max, ann, _bob) = world().await;
    let sequence = commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    open(&ann, "one").await;
    let refs = format!("{ISSUES}/1/refs");
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    told.post(&ann, &refs, &json!({"ref_type": "commit", "ref_id": "0001"})).await;
    told.post(&ann, &refs, &json!({"ref_type": "proposal", "ref_id": "00000000-0000-7000-8000-00000000ABCD"})).await;
    told.post(&ann, &refs, &json!({"ref_type": "proposal", "ref_id": "any text"})).await;
    told.events(&app).await;
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"ref_type": "branch", "ref_id": "1"}),
        json!({"ref_type": "commit"}),
        json!({"ref_type": "commit", "ref_id": "1"}),
        json!({"ref_type": "proposal", "ref_id": "00000000-0000-7000-8000-00000000abcd"}),
        json!({"ref_type": "commit", "ref_id": "x".repeat(300)}),
        json!({"ref_type": "commit", "ref_id": "a\nb"}),
    ] {
        told.post(&ann, &refs, &body).await;
    }
    told.post(&ann, &format!("{ISSUES}/7/refs"), &json!({"ref_type": "commit", "ref_id": "1"})).await;
    told.get(&ann, &format!("{ISSUES}/7/refs")).await;
    told.say("what texts mention");
    let body = json!({"title": "two", "body": "since commit:7, see commit:007 and xcommit:8"});
    told.post(&ann, ISSUES, &body).await;
    told.post(&ann, &format!("{ISSUES}/2/comments"), &json!({"body": "or commit:9"})).await;
    told.patch(&ann, &format!("{ISSUES}/2"), &json!({"body": "since commit:10"})).await;
    told.get(&ann, &format!("{ISSUES}/2/refs")).await;
    told.say("the other way round");
    told.get(&ann, &format!("{REPO}/commit/{sequence}/issues")).await;
    told.get(&ann, &format!("{REPO}/commit/9/issues")).await;
    told.get(&ann, &format!("{REPO}/commit/999/issues")).await;
    told.get(&ann, &format!("{REPO}/commit/x/issues")).await;
    told.get(&ann, &format!("{REPO}/proposals/any text/issues?limit=1")).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/issues/1/refs {"ref_id":"0001","ref_type":"commit"}
      201 {"id":"ID-1"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"ID-2","ref_type":"proposal"}
      201 {"id":"ID-3"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"any text","ref_type":"proposal"}
      201 {"id":"ID-4"}
    ! /repos/default/default issue.ref.added {"issue_id":"ID-5","number":1,"ref_id":"1","ref_type":"commit","repo":"default/default"}
    ! /repos/default/default issue.ref.added {"issue_id":"ID-5","number":1,"ref_id":"ID-6","ref_type":"proposal","repo":"default/default"}
    ! /repos/default/default issue.ref.added {"issue_id":"ID-5","number":1,"ref_id":"any text","ref_type":"proposal","repo":"default/default"}
    # what cannot be
    POST /repos/default/default/-/issues/1/refs {}
      400 {"code":"BAD_REQUEST","error":"invalid ref_type; must be proposal or commit"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"1","ref_type":"branch"}
      400 {"code":"BAD_REQUEST","error":"invalid ref_type; must be proposal or commit"}
    POST /repos/default/default/-/issues/1/refs {"ref_type":"commit"}
      400 {"code":"BAD_REQUEST","error":"ref_id is required"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"1","ref_type":"commit"}
      409 {"code":"CONFLICT","error":"ref already exists"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"ID-6","ref_type":"proposal"}
      409 {"code":"CONFLICT","error":"ref already exists"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"x*300","ref_type":"commit"}
      400 {"code":"BAD_REQUEST","error":"ref_id is longer than 255 bytes"}
    POST /repos/default/default/-/issues/1/refs {"ref_id":"a\nb","ref_type":"commit"}
      400 {"code":"BAD_REQUEST","error":"ref_id holds a control character"}
    POST /repos/default/default/-/issues/7/refs {"ref_id":"1","ref_type":"commit"}
      404 {"code":"NOT_FOUND","error":"issue not found"}
    GET /repos/default/default/-/issues/7/refs
      200 {"refs":[]}
    # what texts mention
    POST /repos/default/default/-/issues {"body":"since commit:7, see commit:007 and xcommit:8","title":"two"}
      201 {"id":"ID-7","number":2}
    POST /repos/default/default/-/issues/2/comments {"body":"or commit:9"}
      201 {"id":"ID-8"}
    PATCH /repos/default/default/-/issues/2 {"body":"since commit:10"}
      200 {"author":"ann@example.com","body":"since commit:10","created_at":"TIME","id":"ID-7","labels":[],"number":2,"repo":"default/default","state":"open","title":"two","updated_at":"TIME"}
    GET /repos/default/default/-/issues/2/refs
      200 {"refs":[{"created_at":"TIME","id":"ID-9","issue_id":"ID-7","ref_id":"7","ref_type":"commit","repo":"default/default"},{"created_at":"TIME","id":"ID-10","issue_id":"ID-7","ref_id":"9","ref_type":"commit","repo":"default/default"},{"created_at":"TIME","id":"ID-11","issue_id":"ID-7","ref_id":"10","ref_type":"commit","repo":"default/default"}]}
    # the other way round
    GET /repos/default/default/-/commit/1/issues
      200 {"issues":[{"author":"ann@example.com","created_at":"TIME","id":"ID-5","labels":[],"number":1,"repo":"default/default","state":"open","title":"one","updated_at":"TIME"}]}
    GET /repos/default/default/-/commit/9/issues
      200 {"issues":[{"author":"ann@example.com","body":"since commit:10","created_at":"TIME","id":"ID-7","labels":[],"number":2,"repo":"default/default","state":"open","title":"two","updated_at":"TIME"}]}
    GET /repos/default/default/-/commit/999/issues
      200 {"issues":[]}
    GET /repos/default/default/-/commit/x/issues
      400 {"code":"BAD_REQUEST","error":"invalid sequence number"}
    GET /repos/default/default/-/proposals/any text/issues?limit=1
      200 {"issues":[{"author":"ann@example.com","created_at":"TIME","id":"ID-5","labels":[],"number":1,"repo":"default/default","state":"open","title":"one","updated_at":"TIME"}]}
    "#);
}

#[tokio::test]
async fn comments_and_refs_come_in_pages() {
    let (_app, _me, _max, ann, _bob) = world().await;
    open(&ann, "one").await;
    open(&ann, "two").await;
    for n in 1..=5 {
        ann.post(&format!("{ISSUES}/1/comments"), &json!({"body": format!("{n}")})).await.expect(201);
        let body = json!({"ref_type": "commit", "ref_id": n.to_string()});
        ann.post(&format!("{ISSUES}/1/refs"), &body).await.expect(201);
    }
    for (kind, field) in [("comments", "body"), ("refs", "ref_id")] {
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = ann.get(&format!("{ISSUES}/1/{kind}?limit=2{after}")).await.expect(200)[kind].clone();
            let page = page.as_array().unwrap().clone();
            let Some(last) = page.last() else { break };
            after = format!("&after={}", last["id"].as_str().unwrap());
            seen.extend(page.iter().map(|one| one[field].as_str().unwrap().to_owned()));
        }
        assert_eq!(seen, ["1", "2", "3", "4", "5"], "{kind}");
        // A cursor is of this list.
        for path in [format!("2/{kind}?limit=1{after}"), format!("1/{kind}?after=x")] {
            let refused = ann.get(&format!("{ISSUES}/{path}")).await.expect(400);
            assert_eq!(refused["error"], "invalid pagination cursor", "{path}");
        }
    }
}

#[tokio::test]
async fn sixteen_who_open_issues_at_once_get_sixteen_numbers() {
    let (app, me, _max, ann, bob) = world().await;
    let replica = app.second_server().await;
    let there = replica.person("ann@example.com");
    let opened = join_all((0..16).map(async |n: usize| {
        let who = [&ann, &bob, &there][n % 3];
        // One in four comes to nothing.
        let title = if n % 4 == 3 { String::new() } else { format!("issue {n}") };
        let (body, file) = (json!({"title": title}), format!("f{n}"));
        let files = [(file.as_str(), Some("1"))];
        let (opened, _) = tokio::join!(who.post(ISSUES, &body), commit(&me, REPO, "main", &files));
        opened
    }))
    .await;
    let mut numbers: Vec<i64> = opened
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.json()["number"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    let sixteen = join_all((0..16).map(|n| {
        let who = [&ann, &bob, &there][n % 3];
        async move { open(who, "more").await }
    }))
    .await;
    let mut numbers = sixteen;
    numbers.sort_unstable();
    assert_eq!(numbers, (13..=28).collect::<Vec<_>>());
    replica.stop().await;
}

#[tokio::test]
async fn a_number_that_came_to_nothing_is_given_again() {
    let (app, _me, _max, ann, _bob) = world().await;
    let pool = app.pool().await;
    let mut transaction = docstore_database::begin(&pool).await.unwrap();
    let (repo_id,): (i64,) =
        sqlx::query_as("SELECT id FROM repos WHERE deleted_at IS NULL").fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(docstore_database::issues::draw_number(&mut *transaction, repo_id).await.unwrap(), 1);
    drop(transaction);
    assert_eq!(open(&ann, "one").await, 1);
}

#[tokio::test]
async fn deleting_a_repo_takes_its_issues_along() {
    let (app, me, _max, ann, _bob) = world().await;
    for _ in 0..2 {
        open(&ann, "one of two").await;
    }
    ann.post(&format!("{ISSUES}/1/comments"), &json!({"body": "commit:1 commit:2"})).await.expect(201);
    me.delete("/repos/default/default").await.expect(204);
    me.post("/repos", &json!({"owner": "default", "name": "default"})).await.expect(201);
    assert_eq!(me.get(&format!("{ISSUES}?state=all")).await.expect(200), json!({"issues": []}));
    let pool = app.pool().await;
    clear_until_empty(&pool, &["issues", "issue_comments", "issue_refs", "issue_counters"]).await;
    assert_eq!(open(&me, "the first again").await, 1);
}

#[tokio::test]
async fn a_list_of_long_issues_comes_whole() {
    let app = TestApp::start().await;
    let me = app.admin();
    // More than is read at once.
    let body = "é".repeat(500_000);
    for number in 1..=6 {
        me.post(&format!("{REPO}/issues"), &json!({"title": format!("t{number}"), "body": body})).await.expect(201);
    }
    for (query, numbers) in [("", vec![6, 5, 4, 3, 2, 1]), ("?limit=5", vec![6, 5, 4, 3, 2]), ("?after=2", vec![1])] {
        let list = me.get(&format!("{REPO}/issues{query}")).await.expect(200);
        let list = list["issues"].as_array().unwrap();
        assert!(list.iter().all(|issue| issue["body"] == body));
        assert_eq!(list.iter().map(|issue| issue["number"].as_i64().unwrap()).collect::<Vec<_>>(), numbers, "{query}");
    }
}
