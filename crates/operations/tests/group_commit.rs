//! Commits that arrive together are written together, and whatever has something to it gets the answer that it would have
//! got alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod support;

use docstore_database::testing::TestDatabase;
use docstore_models::{CommitResponse, CreateBranchRequest, CreateRepoRequest, FileMode, FilePath, ObliterateRequest};
use docstore_operations::{
    Admin, ChangedBytes, CommitChange, Error, FileChange, IdempotencyKey, Maintainer, Operations, ReadPoint, Reader,
    Writer,
};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use sqlx::{Row, query};
use support::{ADMIN, caller, operations};

const REPO: &str = "default/groups";

/// A branch for whoever comes first, and so is alone.
const FIRST: &str = "first";

struct World {
    operations: Operations,
    /// Where the operations have their only connection from.
    narrow: docstore_database::Pool,
    pool: docstore_database::Pool,
    _database: TestDatabase,
    blobs: tempfile::TempDir,
}

impl World {
    async fn new(branches: &[&str]) -> Self {
        let (database, blobs) = (TestDatabase::create().await, tempfile::tempdir().unwrap());
        let pool = database.pool().await;
        // What the operations have, but for the connection of an event listener, is one: whoever has it holds them all up.
        let narrow = docstore_database::Settings { connections_max: 2, ..database.settings().clone() };
        let narrow = docstore_database::connect(&narrow).await.unwrap();
        let world =
            Self { operations: operations(narrow.clone(), &blobs).await, narrow, pool, _database: database, blobs };
        let repo = CreateRepoRequest { owner: "default".to_owned(), name: "groups".to_owned() };
        world.operations.create_repo(&caller(ADMIN), None, &repo).await.unwrap();
        for branch in branches.iter().chain([&FIRST]) {
            let request = CreateBranchRequest { name: (*branch).to_owned(), draft: false };
            world.operations.create_branch(&world.access::<Maintainer>().await, None, &request).await.unwrap();
        }
        world
    }

    async fn access<Level>(&self) -> Level
    where
        Level: TryFrom<docstore_operations::Access, Error = Error>,
    {
        self.operations.access(&caller(ADMIN), REPO).await.unwrap().try_into().unwrap()
    }

    /// Lets all arrive while another commit is written.
    async fn at_once(
        &self,
        changes: Vec<(Option<IdempotencyKey>, CommitChange)>,
    ) -> Vec<Result<CommitResponse, Error>> {
        let writer: Writer = self.access().await;
        let first = (None, change(FIRST, "x", "1"));
        let only = self.narrow.acquire().await.unwrap();
        let commits = std::iter::once(&first)
            .chain(&changes)
            .map(|(key, change)| self.operations.commit(&writer, key.as_ref(), change.clone()));
        let mut all = Box::pin(join_all(commits));
        // The first has begun and waits for the connection, the others for a group.
        assert!(futures::poll!(&mut all).is_pending());
        only.done();
        let mut answers = all.await;
        answers.remove(0).unwrap();
        answers
    }

    async fn text(&self, branch: &str, path: &str) -> Option<Vec<u8>> {
        let reader: Reader = self.access().await;
        let point = ReadPoint { branch: branch.to_owned(), at: None };
        let file = self.operations.file(&reader, &point, path).await.ok()?;
        match self.operations.file_bytes(file, None).await.unwrap() {
            docstore_operations::FileBytes::Whole(bytes) => Some(bytes.to_vec()),
            docstore_operations::FileBytes::Stream(_) => panic!("a small file is no stream"),
        }
    }

    /// In how many transactions the commits were written.
    async fn transactions(&self, committed: &[&CommitResponse]) -> i64 {
        let sequences: Vec<i64> = committed.iter().map(|commit| commit.sequence).collect();
        let row = query("SELECT count(DISTINCT xmin::text) FROM commits WHERE sequence = ANY ($1)")
            .bind(sequences)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        row.get(0)
    }
}

fn change(branch: &str, path: &str, bytes: &str) -> CommitChange {
    let file = FileChange {
        path: FilePath::parse(path).unwrap(),
        bytes: ChangedBytes::Inline(bytes.as_bytes().to_vec()),
        content_type: None,
        mode: FileMode::Regular,
    };
    CommitChange {
        branch: branch.to_owned(),
        message: format!("{path} on {branch}"),
        files: vec![file],
        expected_head: None,
        override_reason: None,
    }
}

fn key(name: &str, request: u8) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { key: name.to_owned(), request_hash: vec![request], repo_id: None })
}

fn told(result: &Result<CommitResponse, Error>) -> String {
    match result {
        Ok(_) => "committed".to_owned(),
        Err(error) => format!("{:?}", error.code()),
    }
}

#[tokio::test]
async fn commits_to_different_branches_are_one_transaction() {
    let world = World::new(&["a", "b", "c"]).await;
    let answers = world
        .at_once(vec![
            (None, change("a", "x", "same bytes")),
            (None, change("b", "x", "same bytes")),
            (None, change("c", "dir/y", "other bytes")),
        ])
        .await;
    let committed: Vec<&CommitResponse> = answers.iter().map(|answer| answer.as_ref().unwrap()).collect();
    assert_eq!(world.transactions(&committed).await, 1);
    for (branch, path, bytes) in [("a", "x", "same bytes"), ("b", "x", "same bytes"), ("c", "dir/y", "other bytes")] {
        assert_eq!(world.text(branch, path).await.as_deref(), Some(bytes.as_bytes()), "{branch}:{path}");
    }
    assert_eq!(committed[0].files[0].version_id, committed[1].files[0].version_id);
    assert!(committed[2].files[0].version_id.is_some());
    // Each chain is the branch's own: the next commit continues it.
    for (branch, before) in ["a", "b", "c"].into_iter().zip(&committed) {
        let writer: Writer = world.access().await;
        let mut next = change(branch, "z", "next");
        next.expected_head = Some(before.sequence);
        world.operations.commit(&writer, None, next).await.unwrap();
    }
}

#[tokio::test]
async fn commits_to_one_branch_are_one_transaction_and_one_chain() {
    let world = World::new(&["a"]).await;
    let writer: Writer = world.access().await;
    let head = world.operations.commit(&writer, None, change("a", "x", "0")).await.unwrap().sequence;
    let expecting = |head, path, bytes| CommitChange { expected_head: Some(head), ..change("a", path, bytes) };
    let answers = world
        .at_once(vec![
            (None, expecting(head, "x", "1")),
            (None, change("a", "x", "2")),
            // It saw the head before those.
            (None, expecting(head, "y", "refused")),
            (None, change("a", "dir/file", "3")),
            // Each is right, but not both.
            (None, change("a", "dir", "refused")),
            (None, change("main", "x", "on main")),
            (None, change("a", "x", "4")),
        ])
        .await;
    assert_eq!(
        answers.iter().map(told).collect::<Vec<_>>(),
        ["committed", "committed", "HeadMoved", "committed", "Conflict", "committed", "committed"]
    );
    let committed: Vec<&CommitResponse> = answers.iter().flatten().collect();
    assert_eq!(world.transactions(&committed).await, 1);
    assert_eq!(world.text("a", "x").await.unwrap(), b"4");
    assert_eq!(world.text("a", "dir/file").await.unwrap(), b"3");
    assert_eq!(world.text("main", "x").await.unwrap(), b"on main");
    // Each continues the one before, and nothing that it changed is there twice.
    let on_a: Vec<i64> = [0, 1, 3, 6].map(|index| answers[index].as_ref().unwrap().sequence).to_vec();
    let row = query(
        "SELECT array_agg(sequence ORDER BY sequence), array_agg(parent_sequence ORDER BY sequence) \
         FROM commits WHERE sequence = ANY ($1)",
    )
    .bind(&on_a)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(row.get::<Vec<i64>, _>(0), on_a);
    assert_eq!(row.get::<Vec<i64>, _>(1), [head, on_a[0], on_a[1], on_a[2]]);
    let row = query(
        "SELECT array_agg(superseded_by ORDER BY sequence) FROM file_changes WHERE path = 'x' AND sequence = ANY ($1)",
    )
    .bind(on_a.iter().copied().chain([head]).collect::<Vec<_>>())
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(row.get::<Vec<Option<i64>>, _>(0), [Some(on_a[0]), Some(on_a[1]), Some(on_a[3]), None]);
    // So do the events.
    let events = query("SELECT type, (payload::jsonb)->'data'->>'sequence' FROM event_log ORDER BY id DESC LIMIT 5");
    let events = events.fetch_all(&world.pool).await.unwrap();
    assert!(events.iter().all(|event| event.get::<String, _>(0).ends_with("commit.created")));
    let told: Vec<String> = events.iter().rev().map(|event| event.get(1)).collect();
    let of_a: Vec<String> = on_a.iter().map(ToString::to_string).collect();
    assert_eq!(
        told.iter().filter(|sequence| of_a.contains(sequence)).collect::<Vec<_>>(),
        of_a.iter().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn whoever_cannot_be_written_with_the_others_is_answered_as_if_alone() {
    let world = World::new(&["a", "b", "moved", "abandoned", "keyed", "known"]).await;
    let maintainer: Maintainer = world.access().await;
    world.operations.delete_branch(&maintainer, None, "abandoned", None).await.unwrap();
    let writer: Writer = world.access().await;
    let known = world.operations.commit(&writer, key("known", 1).as_ref(), change("known", "x", "1")).await.unwrap();
    let mut moved = change("moved", "x", "1");
    moved.expected_head = Some(4711);

    let answers = world
        .at_once(vec![
            (None, change("a", "x", "first")),
            (None, change("a", "x", "second")),
            (None, moved),
            (None, change("abandoned", "x", "1")),
            (key("known", 1), change("known", "x", "1")),
            (key("new", 2), change("keyed", "x", "1")),
            (key("refused", 3), change("nowhere", "x", "1")),
        ])
        .await;
    assert_eq!(
        answers.iter().map(told).collect::<Vec<_>>(),
        ["committed", "committed", "HeadMoved", "BranchNotActive", "committed", "committed", "BranchNotFound"]
    );
    let of = |index: usize| answers[index].as_ref().unwrap();
    assert_eq!(world.transactions(&[of(0), of(1), of(5)]).await, 1);
    assert_eq!(of(4).sequence, known.sequence);
    assert_eq!(of(4).files, known.files);

    // The key of a commit in the group has its answer, and that of a refused one is free.
    let again = world
        .at_once(vec![
            (key("known", 4), change("b", "y", "another request under the same key")),
            (key("new", 2), change("keyed", "x", "1")),
            (key("refused", 3), change("b", "z", "now there is somewhere")),
        ])
        .await;
    assert_eq!(again.iter().map(told).collect::<Vec<_>>(), ["IdempotencyKeyReused", "committed", "committed"]);
    assert_eq!(again[1].as_ref().unwrap().sequence, of(5).sequence);
    assert_eq!(again[1].as_ref().unwrap().commit_hash, of(5).commit_hash);
    assert_eq!(again[1].as_ref().unwrap().files, of(5).files);
    assert_eq!(world.text("b", "y").await, None);
}

#[tokio::test]
async fn a_path_in_the_way_or_an_obliterated_content_refuses_one_and_spares_the_others() {
    let world = World::new(&["a", "b", "c"]).await;
    let writer: Writer = world.access().await;
    world.operations.commit(&writer, None, change("a", "file", "here")).await.unwrap();
    let leaked = world.operations.commit(&writer, None, change("b", "leaked", "secret")).await.unwrap();
    let admin: Admin = world.access().await;
    let obliterate = ObliterateRequest {
        path: Some("leaked".to_owned()),
        branch: Some("b".to_owned()),
        at: Some(leaked.sequence),
        reason: "leaked".to_owned(),
        ..ObliterateRequest::default()
    };
    world.operations.obliterate(&admin, None, &obliterate).await.unwrap();

    let crowded = world
        .at_once(vec![
            (None, change("a", "file/below", "1")),
            (None, change("b", "x", "1")),
            (None, change("c", "x", "1")),
        ])
        .await;
    assert_eq!(crowded.iter().map(told).collect::<Vec<_>>(), ["Conflict", "committed", "committed"]);
    assert_eq!(world.transactions(&[crowded[1].as_ref().unwrap(), crowded[2].as_ref().unwrap()]).await, 1);
    let refused = world
        .at_once(vec![
            (None, change("a", "x", "fine")),
            (None, change("b", "again", "secret")),
            (None, change("c", "y", "1")),
        ])
        .await;
    assert_eq!(refused.iter().map(told).collect::<Vec<_>>(), ["committed", "ContentRefused", "committed"]);
    assert_eq!(world.text("a", "x").await.unwrap(), b"fine");
    assert_eq!(world.text("c", "y").await.unwrap(), b"1");
}

#[tokio::test]
async fn a_branch_that_somebody_holds_keeps_no_other_waiting() {
    let world = World::new(&["held", "a", "b"]).await;
    let mut holder = docstore_database::begin(&world.pool).await.unwrap();
    query("SELECT FROM branches WHERE name = 'held' FOR UPDATE").execute(&mut *holder).await.unwrap();
    // Wide enough for whoever waits alone.
    let operations = operations(world.pool.clone(), &world.blobs).await;
    let writer: Writer = world.access().await;
    let commit = async |branch: &'static str| {
        let committed = operations.commit(&writer, None, change(branch, "x", "1")).await;
        (branch, told(&committed))
    };
    let mut commits: FuturesUnordered<_> = [FIRST, "held", "a", "b"].into_iter().map(commit).collect();
    let mut done = Vec::new();
    for _ in 0..3 {
        done.extend(commits.next().await);
    }
    done.sort_unstable();
    assert_eq!(done, [("a", "committed".to_owned()), ("b", "committed".to_owned()), (FIRST, "committed".to_owned())]);
    docstore_database::commit(holder).await.unwrap();
    assert_eq!(commits.next().await, Some(("held", "committed".to_owned())));
}
