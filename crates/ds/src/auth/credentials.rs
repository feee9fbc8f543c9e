use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::{
    Context, Failure,
    failure::About,
    workspace::{self, Lock},
};

/// What signing in to one server brought (contract, clients §4.3).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    pub(crate) id_token: String,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expiry: Option<DateTime<Utc>>,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// Where the token is renewed; Google's when empty. Additive.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) token_endpoint: String,
    #[serde(flatten)]
    pub(super) other: Map<String, Value>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

impl Credential {
    /// A token that is kept as it is until somebody logs out: nothing renews it.
    pub(crate) fn of_token(token: &str) -> Self {
        Self { id_token: token.to_owned(), ..Self::default() }
    }
}

/// The credentials file: one entry per server.
#[derive(Clone, Debug)]
pub(crate) struct CredentialStore {
    path: PathBuf,
}

type Entries = BTreeMap<String, Credential>;

impl CredentialStore {
    /// The file below the user's configuration folder; `None` when there is no such folder.
    pub(crate) fn of(context: &Context) -> Option<Self> {
        let home = context.variable("HOME").map(PathBuf::from);
        let folder = if cfg!(windows) {
            context.variable("APPDATA").map(PathBuf::from)
        } else if cfg!(target_os = "macos") {
            home.map(|home| home.join("Library/Application Support"))
        } else {
            context.variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".config")))
        };
        Some(Self { path: folder?.join("ds").join("credentials.json") })
    }

    /// The entry of a server, however its address was typed when it was stored.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Credential>, Failure> {
        let key = server_key(server);
        Ok(self.read()?.into_iter().find(|(other, _)| server_key(other) == key).map(|(_, credential)| credential))
    }

    /// Replaces the entry of a server; `None` removes it.
    pub(crate) fn set(&self, server: &str, credential: Option<Credential>) -> Result<(), Failure> {
        let _lock = self.lock()?;
        self.set_locked(server, credential)
    }

    pub(crate) fn set_locked(&self, server: &str, credential: Option<Credential>) -> Result<(), Failure> {
        let key = server_key(server);
        let mut entries = self.read()?;
        entries.retain(|other, _| server_key(other) != key);
        if let Some(credential) = credential {
            entries.insert(key, credential);
        }
        let bytes = serde_json::to_vec_pretty(&entries).map_err(|error| Failure::new(error.to_string()))?;
        write_private(&self.path, &bytes).about("write", &self.path)
    }

    /// Keeps other processes from renewing the same token at the same time.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        create_private_folder(folder).about("create", folder)?;
        Lock::wait_for(&self.path.with_extension("lock"))
    }

    fn read(&self) -> Result<Entries, Failure> {
        let Some(bytes) = workspace::read_optional(&self.path)? else { return Ok(Entries::new()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!("{} is damaged: {error}", self.path.display()))
                .hint("remove the file and sign in again")
        })
    }
}

/// The name under which a server is stored: scheme, host and port, in one spelling.
pub(crate) fn server_key(server: &str) -> String {
    match Url::parse(server) {
        Ok(url) => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
            (Some(host), None) => format!("{}://{host}", url.scheme()),
            (None, _) => server.trim_end_matches('/').to_owned(),
        },
        Err(_) => server.trim_end_matches('/').to_owned(),
    }
}

/// The e-mail address in an id token. For showing only: the signature is the server's to check.
pub(crate) fn email_of(id_token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims.get("email").and_then(Value::as_str).map(|email| crate::output::printable(email).into_owned())
}

fn create_private_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)
}

/// Replaces a file that only its owner may read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    // Temporary files are made with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".credentials-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_one_name() {
        for server in ["https://DocStore.dev", "https://docstore.dev/", "https://docstore.dev:443/prefix"] {
            assert_eq!(server_key(server), "https://docstore.dev");
        }
        assert_eq!(server_key("http://localhost:8080/"), "http://localhost:8080");
    }

    #[test]
    fn entries_are_private_and_found_by_any_spelling() {
        let home = tempfile::tempdir().unwrap();
        let (context, _) = Context::for_test(home.path(), home.path());
        let store = CredentialStore::of(&context).unwrap();
        let credential = Credential { id_token: "secret".into(), ..Credential::default() };
        store.set("https://Host/prefix/", Some(credential.clone())).unwrap();
        assert_eq!(store.get("https://host").unwrap(), Some(credential.clone()));
        assert!(!format!("{credential:?}").contains("secret"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&store.path), mode(store.path.parent().unwrap())), (0o600, 0o700));
        }
        store.set("https://host", None).unwrap();
        assert_eq!(store.get("https://host").unwrap(), None);
        assert_eq!(fs::read_to_string(&store.path).unwrap(), "{}");
    }
}
