//! Locks are taken in one order, and bounds hold however many ask at once. What the order is shows in who holds what while
//! somebody stands in the way.

use docstore_database::{Transaction, repos, secrets};
use docstore_test_support::{Answer, TestApp};
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinHandle;

use crate::support::{Repo, file, outcome_of};

use super::{all_at_once, app_and_repo, check};

/// Somebody who stands in the way of requests, in a transaction that the test ends.
struct Obstacle {
    pool: docstore_database::Pool,
    transaction: Transaction,
}

impl Obstacle {
    async fn new(app: &TestApp) -> Self {
        let pool = app.pool().await;
        Self { transaction: docstore_database::begin(&pool).await.unwrap(), pool }
    }

    async fn does(&mut self, sql: &'static str) {
        self.transaction.execute(sql).await.unwrap();
    }

    /// Waits until a request waits for this transaction in a statement about something.
    async fn is_waited_for(&self, request: &JoinHandle<Answer>, statement: &str) {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'";
        while sqlx::query_scalar::<_, i64>(waiting).bind(statement).fetch_one(&self.pool).await.unwrap() == 0 {
            assert!(!request.is_finished(), "nothing was in the way");
        }
    }

    /// Waits until so many requests wait in statements about something.
    async fn is_waited_for_by(&self, count: i64, statement: &str) {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'";
        while sqlx::query_scalar::<_, i64>(waiting).bind(statement).fetch_one(&self.pool).await.unwrap() < count {}
    }

    async fn leaves(self) {
        docstore_database::commit(self.transaction).await.unwrap();
    }
}

/// Two branches that want to merge by themselves, of which every scan finds the younger one first: by its name, and by its
/// place in the table.
async fn wishing(app: &TestApp, repo: &Repo) {
    for branch in ["z-older", "a-younger"] {
        repo.create_branch(branch).await.expect(201);
        repo.commit(branch, "work", &[file(branch, b"x")]).await.expect(201);
    }
    let pool = app.pool().await;
    // A policy that says no keeps the wishes.
    let policy = b"package docstore.never\n\nallow := false\n";
    repo.commit("main", "policy", &[file(".docstore/policy/never.rego", policy)]).await.expect(201);
    for branch in ["z-older", "a-younger"] {
        repo.post(&format!("branch/{branch}/auto-merge"), &Value::Null).await.expect(204);
    }
    // What was updated last lies last in the table.
    sqlx::query("UPDATE branches SET draft = draft WHERE name = 'z-older'").execute(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn required_checks_note_branches_in_the_order_of_their_ids() {
    let (app, repo) = app_and_repo().await;
    wishing(&app, &repo).await;
    let path = repo.path("required-checks");
    for (method, body) in [("PUT", json!({"check_name": "build"})), ("DELETE", Value::Null)] {
        let mut obstacle = Obstacle::new(&app).await;
        obstacle.does("SELECT note_auto_merges(ARRAY(SELECT id FROM branches WHERE name = 'z-older'))").await;
        let request = {
            let (person, path) = (repo.person.clone(), path.clone());
            tokio::spawn(async move {
                match method {
                    "PUT" => person.put(&path, &body).await,
                    _ => person.delete(&format!("{path}?check_name=build")).await,
                }
            })
        };
        obstacle.is_waited_for(&request, "check_runs").await;
        // Nobody who waits for the older one has the younger one.
        obstacle.does("SELECT note_auto_merges(ARRAY(SELECT id FROM branches WHERE name = 'a-younger'))").await;
        obstacle.leaves().await;
        assert!(request.await.unwrap().status.is_success(), "{method}");
    }
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_deleted_in_the_order_in_which_it_is_delivered_to() {
    let (app, repo) = app_and_repo().await;
    let body = json!({"repo": repo.name, "backend": "webhook", "config": {"url": "http://127.0.0.1:9/"}});
    for whole_repo in [false, true] {
        let subscription = repo.person.post("/subscriptions", &body).await.expect(201);
        // The server itself does not deliver.
        let later = "UPDATE delivery_turns SET next_attempt = now() + interval '1 hour'";
        sqlx::query(later).execute(&app.pool().await).await.unwrap();
        repo.commit("main", "work", &[file("f", b"x")]).await.expect(201);
        let mut obstacle = Obstacle::new(&app).await;
        obstacle.does("UPDATE delivery_turns SET failures = failures").await;
        let path = match whole_repo {
            true => format!("/repos/{}", repo.name),
            false => format!("/subscriptions/{}", subscription["id"].as_str().unwrap()),
        };
        let request = {
            let person = repo.person.clone();
            tokio::spawn(async move { person.delete(&path).await })
        };
        obstacle.is_waited_for(&request, "").await;
        // What whoever delivers does next.
        obstacle.does("UPDATE event_outbox SET attempts = attempts").await;
        obstacle.leaves().await;
        request.await.unwrap().expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_set_in_a_repo_that_was_deleted_meanwhile() {
    let (app, repo) = app_and_repo().await;
    let pool = app.pool().await;
    let repo_id: i64 =
        sqlx::query_scalar("SELECT id FROM repos WHERE name = $1").bind(&repo.name).fetch_one(&pool).await.unwrap();
    let mut obstacle = Obstacle::new(&app).await;
    assert!(repos::lock_repo(&mut *obstacle.transaction, repo_id).await.unwrap());
    let request = {
        let repo = repo.clone();
        tokio::spawn(async move { repo.person.put(&repo.path("secrets/KEY"), &json!({"value": "dmFsdWU="})).await })
    };
    obstacle.is_waited_for(&request, "pg_advisory").await;
    repos::delete_repo(&mut obstacle.transaction, repo_id).await.unwrap();
    obstacle.leaves().await;
    assert_eq!(outcome_of(&request.await.unwrap()), "404 REPO_NOT_FOUND");
    assert!(secrets::list_secrets(&pool, repo_id, "", None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_however_many_ask_at_once() {
    let (app, repo) = app_and_repo().await;
    let pool = app.pool().await;
    for fill in [
        "INSERT INTO event_subscriptions (id, repo_id, backend, config, created_by, suspended_at) \
         SELECT gen_random_uuid(), r.id, 'webhook', '{}', 'x@example.com', now() \
         FROM repos r, generate_series(1, 98) WHERE r.name LIKE '%/race'",
        "INSERT INTO event_subscriptions (id, backend, config, created_by, suspended_at) \
         SELECT gen_random_uuid(), 'webhook', '{}', 'x@example.com', now() \
         FROM generate_series(1, 98)",
        "INSERT INTO repo_secrets (id, repo_id, name, layout, ciphertext, nonce, encrypted_dek, kms_key_name, \
         size_bytes, created_by) SELECT gen_random_uuid(), r.id, 'S' || n, 2, '', '', '', '', 0, 'x@example.com' \
         FROM repos r, generate_series(1, 998) n WHERE r.name LIKE '%/race'",
        "INSERT INTO tokens (token_id, name, owner, digest, all_repos, actions, created_at, expires_at) \
         SELECT gen_random_uuid(), 't', 'admin@example.com', sha256(n::text::bytea), true, '{read}', now(), \
         now() + interval '1 day' \
         FROM generate_series(1, 498) n",
    ] {
        sqlx::query(fill).execute(&pool).await.unwrap();
    }
    let secret = json!({"value": "dmFsdWU="});
    let config = json!({"url": "http://127.0.0.1:9/"});
    let of_repo = json!({"repo": repo.name, "backend": "webhook", "config": config});
    for (what, path, body) in [
        ("subscriptions to a repo", "/subscriptions", of_repo),
        ("subscriptions to everything", "/subscriptions", json!({"backend": "webhook", "config": config})),
        ("secrets", "", secret),
        ("tokens", "/tokens", json!({"name": "one more"})),
    ] {
        let answers = all_at_once((0..8).map(|number| {
            let (repo, body) = (repo.clone(), body.clone());
            async move {
                match path {
                    "" => repo.person.put(&repo.path(&format!("secrets/MORE_{number}")), &body).await,
                    path => repo.person.post(path, &body).await,
                }
            }
        }))
        .await;
        let let_in = answers.iter().filter(|answer| answer.status.is_success()).count();
        assert_eq!(let_in, 2, "{what}: {:?}", answers.iter().map(outcome_of).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_lands_while_a_commit_waits_judges_it() {
    let (app, repo) = app_and_repo().await;
    let never = "package docstore.never\n\nallow := false\n";
    let commit = |path: &'static str, bytes: &'static [u8]| {
        let repo = repo.clone();
        tokio::spawn(async move { repo.commit("main", path, &[file(path, bytes)]).await })
    };
    for of_org in [true, false] {
        let mut obstacle = Obstacle::new(&app).await;
        obstacle.does("SELECT FROM branches WHERE name = 'main' FOR UPDATE").await;
        // Who comes first has the lock first.
        let policy = (!of_org).then(|| commit(".docstore/policy/never.rego", never.as_bytes()));
        obstacle.is_waited_for_by(i64::from(!of_org), "nextval").await;
        let judged = commit("f", b"x");
        obstacle.is_waited_for_by(1 + i64::from(!of_org), "nextval").await;
        if of_org {
            repo.person.put("/orgs/default/policies/never", &json!({"source": never})).await.expect(200);
        }
        obstacle.leaves().await;
        if let Some(policy) = policy {
            policy.await.unwrap().expect(201);
        }
        assert_eq!(outcome_of(&judged.await.unwrap()), "403 POLICY_DENIED");
        if of_org {
            repo.person.delete("/orgs/default/policies/never").await.expect(204);
        }
    }
    check(&app, &repo).await;
}
