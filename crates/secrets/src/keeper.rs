use std::fmt;

use zeroize::Zeroizing;

use crate::{
    Binding, KeyPlace, Layout, Settings,
    aead::{open, random_key, seal},
    kms::{Kms, KmsError},
    local::{BadKeyFile, LocalKey},
};

/// A sealed value, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How it was sealed.
    pub layout: Layout,
    /// The value, with its tag.
    pub ciphertext: Vec<u8>,
    /// The nonce of the value.
    pub nonce: Vec<u8>,
    /// The data key, sealed.
    pub encrypted_data_key: Vec<u8>,
    /// The key that sealed the data key.
    pub key_name: String,
}

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A key file cannot be used.
    #[error(transparent)]
    File(#[from] BadKeyFile),
    /// Cloud KMS cannot be set up.
    #[error("Cloud KMS cannot be set up")]
    Kms(#[from] KmsError),
}

/// Why a value cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum CannotSeal {
    /// Trying again later makes sense.
    #[error("the key is not available")]
    Unavailable(#[source] KmsError),
    /// A defect.
    #[error("the value cannot be encrypted")]
    Failed,
}

/// Why a value does not open.
#[derive(Debug, thiserror::Error)]
pub enum CannotOpen {
    /// Trying again later makes sense.
    #[error("the key is not available")]
    Unavailable(#[source] KmsError),
    /// It was sealed with a key that this process does not have.
    #[error("it was encrypted with the key {0}, which is not configured")]
    UnknownKey(String),
    /// It was changed, moved to another place, or sealed with another key of the same name.
    #[error("it does not decrypt: it was changed, belongs elsewhere, or the key is another one")]
    Wrong,
}

enum Key {
    Kms { client: Kms, name: String },
    Local(LocalKey),
}

impl Key {
    fn name(&self) -> &str {
        match self {
            Self::Kms { name, .. } => name,
            Self::Local(key) => key.name(),
        }
    }
}

/// Seals and opens values.
pub struct Keeper {
    current: Key,
    old: Vec<Key>,
}

impl Keeper {
    /// Reads key files and sets up KMS, which is not asked yet. Nothing when there is no key.
    ///
    /// # Errors
    /// When a key cannot be used.
    pub async fn open(settings: &Settings) -> Result<Option<Self>, OpenError> {
        let Some(current) = &settings.current else { return Ok(None) };
        let mut kms = None;
        let current = Self::key(settings, current, &mut kms).await?;
        let mut old = Vec::new();
        for place in &settings.old {
            old.push(Self::key(settings, place, &mut kms).await?);
        }
        Ok(Some(Self { current, old }))
    }

    async fn key(settings: &Settings, place: &KeyPlace, kms: &mut Option<Kms>) -> Result<Key, OpenError> {
        match place {
            KeyPlace::File { path, create } => Ok(Key::Local(LocalKey::read(path, *create)?)),
            KeyPlace::Kms(name) => {
                let client = match kms {
                    Some(client) => client.clone(),
                    None => kms.insert(Kms::open(settings.endpoint.as_deref(), settings.anonymous).await?).clone(),
                };
                Ok(Key::Kms { client, name: name.clone() })
            }
        }
    }

    /// The name of the key that seals.
    #[must_use]
    pub fn key_name(&self) -> &str {
        self.current.name()
    }

    /// Whether a value is sealed as one would be now.
    #[must_use]
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.layout == Layout::Bound && sealed.key_name == self.key_name()
    }

    /// Seals a value for its place.
    ///
    /// # Errors
    /// When the key is away.
    pub async fn seal(&self, binding: Binding<'_>, value: &[u8]) -> Result<Sealed, CannotSeal> {
        let layout = Layout::Bound;
        let associated = layout.associated_data(binding).ok_or(CannotSeal::Failed)?;
        let data_key = random_key().map_err(|_| CannotSeal::Failed)?;
        let (nonce, ciphertext) = seal(data_key.as_ref(), &associated, value).map_err(|_| CannotSeal::Failed)?;
        let encrypted_data_key = match &self.current {
            Key::Local(key) => key.wrap(data_key.as_ref(), &associated).map_err(|_| CannotSeal::Failed)?,
            Key::Kms { client, name } => {
                client.wrap(name, data_key.as_ref(), &associated).await.map_err(CannotSeal::Unavailable)?
            }
        };
        Ok(Sealed {
            layout,
            ciphertext,
            nonce: nonce.to_vec(),
            encrypted_data_key,
            key_name: self.key_name().to_owned(),
        })
    }

    /// Opens a value in its place.
    ///
    /// # Errors
    /// When the key is away or another one, or the value was tampered with.
    pub async fn unseal(&self, binding: Binding<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let associated = sealed.layout.associated_data(binding).ok_or(CannotOpen::Wrong)?;
        let mut named = Vec::new();
        for key in [&self.current].into_iter().chain(&self.old) {
            if key.name() == sealed.key_name {
                named.push(key);
            }
        }
        if named.is_empty() {
            return Err(CannotOpen::UnknownKey(sealed.key_name.clone()));
        }
        // Key files of different folders may have the same name; then one of them fits.
        for key in named {
            let data_key = match key {
                Key::Local(key) => key.unwrap(&sealed.encrypted_data_key, &associated).ok(),
                Key::Kms { client, name } => match client.unwrap(name, &sealed.encrypted_data_key, &associated).await {
                    Ok(data_key) => Some(data_key),
                    Err(KmsError::Refused(_)) => None,
                    Err(error) => return Err(CannotOpen::Unavailable(error)),
                },
            };
            if let Some(data_key) = data_key {
                return open(&data_key, &sealed.nonce, &associated, &sealed.ciphertext).map_err(|_| CannotOpen::Wrong);
            }
        }
        Err(CannotOpen::Wrong)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old: Vec<&str> = self.old.iter().map(Key::name).collect();
        f.debug_struct("Keeper").field("current", &self.key_name()).field("old", &old).finish()
    }
}
