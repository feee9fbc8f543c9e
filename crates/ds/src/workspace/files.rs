//! Reading and replacing the files of `.ds/`.

use std::{fs, io, io::Write as _, path::Path};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

use crate::{Failure, failure::About};

/// The content of a file; `None` when there is none.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).about("read", path),
    }
}

/// A JSON file; `None` when there is none. `what` names it in `corrupt <what>: …`.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Option<T>, Failure> {
    let Some(bytes) = read_optional(path)? else { return Ok(None) };
    // Checked for UTF-8 as a whole, which is quicker than string by string; where it is not, the error says where.
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(&bytes),
    };
    parsed.map(Some).map_err(|error| Failure::new(format!("corrupt {what}: {error}")))
}

/// Replaces a JSON file. Two blanks of indent and no newline at the end, like the original client.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    write_atomically(path, &bytes).about("write", path)
}

/// Replaces a file so that whoever looks, also after a crash, sees the old content or the new one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = write_beside(path, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory_of(path))
}

/// The same for what may be lost in a crash, and does not wait for the disk.
pub(crate) fn write_for_now(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_beside(path, bytes)?.persist(path).map(drop).map_err(|error| error.error)
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".new-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    let mut file = builder.tempfile_in(directory_of(path))?;
    file.write_all(bytes)?;
    Ok(file)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Makes a rename in the directory survive a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

pub(crate) fn remove_if_exists(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).about("remove", path),
        _ => Ok(()),
    }
}
