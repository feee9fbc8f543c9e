//! What is kept of decisions, and trying policies on it.

use docstore_test_support::TestApp;
use serde_json::{Value, json};

use super::{PATHS, give, policy, start, verdict_rows};
use crate::support::{REPO, Transcript, branch, commit};

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
          "on_behalf_of": null,
          "role": "maintainer"
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
      200 {"allowed":1,"changed":[{"action":"merge","actor":"maintainer@example.com","branch":"three","created_at":"TIME","id":"ID-1","policies":[{"file":"tried.rego","name":"tried","pass":false,"reason":"policy denied"}],"was":"allowed","would_pass":false},{"action":"merge","actor":"maintainer@example.com","branch":"two","created_at":"TIME","id":"ID-2","policies":[{"file":"tried.rego","name":"tried","p… (496 bytes)
    POST /repos/default/default/-/policies/replay {"limit":1,"policies":[{"file":"tried.rego","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      200 {"allowed":0,"changed":[{"action":"merge","actor":"maintainer@example.com","branch":"three","created_at":"TIME","id":"ID-1","policies":[{"file":"tried.rego","name":"tried","pass":false,"reason":"policy denied"}],"was":"allowed","would_pass":false}],"next":"ID-1","refused":1,"replayed":1,"skipped":0}
    POST /repos/default/default/-/policies/replay {"after":"ID-1","limit":2,"policies":[{"file":"tried.rego","source":"package docstore.tried\nimport rego.v1\nallow if {\n  every path in input.changed_paths { not startswith(path, \"docs/\") }\n}\n"}]}
      200 {"allowed":1,"changed":[{"action":"merge","actor":"maintainer@example.com","branch":"two","created_at":"TIME","id":"ID-2","policies":[{"file":"tried.rego","name":"tried","pass":true,"reason":""}],"was":"denied","would_pass":true}],"next":"ID-3","refused":0,"replayed":2,"skipped":0}
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
async fn documents_that_may_hold_an_obliterated_text_go_and_replays_say_so() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    commit(&admin, REPO, "main", &[("OWNERS", Some("leaked@example.com\n"))]).await;
    policy(&admin, "paths.rego", PATHS).await;
    for name in ["one", "two"] {
        branch(&maintainer, REPO, name).await;
        commit(&maintainer, REPO, name, &[(name, Some("1"))]).await;
        maintainer.post(&format!("{REPO}/merge"), &json!({"branch": name})).await.expect(200);
    }
    let leaks = async || -> i64 {
        let holding = "SELECT count(*) FROM policy_verdicts WHERE input::text LIKE '%leaked@example.com%'";
        sqlx::query_scalar(holding).fetch_one(&app.pool().await).await.unwrap()
    };
    assert_eq!(leaks().await, 2);
    let body = json!({"branch": "main", "message": "m", "override": "leaked",
        "files": [crate::support::text_file("OWNERS", "other@example.com\n")]});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    let replay = json!({"policies": [{"file": "a.rego", "source": "package docstore.a\nallow := true\n"}]});
    let before = maintainer.post(&format!("{REPO}/policies/replay"), &replay).await.expect(200);
    assert_eq!((&before["replayed"], &before["skipped"]), (&json!(3), &json!(0)));
    let gone = json!({"path": "OWNERS", "at": 1, "reason": "an address"});
    admin.post(&format!("{REPO}/obliterations"), &gone).await.expect(201);
    assert_eq!(leaks().await, 0);
    assert_eq!(verdict_rows(&app).await, 3, "what was decided stays");
    // What is decided from now on is kept as ever, and the others are passed over.
    branch(&maintainer, REPO, "three").await;
    commit(&maintainer, REPO, "three", &[("three", Some("1"))]).await;
    maintainer.post(&format!("{REPO}/merge"), &json!({"branch": "three"})).await.expect(200);
    let after = maintainer.post(&format!("{REPO}/policies/replay"), &replay).await.expect(200);
    assert_eq!((&after["replayed"], &after["skipped"]), (&json!(1), &json!(3)));
    let mut page = replay;
    page["limit"] = json!(1);
    let page = maintainer.post(&format!("{REPO}/policies/replay"), &page).await.expect(200);
    assert_eq!((&page["replayed"], &page["skipped"]), (&json!(1), &json!(0)), "only those of its page");
}
