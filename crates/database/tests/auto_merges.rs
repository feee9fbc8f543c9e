//! Repos whose branches merge by themselves take turns.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;

use docstore_database::{
    Pool,
    auto_merge::{NextTurn, RepoTurn, claim_due, finish_due, forget_turn, give_back_turn, postpone_due, take_turn},
    testing::TestDatabase,
};
use futures::future::join_all;
use sqlx::AssertSqlSafe;

const LEASE_SECONDS: i32 = 120;

/// A repo with branches that became due one after the other, the first so many seconds ago.
async fn repo(pool: &Pool, name: &str, branches: i32, seconds_ago: i32) -> i64 {
    let statement = format!(
        "WITH repo AS (
            INSERT INTO repos (org_id, name, created_by) SELECT id, 'default/{name}', 'x' FROM orgs LIMIT 1 RETURNING id
        ), made AS (
            INSERT INTO branches (repo_id, name, created_by, auto_merge, auto_merge_by)
            SELECT repo.id, 'topic' || n, 'x', true, 'x' FROM repo, generate_series(1, {branches}) n
            RETURNING id, repo_id, name
        )
        INSERT INTO auto_merges_due (branch_id, repo_id, due_at)
        SELECT id, repo_id, now() - make_interval(secs => {seconds_ago}) + row_number() OVER (ORDER BY id) * interval '1 ms'
        FROM made RETURNING repo_id"
    );
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(pool).await.unwrap()
}

async fn taken(pool: &Pool) -> RepoTurn {
    match take_turn(pool, LEASE_SECONDS).await.unwrap() {
        NextTurn::Taken(turn) => turn,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whoever_waits_longest_comes_next_and_has_one_branch_in_hand() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let (large, small) = (repo(&pool, "large", 3, 60).await, repo(&pool, "small", 1, 30).await);
    let first = taken(&pool).await;
    let second = taken(&pool).await;
    assert_eq!((first.repo_id, second.repo_id), (large, small), "each has one turn");
    assert_eq!(take_turn(&pool, LEASE_SECONDS).await.unwrap(), NextTurn::Nobody);
    let due = claim_due(&pool, &first, LEASE_SECONDS).await.unwrap().unwrap();
    assert_eq!((due.branch.as_str(), due.repo.as_str(), due.attempts), ("topic1", "default/large", 1));
    // The small one is denied, and due again; the large one has more. Who gave back first comes first.
    let denied = claim_due(&pool, &second, LEASE_SECONDS).await.unwrap().unwrap();
    postpone_due(&pool, &denied, 0).await.unwrap();
    give_back_turn(&pool, &second).await.unwrap();
    finish_due(&pool, &due).await.unwrap();
    give_back_turn(&pool, &first).await.unwrap();
    let next = taken(&pool).await;
    assert_eq!(next.repo_id, small);
    let last = taken(&pool).await;
    assert_eq!(last.repo_id, large);
    // A turn that ran out is somebody else's, and cannot be given back by whoever had it.
    sqlx::query("UPDATE auto_merge_turns SET held_until = now() - interval '1 s' WHERE repo_id = $1")
        .bind(large)
        .execute(&pool)
        .await
        .unwrap();
    let again = taken(&pool).await;
    assert_eq!(again.repo_id, large);
    give_back_turn(&pool, &last).await.unwrap();
    forget_turn(&pool, &last).await.unwrap();
    assert_eq!(take_turn(&pool, LEASE_SECONDS).await.unwrap(), NextTurn::Nobody);
}

#[tokio::test]
async fn a_turn_is_taken_once_however_many_ask() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    for number in 0..5 {
        repo(&pool, &format!("repo{number}"), 20, 10).await;
    }
    let mut looked_at: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let servers = (0..8).map(|_| async {
            match take_turn(&pool, LEASE_SECONDS).await.unwrap() {
                NextTurn::Taken(turn) => Some((turn, claim_due(&pool, &turn, LEASE_SECONDS).await.unwrap())),
                NextTurn::Lost | NextTurn::Nobody => None,
            }
        });
        let round: Vec<_> = join_all(servers).await.into_iter().flatten().collect();
        let mut repos: Vec<i64> = round.iter().map(|(turn, _)| turn.repo_id).collect();
        repos.sort_unstable();
        repos.dedup();
        assert_eq!(repos.len(), round.len(), "one server for each repo");
        if round.is_empty() {
            break;
        }
        for (turn, due) in &round {
            let due = due.as_ref().unwrap();
            *looked_at.entry(format!("{} {}", due.repo, due.branch)).or_default() += 1;
            finish_due(&pool, due).await.unwrap();
            give_back_turn(&pool, turn).await.unwrap();
        }
    }
    assert_eq!(looked_at.len(), 100);
    assert!(looked_at.values().all(|times| *times == 1));
}
