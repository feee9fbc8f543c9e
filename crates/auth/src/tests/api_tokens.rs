use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta, Utc};
use docstore_models::{Action, BranchPattern, Identity};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::header_map;
use crate::{
    Authenticator, Caller, Ended, FoundToken, LiveSession, Lookup, Need, Reason, Scope, Settings, TokenDigest,
    TokenStore, TokensUnavailable, Via, new_token,
    testing::{TestClock, counting_random},
};

/// A store with one token in it.
#[derive(Default)]
struct OneToken {
    token: Mutex<Option<FoundToken>>,
    is_away: Mutex<bool>,
    uses: Mutex<usize>,
}

impl TokenStore for OneToken {
    fn find<'a>(&'a self, digest: &'a TokenDigest) -> Lookup<'a> {
        let found = self.token.lock().unwrap().clone().filter(|token| token.digest == digest.as_bytes());
        let answer = if *self.is_away.lock().unwrap() { Err(TokensUnavailable) } else { Ok(found) };
        Box::pin(std::future::ready(answer))
    }

    fn session_ended<'a>(&'a self, _session: &'a LiveSession) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn used(&self, _token: &FoundToken, _now: DateTime<Utc>) {
        *self.uses.lock().unwrap() += 1;
    }
}

struct World {
    clock: TestClock,
    store: Arc<OneToken>,
    authenticator: Authenticator,
    secret: String,
}

impl World {
    /// A development server, where tokens count before the development identity.
    fn new(identity: &str, scope: Scope) -> Self {
        let clock = TestClock::at("2026-11-20T12:00:00Z");
        let (secret, digest) = new_token(&counting_random());
        let store = Arc::new(OneToken::default());
        *store.token.lock().unwrap() = Some(FoundToken {
            token_id: Uuid::nil(),
            digest: digest.as_bytes().to_vec(),
            identity: Identity::parse(identity).unwrap(),
            expires_at: clock.clock()() + TimeDelta::hours(1),
            last_used_at: None,
            revoked: false,
            scope,
        });
        let settings = Settings::development(Identity::parse("dev@example.com").unwrap()).unwrap();
        let tokens: Arc<dyn TokenStore> = store.clone();
        let authenticator = Authenticator::new(settings, clock.clock(), counting_random(), Some(tokens)).unwrap();
        Self { clock, store, authenticator, secret: secret.expose_secret().to_owned() }
    }

    async fn ask(&self, need: Need) -> Result<Caller, Reason> {
        self.ask_with(&self.secret, need).await
    }

    async fn ask_with(&self, token: &str, need: Need) -> Result<Caller, Reason> {
        let headers = header_map(&[("authorization", &format!("Bearer {token}"))]);
        self.authenticator.authenticate(&headers, need).await.map_err(|refusal| refusal.reason())
    }

    fn change(&self, change: impl FnOnce(&mut FoundToken)) {
        change(self.store.token.lock().unwrap().as_mut().unwrap());
    }
}

fn scope(actions: &[Action]) -> Scope {
    Scope { repos: None, branches: None, actions: actions.to_vec() }
}

#[tokio::test]
async fn a_token_stands_for_its_owner_where_its_scope_holds_the_need() {
    let world = World::new("alice@example.com", scope(&[Action::Read, Action::Issues]));
    let caller = world.ask(Need::Action(Action::Issues)).await.unwrap();
    assert_eq!((caller.identity().as_str(), caller.via()), ("alice@example.com", Via::Token));
    assert!(world.ask(Need::Nothing).await.is_ok());
    for action in Action::ALL.iter().filter(|action| !matches!(action, Action::Read | Action::Issues)) {
        assert_eq!(world.ask(Need::Action(*action)).await, Err(Reason::OutOfScope), "{action}");
    }
    assert_eq!(world.ask(Need::Login).await, Err(Reason::LoginNeeded));
    // Whoever sends no token is whom they were before.
    let nobody = world.authenticator.authenticate(&header_map(&[]), Need::Login).await.unwrap();
    assert_eq!(nobody.identity().as_str(), "dev@example.com");
}

#[tokio::test]
async fn a_token_that_is_over_opens_nothing() {
    let world = World::new("alice@example.com", scope(&[Action::Read]));
    let read = Need::Action(Action::Read);
    *world.store.is_away.lock().unwrap() = true;
    assert_eq!(world.ask(read).await, Err(Reason::TokensUnavailable));
    *world.store.is_away.lock().unwrap() = false;
    world.change(|token| token.revoked = true);
    assert_eq!(world.ask(read).await, Err(Reason::Revoked));
    world.change(|token| token.revoked = false);
    world.change(|token| token.expires_at = world.clock.clock()());
    assert_eq!(world.ask(read).await, Err(Reason::Expired));
    assert_eq!(*world.store.uses.lock().unwrap(), 0, "what is refused is no use");
    let (other, _) = new_token(&counting_random());
    let damaged = format!("{}0", &world.secret[..75]);
    for text in [damaged.as_str(), "dst_", "dst_x"] {
        assert_eq!(world.ask_with(text, read).await, Err(Reason::InvalidToken), "{text}");
    }
    world.change(|token| token.digest = vec![0; 32]);
    assert_eq!(world.ask_with(other.expose_secret(), read).await, Err(Reason::InvalidToken));
}

#[tokio::test]
async fn a_scope_holds_the_repos_and_branches_that_it_names() {
    let narrow = Scope {
        repos: Some(vec![7]),
        branches: Some(vec![BranchPattern::parse("bot/*").unwrap()]),
        actions: vec![Action::Read],
    };
    let world = World::new("agent:fixer/alice@example.com", narrow);
    let caller = world.ask(Need::Nothing).await.unwrap();
    assert_eq!(caller.rights_of().as_str(), "alice@example.com");
    assert!(caller.covers_repo(7) && !caller.covers_repo(8));
    assert!(caller.covers_branch("bot/x") && !caller.covers_branch("main"));
    assert!(!caller.covers_everything());
    let world = World::new("alice@example.com", scope(&[]));
    let caller = world.ask(Need::Nothing).await.unwrap();
    assert!(caller.covers_repo(8) && caller.covers_branch("main") && caller.covers_everything());
    // Nothing is less than everything.
    world.change(|token| token.scope.repos = Some(Vec::new()));
    assert!(!world.ask(Need::Nothing).await.unwrap().covers_repo(8));
}
