//! Counting what a question reads.

use docstore_database::{Pool, Transaction, begin};
use sqlx::AssertSqlSafe;

/// How long a page is.
pub(crate) const PAGE: i64 = 10;

/// Per row of a page: the change itself, perhaps what the branch has instead, and the rows of its joins.
const ROWS_PER_ROW: i64 = 6;
/// What the question itself costs: repo, branches, and the ends of each walk.
const ROWS_BESIDE: i64 = 200;

/// Per row of a page: the ways down the indices to all of those.
const BLOCKS_PER_ROW: i64 = 20;
/// What the question itself costs.
const BLOCKS_BESIDE: i64 = 40;
/// How many times as many blocks a write looks at: each row goes into all indices, and its references are checked.
const BLOCKS_OF_WRITES: i64 = 3;

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

/// A transaction, and what its connection has read so far: what PostgreSQL counts in a transaction includes what the ones
/// before on the same connection have not reported yet.
pub(crate) struct Counted {
    pub(crate) transaction: Transaction,
    before: Read,
}

/// What was read of the tables that the questions here are about.
struct Read {
    /// The rows that were fetched.
    rows: i64,
    /// The blocks of tables and indices that were looked at. They alone tell of a walk along an index that finds nothing to
    /// fetch.
    blocks: i64,
}

impl Counted {
    pub(crate) async fn begin(pool: &Pool) -> Self {
        let mut transaction = begin(pool).await.unwrap();
        let before = Read::so_far(&mut transaction).await;
        Self { transaction, before }
    }

    /// Fails when a page of so many rows has read more than that is worth.
    pub(crate) async fn assert_cheap(self, what: &str, rows: usize, expected: i64) {
        self.assert_within(what, rows, expected, 1).await;
    }

    /// The same for what writes so many rows.
    pub(crate) async fn assert_cheap_write(self, what: &str, rows: usize, expected: i64) {
        self.assert_within(what, rows, expected, BLOCKS_OF_WRITES).await;
    }

    async fn assert_within(mut self, what: &str, rows: usize, expected: i64, times: i64) {
        assert_eq!(i64::try_from(rows).unwrap(), expected, "{what}");
        let now = Read::so_far(&mut self.transaction).await;
        for (unit, read, most) in [
            ("rows", now.rows - self.before.rows, ROWS_BESIDE + ROWS_PER_ROW * expected),
            ("blocks", now.blocks - self.before.blocks, times * (BLOCKS_BESIDE + BLOCKS_PER_ROW * expected)),
        ] {
            assert!(read <= most, "{what}: read {read} {unit} for {expected} rows, at most {most} are right");
        }
    }
}

impl Read {
    async fn so_far(transaction: &mut Transaction) -> Self {
        let (rows, blocks) = sqlx::query_as(
            "SELECT
                sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint,
                sum(
                    pg_stat_get_xact_blocks_fetched(relid)
                    + (SELECT sum(pg_stat_get_xact_blocks_fetched(indexrelid)) FROM pg_index WHERE indrelid = relid)
                )::bigint
            FROM pg_stat_xact_user_tables
            WHERE relname IN (
                'commits', 'file_changes', 'contents', 'issues', 'issue_comments', 'issue_labels', 'event_log',
                'event_outbox', 'event_subscriptions', 'delivery_turns', 'repos', 'orgs', 'roles', 'org_members',
                'tokens', 'agents'
            )",
        )
        .fetch_one(&mut **transaction)
        .await
        .unwrap();
        Self { rows, blocks }
    }
}
