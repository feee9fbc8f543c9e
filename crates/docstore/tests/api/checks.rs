//! `/repos/{repo}/-/check`, `/checks/retry`, `/required-checks`, and the check runs of a branch.

use docstore_test_support::{Answer, Person, TestApp};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    REPO, Transcript, branch, commit,
    identities::{claimed_job, job},
    text_file,
};

/// The check runs of a branch in short: name, sequence, attempt, status, and what the status does not say.
fn short(list: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.as_array()
        .unwrap()
        .iter()
        .map(|run| {
            let (name, status, state) = (text(&run["check_name"]), text(&run["status"]), text(&run["state"]));
            let (sequence, attempt, reason) = (&run["sequence"], &run["attempt"], text(&run["reason"]));
            format!("{name} {sequence}.{attempt} {status} {state} {reason}").trim_end().to_owned()
        })
        .collect()
}

async fn checks(who: &Person, branch: &str) -> Vec<String> {
    short(&who.get(&format!("{REPO}/branch/{branch}/checks")).await.expect(200))
}

#[tokio::test]
async fn checks_are_reported_and_tried_again() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("2"))]).await;
    let check = format!("{REPO}/check");
    let list = format!("{REPO}/branch/topic/checks");
    let report = |name: &str, status: &str| json!({"branch": "topic", "check_name": name, "status": status});
    let mut told = Transcript::new();
    told.post(&me, &check, &report("test", "pending")).await;
    told.say("the same attempt again: id and time stay, and what is not said");
    let more = json!({"branch": "topic", "check_name": "test", "status": "failed", "sequence": 2, "attempt": 1,
        "log_url": "https://logs.example/1", "metadata": {"b": [1, null], "a": "x"}});
    told.post(&me, &check, &more).await;
    told.post(&me, &check, &report("test", "failed")).await;
    told.get(&me, &list).await;
    told.post(&me, &check, &report("lint/a b", "passed")).await;
    told.post(
        &me,
        &check,
        &json!({"branch": "topic", "check_name": "docs", "status": "not_applicable", "reason": "no docs"}),
    )
    .await;
    told.say("only what failed is tried again");
    told.post(&me, &format!("{REPO}/checks/retry"), &json!({"branch": "topic", "sequence": 0, "checks": null})).await;
    told.post(&me, &format!("{REPO}/checks/retry"), &json!({"branch": "topic", "checks": ["lint/a b"]})).await;
    told.post(&me, &check, &json!({"branch": "topic", "check_name": "test", "status": "failed", "attempt": 2})).await;
    told.post(&me, &format!("{REPO}/checks/retry"), &json!({"branch": "topic", "sequence": 2, "checks": ["test"]}))
        .await;
    told.get(&me, &list).await;
    told.get(&me, &format!("{list}?history=true")).await;
    assert_eq!(
        checks(&me, "topic").await,
        ["docs 2.1 passed not_applicable no docs", "lint/a b 2.1 passed", "test 2.3 pending"]
    );
    told.say("an old commit with more attempts does not hide a new one");
    commit(&me, REPO, "topic", &[("a", Some("3"))]).await;
    me.post(&check, &report("test", "passed")).await.expect(201);
    assert_eq!(
        checks(&me, "topic").await,
        ["docs 2.1 passed not_applicable no docs", "lint/a b 2.1 passed", "test 3.1 passed"]
    );
    let old = me.get(&format!("{list}?at=2")).await.expect(200);
    assert_eq!(short(&old)[2], "test 2.3 pending");
    assert_eq!(me.get(&format!("{list}?at=1")).await.expect(200), json!([]));
    told.say("what cannot be");
    let long = "x".repeat(3000);
    for body in [
        json!({}),
        json!({"branch": "topic"}),
        json!({"branch": "topic", "check_name": "x"}),
        report("x", "great"),
        report("x", "expected"),
        report("x", "not_applicable"),
        report("a:b", "passed"),
        report("a\0", "passed"),
        json!({"branch": "none", "check_name": "x", "status": "passed"}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "sequence": 1}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "sequence": 99}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "sequence": -1}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "attempt": 0}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "attempt": 40000}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "metadata": {"a": "\0"}}),
        json!({"branch": "topic", "check_name": "x", "status": "passed", "log_url": long}),
    ] {
        told.post(&me, &check, &body).await;
    }
    for body in [
        json!({}),
        json!({"branch": "none"}),
        json!({"branch": "topic"}),
        json!({"branch": "topic", "sequence": 99}),
        json!({"branch": "topic", "checks": ["\0"]}),
    ] {
        told.post(&me, &format!("{REPO}/checks/retry"), &body).await;
    }
    told.get(&me, &format!("{REPO}/branch/none/checks")).await;
    told.get(&me, &format!("{list}?at=x")).await;
    told.get(&me, &format!("{list}?history=true&after=x")).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/check {"branch":"topic","check_name":"test","status":"pending"}
      201 {"id":"ID-1","sequence":2}
    # the same attempt again: id and time stay, and what is not said
    POST /repos/default/default/-/check {"attempt":1,"branch":"topic","check_name":"test","log_url":"https://logs.example/1","metadata":{"a":"x","b":[1,null]},"sequence":2,"status":"failed"}
      201 {"id":"ID-1","log_url":"https://logs.example/1","sequence":2}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"test","status":"failed"}
      201 {"id":"ID-1","sequence":2}
    GET /repos/default/default/-/branch/topic/checks
      200 [{"attempt":1,"branch":"topic","check_name":"test","created_at":"TIME","id":"ID-1","log_url":"https://logs.example/1","metadata":{"a":"x","b":[1,null]},"repo":"default/default","reporter":"admin@example.com","sequence":2,"status":"failed","updated_at":"TIME"}]
    POST /repos/default/default/-/check {"branch":"topic","check_name":"lint/a b","status":"passed"}
      201 {"id":"ID-2","sequence":2}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"docs","reason":"no docs","status":"not_applicable"}
      201 {"id":"ID-3","sequence":2}
    # only what failed is tried again
    POST /repos/default/default/-/checks/retry {"branch":"topic","checks":null,"sequence":0}
      202 {"attempt":2,"checks":["test"]}
    POST /repos/default/default/-/checks/retry {"branch":"topic","checks":["lint/a b"]}
      409 {"code":"CONFLICT","error":"no failed check to retry"}
    POST /repos/default/default/-/check {"attempt":2,"branch":"topic","check_name":"test","status":"failed"}
      201 {"id":"ID-4","sequence":2}
    POST /repos/default/default/-/checks/retry {"branch":"topic","checks":["test"],"sequence":2}
      202 {"attempt":3,"checks":["test"]}
    GET /repos/default/default/-/branch/topic/checks
      200 [{"attempt":1,"branch":"topic","check_name":"docs","created_at":"TIME","id":"ID-3","reason":"no docs","repo":"default/default","reporter":"admin@example.com","sequence":2,"state":"not_applicable","status":"passed"},{"attempt":1,"branch":"topic","check_name":"lint/a b","created_at":"TIME","id":"ID-2","repo":"default/default","reporter":"admin@example.com","sequence":2,"status":"passed"},{"attem… (553 bytes)
    GET /repos/default/default/-/branch/topic/checks?history=true
      200 [{"attempt":3,"branch":"topic","check_name":"test","created_at":"TIME","id":"ID-5","repo":"default/default","reporter":"system","sequence":2,"status":"pending"},{"attempt":2,"branch":"topic","check_name":"test","created_at":"TIME","id":"ID-4","repo":"default/default","reporter":"admin@example.com","sequence":2,"status":"failed","updated_at":"TIME"},{"attempt":1,"branch":"topic","check_name":"d… (1002 bytes)
    # an old commit with more attempts does not hide a new one
    # what cannot be
    POST /repos/default/default/-/check {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/check {"branch":"topic"}
      400 {"code":"BAD_REQUEST","error":"check_name is required"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x"}
      400 {"code":"BAD_REQUEST","error":"status is required"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","status":"great"}
      400 {"code":"BAD_REQUEST","error":"invalid status; must be pending, passed, failed, or not_applicable"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","status":"expected"}
      400 {"code":"BAD_REQUEST","error":"invalid status; must be pending, passed, failed, or not_applicable"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","status":"not_applicable"}
      400 {"code":"BAD_REQUEST","error":"reason is required when a check is not applicable"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"a:b","status":"passed"}
      400 {"code":"BAD_REQUEST","error":"check name 'a:b' may not contain ':'"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"a\u0000","status":"passed"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    POST /repos/default/default/-/check {"branch":"none","check_name":"x","status":"passed"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","sequence":1,"status":"passed"}
      400 {"code":"BAD_REQUEST","error":"sequence is not a commit of the branch"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","sequence":99,"status":"passed"}
      400 {"code":"BAD_REQUEST","error":"sequence is not a commit of the branch"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","sequence":-1,"status":"passed"}
      400 {"code":"BAD_REQUEST","error":"sequence is not a commit of the branch"}
    POST /repos/default/default/-/check {"attempt":0,"branch":"topic","check_name":"x","status":"passed"}
      400 {"code":"BAD_REQUEST","error":"attempt must be at least 1"}
    POST /repos/default/default/-/check {"attempt":40000,"branch":"topic","check_name":"x","status":"passed"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","metadata":{"a":"\u0000"},"status":"passed"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    POST /repos/default/default/-/check {"branch":"topic","check_name":"x","log_url":"x*3000","status":"passed"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"log_url is longer than 2048 bytes"}
    POST /repos/default/default/-/checks/retry {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/checks/retry {"branch":"none"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/checks/retry {"branch":"topic"}
      409 {"code":"CONFLICT","error":"no failed check to retry"}
    POST /repos/default/default/-/checks/retry {"branch":"topic","sequence":99}
      400 {"code":"BAD_REQUEST","error":"sequence is not a commit of the branch"}
    POST /repos/default/default/-/checks/retry {"branch":"topic","checks":["\u0000"]}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    GET /repos/default/default/-/branch/none/checks
      200 []
    GET /repos/default/default/-/branch/topic/checks?at=x
      400 {"code":"BAD_REQUEST","error":"invalid 'at' parameter"}
    GET /repos/default/default/-/branch/topic/checks?history=true&after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    "#);
    // Pages of both lists.
    for query in ["", "history=true&"] {
        let all = me.get(&format!("{list}?{query}")).await.expect(200);
        let mut paged = Vec::new();
        let mut after = String::new();
        loop {
            let page = me.get(&format!("{list}?{query}limit=2{after}")).await.expect(200);
            let Some(last) = page.as_array().unwrap().last() else { break };
            let key = if query.is_empty() { "check_name" } else { "id" };
            after = format!("&after={}", last[key].as_str().unwrap().replace(' ', "%20"));
            paged.extend(page.as_array().unwrap().clone());
        }
        assert_eq!(Value::Array(paged), all, "{query}");
    }
    let retries: Vec<String> = sqlx::query_scalar(
        "SELECT payload::jsonb->>'data' FROM event_log WHERE type = 'com.docstore.checkrun.retry' ORDER BY id",
    )
    .fetch_all(&app.pool().await)
    .await
    .unwrap();
    insta::assert_snapshot!(retries.join("\n"), @r#"
    {"repo": "default/default", "branch": "topic", "checks": null, "attempt": 2, "retried": ["test"], "sequence": 2, "retried_by": "admin@example.com"}
    {"repo": "default/default", "branch": "topic", "checks": ["test"], "attempt": 3, "retried": ["test"], "sequence": 2, "retried_by": "admin@example.com"}
    "#);
}

#[tokio::test]
async fn required_checks_are_there_from_the_moment_of_the_commit() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    for name in ["early", "feature/x", "empty"] {
        branch(&me, REPO, name).await;
    }
    commit(&me, REPO, "early", &[("b", Some("1"))]).await;
    let required = format!("{REPO}/required-checks");
    let mut told = Transcript::new();
    told.put(&me, &required, &json!({"check_name": "test"})).await;
    told.put(&me, &required, &json!({"check_name": "test"})).await;
    told.put(&me, &required, &json!({"check_name": "deep", "branch_pattern": "feature/*"})).await;
    told.put(&me, &required, &json!({"check_name": "test", "branch_pattern": "f_ature*"})).await;
    told.get(&me, &required).await;
    told.say("also at heads that were there before");
    told.get(&me, &format!("{REPO}/branch/early/checks")).await;
    assert_eq!(checks(&me, "empty").await, [""; 0]);
    // Commits, imports, rebases and merges.
    commit(&me, REPO, "feature/x", &[("c", Some("1"))]).await;
    assert_eq!(checks(&me, "feature/x").await, ["deep 3.1 pending expected", "test 3.1 pending expected"]);
    let imported = json!({"branch": "feature/x", "commits": [
        {"author": "a@example.com", "message": "m", "imported_from": "git:1", "files": [text_file("d", "1")]},
        {"author": "a@example.com", "message": "m", "imported_from": "git:2", "files": [text_file("d", "2")]}]});
    me.post(&format!("{REPO}/import"), &imported).await.expect(201);
    assert_eq!(checks(&me, "feature/x").await, ["deep 5.1 pending expected", "test 5.1 pending expected"]);
    let report = json!({"branch": "feature/x", "check_name": "deep", "status": "passed"});
    me.post(&format!("{REPO}/check"), &report).await.expect(201);
    assert_eq!(checks(&me, "feature/x").await, ["deep 5.1 passed", "test 5.1 pending expected"]);
    me.post(&format!("{REPO}/merge"), &json!({"branch": "early"})).await.expect(200);
    assert_eq!(checks(&me, "main").await, ["test 6.1 pending expected"]);
    let rebased = me.post(&format!("{REPO}/rebase"), &json!({"branch": "feature/x"})).await.expect(200);
    assert_eq!(rebased["head_sequence"], 9);
    assert_eq!(checks(&me, "feature/x").await, ["deep 9.1 pending expected", "test 9.1 pending expected"]);
    told.say("no longer required: it ends with a reason, unless another pattern requires it");
    told.delete(&me, &format!("{required}?check_name=test&branch_pattern=f_ature*")).await;
    assert_eq!(checks(&me, "feature/x").await[1], "test 9.1 pending expected");
    told.delete(&me, &format!("{required}?check_name=deep&branch_pattern=feature/*")).await;
    told.delete(&me, &format!("{required}?check_name=test")).await;
    told.delete(&me, &format!("{required}?check_name=test")).await;
    assert_eq!(
        checks(&me, "feature/x").await,
        ["deep 9.1 passed not_applicable no longer required", "test 9.1 passed not_applicable no longer required"]
    );
    told.get(&me, &required).await;
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"check_name": "a:b"}),
        json!({"check_name": "x", "branch_pattern": "a b"}),
        json!({"check_name": "x", "branch_pattern": "%"}),
    ] {
        told.put(&me, &required, &body).await;
    }
    told.delete(&me, &required).await;
    let writer = app.person("writer@example.com");
    me.put(&format!("{REPO}/roles/writer@example.com"), &json!({"role": "writer"})).await.expect(200);
    told.put(&writer, &required, &json!({"check_name": "x"})).await;
    told.get(&writer, &required).await;
    insta::assert_snapshot!(told, @r#"
    PUT /repos/default/default/-/required-checks {"check_name":"test"}
      200 {"branch_pattern":"*","check_name":"test","created_at":"TIME","created_by":"admin@example.com"}
    PUT /repos/default/default/-/required-checks {"check_name":"test"}
      200 {"branch_pattern":"*","check_name":"test","created_at":"TIME","created_by":"admin@example.com"}
    PUT /repos/default/default/-/required-checks {"branch_pattern":"feature/*","check_name":"deep"}
      200 {"branch_pattern":"feature/*","check_name":"deep","created_at":"TIME","created_by":"admin@example.com"}
    PUT /repos/default/default/-/required-checks {"branch_pattern":"f_ature*","check_name":"test"}
      200 {"branch_pattern":"f_ature*","check_name":"test","created_at":"TIME","created_by":"admin@example.com"}
    GET /repos/default/default/-/required-checks
      200 {"required_checks":[{"branch_pattern":"*","check_name":"test","created_at":"TIME","created_by":"admin@example.com"},{"branch_pattern":"f_ature*","check_name":"test","created_at":"TIME","created_by":"admin@example.com"},{"branch_pattern":"feature/*","check_name":"deep","created_at":"TIME","created_by":"admin@example.com"}]}
    # also at heads that were there before
    GET /repos/default/default/-/branch/early/checks
      200 [{"attempt":1,"branch":"early","check_name":"test","created_at":"TIME","id":"ID-1","repo":"default/default","reporter":"system","sequence":2,"state":"expected","status":"pending"}]
    # no longer required: it ends with a reason, unless another pattern requires it
    DELETE /repos/default/default/-/required-checks?check_name=test&branch_pattern=f_ature*
      204
    DELETE /repos/default/default/-/required-checks?check_name=deep&branch_pattern=feature/*
      204
    DELETE /repos/default/default/-/required-checks?check_name=test
      204
    DELETE /repos/default/default/-/required-checks?check_name=test
      404 {"code":"NOT_FOUND","error":"required check not found"}
    GET /repos/default/default/-/required-checks
      200 {"required_checks":[]}
    # what cannot be
    PUT /repos/default/default/-/required-checks {}
      400 {"code":"BAD_REQUEST","error":"check_name is required"}
    PUT /repos/default/default/-/required-checks {"check_name":"a:b"}
      400 {"code":"BAD_REQUEST","error":"check name 'a:b' may not contain ':'"}
    PUT /repos/default/default/-/required-checks {"branch_pattern":"a b","check_name":"x"}
      400 {"code":"BAD_REQUEST","error":"branch pattern may not contain ' '"}
    PUT /repos/default/default/-/required-checks {"branch_pattern":"%","check_name":"x"}
      400 {"code":"BAD_REQUEST","error":"branch pattern may not contain '%'"}
    DELETE /repos/default/default/-/required-checks
      400 {"code":"BAD_REQUEST","error":"check_name parameter is required"}
    PUT /repos/default/default/-/required-checks {"check_name":"x"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    GET /repos/default/default/-/required-checks
      200 {"required_checks":[]}
    "#);
}

#[tokio::test]
async fn no_head_slips_through_while_a_check_becomes_required() {
    const BRANCHES: usize = 6;
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    let names: Vec<String> = (0..BRANCHES).map(|n| format!("topic{n}")).collect();
    for name in &names {
        branch(&me, REPO, name).await;
    }
    let commits = names.iter().map(|name| async {
        for n in 0..5 {
            commit(&me, REPO, name, &[("b", Some(&n.to_string()))]).await;
        }
    });
    let requirement = async {
        for check in ["lint", "test"] {
            me.put(&format!("{REPO}/required-checks"), &json!({"check_name": check})).await.expect(200);
        }
    };
    tokio::join!(join_all(commits), requirement);
    for name in &names {
        let head = me.get(&format!("{REPO}/branch/{name}")).await.expect(200)["head_sequence"].clone();
        let at_head = me.get(&format!("{REPO}/branch/{name}/checks?at={head}")).await.expect(200);
        let expected = [format!("lint {head}.1 pending expected"), format!("test {head}.1 pending expected")];
        assert_eq!(short(&at_head), expected, "{name}");
    }
}

#[tokio::test]
async fn a_job_reports_what_it_ran_on_and_nothing_else() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("2"))]).await;
    let pool = app.pool().await;
    claimed_job(&pool, "default/default", "topic", "token-of-the-job").await;
    job(&pool, "default/default", "topic", "token-of-a-job-that-ended", "passed", "now() + interval '1 hour'").await;
    // The branch moves on while the job runs.
    commit(&me, REPO, "topic", &[("a", Some("3"))]).await;
    let report = async |token: &str, body: Value| -> String {
        let request = me.request(Method::POST, &format!("{REPO}/check"));
        let request = request.header("authorization", format!("Bearer {token}")).body(body.to_string());
        Answer::of(request).await.summary()
    };
    let body = json!({"branch": "topic", "check_name": "test", "status": "passed"});
    let created = report("token-of-the-job", body.clone()).await;
    assert!(created.starts_with("201 ") && created.contains(r#""sequence":2"#), "{created}");
    let history = me.get(&format!("{REPO}/branch/topic/checks")).await.expect(200);
    assert_eq!(short(&history), ["test 2.1 passed"]);
    assert!(history[0]["reporter"].as_str().unwrap().starts_with("ci-job:"), "{history}");
    let mut seen = Vec::new();
    for (token, more) in [
        ("token-of-the-job", json!({"sequence": 3})),
        ("token-of-the-job", json!({"branch": "main"})),
        ("token-of-the-job", json!({"status": "great"})),
        ("token-of-a-job-that-ended", json!({})),
        ("token-of-nobody", json!({})),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        seen.push(report(token, body).await);
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    403 {"code":"FORBIDDEN","error":"forbidden: a job may only report checks of its own commit"}
    403 {"code":"FORBIDDEN","error":"forbidden: a job may only report checks of its own commit"}
    400 {"code":"BAD_REQUEST","error":"invalid status; must be pending, passed, failed, or not_applicable"}
    401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    "#);
}

#[tokio::test]
async fn people_do_not_unsay_what_a_job_said() {
    let app = TestApp::start().await;
    let (me, pool) = (app.admin(), app.pool().await);
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("2"))]).await;
    me.put(&format!("{REPO}/roles/writer@example.com"), &json!({"role": "writer"})).await.expect(200);
    let writer = app.person("writer@example.com");
    claimed_job(&pool, "default/default", "topic", "older").await;
    claimed_job(&pool, "default/default", "topic", "newer").await;
    let check = format!("{REPO}/check");
    let body = |status: &str, more: Value| {
        let mut body = json!({"branch": "topic", "check_name": "test", "status": status});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let by_job = async |token: &str, body: Value| {
        let request = me.request(Method::POST, &check).header("authorization", format!("Bearer {token}"));
        Answer::of(request.body(body.to_string())).await
    };
    let history = async || short(&me.get(&format!("{REPO}/branch/topic/checks?history=true")).await.expect(200));
    // Before a job speaks, everybody does; afterwards what they said as a later attempt does not stand above it.
    writer.post(&check, &body("passed", json!({}))).await.expect(201);
    writer.post(&check, &body("passed", json!({"attempt": 2}))).await.expect(201);
    by_job("older", body("failed", json!({"log_url": "gs://logs/1"}))).await.expect(201);
    assert_eq!(history().await, ["test 2.1 failed"]);
    let mut told = Transcript::new();
    told.post(&writer, &check, &body("passed", json!({}))).await;
    told.post(&writer, &check, &body("passed", json!({"attempt": 2}))).await;
    told.say("a token of an admin, made for reporting checks");
    let made = me.post("/tokens", &json!({"name": "ci", "actions": ["read", "checks"]})).await.expect(201);
    let bot = me.with_token(made["secret"].as_str().unwrap());
    told.post(&bot, &check, &body("passed", json!({}))).await;
    told.say("another attempt is CI's as well");
    told.post(&me, &format!("{REPO}/checks/retry"), &json!({"branch": "topic"})).await;
    told.post(&writer, &check, &body("passed", json!({"attempt": 2}))).await;
    told.note("the newer job", &by_job("newer", body("failed", json!({"attempt": 2}))).await);
    told.note("the older job", &by_job("older", body("passed", json!({"attempt": 2}))).await);
    told.say("an admin may, as an attempt of its own");
    me.post(&check, &body("passed", json!({}))).await.expect(201);
    me.post(&check, &body("passed", json!({}))).await.expect(201);
    told.post(&writer, &check, &body("failed", json!({"attempt": 3}))).await;
    told.say("other names, and other commits, are for everybody");
    told.post(&writer, &check, &json!({"branch": "topic", "check_name": "lint", "status": "passed"})).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/check {"branch":"topic","check_name":"test","status":"passed"}
      409 {"code":"CONFLICT","error":"CI reports this check of the commit; ask for another attempt with checks/retry"}
    POST /repos/default/default/-/check {"attempt":2,"branch":"topic","check_name":"test","status":"passed"}
      409 {"code":"CONFLICT","error":"CI reports this check of the commit; ask for another attempt with checks/retry"}
    # a token of an admin, made for reporting checks
    POST /repos/default/default/-/check {"branch":"topic","check_name":"test","status":"passed"}
      409 {"code":"CONFLICT","error":"CI reports this check of the commit; ask for another attempt with checks/retry"}
    # another attempt is CI's as well
    POST /repos/default/default/-/checks/retry {"branch":"topic"}
      202 {"attempt":2,"checks":["test"]}
    POST /repos/default/default/-/check {"attempt":2,"branch":"topic","check_name":"test","status":"passed"}
      409 {"code":"CONFLICT","error":"CI reports this check of the commit; ask for another attempt with checks/retry"}
    the newer job
      201 {"id":"ID-1","sequence":2}
    the older job
      409 {"code":"CONFLICT","error":"a newer job has said how this check ended"}
    # an admin may, as an attempt of its own
    POST /repos/default/default/-/check {"attempt":3,"branch":"topic","check_name":"test","status":"failed"}
      409 {"code":"CONFLICT","error":"CI reports this check of the commit; ask for another attempt with checks/retry"}
    # other names, and other commits, are for everybody
    POST /repos/default/default/-/check {"branch":"topic","check_name":"lint","status":"passed"}
      201 {"id":"ID-2","sequence":2}
    "#);
    assert_eq!(history().await, ["lint 2.1 passed", "test 2.3 passed", "test 2.2 failed", "test 2.1 failed"]);
    let overridden: Vec<String> = sqlx::query_scalar(
        "SELECT payload::jsonb->>'data' FROM event_log WHERE type = 'com.docstore.check.overridden' ORDER BY id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    insta::assert_snapshot!(overridden.join("\n"), @r#"
    {"repo": "default/default", "actor": "admin@example.com", "branch": "topic", "status": "passed", "attempt": 3, "sequence": 2, "check_name": "test"}
    {"repo": "default/default", "actor": "admin@example.com", "branch": "topic", "status": "passed", "attempt": 3, "sequence": 2, "check_name": "test"}
    "#);
}

#[tokio::test]
async fn a_log_is_where_a_browser_can_go() {
    let app = TestApp::start().await;
    let (me, pool) = (app.admin(), app.pool().await);
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    claimed_job(&pool, "default/default", "main", "token-of-the-job").await;
    let mut seen = Vec::new();
    for url in
        ["https://logs.example/1", "HTTP://logs.example/1", "gs://logs/1", "file:///1", "javascript:alert(1)", "/1"]
    {
        let body = json!({"branch": "main", "check_name": "test", "status": "passed", "log_url": url});
        let by_person = me
            .post(
                &format!("{REPO}/check"),
                &json!({"branch": "main", "check_name": "lint",
            "status": "passed", "log_url": url}),
            )
            .await;
        let request = me.request(Method::POST, &format!("{REPO}/check"));
        let by_job =
            Answer::of(request.header("authorization", "Bearer token-of-the-job").body(body.to_string())).await;
        seen.push(format!("{url}: {} {}", by_person.status, by_job.status));
    }
    insta::assert_snapshot!(seen.join("\n"), @r#"
    https://logs.example/1: 201 Created 201 Created
    HTTP://logs.example/1: 201 Created 201 Created
    gs://logs/1: 400 Bad Request 201 Created
    file:///1: 400 Bad Request 201 Created
    javascript:alert(1): 400 Bad Request 400 Bad Request
    /1: 400 Bad Request 400 Bad Request
    "#);
}

#[tokio::test]
async fn a_commit_has_so_many_checks() {
    let app = TestApp::start().await;
    let me = app.admin();
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("1"))]).await;
    let report = |name: &str| json!({"branch": "topic", "check_name": name, "status": "passed"});
    me.post(&format!("{REPO}/check"), &report("build")).await.expect(201);
    let many = "INSERT INTO check_runs (id, repo_id, branch_id, sequence, check_name, state, reporter)
        SELECT gen_random_uuid(), repo_id, branch_id, sequence, 'check' || n, 'passed', reporter
        FROM check_runs, generate_series(1, 799) n";
    sqlx::query(many).execute(&app.pool().await).await.unwrap();
    let refused = me.post(&format!("{REPO}/check"), &report("another")).await.expect(409);
    assert_eq!(
        refused["error"],
        "the commit has 800 checks already; report under a name that it has, or gather several checks under one name"
    );
    me.post(&format!("{REPO}/check"), &report("build")).await.expect(201);
    // Those that are required come on top, and then there are no more than a decision looks at.
    me.put(&format!("{REPO}/required-checks"), &json!({"check_name": "required"})).await.expect(200);
    me.post(&format!("{REPO}/check"), &report("required")).await.expect(201);
    commit(&me, REPO, "topic", &[("a", Some("2"))]).await;
    me.post(&format!("{REPO}/check"), &report("another")).await.expect(201);
}
