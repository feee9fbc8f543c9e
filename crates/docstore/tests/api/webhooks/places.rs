//! Who has the places of delivery while receivers think. There are eight on this stage: four for an org, and of those two for
//! its receivers that fail or are slow.

use std::time::Duration;

use docstore_database::event_log::{NewEvent, log_events};
use docstore_test_support::{ADMIN, Behaviour, Receiver};

use super::{numbers, stage::Stage};

/// Longer than a test takes: its receivers are told when to answer.
const PATIENT: Duration = Duration::from_secs(600);

/// A repo in an org of its own, and its id.
async fn repo(stage: &Stage, name: &str) -> i64 {
    let (org, _) = name.split_once('/').unwrap();
    sqlx::query_scalar(
        "WITH org AS (INSERT INTO orgs (name, created_by) VALUES ($1, 'system') RETURNING id),
            repo AS (INSERT INTO repos (org_id, name, created_by) SELECT id, $2, 'system' FROM org RETURNING id),
            main AS (INSERT INTO branches (repo_id, name, created_by) SELECT id, 'main', 'system' FROM repo)
         SELECT id FROM repo",
    )
    .bind(org)
    .bind(name)
    .fetch_one(&stage.pool)
    .await
    .unwrap()
}

/// Logs an event of a repo and gives it its position.
async fn log(stage: &Stage, repo_id: i64, n: i64) {
    log_events(&stage.pool, &[NewEvent { repo_id: Some(repo_id), ..stage.event(n) }]).await.unwrap();
    stage.sequence().await;
}

#[tokio::test]
async fn slow_receivers_have_a_share_of_the_places() {
    let stage = Stage::with_timeout(PATIENT).await;
    let (good, slow) = (Receiver::start(Behaviour::Status(200)).await, Receiver::start(Behaviour::Hold).await);
    for _ in 0..3 {
        stage.subscribe(ADMIN, slow.url(), None).await;
    }
    // Nobody knows yet who is slow, so all three have a place. With the first answer it turns out, and although there is
    // more to send, they have to share two.
    stage.log([1, 2]).await;
    let delivering = stage.start_loop();
    slow.wait_for(3).await;
    stage.advance(8);
    slow.release();
    slow.wait_for(5).await;
    stage.until("SELECT count(*) = 2 FROM delivery_turns WHERE holder IS NOT NULL").await;
    let known: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery_turns WHERE answer_ms = 2000 AND failures = 0")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(known, 3, "a quarter of what the last answer took");
    // Meanwhile a quick one of the same org has what comes at once.
    stage.subscribe(ADMIN, good.url(), None).await;
    for n in 3..=6 {
        stage.log([n]).await;
        delivering.announce();
        good.wait_for(usize::try_from(n - 2).unwrap()).await;
    }
    assert_eq!(numbers(&good.received()), [3, 4, 5, 6]);
    assert_eq!(slow.received().len(), 3 + 2);
    // Whoever answers quickly for a while is held back no longer.
    slow.usually(Behaviour::Status(200));
    slow.release();
    slow.wait_for(3 * 6).await;
    delivering.stop().await;
    let slowest: i32 =
        sqlx::query_scalar("SELECT max(answer_ms) FROM delivery_turns").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(slowest, 2000 * 3 / 4 * 3 / 4 * 3 / 4 * 3 / 4 * 3 / 4);
}

#[tokio::test]
async fn one_org_does_not_take_the_places_of_others() {
    let stage = Stage::with_timeout(PATIENT).await;
    let (good, slow) = (Receiver::start(Behaviour::Status(200)).await, Receiver::start(Behaviour::Hold).await);
    let other = repo(&stage, "other/app").await;
    for _ in 0..20 {
        stage.subscribe(ADMIN, slow.url(), None).await;
    }
    let delivering = stage.start_loop();
    stage.log([1]).await;
    delivering.announce();
    slow.wait_for(4).await;
    // Half of the places are left, and the org that has the others waits for its own.
    stage.subscribe_to("other/app", ADMIN, good.url(), None).await;
    for n in 1..=3 {
        log(&stage, other, n).await;
        delivering.announce();
        good.wait_for(usize::try_from(n).unwrap()).await;
    }
    assert_eq!(numbers(&good.received()), [1, 2, 3]);
    assert_eq!(slow.received().len(), 4);
    slow.usually(Behaviour::Status(200));
    slow.release();
    slow.wait_for(20).await;
    delivering.stop().await;
}

#[tokio::test]
async fn what_is_free_goes_to_the_orgs_in_turn() {
    let stage = Stage::with_timeout(PATIENT).await;
    let receiver = Receiver::start(Behaviour::Hold).await;
    let mut repos = vec![stage.repo_id];
    for name in ["b/app", "c/app"] {
        repos.push(repo(&stage, name).await);
    }
    // The first has waited longest, and has most.
    for (name, subscriptions) in [("default/default", 20), ("b/app", 4), ("c/app", 1)] {
        for _ in 0..subscriptions {
            stage.subscribe_to(name, ADMIN, receiver.url(), None).await;
        }
    }
    for (n, repo_id) in repos.iter().enumerate() {
        log(&stage, *repo_id, i64::try_from(n).unwrap()).await;
    }
    let delivering = stage.start_loop();
    let mut came = numbers(&receiver.wait_for(8).await);
    came.sort_unstable();
    assert_eq!(came, [0, 0, 0, 0, 1, 1, 1, 2]);
    receiver.usually(Behaviour::Status(200));
    receiver.release();
    receiver.wait_for(25).await;
    delivering.stop().await;
}
