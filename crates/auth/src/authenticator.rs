use std::{sync::Arc, time::Duration};

use docstore_models::{Action, Identity};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::{
    Caller, Clock, Credential, DsConfig, Login, Random, Reason, Refusal, Settings, TOKEN_PREFIX, TokenDigest, Tokens,
    Via,
    caller::person,
    fetch,
    keys::KeySet,
    login::Parts,
    provider::{Provider, fetch_keys},
    remote::Remote,
    session::{LiveSession, SESSION_COOKIE, Sessions, cookie_bytes, cookies},
    settings::IapIssuer,
    token::{Rules, Unverified},
};

/// The header in which Identity-Aware Proxy vouches for a person.
pub const IAP_ASSERTION_HEADER: &str = "x-goog-iap-jwt-assertion";

/// The header with which a client names a person in development (contract, server §2.4).
pub const IDENTITY_HEADER: &str = "x-docstore-identity";

/// The most good sessions of one request that are looked up: a browser holds one, and sometimes one of before.
const SESSIONS_ASKED_MAX: usize = 4;

/// The HTTP client for outward calls could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for identity providers cannot be made")]
pub struct CannotStart(#[from] reqwest::Error);

/// Turns the headers of a request into a caller. Cheap to clone; clones share caches.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    settings: Settings,
    clock: Clock,
    provider: Option<Arc<Provider>>,
    sessions: Option<Arc<Sessions>>,
    iap: Option<(IapIssuer, Arc<Remote<KeySet>>)>,
    login: Login,
    tokens: Option<Tokens>,
}

/// What a request is about to do, as far as a credential may be too narrow for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To know who is asking, and nothing else.
    Nothing,
    /// To do something of this kind.
    Action(Action),
    /// To do what no API token is good for: what would give more than it has, and whatever did not say its action.
    Login,
}

/// A bearer, and how it is to be judged.
enum Bearer<'h> {
    /// One of ours, by its prefix.
    Token(&'h str),
    /// A JSON Web Token.
    Signed(Unverified<'h>, Issuer<'h>),
}

/// Whose keys a token is to be verified with.
enum Issuer<'a> {
    Login(&'a Provider),
    Jobs,
    Unknown,
}

impl Authenticator {
    /// Makes an authenticator. Nothing is fetched yet. Without tokens, API tokens are unknown.
    ///
    /// # Errors
    /// When an outward client is needed and cannot be made, for example without root certificates.
    pub fn new(settings: Settings, clock: Clock, random: Random, tokens: Option<Tokens>) -> Result<Self, CannotStart> {
        let client = if settings.login.is_some() || settings.iap.is_some() {
            Some(fetch::client(settings.fetch_timeout)?)
        } else {
            None
        };
        let provider = settings
            .login
            .clone()
            .zip(client.as_ref())
            .map(|(provider, client)| Arc::new(Provider::new(provider, client, &clock, settings.keys)));
        let iap = settings.iap.clone().zip(client.clone()).map(|(iap, client)| {
            let url = iap.jwks_url.clone();
            let keys = Remote::new("iap_keys", Arc::clone(&clock), settings.keys, move || {
                let (client, url) = (client.clone(), url.clone());
                Box::pin(async move { fetch_keys(&client, url).await })
            });
            (iap, keys)
        });
        let sessions = settings.session_key.clone().map(|key| Arc::new(Sessions::new(key, settings.session_life)));
        let login = Login::new(
            Parts::new(provider.as_ref(), sessions.as_ref(), client.as_ref()),
            Arc::clone(&clock),
            random,
            settings.leeway,
            settings.credential_bytes_max,
        );
        Ok(Self(Arc::new(Inner { settings, clock, provider, sessions, iap, login, tokens })))
    }

    /// Decides who sends a request with these headers, and whether the credential is good for what the request is about to
    /// do.
    ///
    /// In order: API token; development identity; IAP assertion; bearer; session cookie. The first that is there decides: if
    /// it is wrong, the others are not tried (contract, server §2.1). An API token goes first, since whoever sends one asks
    /// for no more than its scope. An assertion goes before other bearers because the proxy that attached it strips what
    /// clients send under that name, and passes on whatever `Authorization` it was sent; only a job token goes before it.
    ///
    /// # Errors
    /// When nobody is proved to ask, or the scope of the token does not hold what is needed. The refusal has been logged and
    /// counted.
    pub async fn authenticate(&self, headers: &HeaderMap, need: Need) -> Result<Caller, Refusal> {
        let outcome = self.decide(headers, need).await;
        match &outcome {
            Ok(caller) => metrics::counter!("docstore_auth_callers_total", "via" => caller.via().as_str()).increment(1),
            Err(refusal) => refusal.log(),
        }
        outcome
    }

    /// How much longer what a caller sent is good, if it is not for ever.
    #[must_use]
    pub fn time_left(&self, caller: &Caller) -> Option<Duration> {
        let expires_at = caller.expires_at()?;
        Some((expires_at - (self.0.clock)()).to_std().unwrap_or_default())
    }

    /// How a client is to log in.
    #[must_use]
    pub fn discovery(&self) -> DsConfig {
        self.0.settings.published.clone()
    }

    /// The browser login.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.0.login
    }

    /// The ways in, for the log at start. When there are none, nobody can sign in.
    #[must_use]
    pub fn methods(&self) -> Vec<Via> {
        if self.0.settings.is_development() {
            return vec![Via::Development];
        }
        let ways = [
            self.0.iap.as_ref().map(|_| Via::Iap),
            self.0.provider.as_ref().map(|_| Via::IdToken),
            self.0.sessions.as_ref().map(|_| Via::Session),
        ];
        ways.into_iter().flatten().collect()
    }

    async fn decide(&self, headers: &HeaderMap, need: Need) -> Result<Caller, Refusal> {
        let inner = &*self.0;
        let refusal = |credential| move |reason| Refusal::new(reason, credential);
        let bearer = self.bearer(headers);
        if let Ok(Some(Bearer::Token(token))) = bearer {
            return self.judge_token(token, need).await.map_err(refusal(Credential::Token));
        }
        if let Some(identity) = &inner.settings.development {
            return Ok(Caller::verified(played(headers).unwrap_or_else(|| identity.clone()), Via::Development));
        }
        if let Some((iap, keys)) = &inner.iap
            && !matches!(bearer, Ok(Some(Bearer::Signed(_, Issuer::Jobs))))
            && let Some(assertion) = self.assertion(headers).map_err(refusal(Credential::Iap))?
        {
            return self.judge_assertion(iap, keys, assertion).await.map_err(refusal(Credential::Iap));
        }
        if let Some(Bearer::Signed(token, issuer)) = bearer.map_err(refusal(Credential::Bearer))? {
            return self.judge_bearer(&token, issuer).await.map_err(refusal(Credential::Bearer));
        }
        if let Some(sessions) = &inner.sessions
            && let Some(judged) = self.judge_session(sessions, headers).await
        {
            return judged.map_err(refusal(Credential::Session));
        }
        Err(Refusal::new(Reason::MissingToken, Credential::None))
    }

    /// The bearer, if there is one, and how to verify it: the one place that picks a verifier.
    fn bearer<'h>(&'h self, headers: &'h HeaderMap) -> Result<Option<Bearer<'h>>, Reason> {
        let value = only(headers, AUTHORIZATION.as_str(), Reason::InvalidIdToken)?;
        // Exactly one space, as on the wire: "Bearer " and at least one byte.
        let token = value.map(HeaderValue::as_bytes).and_then(|value| value.strip_prefix(b"Bearer "));
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let token = self.bounded(token, Reason::InvalidIdToken)?;
        // No JSON Web Token begins so: its first bytes are base64url of `{"`.
        if token.starts_with(TOKEN_PREFIX) {
            return Ok(Some(Bearer::Token(token)));
        }
        let token = Unverified::parse(token).ok_or(Reason::InvalidIdToken)?;
        let claimed = token.claimed_issuer().ok_or(Reason::InvalidIdToken)?;
        let issuer = match &self.0.provider {
            _ if claimed == self.0.settings.job.issuer => Issuer::Jobs,
            Some(provider) if provider.settings().issuers.contains(&claimed) => Issuer::Login(provider),
            _ => Issuer::Unknown,
        };
        Ok(Some(Bearer::Signed(token, issuer)))
    }

    async fn judge_token(&self, text: &str, need: Need) -> Result<Caller, Reason> {
        let digest = TokenDigest::of(text).ok_or(Reason::InvalidToken)?;
        let tokens = self.0.tokens.as_ref().ok_or(Reason::InvalidToken)?;
        let found = tokens.find(&digest).await.map_err(|_| Reason::TokensUnavailable)?;
        let token = found.filter(|token| token.is(&digest)).ok_or(Reason::InvalidToken)?;
        let now = (self.0.clock)();
        if token.revoked {
            return Err(Reason::Revoked);
        }
        if now >= token.expires_at {
            return Err(Reason::Expired);
        }
        tokens.used(&token, now);
        match need {
            Need::Nothing => Ok(Caller::with_token(token)),
            Need::Action(action) if token.scope.actions.contains(&action) => Ok(Caller::with_token(token)),
            Need::Action(_) => Err(Reason::OutOfScope),
            Need::Login => Err(Reason::LoginNeeded),
        }
    }

    async fn judge_bearer(&self, token: &Unverified<'_>, issuer: Issuer<'_>) -> Result<Caller, Reason> {
        let provider = match issuer {
            Issuer::Login(provider) => provider,
            Issuer::Jobs => return Err(Reason::JobTokenNotAccepted),
            Issuer::Unknown => return Err(Reason::UnknownIssuer),
        };
        let rules = Rules {
            issuers: &provider.settings().issuers,
            audiences: Some(&provider.settings().audiences),
            email_verified: true,
            nonce: None,
            leeway: self.0.settings.leeway,
        };
        let now = (self.0.clock)();
        let (identity, expires_at) = token.verify(provider.keys(), &rules, now, Reason::InvalidIdToken).await?;
        Ok(Caller::verified(identity, Via::IdToken).until(expires_at))
    }

    /// The assertion of the proxy; an empty one counts as none.
    fn assertion<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, Reason> {
        let value = only(headers, IAP_ASSERTION_HEADER, Reason::InvalidJwt)?;
        let value = value.map(HeaderValue::as_bytes).filter(|value| !value.is_empty());
        value.map(|value| self.bounded(value, Reason::InvalidJwt)).transpose()
    }

    async fn judge_assertion(
        &self,
        iap: &IapIssuer,
        keys: &Arc<Remote<KeySet>>,
        assertion: &str,
    ) -> Result<Caller, Reason> {
        let unverified = Unverified::parse(assertion).ok_or(Reason::InvalidJwt)?;
        // Another issuer's token in this header is not worth a look at the keys.
        if !unverified.claimed_issuer().is_some_and(|issuer| iap.issuers.contains(&issuer)) {
            return Err(Reason::UnknownIssuer);
        }
        let rules = Rules {
            issuers: &iap.issuers,
            audiences: iap.audiences.as_deref(),
            email_verified: false,
            nonce: None,
            leeway: self.0.settings.leeway,
        };
        let (identity, expires_at) = unverified.verify(keys, &rules, (self.0.clock)(), Reason::InvalidJwt).await?;
        Ok(Caller::verified(identity, Via::Iap).until(expires_at))
    }

    /// Judges the session cookies; `None` without one. A browser may hold several of one name, set for other paths or
    /// by a neighbouring host: the first good one counts, and of bad ones the first says why.
    async fn judge_session(&self, sessions: &Sessions, headers: &HeaderMap) -> Option<Result<Caller, Reason>> {
        if cookie_bytes(headers) > self.0.settings.credential_bytes_max {
            return Some(Err(Reason::TooLarge));
        }
        let now = (self.0.clock)();
        let mut why = None;
        let mut asked = 0;
        for value in cookies(headers, SESSION_COOKIE) {
            let judged = match sessions.read(value, now) {
                Ok(_) if asked == SESSIONS_ASKED_MAX => break,
                Ok(session) => {
                    asked += 1;
                    self.ask_whether_ended(session).await
                }
                Err(reason) => Err(reason),
            };
            match judged {
                Ok(session) => return Some(Ok(Caller::with_session(&session))),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        why.map(Err)
    }

    async fn ask_whether_ended(&self, session: LiveSession) -> Result<LiveSession, Reason> {
        let Some(store) = &self.0.tokens else { return Ok(session) };
        match store.session_ended(&session).await {
            Ok(false) => Ok(session),
            Ok(true) => Err(Reason::SessionEnded),
            Err(_) => Err(Reason::TokensUnavailable),
        }
    }

    /// The sessions that a browser holds: ours by their signature, and not over. Whether they were ended does not matter.
    #[must_use]
    pub fn sessions(&self, headers: &HeaderMap) -> Vec<LiveSession> {
        let Some(sessions) = &self.0.sessions else { return Vec::new() };
        if cookie_bytes(headers) > self.0.settings.credential_bytes_max {
            return Vec::new();
        }
        let now = (self.0.clock)();
        let held = cookies(headers, SESSION_COOKIE).filter_map(|value| sessions.read(value, now).ok());
        held.take(SESSIONS_ASKED_MAX).collect()
    }

    /// The text of a credential that is small enough to be decoded.
    fn bounded<'h>(&self, value: &'h [u8], unreadable: Reason) -> Result<&'h str, Reason> {
        if value.len() > self.0.settings.credential_bytes_max {
            return Err(Reason::TooLarge);
        }
        std::str::from_utf8(value).map_err(|_| unreadable)
    }
}

/// The value of a header that may be there once: with two, which one counts would be anybody's guess.
fn only<'h>(headers: &'h HeaderMap, name: &str, twice: Reason) -> Result<Option<&'h HeaderValue>, Reason> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(twice),
        (value, None) => Ok(value),
    }
}

/// Whom a client plays in development. The original client sends the bare name of the operating system's user with every
/// request and relies on that being ignored, so only what looks like an e-mail address counts.
fn played(headers: &HeaderMap) -> Option<Identity> {
    person(std::str::from_utf8(headers.get(IDENTITY_HEADER)?.as_bytes()).ok()?)
}
