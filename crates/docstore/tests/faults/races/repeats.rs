//! Requests that are sent again, with an idempotency key: one effect, one answer.

use docstore_test_support::{Answer, Person};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Repo, file, outcome_of};

use super::{all_at_once, app_and_repo, check};

async fn send(person: &Person, method: Method, path: &str, body: &Value, key: &str) -> Answer {
    let request = person.request(method, path).header("Idempotency-Key", key);
    let request = if body.is_null() { request } else { request.body(body.to_string()) };
    Answer::of(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_commit_is_sent_sixteen_times_at_once() {
    let (app, repo) = app_and_repo().await;
    for round in 0..4 {
        let path = format!("f{round}");
        let body = json!({"branch": "main", "message": "once", "files": [file(&path, path.repeat(3000).as_bytes())]});
        let answers = all_at_once((0..16).map(|_| {
            let (repo, body) = (repo.clone(), body.clone());
            async move { repo.post_once("commit", &body, &format!("round-{round}")).await.expect(201) }
        }))
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    assert_eq!(repo.verified_chains().await["main"].len(), 4);
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_for_one_request() {
    let (app, repo) = app_and_repo().await;
    for round in 0..4 {
        let outcomes = all_at_once((0..16).map(|sender| {
            let repo = repo.clone();
            async move {
                let path = format!("{round}.{}", sender % 2);
                let body = json!({"branch": "main", "message": "mine", "files": [file(&path, b"x")]});
                let answer = repo.post_once("commit", &body, &format!("round-{round}")).await;
                (sender % 2, outcome_of(&answer))
            }
        }))
        .await;
        let winner = outcomes.iter().find(|(_, outcome)| outcome == "201").unwrap().0;
        for (sender, outcome) in outcomes {
            assert_eq!(outcome, if sender == winner { "201" } else { "409 IDEMPOTENCY_KEY_REUSED" });
        }
    }
    assert_eq!(repo.verified_chains().await["main"].len(), 4);
    check(&app, &repo).await;
}

/// Every kind of write, sent twice in a row with one key: the second answer is the first one again.
#[tokio::test]
async fn every_write_that_is_sent_again_gets_the_same_answer() {
    let (app, repo) = app_and_repo().await;
    let path = |endpoint: &str| repo.path(endpoint);
    let commit = |branch: &str, path: &str| json!({"branch": branch, "message": "m", "files": [file(path, b"x")]});
    let import = json!({"branch": "main", "commits": [
        {"author": "a@example.com", "message": "m", "imported_from": "git:1", "files": [file("imported", b"x")]},
    ]});
    let writes: Vec<(Method, String, Value)> = vec![
        (Method::POST, "/orgs".into(), json!({"name": "acme"})),
        (Method::POST, "/repos".into(), json!({"owner": "acme", "name": "app"})),
        (Method::POST, path("commit"), commit("main", "a")),
        (Method::POST, path("import"), import),
        (Method::POST, path("branch"), json!({"name": "one"})),
        (Method::POST, path("branch"), json!({"name": "two"})),
        // A draft, which does not merge by itself.
        (Method::PATCH, path("branch/one"), json!({"draft": true})),
        (Method::POST, path("branch/one/auto-merge"), Value::Null),
        (Method::DELETE, path("branch/one/auto-merge"), Value::Null),
        (Method::PATCH, path("branch/one"), json!({"draft": false})),
        (Method::POST, path("commit"), commit("one", "b")),
        (Method::POST, path("rebase"), json!({"branch": "one"})),
        (Method::POST, path("merge"), json!({"branch": "one"})),
        (Method::DELETE, path("branch/two"), Value::Null),
        (Method::PUT, path("roles/somebody@example.com"), json!({"role": "admin"})),
        (Method::DELETE, path("roles/somebody@example.com"), Value::Null),
        (Method::POST, path("releases"), json!({"name": "v1"})),
        (Method::DELETE, path("releases/v1"), Value::Null),
        (Method::POST, path("purge"), json!({"older_than": "1d"})),
        (Method::DELETE, "/repos/acme/app".into(), Value::Null),
        (Method::DELETE, "/orgs/acme".into(), Value::Null),
    ];
    for (number, (method, path, body)) in writes.iter().enumerate() {
        let key = format!("key-{number}");
        let first = send(&app.admin(), method.clone(), path, body, &key).await;
        assert!(first.status.is_success(), "{method} {path}: {}", first.text);
        let events = events(&app.pool().await).await;
        let second = send(&app.admin(), method.clone(), path, body, &key).await;
        assert_eq!((second.status, &second.text), (first.status, &first.text), "{method} {path}");
        assert_eq!(self::events(&app.pool().await).await, events, "{method} {path} had a second effect");
    }
    check(&app, &repo).await;
}

async fn events(pool: &docstore_database::Pool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM event_log").fetch_one(pool).await.unwrap()
}

/// The answer to a deletion was lost, and meanwhile somebody took the name again.
#[tokio::test]
async fn a_deletion_that_is_sent_again_spares_what_took_the_name() {
    let (app, _) = app_and_repo().await;
    let repo = Repo::create(app.admin(), "name").await;
    let path = format!("/repos/{}", repo.name);
    assert_eq!(send(&app.admin(), Method::DELETE, &path, &Value::Null, "once").await.status, 204);
    let repo = Repo::create(app.admin(), "name").await;
    repo.commit("main", "mine", &[file("f", b"x")]).await.expect(201);
    assert_eq!(send(&app.admin(), Method::DELETE, &path, &Value::Null, "once").await.status, 204);
    assert_eq!(repo.bytes_of("main", "f").await.unwrap(), b"x");
    check(&app, &repo).await;
}

/// Who gives up a right that is needed to ask again.
#[tokio::test]
async fn an_admin_who_steps_down_may_ask_again() {
    let (app, _) = app_and_repo().await;
    let admin = app.person("admin@example.net");
    let repo = Repo::create(admin.clone(), "left").await;
    repo.give_role("heir@example.com", "admin").await;
    let path = repo.path("roles/admin@example.net");
    for _ in 0..2 {
        let answer = send(&admin, Method::PUT, &path, &json!({"role": "reader"}), "down").await;
        assert_eq!(answer.expect(200), json!({"identity": "admin@example.net", "role": "reader"}));
    }
}

/// Who gives away the last right in a repo may ask again whether that worked.
#[tokio::test]
async fn an_admin_who_leaves_may_ask_again() {
    let (app, _) = app_and_repo().await;
    let leaver = app.person("leaver@example.com");
    let repo = Repo::create(leaver.clone(), "left").await;
    repo.give_role("heir@example.com", "admin").await;
    let path = repo.path("roles/leaver@example.com");
    for _ in 0..2 {
        let answer = send(&leaver, Method::DELETE, &path, &Value::Null, "leave").await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    }
    // Another request is none of theirs any more, and a key is worth nothing to others.
    assert_eq!(outcome_of(&send(&leaver, Method::DELETE, &path, &Value::Null, "other").await), "403 FORBIDDEN");
    let other = app.person("other@example.com");
    assert_eq!(outcome_of(&send(&other, Method::DELETE, &path, &Value::Null, "leave").await), "403 FORBIDDEN");
}
