use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::sync::Semaphore;

use super::{World, alice};
use crate::{
    CacheLimits, Reason, Via,
    fetch::FetchError,
    remote::{Miss, Remote},
    testing::{Fault, TestClock, TestKey},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_rotated_key_is_found_at_once_and_the_old_one_ends() {
    let world = World::new().await;
    let old = world.issuer.id_token("alice@example.com");
    assert_eq!(world.ask_with_token(&old).await, alice(Via::IdToken));
    world.issuer.publish(vec![TestKey::rsa("rsa-2")]);
    world.clock.advance(10 * SECOND);
    assert_eq!(world.ask_with_token(&world.issuer.id_token("alice@example.com")).await, alice(Via::IdToken));
    assert_eq!(world.issuer.key_fetches(), 2);
    assert_eq!(world.ask_with_token(&old).await, Err(Reason::UnknownKey));
}

#[tokio::test]
async fn unknown_keys_cost_one_fetch_per_interval() {
    let world = World::new().await;
    let good = world.issuer.id_token("alice@example.com");
    assert_eq!(world.ask_with_token(&good).await, alice(Via::IdToken));
    let claims = world.issuer.person("alice@example.com");
    let stranger = TestKey::ec("stranger");
    for round in 0..100 {
        let token = stranger.named(&format!("made-up-{round}")).token(&claims);
        assert_eq!(world.ask_with_token(&token).await, Err(Reason::UnknownKey));
    }
    assert_eq!(world.issuer.key_fetches(), 1);
    world.clock.advance(10 * SECOND);
    for round in 0..100 {
        let token = stranger.named(&format!("made-up-{round}")).token(&claims);
        assert_eq!(world.ask_with_token(&token).await, Err(Reason::UnknownKey));
    }
    assert_eq!(world.issuer.key_fetches(), 2);
    assert_eq!(world.ask_with_token(&good).await, alice(Via::IdToken));
}

#[tokio::test]
async fn a_token_that_cannot_verify_costs_no_fetch() {
    let world = World::new().await;
    let claims = world.issuer.person("a@b");
    for header in [json!({ "alg": "none", "kid": "x" }), json!({ "alg": "RS256" })] {
        let token = crate::testing::compact(&header, &claims, |_| b"x".to_vec());
        assert!(world.ask_with_token(&token).await.is_err());
    }
    assert!(world.ask_with_token("a.b.c").await.is_err());
    assert!(world.ask_with_token(&world.issuer.iap_assertion("a@b")).await.is_err());
    assert!(world.ask_with_assertion(&world.issuer.id_token("a@b")).await.is_err());
    assert_eq!((world.issuer.key_fetches(), world.issuer.discovery_fetches()), (0, 0));
}

#[tokio::test]
async fn the_last_good_keys_serve_while_the_issuer_is_down() {
    let world = World::with(&[("DOCSTORE_AUTH_KEYS_STALE_SECONDS", "7200")]).await;
    let token = || world.issuer.id_token("alice@example.com");
    assert_eq!(world.ask_with_token(&token()).await, alice(Via::IdToken));
    for fault in [Fault::Status(503), Fault::Garbage, Fault::Oversized, Fault::Status(302), Fault::Status(404)] {
        world.issuer.set_fault(Some(fault));
        world.clock.advance(1000 * SECOND);
        assert_eq!(world.ask_with_token(&token()).await, alice(Via::IdToken), "{fault:?}");
    }
    // Now they are older than two hours, and nobody can tell any more.
    world.clock.advance(2300 * SECOND);
    assert_eq!(world.ask_with_token(&token()).await, Err(Reason::KeysUnavailable));
    world.issuer.set_fault(None);
    world.clock.advance(10 * SECOND);
    assert_eq!(world.ask_with_token(&token()).await, alice(Via::IdToken));
}

#[tokio::test]
async fn an_issuer_that_is_down_from_the_start_is_told_apart_from_a_wrong_token() {
    for fault in [Fault::Status(500), Fault::Garbage, Fault::Oversized] {
        let world = World::new().await;
        world.issuer.set_fault(Some(fault));
        let (token, assertion) = (world.issuer.id_token("a@b"), world.issuer.iap_assertion("a@b"));
        for _ in 0..5 {
            assert_eq!(world.ask_with_token(&token).await, Err(Reason::KeysUnavailable), "{fault:?}");
            assert_eq!(world.ask_with_assertion(&assertion).await, Err(Reason::KeysUnavailable), "{fault:?}");
        }
        assert_eq!((world.issuer.discovery_fetches(), world.issuer.key_fetches()), (1, 1), "{fault:?}");
        world.issuer.set_fault(None);
        assert_eq!(world.ask_with_token(&token).await, Err(Reason::KeysUnavailable), "too early to ask again");
        world.clock.advance(10 * SECOND);
        assert!(world.ask_with_token(&token).await.is_ok());
        assert!(world.ask_with_assertion(&assertion).await.is_ok());
    }
}

/// Time stands still but for timers: when nothing else can happen, the next one fires at once.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_never_answers_is_given_up() {
    let world = World::new().await;
    world.issuer.set_fault(Some(Fault::Silence));
    assert_eq!(world.ask_with_token(&world.issuer.id_token("a@b")).await, Err(Reason::KeysUnavailable));
}

#[tokio::test]
async fn a_discovery_document_about_another_issuer_lends_no_keys() {
    let (world, other) = (World::new().await, World::new().await);
    let alias = other.issuer.url().replace("127.0.0.1", "localhost");
    let authenticator = super::authenticator(&other.issuer, &world.clock, &[("OIDC_LOGIN_ISSUER", &alias)]);
    let claims = crate::testing::patched(other.issuer.person("a@b"), &json!({ "iss": alias }));
    let key = TestKey::rsa("k");
    other.issuer.publish(vec![key.clone()]);
    let token = format!("Bearer {}", key.token(&claims));
    assert_eq!(super::ask(&authenticator, &[("authorization", &token)]).await, Err(Reason::KeysUnavailable));
    assert_eq!((other.issuer.discovery_fetches(), other.issuer.key_fetches()), (1, 0));
}

#[tokio::test]
async fn a_discovery_document_cannot_lead_to_plain_http() {
    for (document, allowed, wanted) in [
        (json!({ "jwks_uri": "http://keys.example.invalid/" }), "false", false),
        (json!({ "token_endpoint": "http://id.example.invalid/token" }), "false", false),
        (json!({ "token_endpoint": "http://id.example.invalid/token" }), "true", true),
        (json!({ "token_endpoint": "https://id.example.invalid/token" }), "false", true),
    ] {
        let world = World::with(&[("DOCSTORE_AUTH_PLAIN_HTTP", allowed)]).await;
        world.issuer.patch_discovery(document.clone());
        let outcome = world.ask_with_token(&world.issuer.id_token("alice@example.com")).await;
        let wanted = if wanted { alice(Via::IdToken) } else { Err(Reason::KeysUnavailable) };
        assert_eq!(outcome, wanted, "{document}");
    }
}

/// A document that is a number: how many fetches have been made. Each fetch waits for a permit.
struct Counted {
    remote: Arc<Remote<usize>>,
    clock: TestClock,
    begun: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    broken: Arc<AtomicBool>,
}

fn counted() -> Counted {
    let clock = TestClock::at("2026-11-20T12:00:00Z");
    let (begun, gate, broken) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let limits = CacheLimits { fresh: 60 * SECOND, stale: 600 * SECOND, interval: 10 * SECOND };
    let (counter, permits, fault) = (Arc::clone(&begun), Arc::clone(&gate), Arc::clone(&broken));
    let remote = Remote::new("test", clock.clock(), limits, move || {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let (permits, fault) = (Arc::clone(&permits), Arc::clone(&fault));
        Box::pin(async move {
            permits.acquire().await.unwrap().forget();
            if fault.load(Ordering::SeqCst) { Err(FetchError::NoDiscovery) } else { Ok(number) }
        })
    });
    Counted { remote, clock, begun, gate, broken }
}

/// Lets every spawned task run until it waits for something; the runtime has one thread and a fair queue.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_at_once_share_one_fetch() {
    let counted = counted();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let remote = Arc::clone(&counted.remote);
            tokio::spawn(async move { remote.find(|number| Some(*number)).await })
        })
        .collect();
    settle().await;
    assert_eq!(counted.begun.load(Ordering::SeqCst), 1);
    counted.gate.add_permits(50);
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap(), Ok(1));
    }
    assert_eq!(counted.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn many_at_once_share_one_failure_too() {
    let counted = counted();
    counted.broken.store(true, Ordering::SeqCst);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let remote = Arc::clone(&counted.remote);
            tokio::spawn(async move { remote.find(|number| Some(*number)).await })
        })
        .collect();
    settle().await;
    counted.gate.add_permits(50);
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap(), Err(Miss::Unavailable));
    }
    assert_eq!(counted.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_hangs_up_neither_stops_a_fetch_nor_starts_another() {
    let counted = counted();
    for _ in 0..3 {
        let remote = Arc::clone(&counted.remote);
        let caller = tokio::spawn(async move { remote.find(|number| Some(*number)).await });
        settle().await;
        caller.abort();
        settle().await;
    }
    assert_eq!(counted.begun.load(Ordering::SeqCst), 1);
    counted.gate.add_permits(10);
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
    assert_eq!(counted.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn when_a_document_has_aged_one_caller_waits_and_the_others_do_not() {
    let counted = counted();
    counted.gate.add_permits(1);
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
    counted.clock.advance(60 * SECOND);
    let remote = Arc::clone(&counted.remote);
    let first = tokio::spawn(async move { remote.find(|number| Some(*number)).await });
    settle().await;
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1), "the last good one, without waiting");
    counted.gate.add_permits(1);
    assert_eq!(first.await.unwrap(), Ok(2));
    assert_eq!(counted.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_aged_document_is_not_asked_for_more_often_than_the_interval() {
    let counted = counted();
    counted.gate.add_permits(10);
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
    counted.clock.advance(60 * SECOND);
    counted.broken.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
    }
    assert_eq!(counted.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_clock_that_was_set_back_locks_nobody_out() {
    let counted = counted();
    counted.gate.add_permits(10);
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
    counted.clock.set_back(86_400 * SECOND);
    counted.broken.store(true, Ordering::SeqCst);
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
    counted.broken.store(false, Ordering::SeqCst);
    counted.clock.advance(10 * SECOND);
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(3));
    assert_eq!(counted.remote.find(|_| None::<usize>).await, Err(Miss::Unknown));
}

#[tokio::test]
async fn after_a_failed_look_an_unknown_key_is_no_verdict() {
    let counted = counted();
    counted.gate.add_permits(10);
    assert_eq!(counted.remote.find(|_| None::<usize>).await, Err(Miss::Unknown));
    counted.broken.store(true, Ordering::SeqCst);
    counted.clock.advance(10 * SECOND);
    assert_eq!(counted.remote.find(|_| None::<usize>).await, Err(Miss::Unavailable));
    assert_eq!(counted.remote.find(|number| Some(*number)).await, Ok(1));
}
