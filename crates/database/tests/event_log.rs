//! Positions become visible in order, whatever the order in which transactions commit.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use docstore_database::{
    Pool, begin, commit,
    event_log::{
        NewEvent, PageLimit, PositionListener, audit_page, delete_events_older_than, has_unsequenced_events,
        last_position, lock_sequencer, log_events, read_events, replay_log, replay_repo, sequence_events,
        try_lock_retention,
    },
    testing::TestDatabase,
};
use sqlx::{PgExecutor, types::Uuid};

const WHOLE: PageLimit = PageLimit { rows_max: 1000, bytes_max: 1_000_000 };

fn event(payload: &str) -> NewEvent {
    NewEvent {
        event_id: Uuid::from_u128(1),
        subject: "acme/app".into(),
        repo_id: None,
        event_type: "com.docstore.commit.created".into(),
        payload: payload.into(),
    }
}

async fn log(executor: impl PgExecutor<'_>, payload: &str) {
    log_events(executor, &[event(payload)]).await.unwrap();
}

/// One run of a sequencer: the last position and the count.
async fn sequence(pool: &Pool, limit: i64) -> Option<(i64, i64)> {
    let mut transaction = begin(pool).await.unwrap();
    lock_sequencer(&mut *transaction).await.unwrap();
    let batch = sequence_events(&mut *transaction, limit).await.unwrap();
    commit(transaction).await.unwrap();
    batch.map(|batch| (batch.last, batch.count))
}

async fn read(pool: &Pool, after: i64) -> Vec<(i64, String)> {
    let events = read_events(pool, after, WHOLE).await.unwrap();
    events.into_iter().map(|event| (event.position, event.payload)).collect()
}

fn rows(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(position, payload)| (*position, (*payload).to_owned())).collect()
}

#[tokio::test]
async fn a_transaction_that_commits_late_gets_a_later_position_than_those_already_seen() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let mut early = begin(&pool).await.unwrap();
    log(&mut *early, "drew the lower id, commits last").await;
    let mut late = begin(&pool).await.unwrap();
    log(&mut *late, "drew the higher id, commits first").await;
    commit(late).await.unwrap();

    assert_eq!(sequence(&pool, 10).await, Some((1, 1)));
    let seen = read(&pool, 0).await;
    assert_eq!(seen, rows(&[(1, "drew the higher id, commits first")]));

    commit(early).await.unwrap();
    assert!(has_unsequenced_events(&pool).await.unwrap());
    assert_eq!(sequence(&pool, 10).await, Some((2, 1)));
    assert_eq!(read(&pool, 1).await, rows(&[(2, "drew the lower id, commits last")]), "the reader went on from 1");
    assert!(!has_unsequenced_events(&pool).await.unwrap());
}

#[tokio::test]
async fn a_sequencer_that_waited_sees_what_was_committed_while_it_waited() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    log(&pool, "before").await;
    let mut holder = begin(&pool).await.unwrap();
    lock_sequencer(&mut *holder).await.unwrap();
    assert_eq!(sequence_events(&mut *holder, 10).await.unwrap().unwrap().last, 1);

    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { sequence(&pool, 10).await }
    });
    let is_waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(is_waiting).fetch_one(&pool).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    log(&pool, "while the other waited").await;
    assert_eq!(read(&pool, 0).await, [], "nothing is visible before its transaction commits");
    commit(holder).await.unwrap();

    assert_eq!(waiting.await.unwrap(), Some((2, 1)), "one statement for lock and update would have missed it");
    assert_eq!(read(&pool, 0).await, rows(&[(1, "before"), (2, "while the other waited")]));
}

#[tokio::test]
async fn positions_have_no_gaps_when_a_batch_or_a_change_rolls_back() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    log(&pool, "a").await;
    let mut undone = begin(&pool).await.unwrap();
    log(&mut *undone, "never happened").await;
    drop(undone);
    log(&pool, "b").await;

    let mut died = begin(&pool).await.unwrap();
    lock_sequencer(&mut *died).await.unwrap();
    assert_eq!(sequence_events(&mut *died, 10).await.unwrap().unwrap().count, 2);
    drop(died);
    assert_eq!(last_position(&pool).await.unwrap(), 0);

    assert_eq!(sequence(&pool, 1).await, Some((1, 1)), "a batch is bounded and goes by id");
    assert_eq!(sequence(&pool, 1).await, Some((2, 1)));
    assert_eq!(sequence(&pool, 1).await, None);
    assert_eq!(read(&pool, 0).await, rows(&[(1, "a"), (2, "b")]));
    assert_eq!(last_position(&pool).await.unwrap(), 2);
}

#[tokio::test]
async fn a_sequencer_with_nothing_to_do_writes_nothing() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let written = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";
    let mut transaction = begin(&pool).await.unwrap();
    lock_sequencer(&mut *transaction).await.unwrap();
    assert_eq!(sequence_events(&mut *transaction, 10).await.unwrap(), None);
    assert!(!sqlx::query_scalar::<_, bool>(written).fetch_one(&mut *transaction).await.unwrap());
    log(&mut *transaction, "a").await;
    assert!(sqlx::query_scalar::<_, bool>(written).fetch_one(&mut *transaction).await.unwrap());
}

#[tokio::test]
async fn a_listener_hears_the_last_position_once_it_is_committed() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let mut listener = PositionListener::connect(&pool).await.unwrap();
    log_events(&pool, &[event("a"), event("b"), event("c")]).await.unwrap();
    sequence(&pool, 2).await;
    sequence(&pool, 2).await;
    sequence(&pool, 2).await;
    log(&pool, "d").await;
    sequence(&pool, 2).await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(listener.next().await.unwrap());
    }
    assert_eq!(heard, [2, 3, 4], "an empty run says nothing");
}

#[tokio::test]
async fn a_page_ends_at_its_rows_or_bytes_but_holds_at_least_one() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    log_events(&pool, &[event("1234"), event("12345678"), event("1"), event("1")]).await.unwrap();
    sequence(&pool, 10).await;
    let mut pages = Vec::new();
    for (after, rows_max, bytes_max) in [(0, 3, 100), (0, 9, 4), (0, 9, 5), (1, 9, 1), (3, 9, 100), (4, 9, 9)] {
        let page = read_events(&pool, after, PageLimit { rows_max, bytes_max }).await.unwrap();
        pages.push(page.into_iter().map(|event| event.position).collect::<Vec<_>>());
    }
    assert_eq!(pages, [vec![1, 2, 3], vec![1], vec![1, 2], vec![2], vec![4], vec![]]);
}

#[tokio::test]
async fn a_replay_passes_over_what_was_not_asked_for_but_says_how_far_it_went() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id: i64 =
        sqlx::query_scalar("INSERT INTO repos (org_id, name, created_by) SELECT id, 'app', 'x' FROM orgs RETURNING id")
            .fetch_one(&pool)
            .await
            .unwrap();
    let of_repo = |kind: &str| NewEvent { repo_id: Some(repo_id), event_type: kind.into(), ..event("in the repo") };
    let other = NewEvent { subject: "acme/other".into(), ..event("elsewhere") };
    log_events(&pool, &[of_repo("a"), other.clone(), of_repo("b"), of_repo("a"), other, of_repo("a")]).await.unwrap();
    sequence(&pool, 10).await;

    let types = ["b".to_owned()];
    let brief = |rows: Vec<docstore_database::event_log::ReplayedEvent>| {
        rows.into_iter().map(|row| (row.position, row.payload.is_some())).collect::<Vec<_>>()
    };
    let repo = |types, after, up_to, limit| replay_repo(&pool, repo_id, types, after, up_to, limit);
    assert_eq!(brief(repo(None, 0, 6, WHOLE).await.unwrap()), [(1, true), (3, true), (4, true), (6, true)]);
    assert_eq!(brief(repo(Some(&types), 0, 5, WHOLE).await.unwrap()), [(1, false), (3, true), (4, false)]);
    let narrow = PageLimit { rows_max: 9, bytes_max: 1 };
    assert_eq!(
        brief(repo(Some(&types), 0, 6, narrow).await.unwrap()),
        [(1, false), (3, true)],
        "only what is sent counts as bytes"
    );

    let log = |subject, types, after| replay_log(&pool, subject, types, after, 6, WHOLE);
    assert_eq!(brief(log(Some("acme/other"), None, 1).await.unwrap()).iter().filter(|row| row.1).count(), 2);
    assert_eq!(brief(log(Some("acme"), None, 0).await.unwrap()).iter().filter(|row| row.1).count(), 0);
    assert_eq!(brief(log(None, Some(&types), 2).await.unwrap()), [(3, true), (4, false), (5, false), (6, false)]);
}

#[tokio::test]
async fn old_events_go_unless_they_wait_for_a_position_or_a_delivery() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    log_events(&pool, &[event("old 1"), event("old 2"), event("delivered"), event("undelivered"), event("young")])
        .await
        .unwrap();
    sequence(&pool, 10).await;
    log(&pool, "unsequenced").await;
    sqlx::raw_sql(
        "UPDATE event_log SET created_at = now() - interval '30 days 1 minute' WHERE payload <> 'young'; \
         UPDATE event_log SET created_at = now() - interval '29 days 23 hours' WHERE payload = 'young'; \
         INSERT INTO event_subscriptions (id, backend, config, created_by) VALUES (gen_random_uuid(), 'webhook', '{}', 'x'); \
         INSERT INTO event_outbox (id, event_log_id, subscription_id, delivered_at) \
         SELECT gen_random_uuid(), e.id, s.id, CASE e.payload WHEN 'delivered' THEN now() END \
         FROM event_log e, event_subscriptions s WHERE e.payload LIKE '%delivered'",
    )
    .execute(&pool)
    .await
    .unwrap();

    let mut mine = begin(&pool).await.unwrap();
    assert!(try_lock_retention(&mut *mine).await.unwrap());
    let mut other = begin(&pool).await.unwrap();
    assert!(!try_lock_retention(&mut *other).await.unwrap(), "one process at a time");
    assert_eq!(delete_events_older_than(&mut *mine, false, 30, 2).await.unwrap(), 2, "a batch is bounded");
    assert_eq!(delete_events_older_than(&mut *mine, false, 30, 2).await.unwrap(), 1);
    assert_eq!(delete_events_older_than(&mut *mine, false, 30, 2).await.unwrap(), 0);
    commit(mine).await.unwrap();

    assert_eq!(read(&pool, 0).await, rows(&[(4, "undelivered"), (5, "young")]), "older positions start at the oldest");
    assert_eq!(sequence(&pool, 10).await, Some((6, 1)));
}

#[tokio::test]
async fn the_audit_trail_is_told_newest_first_and_kept_by_a_clock_of_its_own() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id =
        Some(docstore_database::access::repo_facts(&pool, "default/default", "x").await.unwrap().unwrap().repo_id);
    let role = |payload: &str| NewEvent { event_type: "com.docstore.role.changed".into(), repo_id, ..event(payload) };
    let token = NewEvent { event_type: "com.docstore.token.created".into(), ..event("token") };
    log_events(&pool, &[role("one"), event("no audit"), token, role("two")]).await.unwrap();
    let page = |repo_id, before, limit| audit_page(&pool, repo_id, before, limit);
    assert_eq!(page(None, None, 10).await.unwrap(), [], "not before they have a position");
    sequence(&pool, 10).await;
    let told =
        |rows: Vec<(i64, String)>| rows.into_iter().map(|(place, what)| format!("{place} {what}")).collect::<Vec<_>>();
    assert_eq!(told(page(None, None, 2).await.unwrap()), ["4 two", "3 token"]);
    assert_eq!(told(page(None, Some(3), 2).await.unwrap()), ["1 one"]);
    assert_eq!(told(page(repo_id, None, 10).await.unwrap()), ["4 two", "1 one"]);

    sqlx::raw_sql("UPDATE event_log SET created_at = now() - interval '40 days'").execute(&pool).await.unwrap();
    assert_eq!(delete_events_older_than(&pool, false, 30, 10).await.unwrap(), 1);
    assert_eq!(delete_events_older_than(&pool, true, 41, 10).await.unwrap(), 0);
    assert_eq!(delete_events_older_than(&pool, true, 39, 10).await.unwrap(), 3);
}
