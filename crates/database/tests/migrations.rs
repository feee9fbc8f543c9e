//! The migrations go up, down and up again, and several replicas may run them at once.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use docstore_database::{MigrateError, migrate, migrator, testing::TestDatabase};
use secrecy::{ExposeSecret, SecretString};
use sqlx::AssertSqlSafe;

#[tokio::test]
async fn every_step_goes_up_down_and_up_again() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let tables = || async {
        sqlx::query_scalar::<_, String>(
            "SELECT string_agg(table_name || '.' || column_name, ' ' ORDER BY table_name, column_name) \
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'",
        )
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    let before = tables().await;
    migrator().undo(pool.sqlx(), 0).await.unwrap();
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public' AND c.relname NOT LIKE '\\_sqlx%'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, 0, "a step down leaves something behind");
    migrator().run(pool.sqlx()).await.unwrap();
    assert_eq!(tables().await, before);
}

#[tokio::test]
async fn replicas_that_start_together_wait_for_one_another() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    migrator().undo(pool.sqlx(), 0).await.unwrap();
    let settings = database.settings();
    let (a, b, c) = tokio::join!(migrate(settings), migrate(settings), migrate(settings));
    a.unwrap();
    b.unwrap();
    c.unwrap();
    let orgs: i64 = sqlx::query_scalar("SELECT count(*) FROM orgs").fetch_one(&pool).await.unwrap();
    assert_eq!(orgs, 1, "the first data was inserted once");
}

#[tokio::test]
async fn a_server_of_the_last_release_starts_beside_a_newer_schema() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the next release', true, '', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    migrate(database.settings()).await.unwrap();
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_by_name() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let ours: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&pool).await.unwrap();
    let latin = format!("{ours}_latin");
    let create = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {latin} {create}"))).execute(&pool).await.unwrap();
    let mut settings = database.settings().clone();
    settings.url = SecretString::from(settings.url.expose_secret().replace(&ours, &latin));
    let refused = migrate(&settings).await.unwrap_err();
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {latin} WITH (FORCE)"))).execute(&pool).await.unwrap();
    assert!(matches!(refused, MigrateError::Encoding(_)), "{refused:?}");
    assert_eq!(refused.to_string(), "the database's encoding is LATIN1; create it anew with ENCODING 'UTF8'");
}
