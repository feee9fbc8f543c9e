//! Sealing and opening what the database must not be able to read: secrets of repos, and what signs webhooks.

use docstore_database::{
    secrets::{self, SealedColumns, StoredSecret},
    signing_secrets::{self, CLEAR_LAYOUT, StoredSigningSecret},
};
use docstore_models::{ErrorCode, RewrapResult};
use docstore_secrets::{Binding, CannotOpen, CannotSeal, Keeper, Layout, Sealed, Zeroizing};
use secrecy::SecretString;
use uuid::Uuid;

use crate::{Error, GlobalAdmin, Operations, Result};

/// The secrets that one request encrypts anew: two calls to the key service each, one after the other.
const REWRAP_ROWS: i64 = 50;

/// A secret that is sealed anew.
enum Row {
    OfRepo(StoredSecret),
    Signing(StoredSigningSecret),
}

impl Row {
    fn id(&self) -> Uuid {
        match self {
            Self::OfRepo(secret) => secret.id,
            Self::Signing(secret) => secret.id,
        }
    }

    fn binding(&self) -> Binding<'_> {
        match self {
            Self::OfRepo(secret) => binding_of(secret),
            Self::Signing(secret) => signing_binding(secret.subscription_id, secret.id),
        }
    }

    /// What an operator knows it by.
    fn name(&self) -> String {
        match self {
            Self::OfRepo(secret) => format!("{} {}", secret.repo, secret.name),
            Self::Signing(secret) => format!("subscription {}", secret.subscription_id),
        }
    }
}

impl Operations {
    pub(crate) fn keeper(&self) -> Result<&Keeper> {
        self.inner
            .secrets
            .as_deref()
            .ok_or_else(|| Error::refused(ErrorCode::ServiceUnavailable, "secrets service not configured"))
    }

    pub(crate) async fn seal(&self, binding: Binding<'_>, value: &[u8]) -> Result<SealedColumns> {
        let sealed = self.keeper()?.seal(binding, value).await.map_err(|error| match error {
            CannotSeal::Unavailable(_) => Error::Unavailable("the key of secrets", Box::new(error)),
            CannotSeal::Failed => Error::Internal(Box::new(error)),
        })?;
        Ok(SealedColumns {
            layout: sealed.layout.number(),
            ciphertext: sealed.ciphertext,
            nonce: sealed.nonce,
            encrypted_dek: sealed.encrypted_data_key,
            kms_key_name: sealed.key_name,
        })
    }

    async fn unseal(&self, binding: Binding<'_>, columns: &SealedColumns) -> Result<Zeroizing<Vec<u8>>> {
        let layout =
            Layout::of_number(columns.layout).ok_or_else(|| Error::Internal("an unknown layout of a secret".into()))?;
        let sealed = Sealed {
            layout,
            ciphertext: columns.ciphertext.clone(),
            nonce: columns.nonce.clone(),
            encrypted_data_key: columns.encrypted_dek.clone(),
            key_name: columns.kms_key_name.clone(),
        };
        self.keeper()?.unseal(binding, &sealed).await.map_err(|error| match error {
            CannotOpen::Unavailable(_) => Error::Unavailable("the key of secrets", Box::new(error)),
            other => Error::Internal(Box::new(other)),
        })
    }

    /// Opens a secret of a repo.
    pub(crate) async fn open_secret(&self, secret: &StoredSecret) -> Result<Zeroizing<Vec<u8>>> {
        self.unseal(binding_of(secret), &secret.sealed).await
    }

    /// Seals what shall sign the webhooks of a subscription.
    pub(crate) async fn seal_signing_secret(&self, subscription_id: Uuid, value: &str) -> Result<StoredSigningSecret> {
        let id = Uuid::now_v7();
        let sealed = self.seal(signing_binding(subscription_id, id), value.as_bytes()).await?;
        Ok(StoredSigningSecret { id, subscription_id, sealed })
    }

    /// Opens what signs the webhooks of a subscription, the newest first. The newest has to open: nothing is sent without
    /// its signature. One before it that no key opens is left out, so that a lost key is healed by a new secret.
    pub(crate) async fn open_signing_secrets(&self, stored: &[StoredSigningSecret]) -> Result<Vec<SecretString>> {
        let mut opened = Vec::new();
        for secret in stored {
            match self.open_signing_secret(secret).await {
                Ok(value) => opened.push(value),
                Err(Error::Internal(cause)) if !opened.is_empty() => {
                    let error = &*cause as &(dyn std::error::Error + 'static);
                    tracing::warn!(subscription = %secret.subscription_id, error, "the previous secret does not sign");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    async fn open_signing_secret(&self, secret: &StoredSigningSecret) -> Result<SecretString> {
        let bytes = self.signing_value(secret).await?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Error::Internal("a secret to sign with is no text".into()))?;
        Ok(SecretString::from(text))
    }

    async fn signing_value(&self, secret: &StoredSigningSecret) -> Result<Zeroizing<Vec<u8>>> {
        if secret.sealed.layout == CLEAR_LAYOUT {
            return Ok(Zeroizing::new(secret.sealed.ciphertext.clone()));
        }
        self.unseal(signing_binding(secret.subscription_id, secret.id), &secret.sealed).await
    }

    /// Encrypts some secrets of all repos and webhooks anew: with the key of now, in the layout of now. To be called until
    /// there is no `next_after`; after that, old keys and old versions of the key open nothing that is needed, and nothing
    /// stands in clear.
    ///
    /// # Errors
    /// `SERVICE_UNAVAILABLE` without a key, or when it is away.
    pub async fn rewrap_secrets(&self, admin: &GlobalAdmin, after: Option<Uuid>) -> Result<RewrapResult> {
        self.keeper()?;
        if after.is_none() {
            signing_secrets::move_clear_secrets(self.pool(), None).await?;
        }
        let (rows, more) = self.next_rows(after).await?;
        let next_after = if more { rows.last().map(Row::id) } else { None };
        let mut result = RewrapResult { rewrapped: 0, failed: Vec::new(), next_after };
        for row in &rows {
            let value = match row {
                Row::OfRepo(secret) => self.open_secret(secret).await,
                Row::Signing(secret) => self.signing_value(secret).await,
            };
            let value = match value {
                Ok(value) => value,
                Err(Error::Internal(cause)) => {
                    let error = &*cause as &(dyn std::error::Error + 'static);
                    tracing::error!(secret = row.name(), error, "a secret cannot be decrypted");
                    result.failed.push(row.name());
                    continue;
                }
                Err(other) => return Err(other),
            };
            let sealed = self.seal(row.binding(), &value).await?;
            // Whoever set another value meanwhile sealed it with the key of now.
            let resealed = match row {
                Row::OfRepo(secret) => secrets::reseal(self.pool(), secret.id, &secret.sealed, &sealed).await?,
                Row::Signing(secret) => signing_secrets::reseal_signing_secret(self.pool(), secret, &sealed).await?,
            };
            result.rewrapped += i64::from(resealed);
        }
        let identity = admin.caller().identity().as_str();
        let (rewrapped, failed) = (result.rewrapped, result.failed.len());
        tracing::info!(identity, rewrapped, failed, "secrets were encrypted anew");
        Ok(result)
    }

    /// The next secrets of both kinds by id, and whether there are more.
    async fn next_rows(&self, after: Option<Uuid>) -> Result<(Vec<Row>, bool)> {
        let of_repos = secrets::next_secrets(self.pool(), after, REWRAP_ROWS).await?;
        let signing = signing_secrets::next_signing_secrets(self.pool(), after, REWRAP_ROWS).await?;
        let mut rows: Vec<Row> = of_repos.into_iter().map(Row::OfRepo).collect();
        rows.extend(signing.into_iter().map(Row::Signing));
        rows.sort_by_key(Row::id);
        let page = usize::try_from(REWRAP_ROWS).unwrap_or(usize::MAX);
        let more = rows.len() >= page;
        rows.truncate(page);
        Ok((rows, more))
    }

    /// Tells the operator what of the webhooks' secrets is not as it should be.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn report_signing_secrets(&self) -> Result<()> {
        let (clear, sealed) = signing_secrets::count_signing_secrets(self.pool()).await?;
        let has_key = self.inner.secrets.is_some();
        if clear > 0 && has_key {
            tracing::warn!(
                secrets = clear,
                "secrets of webhooks stand in clear in the database: run `ds secrets rewrap`"
            );
        } else if clear > 0 {
            tracing::warn!(
                secrets = clear,
                "secrets of webhooks stand in clear in the database: set DOCSTORE_SECRETS_KMS_KEY or \
                 DOCSTORE_SECRETS_KEY_FILE, then run `ds secrets rewrap`"
            );
        }
        if sealed > 0 && !has_key {
            tracing::error!(
                secrets = sealed,
                "secrets of webhooks are encrypted and no key is configured: their deliveries wait"
            );
        }
        Ok(())
    }
}

fn binding_of(secret: &StoredSecret) -> Binding<'_> {
    Binding::RepoSecret { repo_id: secret.repo_id, name: &secret.name }
}

fn signing_binding(subscription_id: Uuid, id: Uuid) -> Binding<'static> {
    Binding::SigningSecret { subscription_id, id }
}
