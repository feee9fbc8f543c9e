//! The crate as the server uses it, with a stand-in issuer on loopback and a clock that moves when told.

mod api_tokens;
mod caching;
mod logins;
mod requests;
mod settings;
mod tokens;

use std::sync::OnceLock;

use docstore_settings::Environment;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Authenticator, Need, Reason, Settings, Via,
    testing::{TestClock, TestIssuer, TestKey, counting_random},
};

/// Making an RSA key takes a while; tests that only need some key share this one.
static RSA: OnceLock<TestKey> = OnceLock::new();

/// A server's authenticator beside the issuer that it trusts.
struct World {
    clock: TestClock,
    issuer: TestIssuer,
    authenticator: Authenticator,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With further variables; an empty value takes one away.
    async fn with(variables: &[(&str, &str)]) -> Self {
        let clock = TestClock::at("2026-11-20T12:00:00Z");
        let rsa = RSA.get_or_init(|| TestKey::rsa("rsa-1")).clone();
        let issuer = TestIssuer::start(clock.clock(), vec![rsa, TestKey::ec("ec-1")]).await;
        let authenticator = authenticator(&issuer, &clock, variables);
        Self { clock, issuer, authenticator }
    }

    /// Who these headers are, or why nobody.
    async fn ask(&self, headers: &[(&str, &str)]) -> Result<(String, Via), Reason> {
        ask(&self.authenticator, headers).await
    }

    async fn ask_with_token(&self, token: &str) -> Result<(String, Via), Reason> {
        self.ask(&[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn ask_with_assertion(&self, assertion: &str) -> Result<(String, Via), Reason> {
        self.ask(&[("x-goog-iap-jwt-assertion", assertion)]).await
    }
}

fn authenticator(issuer: &TestIssuer, clock: &TestClock, variables: &[(&str, &str)]) -> Authenticator {
    let mut pairs = issuer.environment();
    pairs.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let settings = Settings::from_environment(&pairs.into_iter().collect::<Environment>()).unwrap();
    Authenticator::new(settings, clock.clock(), counting_random(), None).unwrap()
}

async fn ask(authenticator: &Authenticator, headers: &[(&str, &str)]) -> Result<(String, Via), Reason> {
    let caller =
        authenticator.authenticate(&header_map(headers), Need::Nothing).await.map_err(|refusal| refusal.reason())?;
    Ok((caller.identity().to_string(), caller.via()))
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

fn alice(via: Via) -> Result<(String, Via), Reason> {
    Ok(("alice@example.com".to_owned(), via))
}
