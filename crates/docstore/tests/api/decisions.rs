//! What a decision is made of, however much was said.

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, branch, commit, grant};

/// Tells in its reason what the document holds, and lets pass what nobody rejects.
const COUNTS: &str = "package docstore.counts\n\nimport rego.v1\n\nallow if rejected == 0\n\n\
    rejected := count([review | some review in input.reviews; review.status == \"rejected\"])\n\n\
    reason := json.marshal([count(input.reviews), rejected])\n";

async fn start(policy: &str) -> (TestApp, Person, Person) {
    let app = TestApp::start().await;
    let admin = app.admin();
    let me = admin.get("/whoami").await.json()["identity"].as_str().unwrap().to_owned();
    grant(&admin, &me, "admin").await;
    grant(&admin, "writer@example.com", "writer").await;
    commit(&admin, REPO, "main", &[(".docstore/policy/it.rego", Some(policy))]).await;
    let writer = app.person("writer@example.com");
    branch(&admin, REPO, "topic").await;
    commit(&writer, REPO, "topic", &[("a", Some("1"))]).await;
    (app, admin, writer)
}

/// Reviews of the head of the branch, as many as one likes, after all others.
async fn flood(app: &TestApp, number: i32, reviewer: &str) {
    let rows = format!(
        "INSERT INTO reviews (id, repo_id, branch_id, sequence, base_sequence, reviewer, reviewer_kind, status, created_at)
        SELECT gen_random_uuid(), b.repo_id, b.id, b.head_sequence, b.base_sequence, {reviewer}, 'person', 'dismissed',
            now() + make_interval(secs => n)
        FROM branches b, generate_series(1, {number}) n WHERE b.name = 'topic'"
    );
    sqlx::query(sqlx::AssertSqlSafe(rows)).execute(&app.pool().await).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_reviews_hides_no_rejection() {
    let (app, admin, _) = start(COUNTS).await;
    let merge = json!({"branch": "topic", "dry_run": true});
    admin.post(&format!("{REPO}/review"), &json!({"branch": "topic", "status": "rejected"})).await.expect(201);
    flood(&app, 1_500, "'writer@example.com'").await;
    let refused = admin.post(&format!("{REPO}/merge"), &merge).await.expect(403);
    assert_eq!(refused["policies"][0]["reason"], "[2,1]");
    // So many people are no longer counted: there is no decision, rather than one without somebody.
    flood(&app, 998, "n || '@example.com'").await;
    let refused = admin.post(&format!("{REPO}/merge"), &merge).await.expect(403);
    assert_eq!(refused["policies"][0]["reason"], "[1000,1]");
    flood(&app, 999, "n || '@example.com'").await;
    for answer in
        [admin.post(&format!("{REPO}/merge"), &merge).await, admin.get(&format!("{REPO}/branch/topic/why")).await]
    {
        let failed = answer.expect(500);
        assert_eq!(failed["code"], "POLICY_FAILED");
        assert!(failed["error"].as_str().unwrap().contains("more than 1000 people have reviewed the head"));
    }
}

#[tokio::test]
async fn a_policy_sees_who_reported_a_check() {
    let policy = "package docstore.checks\n\nimport rego.v1\n\nallow if {\n\tsome run in input.check_runs\n\t\
        run.check_name == \"build\"\n\trun.status == \"passed\"\n\tinput.principals[run.reporter].kind == \"job\"\n}\n";
    let (app, admin, writer) = start(policy).await;
    let merge = json!({"branch": "topic", "dry_run": true});
    let report = json!({"branch": "topic", "check_name": "build", "status": "passed"});
    writer.post(&format!("{REPO}/check"), &report).await.expect(201);
    admin.post(&format!("{REPO}/merge"), &merge).await.expect(403);
    let pool = app.pool().await;
    sqlx::query("UPDATE check_runs SET reporter = 'ci-job:1'").execute(&pool).await.unwrap();
    admin.post(&format!("{REPO}/merge"), &merge).await.expect(200);
}

#[tokio::test]
async fn the_document_of_a_refusal_is_kept_while_it_is_short() {
    let (app, admin, writer) = start(&COUNTS.replace("rejected == 0", "rejected > 0")).await;
    let refused = json!({"branch": "topic"});
    admin.post(&format!("{REPO}/merge"), &refused).await.expect(403);
    let paths: Vec<String> = (0..1_000).map(|number| format!("{}/{number}", "d".repeat(60))).collect();
    let files: Vec<(&str, Option<&str>)> = paths.iter().map(|path| (path.as_str(), Some("1"))).collect();
    commit(&writer, REPO, "topic", &files).await;
    admin.post(&format!("{REPO}/merge"), &refused).await.expect(403);
    let kept: Vec<Value> = sqlx::query_scalar(
        "SELECT to_json(input IS NOT NULL) FROM policy_verdicts WHERE outcome = 'denied' ORDER BY id",
    )
    .fetch_all(&app.pool().await)
    .await
    .unwrap();
    assert_eq!(json!(kept), json!([true, false]));
}
