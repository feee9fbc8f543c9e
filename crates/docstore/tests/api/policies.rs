//! Policies: `/repos/{repo}/-/branch/{branch}/status`, `/why` and `/agent-context`, `/policies/…`, `/orgs/{org}/policies`,
//! and the gate that everything which moves `main` goes through.

use docstore_test_support::{Person, TestApp};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, text_file};

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

#[tokio::test]
async fn without_policies_the_gate_is_open() {
    let (app, admin) = start().await;
    let mut told = Transcript::new();
    branch(&admin, REPO, "topic").await;
    commit(&admin, REPO, "topic", &[("OWNERS", Some("nobody@example.com")), ("a", Some("1"))]).await;
    told.get(&admin, &format!("{REPO}/branch/topic/status")).await;
    told.get(&admin, &format!("{REPO}/branch/topic/why")).await;
    told.get(&admin, &format!("{REPO}/branch/none/status")).await;
    told.get(&admin, &format!("{REPO}/branch/none/why")).await;
    told.get(&admin, &format!("{REPO}/branch/main/why")).await;
    told.post(&admin, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    assert_eq!(verdict_rows(&app).await, 0);
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/branch/topic/status
      200 {"auto_merge":false,"mergeable":true,"policies":[]}
    GET /repos/default/default/-/branch/topic/why
      200 {"branch":"topic","head_sequence":1,"mergeable":true,"policies":[],"requirements":[]}
    GET /repos/default/default/-/branch/none/status
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/branch/none/why
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/branch/main/why
      400 {"code":"BAD_REQUEST","error":"main is not merged into itself"}
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":2}
    "#);
}

#[tokio::test]
async fn a_merge_is_judged_and_the_refusal_says_what_to_do() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    policy(&admin, "paths.rego", PATHS).await;
    for name in ["good", "bad"] {
        branch(&maintainer, REPO, name).await;
    }
    commit(&maintainer, REPO, "good", &[("free/a", Some("1"))]).await;
    commit(&maintainer, REPO, "bad", &[("locked/a", Some("1"))]).await;
    let mut told = Transcript::new();
    told.get(&maintainer, &format!("{REPO}/branch/bad/status")).await;
    told.get(&maintainer, &format!("{REPO}/branch/bad/why")).await;
    told.say("a preview is refused alike, and leaves nothing");
    let before = verdict_rows(&app).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "bad", "dry_run": true})).await;
    assert_eq!(verdict_rows(&app).await, before);
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "bad"})).await;
    assert_eq!(
        last_event(&app, "merge.blocked").await,
        json!({"repo": "default/default", "branch": "bad", "actor": "maintainer@example.com", "policies": ["paths"],
            "action": "merge", "requirements": [{"kind": "policy", "what": "maintainer@example.com may not touch locked/",
                "who": [], "policy": "paths"}]})
    );
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "good"})).await;
    assert_eq!(last_event(&app, "branch.merged").await["branch_status"]["mergeable"], true);
    told.get(&maintainer, &format!("{REPO}/policies/verdicts")).await;
    told.get(&maintainer, &format!("{REPO}/policies/verdicts?outcome=denied&branch=bad&limit=1")).await;
    for query in ["outcome=maybe", "after=x", "limit=0"] {
        told.get(&maintainer, &format!("{REPO}/policies/verdicts?{query}")).await;
    }
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/branch/bad/status
      200 {"auto_merge":false,"mergeable":false,"policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}]}
    GET /repos/default/default/-/branch/bad/why
      200 {"branch":"bad","head_sequence":3,"mergeable":false,"policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"maintainer@example.com may not touch locked/","who":[]}]}
    # a preview is refused alike, and leaves nothing
    POST /repos/default/default/-/merge {"branch":"bad","dry_run":true}
      403 {"code":"POLICY_DENIED","error":"denied by policy: paths: maintainer@example.com may not touch locked/","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"maintainer@example.com may not touch locked/","who":[]}]}
    POST /repos/default/default/-/merge {"branch":"bad"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: paths: maintainer@example.com may not touch locked/","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"maintainer@example.com may not touch locked/","who":[]}]}
    POST /repos/default/default/-/merge {"branch":"good"}
      200 {"sequence":4}
    GET /repos/default/default/-/policies/verdicts
      200 {"verdicts":[{"action":"merge","actor":"maintainer@example.com","branch":"good","created_at":"TIME","head_sequence":2,"id":"ID-1","outcome":"allowed","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":true,"reason":""}],"sequence":4},{"action":"merge","actor":"maintainer@example.com","branch":"bad","created_at":"TIME","head_sequence":3,"id":"ID-2","outcome":"denied","polic… (532 bytes)
    GET /repos/default/default/-/policies/verdicts?outcome=denied&branch=bad&limit=1
      200 {"verdicts":[{"action":"merge","actor":"maintainer@example.com","branch":"bad","created_at":"TIME","head_sequence":3,"id":"ID-2","outcome":"denied","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}]}]}
    GET /repos/default/default/-/policies/verdicts?outcome=maybe
      400 {"code":"BAD_REQUEST","error":"invalid 'outcome' parameter: must be allowed, denied, or overridden"}
    GET /repos/default/default/-/policies/verdicts?after=x
      400 {"code":"BAD_REQUEST","error":"invalid 'after' parameter"}
    GET /repos/default/default/-/policies/verdicts?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    "#);
}

#[tokio::test]
async fn what_is_wrong_with_the_branch_itself_is_explained_too() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    let writer = give(&app, "writer@example.com", "writer").await;
    commit(&admin, REPO, "main", &[("a", Some("1"))]).await;
    policy(&admin, "never.rego", NEVER).await;
    for name in ["draft", "conflict"] {
        branch(&maintainer, REPO, name).await;
        commit(&writer, REPO, name, &[("a", Some(name))]).await;
    }
    maintainer.patch(&format!("{REPO}/branch/draft"), &json!({"draft": true})).await.expect(200);
    let on_main = json!({"branch": "main", "message": "m", "override": "needed", "files": [text_file("a", "2")]});
    let mut told = Transcript::new();
    told.say("this policy does not allow overrides");
    told.post(&admin, &format!("{REPO}/commit"), &on_main).await;
    policy(&admin, "never.rego", &format!("{NEVER}\nallow_override := true\n")).await;
    told.post(&maintainer, &format!("{REPO}/commit"), &on_main).await;
    told.post(&admin, &format!("{REPO}/commit"), &on_main).await;
    told.get(&writer, &format!("{REPO}/branch/draft/why")).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "draft"})).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "conflict"})).await;
    assert_eq!(
        last_event(&app, "policy.overridden").await,
        json!({"repo": "default/default", "branch": "main", "action": "commit", "actor": "admin@example.com",
            "reason": "needed", "policies": ["never"], "sequence": 8})
    );
    insta::assert_snapshot!(told, @r#"
    # this policy does not allow overrides
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"Mg==","path":"a"}],"message":"m","override":"needed"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (not all of these policies can be overridden)","policies":[{"file":".docstore/policy/never.rego","name":"never","pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]}]}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"Mg==","path":"a"}],"message":"m","override":"needed"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (only an admin may override)","policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds commit --override REASON","kind":"policy","what":"or an admin goes ahead, with a rea… (428 bytes)
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"Mg==","path":"a"}],"message":"m","override":"needed"}
      201 {"commit_hash":"HASH-1","files":[{"path":"a","version_id":"ID-1"}],"sequence":8}
    GET /repos/default/default/-/branch/draft/why
      200 {"branch":"draft","head_sequence":3,"mergeable":false,"policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"command":"ds ready","kind":"draft","what":"the branch is a draft; somebody must say that it is ready","who":["role:writer"]},{"command":"ds merge","kind":"role","what":"merging takes the role maintainer; … (741 bytes)
    POST /repos/default/default/-/merge {"branch":"draft"}
      409 {"code":"BRANCH_DRAFT","error":"branch is in draft state","requirements":[{"command":"ds ready","kind":"draft","what":"the branch is a draft; somebody must say that it is ready","who":["role:writer"]},{"command":"ds rebase","kind":"conflict","what":"draft and main both changed: a","who":["role:maintainer"]},{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds merge --o… (502 bytes)
    POST /repos/default/default/-/merge {"branch":"conflict"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-2","main_version_id":"ID-1","path":"a"}],"error":"the branch conflicts with main","requirements":[{"command":"ds rebase","kind":"conflict","what":"conflict and main both changed: a","who":["role:maintainer"]},{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds merge --override REASON","kind":"policy","what… (465 bytes)
    "#);
}

#[tokio::test]
async fn whatever_moves_main_goes_through_the_gate() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    policy(&admin, "paths.rego", PATHS).await;
    let file = text_file("locked/a", "1");
    let mut told = Transcript::new();
    told.post(&maintainer, &format!("{REPO}/commit"), &json!({"branch": "main", "message": "m", "files": [file]}))
        .await;
    let imported = json!({"author": "a@example.com", "message": "m", "imported_from": "git:1", "files": [file]});
    told.post(&admin, &format!("{REPO}/import"), &json!({"branch": "main", "commits": [imported]})).await;
    told.say("an admin's override does not help where the policy does not allow it");
    let over = json!({"branch": "main", "message": "m", "override": "  because  ", "files": [file]});
    told.post(&admin, &format!("{REPO}/commit"), &over).await;
    told.say("other paths, and other branches");
    commit(&maintainer, REPO, "main", &[("free/a", Some("1"))]).await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("locked/a", Some("1"))]).await;
    told.say("nobody loosens a policy by the change that it judges");
    commit(&maintainer, REPO, "topic", &[(".docstore/policy/paths.rego", None)]).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.say("an admin can always mend the policies themselves, with a reason");
    let mend = |reason: Value| {
        json!({"branch": "main", "message": "m", "override": reason,
            "files": [text_file(".docstore/policy/never.rego", NEVER)]})
    };
    told.post(&admin, &format!("{REPO}/commit"), &mend(Value::Null)).await;
    let unmend = json!({"branch": "main", "message": "m", "files": [{"path": ".docstore/policy/never.rego"}]});
    told.post(&admin, &format!("{REPO}/commit"), &unmend).await;
    let mut unmend = unmend;
    unmend["override"] = json!("it never says yes");
    told.post(&maintainer, &format!("{REPO}/commit"), &unmend).await;
    told.post(&admin, &format!("{REPO}/commit"), &unmend).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"locked/a"}],"message":"m"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: paths: maintainer@example.com may not touch locked/","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"maintainer@example.com may not touch locked/","who":[]}]}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"a@example.com","files":[{"content":"MQ==","path":"locked/a"}],"imported_from":"git:1","message":"m"}]}
      403 {"code":"POLICY_DENIED","error":"denied by policy: paths: admin@example.com may not touch locked/","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"admin@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"admin@example.com may not touch locked/","who":[]}]}
    # an admin's override does not help where the policy does not allow it
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"locked/a"}],"message":"m","override":"  because  "}
      403 {"code":"POLICY_DENIED","error":"denied by policy: paths: admin@example.com may not touch locked/ (not all of these policies can be overridden)","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"admin@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"admin@example.com may not touch locked/","who":[]}]}
    # other paths, and other branches
    # nobody loosens a policy by the change that it judges
    POST /repos/default/default/-/merge {"branch":"topic"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: paths: maintainer@example.com may not touch locked/","policies":[{"file":".docstore/policy/paths.rego","name":"paths","pass":false,"reason":"maintainer@example.com may not touch locked/"}],"requirements":[{"kind":"policy","policy":"paths","what":"maintainer@example.com may not touch locked/","who":[]}]}
    # an admin can always mend the policies themselves, with a reason
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"cGFja2FnZSBkb2NzdG9yZS5uZXZlcgoKaW1wb3J0IHJlZ28udjEKCmRlZmF1bHQgYWxsb3cgOj0gZmFsc2UKCnJlYXNvbiA6PSAibm90IHRvZGF5Igo=","path":".docstore/policy/never.rego"}],"message":"m","override":null}
      201 {"commit_hash":"HASH-1","files":[{"path":".docstore/policy/never.rego","version_id":"ID-1"}],"sequence":7}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today","policies":[{"file":".docstore/policy/never.rego","name":"never","pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]}]}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"it never says yes"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (only an admin may override)","policies":[{"file":".docstore/policy/never.rego","name":"never","pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]}]}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"it never says yes"}
      201 {"commit_hash":"HASH-2","files":[{"path":".docstore/policy/never.rego","version_id":null}],"sequence":10}
    "#);
}

#[tokio::test]
async fn what_cannot_be_used_does_not_reach_main() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    let bad = "package docstore.bad\n\nimport rego.v1\n\nallow if http.send({}).ok\n";
    let mut told = Transcript::new();
    let file = |text: &str| text_file(".docstore/policy/deep/bad.rego", text);
    told.post(&admin, &format!("{REPO}/commit"), &json!({"branch": "main", "message": "m", "files": [file(bad)]}))
        .await;
    let imported =
        json!({"author": "a@example.com", "message": "m", "imported_from": "git:1", "files": [file("package x")]});
    told.post(&admin, &format!("{REPO}/import"), &json!({"branch": "main", "commits": [imported]})).await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[(".docstore/policy/bad.rego", Some("package docstore.bad\nallow {"))]).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic", "dry_run": true})).await;
    told.say("not text, and too long");
    let binary = json!({"path": ".docstore/policy/b.rego", "content": "/w=="});
    told.post(&admin, &format!("{REPO}/commit"), &json!({"branch": "main", "message": "m", "files": [binary]})).await;
    let long = file(&"# long\n".repeat(40_000));
    told.post(&admin, &format!("{REPO}/commit"), &json!({"branch": "main", "message": "m", "files": [long]})).await;
    told.say("one that is not a policy");
    commit(&admin, REPO, "main", &[(".docstore/policy/review.cases.json", Some("{")), ("docs/x.rego", Some("{"))])
        .await;
    told.get(&admin, &format!("{REPO}/branch/topic/status")).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"cGFja2FnZSBkb2NzdG9yZS5iYWQKCmltcG9ydCByZWdvLnYxCgphbGxvdyBpZiBodHRwLnNlbmQoe30pLm9rCg==","path":".docstore/policy/deep/bad.rego"}],"message":"m"}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/deep/bad.rego:5: `http.send` is not available: a policy cannot reach the network"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"a@example.com","files":[{"content":"cGFja2FnZSB4","path":".docstore/policy/deep/bad.rego"}],"imported_from":"git:1","message":"m"}]}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/deep/bad.rego:1: the package must be `docstore.<name>`, not `x`"}
    POST /repos/default/default/-/merge {"branch":"topic"}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/bad.rego:2: `if` keyword is required before rule body"}
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/bad.rego:2: `if` keyword is required before rule body"}
    # not text, and too long
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"/w==","path":".docstore/policy/b.rego"}],"message":"m"}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/b.rego: it is not text in UTF-8"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"IyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbm… (373432 bytes)
      409 {"code":"POLICY_INVALID","error":".docstore/policy/deep/bad.rego: it has more than 262144 bytes"}
    # one that is not a policy
    GET /repos/default/default/-/branch/topic/status
      200 {"auto_merge":false,"mergeable":true,"policies":[]}
    "#);
}

#[tokio::test]
async fn a_policy_that_does_not_stop_is_neither_yes_nor_no() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    let endless = "package docstore.endless\n\nimport rego.v1\n\nallow if {\n\tsome a in numbers.range(1, 90000)\n\t\
        some b in numbers.range(1, 90000)\n\ta * b < 0\n}\n";
    policy(&admin, "endless.rego", endless).await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("a", Some("1"))]).await;
    let mut told = Transcript::new();
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.get(&maintainer, &format!("{REPO}/branch/topic/status")).await;
    told.get(&maintainer, &format!("{REPO}/branch/topic/agent-context")).await;
    told.get(&maintainer, &format!("{REPO}/branch/topic/why")).await;
    told.say("tried out, it harms nobody");
    let away = json!({"branch": "main", "message": "m", "override": "it does not stop",
        "files": [{"path": ".docstore/policy/endless.rego"}, text_file(".docstore/policy/shadow/endless.rego", endless)]});
    told.post(&admin, &format!("{REPO}/commit"), &away).await;
    told.get(&maintainer, &format!("{REPO}/branch/topic/status")).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/merge {"branch":"topic"}
      500 {"code":"POLICY_FAILED","error":"policy evaluation error: .docstore/policy/endless.rego: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?"}
    GET /repos/default/default/-/branch/topic/status
      500 {"code":"POLICY_FAILED","error":"policy evaluation error: .docstore/policy/endless.rego: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?"}
    GET /repos/default/default/-/branch/topic/agent-context
      500 {"code":"POLICY_FAILED","error":"policy evaluation error: .docstore/policy/endless.rego: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?"}
    GET /repos/default/default/-/branch/topic/why
      200 {"branch":"topic","head_sequence":2,"mergeable":false,"policies":[],"requirements":[{"kind":"policy","policy":"endless","what":"policy endless came to no decision: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?","who":["role:admin"]}]}
    # tried out, it harms nobody
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/endless.rego"},{"content":"cGFja2FnZSBkb2NzdG9yZS5lbmRsZXNzCgppbXBvcnQgcmVnby52MQoKYWxsb3cgaWYgewoJc29tZSBhIGluIG51bWJlcnMucmFuZ2UoMSwgOTAwMDApCglzb21lIGIgaW4gbnVtYmVycy5yYW5nZSgxLCA5MDAwMCkKCWEgKiBiIDwgMAp9Cg==","path":".docstore/policy/shadow/endless.rego"}],"message":"m","override":"it does not stop"}
      201 {"commit_hash":"HASH-1","files":[{"path":".docstore/policy/endless.rego","version_id":null},{"path":".docstore/policy/shadow/endless.rego","version_id":"ID-1"}],"sequence":3}
    GET /repos/default/default/-/branch/topic/status
      200 {"auto_merge":false,"mergeable":true,"policies":[{"file":".docstore/policy/shadow/endless.rego","name":"endless","pass":false,"reason":"rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?","shadow":true}]}
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":4}
    "#);
}

#[tokio::test]
async fn a_policy_in_shadow_is_shown_and_refuses_nothing() {
    let (app, admin) = start().await;
    policy(&admin, "shadow/never.rego", NEVER).await;
    policy(
        &admin,
        "tried.rego",
        &NEVER.replace("never", "tried").replace("import rego.v1", "import rego.v1\n\nshadow := true"),
    )
    .await;
    branch(&admin, REPO, "topic").await;
    commit(&admin, REPO, "topic", &[("a", Some("1"))]).await;
    let mut told = Transcript::new();
    told.get(&admin, &format!("{REPO}/branch/topic/why")).await;
    told.post(&admin, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.get(&admin, &format!("{REPO}/policies/verdicts?limit=1")).await;
    assert_eq!(verdict_rows(&app).await, 2);
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/branch/topic/why
      200 {"branch":"topic","head_sequence":3,"mergeable":true,"policies":[{"file":".docstore/policy/shadow/never.rego","name":"never","pass":false,"reason":"not today","shadow":true},{"file":".docstore/policy/tried.rego","name":"tried","pass":false,"reason":"not today","shadow":true}],"requirements":[]}
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":4}
    GET /repos/default/default/-/policies/verdicts?limit=1
      200 {"verdicts":[{"action":"merge","actor":"admin@example.com","branch":"topic","created_at":"TIME","head_sequence":3,"id":"ID-1","outcome":"allowed","policies":[{"file":".docstore/policy/shadow/never.rego","name":"never","pass":false,"reason":"not today","shadow":true},{"file":".docstore/policy/tried.rego","name":"tried","pass":false,"reason":"not today","shadow":true}],"sequence":4}]}
    "#);
}

#[tokio::test]
async fn owners_are_those_of_the_deepest_file_on_main() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    let listed = "package docstore.owned\n\nimport rego.v1\n\ndefault allow := false\n\nreason := json.marshal(input.owners)\n\n\
        shadow := true\n";
    let large = format!("# {}\nlarge@example.com\n", "x".repeat(20_000));
    commit(
        &admin,
        REPO,
        "main",
        &[
            ("OWNERS", Some("root@example.com")),
            ("src/OWNERS", Some("# the old team\n\n src@example.com \nother@example.com")),
            ("src/api/OWNERS", Some("# nobody any more\n")),
            ("large/OWNERS", Some(&large)),
        ],
    )
    .await;
    policy(&admin, "owned.rego", listed).await;
    branch(&maintainer, REPO, "topic").await;
    commit(
        &maintainer,
        REPO,
        "topic",
        &[
            ("README", Some("1")),
            ("src/api/v1/a", Some("1")),
            ("srcery", Some("1")),
            ("large/b", Some("1")),
            // What the branch says about owners counts once it is on main.
            ("src/api/v1/OWNERS", Some("eve@example.com")),
        ],
    )
    .await;
    let status = maintainer.get(&format!("{REPO}/branch/topic/status")).await.json();
    let owners: Value = serde_json::from_str(status["policies"][0]["reason"].as_str().unwrap()).unwrap();
    assert_eq!(
        owners,
        json!({
            "README": ["root@example.com"],
            "large/b": ["large@example.com"],
            "src/api/v1/OWNERS": ["src@example.com", "other@example.com"],
            "src/api/v1/a": ["src@example.com", "other@example.com"],
            "srcery": ["root@example.com"],
        })
    );
    let context = maintainer.get(&format!("{REPO}/branch/topic/agent-context")).await.json();
    assert_eq!(context["file_ownership"], owners);
}

#[tokio::test]
async fn the_document_is_kept_and_policies_are_tried_on_it() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    policy(&admin, "paths.rego", PATHS).await;
    for (name, path) in [("one", "free/a"), ("two", "locked/a"), ("three", "docs/a")] {
        branch(&maintainer, REPO, name).await;
        commit(&maintainer, REPO, name, &[(path, Some(name))]).await;
        maintainer.post(&format!("{REPO}/merge"), &json!({"branch": name})).await;
    }
    let input: Value = sqlx::query_scalar(
        "SELECT v.input FROM policy_verdicts v JOIN branches b ON b.id = v.branch_id WHERE b.name = 'one'",
    )
    .fetch_one(&app.pool().await)
    .await
    .unwrap();
    insta::assert_json_snapshot!(input, @r#"
    {
      "action": "merge",
      "actor": "maintainer@example.com",
      "actor_kind": "person",
      "actor_on_behalf_of": null,
      "actor_roles": [
        "maintainer"
      ],
      "authors": [
        "maintainer@example.com"
      ],
      "base_sequence": 1,
      "branch": "one",
      "carried_reviews": [],
      "changed_paths": [
        "free/a"
      ],
      "check_runs": [],
      "co_authors": [],
      "draft": false,
      "head_sequence": 2,
      "last_pusher": "maintainer@example.com",
      "overrides": [],
      "owners": {
        "free/a": null
      },
      "principals": {
        "maintainer@example.com": {
          "kind": "person",
          "on_behalf_of": null
        }
      },
      "proposal": null,
      "repo": "default/default",
      "reviews": []
    }
    "#);
    let mut told = Transcript::new();
    let tried = "package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n";
    let body = json!({"policies": [{"file": "tried.rego", "source": tried}]});
    told.post(&maintainer, &format!("{REPO}/policies/replay"), &body).await;
    let first = json!({"policies": [{"file": "tried.rego", "source": tried}], "limit": 1});
    let next = told.post(&maintainer, &format!("{REPO}/policies/replay"), &first).await.json()["next"].clone();
    let second = json!({"policies": [{"file": "tried.rego", "source": tried}], "limit": 2, "after": next});
    told.post(&maintainer, &format!("{REPO}/policies/replay"), &second).await;
    for body in [
        json!({}),
        json!({"policies": [{"file": "", "source": tried}]}),
        json!({"policies": [{"file": "a.rego", "source": "package docstore.a\nallow if x"}]}),
        json!({"policies": [{"file": "a.rego", "source": tried}], "limit": 0}),
    ] {
        told.post(&maintainer, &format!("{REPO}/policies/replay"), &body).await;
    }
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/policies/replay {"policies":[{"file":"tried.rego","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      200 {"allowed":1,"changed":[{"action":"merge","actor":"maintainer@example.com","branch":"three","created_at":"TIME","id":"ID-1","policies":[{"file":"tried.rego","name":"tried","pass":false,"reason":"policy denied"}],"was":"allowed","would_pass":false},{"action":"merge","actor":"maintainer@example.com","branch":"two","created_at":"TIME","id":"ID-2","policies":[{"file":"tried.rego","name":"tried","p… (484 bytes)
    POST /repos/default/default/-/policies/replay {"limit":1,"policies":[{"file":"tried.rego","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      200 {"allowed":0,"changed":[{"action":"merge","actor":"maintainer@example.com","branch":"three","created_at":"TIME","id":"ID-1","policies":[{"file":"tried.rego","name":"tried","pass":false,"reason":"policy denied"}],"was":"allowed","would_pass":false}],"next":"ID-1","refused":1,"replayed":1}
    POST /repos/default/default/-/policies/replay {"after":"ID-1","limit":2,"policies":[{"file":"tried.rego","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      200 {"allowed":1,"changed":[{"action":"merge","actor":"maintainer@example.com","branch":"two","created_at":"TIME","id":"ID-2","policies":[{"file":"tried.rego","name":"tried","pass":true,"reason":""}],"was":"denied","would_pass":true}],"next":"ID-3","refused":0,"replayed":2}
    POST /repos/default/default/-/policies/replay {}
      400 {"code":"BAD_REQUEST","error":"policies is required"}
    POST /repos/default/default/-/policies/replay {"policies":[{"file":"","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      400 {"code":"BAD_REQUEST","error":"file is required"}
    POST /repos/default/default/-/policies/replay {"policies":[{"file":"a.rego","source":"package docstore.a\nallow if x"}]}
      400 {"code":"BAD_REQUEST","error":"a.rego:2: use of undefined variable `x` is unsafe"}
    POST /repos/default/default/-/policies/replay {"limit":0,"policies":[{"file":"a.rego","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      400 {"code":"BAD_REQUEST","error":"limit must be at least 1"}
    "#);
}

#[tokio::test]
async fn an_org_judges_all_its_repos() {
    let (app, admin) = start().await;
    let owner = app.person("owner@example.com");
    owner.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    owner.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    let repo = "/repos/acme/app/-";
    let mut told = Transcript::new();
    told.put(&owner, "/orgs/acme/policies/never", &json!({"source": NEVER})).await;
    told.get(&owner, "/orgs/acme/policies").await;
    told.say("also where the repo has none of its own, and its admin cannot help it");
    let body = json!({"branch": "main", "message": "m", "override": "please", "files": [text_file("a", "1")]});
    told.post(&owner, &format!("{repo}/commit"), &body).await;
    let body = json!({"branch": "main", "message": "m", "override": "please",
        "files": [text_file(".docstore/policy/a.rego", "package docstore.a\nallow := true\n")]});
    told.post(&owner, &format!("{repo}/commit"), &body).await;
    told.say("other orgs do not know it");
    commit(&admin, REPO, "main", &[("a", Some("1"))]).await;
    assert_eq!(
        last_event(&app, "org.policy.changed").await,
        json!({"org": "acme", "name": "never", "deleted": false, "changed_by": "owner@example.com"})
    );
    told.say("what is refused");
    told.put(&owner, "/orgs/acme/policies/Bad", &json!({"source": NEVER})).await;
    told.put(&owner, "/orgs/acme/policies/bad", &json!({"source": "package main\nallow := true"})).await;
    told.put(&owner, "/orgs/acme/policies/bad", &json!({"source": "x".repeat(300_000)})).await;
    told.put(&app.person("stranger@example.com"), "/orgs/acme/policies/a", &json!({"source": NEVER})).await;
    told.get(&app.person("stranger@example.com"), "/orgs/acme/policies").await;
    told.delete(&owner, "/orgs/acme/policies/none").await;
    told.delete(&owner, "/orgs/acme/policies/never").await;
    commit(&owner, repo, "main", &[("a", Some("1"))]).await;
    insta::assert_snapshot!(told, @r#"
    PUT /orgs/acme/policies/never {"source":"package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n"}
      200 {"name":"never","source":"package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n","updated_at":"TIME","updated_by":"owner@example.com"}
    GET /orgs/acme/policies
      200 {"policies":[{"name":"never","source":"package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n","updated_at":"TIME","updated_by":"owner@example.com"}]}
    # also where the repo has none of its own, and its admin cannot help it
    POST /repos/acme/app/-/commit {"branch":"main","files":[{"content":"MQ==","path":"a"}],"message":"m","override":"please"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (not all of these policies can be overridden)","policies":[{"file":"org/never.rego","name":"never","org":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]}]}
    POST /repos/acme/app/-/commit {"branch":"main","files":[{"content":"cGFja2FnZSBkb2NzdG9yZS5hCmFsbG93IDo9IHRydWUK","path":".docstore/policy/a.rego"}],"message":"m","override":"please"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (not all of these policies can be overridden)","policies":[{"file":"org/never.rego","name":"never","org":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]}]}
    # other orgs do not know it
    # what is refused
    PUT /orgs/acme/policies/Bad {"source":"package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n"}
      400 {"code":"BAD_REQUEST","error":"a policy's name must have 1 to 100 lower-case letters, digits, '-' and '_'"}
    PUT /orgs/acme/policies/bad {"source":"package main\nallow := true"}
      409 {"code":"POLICY_INVALID","error":"org/bad.rego:1: the package must be `docstore.<name>`, not `main`"}
    PUT /orgs/acme/policies/bad {"source":"x*300000"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"a policy may have at most 262144 bytes"}
    PUT /orgs/acme/policies/a {"source":"package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n"}
      403 {"code":"FORBIDDEN","error":"forbidden: org owner required"}
    GET /orgs/acme/policies
      403 {"code":"FORBIDDEN","error":"forbidden: not an org member"}
    DELETE /orgs/acme/policies/none
      404 {"code":"NOT_FOUND","error":"policy not found"}
    DELETE /orgs/acme/policies/never
      204
    "#);
}

#[tokio::test]
async fn a_new_policy_counts_on_every_replica_at_once() {
    let (app, admin) = start().await;
    let other = app.second_server().await;
    let there = other.person("admin@example.com");
    for round in 0..3 {
        let open = format!("open{round}");
        let shut = format!("shut{round}");
        for name in [&open, &shut] {
            branch(&admin, REPO, name).await;
            commit(&admin, REPO, name, &[(name, Some("1"))]).await;
        }
        there.post(&format!("{REPO}/merge"), &json!({"branch": open})).await.expect(200);
        policy(&admin, "never.rego", NEVER).await;
        there.post(&format!("{REPO}/merge"), &json!({"branch": shut})).await.expect(403);
        assert_eq!(there.get(&format!("{REPO}/branch/{shut}/status")).await.json()["mergeable"], false);
        let away = json!({"branch": "main", "message": "m", "override": "next round",
            "files": [{"path": ".docstore/policy/never.rego"}]});
        there.post(&format!("{REPO}/commit"), &away).await.expect(201);
        admin.post(&format!("{REPO}/merge"), &json!({"branch": shut})).await.expect(200);
    }
    other.stop().await;
}

#[tokio::test]
async fn what_is_committed_while_a_merge_is_judged_is_judged_as_well() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    policy(&admin, "paths.rego", PATHS).await;
    for round in 0..8 {
        let name = format!("topic{round}");
        branch(&maintainer, REPO, &name).await;
        commit(&maintainer, REPO, &name, &[(&format!("free/{round}"), Some("1"))]).await;
        let merge = async {
            maintainer.post(&format!("{REPO}/merge"), &json!({"branch": name})).await;
        };
        let sneak = async {
            let file = text_file(&format!("locked/{round}"), "1");
            let body = json!({"branch": name, "message": "m", "files": [file]});
            maintainer.post(&format!("{REPO}/commit"), &body).await;
        };
        futures::join!(merge, sneak);
    }
    let tree = maintainer.get(&format!("{REPO}/tree")).await.json();
    assert!(
        tree.as_array().unwrap().iter().all(|file| !file["path"].as_str().unwrap().starts_with("locked/")),
        "{tree}"
    );
}

#[tokio::test]
async fn many_merges_at_once_compile_a_policy_once_and_all_are_judged() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    policy(&admin, "paths.rego", PATHS).await;
    let names: Vec<String> = (0..10).map(|n| format!("topic{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        branch(&maintainer, REPO, name).await;
        let path = format!("{}/{n}", if n % 2 == 0 { "free" } else { "locked" });
        commit(&maintainer, REPO, name, &[(&path, Some("1"))]).await;
    }
    let maintainer = &maintainer;
    let merges = names.iter().map(|name| async move {
        maintainer.post(&format!("{REPO}/merge"), &json!({"branch": name})).await.status.as_u16()
    });
    assert_eq!(join_all(merges).await, [200, 403, 200, 403, 200, 403, 200, 403, 200, 403]);
}

#[tokio::test]
async fn a_deleted_repo_leaves_no_verdicts() {
    let app = TestApp::start().await;
    let owner = app.person("owner@example.com");
    owner.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    owner.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    let text = "package docstore.a\nallow := true\n";
    commit(&owner, "/repos/acme/app/-", "main", &[(".docstore/policy/a.rego", Some(text))]).await;
    commit(&owner, "/repos/acme/app/-", "main", &[("a", Some("1"))]).await;
    assert_eq!(verdict_rows(&app).await, 1);
    owner.delete("/repos/acme/app").await.expect(204);
    assert_eq!(verdict_rows(&app).await, 0);
}

#[tokio::test]
async fn the_starter_set_wants_a_second_person_and_a_pure_rebase_costs_nothing() {
    let (app, admin) = start().await;
    let author = give(&app, "author@example.com", "maintainer").await;
    let reviewer = give(&app, "reviewer@example.com", "writer").await;
    commit(&admin, REPO, "main", &[("OWNERS", Some("reviewer@example.com"))]).await;
    let files: Vec<Value> = docstore_policy::STARTER.iter().map(|file| text_file(file.path, file.text)).collect();
    let body = json!({"branch": "main", "message": "policies", "files": files});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    branch(&author, REPO, "topic").await;
    commit(&author, REPO, "topic", &[("a", Some("1"))]).await;
    let check = |status: &str| json!({"branch": "topic", "check_name": "test", "status": status});
    author.post(&format!("{REPO}/check"), &check("failed")).await.expect(201);
    let failing = async || {
        let status = author.get(&format!("{REPO}/branch/topic/status")).await.json();
        let policies = status["policies"].as_array().unwrap();
        let failing = policies.iter().filter(|policy| policy["pass"] == false);
        failing.map(|policy| format!("{}: {}", policy["name"], policy["reason"])).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        failing().await,
        r#""checks": "failed: test" "owners": "owners have not approved: a" "review": "nobody else has approved this change""#
    );
    let why = author.get(&format!("{REPO}/branch/topic/why")).await.json();
    insta::assert_json_snapshot!(why["requirements"], @r#"
    [
      {
        "command": "ds checks --branch topic",
        "kind": "check",
        "policy": "checks",
        "what": "check test must pass",
        "who": [
          "role:writer"
        ]
      },
      {
        "command": "ds review --status approved --branch topic",
        "kind": "review",
        "policy": "owners",
        "what": "an owner of a must approve",
        "who": [
          "reviewer@example.com"
        ]
      },
      {
        "command": "ds review --status approved --branch topic",
        "kind": "review",
        "policy": "review",
        "what": "a person who had no hand in the change must approve it",
        "who": [
          "role:writer"
        ]
      }
    ]
    "#);
    author.post(&format!("{REPO}/check"), &check("passed")).await.expect(201);
    let review = |status: &str| json!({"branch": "topic", "status": status});
    reviewer.post(&format!("{REPO}/review"), &review("rejected")).await.expect(201);
    assert_eq!(
        failing().await,
        r#""owners": "owners have not approved: a" "review": "rejected by reviewer@example.com""#
    );
    reviewer.post(&format!("{REPO}/review"), &review("approved")).await.expect(201);
    assert_eq!(failing().await, "");
    // Somebody else's change on main, and a rebase: the same change, so the approval still holds.
    let other = json!({"branch": "main", "message": "m", "override": "unrelated", "files": [text_file("b", "1")]});
    admin.post(&format!("{REPO}/commit"), &other).await.expect(201);
    author.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    assert_eq!(failing().await, "");
    // A hidden change always costs it.
    commit(&author, REPO, "topic", &[("a", Some("2"))]).await;
    assert_eq!(
        failing().await,
        r#""owners": "owners have not approved: a" "review": "the approval by reviewer@example.com is of an earlier change""#
    );
    reviewer.post(&format!("{REPO}/review"), &review("approved")).await.expect(201);
    author.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
}
