//! A stand-in for an OpenID provider and for Identity-Aware Proxy, on loopback and with the real protocols.
//!
//! [`TestIssuer`] serves discovery, keys, an authorization page that agrees at once, and a token endpoint that checks code,
//! client, redirect address and PKCE. It mints tokens with any claims, can lose its keys, answer nonsense or nothing, and
//! counts what is asked of it. Keys are made at run time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "tests stop at the first surprise"
)]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    },
};
use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};
use url::{Url, form_urlencoded};

use crate::{Clock, Random};

/// The client that [`TestIssuer`] knows.
pub const CLIENT_ID: &str = "docstore-test-client";

/// Its secret.
pub const CLIENT_SECRET: &str = "not-a-secret";

/// The audience for assertions of the stand-in proxy.
pub const IAP_AUDIENCE: &str = "/projects/1/global/backendServices/2";

/// A clock that stands still until it is told to move.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<Mutex<DateTime<Utc>>>);

impl TestClock {
    /// A clock at a moment in RFC 3339.
    #[must_use]
    pub fn at(moment: &str) -> Self {
        Self(Arc::new(Mutex::new(moment.parse().expect("an RFC 3339 moment"))))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    /// Sets it back.
    pub fn set_back(&self, by: Duration) {
        *self.0.lock().unwrap() -= by;
    }

    /// The clock to hand in.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }
}

/// A source of "random" bytes that counts, so that values differ and are the same in every run.
#[must_use]
pub fn counting_random() -> Random {
    let count = Arc::new(AtomicU64::new(1));
    Arc::new(move |buffer| {
        let seed = count.fetch_add(1, Ordering::Relaxed);
        let stream = (0_u64..).flat_map(|block| {
            let digest: [u8; 32] = Sha256::digest([seed.to_be_bytes(), block.to_be_bytes()].concat()).into();
            digest
        });
        buffer.iter_mut().zip(stream).for_each(|(byte, random)| *byte = random);
    })
}

/// A signing key with its id.
#[derive(Clone)]
pub struct TestKey {
    kid: String,
    pair: Pair,
}

#[derive(Clone)]
enum Pair {
    Rsa(Arc<RsaKeyPair>),
    Ec(Arc<EcdsaKeyPair>),
}

impl TestKey {
    /// A new RSA key of 2048 bits, for RS256.
    #[must_use]
    pub fn rsa(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Rsa(Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())) }
    }

    /// A new P-256 key, for ES256.
    #[must_use]
    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::Ec(Arc::new(pair)) }
    }

    /// The same key under another id.
    #[must_use]
    pub fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: self.pair.clone() }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that the key is for.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    /// The public half as bytes: the modulus, or the uncompressed point.
    #[must_use]
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n,
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The public half as it is published (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let bytes = self.public_bytes();
        match &self.pair {
            Pair::Rsa(pair) => {
                let exponent = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).e;
                json!({
                    "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid,
                    "n": URL_SAFE_NO_PAD.encode(bytes), "e": URL_SAFE_NO_PAD.encode(exponent),
                })
            }
            Pair::Ec(_) => json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid,
                "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]), "y": URL_SAFE_NO_PAD.encode(&bytes[33..]),
            }),
        }
    }

    /// A signature as a token carries it.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }

    /// A token with these claims, signed as it should be.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "kid": self.kid, "typ": "JWT" });
        compact(&header, claims, |message| self.sign(message))
    }
}

/// A token with any header, claims and signature.
pub fn compact(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the claims with others put over them; `null` takes one away.
#[must_use]
pub fn patched(mut claims: Value, patch: &Value) -> Value {
    let object = claims.as_object_mut().expect("claims are an object");
    for (name, value) in patch.as_object().expect("a patch is an object") {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// What is wrong with every answer of a [`TestIssuer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has this status, although the document is there.
    Status(u16),
    /// It sends a page with status 200 that is none of its documents.
    Garbage,
    /// It is longer than anybody should read, although the document is there.
    Oversized,
    /// It takes the request and never answers.
    Silence,
}

/// A login that was agreed to and whose code was not yet used.
struct Pending {
    redirect_uri: String,
    challenge: String,
    nonce: String,
    email: String,
}

struct Shared {
    url: String,
    clock: Clock,
    keys: Mutex<Vec<TestKey>>,
    fault: Mutex<Option<Fault>>,
    pending: Mutex<HashMap<String, Pending>>,
    discovery_patch: Mutex<Value>,
    token_patch: Mutex<Value>,
    without_id_token: Mutex<bool>,
    email: Mutex<String>,
    codes: AtomicU64,
    key_fetches: AtomicUsize,
    discovery_fetches: AtomicUsize,
}

/// An OpenID provider on loopback. It stops when it is dropped.
pub struct TestIssuer {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestIssuer {
    /// Starts a provider with these keys; its tokens carry the time of this clock.
    pub async fn start(clock: Clock, keys: Vec<TestKey>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            clock,
            keys: Mutex::new(keys),
            fault: Mutex::new(None),
            pending: Mutex::default(),
            discovery_patch: Mutex::new(json!({})),
            token_patch: Mutex::new(json!({})),
            without_id_token: Mutex::new(false),
            email: Mutex::new("alice@example.com".to_owned()),
            codes: AtomicU64::new(1),
            key_fetches: AtomicUsize::new(0),
            discovery_fetches: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys_document))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    /// Its address, which is also its name as an issuer.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The environment of a server that logs people in here and takes this issuer's keys for the proxy's, too.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let url = self.url();
        [
            ("OIDC_LOGIN_ISSUER", url.to_owned()),
            ("OAUTH_CLIENT_ID", CLIENT_ID.to_owned()),
            ("OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("SESSION_SECRET", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned()),
            ("IAP_AUDIENCE", IAP_AUDIENCE.to_owned()),
            ("IAP_JWKS_URL", format!("{url}/keys")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: Vec<TestKey>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    /// Breaks or mends it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// Puts these entries over those of the discovery document.
    pub fn patch_discovery(&self, patch: Value) {
        *self.shared.discovery_patch.lock().unwrap() = patch;
    }

    /// Puts these claims over those of the id tokens that the token endpoint sends.
    pub fn patch_logins(&self, patch: Value) {
        *self.shared.token_patch.lock().unwrap() = patch;
    }

    /// Whether the token endpoint leaves out the id token.
    pub fn leave_out_id_token(&self, leave_out: bool) {
        *self.shared.without_id_token.lock().unwrap() = leave_out;
    }

    /// Who agrees at the authorization page.
    pub fn set_person(&self, email: &str) {
        email.clone_into(&mut self.shared.email.lock().unwrap());
    }

    /// How often the keys were asked for.
    #[must_use]
    pub fn key_fetches(&self) -> usize {
        self.shared.key_fetches.load(Ordering::SeqCst)
    }

    /// How often the discovery document was asked for.
    #[must_use]
    pub fn discovery_fetches(&self) -> usize {
        self.shared.discovery_fetches.load(Ordering::SeqCst)
    }

    /// The claims of a good id token.
    #[must_use]
    pub fn person(&self, email: &str) -> Value {
        self.shared.person(email)
    }

    /// The claims of a good assertion of the proxy.
    #[must_use]
    pub fn assertion(&self, email: &str) -> Value {
        patched(
            self.person(email),
            &json!({ "iss": "https://cloud.google.com/iap", "aud": IAP_AUDIENCE, "email_verified": null }),
        )
    }

    /// A good id token, signed with the first key.
    #[must_use]
    pub fn id_token(&self, email: &str) -> String {
        self.shared.first_key().token(&self.person(email))
    }

    /// A good assertion of the proxy, signed with the first key.
    #[must_use]
    pub fn iap_assertion(&self, email: &str) -> String {
        self.shared.first_key().token(&self.assertion(email))
    }

    /// Agrees to a login as the page at this address would, and returns the address that it sends the browser to.
    ///
    /// Panics when the address lacks something that the protocol asks for.
    #[must_use]
    pub fn agree(&self, authorization_url: &str) -> String {
        let url = Url::parse(authorization_url).unwrap();
        assert_eq!(url.path(), "/authorize");
        self.shared.agree(&url.query_pairs().into_owned().collect())
    }
}

impl Shared {
    fn first_key(&self) -> TestKey {
        self.keys.lock().unwrap().first().expect("the issuer has a key").clone()
    }

    fn person(&self, email: &str) -> Value {
        let now = (self.clock)().timestamp();
        json!({
            "iss": self.url, "aud": CLIENT_ID, "sub": format!("subject-of-{email}"), "iat": now, "exp": now + 3600,
            "email": email, "email_verified": true,
        })
    }

    fn agree(&self, asked: &HashMap<String, String>) -> String {
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT_ID);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        let code = format!("code-{}", self.codes.fetch_add(1, Ordering::Relaxed));
        let pending = Pending {
            redirect_uri: asked["redirect_uri"].clone(),
            challenge: asked["code_challenge"].clone(),
            nonce: asked.get("nonce").cloned().unwrap_or_default(),
            email: self.email.lock().unwrap().clone(),
        };
        self.pending.lock().unwrap().insert(code.clone(), pending);
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        back.query_pairs_mut().append_pair("state", &asked["state"]).append_pair("code", &code);
        back.into()
    }

    async fn answer(&self, document: Value) -> Response {
        let fault = *self.fault.lock().unwrap();
        match fault {
            None => axum::Json(document).into_response(),
            Some(Fault::Status(status)) => {
                (StatusCode::from_u16(status).unwrap(), axum::Json(document)).into_response()
            }
            Some(Fault::Garbage) => "<html>Sign in to this network</html>".into_response(),
            Some(Fault::Oversized) => format!("{document}{}", " ".repeat(1024 * 1024)).into_response(),
            Some(Fault::Silence) => std::future::pending().await,
        }
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.discovery_fetches.fetch_add(1, Ordering::SeqCst);
    let url = &shared.url;
    let document = json!({
        "issuer": url, "jwks_uri": format!("{url}/keys"), "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    });
    let document = patched(document, &shared.discovery_patch.lock().unwrap().clone());
    shared.answer(document).await
}

async fn keys_document(State(shared): State<Arc<Shared>>) -> Response {
    shared.key_fetches.fetch_add(1, Ordering::SeqCst);
    let keys: Vec<Value> = shared.keys.lock().unwrap().iter().map(TestKey::jwk).collect();
    shared.answer(json!({ "keys": keys })).await
}

async fn authorize(State(shared): State<Arc<Shared>>, Query(asked): Query<HashMap<String, String>>) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, shared.agree(&asked))]).into_response()
}

/// RFC 6749 §4.1.3 and RFC 7636 §4.6: a code is good once, for its client, address and verifier.
async fn token(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let pending = shared.pending.lock().unwrap().remove(field("code"));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    let good = field("grant_type") == "authorization_code"
        && field("client_id") == CLIENT_ID
        && field("client_secret") == CLIENT_SECRET;
    let pending = pending
        .filter(|pending| good && pending.redirect_uri == field("redirect_uri") && pending.challenge == challenge);
    let Some(pending) = pending else {
        return (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": "invalid_grant" }))).into_response();
    };
    let claims = patched(shared.person(&pending.email), &json!({ "nonce": pending.nonce }));
    let claims = patched(claims, &shared.token_patch.lock().unwrap().clone());
    let mut document = json!({ "access_token": "unused", "token_type": "Bearer", "expires_in": 3600 });
    if !*shared.without_id_token.lock().unwrap() {
        document["id_token"] = Value::String(shared.first_key().token(&claims));
    }
    shared.answer(document).await
}
