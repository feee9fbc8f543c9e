//! What is left of a deleted repo: its tombstone, those of its branches, and its events until their time is over.

use docstore_database::purge;
use sqlx::AssertSqlSafe;

use crate::support::{
    fixture::{Call, Fixture, REPO, bearer},
    text_file,
};

/// What puts a row of the repo into each table, with what the fixture holds already.
const OPERATIONS: [&str; 14] = [
    "create_release",
    "create_proposal",
    "create_issue_comment",
    "create_issue_ref",
    "create_review",
    "create_comment",
    "report_check",
    "require_check",
    // Takes the checksums of archives away.
    "obliterate",
    "presign_archive",
    "set_secret",
    "set_role",
    "enable_auto_merge",
    "merge",
];

/// Tables of rows that belong to no repo, or hang on a row of another table here and go with it.
const NOT_OF_A_REPO: [&str; 19] = [
    "_sqlx_migrations",
    "agents",
    "blob_deletions",
    "content_bytes",
    "delivery_attempts",
    "delivery_turns",
    "event_outbox",
    "event_position",
    "idempotency_keys",
    "org_invites",
    "org_members",
    "org_policies",
    "orgs",
    "repos",
    "subscription_secrets",
    "tokens",
    "uploaded_contents",
    // Stay: tombstones, and what happened.
    "branches",
    "event_log",
];

/// The tables with rows of repos, and which rows are of the repo with the id `$1`. A new table is one of them, or has to
/// be named above.
async fn tables_of_repos(fixture: &Fixture) -> Vec<(String, &'static str)> {
    let columns: Vec<(String, Vec<String>)> = sqlx::query_as(
        "SELECT t.table_name::text, array_agg(c.column_name::text)
         FROM information_schema.tables t
         JOIN information_schema.columns c USING (table_schema, table_name)
         WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE'
         GROUP BY t.table_name ORDER BY t.table_name",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap();
    let mut tables = Vec::new();
    for (table, columns) in columns {
        if NOT_OF_A_REPO.contains(&table.as_str()) {
            continue;
        }
        let has = |name: &str| columns.iter().any(|column| column == name);
        let rows = if has("repo_id") {
            "repo_id = $1"
        } else {
            assert!(has("branch_id"), "is the table {table} of a repo?");
            "branch_id IN (SELECT id FROM branches WHERE repo_id = $1)"
        };
        tables.push((table, rows));
    }
    tables
}

async fn count(fixture: &Fixture, table: &str, rows: &str, repo_id: i64) -> i64 {
    let sql = format!("SELECT count(*) FROM {table} WHERE {rows}");
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(repo_id).fetch_one(&fixture.pool).await.unwrap()
}

#[tokio::test]
async fn a_deleted_repo_leaves_nothing_in_any_table() {
    let fixture = Fixture::start(&[]).await;
    let pool = &fixture.pool;
    let repo_id: i64 =
        sqlx::query_scalar("SELECT id FROM repos WHERE name = $1").bind(REPO).fetch_one(pool).await.unwrap();
    let creator = fixture.verified.issuer.id_token("creator@example.com");
    // With a policy, whatever moves `main` leaves a verdict.
    let policy = text_file(".docstore/policy/open.rego", "package docstore.open\n\nallow := true\n");
    let commit = serde_json::json!({"branch": "main", "message": "m", "files": [policy]});
    fixture.creator(http::Method::POST, &format!("/repos/{REPO}/-/commit"), commit).await;
    for (number, operation) in OPERATIONS.into_iter().enumerate() {
        let call = fixture.call(operation, number).await;
        let got = fixture.send(&call, &[bearer(&creator)]).await;
        assert!(got.status.is_success(), "{operation}: {}", String::from_utf8_lossy(&got.body));
    }
    fixture.secret("/tokens", serde_json::json!({"name": "for one repo", "repos": [REPO]})).await;
    let subscription =
        serde_json::json!({"repo": REPO, "backend": "webhook", "config": {"url": "https://example.com/"}});
    fixture.creator(http::Method::POST, "/subscriptions", subscription).await;

    let tables = tables_of_repos(&fixture).await;
    for (table, rows) in &tables {
        // What is due to merge by itself may have been looked at already.
        if !["auto_merges_due", "auto_merge_turns"].contains(&table.as_str()) {
            assert!(count(&fixture, table, rows, repo_id).await > 0, "nothing is in {table} to be deleted");
        }
    }
    let call = Call { method: http::Method::DELETE, path: format!("/repos/{REPO}"), body: Vec::new() };
    assert_eq!(fixture.send(&call, &[bearer(&creator)]).await.status, 204);
    loop {
        let mut transaction = docstore_database::begin(pool).await.unwrap();
        // Waits for the server's own loop, should it be at it.
        sqlx::query("SELECT FROM repos WHERE id = $1 FOR UPDATE")
            .bind(repo_id)
            .execute(&mut *transaction)
            .await
            .unwrap();
        let found = purge::deleted_repo_with_rows(&mut transaction).await.unwrap();
        if let Some(found) = found {
            purge::clear_deleted_repo(&mut transaction, found, 1000).await.unwrap();
        }
        docstore_database::commit(transaction).await.unwrap();
        if found.is_none() {
            break;
        }
    }
    for (table, rows) in &tables {
        assert_eq!(count(&fixture, table, rows, repo_id).await, 0, "rows are left in {table}");
    }
    assert_eq!(count(&fixture, "branches", "repo_id = $1 AND deleted_at IS NULL", repo_id).await, 0);
}
