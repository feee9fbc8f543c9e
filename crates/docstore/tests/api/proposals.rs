//! `/repos/{repo}/-/proposals`.

use docstore_test_support::{ADMIN, Person, TestApp};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, clear_until_empty, commit, grant};

const PROPOSALS: &str = "/repos/default/default/-/proposals";

async fn open(who: &Person, branch: &str) -> String {
    let body = json!({"branch": branch, "title": format!("merge {branch}")});
    who.post(PROPOSALS, &body).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// A server with a repo of some branches, its admin, a maintainer and two writers.
async fn world() -> (TestApp, Person, Person, Person, Person) {
    let app = TestApp::start().await;
    let me = app.admin();
    grant(&me, ADMIN, "admin").await;
    for (who, role) in [("max@example.com", "maintainer"), ("ann@example.com", "writer"), ("bob@example.com", "writer")]
    {
        grant(&me, who, role).await;
    }
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    for name in ["topic", "other"] {
        branch(&me, REPO, name).await;
        commit(&me, REPO, name, &[(name, Some("1"))]).await;
    }
    let (max, ann, bob) = (app.person("max@example.com"), app.person("ann@example.com"), app.person("bob@example.com"));
    (app, me, max, ann, bob)
}

#[tokio::test]
async fn a_proposal_is_opened_changed_and_closed() {
    let (app, _me, max, ann, bob) = world().await;
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    let body = json!({"branch": "topic", "title": "First", "description": "why"});
    let id = told.post(&ann, PROPOSALS, &body).await.json()["id"].as_str().unwrap().to_owned();
    let one = format!("{PROPOSALS}/{id}");
    told.get(&bob, &one).await;
    told.say("somebody else's");
    told.patch(&bob, &one, &json!({"title": "Mine"})).await;
    told.post(&bob, &format!("{one}/close"), &Value::Null).await;
    told.say("the author's; what stays as it is changes nothing");
    told.patch(&ann, &one, &json!({"title": "Second"})).await;
    told.patch(&ann, &one, &json!({"title": "Second"})).await;
    told.patch(&ann, &one, &json!({})).await;
    told.say("a maintainer's");
    told.patch(&max, &one, &json!({"description": ""})).await;
    told.post(&max, &format!("{one}/close"), &Value::Null).await;
    told.events(&app).await;
    told.say("what is closed");
    told.post(&max, &format!("{one}/close"), &Value::Null).await;
    told.patch(&ann, &one, &json!({"title": "Third"})).await;
    told.post(&bob, &format!("{one}/reopen"), &Value::Null).await;
    told.post(&ann, &format!("{one}/reopen"), &Value::Null).await;
    told.post(&ann, &format!("{one}/reopen"), &Value::Null).await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/proposals {"branch":"topic","description":"why","title":"First"}
      201 {"id":"ID-1"}
    GET /repos/default/default/-/proposals/ID-1
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","description":"why","id":"ID-1","repo":"default/default","state":"open","title":"First","updated_at":"TIME"}
    # somebody else's
    PATCH /repos/default/default/-/proposals/ID-1 {"title":"Mine"}
      403 {"code":"FORBIDDEN","error":"forbidden: must be proposal author or maintainer"}
    POST /repos/default/default/-/proposals/ID-1/close
      403 {"code":"FORBIDDEN","error":"forbidden: must be proposal author or maintainer"}
    # the author's; what stays as it is changes nothing
    PATCH /repos/default/default/-/proposals/ID-1 {"title":"Second"}
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","description":"why","id":"ID-1","repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    PATCH /repos/default/default/-/proposals/ID-1 {"title":"Second"}
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","description":"why","id":"ID-1","repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    PATCH /repos/default/default/-/proposals/ID-1 {}
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","description":"why","id":"ID-1","repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    # a maintainer's
    PATCH /repos/default/default/-/proposals/ID-1 {"description":""}
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","id":"ID-1","repo":"default/default","state":"open","title":"Second","updated_at":"TIME"}
    POST /repos/default/default/-/proposals/ID-1/close
      204
    ! /repos/default/default proposal.opened {"author":"ann@example.com","base_branch":"main","branch":"topic","proposal_id":"ID-1","repo":"default/default","sequence":2}
    ! /repos/default/default proposal.updated {"branch":"topic","proposal_id":"ID-1","repo":"default/default","updated_by":"ann@example.com"}
    ! /repos/default/default proposal.updated {"branch":"topic","proposal_id":"ID-1","repo":"default/default","updated_by":"max@example.com"}
    ! /repos/default/default proposal.closed {"branch":"topic","closed_by":"max@example.com","proposal_id":"ID-1","repo":"default/default"}
    # what is closed
    POST /repos/default/default/-/proposals/ID-1/close
      409 {"code":"CONFLICT","error":"conflict: proposal is already closed"}
    PATCH /repos/default/default/-/proposals/ID-1 {"title":"Third"}
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","id":"ID-1","repo":"default/default","state":"closed","title":"Third","updated_at":"TIME"}
    POST /repos/default/default/-/proposals/ID-1/reopen
      403 {"code":"FORBIDDEN","error":"forbidden: must be proposal author or maintainer"}
    POST /repos/default/default/-/proposals/ID-1/reopen
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","id":"ID-1","repo":"default/default","state":"open","title":"Third","updated_at":"TIME"}
    POST /repos/default/default/-/proposals/ID-1/reopen
      409 {"code":"CONFLICT","error":"conflict: proposal is already open"}
    ! /repos/default/default proposal.updated {"branch":"topic","proposal_id":"ID-1","repo":"default/default","updated_by":"ann@example.com"}
    ! /repos/default/default proposal.reopened {"base_branch":"main","branch":"topic","proposal_id":"ID-1","reopened_by":"ann@example.com","repo":"default/default","sequence":2}
    "#);
}

#[tokio::test]
async fn what_cannot_be_proposed() {
    let (app, me, _max, ann, _bob) = world().await;
    let mut told = Transcript::new();
    for body in [
        json!({}),
        json!({"branch": "topic"}),
        json!({"branch": "topic", "title": ""}),
        json!({"branch": "none", "title": "t"}),
        json!({"branch": "main", "title": "t"}),
        json!({"branch": "topic", "title": "t", "base_branch": "topic"}),
        json!({"branch": "topic", "title": "t", "base_branch": "none"}),
        json!({"branch": "topic", "title": "x".repeat(2000)}),
    ] {
        told.post(&ann, PROPOSALS, &body).await;
    }
    open(&ann, "topic").await;
    told.say("a second one of a branch");
    told.post(&ann, PROPOSALS, &json!({"branch": "topic", "title": "t"})).await;
    told.say("of a branch that has ended");
    me.delete(&format!("{REPO}/branch/other")).await.expect(204);
    told.post(&ann, PROPOSALS, &json!({"branch": "other", "title": "t"})).await;
    told.say("by somebody who only reads, or is nobody");
    grant(&me, "rea@example.com", "reader").await;
    told.post(&app.person("rea@example.com"), PROPOSALS, &json!({"branch": "topic", "title": "t"})).await;
    told.get(&app.person("nobody@example.com"), PROPOSALS).await;
    told.say("ids of nothing");
    for id in ["x", "00000000-0000-7000-8000-000000000000"] {
        told.get(&ann, &format!("{PROPOSALS}/{id}")).await;
        told.patch(&ann, &format!("{PROPOSALS}/{id}"), &json!({"title": "t"})).await;
        told.post(&ann, &format!("{PROPOSALS}/{id}/close"), &Value::Null).await;
        told.post(&ann, &format!("{PROPOSALS}/{id}/reopen"), &Value::Null).await;
        told.get(&ann, &format!("{PROPOSALS}/{id}/issues")).await;
    }
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/proposals {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/proposals {"branch":"topic"}
      400 {"code":"BAD_REQUEST","error":"title is required"}
    POST /repos/default/default/-/proposals {"branch":"topic","title":""}
      400 {"code":"BAD_REQUEST","error":"title is required"}
    POST /repos/default/default/-/proposals {"branch":"none","title":"t"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/proposals {"branch":"main","title":"t"}
      400 {"code":"BAD_REQUEST","error":"cannot open a proposal for branch 'main'"}
    POST /repos/default/default/-/proposals {"base_branch":"topic","branch":"topic","title":"t"}
      400 {"code":"BAD_REQUEST","error":"base_branch must be another branch"}
    POST /repos/default/default/-/proposals {"base_branch":"none","branch":"topic","title":"t"}
      404 {"code":"BRANCH_NOT_FOUND","error":"base branch not found"}
    POST /repos/default/default/-/proposals {"branch":"topic","title":"x*2000"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"title is longer than 1024 bytes"}
    # a second one of a branch
    POST /repos/default/default/-/proposals {"branch":"topic","title":"t"}
      409 {"code":"PROPOSAL_EXISTS","error":"branch already has an open proposal"}
    # of a branch that has ended
    POST /repos/default/default/-/proposals {"branch":"other","title":"t"}
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is not active"}
    # by somebody who only reads, or is nobody
    POST /repos/default/default/-/proposals {"branch":"topic","title":"t"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    GET /repos/default/default/-/proposals
      403 {"code":"FORBIDDEN","error":"forbidden"}
    # ids of nothing
    GET /repos/default/default/-/proposals/x
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    PATCH /repos/default/default/-/proposals/x {"title":"t"}
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    POST /repos/default/default/-/proposals/x/close
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    POST /repos/default/default/-/proposals/x/reopen
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    GET /repos/default/default/-/proposals/x/issues
      200 {"issues":[]}
    GET /repos/default/default/-/proposals/ID-1
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    PATCH /repos/default/default/-/proposals/ID-1 {"title":"t"}
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    POST /repos/default/default/-/proposals/ID-1/close
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    POST /repos/default/default/-/proposals/ID-1/reopen
      404 {"code":"PROPOSAL_NOT_FOUND","error":"proposal not found"}
    GET /repos/default/default/-/proposals/ID-1/issues
      200 {"issues":[]}
    "#);
}

#[tokio::test]
async fn a_condition_holds_or_nothing_happens() {
    let (_app, _me, _max, ann, _bob) = world().await;
    let one = format!("{PROPOSALS}/{}", open(&ann, "topic").await);
    let tag = |answer: &docstore_test_support::Answer| answer.headers["etag"].to_str().unwrap().to_owned();
    let first = tag(&ann.get(&one).await);
    let changed = ann.patch(&one, &json!({"title": "Second"})).await;
    let second = tag(&changed);
    assert_ne!(first, second);
    assert_eq!(tag(&ann.get(&one).await), second);
    let mut told = Transcript::new();
    for condition in [first.as_str(), "\"x\"", "W/\"x\"", ""] {
        let headers = [("if-match", condition)];
        told.send_with(&ann, Method::PATCH, &one, &headers, r#"{"title":"Third"}"#).await;
        told.send_with(&ann, Method::POST, &format!("{one}/close"), &headers, "null").await;
        told.send_with(&ann, Method::POST, &format!("{one}/reopen"), &headers, "null").await;
    }
    told.say("those that hold");
    told.send_with(&ann, Method::PATCH, &one, &[("if-match", "*")], r#"{"title":"Third"}"#).await;
    let third = tag(&ann.get(&one).await);
    told.send_with(&ann, Method::POST, &format!("{one}/close"), &[("if-match", &third)], "null").await;
    assert_ne!(tag(&ann.get(&one).await), third, "what changes the state changes the tag");
    insta::assert_snapshot!(told, @r#"
    PATCH /repos/default/default/-/proposals/ID-1 if-match: "HASH-1" {"title":"Third"}
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/close if-match: "HASH-1" null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/reopen if-match: "HASH-1" null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    PATCH /repos/default/default/-/proposals/ID-1 if-match: "x" {"title":"Third"}
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/close if-match: "x" null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/reopen if-match: "x" null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    PATCH /repos/default/default/-/proposals/ID-1 if-match: W/"x" {"title":"Third"}
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/close if-match: W/"x" null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/reopen if-match: W/"x" null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    PATCH /repos/default/default/-/proposals/ID-1 if-match:  {"title":"Third"}
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/close if-match:  null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    POST /repos/default/default/-/proposals/ID-1/reopen if-match:  null
      412 {"code":"PRECONDITION_FAILED","error":"ETag mismatch"}
    # those that hold
    PATCH /repos/default/default/-/proposals/ID-1 if-match: * {"title":"Third"}
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","id":"ID-1","repo":"default/default","state":"open","title":"Third","updated_at":"TIME"}
    POST /repos/default/default/-/proposals/ID-1/close if-match: "HASH-2" null
      204
    "#);
}

#[tokio::test]
async fn a_proposal_ends_with_its_branch() {
    let (app, _me, max, ann, _bob) = world().await;
    let (merged, abandoned) = (open(&ann, "topic").await, open(&ann, "other").await);
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    told.say("a preview ends nothing");
    told.post(&max, &format!("{REPO}/merge"), &json!({"branch": "topic", "dry_run": true})).await;
    told.get(&ann, &format!("{PROPOSALS}?state=merged")).await;
    told.say("the merge does");
    told.post(&max, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.delete(&max, &format!("{REPO}/branch/other")).await;
    told.events(&app).await;
    told.get(&ann, &format!("{PROPOSALS}?state=merged")).await;
    told.get(&ann, &format!("{PROPOSALS}?state=closed&branch=other")).await;
    told.say("and for good");
    told.post(&ann, &format!("{PROPOSALS}/{merged}/close"), &Value::Null).await;
    told.post(&ann, &format!("{PROPOSALS}/{merged}/reopen"), &Value::Null).await;
    told.post(&ann, &format!("{PROPOSALS}/{abandoned}/reopen"), &Value::Null).await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    # a preview ends nothing
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      200 {"sequence":1}
    GET /repos/default/default/-/proposals?state=merged
      200 []
    # the merge does
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":4}
    DELETE /repos/default/default/-/branch/other
      204
    ! /repos/default/default proposal.merged {"base_branch":"main","branch":"topic","proposal_id":"ID-1","repo":"default/default"}
    ! /repos/default/default branch.merged {"branch":"topic","branch_status":{"auto_merge":false,"mergeable":true,"policies":[]},"merged_by":"max@example.com","repo":"default/default","sequence":4}
    ! /repos/default/default proposal.closed {"branch":"other","closed_by":"max@example.com","proposal_id":"ID-2","repo":"default/default"}
    ! /repos/default/default branch.abandoned {"abandoned_by":"max@example.com","branch":"other","repo":"default/default"}
    GET /repos/default/default/-/proposals?state=merged
      200 [{"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","id":"ID-1","repo":"default/default","state":"merged","title":"merge topic","updated_at":"TIME"}]
    GET /repos/default/default/-/proposals?state=closed&branch=other
      200 [{"author":"ann@example.com","base_branch":"main","branch":"other","created_at":"TIME","id":"ID-2","repo":"default/default","state":"closed","title":"merge other","updated_at":"TIME"}]
    # and for good
    POST /repos/default/default/-/proposals/ID-1/close
      409 {"code":"CONFLICT","error":"conflict: proposal is already merged"}
    POST /repos/default/default/-/proposals/ID-1/reopen
      409 {"code":"CONFLICT","error":"conflict: proposal is already merged"}
    POST /repos/default/default/-/proposals/ID-2/reopen
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is not active"}
    "#);
}

#[tokio::test]
async fn a_merge_without_a_proposal_tells_of_none() {
    let (app, _me, max, ann, _bob) = world().await;
    let closed = open(&ann, "topic").await;
    ann.post(&format!("{PROPOSALS}/{closed}/close"), &Value::Null).await.expect(204);
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    told.post(&max, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.events(&app).await;
    told.get(&ann, &format!("{PROPOSALS}/{closed}")).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":4}
    ! /repos/default/default branch.merged {"branch":"topic","branch_status":{"auto_merge":false,"mergeable":true,"policies":[]},"merged_by":"max@example.com","repo":"default/default","sequence":4}
    GET /repos/default/default/-/proposals/ID-1
      200 {"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","id":"ID-1","repo":"default/default","state":"closed","title":"merge topic","updated_at":"TIME"}
    "#);
}

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let (_app, me, _max, ann, bob) = world().await;
    for name in ["b1", "b2", "b3"] {
        branch(&me, REPO, name).await;
    }
    let all = [open(&ann, "topic").await, open(&bob, "b1").await, open(&ann, "b2").await, open(&bob, "b3").await];
    ann.post(&format!("{PROPOSALS}/{}/close", all[2]), &Value::Null).await.expect(204);
    let ids = async |query: &str| -> Vec<String> {
        let list = ann.get(&format!("{PROPOSALS}{query}")).await.expect(200);
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let newest_first: Vec<String> = all.iter().rev().cloned().collect();
    assert_eq!(ids("").await, newest_first);
    assert_eq!(ids("?state=open").await, [all[3].clone(), all[1].clone(), all[0].clone()]);
    assert_eq!(ids("?state=closed").await, [all[2].clone()]);
    assert_eq!(ids("?branch=b1").await, [all[1].clone()]);
    assert_eq!(ids("?branch=none").await, [] as [String; 0]);
    assert_eq!(ids("?limit=3").await, newest_first[..3]);
    assert_eq!(ids(&format!("?limit=3&after={}", newest_first[2])).await, newest_first[3..]);
    let mut told = Transcript::new();
    for query in ["?state=x", "?limit=0", "?after=x", "?after=00000000-0000-7000-8000-000000000000"] {
        told.get(&ann, &format!("{PROPOSALS}{query}")).await;
    }
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/proposals?state=x
      400 {"code":"BAD_REQUEST","error":"invalid state; must be open, closed, or merged"}
    GET /repos/default/default/-/proposals?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    GET /repos/default/default/-/proposals?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /repos/default/default/-/proposals?after=ID-1
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    "#);
}

#[tokio::test]
async fn descriptions_tie_issues() {
    let (_app, _me, _max, ann, _bob) = world().await;
    for title in ["one", "two", "three"] {
        ann.post(&format!("{REPO}/issues"), &json!({"title": title})).await.expect(201);
    }
    let body = json!({"branch": "topic", "title": "t", "description": "#1 and #2, not &#3; nor #99"});
    let id = ann.post(PROPOSALS, &body).await.expect(201)["id"].as_str().unwrap().to_owned();
    let tied = async || -> Vec<i64> {
        let list = ann.get(&format!("{PROPOSALS}/{id}/issues")).await.expect(200);
        list["issues"].as_array().unwrap().iter().map(|issue| issue["number"].as_i64().unwrap()).collect()
    };
    assert_eq!(tied().await, [1, 2]);
    ann.patch(&format!("{PROPOSALS}/{id}"), &json!({"description": "only #3, and #1"})).await.expect(200);
    assert_eq!(tied().await, [1, 2, 3], "what was tied stays tied");
    let refs = ann.get(&format!("{REPO}/issues/1/refs")).await.expect(200);
    assert_eq!((refs["refs"].as_array().unwrap().len(), &refs["refs"][0]["ref_id"]), (1, &json!(id)));
    let page = ann.get(&format!("{PROPOSALS}/{}/issues?limit=1&after=1", id.to_uppercase())).await.expect(200);
    assert_eq!(page["issues"][0]["number"], 2);
}

#[tokio::test]
async fn two_open_one_and_two_close_one_at_once() {
    let (app, _me, max, ann, bob) = world().await;
    let replica = app.second_server().await;
    let ann_there = replica.person("ann@example.com");
    for round in 0..5 {
        let body = json!({"branch": "topic", "title": format!("round {round}")});
        let opened = join_all([&ann, &bob, &max, &ann_there].map(|who| who.post(PROPOSALS, &body))).await;
        let mut statuses: Vec<u16> = opened.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409]);
        let lost = opened.iter().find(|answer| answer.status == 409).unwrap();
        assert_eq!(lost.json()["code"], "PROPOSAL_EXISTS");
        let won = opened.iter().find(|answer| answer.status == 201).unwrap();
        let close = format!("{PROPOSALS}/{}/close", won.json()["id"].as_str().unwrap());
        let closed = join_all([&max, &max].map(|who| who.post(&close, &Value::Null))).await;
        let mut statuses: Vec<u16> = closed.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409]);
    }
    let (closed,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM event_log WHERE type = 'com.docstore.proposal.closed'")
            .fetch_one(&app.pool().await)
            .await
            .unwrap();
    assert_eq!(closed, 5, "who loses tells nothing");
    replica.stop().await;
}

#[tokio::test]
async fn closing_and_merging_at_once_leave_one_end() {
    let (app, me, max, ann, _bob) = world().await;
    for round in 0..5 {
        let name = format!("race{round}");
        branch(&me, REPO, &name).await;
        commit(&me, REPO, &name, &[(&name, Some("1"))]).await;
        let id = open(&ann, &name).await;
        let (close, merge_body) = (format!("{PROPOSALS}/{id}/close"), json!({"branch": name}));
        let merge = format!("{REPO}/merge");
        let (closed, merged) = tokio::join!(ann.post(&close, &Value::Null), max.post(&merge, &merge_body));
        merged.expect(200);
        let state = ann.get(&format!("{PROPOSALS}/{id}")).await.expect(200)["state"].clone();
        match closed.status.as_u16() {
            204 => assert_eq!(state, "closed"),
            409 => assert_eq!(state, "merged"),
            other => panic!("{other}: {}", closed.text),
        }
        let kinds: Vec<(String,)> = sqlx::query_as(
            "SELECT type FROM event_log WHERE payload LIKE '%' || $1 || '%' AND type <> 'com.docstore.proposal.opened'",
        )
        .bind(&id)
        .fetch_all(&app.pool().await)
        .await
        .unwrap();
        assert_eq!(kinds, [(format!("com.docstore.proposal.{}", state.as_str().unwrap()),)]);
    }
}

#[tokio::test]
async fn purging_a_branch_and_deleting_a_repo_take_proposals_along() {
    let (app, me, max, ann, _bob) = world().await;
    let pool = app.pool().await;
    open(&ann, "topic").await;
    open(&ann, "other").await;
    max.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
    let old = "UPDATE commits SET created_at = now() - interval '9 days'";
    sqlx::query(old).execute(&pool).await.unwrap();
    sqlx::query("UPDATE branches SET created_at = now() - interval '9 days'").execute(&pool).await.unwrap();
    me.post(&format!("{REPO}/purge"), &json!({"older_than": "7d"})).await.expect(200);
    let left = me.get(PROPOSALS).await.expect(200);
    assert_eq!((left.as_array().unwrap().len(), &left[0]["branch"]), (1, &json!("other")));
    me.delete("/repos/default/default").await.expect(204);
    me.post("/repos", &json!({"owner": "default", "name": "default"})).await.expect(201);
    assert_eq!(me.get(PROPOSALS).await.expect(200), json!([]));
    clear_until_empty(&pool, &["proposals"]).await;
}
