use std::{fmt, path::PathBuf};

use docstore_settings::{Environment, Invalid, Variable};

const KMS_KEY: &str = "DOCSTORE_SECRETS_KMS_KEY";
const KEY_FILE: &str = "DOCSTORE_SECRETS_KEY_FILE";
const OLD_KMS_KEYS: &str = "DOCSTORE_SECRETS_OLD_KMS_KEYS";
const OLD_KEY_FILES: &str = "DOCSTORE_SECRETS_OLD_KEY_FILES";
const ENDPOINT: &str = "DOCSTORE_SECRETS_KMS_ENDPOINT";
const ANONYMOUS: &str = "DOCSTORE_SECRETS_KMS_ANONYMOUS";

/// The variables of this crate.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        KMS_KEY,
        "",
        "The key in Cloud KMS that encrypts the secrets of repos and of webhooks: \
         `projects/…/locations/…/keyRings/…/cryptoKeys/…`. Without it and `DOCSTORE_SECRETS_KEY_FILE` there are no secrets, \
         and no webhooks with one, except in development.",
    ),
    Variable::new(
        KEY_FILE,
        "",
        "A file of exactly 32 random bytes that encrypts secrets instead. In development \
         `~/.docstore/dev-encryption-key`, which is made when it is missing.",
    ),
    Variable::new(
        OLD_KMS_KEYS,
        "",
        "A comma list of keys in Cloud KMS that secrets may still be encrypted with, until `ds secrets rewrap` is done.",
    ),
    Variable::new(OLD_KEY_FILES, "", "A comma list of key files that secrets may still be encrypted with."),
    Variable::new(ENDPOINT, "", "Where Cloud KMS is, for private endpoints and stand-ins."),
    Variable::new(ANONYMOUS, "false", "Sends no credentials to Cloud KMS: for stand-ins."),
];

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In Cloud KMS, under this name.
    Kms(String),
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// Whether it is made when it is missing.
        create: bool,
    },
}

/// Which keys there are.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The key that seals; without one there are no secrets.
    pub current: Option<KeyPlace>,
    /// Keys that open.
    pub old: Vec<KeyPlace>,
    /// Where Cloud KMS is, if not where it usually is.
    pub endpoint: Option<String>,
    /// Whether no credentials are sent.
    pub anonymous: bool,
}

impl Settings {
    /// Reads [`VARIABLES`].
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn from_environment(environment: &Environment, development: bool) -> Result<Self, Invalid> {
        let file = |path: &str| KeyPlace::File { path: PathBuf::from(path), create: false };
        let current = match (environment.text(KMS_KEY), environment.text(KEY_FILE)) {
            (Some(_), Some(_)) => return Err(Invalid::new(KEY_FILE, format!("excludes {KMS_KEY}: one key encrypts"))),
            (Some(key), None) => Some(KeyPlace::Kms(crypto_key(KMS_KEY, key)?)),
            (None, Some(path)) => Some(file(path)),
            (None, None) if development => environment.text("HOME").map(|home| KeyPlace::File {
                path: PathBuf::from(home).join(".docstore/dev-encryption-key"),
                create: true,
            }),
            (None, None) => None,
        };
        let list =
            |name| environment.text(name).unwrap_or_default().split(',').map(str::trim).filter(|one| !one.is_empty());
        let mut old = list(OLD_KMS_KEYS)
            .map(|key| crypto_key(OLD_KMS_KEYS, key).map(KeyPlace::Kms))
            .collect::<Result<Vec<_>, _>>()?;
        old.extend(list(OLD_KEY_FILES).map(file));
        let endpoint = environment.text(ENDPOINT).map(str::to_owned);
        if endpoint
            .as_ref()
            .is_some_and(|endpoint| !endpoint.starts_with("http://") && !endpoint.starts_with("https://"))
        {
            return Err(Invalid::new(ENDPOINT, "must be an http or https URL"));
        }
        Ok(Self { current, old, endpoint, anonymous: environment.switch_or(ANONYMOUS, false)? })
    }
}

/// The name of a key, not of one of its versions: KMS chooses the version.
fn crypto_key(variable: &str, name: &str) -> Result<String, Invalid> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _] => Ok(name.to_owned()),
        _ => Err(Invalid::new(variable, format!("'{name}' is not projects/…/locations/…/keyRings/…/cryptoKeys/…"))),
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("current", &self.current).field("old", &self.old).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)], development: bool) -> Result<Settings, String> {
        let environment = Environment::from_iter(pairs.iter().copied());
        Settings::from_environment(&environment, development).map_err(|error| error.to_string())
    }

    #[test]
    fn one_key_encrypts_and_others_only_open() {
        const KEY: &str = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
        assert_eq!(read(&[], false).unwrap().current, None);
        let settings = read(&[(KMS_KEY, KEY), (OLD_KEY_FILES, "/a, /b")], false).unwrap();
        assert_eq!(settings.current, Some(KeyPlace::Kms(KEY.to_owned())));
        assert_eq!(settings.old.len(), 2);
        assert!(read(&[(KMS_KEY, KEY), (KEY_FILE, "/a")], false).unwrap_err().starts_with(KEY_FILE));
        assert!(read(&[(KMS_KEY, &format!("{KEY}/cryptoKeyVersions/1"))], false).unwrap_err().starts_with(KMS_KEY));
        assert!(read(&[(ENDPOINT, "kms.example")], false).unwrap_err().starts_with(ENDPOINT));
    }

    #[test]
    fn development_has_a_key_of_its_own() {
        let settings = read(&[("HOME", "/home/me")], true).unwrap();
        let path = PathBuf::from("/home/me/.docstore/dev-encryption-key");
        assert_eq!(settings.current, Some(KeyPlace::File { path, create: true }));
        assert_eq!(read(&[("HOME", "/home/me")], false).unwrap().current, None);
    }
}
