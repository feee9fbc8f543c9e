//! What is left of a deleted repo or org: its tombstone, those of what was in it, and its events until their time is over.
//!
//! Which tables there are to look into is not written down here. The database says it: whatever refers to a repo, by however
//! many steps, hangs on it.

use std::collections::BTreeMap;

use docstore_database::purge;
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::support::{
    fixture::{Call, Fixture, REPO, bearer},
    text_file,
};

/// What puts a row of the repo into each table, with what the fixture holds already.
const OPERATIONS: [&str; 15] = [
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
    "upload_content",
    "enable_auto_merge",
    "merge",
];

/// Tables whose rows stay, as tombstones and as what happened: the tests look at them by themselves.
const TOMBSTONES: [&str; 4] = ["orgs", "repos", "branches", "event_log"];

/// Tables that hang on a table with a `repo_id` and have none themselves: their key, and which rows are of the repo `$1`.
const HANGING: [(&str, &str, &str); 6] = [
    ("content_bytes", "content_id", "content_id IN (SELECT id FROM contents WHERE repo_id = $1)"),
    ("uploaded_contents", "content_id", "content_id IN (SELECT id FROM contents WHERE repo_id = $1)"),
    ("event_outbox", "id", "subscription_id IN (SELECT id FROM event_subscriptions WHERE repo_id = $1)"),
    ("delivery_turns", "subscription_id", "subscription_id IN (SELECT id FROM event_subscriptions WHERE repo_id = $1)"),
    ("subscription_secrets", "id", "subscription_id IN (SELECT id FROM event_subscriptions WHERE repo_id = $1)"),
    (
        "delivery_attempts",
        "id",
        "delivery_id IN (SELECT o.id FROM event_outbox o JOIN event_subscriptions s ON s.id = o.subscription_id \
         WHERE s.repo_id = $1)",
    ),
];

/// The tables that refer to one, by however many steps that do not lead through another one, and those with a column for it;
/// each with its columns.
async fn tables_below(
    fixture: &Fixture,
    root: &str,
    not_through: Option<&str>,
    column: &str,
) -> BTreeMap<String, Vec<String>> {
    let found: Vec<(String, Vec<String>)> = sqlx::query_as(
        "WITH RECURSIVE below AS (
             SELECT $1::text::regclass::oid AS id
             UNION
             SELECT c.conrelid FROM pg_constraint c JOIN below ON below.id = c.confrelid
             WHERE c.contype = 'f' AND below.id IS DISTINCT FROM $2::text::regclass::oid
         )
         SELECT t.table_name::text, array_agg(c.column_name::text)
         FROM information_schema.tables t
         JOIN information_schema.columns c USING (table_schema, table_name)
         WHERE t.table_schema = 'public' AND t.table_type = 'BASE TABLE'
         GROUP BY t.table_name
         HAVING bool_or(c.column_name = $3) OR t.table_name::text::regclass IN (SELECT id FROM below)",
    )
    .bind(root)
    .bind(not_through)
    .bind(column)
    .fetch_all(&fixture.pool)
    .await
    .unwrap();
    found.into_iter().filter(|(table, _)| !TOMBSTONES.contains(&table.as_str())).collect()
}

async fn count(fixture: &Fixture, table: &str, rows: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table} WHERE {rows}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&fixture.pool).await.unwrap()
}

/// The rows of a repo in a table: how to find them again, whatever becomes of what they hang on.
async fn rows_of_repo(fixture: &Fixture, table: &str, columns: &[String], repo_id: i64) -> String {
    let has = |name: &str| columns.iter().any(|column| column == name);
    if has("repo_id") {
        return format!("repo_id = {repo_id}");
    }
    if has("branch_id") {
        return format!("branch_id IN (SELECT id FROM branches WHERE repo_id = {repo_id})");
    }
    let (_, key, rows) =
        HANGING.iter().find(|(name, ..)| *name == table).unwrap_or_else(|| panic!("how does {table} hang on a repo?"));
    let sql = format!("SELECT coalesce(string_agg(quote_literal({key}::text), ','), 'NULL') FROM {table} WHERE {rows}");
    let keys: String = sqlx::query_scalar(AssertSqlSafe(sql)).bind(repo_id).fetch_one(&fixture.pool).await.unwrap();
    format!("{key}::text IN ({keys})")
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
    let commit = json!({"branch": "main", "message": "m", "files": [policy]});
    fixture.creator(http::Method::POST, &format!("/repos/{REPO}/-/commit"), commit).await;
    let config = json!({"url": "https://example.com/", "secret": "s"});
    let subscription = json!({"repo": REPO, "backend": "webhook", "config": config});
    fixture.creator(http::Method::POST, "/subscriptions", subscription).await;
    let issue = json!({"title": "t", "labels": ["l"]});
    fixture.creator(http::Method::POST, &format!("/repos/{REPO}/-/issues"), issue).await;
    for (number, operation) in OPERATIONS.into_iter().enumerate() {
        let call = fixture.call(operation, number).await;
        let headers = [bearer(&creator), ("idempotency-key", format!("key-{number}"))];
        let got = fixture.send(&call, &headers).await;
        assert!(got.status.is_success(), "{operation}: {}", String::from_utf8_lossy(&got.body));
    }
    fixture.secret("/tokens", json!({"name": "for one repo", "repos": [REPO]})).await;
    // As if each delivery had been tried.
    sqlx::query(
        "INSERT INTO delivery_attempts (delivery_id, started_at, duration_ms) SELECT id, now(), 1 FROM event_outbox",
    )
    .execute(pool)
    .await
    .unwrap();

    let mut tables = Vec::new();
    for (table, columns) in tables_below(&fixture, "repos", None, "repo_id").await {
        let rows = rows_of_repo(&fixture, &table, &columns, repo_id).await;
        // What is due to merge by itself may have been looked at already.
        if !["auto_merges_due", "auto_merge_turns"].contains(&table.as_str()) {
            assert!(count(&fixture, &table, &rows).await > 0, "nothing is in {table} to be deleted");
        }
        tables.push((table, rows));
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
        assert_eq!(count(&fixture, table, rows).await, 0, "rows are left in {table}");
    }
    for (table, column) in [("repos", "id"), ("branches", "repo_id")] {
        assert_eq!(count(&fixture, table, &format!("{column} = {repo_id} AND deleted_at IS NULL")).await, 0, "{table}");
    }
    assert!(count(&fixture, "event_log", &format!("repo_id = {repo_id}")).await > 0, "what happened is forgotten");
}

#[tokio::test]
async fn a_deleted_org_leaves_nothing_in_any_table() {
    let fixture = Fixture::start(&[]).await;
    let pool = &fixture.pool;
    fixture.creator(http::Method::POST, "/orgs", json!({"name": "doomed"})).await;
    fixture.creator(http::Method::POST, "/repos", json!({"owner": "doomed", "name": "app"})).await;
    fixture.creator(http::Method::POST, "/orgs/doomed/members/member@example.com", json!({"role": "member"})).await;
    fixture
        .creator(http::Method::POST, "/orgs/doomed/invites", json!({"email": "x@example.com", "role": "member"}))
        .await;
    let source = json!({"source": "package docstore.open\n\nallow := true\n"});
    fixture.creator(http::Method::PUT, "/orgs/doomed/policies/open", source).await;
    let org_id: i64 = sqlx::query_scalar("SELECT id FROM orgs WHERE name = 'doomed'").fetch_one(pool).await.unwrap();

    // Repos go before their org, and everything of theirs with them.
    let tables = tables_below(&fixture, "orgs", Some("repos"), "org_id").await;
    assert!(tables.len() >= 3, "{tables:?}");
    for (table, columns) in &tables {
        assert!(columns.iter().any(|column| column == "org_id"), "how does {table} hang on an org?");
        assert!(count(&fixture, table, &format!("org_id = {org_id}")).await > 0, "nothing is in {table} to be deleted");
    }
    fixture.creator(http::Method::DELETE, "/repos/doomed/app", json!(null)).await;
    fixture.creator(http::Method::DELETE, "/orgs/doomed", json!(null)).await;
    for table in tables.keys() {
        assert_eq!(count(&fixture, table, &format!("org_id = {org_id}")).await, 0, "rows are left in {table}");
    }
    for (table, column) in [("orgs", "id"), ("repos", "org_id")] {
        assert_eq!(count(&fixture, table, &format!("{column} = {org_id} AND deleted_at IS NULL")).await, 0, "{table}");
    }
}
