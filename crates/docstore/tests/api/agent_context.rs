//! `/repos/{repo}/-/branch/{branch}/agent-context`.

use docstore_test_support::TestApp;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, grant};

#[tokio::test]
async fn the_context_of_a_branch_is_everything_about_it_at_its_head() {
    let app = TestApp::start().await;
    let (me, ann) = (app.admin(), app.person("ann@example.com"));
    grant(&me, docstore_test_support::ADMIN, "admin").await;
    grant(&me, "ann@example.com", "writer").await;
    commit(&me, REPO, "main", &[("a", Some("1")), ("b", Some("1"))]).await;
    for title in ["Slow", "Loud"] {
        ann.post(&format!("{REPO}/issues"), &json!({"title": title, "labels": ["bug"]})).await.expect(201);
    }
    branch(&me, REPO, "topic").await;
    for n in 0..50 {
        commit(&ann, REPO, "topic", &[("a", Some(&n.to_string()))]).await;
    }
    // What was said about another head than the last does not count here.
    let say = json!({"branch": "topic", "status": "rejected", "body": "not yet"});
    me.post(&format!("{REPO}/review"), &say).await.expect(201);
    let report = |status: &str, name: &str| json!({"branch": "topic", "check_name": name, "status": status});
    ann.post(&format!("{REPO}/check"), &report("failed", "ci/old")).await.expect(201);
    commit(&ann, REPO, "topic", &[("a", None), ("c", Some("1"))]).await;
    commit(&me, REPO, "main", &[("b", Some("2"))]).await;
    let say = json!({"branch": "topic", "status": "approved", "body": "now"});
    me.post(&format!("{REPO}/review"), &say).await.expect(201);
    for (status, name) in [("failed", "ci/test"), ("passed", "ci/lint")] {
        ann.post(&format!("{REPO}/check"), &report(status, name)).await.expect(201);
    }
    let proposal = json!({"branch": "topic", "title": "Faster", "description": "closes #1"});
    ann.post(&format!("{REPO}/proposals"), &proposal).await.expect(201);

    let context = me.get(&format!("{REPO}/branch/topic/agent-context")).await.expect(200);
    let commits = context["recent_commits"].as_array().unwrap();
    assert_eq!(commits.len(), 50, "of fifty-one");
    assert!(commits.iter().all(|commit| commit["branch"] == "topic"), "{commits:?}");
    let mut told = Transcript::new();
    for (key, value) in context.as_object().unwrap() {
        match key.as_str() {
            "recent_commits" => {
                let sequences: Vec<&Value> = commits.iter().map(|commit| &commit["sequence"]).collect();
                told.value("recent_commits, from and to", json!([sequences[0], sequences[49]]));
                told.value("the last of them", commits[49].clone());
            }
            _ => told.value(key, value.clone()),
        }
    }
    insta::assert_snapshot!(told, @r#"
    branch: {"auto_merge":false,"base_sequence":1,"draft":false,"head_sequence":52,"name":"topic","repo":"default/default","status":"active"}
    check_runs: [{"attempt":1,"branch":"topic","check_name":"ci/lint","created_at":"TIME","id":"ID-1","repo":"default/default","reporter":"ann@example.com","sequence":52,"status":"passed"},{"attempt":1,"branch":"topic","check_name":"ci/test","created_at":"TIME","id":"ID-2","repo":"default/default","reporter":"ann@example.com","sequence":52,"status":"failed"}]
    diff: {"branch_changes":[{"path":"a","version_id":null},{"path":"c","version_id":"ID-3"}],"main_changes":[{"path":"b","version_id":"ID-4"}]}
    file_ownership: {}
    linked_issues: [{"author":"ann@example.com","created_at":"TIME","id":"ID-5","labels":["bug"],"number":1,"repo":"default/default","state":"open","title":"Slow","updated_at":"TIME"}]
    mergeable: true
    policies: []
    proposals: [{"author":"ann@example.com","base_branch":"main","branch":"topic","created_at":"TIME","description":"closes #1","id":"ID-6","repo":"default/default","state":"open","title":"Faster","updated_at":"TIME"}]
    recent_commits, from and to: [3,52]
    the last of them: {"author":"ann@example.com","branch":"topic","commit_hash":"HASH-1","created_at":"TIME","files":[{"content_hash":"","path":"a"},{"content_hash":"HASH-2","path":"c"}],"message":"change topic","sequence":52}
    requirements: []
    reviews: [{"base_sequence":1,"body":"now","branch":"topic","change_digest":"HASH-3","created_at":"TIME","id":"ID-7","repo":"default/default","reviewer":"admin@example.com","reviewer_kind":"person","sequence":52,"status":"approved"}]
    "#);
}
