//! Who stores a content waits only for those who are storing the same one.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use docstore_database::{
    begin, commit,
    contents::{NewBytes, NewContent, store_contents},
    testing::TestDatabase,
};

fn content(first: u8) -> NewContent {
    NewContent { hash: [first; 32], size: 1, bytes: NewBytes::Inline(vec![first]), created_by: "a@b".to_owned() }
}

/// One has begun to store two contents before the second was there, and comes to it after another one has taken it over
/// as known. If the one waited for the other, they would wait in a circle as soon as that one wants the first content.
#[tokio::test]
async fn who_finds_a_content_stored_meanwhile_does_not_wait_for_those_who_know_it() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id: i64 = sqlx::query_scalar("SELECT id FROM repos").fetch_one(&pool).await.unwrap();
    let mut first = begin(&pool).await.unwrap();
    store_contents(&mut first, repo_id, &[content(1)]).await.unwrap();

    let both = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut transaction = begin(&pool).await.unwrap();
            sqlx::query("SELECT set_config('application_name', 'both', true)")
                .execute(&mut *transaction)
                .await
                .unwrap();
            let stored = store_contents(&mut transaction, repo_id, &[content(1), content(2)]).await.unwrap();
            commit(transaction).await.unwrap();
            stored.len()
        }
    });
    // It waits for the first content: nothing tells of that but PostgreSQL's own account.
    let is_waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                      AND wait_event_type = 'Lock' AND application_name = 'both'";
    while sqlx::query_scalar::<_, i64>(is_waiting).fetch_one(&pool).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let mut second = begin(&pool).await.unwrap();
    store_contents(&mut second, repo_id, &[content(2)]).await.unwrap();
    commit(second).await.unwrap();
    let mut knows = begin(&pool).await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = 100").execute(&mut *knows).await.unwrap();
    assert_eq!(store_contents(&mut knows, repo_id, &[content(2)]).await.unwrap().len(), 1);
    commit(first).await.unwrap();

    assert_eq!(both.await.unwrap(), 2);
    assert_eq!(store_contents(&mut knows, repo_id, &[content(1)]).await.unwrap().len(), 1);
    commit(knows).await.unwrap();
}
