//! Policies that come to no decision, or whose decision does not count.

use docstore_service::telemetry::install_metrics;
use serde_json::json;

use super::{NEVER, give, policy, start, verdict_rows};
use crate::limits::{counts, grew};
use crate::support::{REPO, Transcript, branch, commit, text_file};

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

/// Two values that are equal and share their parts so often that comparing them never ends.
fn never_ends() -> String {
    let doubled = |name: &str| -> String {
        (1..=60).map(|level| format!("{name}{level} := [{name}{0}, {name}{0}]\n", level - 1)).collect()
    };
    format!(
        "package docstore.evil\n\nimport rego.v1\n\na0 := [1]\nb0 := [1]\n{}{}allow if a60 == b60\n",
        doubled("a"),
        doubled("b")
    )
}

#[tokio::test]
async fn what_the_engine_cannot_stop_is_killed_and_the_server_goes_on() {
    install_metrics("docstore").unwrap();
    let (_app, admin) = start().await;
    policy(&admin, "evil.rego", &never_ends()).await;
    branch(&admin, REPO, "topic").await;
    commit(&admin, REPO, "topic", &[("a", Some("1"))]).await;
    admin.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let other = "/repos/default%2Fother/-";
    let body = json!({"branch": "main", "message": "m",
        "files": [text_file(".docstore/policy/fine.rego", "package docstore.fine\nallow := true\n")]});
    admin.post(&format!("{other}/commit"), &body).await.expect(201);
    branch(&admin, other, "topic").await;
    commit(&admin, other, "topic", &[("a", Some("1"))]).await;
    let before = counts();
    let mut told = Transcript::new();
    let merge = json!({"branch": "topic"});
    // Its author waits for it. Nobody else does.
    let (evil_path, path) = (format!("{REPO}/merge"), format!("{other}/merge"));
    let (evil, fine) = tokio::join!(admin.post(&evil_path, &merge), admin.post(&path, &merge));
    fine.expect(200);
    assert_eq!(
        evil.expect(500)["error"],
        "policy evaluation error: .docstore/policy/evil.rego: it was stopped because it took too long"
    );
    grew(&before, "policy_time");
    let again = admin.post(&evil_path, &merge).await.expect(500)["error"].to_string();
    assert!(again.contains("it was stopped because it took too long; it is run again in "), "{again}");
    told.say("an admin takes it away");
    let away = json!({"branch": "main", "message": "m", "override": "it does not stop",
        "files": [{"path": ".docstore/policy/evil.rego"}]});
    told.post(&admin, &format!("{REPO}/commit"), &away).await;
    told.post(&admin, &evil_path, &merge).await;
    insta::assert_snapshot!(told, @r#"
    # an admin takes it away
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/evil.rego"}],"message":"m","override":"it does not stop"}
      201 {"commit_hash":"HASH-1","files":[{"path":".docstore/policy/evil.rego","version_id":null}],"sequence":6}
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":7}
    "#);
}

#[tokio::test]
async fn what_cannot_be_compiled_in_time_does_not_reach_main() {
    let (_app, admin) = start().await;
    // The engine's parser tries each bracket in two ways.
    let nested = format!("package docstore.x\nallow := {}1{}\n", "[".repeat(100), "]".repeat(100));
    let body = json!({"branch": "main", "message": "m", "files": [text_file(".docstore/policy/x.rego", &nested)]});
    let refused = admin.post(&format!("{REPO}/commit"), &body).await.expect(409);
    assert_eq!(refused["code"], "POLICY_INVALID");
    assert_eq!(refused["error"], ".docstore/policy/x.rego: compiling it: it was stopped because it took too long");
    commit(&admin, REPO, "main", &[("a", Some("1"))]).await;
}
