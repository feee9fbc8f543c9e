//! Policies of an org, on every replica, and in races.

use futures::future::join_all;
use serde_json::json;

use super::{NEVER, PATHS, give, last_event, policy, start};
use crate::support::{REPO, Transcript, branch, commit, text_file};

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
