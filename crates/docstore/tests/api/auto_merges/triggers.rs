//! Whatever could turn a branch green has it looked at, also when no server runs.

use std::sync::atomic::{AtomicI64, Ordering};

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{branch_now, enable, events, give, start, until_looked_at, until_merged};
use crate::support::{REPO, branch, commit, identities::make_member, text_file};

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

/// What lets each branch pass, by its name.
const EACH: &str = r#"package docstore.each

import data.docstore.lib
import rego.v1

default allow := false

allow if {
	input.branch == "review"
	"reviewer@example.com" in lib.head_approvers
}

allow if {
	input.branch == "check"
	"build" in lib.passed_checks
}

allow if {
	input.branch == "proposal"
	startswith(input.proposal.title, "ready")
}

allow if input.branch == "member"

allow if {
	input.branch == "former"
	input.principals["former@example.com"].role == "none"
}

allow if input.branch == "org-policy"

allow_override := true
"#;

async fn run(app: &TestApp, statement: String) {
    sqlx::query(AssertSqlSafe(statement)).execute(&app.pool().await).await.unwrap();
}

async fn count_due(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM auto_merges_due").fetch_one(&app.pool().await).await.unwrap()
}

/// A branch that waits turns green by an act, and merges; by the trigger, since without it nobody looks. The act is undone
/// between the two.
async fn it_merges_by(
    app: &TestApp,
    name: &str,
    (table, trigger): (&str, &str),
    act: impl AsyncFn(),
    undo: impl AsyncFn(),
) {
    let admin = app.admin();
    assert_eq!(count_due(app).await, 0, "{name} waits");
    run(app, format!("ALTER TABLE {table} DISABLE TRIGGER {trigger}")).await;
    act().await;
    assert_eq!(count_due(app).await, 0, "{name}: something else than {trigger} has noticed");
    assert_eq!(branch_now(&admin, name).await["status"], "active");
    run(app, format!("ALTER TABLE {table} ENABLE TRIGGER {trigger}")).await;
    undo().await;
    until_looked_at(app).await;
    assert_eq!(branch_now(&admin, name).await["status"], "active");
    act().await;
    until_merged(&admin, name).await;
}

async fn start_each() -> (TestApp, Person, Person) {
    let (app, admin, maintainer) = start().await;
    let files = [text_file(".docstore/policy/each.rego", EACH), json!({"path": ".docstore/policy/ready.rego"})];
    let body = json!({"branch": "main", "message": "m", "files": files, "override": "set up"});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    (app, admin, maintainer)
}

/// A branch that waits for something.
async fn waiting(app: &TestApp, who: &Person, name: &str) {
    branch(&app.admin(), REPO, name).await;
    commit(who, REPO, name, &[(name, Some("1"))]).await;
    enable(who, name).await;
    until_looked_at(app).await;
    assert_eq!(branch_now(who, name).await["status"], "active");
}

#[tokio::test]
async fn what_is_said_about_a_branch_is_noticed() {
    let (app, _, maintainer) = start_each().await;
    let reviewer = give(&app, "reviewer@example.com", "writer").await;
    let review = async |status: &str| {
        reviewer.post(&format!("{REPO}/review"), &json!({"branch": "review", "status": status})).await.expect(201);
    };
    waiting(&app, &maintainer, "review").await;
    let by = ("reviews", "reviews_auto_merge");
    it_merges_by(&app, "review", by, async || review("approved").await, async || review("rejected").await).await;

    let attempts = AtomicI64::new(1);
    let report = async |status: &str| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        let body = json!({"branch": "check", "check_name": "build", "status": status, "attempt": attempt});
        reviewer.post(&format!("{REPO}/check"), &body).await.expect(201);
    };
    waiting(&app, &maintainer, "check").await;
    let by = ("check_runs", "check_runs_auto_merge_inserted");
    it_merges_by(&app, "check", by, async || report("passed").await, async || report("failed").await).await;

    waiting(&app, &maintainer, "proposal").await;
    let body = json!({"branch": "proposal", "title": "not yet"});
    let made = maintainer.post(&format!("{REPO}/proposals"), &body).await.expect(201);
    let path = format!("{REPO}/proposals/{}", made["id"].as_str().unwrap());
    let retitle = async |title: &str| {
        maintainer.patch(&path, &json!({"title": title})).await.expect(200);
    };
    until_looked_at(&app).await;
    let by = ("proposals", "proposals_auto_merge");
    it_merges_by(&app, "proposal", by, async || retitle("ready").await, async || retitle("not yet").await).await;
}

#[tokio::test]
async fn what_changes_in_the_org_is_noticed() {
    let (app, admin, maintainer) = start_each().await;
    let never = json!({"source": "package docstore.never\nallow := false\n"});
    let forbid = async || {
        admin.put("/orgs/default/policies/never", &never).await.expect(200);
    };
    let permit = async || {
        admin.delete("/orgs/default/policies/never").await.expect(204);
    };
    forbid().await;
    waiting(&app, &maintainer, "org-policy").await;
    it_merges_by(&app, "org-policy", ("org_policies", "org_policies_auto_merge"), permit, forbid).await;

    // Whoever asked has no right any more, and gets one by the org.
    let member = give(&app, "member@example.com", "writer").await;
    waiting(&app, &member, "member").await;
    admin.delete(&format!("{REPO}/roles/member@example.com")).await.expect(204);
    until_looked_at(&app).await;
    let pool = app.pool().await;
    let join = async || make_member(&pool, "default", "member@example.com", "owner").await;
    let leave = async || run(&app, "DELETE FROM org_members WHERE identity = 'member@example.com'".to_owned()).await;
    it_merges_by(&app, "member", ("org_members", "org_members_auto_merge"), join, leave).await;

    // A policy may go by who has no role any more.
    make_member(&pool, "default", "former@example.com", "owner").await;
    let former = app.person("former@example.com");
    branch(&former, REPO, "former").await;
    commit(&former, REPO, "former", &[("f", Some("1"))]).await;
    enable(&maintainer, "former").await;
    until_looked_at(&app).await;
    let join = async || make_member(&pool, "default", "former@example.com", "owner").await;
    let leave = async || run(&app, "DELETE FROM org_members WHERE identity = 'former@example.com'".to_owned()).await;
    it_merges_by(&app, "former", ("org_members", "org_members_gone_auto_merge"), leave, join).await;
}

#[tokio::test]
async fn a_rebase_is_noticed() {
    let (app, admin, maintainer) = start().await;
    let base = admin.get(&format!("{REPO}/branch/main")).await.json()["head_sequence"].clone();
    waiting(&app, &maintainer, "topic").await;
    let rebased = format!("package docstore.ready\nallow if input.base_sequence > {base}\nallow_override := true\n");
    let body = json!({"branch": "main", "message": "m", "override": "set up",
        "files": [text_file(".docstore/policy/ready.rego", &rebased)]});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    until_looked_at(&app).await;
    let rebase = async || {
        maintainer.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    };
    // Without the trigger nobody looks; and to rebase once more there must be something new on main, unnoticed as well.
    run(&app, "ALTER TABLE branches DISABLE TRIGGER branches_auto_merge_own".to_owned()).await;
    rebase().await;
    run(&app, "ALTER TABLE branches ENABLE TRIGGER branches_auto_merge_own".to_owned()).await;
    assert_eq!(count_due(&app).await, 0);
    run(&app, "ALTER TABLE branches DISABLE TRIGGER branches_auto_merge_main".to_owned()).await;
    let body = json!({"branch": "main", "message": "m", "override": "to rebase", "files": [text_file("n", "1")]});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    run(&app, "ALTER TABLE branches ENABLE TRIGGER branches_auto_merge_main".to_owned()).await;
    assert_eq!(count_due(&app).await, 0);
    assert_eq!(branch_now(&maintainer, "topic").await["status"], "active");
    rebase().await;
    until_merged(&maintainer, "topic").await;
}

#[tokio::test]
async fn what_happened_while_no_server_ran_is_noticed() {
    let (mut app, admin, maintainer) = start_each().await;
    let never = json!({"source": "package docstore.never\nallow := false\n"});
    admin.put("/orgs/default/policies/never", &never).await.expect(200);
    waiting(&app, &maintainer, "org-policy").await;
    app.stop().await;
    assert_eq!(count_due(&app).await, 0);
    run(&app, "DELETE FROM org_policies".to_owned()).await;
    assert_eq!(count_due(&app).await, 1);
    let later = app.second_server().await;
    until_merged(&later.person("maintainer@example.com"), "org-policy").await;
    later.stop().await;
}
