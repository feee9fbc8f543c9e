//! What policies do not let merge by itself.

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};

use super::{enable, events, start, until_looked_at};
use crate::support::{REPO, branch, commit, text_file};

async fn verdicts(who: &Person) -> Vec<Value> {
    let listed = who.get(&format!("{REPO}/policies/verdicts?branch=topic")).await.json();
    listed["verdicts"].as_array().unwrap().clone()
}

/// Something happens on main, which has the branch looked at.
async fn move_main(app: &TestApp, admin: &Person, path: &str) {
    let body = json!({"branch": "main", "message": "m", "override": "test", "files": [text_file(path, "1")]});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    until_looked_at(app).await;
}

#[tokio::test]
async fn what_is_denied_by_itself_is_kept_once() {
    let (app, admin, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    let head = commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    until_looked_at(&app).await;
    let kept = verdicts(&maintainer).await;
    assert_eq!(kept.len(), 1);
    for (key, value) in [
        ("actor", json!("auto-merge")),
        ("on_behalf_of", json!("maintainer@example.com")),
        ("outcome", json!("denied")),
        ("head_sequence", json!(head)),
        ("action", json!("merge")),
    ] {
        assert_eq!(kept[0][key], value, "{key}");
    }
    assert_eq!(kept[0]["policies"][0]["name"], "ready");
    assert_eq!(events(&app, "merge.blocked").await, [] as [Value; 0], "nobody tried");
    let why = maintainer.get(&format!("{REPO}/branch/topic/why")).await.json();
    assert_eq!((&why["mergeable"], &why["automatic"]["id"]), (&json!(true), &kept[0]["id"]));
    // The document is there to try other policies on.
    let policy =
        json!({"file": "other.rego", "source": "package docstore.other\nallow if input.actor == \"auto-merge\"\n"});
    let tried = maintainer.post(&format!("{REPO}/policies/replay"), &json!({"policies": [policy]})).await.expect(200);
    assert_eq!((&tried["allowed"], &tried["changed"][0]["id"]), (&json!(1), &kept[0]["id"]));
    // The same again is nothing new.
    move_main(&app, &admin, "c").await;
    assert_eq!(verdicts(&maintainer).await, kept);
    // Another document is, and so is the same after something else.
    maintainer.post(&format!("{REPO}/review"), &json!({"branch": "topic", "status": "rejected"})).await.expect(201);
    until_looked_at(&app).await;
    assert_eq!(verdicts(&maintainer).await.len(), 2);
    commit(&maintainer, REPO, "topic", &[("d", Some("1"))]).await;
    until_looked_at(&app).await;
    assert_eq!(verdicts(&maintainer).await.len(), 3);
    let why = maintainer.get(&format!("{REPO}/branch/topic/why")).await.json();
    assert_eq!(why["automatic"]["id"], verdicts(&maintainer).await[0]["id"]);
    maintainer.delete(&format!("{REPO}/branch/topic/auto-merge")).await.expect(204);
    let why = maintainer.get(&format!("{REPO}/branch/topic/why")).await.json();
    assert_eq!(why.get("automatic"), None);
}

#[tokio::test]
async fn it_is_looked_at_again_by_the_time_only_where_nothing_else_holds_it_up() {
    let (app, admin, maintainer) = start().await;
    let dated = "package docstore.dated\nallow if time.now_ns() > 5000000000000000000\nallow_override := true\n";
    let policy =
        |path: &str| json!({"branch": "main", "message": "m", "override": "test", "files": [text_file(path, dated)]});
    // What is only tried out holds up nothing.
    admin.post(&format!("{REPO}/commit"), &policy(".docstore/policy/shadow/dated.rego")).await.expect(201);
    for (name, path) in [("neither", "b"), ("ready", "ready")] {
        branch(&maintainer, REPO, name).await;
        commit(&maintainer, REPO, name, &[(path, Some("1"))]).await;
    }
    let due = async || -> Vec<String> {
        let due = "SELECT b.name FROM auto_merges_due d JOIN branches b ON b.id = d.branch_id
            WHERE due_at > now() + interval '14 minutes' AND due_at <= now() + interval '15 minutes'";
        sqlx::query_scalar(due).fetch_all(&app.pool().await).await.unwrap()
    };
    enable(&maintainer, "neither").await;
    until_looked_at(&app).await;
    assert_eq!(due().await, [""; 0]);
    admin.post(&format!("{REPO}/commit"), &policy(".docstore/policy/dated.rego")).await.expect(201);
    enable(&maintainer, "ready").await;
    until_looked_at(&app).await;
    // The other one also waits for what no day brings.
    assert_eq!(due().await, ["ready"]);
}
