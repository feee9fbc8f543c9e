use serde::{Deserialize, Serialize};

/// The answer of `GET /.well-known/ds-config`: how a client logs in (contract, server §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DsConfig {
    /// The way to log in.
    pub auth: DsConfigAuth,
}

/// The way to log in. Nothing in it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DsConfigAuth {
    /// `none`, `oauth` (the server verifies id tokens) or `iap` (a proxy in front of it does).
    #[serde(rename = "type")]
    pub kind: String,
    /// The client id to log in with; absent with `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The secret of a desktop client, which is none; only with `iap`, and only when the operator set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The OpenID provider, when it is not Google. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

impl DsConfigAuth {
    pub(crate) fn none() -> Self {
        Self { kind: "none".to_owned(), client_id: None, client_secret: None, issuer: None }
    }

    pub(crate) fn oauth(client_id: &str, issuer: Option<&str>) -> Self {
        let (client_id, issuer) = (Some(client_id.to_owned()), issuer.map(str::to_owned));
        Self { kind: "oauth".to_owned(), client_id, client_secret: None, issuer }
    }

    pub(crate) fn iap(client_id: &str, client_secret: Option<&str>) -> Self {
        let (client_id, client_secret) = (Some(client_id.to_owned()), client_secret.map(str::to_owned));
        Self { kind: "iap".to_owned(), client_id, client_secret, issuer: None }
    }
}
