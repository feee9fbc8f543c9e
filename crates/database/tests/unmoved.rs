//! A small commit is one statement, for branches that were looked at without a lock: what changes between the look and the
//! statement is found out by it, and then nothing has happened.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use chrono::SubsecRound;
use docstore_database::{
    CommitError, Connection, Error, Pool,
    append::{BranchAppend, Brought, ChangedContent, Conditions, Footing, NewChange, NewCommit, append_unmoved},
    begin,
    branches::{Seen, Wanted, look_at_branches},
    contents::{ContentHash, NewBytes, NewContent},
    idempotency::UsedKey,
    repos::lock_repo,
    testing::TestDatabase,
};
use sqlx::Executor;

const HASH: ContentHash = [7; 32];

const KEY: UsedKey<'_> = UsedKey { identity: "a@example.com", key: "key", request_hash: &[1] };

/// The repo that every database begins with, and a branch beside its `main`.
struct World {
    _database: TestDatabase,
    pool: Pool,
    repo_id: i64,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool().await;
        let repo_id = sqlx::query_scalar("SELECT id FROM repos").fetch_one(&pool).await.unwrap();
        let topic = "INSERT INTO branches (repo_id, name, head_sequence, base_sequence, floor_sequence, created_by) \
                     SELECT id, 'topic', 0, 0, 0, 'a' FROM repos";
        sqlx::query(topic).execute(&pool).await.unwrap();
        Self { _database: database, pool, repo_id }
    }

    async fn does(&self, sql: &'static str) {
        self.pool.acquire().await.unwrap().execute(sql).await.unwrap();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Looks at the branches for a file on each.
    async fn look(&self, branches: &[&str]) -> (Connection, Seen) {
        let wanted: Vec<Wanted<'_>> =
            branches.iter().map(|branch| Wanted { branch, created: &["dir/file"], key: Some(KEY) }).collect();
        look_at_branches(&self.pool, self.repo_id, &wanted).await.unwrap()
    }

    /// Commits the file to every branch that was seen.
    async fn append(&self, mut connection: Connection, seen: &Seen) -> Result<usize, CommitError> {
        let commits: Vec<NewCommit> = seen
            .branches
            .iter()
            .map(|branch| NewCommit {
                sequence: branch.sequences[0],
                message: "m".to_owned(),
                author: KEY.identity.to_owned(),
                created_at: branch.now.trunc_subsecs(6),
                commit_hash: vec![0; 32],
                replayed_from: None,
                imported_from: None,
                pushed_by: None,
                changes: vec![NewChange {
                    path: "dir/file".to_owned(),
                    content: ChangedContent::New(HASH),
                    mode: 33188,
                    content_type: None,
                }],
            })
            .collect();
        let appends: Vec<_> = seen
            .branches
            .iter()
            .zip(&commits)
            .map(|(branch, commit)| BranchAppend {
                branch,
                footing: Footing::of(branch),
                commits: std::slice::from_ref(commit),
                created: &[],
            })
            .collect();
        let content =
            NewContent { hash: HASH, size: 1, bytes: NewBytes::Inline(vec![0]), created_by: "a".to_owned() };
        let stored = append_unmoved(
            &mut connection,
            self.repo_id,
            &appends,
            Brought { contents: &[&content], events: &[] },
            Conditions { hashes: &[HASH], answers: &[(KEY, "the answer".to_owned())] },
        )
        .await?;
        connection.done();
        Ok(stored.len())
    }

    async fn assert_nothing_happened(&self, what: &str) {
        for (table, count) in [
            ("commits", "SELECT count(*) FROM commits"),
            ("changes", "SELECT count(*) FROM file_changes"),
            ("contents", "SELECT count(*) FROM contents"),
            ("keys", "SELECT count(*) FROM idempotency_keys WHERE answer = 'the answer'"),
            ("checks", "SELECT count(*) FROM check_runs"),
        ] {
            assert_eq!(self.number(count).await, 0, "{table}: {what}");
        }
    }
}

fn is_refused_for_now(appended: &Result<usize, CommitError>) -> bool {
    matches!(appended, Err(CommitError::Refused(Error::Contention(_))))
}

#[tokio::test]
async fn what_changes_between_look_and_commit_refuses_it() {
    let world = World::new().await;
    for (meanwhile, undo) in [
        (
            "UPDATE branches SET head_sequence = 1 WHERE name = 'topic'",
            "UPDATE branches SET head_sequence = 0 WHERE name = 'topic'",
        ),
        (
            "UPDATE branches SET status = 'merged' WHERE name = 'topic'",
            "UPDATE branches SET status = 'active' WHERE name = 'topic'",
        ),
        (
            "UPDATE branches SET auto_merge = true, auto_merge_by = 'a' WHERE name = 'topic'",
            "UPDATE branches SET auto_merge = false, auto_merge_by = NULL WHERE name = 'topic'",
        ),
        (
            "UPDATE branches SET deleted_at = now() WHERE name = 'topic'",
            "UPDATE branches SET deleted_at = NULL WHERE name = 'topic'",
        ),
        ("UPDATE repos SET deleted_at = now()", "UPDATE repos SET deleted_at = NULL"),
        (
            "INSERT INTO org_policies (org_id, name, source, updated_by) SELECT id, 'never', '', 'a' FROM orgs",
            "DELETE FROM org_policies",
        ),
        (
            "INSERT INTO obliterations (id, repo_id, content_hash, size, reason, obliterated_by, obliterated_at) \
             SELECT gen_random_uuid(), id, decode(repeat('07', 32), 'hex'), 1, '', 'a', now() FROM repos",
            "DELETE FROM obliterations",
        ),
        (
            "INSERT INTO idempotency_keys (identity, key, request_hash, answer) VALUES ('a@example.com', 'key', '', '')",
            "DELETE FROM idempotency_keys",
        ),
    ] {
        let (connection, seen) = world.look(&["main", "topic"]).await;
        assert_eq!(seen.branches.len(), 2, "{meanwhile}");
        world.does(meanwhile).await;
        let appended = world.append(connection, &seen).await;
        assert!(is_refused_for_now(&appended), "{meanwhile}: {appended:?}");
        world.assert_nothing_happened(meanwhile).await;
        world.does(undo).await;
    }
    // With all of it undone they are as they were.
    let (connection, seen) = world.look(&["main", "topic"]).await;
    assert_eq!(world.append(connection, &seen).await.unwrap(), 1);
    assert_eq!(world.number("SELECT count(*) FROM commits").await, 2);
    assert_eq!(world.number("SELECT count(*) FROM idempotency_keys WHERE answer = 'the answer'").await, 1);
}

#[tokio::test]
async fn it_waits_for_no_branch_and_no_repo_and_hardly_for_a_key() {
    let world = World::new().await;
    for held in [
        "SELECT FROM branches WHERE name = 'topic' FOR NO KEY UPDATE",
        "INSERT INTO idempotency_keys (identity, key, request_hash, answer) VALUES ('a@example.com', 'key', '', '')",
    ] {
        let (connection, seen) = world.look(&["main", "topic"]).await;
        let mut holder = begin(&world.pool).await.unwrap();
        holder.execute(held).await.unwrap();
        let appended = world.append(connection, &seen).await;
        assert!(is_refused_for_now(&appended), "{held}: {appended:?}");
        drop(holder);
        world.assert_nothing_happened(held).await;
    }
    let (connection, seen) = world.look(&["main"]).await;
    let mut holder = begin(&world.pool).await.unwrap();
    assert!(lock_repo(&mut *holder, world.repo_id).await.unwrap());
    assert!(is_refused_for_now(&world.append(connection, &seen).await));
    drop(holder);
    world.assert_nothing_happened("the repo is locked").await;
}

#[tokio::test]
async fn a_check_that_is_required_meanwhile_is_expected() {
    let world = World::new().await;
    let (connection, seen) = world.look(&["topic", "main"]).await;
    world
        .does(
            "INSERT INTO required_checks (repo_id, branch_pattern, check_name, created_by) \
             SELECT id, 'top*', 'build', 'a' FROM repos",
        )
        .await;
    world.append(connection, &seen).await.unwrap();
    let topic = seen.branches.iter().find(|branch| branch.branch.name == "topic").unwrap();
    let expected: Vec<(i64, i64, String)> =
        sqlx::query_as("SELECT branch_id, sequence, state FROM check_runs").fetch_all(&world.pool).await.unwrap();
    assert_eq!(expected, [(topic.branch.id, topic.sequences[0], "expected".to_owned())]);
}

#[tokio::test]
async fn the_look_finds_what_does_not_go_away_by_itself() {
    let world = World::new().await;
    // A policy of the org judges what comes to main, and nothing else.
    world
        .does("INSERT INTO org_policies (org_id, name, source, updated_by) SELECT id, 'never', '', 'a' FROM orgs")
        .await;
    let names = |seen: &Seen| seen.branches.iter().map(|branch| branch.branch.name.clone()).collect::<Vec<_>>();
    let (_, seen) = world.look(&["main", "topic", "nowhere"]).await;
    assert_eq!(names(&seen), ["topic"]);
    world.does("DELETE FROM org_policies").await;
    // Numbers for each, in their order.
    let (connection, seen) = world.look(&["topic", "topic"]).await;
    assert!(seen.opposed.is_empty());
    assert!(seen.branches[0].sequences.is_sorted() && seen.branches[0].sequences.len() == 2);
    world.append(connection, &seen).await.unwrap();
    // The key was used, and at the directory of the second path there is a file.
    let wanted = [
        Wanted { branch: "topic", created: &["dir/file/below"], key: None },
        Wanted { branch: "topic", created: &["dir/other"], key: Some(KEY) },
        Wanted { branch: "topic", created: &["dir/third"], key: None },
        Wanted { branch: "main", created: &["dir"], key: None },
    ];
    let (_, seen) = look_at_branches(&world.pool, world.repo_id, &wanted).await.unwrap();
    let mut opposed = seen.opposed;
    opposed.sort_unstable();
    opposed.dedup();
    assert_eq!(opposed, [0, 1]);
    // What is in the way on main is so on its branches.
    let (connection, seen) = look_at_branches(&world.pool, world.repo_id, &wanted[3..]).await.unwrap();
    world.does("DELETE FROM idempotency_keys").await;
    world.append(connection, &seen).await.unwrap();
    world
        .does(
            "INSERT INTO branches (repo_id, name, head_sequence, base_sequence, floor_sequence, created_by) \
             SELECT id, 'other', 0, 0, 0, 'a' FROM repos",
        )
        .await;
    let wanted = [Wanted { branch: "other", created: &["dir"], key: None }];
    assert_eq!(look_at_branches(&world.pool, world.repo_id, &wanted).await.unwrap().1.opposed, [0]);
}
