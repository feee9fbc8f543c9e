//! Signing in, against an issuer that runs in the test.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ds::{Context, Exit};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A DocStore server that needs a sign-in, and its issuer, in one.
struct Place {
    url: String,
    seen: Arc<Mutex<Seen>>,
    home: TempDir,
    now: Arc<Mutex<DateTime<Utc>>>,
}

#[derive(Default)]
struct Seen {
    forms: Vec<BTreeMap<String, String>>,
    tokens: Vec<String>,
    /// What the issuer puts into the next id token.
    nonce: String,
    refuse: bool,
}

type Shared = State<(Arc<Mutex<Seen>>, String)>;

fn id_token(claims: &Value) -> String {
    format!("header.{}.signature", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

async fn discovery(State((_, url)): Shared) -> Json<Value> {
    Json(json!({ "auth": {
        "type": "oauth", "client_id": "the-client", "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
    } }))
}

async fn token(State((seen, _)): Shared, Form(form): Form<BTreeMap<String, String>>) -> (StatusCode, Json<Value>) {
    let mut seen = seen.lock().unwrap();
    seen.forms.push(form);
    if seen.refuse {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
    }
    let count = seen.forms.len();
    let claims = json!({ "email": "zoe@example.org", "nonce": seen.nonce, "count": count });
    let answer = json!({ "id_token": id_token(&claims), "access_token": "access", "refresh_token": "refresh", "expires_in": 3600 });
    (StatusCode::OK, Json(answer))
}

async fn orgs(State((seen, _)): Shared, headers: HeaderMap) -> Json<Value> {
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    seen.lock().unwrap().tokens.push(token);
    Json(json!({ "orgs": [] }))
}

impl Place {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new()
            .route("/.well-known/ds-config", get(discovery))
            .route("/token", post(token))
            .route("/orgs", get(orgs))
            .with_state((seen.clone(), url.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let now = Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()));
        Self { url, seen, home: tempfile::tempdir().unwrap(), now }
    }

    /// Runs `ds`; the browser, if one is opened, does what `browser` says with the address.
    async fn ds(&self, arguments: &[&str], browser: impl Fn(&str) + Send + Sync + 'static) -> (Exit, String) {
        let (mut context, captured) = Context::for_test(self.home.path(), self.home.path());
        let now = self.now.clone();
        context.now = Arc::new(move || *now.lock().unwrap());
        context.open_browser = Arc::new(move |address| {
            browser(address);
            Ok(())
        });
        let line = std::iter::once("ds").chain(arguments.iter().copied()).map(Into::into);
        let exit = ds::run(&mut context, line).await;
        let text = format!("{}{}", captured.stdout(), captured.stderr());
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("/authorize?")).collect();
        (exit, lines.join("\n").replace(&self.url, "http://SERVER"))
    }

    /// A person who signs in, and whose browser is sent back with `answer`, where `STATE` stands for the right state.
    async fn sign_in(&self, answer: &str) -> (Exit, String) {
        let (answer, seen) = (answer.to_owned(), self.seen.clone());
        let addresses = Arc::new(Mutex::new(Vec::new()));
        let opened = addresses.clone();
        let url = self.url.clone();
        let outcome = self
            .ds(&["login", &url], move |address| {
                opened.lock().unwrap().push(address.to_owned());
                let query: BTreeMap<String, String> =
                    url::Url::parse(address).unwrap().query_pairs().into_owned().collect();
                let mut seen = seen.lock().unwrap();
                if seen.nonce.is_empty() {
                    seen.nonce.clone_from(&query["nonce"]);
                }
                let back = format!("{}{}", query["redirect_uri"], answer.replace("STATE", &query["state"]));
                tokio::spawn(
                    async move { reqwest::Client::builder().no_proxy().build().unwrap().get(back).send().await },
                );
            })
            .await;
        let address = addresses.lock().unwrap()[0].clone();
        let query: BTreeMap<String, String> = url::Url::parse(&address).unwrap().query_pairs().into_owned().collect();
        assert_eq!((query["client_id"].as_str(), query["scope"].as_str()), ("the-client", "openid email"));
        let seen = self.seen.lock().unwrap();
        if let Some(form) = seen.forms.first() {
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            assert_eq!((challenge, "S256"), (query["code_challenge"].clone(), query["code_challenge_method"].as_str()));
            assert_eq!(form["redirect_uri"], query["redirect_uri"]);
        }
        outcome
    }

    fn later(&self, seconds: i64) {
        *self.now.lock().unwrap() += TimeDelta::seconds(seconds);
    }

    fn last_token_count(&self) -> i64 {
        let seen = self.seen.lock().unwrap();
        let claims = seen.tokens.last().unwrap().split('.').nth(1).unwrap().to_owned();
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()["count"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn a_sign_in_is_kept_used_renewed_and_forgotten() {
    let place = Place::new().await;
    let (exit, text) = place.sign_in("?state=STATE&code=the-code").await;
    assert_eq!((exit, text.as_str()), (Exit::Success, "Open this address to sign in:\nLogged in as zoe@example.org"));
    assert_eq!(place.seen.lock().unwrap().forms[0]["code"], "the-code");
    let remote = ["--remote", &place.url];
    let orgs = async || place.ds(&[&["orgs"], remote.as_slice()].concat(), |_| {}).await;
    assert_eq!(orgs().await.0, Exit::Success);
    assert_eq!(place.last_token_count(), 1);
    assert_eq!(place.ds(&[&["whoami"], remote.as_slice()].concat(), |_| {}).await.1, "zoe@example.org");
    // Shortly before its end the token is renewed, and the new one is an id token again.
    place.later(3600 - 59);
    assert_eq!(orgs().await.0, Exit::Success);
    assert_eq!(place.last_token_count(), 2);
    assert_eq!(place.seen.lock().unwrap().forms[1]["grant_type"], "refresh_token");
    assert_eq!(orgs().await.0, Exit::Success);
    assert_eq!(place.last_token_count(), 2);
    // What cannot be renewed is told, and nothing is sent without a token.
    place.later(3600);
    place.seen.lock().unwrap().refuse = true;
    let (exit, text) = orgs().await;
    assert_eq!((exit, text.as_str()), (Exit::Auth, "error: sign-in expired: run `ds login http://SERVER`"));
    assert_eq!(place.seen.lock().unwrap().tokens.len(), 3);
    let (_, text) = place.ds(&["logout", &format!("{}/", place.url)], |_| {}).await;
    assert_eq!(text, "Logged out from http://SERVER");
    orgs().await;
    assert_eq!(place.seen.lock().unwrap().tokens.last().unwrap(), "");
}

#[tokio::test]
async fn only_the_answer_to_this_sign_in_is_taken() {
    let place = Place::new().await;
    let (exit, text) = place.sign_in("?state=another&code=x").await;
    assert_eq!(exit, Exit::Auth);
    assert!(text.ends_with("error: the answer belongs to another sign-in (wrong state)"), "{text}");
    let (exit, text) = place.sign_in("?state=STATE&error=access_denied").await;
    assert_eq!(exit, Exit::Auth);
    assert!(text.ends_with("error: the sign-in was not completed: access_denied"), "{text}");
    let place = Place::new().await;
    place.seen.lock().unwrap().nonce = "of another sign-in".into();
    let (exit, text) = place.sign_in("?state=STATE&code=x").await;
    assert_eq!(exit, Exit::Auth);
    assert!(text.ends_with("error: the sign-in was answered with a token for another one"), "{text}");
    assert!(!place.home.path().join(".config/ds/credentials.json").exists());
}

#[tokio::test]
async fn a_server_without_sign_in_needs_none() {
    let stage = crate::support::Stage::new().await;
    let alice = stage.person("alice");
    let seen = alice.ok(&["login", &stage.server.url()]).await;
    assert_eq!(seen, "http://SERVER does not require authentication\n");
    assert!(alice.fails(&["login"]).await.starts_with("error: no server given\n"));
}
