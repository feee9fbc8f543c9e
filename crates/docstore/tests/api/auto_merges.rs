//! Branches that merge by themselves.

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::support::{REPO, branch, commit, text_file};

/// Lets pass what has a file `ready`.
const READY: &str = "package docstore.ready\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.actor_roles != []\n\n\
    allow if \"ready\" in input.changed_paths\n\nallow_override := true\n";

/// Waits until a branch is as wanted. What is awaited is done by a loop of the server.
async fn until(who: &Person, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let branch = who.get(&format!("{REPO}/branch/{name}")).await.json();
            if wanted(&branch) {
                return branch;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{name} does not become as wanted"))
}

fn merged(branch: &Value) -> bool {
    branch["status"] == "merged"
}

/// Waits until every branch that was due was looked at.
async fn until_looked_at(app: &TestApp) {
    let pool = app.pool().await;
    let waiting = async {
        while sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM auto_merges_due WHERE due_at <= now() + interval '3 minutes'",
        )
        .fetch_one(&pool)
        .await
        .unwrap()
            > 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.expect("every branch is looked at");
}

async fn enable(who: &Person, name: &str) {
    who.post(&format!("{REPO}/branch/{name}/auto-merge"), &Value::Null).await.expect(204);
}

async fn give(app: &TestApp, who: &str, role: &str) -> Person {
    app.admin().put(&format!("{REPO}/roles/{who}"), &json!({"role": role})).await.expect(200);
    app.person(who)
}

async fn events(app: &TestApp, event_type: &str) -> Vec<Value> {
    let payloads: Vec<String> = sqlx::query_scalar("SELECT payload FROM event_log WHERE type = $1 ORDER BY id")
        .bind(format!("com.docstore.{event_type}"))
        .fetch_all(&app.pool().await)
        .await
        .unwrap();
    payloads.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()["data"].clone()).collect()
}

async fn start() -> (TestApp, Person, Person) {
    let app = TestApp::start().await;
    let admin = app.admin();
    let maintainer = give(&app, "maintainer@example.com", "maintainer").await;
    commit(&admin, REPO, "main", &[(".docstore/policy/ready.rego", Some(READY)), ("a", Some("1"))]).await;
    (app, admin, maintainer)
}

#[tokio::test]
async fn what_is_green_when_it_is_asked_for_merges() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    until(&maintainer, "topic", merged).await;
    let head = maintainer.get(&format!("{REPO}/branch/main")).await.json()["head_sequence"].clone();
    let merge = maintainer.get(&format!("{REPO}/commit/{head}")).await.json();
    assert_eq!((&merge["author"], &merge["message"]), (&json!("auto-merge"), &json!("merge branch 'topic'")));
    assert_eq!(
        events(&app, "branch.merged").await,
        [json!({"repo": "default/default", "branch": "topic", "sequence": head, "merged_by": "auto-merge",
            "on_behalf_of": "maintainer@example.com"})]
    );
    let verdicts = maintainer.get(&format!("{REPO}/policies/verdicts?branch=topic")).await.json();
    assert_eq!(verdicts["verdicts"][0]["actor"], "auto-merge");
    assert_eq!(verdicts["verdicts"][0]["on_behalf_of"], "maintainer@example.com");
}

#[tokio::test]
async fn whatever_makes_it_green_is_noticed() {
    let (app, admin, maintainer) = start().await;
    // A commit.
    branch(&maintainer, REPO, "by-commit").await;
    commit(&maintainer, REPO, "by-commit", &[("b", Some("1"))]).await;
    enable(&maintainer, "by-commit").await;
    until_looked_at(&app).await;
    assert_eq!(maintainer.get(&format!("{REPO}/branch/by-commit")).await.json()["status"], "active");
    assert_eq!(events(&app, "merge.blocked").await, [] as [Value; 0], "nobody tried");
    commit(&maintainer, REPO, "by-commit", &[("ready", Some("1"))]).await;
    until(&maintainer, "by-commit", merged).await;
    // A draft that is made ready.
    branch(&maintainer, REPO, "by-draft").await;
    maintainer.patch(&format!("{REPO}/branch/by-draft"), &json!({"draft": true})).await.expect(200);
    commit(&maintainer, REPO, "by-draft", &[("ready", Some("2"))]).await;
    enable(&maintainer, "by-draft").await;
    until_looked_at(&app).await;
    maintainer.patch(&format!("{REPO}/branch/by-draft"), &json!({"draft": false})).await.expect(200);
    until(&maintainer, "by-draft", merged).await;
    // A policy that changes on main.
    branch(&maintainer, REPO, "by-policy").await;
    commit(&maintainer, REPO, "by-policy", &[("c", Some("1"))]).await;
    enable(&maintainer, "by-policy").await;
    until_looked_at(&app).await;
    let body = json!({"branch": "main", "message": "m", "files": [{"path": ".docstore/policy/ready.rego"}]});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    until(&maintainer, "by-policy", merged).await;
    // Somebody's right.
    let writer = give(&app, "writer@example.com", "writer").await;
    branch(&maintainer, REPO, "by-role").await;
    commit(&writer, REPO, "by-role", &[("d", Some("1"))]).await;
    enable(&writer, "by-role").await;
    until_looked_at(&app).await;
    assert_eq!(maintainer.get(&format!("{REPO}/branch/by-role")).await.json()["status"], "active");
    give(&app, "writer@example.com", "maintainer").await;
    until(&maintainer, "by-role", merged).await;
}

#[tokio::test]
async fn what_happened_while_no_server_ran_is_noticed() {
    let (mut app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    until_looked_at(&app).await;
    app.stop().await;
    sqlx::query("UPDATE branches SET draft = true WHERE name = 'topic'").execute(&app.pool().await).await.unwrap();
    sqlx::query(
        "INSERT INTO org_policies (org_id, name, source, updated_by) SELECT id, 'x', 'package docstore.x', 'x' FROM orgs",
    )
    .execute(&app.pool().await)
    .await
    .unwrap();
    let due: i64 = sqlx::query_scalar("SELECT count(*) FROM auto_merges_due WHERE due_at <= now()")
        .fetch_one(&app.pool().await)
        .await
        .unwrap();
    assert_eq!(due, 1);
    sqlx::query("DELETE FROM org_policies").execute(&app.pool().await).await.unwrap();
    sqlx::query("UPDATE branches SET draft = false WHERE name = 'topic'").execute(&app.pool().await).await.unwrap();
    let later = app.second_server().await;
    let maintainer = later.person("maintainer@example.com");
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    until(&maintainer, "topic", merged).await;
    later.stop().await;
}

#[tokio::test]
async fn a_conflict_ends_the_wish() {
    let (app, admin, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("a", Some("2"))]).await;
    let body = json!({"branch": "main", "message": "m", "files": [text_file("a", "3")], "override": "conflict"});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    enable(&maintainer, "topic").await;
    until(&maintainer, "topic", |branch| branch["auto_merge"] == false).await;
    assert_eq!(
        events(&app, "branch.automerge.failed").await,
        [json!({"repo": "default/default", "branch": "topic", "reason": "merge conflict"})]
    );
}

#[tokio::test]
async fn many_servers_merge_a_branch_once() {
    let (app, _, maintainer) = start().await;
    let replicas = [app.second_server().await, app.second_server().await];
    let names: Vec<String> = (0..6).map(|n| format!("topic{n}")).collect();
    for name in &names {
        branch(&maintainer, REPO, name).await;
        // Each with a file of its own beside the one that the policy asks for: equal on all, so they do not conflict.
        commit(&maintainer, REPO, name, &[("ready", Some("1")), (name, Some("1"))]).await;
    }
    for name in &names {
        enable(&maintainer, name).await;
    }
    for name in &names {
        until(&maintainer, name, merged).await;
    }
    assert_eq!(events(&app, "branch.merged").await.len(), names.len());
    let merges: i64 = sqlx::query_scalar("SELECT count(*) FROM commits WHERE author = 'auto-merge'")
        .fetch_one(&app.pool().await)
        .await
        .unwrap();
    assert_eq!(merges, 6);
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn whoever_takes_the_wish_back_in_time_is_heard() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    until_looked_at(&app).await;
    maintainer.delete(&format!("{REPO}/branch/topic/auto-merge")).await.expect(204);
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    until_looked_at(&app).await;
    assert_eq!(maintainer.get(&format!("{REPO}/branch/topic")).await.json()["status"], "active");
}
