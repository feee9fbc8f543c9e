//! Who may go past the policies, and how far that reaches.

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, grant, text_file};

const NEVER: &str = "package docstore.never\n\nimport rego.v1\n\ndefault allow := false\n\nreason := \"not today\"\n\n\
    allow_override := true\n";

/// The admin has the role by a row of their own, as in every repo but the first.
async fn start() -> (TestApp, Person) {
    let app = TestApp::start().await;
    let admin = app.admin();
    let me = admin.get("/whoami").await.json()["identity"].as_str().unwrap().to_owned();
    grant(&admin, &me, "admin").await;
    (app, admin)
}

/// A commit to `main` with an override.
fn over(files: &[Value]) -> Value {
    json!({"branch": "main", "message": "m", "override": "needed", "files": files})
}

async fn token(owner: &Person, actions: &[&str]) -> Person {
    let body = json!({"name": actions.join(" "), "actions": actions});
    let made = owner.post("/tokens", &body).await.expect(201);
    owner.with_token(made["secret"].as_str().unwrap())
}

async fn agent(owner: &Person, actions: &[&str]) -> Person {
    let made = owner.post("/agents", &json!({"name": "fixer", "actions": actions})).await.expect(201);
    owner.with_token(made["secret"].as_str().unwrap())
}

#[tokio::test]
async fn only_who_acts_as_admin_overrides() {
    let (_app, admin) = start().await;
    let policy = text_file(".docstore/policy/never.rego", NEVER);
    admin.post(&format!("{REPO}/commit"), &over(&[policy])).await.expect(201);
    branch(&admin, REPO, "topic").await;
    commit(&admin, REPO, "topic", &[("a", Some("1"))]).await;
    let mend = over(&[json!({"path": ".docstore/policy/never.rego"})]);
    let merge = json!({"branch": "topic", "override": "needed"});
    let mut told = Transcript::new();
    told.say("an agent of the admin");
    let fixer = agent(&admin, &["read", "contents", "merge"]).await;
    told.post(&fixer, &format!("{REPO}/commit"), &mend).await;
    told.post(&fixer, &format!("{REPO}/merge"), &merge).await;
    told.say("tokens that were made for merging and committing");
    let merger = token(&admin, &["merge"]).await;
    told.post(&merger, &format!("{REPO}/merge"), &merge).await;
    let committer = token(&admin, &["contents"]).await;
    told.post(&committer, &format!("{REPO}/commit"), &mend).await;
    told.say("one that was made for what an admin does");
    let keys = token(&admin, &["merge", "contents", "admin"]).await;
    told.post(&keys, &format!("{REPO}/merge"), &merge).await;
    told.post(&keys, &format!("{REPO}/commit"), &mend).await;
    insta::assert_snapshot!(told, @r#"
    # an agent of the admin
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"needed"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (only people may override)","policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds commit --override REASON","kind":"policy","what":"or an admin goes ahead, with a reaso… (426 bytes)
    POST /repos/default/default/-/merge {"branch":"topic","override":"needed"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (only people may override)","policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds merge --override REASON topic","kind":"policy","what":"or an admin goes ahead, with a … (431 bytes)
    # tokens that were made for merging and committing
    POST /repos/default/default/-/merge {"branch":"topic","override":"needed"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (overriding takes a token with the action 'admin')","policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds merge --override REASON topic","kind":"policy","what":"or an a… (455 bytes)
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"needed"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: never: not today (overriding takes a token with the action 'admin')","policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds commit --override REASON","kind":"policy","what":"or an admin … (450 bytes)
    # one that was made for what an admin does
    POST /repos/default/default/-/merge {"branch":"topic","override":"needed"}
      200 {"sequence":5}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"needed"}
      201 {"commit_hash":"HASH-1","files":[{"path":".docstore/policy/never.rego","version_id":null}],"sequence":6}
    "#);
}

#[tokio::test]
async fn an_override_that_may_not_be_made_impresses_no_policy() {
    let (app, admin) = start().await;
    grant(&admin, "maintainer@example.com", "maintainer").await;
    let maintainer = app.person("maintainer@example.com");
    let asked = "package docstore.asked\n\nimport rego.v1\n\ndefault allow := false\n\n\
        allow if count(input.overrides) > 0\n";
    commit(&admin, REPO, "main", &[(".docstore/policy/asked.rego", Some(asked))]).await;
    maintainer.post(&format!("{REPO}/commit"), &over(&[text_file("a", "1")])).await.expect(403);
    admin.post(&format!("{REPO}/commit"), &over(&[text_file("a", "1")])).await.expect(201);
}

#[tokio::test]
async fn a_policy_of_the_org_without_a_decision_refuses() {
    let (_app, admin) = start().await;
    let endless = "package docstore.slow\n\nimport rego.v1\n\nallow if {\n\tsome a in numbers.range(1, 90000)\n\t\
        some b in numbers.range(1, 90000)\n\ta * b < 0\n}\n\nallow if input.action == \"merge\"\n";
    commit(&admin, REPO, "main", &[(".docstore/policy/never.rego", Some(NEVER))]).await;
    admin.put("/orgs/default/policies/slow", &json!({"source": endless})).await.expect(200);
    let mend = over(&[json!({"path": ".docstore/policy/never.rego"})]);
    let mut told = Transcript::new();
    told.post(&admin, &format!("{REPO}/commit"), &mend).await;
    told.say("without it the same commit goes ahead");
    told.delete(&admin, "/orgs/default/policies/slow").await;
    told.post(&admin, &format!("{REPO}/commit"), &mend).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"needed"}
      500 {"code":"POLICY_FAILED","error":"policy evaluation error: org/slow.rego: rule `allow`: it was stopped after 1000000 instructions; does it loop over too much?"}
    # without it the same commit goes ahead
    DELETE /orgs/default/policies/slow
      204
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":".docstore/policy/never.rego"}],"message":"m","override":"needed"}
      201 {"commit_hash":"HASH-1","files":[{"path":".docstore/policy/never.rego","version_id":null}],"sequence":3}
    "#);
}
