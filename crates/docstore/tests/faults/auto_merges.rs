//! Branches that merge by themselves: when the server that does it is killed half way, and when nothing happens but time.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{TimeDelta, Utc};
use docstore_database::{
    Pool,
    testing::{TableWatch, TestDatabase},
};
use docstore_operations::AutoMerges;
use docstore_test_support::TestApp;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::{
    invariants,
    process::{ServerProcess, ServerSettings},
    races::operations_at,
    support::{Repo, file},
};

/// A server, and a branch that waits to be told to merge by itself.
struct Scene {
    server: ServerProcess,
    repo: Repo,
    pool: Pool,
    blobs: TempDir,
    database: TestDatabase,
}

impl Scene {
    async fn set() -> Self {
        let database = TestDatabase::create().await;
        let (blobs, pool) = (tempfile::tempdir().unwrap(), database.pool().await);
        let settings = ServerSettings::new(database.settings().url.expose_secret(), blobs.path());
        let server = ServerProcess::start(settings).await;
        let repo = Repo::new(server.admin(), "default/default");
        repo.commit("main", "the start", &[file("a", b"1")]).await.expect(201);
        repo.create_branch("topic").await.expect(201);
        repo.commit("topic", "a change", &[file("b", b"1")]).await.expect(201);
        Self { server, repo, pool, blobs, database }
    }

    /// A connection that holds something up, for as long as it is open.
    async fn obstacle(&self, statements: &[&'static str]) -> PgConnection {
        let mut obstacle = PgConnection::connect(self.database.settings().url.expose_secret()).await.unwrap();
        for statement in statements {
            sqlx::query(*statement).execute(&mut obstacle).await.unwrap();
        }
        obstacle
    }

    async fn wish(&self) {
        self.repo.post("branch/topic/auto-merge", &Value::Null).await.expect(204);
    }

    async fn merges(&self) -> i64 {
        let query = "SELECT count(*) FROM commits WHERE author = 'auto-merge'";
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Kills the server, takes the obstacle away, and starts another one, which finds one merge to do or none.
    async fn kill_and_go_on(&mut self, obstacle: PgConnection) {
        self.server.kill();
        obstacle.close().await.unwrap();
        // The claim of the dead server runs out after a while, which this test does not wait for.
        for claim in ["UPDATE auto_merges_due SET due_at = now()", "UPDATE auto_merge_turns SET held_until = now()"] {
            sqlx::query(claim).execute(&self.pool).await.unwrap();
        }
        self.server.start_again().await;
        self.repo = Repo::new(self.server.admin(), &self.repo.name);
        let nothing_is_left = "SELECT count(*) = 0 FROM auto_merges_due";
        TableWatch::on(&self.pool, "auto_merges_due").await.until(nothing_is_left).await;
        assert_eq!(self.merges().await, 1);
        assert_eq!(self.repo.get("branch/topic").await.expect(200)["status"], "merged");
        assert_eq!(self.repo.bytes_of("main", "b").await.as_deref(), Some(b"1".as_slice()));
        let told = "SELECT count(*) FROM event_log WHERE type = 'com.docstore.branch.merged'";
        assert_eq!(sqlx::query_scalar::<_, i64>(told).fetch_one(&self.pool).await.unwrap(), 1);
        self.repo.verified_chains().await;
        invariants::check(&self.pool, self.blobs.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_before_the_merge_leaves_it_to_the_next_one() {
    let mut scene = Scene::set().await;
    let obstacle = scene.obstacle(&["BEGIN", "SELECT FROM branches WHERE name = 'main' FOR UPDATE"]).await;
    let mut due = TableWatch::on(&scene.pool, "auto_merges_due").await;
    scene.wish().await;
    // From its claim on the server can get no further than to the obstacle.
    due.until("SELECT coalesce(bool_and(due_at > now() + interval '1 minute'), false) FROM auto_merges_due").await;
    assert_eq!(scene.merges().await, 0);
    scene.kill_and_go_on(obstacle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_after_the_merge_has_done_it_once() {
    let mut scene = Scene::set().await;
    // Whoever takes the branch off the list, which comes after the merge, waits.
    let trigger = [
        "CREATE FUNCTION wait_after_merge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM branches WHERE id = OLD.branch_id AND status = 'merged') THEN
                PERFORM pg_advisory_xact_lock(7);
            END IF;
            RETURN coalesce(NEW, OLD);
        END $$",
        "CREATE TRIGGER wait_after_merge BEFORE UPDATE OR DELETE ON auto_merges_due
            FOR EACH ROW EXECUTE FUNCTION wait_after_merge()",
    ];
    scene.obstacle(&trigger).await.close().await.unwrap();
    let obstacle = scene.obstacle(&["SELECT pg_advisory_lock(7)"]).await;
    let mut commits = TableWatch::on(&scene.pool, "commits").await;
    scene.wish().await;
    commits.until("SELECT EXISTS (SELECT FROM commits WHERE author = 'auto-merge')").await;
    assert_eq!(scene.merges().await, 1);
    scene.kill_and_go_on(obstacle).await;
}

/// Nothing is merged before a day.
const FREEZE: &str = "package docstore.freeze\n\nimport rego.v1\n\ndefault allow := false\n\n\
    allow if time.now_ns() >= time.parse_rfc3339_ns(\"2100-01-01T00:00:00Z\")\n\nallow_override := true\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_a_policy_holds_up_until_a_day_merges_then() {
    let mut app = TestApp::start().await;
    let (pool, repo) = (app.pool().await, Repo::new(app.admin(), "default/default"));
    repo.commit("main", "a freeze", &[file(".docstore/policy/freeze.rego", FREEZE.as_bytes())]).await.expect(201);
    repo.create_branch("topic").await.expect(201);
    repo.commit("topic", "a change", &[file("b", b"1")]).await.expect(201);
    // From here on nobody looks but this test, by its own clock.
    app.stop().await;
    let asked = "UPDATE branches SET auto_merge = true, auto_merge_by = 'admin@example.com' WHERE name = 'topic'";
    sqlx::query(asked).execute(&pool).await.unwrap();
    let day = "2100-01-01T00:00:00Z".parse::<chrono::DateTime<Utc>>().unwrap();
    let seconds = Arc::new(AtomicI64::new(-1));
    let clock = Arc::clone(&seconds);
    let clock = Arc::new(move || day + TimeDelta::seconds(clock.load(Ordering::Relaxed)));
    let operations = operations_at(&app, clock).await;

    assert_eq!(operations.auto_merge().await.unwrap(), AutoMerges { considered: 1, merged: 0 });
    assert_eq!(operations.auto_merge().await.unwrap(), AutoMerges::default(), "it is put off");
    // Though nothing happens, it is looked at again within a quarter of an hour.
    let soon = "SELECT due_at <= now() + interval '15 minutes' FROM auto_merges_due";
    assert!(sqlx::query_scalar::<_, bool>(soon).fetch_one(&pool).await.unwrap());
    let look = "UPDATE auto_merges_due SET due_at = now()";
    sqlx::query(look).execute(&pool).await.unwrap();
    assert_eq!(operations.auto_merge().await.unwrap(), AutoMerges { considered: 1, merged: 0 }, "a second too early");
    let denied = "SELECT count(*) FROM policy_verdicts WHERE outcome = 'denied'";
    assert_eq!(sqlx::query_scalar::<_, i64>(denied).fetch_one(&pool).await.unwrap(), 1, "it says nothing new");
    seconds.store(0, Ordering::Relaxed);
    sqlx::query(look).execute(&pool).await.unwrap();
    assert_eq!(operations.auto_merge().await.unwrap().merged, 1);
}
