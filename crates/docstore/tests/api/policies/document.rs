//! The document that policies judge by, as it comes out of what people did.

use serde_json::{Value, json};

use super::{give, policy, start};
use crate::support::{REPO, branch, commit, identities::make_member};

/// Says no, and shows the document.
const SHOW: &str =
    "package docstore.show\n\nimport rego.v1\n\ndefault allow := false\n\nreason := json.marshal(input)\n";

async fn shown(who: &docstore_test_support::Person, name: &str) -> Value {
    let status = who.get(&format!("{REPO}/branch/{name}/status")).await.json();
    serde_json::from_str(status["policies"][0]["reason"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn it_holds_what_people_did() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    policy(&admin, "show.rego", SHOW).await;
    branch(&maintainer, REPO, "topic").await;
    let first = commit(&maintainer, REPO, "topic", &[("a", Some("1"))]).await;
    let review = |status: &str| json!({"branch": "topic", "status": status});
    let path = format!("{REPO}/review");
    let reviewers = [
        give(&app, "one@example.com", "writer").await,
        give(&app, "two@example.com", "writer").await,
        give(&app, "former@example.com", "writer").await,
    ];
    let [one, two, former] = &reviewers;
    // Of the earlier head: one who speaks again, and one who does not.
    one.post(&path, &review("approved")).await.expect(201);
    two.post(&path, &review("approved")).await.expect(201);
    let head = commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    one.post(&path, &review("rejected")).await.expect(201);
    former.post(&path, &review("approved")).await.expect(201);
    one.post(&path, &review("approved")).await.expect(201);
    admin.delete(&format!("{REPO}/roles/former@example.com")).await.expect(204);
    for (name, status, attempt) in
        [("build", "failed", 1), ("build", "passed", 2), ("build", "failed", 1), ("lint", "pending", 1)]
    {
        let body = json!({"branch": "topic", "check_name": name, "status": status, "attempt": attempt});
        maintainer.post(&format!("{REPO}/check"), &body).await.expect(201);
    }
    admin.put(&format!("{REPO}/required-checks"), &json!({"check_name": "audit"})).await.expect(200);
    let proposal = json!({"branch": "topic", "title": "Better", "description": "Much better"});
    let proposal = maintainer.post(&format!("{REPO}/proposals"), &proposal).await.expect(201);
    let person = |role: &str| json!({"kind": "person", "on_behalf_of": null, "role": role});
    assert_eq!(
        shown(&maintainer, "topic").await,
        json!({
            "actor": "maintainer@example.com",
            "actor_roles": ["maintainer"],
            "action": "merge",
            "repo": "default/default",
            "branch": "topic",
            "draft": false,
            "changed_paths": ["a", "b"],
            // The last word of each about the head, newest first.
            "reviews": [
                {"reviewer": "one@example.com", "status": "approved", "sequence": head},
                {"reviewer": "former@example.com", "status": "approved", "sequence": head},
            ],
            // The latest attempt of each, whatever came in last.
            "check_runs": [
                {"check_name": "audit", "status": "pending", "state": "expected", "sequence": head, "reporter": "system"},
                {"check_name": "build", "status": "passed", "state": "passed", "sequence": head,
                    "reporter": "maintainer@example.com"},
                {"check_name": "lint", "status": "pending", "state": "pending", "sequence": head,
                    "reporter": "maintainer@example.com"},
            ],
            "owners": {"a": null, "b": null},
            "head_sequence": head,
            "base_sequence": 1,
            "proposal": {"id": proposal["id"], "base_branch": "main", "title": "Better", "state": "open"},
            "carried_reviews": [
                {"reviewer": "two@example.com", "status": "approved", "sequence": first, "identical": false,
                    "moved_paths": []},
            ],
            "authors": ["maintainer@example.com"],
            "co_authors": [],
            "last_pusher": "maintainer@example.com",
            "actor_kind": "person",
            "actor_on_behalf_of": null,
            "principals": {
                "former@example.com": person("none"),
                "maintainer@example.com": person("maintainer"),
                "one@example.com": person("writer"),
                "system": {"kind": "system", "on_behalf_of": null, "role": "none"},
                "two@example.com": person("writer"),
            },
            "overrides": [],
        })
    );
    // Nothing is nothing, not an empty list.
    branch(&maintainer, REPO, "empty").await;
    let empty = shown(&maintainer, "empty").await;
    assert_eq!((&empty["changed_paths"], &empty["proposal"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn roles_are_those_of_now_whatever_gives_them() {
    let (app, admin) = start().await;
    policy(&admin, "show.rego", SHOW).await;
    make_member(&app.pool().await, "default", "member@example.com", "member").await;
    make_member(&app.pool().await, "default", "owner@example.com", "owner").await;
    let owner = app.person("owner@example.com");
    branch(&owner, REPO, "topic").await;
    let made = owner.post("/agents", &json!({"name": "helper", "actions": ["read", "contents"]})).await.expect(201);
    let helper = owner.with_token(made["secret"].as_str().unwrap());
    commit(&owner, REPO, "topic", &[("a", Some("1"))]).await;
    let body = json!({"branch": "topic", "files": [crate::support::text_file("b", "1")],
        "message": "m\n\nCo-authored-by: M <member@example.com>\nCo-authored-by: S <stranger@example.com>"});
    helper.post(&format!("{REPO}/commit"), &body).await.expect(201);
    let principals = shown(&admin, "topic").await["principals"].clone();
    for (identity, role) in [
        ("owner@example.com", "admin"),
        ("agent:helper/owner@example.com", "admin"),
        ("member@example.com", "reader"),
        ("stranger@example.com", "none"),
        ("admin@example.com", "admin"),
    ] {
        assert_eq!(principals[identity]["role"], role, "{identity}: {principals}");
    }
    // An explicit role counts, also when it is lower.
    give(&app, "owner@example.com", "writer").await;
    let principals = shown(&admin, "topic").await["principals"].clone();
    assert_eq!(principals["agent:helper/owner@example.com"]["role"], "writer");
}

#[tokio::test]
async fn the_approval_of_somebody_who_has_left_does_not_count() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    let second = "package docstore.second\n\nimport data.docstore.lib\nimport rego.v1\n\nallow if lib.approved_by_at_least(1)\n\n\
        allow_override := true\n";
    policy(&admin, "second.rego", second).await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("a", Some("1"))]).await;
    let leaver = give(&app, "leaver@example.com", "writer").await;
    leaver.post(&format!("{REPO}/review"), &json!({"branch": "topic", "status": "approved"})).await.expect(201);
    let merge = json!({"branch": "topic", "dry_run": true});
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(200);
    give(&app, "leaver@example.com", "reader").await;
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(403);
    admin.delete(&format!("{REPO}/roles/leaver@example.com")).await.expect(204);
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(403);
    give(&app, "leaver@example.com", "writer").await;
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(200);
}

#[tokio::test]
async fn every_file_is_a_policy_of_its_own() {
    let (app, admin) = start().await;
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    // Two of one package, and more than fit on a page of anything.
    let yes = "package docstore.same\nallow := true\n";
    let no = "package docstore.same\nallow := false\nreason := \"the last of them\"\nallow_override := true\n";
    let paths: Vec<String> = (0..120).map(|number| format!(".docstore/policy/{number:03}.rego")).collect();
    let mut files: Vec<(&str, Option<&str>)> = paths.iter().map(|path| (path.as_str(), Some(yes))).collect();
    files.push((".docstore/policy/last.rego", Some(no)));
    commit(&admin, REPO, "main", &files).await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("a", Some("1"))]).await;
    let status = maintainer.get(&format!("{REPO}/branch/topic/status")).await.json();
    let policies = status["policies"].as_array().unwrap();
    assert_eq!((policies.len(), &status["mergeable"]), (121, &json!(false)));
    assert!(policies.iter().all(|policy| policy["name"] == "same"));
    assert_eq!(policies.iter().filter(|policy| policy["pass"] == true).count(), 120);
    let refused = maintainer.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(403);
    assert_eq!(refused["error"], "denied by policy: same: the last of them");
}
