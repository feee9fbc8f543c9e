//! What the rows of commits refer to is there: triggers hold it for all rows of a statement, as foreign keys would row by row.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use docstore_database::{Pool, Transaction, begin, commit, testing::TestDatabase};
use sqlx::{Error, Executor};

/// A commit to `main` of one file, with its content.
const COMMIT: &str = "
    WITH content AS (
        INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
        SELECT id, sha256('a'), gen_random_uuid(), 1, 'a' FROM repos
        RETURNING id
    ),
    bytes AS (INSERT INTO content_bytes (content_id, bytes) SELECT id, 'a' FROM content),
    made AS (
        INSERT INTO commits (
            sequence, repo_id, branch_id, parent_sequence, base_sequence, floor_sequence, message, author, created_at, file_count
        )
        SELECT 1, repo_id, id, 0, 0, 0, 'm', 'a', now(), 1 FROM branches
    )
    INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
    SELECT b.id, 'file', 1, content.id, 33188, gen_random_uuid() FROM branches b, content";

/// Another file of that commit, with the same content.
const CHANGE: &str = "
    INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
    SELECT b.id, 'other', 1, c.id, 33188, gen_random_uuid() FROM branches b, contents c";

/// A content that no file has.
const UNUSED: &str = "
    WITH content AS (
        INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
        SELECT id, sha256('unused'), gen_random_uuid(), 1, 'a' FROM repos
        RETURNING id
    )
    INSERT INTO content_bytes (content_id, bytes) SELECT id, 'u' FROM content";

struct World {
    _database: TestDatabase,
    pool: Pool,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool().await;
        Self { _database: database, pool }
    }

    async fn does(&self, sql: &'static str) -> Result<u64, Error> {
        Ok(self.pool.acquire().await.unwrap().execute(sql).await?.rows_affected())
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    /// Lets a statement wait for what the transaction has locked, and then the transaction commit.
    async fn waits_for(&self, transaction: Transaction, sql: &'static str) -> Result<u64, Error> {
        let has_ended = std::cell::Cell::new(false);
        let waits = async {
            let done = self.does(sql).await;
            has_ended.set(true);
            done
        };
        let goes_on = async {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while !has_ended.get() && self.number(waiting).await == 0 {}
            assert!(!has_ended.get(), "it did not wait: {sql}");
            commit(transaction).await.unwrap();
        };
        futures::join!(waits, goes_on).0
    }
}

/// Which reference a statement was refused for.
fn violated(done: Result<u64, Error>) -> Option<String> {
    let error = done.err()?;
    let error = error.as_database_error()?;
    (error.code()? == "23503").then(|| error.constraint().map(str::to_owned))?
}

#[tokio::test]
async fn a_row_that_refers_to_nothing_is_refused_with_its_whole_statement() {
    let world = World::new().await;
    assert_eq!(world.does(COMMIT).await.unwrap(), 1);
    for (sql, constraint) in [
        (
            "INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
             SELECT b.id, 'p' || n, n, NULL, 33188, gen_random_uuid() FROM branches b, generate_series(1, 2) n",
            "file_changes_branch_id_sequence_fkey",
        ),
        (
            "INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
             SELECT b.id, 'p' || n, 1, c.id + n, 33188, gen_random_uuid()
             FROM branches b, contents c, generate_series(0, 1) n",
            "file_changes_content_id_fkey",
        ),
        (
            "INSERT INTO contents (repo_id, content_hash, version_id, size, created_by)
             SELECT id + n, sha256('b'), gen_random_uuid(), 1, 'a' FROM repos, generate_series(0, 1) n",
            "contents_repo_id_fkey",
        ),
        ("INSERT INTO content_bytes (content_id, bytes) VALUES (-1, 'a')", "content_bytes_content_id_fkey"),
    ] {
        assert_eq!(violated(world.does(sql).await).as_deref(), Some(constraint), "{sql}");
    }
    assert_eq!(world.number("SELECT count(*) FROM file_changes").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM contents").await, 1);
    // A file that is deleted has no content.
    let deleted = "INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id) \
                   SELECT id, 'gone', 1, NULL, 33188, gen_random_uuid() FROM branches";
    assert_eq!(world.does(deleted).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_referred_to_cannot_go_and_what_is_not_goes_with_its_bytes() {
    let world = World::new().await;
    world.does(COMMIT).await.unwrap();
    world.does(UNUSED).await.unwrap();
    for (sql, constraint) in [
        ("DELETE FROM commits", "file_changes_branch_id_sequence_fkey"),
        ("DELETE FROM contents", "file_changes_content_id_fkey"),
    ] {
        assert_eq!(violated(world.does(sql).await).as_deref(), Some(constraint), "{sql}");
    }
    assert_eq!(world.number("SELECT count(*) FROM content_bytes").await, 2);
    let unused = "DELETE FROM contents WHERE content_hash = sha256('unused')";
    assert_eq!(world.does(unused).await.unwrap(), 1);
    assert_eq!(world.number("SELECT count(*) FROM content_bytes").await, 1);
    world.does("DELETE FROM file_changes").await.unwrap();
    world.does("DELETE FROM commits").await.unwrap();
    let repo = "DELETE FROM roles; DELETE FROM branches; DELETE FROM repos";
    assert_eq!(violated(world.does(repo).await).as_deref(), Some("contents_repo_id_fkey"));
    world.does("DELETE FROM contents").await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM content_bytes").await, 0);
    world.does(repo).await.unwrap();
}

#[tokio::test]
async fn who_refers_to_what_never_changes() {
    let world = World::new().await;
    world.does(COMMIT).await.unwrap();
    for sql in [
        "UPDATE file_changes SET branch_id = branch_id",
        "UPDATE file_changes SET sequence = sequence",
        "UPDATE file_changes SET content_id = NULL",
        "UPDATE commits SET branch_id = branch_id",
        "UPDATE commits SET sequence = sequence",
        "UPDATE contents SET id = DEFAULT",
        "UPDATE contents SET repo_id = repo_id",
        "UPDATE content_bytes SET content_id = content_id",
        "UPDATE repos SET id = DEFAULT",
    ] {
        let error = world.does(sql).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("23000"), "{sql}: {error}");
    }
    assert_eq!(world.does("UPDATE file_changes SET superseded_by = 2").await.unwrap(), 1);
}

#[tokio::test]
async fn who_refers_to_what_is_being_removed_waits_and_is_refused() {
    let world = World::new().await;
    world.does(COMMIT).await.unwrap();
    world.does("DELETE FROM file_changes").await.unwrap();
    for (removal, reference, constraint) in [
        ("DELETE FROM contents", CHANGE, "file_changes_content_id_fkey"),
        (
            "DELETE FROM commits",
            "
            INSERT INTO file_changes (branch_id, path, sequence, content_id, mode, change_id)
            SELECT id, 'other', 1, NULL, 33188, gen_random_uuid() FROM branches",
            "file_changes_branch_id_sequence_fkey",
        ),
    ] {
        let mut remover = begin(&world.pool).await.unwrap();
        assert_eq!(remover.execute(removal).await.unwrap().rows_affected(), 1);
        let done = world.waits_for(remover, reference).await;
        assert_eq!(violated(done).as_deref(), Some(constraint));
    }
    assert_eq!(world.number("SELECT count(*) FROM file_changes").await, 0);
}

#[tokio::test]
async fn who_removes_what_is_being_referred_to_waits_and_is_refused() {
    let world = World::new().await;
    world.does(COMMIT).await.unwrap();
    for (removal, constraint) in [
        ("DELETE FROM contents", "file_changes_content_id_fkey"),
        ("DELETE FROM commits", "file_changes_branch_id_sequence_fkey"),
    ] {
        world.does("DELETE FROM file_changes").await.unwrap();
        let mut writer = begin(&world.pool).await.unwrap();
        assert_eq!(writer.execute(CHANGE).await.unwrap().rows_affected(), 1);
        let done = world.waits_for(writer, removal).await;
        assert_eq!(violated(done).as_deref(), Some(constraint));
    }
    assert_eq!(world.number("SELECT count(*) FROM file_changes").await, 1);
}
