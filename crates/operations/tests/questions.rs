//! Questions that are asked together get their own answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod support;

use docstore_database::testing::TestDatabase;
use docstore_models::{CreateRepoRequest, FileMode, FilePath};
use docstore_operations::{Admin, ChangedBytes, CommitChange, FileBytes, FileChange, Operations, Writer};
use futures::future::join_all;
use support::{ADMIN, caller, operations};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// A repo with one file, and one reader.
async fn repo(operations: &Operations, name: &str, text: &str, reader: &str) {
    let request = CreateRepoRequest { owner: "default".to_owned(), name: name.to_owned() };
    operations.create_repo(&caller(ADMIN), None, &request).await.unwrap();
    let access = operations.access(&caller(ADMIN), &format!("default/{name}")).await.unwrap();
    let admin: Admin = access.clone().try_into().unwrap();
    operations.set_role(&admin, None, reader, "reader").await.unwrap();
    let file = FileChange {
        path: FilePath::parse("x").unwrap(),
        bytes: ChangedBytes::Inline(text.as_bytes().to_vec()),
        content_type: None,
        mode: FileMode::Regular,
    };
    let change = CommitChange {
        branch: "main".to_owned(),
        message: "m".to_owned(),
        files: vec![file],
        expected_head: None,
        override_reason: None,
    };
    let writer: Writer = access.try_into().unwrap();
    operations.commit(&writer, None, change).await.unwrap();
}

async fn read(operations: &Operations, who: &str, repo: &str, path: &str) -> String {
    let file = match operations.file_at_head(&caller(who), repo, "main", path).await {
        Ok(file) => file,
        Err(error) => return format!("{:?}", error.code()),
    };
    match operations.file_bytes(file, None).await.unwrap() {
        FileBytes::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        FileBytes::Stream(_) => panic!("a small file is no stream"),
    }
}

#[tokio::test]
async fn everybody_gets_what_they_asked_for_and_may_have() {
    let (database, blobs) = (TestDatabase::create().await, tempfile::tempdir().unwrap());
    // But for that of an event listener there is one connection: whoever has it holds up all who ask.
    let narrow = docstore_database::Settings { connections_max: 2, ..database.settings().clone() };
    let pool = docstore_database::connect(&narrow).await.unwrap();
    let operations = operations(pool.clone(), &blobs).await;
    repo(&operations, "a", "of a", ALICE).await;
    repo(&operations, "b", "of b", BOB).await;
    // The first begins alone; the others wait for it, and are then asked about in one statement.
    let asked = [
        (ADMIN, "default/a", "x", "of a"),
        (ALICE, "default/a", "x", "of a"),
        (ALICE, "default/b", "x", "Forbidden"),
        (BOB, "default/a", "x", "Forbidden"),
        (ALICE, "default/a", "nowhere", "NotFound"),
        (BOB, "default/nowhere", "x", "Forbidden"),
        (BOB, "default/b", "x", "of b"),
        (ADMIN, "default/nowhere", "x", "RepoNotFound"),
    ];
    let only = pool.acquire().await.unwrap();
    let mut answers = Box::pin(join_all(asked.iter().map(|(who, repo, path, _)| read(&operations, who, repo, path))));
    assert!(futures::poll!(&mut answers).is_pending());
    only.done();
    let answers = answers.await;
    let expected: Vec<&str> = asked.iter().map(|(.., expected)| *expected).collect();
    assert_eq!(answers, expected);

    let only = pool.acquire().await.unwrap();
    let mut standings = Box::pin(join_all(asked.iter().map(|(who, repo, ..)| async {
        operations.access(&caller(who), repo).await.map_or_else(
            |error| format!("{:?}", error.code()),
            |access| format!("{} {} {}", access.identity(), access.role().as_str(), access.repo()),
        )
    })));
    assert!(futures::poll!(&mut standings).is_pending());
    only.done();
    let standings = standings.await;
    assert_eq!(
        standings,
        [
            "admin@example.com admin default/a",
            "alice@example.com reader default/a",
            "Forbidden",
            "Forbidden",
            "alice@example.com reader default/a",
            "Forbidden",
            "bob@example.com reader default/b",
            "RepoNotFound",
        ]
    );
}
