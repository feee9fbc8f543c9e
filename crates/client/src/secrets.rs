use docstore_models::{RewrapRequest, RewrapResult, SecretMetadata, SetSecretRequest};
use serde::Deserialize;
use uuid::Uuid;

use crate::{Client, Error, RepoClient, paths::segment, transport::Call};

/// The list as servers send it: in an object, or bare, as the original's client expected it.
#[derive(Deserialize)]
#[serde(untagged)]
enum SecretsAnswer {
    Object { secrets: Vec<SecretMetadata> },
    Bare(Vec<SecretMetadata>),
}

impl RepoClient {
    /// The secrets of the repo by name, without their values.
    ///
    /// # Errors
    /// As every call.
    pub async fn secrets(&self) -> Result<Vec<SecretMetadata>, Error> {
        let list = |answer| match answer {
            SecretsAnswer::Object { secrets } | SecretsAnswer::Bare(secrets) => secrets,
        };
        let call = Call::get(self.path("secrets"));
        self.client.pages(call, None, None, list, |secret: &SecretMetadata| secret.name.clone()).await
    }

    /// Sets a secret, or replaces it.
    ///
    /// # Errors
    /// As every call.
    pub async fn set_secret(&self, name: &str, request: &SetSecretRequest) -> Result<SecretMetadata, Error> {
        self.client.fetch(Call::put(self.path(&format!("secrets/{}", segment(name)))).json(request)?).await
    }

    /// Deletes a secret.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        self.client.run(Call::delete(self.path(&format!("secrets/{}", segment(name))))).await
    }
}

impl Client {
    /// Encrypts some secrets of all repos and webhooks anew; to be repeated with `next_after`. For global admins. Additive.
    ///
    /// # Errors
    /// As every call.
    pub async fn rewrap_secrets(&self, after: Option<Uuid>) -> Result<RewrapResult, Error> {
        self.fetch(Call::post("/secrets/rewrap".to_owned()).json(&RewrapRequest { after })?).await
    }
}
