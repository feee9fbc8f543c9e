//! A small commit is one statement, for branches that were looked at without a lock: what changes between the look and the
//! statement is found out by it, and then nothing has happened.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use chrono::SubsecRound;
use docstore_database::{
    CommitError, Connection, Error, Pool,
    append::{BranchAppend, Brought, ChangedContent, Conditions, Footing, NewChange, NewCommit, append_unmoved},
    begin,
    branches::{Looked, SeenBranch, Wanted, look_at_branches},
    commit,
    contents::{ContentHash, NewBytes, NewContent},
    idempotency::UsedKey,
    repos::lock_repo,
    testing::TestDatabase,
};
use docstore_models::Role;
use sqlx::Executor;

const HASH: ContentHash = [7; 32];

const KEY: UsedKey<'_> = UsedKey { identity: "a@example.com", key: "key", request_hash: &[1] };

const REPO: &str = "default/default";

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
        let role = "INSERT INTO roles (repo_id, identity, role) SELECT id, $1, 'maintainer' FROM repos";
        sqlx::query(role).bind(KEY.identity).execute(&pool).await.unwrap();
        Self { _database: database, pool, repo_id }
    }

    async fn does(&self, sql: &'static str) {
        self.pool.acquire().await.unwrap().execute(sql).await.unwrap();
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Looks for commits of files, each on a branch.
    async fn look_for(
        &self,
        wanted: &[(&str, &str)],
        key: Option<UsedKey<'_>>,
    ) -> (Connection, Vec<Option<SeenBranch>>) {
        let created: Vec<[&str; 1]> = wanted.iter().map(|(_, path)| [*path]).collect();
        let wanted: Vec<Wanted<'_>> = wanted
            .iter()
            .zip(&created)
            .map(|((branch, _), created)| Wanted {
                rights_of: KEY.identity,
                needs_no_role: false,
                branch,
                created,
                key,
            })
            .collect();
        let (connection, looked) = look_at_branches(&self.pool, REPO, &wanted).await.unwrap();
        (connection, looked.into_iter().map(|looked| looked.unwrap().branch).collect())
    }

    /// Looks for a commit of a file on each of the branches, which nothing is against.
    async fn look(&self, branches: &[&str]) -> (Connection, Vec<SeenBranch>) {
        let wanted: Vec<(&str, &str)> = branches.iter().map(|branch| (*branch, "dir/file")).collect();
        let (connection, seen) = self.look_for(&wanted, Some(KEY)).await;
        (connection, seen.into_iter().map(Option::unwrap).collect())
    }

    /// Commits the file to every branch that was seen.
    async fn append(&self, mut connection: Connection, seen: &[SeenBranch]) -> Result<usize, CommitError> {
        let commits: Vec<NewCommit> = seen
            .iter()
            .map(|branch| NewCommit {
                sequence: branch.sequence.unwrap(),
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
            .iter()
            .zip(&commits)
            .map(|(branch, commit)| BranchAppend {
                branch,
                footing: Footing::of(branch),
                commits: std::slice::from_ref(commit),
                created: &[],
            })
            .collect();
        let content = NewContent { hash: HASH, size: 1, bytes: NewBytes::Inline(vec![0]), created_by: "a".to_owned() };
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
async fn a_branch_that_is_about_to_move_is_not_overtaken() {
    let world = World::new().await;
    let (connection, seen) = world.look(&["topic"]).await;
    let mut mover = begin(&world.pool).await.unwrap();
    mover.execute("UPDATE branches SET head_sequence = 1 WHERE name = 'topic'").await.unwrap();
    let has_ended = std::cell::Cell::new(false);
    let append = async {
        let appended = world.append(connection, &seen).await;
        has_ended.set(true);
        appended
    };
    let goes_on = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while !has_ended.get() && world.number(waiting).await == 0 {}
        commit(mover).await.unwrap();
    };
    let (appended, ()) = futures::join!(append, goes_on);
    assert!(is_refused_for_now(&appended), "{appended:?}");
    world.assert_nothing_happened("the branch was about to move").await;
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
    let topic = &seen[0];
    let expected: Vec<(i64, i64, String)> =
        sqlx::query_as("SELECT branch_id, sequence, state FROM check_runs").fetch_all(&world.pool).await.unwrap();
    assert_eq!(expected, [(topic.branch.id, topic.sequence.unwrap(), "expected".to_owned())]);
}

#[tokio::test]
async fn the_look_finds_what_does_not_go_away_by_itself() {
    let world = World::new().await;
    let free = async |wanted: &[(&str, &str)], key| {
        let (connection, seen) = world.look_for(wanted, key).await;
        connection.done();
        seen.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    assert_eq!(free(&[("main", "a"), ("topic", "a"), ("nowhere", "a")], None).await, [true, true, false]);
    // A policy of the org judges what comes to main, and nothing else.
    world
        .does("INSERT INTO org_policies (org_id, name, source, updated_by) SELECT id, 'never', '', 'a' FROM orgs")
        .await;
    assert_eq!(free(&[("main", "a"), ("topic", "a")], None).await, [false, true]);
    world.does("DELETE FROM org_policies").await;
    for (made, undone) in [
        (
            "UPDATE branches SET status = 'abandoned' WHERE name = 'topic'",
            "UPDATE branches SET status = 'active' WHERE name = 'topic'",
        ),
        (
            "UPDATE branches SET auto_merge = true WHERE name = 'topic'",
            "UPDATE branches SET auto_merge = false WHERE name = 'topic'",
        ),
    ] {
        world.does(made).await;
        assert_eq!(free(&[("topic", "a")], None).await, [false], "{made}");
        world.does(undone).await;
    }
    // Numbers are drawn only for those that nothing is against.
    let before = world.number("SELECT last_value FROM commit_sequence").await;
    let (connection, seen) = world.look_for(&[("topic", "a"), ("nowhere", "a"), ("topic", "b")], None).await;
    connection.done();
    let mut drawn: Vec<i64> = seen.iter().flatten().map(|branch| branch.sequence.unwrap()).collect();
    drawn.sort_unstable();
    assert_eq!(drawn, [before + 1, before + 2]);

    let (connection, seen) = world.look(&["topic"]).await;
    world.append(connection, &seen).await.unwrap();
    assert_eq!(free(&[("topic", "other")], Some(KEY)).await, [false], "the key was used");
    let around = [("topic", "dir/file/below"), ("topic", "dir"), ("topic", "dir/third"), ("main", "dir")];
    assert_eq!(free(&around, None).await, [false, false, true, true]);
    // What is in the way on main is so on its branches.
    world.does("DELETE FROM idempotency_keys").await;
    let (connection, seen) = world.look(&["main"]).await;
    world.append(connection, &seen).await.unwrap();
    world
        .does(
            "INSERT INTO branches (repo_id, name, head_sequence, base_sequence, floor_sequence, created_by) \
             SELECT id, 'other', 0, 0, 0, 'a' FROM repos",
        )
        .await;
    assert_eq!(free(&[("other", "dir"), ("other", "x")], None).await, [false, true]);
    // A policy on main judges what comes to main.
    world.does("UPDATE file_changes SET path = '.docstore/policy/never.rego' WHERE path = 'dir/file'").await;
    assert_eq!(free(&[("main", "x"), ("other", "x")], None).await, [false, true]);
}

#[tokio::test]
async fn the_look_tells_the_right_of_each() {
    let world = World::new().await;
    world.does("INSERT INTO roles (repo_id, identity, role) SELECT id, 'w@example.com', 'writer' FROM repos").await;
    world
        .does("INSERT INTO org_members (org_id, identity, role, invited_by) SELECT id, 'm@example.com', 'member', '' FROM orgs")
        .await;
    let asked = [
        ("w@example.com", false),
        ("nobody@example.com", false),
        ("m@example.com", false),
        ("nobody@example.com", true),
    ];
    let wanted = asked.map(|(rights_of, needs_no_role)| Wanted {
        rights_of,
        needs_no_role,
        branch: "topic",
        created: &[],
        key: None,
    });
    let before = world.number("SELECT nextval('commit_sequence')").await;
    let (connection, looked) = look_at_branches(&world.pool, REPO, &wanted).await.unwrap();
    connection.done();
    // Nothing is to be had, and no number is drawn, for whoever is nobody here.
    let seen =
        |looked: Option<Looked>| looked.map(|looked| (looked.facts.explicit_role, looked.branch.is_some())).unwrap();
    let seen: Vec<_> = looked.into_iter().map(seen).collect();
    assert_eq!(seen, [(Some(Role::Writer), true), (None, false), (None, true), (None, true)]);
    assert_eq!(world.number("SELECT last_value FROM commit_sequence").await, before + 3);
    let (connection, looked) = look_at_branches(&world.pool, "default/nowhere", &wanted).await.unwrap();
    connection.done();
    assert!(looked.iter().all(Option::is_none));
}
