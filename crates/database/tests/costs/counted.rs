//! Counting the rows that a question reads.

use docstore_database::{Pool, Transaction, begin};
use sqlx::AssertSqlSafe;

/// How long a page is.
pub(crate) const PAGE: i64 = 10;

/// Per row of a page: the change itself, perhaps what the branch has instead, and the rows of its joins.
const ROWS_PER_ROW: i64 = 6;
/// What the question itself costs: repo, branches, and the ends of each walk.
const ROWS_BESIDE: i64 = 200;

/// Runs statements, with numbers for the names in braces.
pub(crate) async fn fill(pool: &Pool, statements: &str, numbers: &[(&str, i64)]) {
    let statements = numbers.iter().fold(statements.to_owned(), |statements, (name, number)| {
        statements.replace(&format!("{{{name}}}"), &number.to_string())
    });
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool.sqlx()).await.unwrap();
}

/// The id of a repo.
pub(crate) async fn repo_id(pool: &Pool, name: &str) -> i64 {
    sqlx::query_scalar("SELECT id FROM repos WHERE name = $1").bind(name).fetch_one(pool.sqlx()).await.unwrap()
}

/// A transaction, and how many rows its connection has fetched so far: what PostgreSQL counts in a transaction includes
/// what the ones before on the same connection have not reported yet.
pub(crate) struct Counted {
    pub(crate) transaction: Transaction,
    before: i64,
}

impl Counted {
    pub(crate) async fn begin(pool: &Pool) -> Self {
        let mut transaction = begin(pool).await.unwrap();
        let before = rows_read(&mut transaction).await;
        Self { transaction, before }
    }

    /// Fails when a page of so many rows has read more than that is worth.
    pub(crate) async fn assert_cheap(mut self, what: &str, rows: usize, expected: i64) {
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
             'event_log', 'event_outbox', 'event_subscriptions', 'delivery_turns', 'repos', 'orgs', 'roles', \
             'org_members', 'tokens', 'agents')",
    )
    .fetch_one(&mut **transaction)
    .await
    .unwrap()
}
