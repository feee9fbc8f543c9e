//! Branches that merge by themselves.

use docstore_database::Pool;
use docstore_test_support::{Person, TestApp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use crate::support::{
    REPO, branch, commit,
    identities::make_member,
    sse::{PATIENCE, Sse},
    text_file,
};

/// Lets pass what has a file `ready`.
const READY: &str = "package docstore.ready\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.actor_roles != []\n\n\
    allow if \"ready\" in input.changed_paths\n\nallow_override := true\n";

/// Waits until a branch has merged. A loop of the server does it, and the stream tells.
async fn until_merged(who: &Person, name: &str) {
    until_told(who, "branch.merged", name).await;
    assert_eq!(branch_now(who, name).await["status"], "merged");
}

/// Waits for an event about a branch, be it before or after now.
async fn until_told(who: &Person, kind: &str, name: &str) {
    let path = format!("{REPO}/events?since_seq=0&types=com.docstore.{kind}");
    Sse::open(who, &path, None).await.find(|seen| seen.event["data"]["branch"] == name).await;
}

async fn branch_now(who: &Person, name: &str) -> Value {
    who.get(&format!("{REPO}/branch/{name}")).await.expect(200)
}

/// Has the database tell whenever the list of branches to look at changes: of a branch that stays as it is, no event says
/// that it was looked at.
async fn tell_looks(pool: &Pool) {
    for statement in [
        "CREATE FUNCTION tell_looks() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_notify('looks', ''); RETURN NULL; END $$",
        "CREATE TRIGGER tell_looks AFTER INSERT OR UPDATE OR DELETE ON auto_merges_due
            FOR EACH STATEMENT EXECUTE FUNCTION tell_looks()",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

/// Waits until every branch that was due was looked at: it is off the list, or put off for longer than a look takes.
async fn until_looked_at(app: &TestApp) {
    let pool = app.pool().await;
    let mut looks = PgListener::connect(app.database().settings().url.expose_secret()).await.unwrap();
    looks.listen("looks").await.unwrap();
    let due = "SELECT count(*) FROM auto_merges_due WHERE due_at <= now() + interval '3 minutes'";
    while sqlx::query_scalar::<_, i64>(due).fetch_one(&pool).await.unwrap() > 0 {
        timeout(PATIENCE, looks.recv()).await.expect("every branch is looked at").unwrap();
    }
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
    tell_looks(&app.pool().await).await;
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
    until_merged(&maintainer, "topic").await;
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
    assert_eq!(branch_now(&maintainer, "by-commit").await["status"], "active");
    assert_eq!(events(&app, "merge.blocked").await, [] as [Value; 0], "nobody tried");
    commit(&maintainer, REPO, "by-commit", &[("ready", Some("1"))]).await;
    until_merged(&maintainer, "by-commit").await;
    // A draft that is made ready.
    branch(&maintainer, REPO, "by-draft").await;
    maintainer.patch(&format!("{REPO}/branch/by-draft"), &json!({"draft": true})).await.expect(200);
    commit(&maintainer, REPO, "by-draft", &[("ready", Some("2"))]).await;
    enable(&maintainer, "by-draft").await;
    until_looked_at(&app).await;
    maintainer.patch(&format!("{REPO}/branch/by-draft"), &json!({"draft": false})).await.expect(200);
    until_merged(&maintainer, "by-draft").await;
    // A policy that changes on main.
    branch(&maintainer, REPO, "by-policy").await;
    commit(&maintainer, REPO, "by-policy", &[("c", Some("1"))]).await;
    enable(&maintainer, "by-policy").await;
    until_looked_at(&app).await;
    let body = json!({"branch": "main", "message": "m", "files": [{"path": ".docstore/policy/ready.rego"}]});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    until_merged(&maintainer, "by-policy").await;
    // Somebody's right.
    let writer = give(&app, "writer@example.com", "writer").await;
    branch(&maintainer, REPO, "by-role").await;
    commit(&writer, REPO, "by-role", &[("d", Some("1"))]).await;
    enable(&writer, "by-role").await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "by-role").await["status"], "active");
    give(&app, "writer@example.com", "maintainer").await;
    until_merged(&maintainer, "by-role").await;
    // A right that was held down by a lower role.
    make_member(&app.pool().await, "default", "owner@example.com", "owner").await;
    let owner = give(&app, "owner@example.com", "writer").await;
    branch(&maintainer, REPO, "by-taken-role").await;
    commit(&owner, REPO, "by-taken-role", &[("e", Some("1"))]).await;
    enable(&owner, "by-taken-role").await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "by-taken-role").await["status"], "active");
    admin.delete(&format!("{REPO}/roles/owner@example.com")).await.expect(204);
    until_merged(&maintainer, "by-taken-role").await;
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
    until_merged(&maintainer, "topic").await;
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
    until_told(&maintainer, "branch.automerge.failed", "topic").await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], false);
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
        until_merged(&maintainer, name).await;
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
    assert_eq!(branch_now(&maintainer, "topic").await["status"], "active");
}

#[tokio::test]
async fn what_somebody_adds_who_may_not_merge_ends_the_wish_of_another() {
    let (app, _, maintainer) = start().await;
    let writer = give(&app, "writer@example.com", "writer").await;
    branch(&maintainer, REPO, "topic").await;
    commit(&writer, REPO, "topic", &[("b", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("2"))]).await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], true, "whoever may merge knows what they do");
    let body = json!({"name": "helper", "actions": ["read", "contents"]});
    let made = maintainer.post("/agents", &body).await.expect(201);
    let helper = maintainer.with_token(made["secret"].as_str().unwrap());
    // A branch each: what makes it ready would merge it as soon as somebody wishes it again.
    for (who, name, topic) in
        [(&writer, "writer@example.com", "of-writer"), (&helper, "agent:helper/maintainer@example.com", "of-agent")]
    {
        branch(&maintainer, REPO, topic).await;
        commit(&maintainer, REPO, topic, &[(topic, Some("1"))]).await;
        enable(&maintainer, topic).await;
        commit(who, REPO, topic, &[("ready", Some(name))]).await;
        assert_eq!(branch_now(&maintainer, topic).await["auto_merge"], false);
        let told = events(&app, "branch.automerge.failed").await;
        assert_eq!(told.last().unwrap()["reason"], format!("changed by {name}, who may not merge"));
    }
    // Their own wish is about what they do themselves.
    branch(&maintainer, REPO, "of-themselves").await;
    commit(&writer, REPO, "of-themselves", &[("c", Some("1"))]).await;
    enable(&writer, "of-themselves").await;
    commit(&writer, REPO, "of-themselves", &[("c", Some("2"))]).await;
    assert_eq!(branch_now(&maintainer, "of-themselves").await["auto_merge"], true);
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "of-themselves").await["status"], "active");
}

#[tokio::test]
async fn the_wish_of_an_agent_ends_with_it() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    let body = json!({"name": "merger", "actions": ["read", "merge"]});
    let made = maintainer.post("/agents", &body).await.expect(201);
    let merger = maintainer.with_token(made["secret"].as_str().unwrap());
    enable(&merger, "topic").await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], true);
    maintainer.delete(&format!("/agents/{}", made["agent"]["id"].as_str().unwrap())).await.expect(204);
    // Another one of the name did not ask for it.
    maintainer.post("/agents", &body).await.expect(201);
    until_told(&maintainer, "branch.automerge.failed", "topic").await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], false);
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "topic").await["status"], "active");
    assert_eq!(
        events(&app, "branch.automerge.failed").await,
        [
            json!({"repo": "default/default", "branch": "topic", "reason": "agent:merger/maintainer@example.com has ended"})
        ]
    );
}
