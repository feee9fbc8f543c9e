use std::sync::Arc;

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use crate::{
    CacheLimits, Clock,
    fetch::{self, FetchError},
    keys::KeySet,
    remote::{Miss, Remote},
    settings::LoginProvider,
};

/// The addresses of an OpenID provider (OpenID Connect Discovery 1.0 §3).
#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
    authorization_endpoint: Option<Url>,
    token_endpoint: Option<Url>,
}

/// The OpenID provider that people log in with: its addresses and its keys.
pub(crate) struct Provider {
    settings: LoginProvider,
    metadata: Arc<Remote<Metadata>>,
    keys: Arc<Remote<KeySet>>,
}

impl Provider {
    pub(crate) fn new(settings: LoginProvider, client: &Client, clock: &Clock, limits: CacheLimits) -> Self {
        let metadata = discovery(&settings, client.clone(), Arc::clone(clock), limits);
        let keys = {
            let (fixed, metadata, client) = (settings.jwks_url.clone(), Arc::clone(&metadata), client.clone());
            Remote::new("login_keys", Arc::clone(clock), limits, move || {
                let (fixed, metadata, client) = (fixed.clone(), Arc::clone(&metadata), client.clone());
                Box::pin(async move {
                    let url = match fixed {
                        Some(url) => url,
                        None => metadata
                            .find(|metadata| Some(metadata.jwks_uri.clone()))
                            .await
                            .map_err(|_| FetchError::NoDiscovery)?,
                    };
                    fetch_keys(&client, url).await
                })
            })
        };
        Self { settings, metadata, keys }
    }

    pub(crate) fn settings(&self) -> &LoginProvider {
        &self.settings
    }

    pub(crate) fn keys(&self) -> &Arc<Remote<KeySet>> {
        &self.keys
    }

    /// Where a browser goes to log in.
    pub(crate) async fn authorization_url(&self) -> Result<Url, Miss> {
        match &self.settings.authorization_url {
            Some(url) => Ok(url.clone()),
            None => self.metadata.find(|metadata| metadata.authorization_endpoint.clone()).await,
        }
    }

    /// Where a code is exchanged for an id token.
    pub(crate) async fn token_url(&self) -> Result<Url, Miss> {
        match &self.settings.token_url {
            Some(url) => Ok(url.clone()),
            None => self.metadata.find(|metadata| metadata.token_endpoint.clone()).await,
        }
    }
}

/// Fetches and reads a key set.
pub(crate) async fn fetch_keys(client: &Client, url: Url) -> Result<KeySet, FetchError> {
    let json = fetch::get(client, url).await?;
    KeySet::parse(&json).map_err(FetchError::Malformed)
}

fn discovery(settings: &LoginProvider, client: Client, clock: Clock, limits: CacheLimits) -> Arc<Remote<Metadata>> {
    let (issuer, plain_http) = (settings.issuer.clone(), settings.plain_http);
    Remote::new("login_discovery", clock, limits, move || {
        let (issuer, client) = (issuer.clone(), client.clone());
        Box::pin(async move {
            let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            let url = Url::parse(&address).map_err(|why| FetchError::Malformed(why.to_string()))?;
            let json = fetch::get(&client, url).await?;
            let metadata: Metadata =
                serde_json::from_slice(&json).map_err(|why| FetchError::Malformed(why.to_string()))?;
            // Discovery 1.0 §4.3: a document about somebody else must not lend us its keys.
            if metadata.issuer != issuer {
                return Err(FetchError::Malformed("the document is about another issuer".to_owned()));
            }
            let endpoints =
                [Some(&metadata.jwks_uri), metadata.authorization_endpoint.as_ref(), metadata.token_endpoint.as_ref()];
            if !endpoints.into_iter().flatten().all(|url| fetch::is_safe_way(url, plain_http)) {
                return Err(FetchError::Malformed("an address in the document is not https".to_owned()));
            }
            Ok(metadata)
        })
    })
}
