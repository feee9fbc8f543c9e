//! Whatever moves `main` is judged, and a refusal says what to do.

use serde_json::{Value, json};

use super::{NEVER, PATHS, give, last_event, policy, start, verdict_rows};
use crate::support::{REPO, Transcript, branch, commit, text_file};

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
      200 {"branch":"draft","head_sequence":3,"mergeable":false,"policies":[{"file":".docstore/policy/never.rego","name":"never","overridable":true,"pass":false,"reason":"not today"}],"requirements":[{"command":"ds ready draft","kind":"draft","what":"the branch is a draft; somebody must say that it is ready","who":["role:writer"]},{"command":"ds merge draft","kind":"role","what":"merging takes the role … (780 bytes)
    POST /repos/default/default/-/merge {"branch":"draft"}
      409 {"code":"BRANCH_DRAFT","error":"branch is in draft state","requirements":[{"command":"ds ready draft","kind":"draft","what":"the branch is a draft; somebody must say that it is ready","who":["role:writer"]},{"command":"ds checkout draft && ds rebase","kind":"conflict","what":"draft and main both changed: a","who":["role:maintainer"]},{"kind":"policy","policy":"never","what":"not today","who":[… (535 bytes)
    POST /repos/default/default/-/merge {"branch":"conflict"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-2","main_version_id":"ID-1","path":"a"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout conflict && ds rebase","kind":"conflict","what":"conflict and main both changed: a","who":["role:maintainer"]},{"kind":"policy","policy":"never","what":"not today","who":[]},{"command":"ds merge --override REASO… (498 bytes)
    "#);
}

#[tokio::test]
async fn why_says_what_the_merge_says() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    for name in ["file", "broken"] {
        branch(&maintainer, REPO, name).await;
    }
    commit(&maintainer, REPO, "file", &[("dir", Some("1"))]).await;
    commit(&admin, REPO, "main", &[("dir/a", Some("1"))]).await;
    commit(&maintainer, REPO, "broken", &[(".docstore/policy/broken.rego", Some("package docstore.broken\nallow if"))])
        .await;
    let mut told = Transcript::new();
    for name in ["file", "broken"] {
        let refused = maintainer.post(&format!("{REPO}/merge"), &json!({"branch": name})).await.expect(409);
        let why = maintainer.get(&format!("{REPO}/branch/{name}/why")).await.expect(200);
        assert_eq!(why["mergeable"], false, "{why}");
        assert_eq!(why["requirements"], refused["requirements"], "{refused}");
        let context = maintainer.get(&format!("{REPO}/branch/{name}/agent-context")).await.expect(200);
        assert_eq!(why["requirements"], context["requirements"]);
        told.say(&format!("{} {}", refused["code"], why["requirements"]));
    }
    insta::assert_snapshot!(told, @r#"
    # "MERGE_CONFLICT" [{"kind":"conflict","what":"a file would be where main has a directory, or the other way round: dir","who":["role:writer"]}]
    # "POLICY_INVALID" [{"kind":"policy","what":"the branch brings what cannot be used on main: .docstore/policy/broken.rego:2: expecting expression","who":["role:writer"]}]
    "#);
}

#[tokio::test]
async fn who_may_not_merge_is_told_who_may_and_what_else_is_missing() {
    let (app, admin) = start().await;
    let writer = give(&app, "writer@example.com", "writer").await;
    branch(&admin, REPO, "--force").await;
    admin.patch(&format!("{REPO}/branch/--force"), &json!({"draft": true})).await.expect(200);
    let mut told = Transcript::new();
    told.post(&writer, &format!("{REPO}/merge"), &json!({"branch": "--force"})).await;
    told.say("of what is not there, and of what is no request, nothing is told");
    for body in [json!({"branch": "none"}), json!({"branch": "main"}), json!({}), json!({"branch": 7}), json!([])] {
        told.post(&writer, &format!("{REPO}/merge"), &body).await;
    }
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/merge {"branch":"--force"}
      403 {"code":"FORBIDDEN","error":"forbidden","requirements":[{"command":"ds ready -- --force","kind":"draft","what":"the branch is a draft; somebody must say that it is ready","who":["role:writer"]},{"command":"ds merge -- --force","kind":"role","what":"merging takes the role maintainer; yours is writer","who":["role:maintainer"]}]}
    # of what is not there, and of what is no request, nothing is told
    POST /repos/default/default/-/merge {"branch":"none"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    POST /repos/default/default/-/merge {"branch":"main"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    POST /repos/default/default/-/merge {}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    POST /repos/default/default/-/merge {"branch":7}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    POST /repos/default/default/-/merge []
      403 {"code":"FORBIDDEN","error":"forbidden"}
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
      409 {"code":"POLICY_INVALID","error":".docstore/policy/bad.rego:2: `if` keyword is required before rule body","requirements":[{"kind":"policy","what":"the branch brings what cannot be used on main: .docstore/policy/bad.rego:2: `if` keyword is required before rule body","who":["role:writer"]}]}
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/bad.rego:2: `if` keyword is required before rule body","requirements":[{"kind":"policy","what":"the branch brings what cannot be used on main: .docstore/policy/bad.rego:2: `if` keyword is required before rule body","who":["role:writer"]}]}
    # not text, and too long
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"/w==","path":".docstore/policy/b.rego"}],"message":"m"}
      409 {"code":"POLICY_INVALID","error":".docstore/policy/b.rego:1: it is not text in UTF-8"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"IyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbmcKIyBsb25nCiMgbG9uZwojIGxvbm… (373432 bytes)
      409 {"code":"POLICY_INVALID","error":".docstore/policy/deep/bad.rego: it has more than 262144 bytes"}
    # one that is not a policy
    GET /repos/default/default/-/branch/topic/status
      200 {"auto_merge":false,"mergeable":true,"policies":[]}
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
