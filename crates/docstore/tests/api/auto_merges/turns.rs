//! Repos take turns, over all servers.

use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::{enable, events, start, until_merged};
use crate::support::{REPO, branch, commit, sse::Sse};

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
async fn a_repo_that_is_slow_keeps_nobody_waiting() {
    slow_beside_quick(0).await;
}

#[tokio::test]
async fn several_servers_are_not_at_a_slow_repo_at_once() {
    slow_beside_quick(2).await;
}

/// A repo where everything takes long and many branches wait, and one of another repo, on so many servers beside the first.
async fn slow_beside_quick(others: usize) {
    const WISHES: usize = 12;
    let (app, admin, maintainer) = start().await;
    let mut replicas = Vec::new();
    for _ in 0..others {
        replicas.push(app.second_server().await);
    }
    let names: Vec<String> = (0..WISHES).map(|n| format!("topic{n}")).collect();
    for name in &names {
        branch(&maintainer, REPO, name).await;
        commit(&maintainer, REPO, name, &[("ready", Some("1")), (name, Some("1"))]).await;
    }
    admin.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let other = "/repos/default%2Fother/-";
    commit(&admin, other, "main", &[("a", Some("1"))]).await;
    branch(&admin, other, "topic").await;
    commit(&admin, other, "topic", &[("b", Some("1"))]).await;
    // Whatever merges in the first repo takes as long as this test likes.
    let mut slow = PgConnection::connect(app.database().settings().url.expose_secret()).await.unwrap();
    sqlx::query("BEGIN").execute(&mut slow).await.unwrap();
    let main = "SELECT FROM branches b JOIN repos r ON r.id = b.repo_id
        WHERE r.name = 'default/default' AND b.name = 'main' FOR UPDATE OF b";
    sqlx::query(main).execute(&mut slow).await.unwrap();
    for name in &names {
        enable(&maintainer, name).await;
    }
    admin.post(&format!("{other}/branch/topic/auto-merge"), &json!(null)).await.expect(204);
    let merged = format!("{other}/events?since_seq=0&types=com.docstore.branch.merged");
    Sse::open(&admin, &merged, None).await.find(|seen| seen.event["data"]["branch"] == "topic").await;
    // By then the first repo has had its turn, since it has waited for longer. One of its branches is looked at, by one
    // server, and still.
    let looks: (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE attempts > 0), count(*) FROM auto_merges_due d JOIN repos r ON r.id = d.repo_id
        WHERE r.name = 'default/default'",
    )
    .fetch_one(&app.pool().await)
    .await
    .unwrap();
    assert_eq!(looks, (1, WISHES as i64));
    sqlx::query("ROLLBACK").execute(&mut slow).await.unwrap();
    for name in &names {
        until_merged(&maintainer, name).await;
    }
    assert_eq!(events(&app, "branch.merged").await.len(), WISHES + 1);
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_repo_has_so_many_wishes() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    let many = "INSERT INTO branches (repo_id, name, created_by, auto_merge)
        SELECT repo_id, 'topic' || n, created_by, true FROM branches, generate_series(1, $1) n WHERE name = 'topic'";
    sqlx::query(many).bind(1_000_i32).execute(&app.pool().await).await.unwrap();
    let refused = maintainer.post(&format!("{REPO}/branch/topic/auto-merge"), &json!(null)).await.expect(409);
    assert_eq!(
        refused["error"],
        "1000 branches of the repo wait to merge by themselves already; take a wish back first, with ds auto-merge disable"
    );
    maintainer.delete(&format!("{REPO}/branch/topic7/auto-merge")).await.expect(204);
    enable(&maintainer, "topic").await;
}
