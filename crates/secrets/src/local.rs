//! A key in a file: for development, and for whoever has no KMS.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{aead::NONCE_LEN, error::Unspecified};
use zeroize::Zeroizing;

use crate::aead::{KEY_BYTES, open, random_key, seal};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the key file {}: {why}", path.display())]
pub struct BadKeyFile {
    path: PathBuf,
    why: String,
}

/// The key of a file.
pub(crate) struct LocalKey {
    name: String,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl LocalKey {
    /// Reads a key file of exactly 32 bytes. With `create` a missing one is made, for its owner alone.
    pub(crate) fn read(path: &Path, create: bool) -> Result<Self, BadKeyFile> {
        let bad = |why: String| BadKeyFile { path: path.to_owned(), why };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let opened = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                make(path).map_err(|error| bad(error.to_string()))?;
                File::open(path)
            }
            opened => opened,
        };
        let mut file = opened.map_err(|error| bad(error.to_string()))?;
        let mut more = [0];
        let whole = file.read_exact(key.as_mut()).is_ok() && matches!(file.read(&mut more), Ok(0));
        if !whole {
            return Err(bad(format!("must hold exactly {KEY_BYTES} bytes")));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name: format!("local:{name}"), key })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn wrap(&self, data_key: &[u8], associated: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let (nonce, sealed) = seal(self.key.as_ref(), associated, data_key)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    pub(crate) fn unwrap(&self, wrapped: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or(Unspecified)?;
        open(self.key.as_ref(), nonce, associated, sealed)
    }
}

/// Makes a key file. Whoever comes second reads what the first one made: the file appears under its name when it is whole.
fn make(path: &Path) -> io::Result<()> {
    let key = random_key().map_err(io::Error::other)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let unfinished = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(key.as_ref())?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
