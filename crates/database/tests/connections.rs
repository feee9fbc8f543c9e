//! What a connection leaves to the next user: nothing.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::time::Duration;

use docstore_database::{Error, Pool, begin, commit, connect, testing::TestDatabase};

/// A pool that lends out one connection at a time, so that every user gets what the last one left.
async fn single(database: &TestDatabase) -> Pool {
    let mut settings = database.settings().clone();
    settings.connections_max = 2;
    settings.acquire_timeout = Duration::from_millis(200);
    connect(&settings).await.unwrap()
}

async fn number(pool: &Pool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_before_anybody_looks() {
    let database = TestDatabase::create().await;
    let pool = single(&database).await;
    let mut transaction = begin(&pool).await.unwrap();
    sqlx::query("DELETE FROM branches").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    assert_eq!(number(&pool, "SELECT count(*) FROM branches").await, 1);
}

#[tokio::test]
async fn a_committed_transaction_leaves_its_connection_in_order() {
    let database = TestDatabase::create().await;
    let pool = single(&database).await;
    let backend = "SELECT pg_backend_pid()::bigint";
    let first = number(&pool, backend).await;
    let mut transaction = begin(&pool).await.unwrap();
    sqlx::query("UPDATE branches SET draft = true").execute(&mut *transaction).await.unwrap();
    commit(transaction).await.unwrap();
    assert_eq!(number(&pool, "SELECT count(*) FROM branches WHERE draft").await, 1);
    assert_eq!(number(&pool, backend).await, first, "the connection is used again");
}

#[tokio::test]
async fn a_cancelled_query_does_not_answer_the_next_one() {
    let database = TestDatabase::create().await;
    let pool = single(&database).await;
    let locked = "SELECT 7::bigint FROM pg_advisory_xact_lock(1)";
    // With the connection at rest and the query prepared, one poll sends all of it.
    assert_eq!(number(&pool, locked).await, 7);
    let mut other = begin(&database.pool().await).await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *other).await.unwrap();
    let mut cancelled = Box::pin(number(&pool, locked));
    assert!(futures::poll!(&mut cancelled).is_pending(), "it waits for the lock");
    drop(cancelled);
    // Now its answer comes, and is nobody's.
    commit(other).await.unwrap();
    assert_eq!(number(&pool, "SELECT 8::bigint").await, 8);
}

#[tokio::test]
async fn a_failed_query_does_not_spoil_its_connection() {
    let database = TestDatabase::create().await;
    let pool = single(&database).await;
    assert!(sqlx::query("SELECT 1 / 0").execute(&pool).await.is_err());
    assert_eq!(number(&pool, "SELECT 8::bigint").await, 8);
}

#[tokio::test]
async fn connections_that_died_are_replaced_without_the_caller_noticing() {
    let database = TestDatabase::create().await;
    let pool = single(&database).await;
    let other = database.pool().await;
    let pid = number(&pool, "SELECT pg_backend_pid()::bigint").await;
    let killed: bool = sqlx::query_scalar("SELECT pg_terminate_backend($1::bigint::int, 5000)")
        .bind(pid)
        .fetch_one(&other)
        .await
        .unwrap();
    assert!(killed);
    let transaction = begin(&pool).await.unwrap();
    commit(transaction).await.unwrap();
}

#[tokio::test]
async fn who_waits_too_long_is_told_that_the_database_is_not_available() {
    let database = TestDatabase::create().await;
    let pool = single(&database).await;
    let held = pool.acquire().await.unwrap();
    assert!(matches!(pool.acquire().await, Err(Error::Unavailable(sqlx::Error::PoolTimedOut))));
    held.done();
    pool.acquire().await.unwrap().done();
}

#[tokio::test]
async fn requests_and_what_goes_on_behind_them_each_find_the_connection_that_they_had() {
    let database = TestDatabase::create().await;
    let mut settings = database.settings().clone();
    settings.connections_max = 4;
    let requests = connect(&settings).await.unwrap();
    let background = requests.in_background();
    let backend = "SELECT pg_backend_pid()::bigint";
    // Two are open at once, and the request's is given back first.
    let (a_request, behind_it) = (begin(&requests).await.unwrap(), begin(&background).await.unwrap());
    commit(a_request).await.unwrap();
    commit(behind_it).await.unwrap();
    let (of_requests, of_background) = (number(&requests, backend).await, number(&background, backend).await);
    assert_ne!(of_requests, of_background);
    for _ in 0..3 {
        assert_eq!(number(&background, backend).await, of_background);
        assert_eq!(number(&requests, backend).await, of_requests);
        assert_eq!(number(&requests, backend).await, of_requests);
    }
}
