//! A page costs the page, and deliveries cost what is to be delivered: counted in rows that PostgreSQL fetches, beside much
//! else that is of no concern, with statistics that say that nearly all rows are of that kind.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use chrono::{DateTime, TimeDelta, Utc};
use docstore_database::{
    Pool, Transaction, begin,
    commits::{chain, chain_of_branch, file_history, heads, log},
    delivery_turns::{TurnBounds, next_turn, take_turns},
    event_log::{NewEvent, log_events},
    issue_comments::list_comments,
    issues::{IssueFilter, list_issues},
    testing::TestDatabase,
    trees::{PageQuery, repo_facts_and_directory_page, repo_facts_and_tree_page},
};
use docstore_models::IssueState;
use uuid::Uuid;

const FILES: i64 = 4_000;
const COMMITS: i64 = 40_000;
const PAGE: i64 = 10;

/// Per row of a page: the change itself, perhaps what the branch has instead, and the rows of its joins.
const ROWS_PER_ROW: i64 = 6;
/// What the question itself costs: repo, branches, and the ends of each walk.
const ROWS_BESIDE: i64 = 200;

/// `default/default` stays empty. `default/long` has many commits of one file each; the branch `topic` was made at its
/// head and changed half of the files since.
async fn long_history(pool: &Pool) {
    let statements = "
        INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/long', 'system' FROM orgs;
        INSERT INTO branches (repo_id, name, created_by, head_sequence)
        SELECT id, 'main', 'system', {commits} FROM repos WHERE name = 'default/long';
        INSERT INTO branches (repo_id, name, created_by, head_sequence, base_sequence, floor_sequence)
        SELECT id, 'topic', 'system', {commits} + 1, {commits}, {commits} FROM repos WHERE name = 'default/long';
        INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
        SELECT r.id, sha256(n::text::bytea), gen_random_uuid(), 1, 'system'
        FROM repos r, generate_series(1, {files}) n WHERE r.name = 'default/long';
        INSERT INTO commits (sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author,
            created_at, file_count)
        SELECT n, b.repo_id, b.id, n - 1, 0, 0, 'm', 'a', now(), 1
        FROM branches b, generate_series(1, {commits}) n WHERE b.name = 'main' AND b.head_sequence > 0
        UNION ALL
        SELECT {commits} + 1, b.repo_id, b.id, {commits}, {commits}, {commits}, 'm', 'a', now(), {files} / 2
        FROM branches b WHERE b.name = 'topic';
        INSERT INTO file_changes (branch_id, path, sequence, superseded_by, content_id, mode, change_id)
        SELECT b.id, 'd/' || lpad((n % {files})::text, 5, '0'), n, CASE WHEN n + {files} <= {commits} THEN n + {files} END,
            (SELECT min(id) FROM contents) + n % {files}, 33188, gen_random_uuid()
        FROM branches b, generate_series(1, {commits}) n WHERE b.name = 'main' AND b.head_sequence > 0
        UNION ALL
        SELECT b.id, 'd/' || lpad((2 * n)::text, 5, '0'), {commits} + 1, NULL, (SELECT min(id) FROM contents) + n, 33188,
            gen_random_uuid()
        FROM branches b, generate_series(0, {files} / 2 - 1) n WHERE b.name = 'topic';
        ANALYZE;
    "
    .replace("{commits}", &COMMITS.to_string())
    .replace("{files}", &FILES.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(pool.sqlx()).await.unwrap();
}

/// A transaction, and how many rows its connection has fetched so far: what PostgreSQL counts in a transaction includes
/// what the ones before on the same connection have not reported yet.
struct Counted {
    transaction: Transaction,
    before: i64,
}

impl Counted {
    async fn begin(pool: &Pool) -> Self {
        let mut transaction = begin(pool).await.unwrap();
        let before = rows_read(&mut transaction).await;
        Self { transaction, before }
    }

    /// Fails when a page of so many rows has read more than that is worth.
    async fn assert_cheap(mut self, what: &str, rows: usize, expected: i64) {
        assert_eq!(i64::try_from(rows).unwrap(), expected, "{what}");
        let read = rows_read(&mut self.transaction).await - self.before;
        let most = ROWS_BESIDE + ROWS_PER_ROW * expected;
        assert!(read <= most, "{what}: read {read} rows for {expected}, at most {most} are right");
    }
}

/// The rows that were fetched from the tables that the questions here are about.
async fn rows_read(transaction: &mut Transaction) -> i64 {
    sqlx::query_scalar(
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables \
         WHERE relname IN ('commits', 'file_changes', 'contents', 'issues', 'issue_comments', 'issue_labels', \
             'event_log', 'event_outbox', 'event_subscriptions', 'delivery_turns')",
    )
    .fetch_one(&mut **transaction)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_page_of_a_tree_costs_the_page() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    long_history(&pool).await;
    for (repo, branch, at, expected) in [
        ("default/long", "main", None, PAGE),
        ("default/long", "topic", None, PAGE),
        ("default/long", "topic", Some(COMMITS), PAGE),
        ("default/default", "main", None, 0),
    ] {
        let query = PageQuery { repo, identity: "somebody", branch, at, after: "", limit: PAGE };
        let what = format!("{repo} {branch} at {at:?}");
        let mut counted = Counted::begin(&pool).await;
        let page = repo_facts_and_tree_page(&mut *counted.transaction, &query).await.unwrap().unwrap().1.unwrap();
        counted.assert_cheap(&format!("tree of {what}"), page.entries.len(), expected).await;
        if branch == "topic" && at.is_none() {
            // In the order of paths, and what the branch changed instead of what main has.
            let paths: Vec<&str> = page.entries.iter().map(|entry| entry.path.as_str()).collect();
            assert!(paths.is_sorted());
            assert_eq!(paths[..2], ["d/00000", "d/00001"]);
        }
        let mut counted = Counted::begin(&pool).await;
        let children =
            repo_facts_and_directory_page(&mut *counted.transaction, &query, "d").await.unwrap().unwrap().1.unwrap();
        counted.assert_cheap(&format!("directory of {what}"), children.entries.len(), expected).await;
    }
}

#[tokio::test]
async fn a_page_of_a_log_or_a_chain_costs_the_page() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    long_history(&pool).await;
    let id = |name: &'static str| {
        let pool = &pool;
        async move {
            sqlx::query_scalar::<_, i64>("SELECT id FROM repos WHERE name = $1")
                .bind(name)
                .fetch_one(pool.sqlx())
                .await
                .unwrap()
        }
    };
    let (long, empty) = (id("default/long").await, id("default/default").await);
    for (repo_id, branch, expected) in [(long, "main", PAGE), (long, "topic", PAGE), (empty, "main", 0)] {
        let mut counted = Counted::begin(&pool).await;
        let page = log(&mut *counted.transaction, repo_id, branch, None, PAGE).await.unwrap();
        counted.assert_cheap(&format!("log of {branch}"), page.len(), expected).await;
    }
    for (repo_id, branch, expected) in [(long, "main", PAGE), (empty, "main", 0)] {
        let mut counted = Counted::begin(&pool).await;
        let page = chain_of_branch(&mut *counted.transaction, repo_id, branch, 1, COMMITS * 2, PAGE).await.unwrap();
        counted.assert_cheap(&format!("chain of {branch}"), page.len(), expected).await;
    }
    for (repo_id, expected) in [(long, PAGE), (empty, 0)] {
        let mut counted = Counted::begin(&pool).await;
        let heads = heads(&mut *counted.transaction, repo_id).await.unwrap();
        let page = chain(&mut *counted.transaction, repo_id, &heads, 1, COMMITS * 2, PAGE).await.unwrap();
        counted.assert_cheap("chain", page.len(), expected).await;
    }
    let mut counted = Counted::begin(&pool).await;
    let page = file_history(&mut *counted.transaction, long, "topic", "d/00001", None, PAGE).await.unwrap();
    counted.assert_cheap("history of a file", page.len(), COMMITS / FILES).await;
}

/// In `default/default`, for which nobody has subscribed yet.
fn event(repo_id: i64) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        subject: "default/default".to_owned(),
        repo_id: Some(repo_id),
        event_type: "com.docstore.test".to_owned(),
        payload: "{}".to_owned(),
    }
}

#[tokio::test]
async fn subscriptions_without_anything_to_deliver_cost_nothing() {
    // As many as a hundred repos may have.
    const IDLE_OF_EACH: i64 = 100;
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let statements = "
        INSERT INTO repos (org_id, name, created_by)
        SELECT id, 'default/other' || n, 'system' FROM orgs, generate_series(1, 100) n;
        INSERT INTO event_log (event_id, subject, repo_id, type, payload, position)
        SELECT gen_random_uuid(), name, id, 't', '{}', 1 FROM repos WHERE name = 'default/other1';
        INSERT INTO event_subscriptions (id, repo_id, backend, config, created_by)
        SELECT gen_random_uuid(), r.id, 'webhook', '{}', 'somebody' FROM repos r, generate_series(1, {idle})
        WHERE r.name <> 'default/default';
        INSERT INTO delivery_turns (subscription_id) SELECT id FROM event_subscriptions;
        INSERT INTO event_outbox (id, event_log_id, subscription_id, delivered_at)
        SELECT gen_random_uuid(), e.id, s.id, now() FROM event_log e, event_subscriptions s;
        ANALYZE;
    "
    .replace("{idle}", &IDLE_OF_EACH.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(pool.sqlx()).await.unwrap();
    let repo_id: i64 =
        sqlx::query_scalar("SELECT id FROM repos WHERE name = 'default/default'").fetch_one(pool.sqlx()).await.unwrap();
    let bounds = TurnBounds {
        free: 64,
        held_back_free: 32,
        org_max: 32,
        org_held_back_max: 16,
        slow_ms: 1000,
        ..TurnBounds::default()
    };
    for subscribers in [0, 3] {
        let subscribed = "
            WITH created AS (
                INSERT INTO event_subscriptions (id, repo_id, backend, config, created_by)
                SELECT gen_random_uuid(), $1, 'webhook', '{}', 'somebody' FROM generate_series(1, $2)
                RETURNING id
            )
            INSERT INTO delivery_turns (subscription_id) SELECT id FROM created";
        sqlx::query(subscribed).bind(repo_id).bind(subscribers).execute(pool.sqlx()).await.unwrap();
        let mut counted = Counted::begin(&pool).await;
        log_events(&mut *counted.transaction, &[event(repo_id)]).await.unwrap();
        let position = format!("UPDATE event_log SET position = {subscribers} + 2 WHERE position IS NULL");
        sqlx::query(sqlx::AssertSqlSafe(position)).execute(&mut *counted.transaction).await.unwrap();
        // Later than whatever the database's own clock has written.
        let now: DateTime<Utc> = "2100-01-01T00:00:00Z".parse().unwrap();
        let later = now + TimeDelta::seconds(90);
        let taken = take_turns(&mut *counted.transaction, Uuid::now_v7(), now, later, &bounds).await.unwrap();
        assert_eq!(next_turn(&mut *counted.transaction, now).await.unwrap().is_some(), subscribers > 0);
        counted.assert_cheap(&format!("an event to {subscribers}"), taken.len(), i64::from(subscribers)).await;
    }
}

#[tokio::test]
async fn a_page_of_issues_or_comments_costs_the_page() {
    const ISSUES: i64 = 20_000;
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    // Nearly all are closed, by one author and with one label; every thousandth is not. Another repo has as many of the
    // rare label.
    let statements = "
        INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/other', 'system' FROM orgs;
        INSERT INTO issues (id, repo_id, number, title, author, state, labels)
        SELECT gen_random_uuid(), r.id, n, 't',
            CASE WHEN n % 1000 = 0 AND r.name = 'default/default' THEN 'rare' ELSE 'usual' END,
            CASE WHEN n % 1000 = 0 AND r.name = 'default/default' THEN 'open' ELSE 'closed' END,
            CASE WHEN n % 1000 = 0 OR r.name = 'default/other' THEN ARRAY['rare', 'x'] ELSE ARRAY['usual', 'x'] END
        FROM repos r, generate_series(1, {issues}) n;
        INSERT INTO issue_comments (id, issue_id, repo_id, body, author, created_at)
        SELECT gen_random_uuid(), i.id, i.repo_id, 'b', 'a', now() + n * interval '1 s'
        FROM issues i JOIN repos r ON r.id = i.repo_id AND r.name = 'default/default', generate_series(1, {issues}) n
        WHERE i.number = 1;
        ANALYZE;
    "
    .replace("{issues}", &ISSUES.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(pool.sqlx()).await.unwrap();
    let repo_id: i64 =
        sqlx::query_scalar("SELECT id FROM repos WHERE name = 'default/default'").fetch_one(pool.sqlx()).await.unwrap();
    let page = IssueFilter { limit: Some(PAGE), ..IssueFilter::default() };
    let rare = ISSUES / 1000;
    for (filter, first) in [
        (page, ISSUES),
        (IssueFilter { after: Some(500), ..page }, 499),
        (IssueFilter { state: Some(IssueState::Open), ..page }, ISSUES),
        (IssueFilter { state: Some(IssueState::Closed), ..page }, ISSUES - 1),
        (IssueFilter { author: Some("rare"), ..page }, ISSUES),
        (IssueFilter { author: Some("rare"), state: Some(IssueState::Open), after: Some(15_000), ..page }, 14_000),
        (IssueFilter { label: Some("rare"), ..page }, ISSUES),
        (IssueFilter { label: Some("rare"), author: Some("rare"), ..page }, ISSUES),
        (IssueFilter { label: Some("x"), state: Some(IssueState::Open), ..page }, ISSUES),
        (IssueFilter { label: Some("usual"), after: Some(ISSUES), ..page }, ISSUES - 1),
    ] {
        let mut counted = Counted::begin(&pool).await;
        let found = list_issues(&mut *counted.transaction, repo_id, "default/default", filter).await.unwrap();
        assert_eq!(found[0].number, first, "{filter:?}");
        assert!(found.is_sorted_by_key(|issue| -issue.number), "{filter:?}");
        counted.assert_cheap(&format!("{filter:?}"), found.len(), PAGE.min(rare)).await;
    }
    let mut after = None;
    for n in 0..3 {
        let mut counted = Counted::begin(&pool).await;
        let page = list_comments(&mut counted.transaction, repo_id, "default/default", 1, after, Some(PAGE)).await;
        let page = page.unwrap().unwrap();
        counted.assert_cheap(&format!("page {n} of comments"), page.len(), PAGE).await;
        // Far into them.
        after = sqlx::query_scalar("SELECT id FROM issue_comments ORDER BY created_at, id OFFSET $1 LIMIT 1")
            .bind(9_000 * (n + 1))
            .fetch_optional(pool.sqlx())
            .await
            .unwrap();
    }
}
