use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use docstore_client::{TokenError, TokenProvider};
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Credential, CredentialStore};
use crate::Context;

/// The token itself, for machines that cannot sign in.
pub(crate) const TOKEN_VARIABLE: &str = "DS_TOKEN";
/// A token is renewed this long before it ends, so that it does not end on the way.
const RENEW_BEFORE_END: TimeDelta = TimeDelta::seconds(60);
/// How long the issuer may take.
const ISSUER_TIME_MAX: Duration = Duration::from_secs(30);
/// Where Google renews tokens.
pub(crate) const GOOGLE_TOKEN_ENDPOINT: &str = "https://oauth2.googleapis.com/token";

/// The token for one server: from the environment, or from the credentials file, renewed when it is about to end.
pub(crate) struct Tokens {
    fixed: Option<SecretString>,
    store: Option<CredentialStore>,
    server: String,
    now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// What was read or renewed last; also keeps requests that run at once from renewing more than once.
    current: Mutex<Option<Credential>>,
}

/// What the issuer answers with.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    #[serde(default)]
    pub(crate) id_token: String,
    #[serde(default)]
    pub(crate) access_token: String,
    #[serde(default)]
    pub(crate) refresh_token: String,
    pub(crate) expires_in: Option<i64>,
}

impl Tokens {
    pub(crate) fn new(context: &Context, server: &str) -> Self {
        Self {
            fixed: context.variable(TOKEN_VARIABLE).map(|token| SecretString::from(token.to_owned())),
            store: CredentialStore::of(context),
            server: server.to_owned(),
            now: context.now.clone(),
            current: Mutex::new(None),
        }
    }

    async fn current_token(&self) -> Result<Option<SecretString>, TokenError> {
        if let Some(token) = &self.fixed {
            return Ok(Some(token.clone()));
        }
        let Some(store) = &self.store else { return Ok(None) };
        let mut current = self.current.lock().await;
        if let Some(credential) = current.as_ref().filter(|credential| !self.needs_renewal(credential)) {
            return Ok(Some(token_of(credential)));
        }
        let message = |failure: crate::Failure| TokenError { message: failure.message().to_owned() };
        let Some(stored) = store.get(&self.server).map_err(message)? else { return Ok(None) };
        if !self.needs_renewal(&stored) {
            return Ok(Some(token_of(current.insert(stored))));
        }
        // Another process may be renewing right now; then its result serves here too.
        let locked = store.clone();
        let lock = tokio::task::spawn_blocking(move || locked.lock())
            .await
            .map_err(|error| TokenError { message: error.to_string() })?
            .map_err(message)?;
        let Some(stored) = store.get(&self.server).map_err(message)? else { return Ok(None) };
        if !self.needs_renewal(&stored) {
            return Ok(Some(token_of(current.insert(stored))));
        }
        let renewed = self.renew(&stored).await?;
        // A token that cannot be stored can still be used.
        let _ = store.set_locked(&self.server, Some(renewed.clone()));
        drop(lock);
        Ok(Some(token_of(current.insert(renewed))))
    }

    fn needs_renewal(&self, credential: &Credential) -> bool {
        credential.expiry.is_some_and(|end| end - RENEW_BEFORE_END <= (self.now)())
    }

    async fn renew(&self, stored: &Credential) -> Result<Credential, TokenError> {
        let expired = || TokenError { message: format!("sign-in expired: run `ds login {}`", self.server) };
        if stored.refresh_token.is_empty() {
            return Err(expired());
        }
        let endpoint =
            if stored.token_endpoint.is_empty() { GOOGLE_TOKEN_ENDPOINT } else { stored.token_endpoint.as_str() };
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", stored.refresh_token.as_str()),
            ("client_id", stored.client_id.as_str()),
            ("client_secret", stored.client_secret.as_str()),
        ];
        let Some(answer) = ask_issuer(endpoint, &form).await? else { return Err(expired()) };
        // An answer without an id token must not take away the one there is, which is over all the same.
        if answer.id_token.is_empty() && !stored.id_token.is_empty() {
            return Err(expired());
        }
        Ok(stored.renewed(answer, (self.now)()))
    }
}

impl Credential {
    /// The credential with what the issuer answered.
    pub(crate) fn renewed(&self, answer: TokenAnswer, now: DateTime<Utc>) -> Self {
        Self {
            id_token: answer.id_token,
            access_token: answer.access_token,
            refresh_token: if answer.refresh_token.is_empty() {
                self.refresh_token.clone()
            } else {
                answer.refresh_token
            },
            expiry: answer.expires_in.map(|seconds| now + TimeDelta::seconds(seconds)),
            ..self.clone()
        }
    }
}

/// Posts a form to a token endpoint. `None` when the issuer refuses what it was given.
pub(crate) async fn ask_issuer(endpoint: &str, form: &[(&str, &str)]) -> Result<Option<TokenAnswer>, TokenError> {
    let lost =
        |error: reqwest::Error| TokenError { message: format!("cannot reach {endpoint}: {}", error.without_url()) };
    let http = reqwest::Client::builder()
        .timeout(ISSUER_TIME_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("ds/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(lost)?;
    let form: Vec<_> = form.iter().filter(|(_, value)| !value.is_empty()).collect();
    let response = http.post(endpoint).form(&form).send().await.map_err(lost)?;
    let status = response.status();
    if status.is_client_error() {
        return Ok(None);
    }
    if !status.is_success() {
        return Err(TokenError { message: format!("{endpoint} answered with status {}", status.as_u16()) });
    }
    response.json().await.map(Some).map_err(lost)
}

/// The id token says who somebody is; a server in front may know only the access token.
fn token_of(credential: &Credential) -> SecretString {
    let token = if credential.id_token.is_empty() { &credential.access_token } else { &credential.id_token };
    SecretString::from(token.clone())
}

impl TokenProvider for Tokens {
    fn token(&self) -> BoxFuture<'_, Result<Option<SecretString>, TokenError>> {
        Box::pin(self.current_token())
    }
}
