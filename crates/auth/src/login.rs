use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use docstore_models::Identity;
use http::{HeaderMap, HeaderValue, StatusCode, header::HOST, uri::Authority};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use crate::{
    Clock, Random, Reason, fetch,
    provider::Provider,
    refusal::note,
    safe_redirect,
    session::{SESSION_COOKIE, Sessions, cookie_bytes, cookies},
    token::{Rules, Unverified},
};

/// Holds the state and the way back between start and callback (contract, server §2.3).
const STATE_COOKIE: &str = "ds_oauth_state";

/// Holds the secret of this one login: the PKCE verifier (RFC 7636), from which the nonce is made too.
const PKCE_COOKIE: &str = "ds_oauth_pkce";

/// How long a person may take at the provider, in seconds (contract, server §2.3).
const LOGIN_SECONDS_MAX: u64 = 300;

const STATE_BYTES: usize = 16;

/// RFC 7636 §7.1 asks for 256 bits.
const VERIFIER_BYTES: usize = 32;

/// Longer than any provider's code.
const CODE_BYTES_MAX: usize = 4096;

/// The address to which somebody who has to log in is sent, with the way back to what was asked for (path and query).
#[must_use]
pub fn login_location(asked_for: &str) -> String {
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("redirect", &safe_redirect(asked_for)).finish();
    format!("/auth/login?{query}")
}

/// How a browser sees this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    https: bool,
    authority: String,
}

impl Origin {
    /// Reads it off a request: `X-Forwarded-Proto` if it is there, else whether the connection has TLS (contract, server
    /// §2.3); the host is `Host`, or for HTTP/2 the authority of the request's target.
    ///
    /// # Errors
    /// When there is no host, or it is malformed.
    pub fn of(headers: &HeaderMap, target: Option<&Authority>, tls: bool) -> Result<Self, LoginFailure> {
        let https = headers.get("x-forwarded-proto").map_or(tls, |scheme| scheme.as_bytes() == b"https");
        let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let authority = host.as_ref().or(target).map(Authority::as_str).unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err(LoginFailure::MalformedHost);
        }
        Ok(Self { https, authority: authority.to_owned() })
    }

    fn callback_url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}/auth/callback", self.authority)
    }

    fn secure(&self) -> &'static str {
        if self.https { "; Secure" } else { "" }
    }
}

/// An answer with status 302.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The value of `Location`.
    pub location: HeaderValue,
    /// The values of `Set-Cookie`, one header each. Pair them with `Cache-Control: no-store`.
    pub cookies: Vec<HeaderValue>,
}

/// A login that is complete. Whoever passes the redirect on gives the browser its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who logged in.
    pub identity: Identity,
    /// The answer.
    pub redirect: Redirect,
}

/// Why a login went wrong. Status and text are the contract's (server §2.3), as far as it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginFailure {
    /// Client id, client secret and session secret are not all set.
    #[error("OAuth not configured")]
    NotConfigured,
    /// The request names no host to come back to.
    #[error("malformed host")]
    MalformedHost,
    /// No login was begun in this browser, or it was more than five minutes ago.
    #[error("missing state cookie")]
    MissingStateCookie,
    /// The cookie is not ours.
    #[error("malformed state cookie")]
    MalformedStateCookie,
    /// The answer belongs to another login.
    #[error("state mismatch")]
    StateMismatch,
    /// The provider sent no code, for example since the person declined.
    #[error("missing authorization code")]
    MissingCode,
    /// The provider did not take the code.
    #[error("token exchange failed")]
    TokenExchangeFailed,
    /// The provider took the code and sent no id token.
    #[error("no id_token in response")]
    NoIdToken,
    /// The id token does not verify.
    #[error("invalid id token")]
    InvalidIdToken(Reason),
    /// The provider cannot be reached.
    #[error("identity provider unavailable")]
    ProviderUnavailable,
}

impl LoginFailure {
    /// The status of the answer, which is plain text: this failure's `Display` and a newline.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotConfigured | Self::ProviderUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TokenExchangeFailed | Self::NoIdToken => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidIdToken(_) => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The word for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotConfigured => "login_not_configured",
            Self::MalformedHost => "malformed_host",
            Self::MissingStateCookie => "missing_state_cookie",
            Self::MalformedStateCookie => "malformed_state_cookie",
            Self::StateMismatch => "state_mismatch",
            Self::MissingCode => "missing_code",
            Self::TokenExchangeFailed => "token_exchange_failed",
            Self::NoIdToken => "no_id_token",
            Self::InvalidIdToken(reason) => reason.as_str(),
            Self::ProviderUnavailable => "provider_unavailable",
        }
    }
}

/// The browser login: OpenID Connect's code flow with PKCE and a nonce, ending in a session cookie.
///
/// The state binds the answer to the browser; the verifier, known to the browser alone, binds the code to the login,
/// so that a code and state seen by somebody else are of no use; the nonce binds the id token to both.
pub struct Login {
    parts: Option<Parts>,
    clock: Clock,
    random: Random,
    leeway: Duration,
    cookie_bytes_max: usize,
}

/// What a login takes; without any of it there is none.
pub(crate) struct Parts {
    provider: Arc<Provider>,
    client_secret: SecretString,
    sessions: Arc<Sessions>,
    client: Client,
}

impl Parts {
    pub(crate) fn new(
        provider: Option<&Arc<Provider>>,
        sessions: Option<&Arc<Sessions>>,
        client: Option<&Client>,
    ) -> Option<Self> {
        Some(Self {
            provider: provider.cloned()?,
            client_secret: provider?.settings().client_secret.clone()?,
            sessions: sessions.cloned()?,
            client: client.cloned()?,
        })
    }
}

impl Login {
    pub(crate) fn new(
        parts: Option<Parts>,
        clock: Clock,
        random: Random,
        leeway: Duration,
        cookie_bytes_max: usize,
    ) -> Self {
        Self { parts, clock, random, leeway, cookie_bytes_max }
    }

    /// Whether there is a browser login at all.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.parts.is_some()
    }

    /// `GET /auth/login?redirect=`: sends the browser to the provider.
    ///
    /// # Errors
    /// When there is no login here, or the provider's address cannot be discovered. Logged already.
    pub async fn start(&self, redirect: Option<&str>, origin: &Origin) -> Result<Redirect, LoginFailure> {
        logged(self.begin(redirect, origin).await)
    }

    /// `GET /auth/callback?state=&code=`: exchanges the code and gives the browser its session.
    ///
    /// # Errors
    /// When the answer is not one to a login that this browser began, or the provider does not vouch for the person.
    /// Logged already.
    pub async fn callback(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        origin: &Origin,
    ) -> Result<LoggedIn, LoginFailure> {
        logged(self.complete(query.unwrap_or_default(), headers, origin).await)
    }

    /// `GET /auth/logout`: takes the session from the browser.
    #[must_use]
    pub fn logout(&self, origin: &Origin) -> Redirect {
        let cookies = cleared(SESSION_COOKIE, "/", origin).into_iter().collect();
        Redirect { location: HeaderValue::from_static("/"), cookies }
    }

    async fn begin(&self, redirect: Option<&str>, origin: &Origin) -> Result<Redirect, LoginFailure> {
        let parts = self.parts.as_ref().ok_or(LoginFailure::NotConfigured)?;
        let state = self.random_text::<STATE_BYTES>();
        let verifier = self.random_text::<VERIFIER_BYTES>();
        let mut url = parts.provider.authorization_url().await.map_err(|_| LoginFailure::ProviderUnavailable)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &parts.provider.settings().client_id)
            .append_pair("redirect_uri", &origin.callback_url())
            .append_pair("scope", "openid email")
            .append_pair("state", &state)
            .append_pair("nonce", &nonce(&verifier))
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)))
            .append_pair("code_challenge_method", "S256");
        let back = safe_redirect(redirect.unwrap_or_default());
        let state = format!("{state}|{}", utf8_percent_encode(&back, NON_ALPHANUMERIC));
        let cookies = [(STATE_COOKIE, state), (PKCE_COOKIE, verifier)];
        let cookies = cookies.into_iter().filter_map(|(name, value)| {
            let secure = origin.secure();
            header(format!("{name}={value}; Path=/auth/; Max-Age={LOGIN_SECONDS_MAX}; HttpOnly; SameSite=Lax{secure}"))
        });
        let cookies = cookies.collect();
        Ok(Redirect { location: header(url.into()).ok_or(LoginFailure::ProviderUnavailable)?, cookies })
    }

    async fn complete(&self, query: &str, headers: &HeaderMap, origin: &Origin) -> Result<LoggedIn, LoginFailure> {
        let parts = self.parts.as_ref().ok_or(LoginFailure::NotConfigured)?;
        if cookie_bytes(headers) > self.cookie_bytes_max {
            return Err(LoginFailure::MalformedStateCookie);
        }
        let cookie = cookies(headers, STATE_COOKIE).next().ok_or(LoginFailure::MissingStateCookie)?;
        let (expected, back) = cookie.split_once('|').ok_or(LoginFailure::MalformedStateCookie)?;
        // No cookie of ours has an empty state, which an answer without one would match.
        if expected.is_empty() {
            return Err(LoginFailure::MalformedStateCookie);
        }
        let back = percent_decode_str(back).decode_utf8().map_err(|_| LoginFailure::MalformedStateCookie)?;
        let parameter = |name| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, v)| v);
        let state = parameter("state").unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(expected.as_bytes())) {
            return Err(LoginFailure::StateMismatch);
        }
        let code = parameter("code").filter(|code| !code.is_empty() && code.len() <= CODE_BYTES_MAX);
        let code = code.ok_or(LoginFailure::MissingCode)?;
        let verifier = cookies(headers, PKCE_COOKIE).next().filter(|verifier| !verifier.is_empty());
        let verifier = verifier.ok_or(LoginFailure::MissingStateCookie)?;
        let identity = self.exchange(parts, &code, verifier, origin).await?;
        let session = session_cookie(&parts.sessions, &identity, (self.clock)(), origin);
        let location = header(safe_redirect(&back)).unwrap_or_else(|| HeaderValue::from_static("/"));
        let cookies = [
            cleared(STATE_COOKIE, "/auth/", origin),
            cleared(PKCE_COOKIE, "/auth/", origin),
            // Without it the browser would come back at once and for ever.
            Some(session.ok_or(LoginFailure::InvalidIdToken(Reason::UnusableEmail))?),
        ];
        Ok(LoggedIn { identity, redirect: Redirect { location, cookies: cookies.into_iter().flatten().collect() } })
    }

    /// Trades the code for an id token and verifies it, even though it came straight from the provider: one rule for all.
    async fn exchange(
        &self,
        parts: &Parts,
        code: &str,
        verifier: &str,
        origin: &Origin,
    ) -> Result<Identity, LoginFailure> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
        }
        let settings = parts.provider.settings();
        let url = parts.provider.token_url().await.map_err(|_| LoginFailure::ProviderUnavailable)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &origin.callback_url()),
            ("client_id", &settings.client_id),
            ("client_secret", parts.client_secret.expose_secret()),
            ("code_verifier", verifier),
        ];
        let answer = post(&parts.client, url, &form).await.map_err(|why| {
            tracing::warn!(error = %why, "cannot exchange a login's code");
            LoginFailure::TokenExchangeFailed
        })?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| LoginFailure::TokenExchangeFailed)?;
        let token = answer.id_token.filter(|token| !token.is_empty()).ok_or(LoginFailure::NoIdToken)?;
        let nonce = nonce(verifier);
        let rules = Rules {
            issuers: &settings.issuers,
            audiences: Some(std::slice::from_ref(&settings.client_id)),
            email_verified: true,
            nonce: Some(&nonce),
            leeway: self.leeway,
        };
        let unverified = Unverified::parse(&token).ok_or(LoginFailure::InvalidIdToken(Reason::InvalidIdToken))?;
        let now = (self.clock)();
        let identity = unverified.verify(parts.provider.keys(), &rules, now, Reason::InvalidIdToken).await;
        identity.map(|(identity, _)| identity).map_err(|reason| match reason {
            Reason::KeysUnavailable => LoginFailure::ProviderUnavailable,
            reason => LoginFailure::InvalidIdToken(reason),
        })
    }

    fn random_text<const BYTES: usize>(&self) -> String {
        let mut bytes = [0; BYTES];
        (self.random)(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The nonce travels through the browser's address bar; the verifier cannot be computed from it.
fn nonce(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update("docstore login nonce:").chain_update(verifier).finalize())
}

async fn post(client: &Client, url: Url, form: &[(&str, &str)]) -> Result<Vec<u8>, fetch::FetchError> {
    let response = client.post(url).form(form).send().await?;
    if response.status() != StatusCode::OK {
        return Err(fetch::FetchError::Status(response.status()));
    }
    fetch::body(response).await
}

fn session_cookie(
    sessions: &Sessions,
    identity: &Identity,
    now: DateTime<Utc>,
    origin: &Origin,
) -> Option<HeaderValue> {
    let value = sessions.issue(identity, now)?;
    let expires = now.checked_add_signed(chrono::Duration::from_std(sessions.life()).ok()?)?;
    let expires = expires.format("%a, %d %b %Y %H:%M:%S GMT");
    header(format!("{SESSION_COOKIE}={value}; Path=/; Expires={expires}; HttpOnly; SameSite=Lax{}", origin.secure()))
}

fn cleared(name: &str, path: &str, origin: &Origin) -> Option<HeaderValue> {
    header(format!("{name}=; Path={path}; Max-Age=0; HttpOnly; SameSite=Lax{}", origin.secure()))
}

fn header(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

fn logged<T>(outcome: Result<T, LoginFailure>) -> Result<T, LoginFailure> {
    if let Err(failure) = &outcome {
        note(failure.reason(), "login");
    }
    outcome
}
