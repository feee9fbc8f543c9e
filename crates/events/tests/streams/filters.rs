//! What a stream leaves out, the same from memory and from the database.

use docstore_database::{event_log::NewEvent, testing::TestDatabase};
use docstore_events::{Filter, Scope, Settings, Start, SubscribeError, parse_types};

use crate::support::{event, everything, happen, process, repo, rows, settings, take};

#[tokio::test]
async fn a_filter_means_the_same_in_memory_and_in_the_database() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let repo_id = repo(&pool, "acme/app").await;
    let of = |subject: &str, repo_id, event_type: &str, payload: &str| NewEvent {
        subject: subject.into(),
        repo_id,
        event_type: event_type.into(),
        ..event(payload)
    };
    let happened = [
        of("/orgs/acme", None, "org", "1"),
        of("acme/app", Some(repo_id), "commit", "2"),
        of("acme/app2", None, "commit", "3"),
        of("acme/app", Some(repo_id), "branch", "4"),
        // The name, but not the repo.
        of("acme/app", None, "commit", "5"),
        of("acme/app", Some(repo_id), "commit", "6"),
        of("/orgs/acme", Some(repo_id), "end", "7"),
        of("acme/app", None, "end", "8"),
    ];
    let cases = [
        (Scope::All, "", vec![(1, "1"), (2, "2"), (3, "3"), (4, "4"), (5, "5"), (6, "6"), (7, "7"), (8, "8")]),
        (Scope::All, "org, branch,,org", vec![(1, "1"), (4, "4")]),
        (Scope::All, "com", vec![]),
        (Scope::Repo(repo_id), "", vec![(2, "2"), (4, "4"), (6, "6"), (7, "7")]),
        (Scope::Repo(repo_id), "commit,end", vec![(2, "2"), (6, "6"), (7, "7")]),
        (Scope::Subject("acme/app".into()), "", vec![(2, "2"), (4, "4"), (5, "5"), (6, "6"), (8, "8")]),
        (Scope::Subject("/orgs/acme".into()), "org", vec![(1, "1")]),
        (Scope::Subject("acme".into()), "", vec![]),
    ];
    for ring_events_max in [100, 1] {
        let events = process(&database, &Settings { ring_events_max, ..settings() }).await;
        if ring_events_max == 100 {
            happen(&pool, &events, &happened).await;
        }
        for (scope, types, expected) in &cases {
            let filter = Filter { scope: scope.clone(), types: parse_types(types) };
            let mut stream = events.hub.subscribe(filter, Start::After(0)).await.unwrap();
            let case = format!("ring of {ring_events_max}, {scope:?}, types '{types}'");
            assert_eq!(take(&mut stream, expected.len()).await, rows(expected), "{case}");
            // Nothing comes behind, before something does that everybody waits for.
            let last = expected.last().map_or(0, |(position, _)| *position);
            assert!(stream.position() >= last, "{case}");
        }
    }
}

#[tokio::test]
async fn a_filter_that_matches_nothing_does_not_hold_the_stream_back() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let first = process(&database, &settings()).await;
    let mut all = first.hub.subscribe(everything(), Start::Now).await.unwrap();
    // More than a page of a replay.
    let many: Vec<_> = (0..1200).map(|number| event(number.to_string())).collect();
    happen(&pool, &first, &many).await;
    take(&mut all, many.len()).await;

    let second = process(&database, &settings()).await;
    let filter = Filter { scope: Scope::All, types: vec!["rare".into()] };
    let mut rare = second.hub.subscribe(filter, Start::After(0)).await.unwrap();
    let happened = NewEvent { event_type: "rare".into(), ..event("found") };
    happen(&pool, &second, &[happened]).await;
    assert_eq!(take(&mut rare, 1).await, rows(&[(1201, "found")]));
}

#[tokio::test]
async fn what_no_event_can_have_is_refused_and_so_is_a_stream_too_many() {
    let database = TestDatabase::create().await;
    let events = process(&database, &Settings { streams_max: 1, ..settings() }).await;
    for filter in [
        Filter { scope: Scope::Subject("a\0".into()), types: vec![] },
        Filter { scope: Scope::All, types: vec!["\0".into()] },
    ] {
        assert!(matches!(events.hub.subscribe(filter, Start::Now).await, Err(SubscribeError::BadFilter)));
    }
    let first = events.hub.subscribe(everything(), Start::Now).await.unwrap();
    let refusal = events.hub.subscribe(everything(), Start::Now).await.unwrap_err();
    assert_eq!(refusal.to_string(), "1 event streams are open, which is the limit");
    drop(first);
    events.hub.subscribe(everything(), Start::Now).await.unwrap();
}
