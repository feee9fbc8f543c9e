use docstore_models::Whoami;
use serde::{Deserialize, Serialize};

use crate::{Client, Error, transport::Call};

/// `GET /.well-known/ds-config`: how to sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DsConfig {
    /// How to sign in.
    pub auth: AuthConfig,
}

/// How to sign in. The endpoints are additive; without them they are those of Google.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// `none` (or empty), `oauth` or `iap`.
    pub r#type: String,
    /// The OAuth client of the command line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_id: String,
    /// The secret that goes with a desktop client, which is not one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_secret: String,
    /// The issuer of the tokens. Additive.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// Where people sign in. Additive.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub authorization_endpoint: String,
    /// Where codes become tokens. Additive.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_endpoint: String,
}

impl Client {
    /// Who the caller is, as the server sees it. Additive.
    ///
    /// # Errors
    /// As every call; see [`Error::is_missing_endpoint`] for servers without it.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        self.fetch(Call::get("/whoami".to_owned())).await
    }

    /// How to sign in to this server. Needs no sign-in itself.
    ///
    /// # Errors
    /// As every call.
    pub async fn discovery(&self) -> Result<DsConfig, Error> {
        self.fetch(Call::get("/.well-known/ds-config".to_owned())).await
    }

    /// Whether the server is up.
    ///
    /// # Errors
    /// As every call.
    pub async fn health(&self) -> Result<(), Error> {
        self.run(Call::get("/healthz".to_owned())).await
    }
}
