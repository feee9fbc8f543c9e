//! Blobs on a local disk: `<directory>/<repo id>/<uuid>`.
//!
//! An upload writes into `<directory>/.uploads`, which is in the same file system, and is renamed into place when it is
//! whole and synced; then the folders that name it are synced. While it is written its file is locked, and the kernel gives
//! the lock back however the process ends: a file in `.uploads` that can be locked belongs to nobody and is removed at
//! the next start. So several servers can share a directory, and no clock decides what is left over.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use uuid::Uuid;

use crate::{
    errors::{GetError, OpenError, Unavailable},
    format::FRAME_LENGTH,
    key::BlobKey,
    store::{Opened, Source},
};

const UPLOADS: &str = ".uploads";

/// The mode that the contract names for the directory (server §1.1). Inside it, repos may be private.
const DIRECTORY_MODE: u32 = 0o755;
const INNER_DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A fresh upload loses its file only to a sweep between its creation and its lock, so twice in a row means something else.
const CREATE_ATTEMPTS: u32 = 8;

pub(crate) struct LocalDisk {
    directory: PathBuf,
    journal: Journal,
}

impl LocalDisk {
    pub(crate) async fn open(directory: PathBuf) -> Result<Self, OpenError> {
        let path = directory.clone();
        blocking(move || {
            create_directories(&path, DIRECTORY_MODE)?;
            create_directory(&path.join(UPLOADS), INNER_DIRECTORY_MODE)?;
            File::open(&path)?.sync_all()?;
            sweep(&path.join(UPLOADS))
        })
        .await
        .map_err(|source| OpenError::Directory { path: directory.clone(), source })?;
        Ok(Self { directory, journal: Journal::default() })
    }

    fn path(&self, key: &BlobKey) -> PathBuf {
        self.directory.join(key.as_str())
    }

    pub(crate) async fn writer(&self, key: &BlobKey) -> Result<LocalWriter, Unavailable> {
        let uploads = self.directory.join(UPLOADS);
        let (file, staged) =
            blocking(move || create_upload(&uploads)).await.map_err(|error| Unavailable::new(WRITING, error))?;
        Ok(LocalWriter {
            file: Arc::new(file),
            staged,
            directory: self.directory.clone(),
            folder: self.directory.join(key.repo()),
            destination: self.path(key),
            journal: self.journal.clone(),
        })
    }

    pub(crate) async fn open_blob(&self, key: &BlobKey, trailer_length: u64) -> Result<Opened, GetError> {
        let path = self.path(key);
        let opened = blocking(move || {
            let file = File::open(path)?;
            let object_length = file.metadata()?.len();
            let trailer_start = object_length.saturating_sub(trailer_length);
            let trailer = read_at(&file, trailer_start..object_length)?;
            Ok(Opened { object_length, trailer, source: Source::Local(LocalFile(Arc::new(file))) })
        });
        opened.await.map_err(reading)
    }

    pub(crate) async fn delete(&self, key: &BlobKey) -> Result<(), Unavailable> {
        let path = self.path(key);
        let folder = self.directory.join(key.repo());
        let deleted = blocking(move || match std::fs::remove_file(path) {
            // Else the file could be back after a power failure, and nobody would know of it.
            Ok(()) => File::open(folder)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        deleted.await.map_err(|error| Unavailable::new("deleting a blob", error))
    }

    pub(crate) async fn check(&self) -> Result<(), Unavailable> {
        let uploads = self.directory.join(UPLOADS);
        let checked = blocking(move || {
            let (file, _staged) = create_upload(&uploads)?;
            (&file).write_all(b"check")
        });
        checked.await.map_err(|error| Unavailable::new("writing to the blob directory", error))
    }
}

const WRITING: &str = "writing a blob";

/// An upload in progress. Dropped before the end of [`LocalWriter::finish`], it leaves no file.
pub(crate) struct LocalWriter {
    file: Arc<File>,
    staged: Staged,
    directory: PathBuf,
    folder: PathBuf,
    destination: PathBuf,
    journal: Journal,
}

impl LocalWriter {
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Unavailable> {
        let file = Arc::clone(&self.file);
        let written = blocking(move || (&*file).write_all(&bytes));
        written.await.map_err(|error| Unavailable::new(WRITING, error))
    }

    pub(crate) async fn finish(self) -> Result<(), Unavailable> {
        self.publish().await.map_err(|error| Unavailable::new(WRITING, error))
    }

    async fn publish(mut self) -> io::Result<()> {
        let (file, folder, journal) = (Arc::clone(&self.file), self.folder.clone(), self.journal.clone());
        blocking(move || {
            journal.sync("file", &file)?;
            create_directory(&folder, INNER_DIRECTORY_MODE)
        })
        .await?;
        // Not on another thread: if the caller has given up by now, this is never reached and nothing appears.
        std::fs::rename(&self.staged.path, &self.destination)?;
        self.journal.note("rename");
        self.staged.path.clone_from(&self.destination);
        let (folder, directory, journal) = (self.folder.clone(), self.directory.clone(), self.journal.clone());
        blocking(move || {
            journal.sync("folder", &File::open(folder)?)?;
            // Always, since the upload that created the folder may not have got here yet.
            journal.sync("directory", &File::open(directory)?)
        })
        .await?;
        self.staged.keep();
        Ok(())
    }
}

/// A file that is removed unless it is kept.
struct Staged {
    path: PathBuf,
    kept: bool,
}

impl Staged {
    const fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "an unfinished blob could not be removed");
        }
    }
}

/// A stored blob that was opened. It stays readable when it is deleted meanwhile.
pub(crate) struct LocalFile(Arc<File>);

impl LocalFile {
    pub(crate) fn stream(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, GetError>> {
        let file = Arc::clone(&self.0);
        stream::try_unfold((file, range), |(file, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let middle = range.end.min(range.start + FRAME_LENGTH as u64);
            let (portion, file) =
                blocking(move || Ok((read_at(&file, range.start..middle)?, file))).await.map_err(reading)?;
            Ok(Some((portion, (file, middle..range.end))))
        })
        .boxed()
    }
}

fn read_at(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

fn reading(error: io::Error) -> GetError {
    match error.kind() {
        io::ErrorKind::NotFound => GetError::NotFound,
        io::ErrorKind::UnexpectedEof => GetError::Corrupt("it ends early"),
        _ => Unavailable::new("reading a blob", error).into(),
    }
}

/// A new file in `.uploads`, locked until it is closed.
fn create_upload(uploads: &Path) -> io::Result<(File, Staged)> {
    for _ in 0..CREATE_ATTEMPTS {
        let path = uploads.join(Uuid::new_v4().to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        let staged = Staged { path, kept: false };
        file.lock()?;
        if file.metadata()?.nlink() > 0 {
            return Ok((file, staged));
        }
    }
    Err(io::Error::other("new files disappear from the upload directory"))
}

/// Removes the files that no living process is writing.
fn sweep(uploads: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(uploads)? {
        let path = entry?.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            // Finished meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => {
                tracing::info!(path = %path.display(), "removing an unfinished blob");
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Creates a directory and what is missing above it, durably.
fn create_directories(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if above != Path::new("") => above,
        _ => Path::new("."),
    };
    create_directories(above, mode)?;
    create_directory(path, mode)?;
    File::open(above)?.sync_all()
}

/// Creates one directory unless it exists.
fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Syncs, and in tests remembers in which order what was made durable.
#[derive(Clone, Default)]
struct Journal {
    #[cfg(test)]
    notes: Arc<std::sync::Mutex<Vec<&'static str>>>,
}

impl Journal {
    fn sync(&self, what: &'static str, file: &File) -> io::Result<()> {
        file.sync_all()?;
        self.note(what);
        Ok(())
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "the notes are only kept in tests"))]
    fn note(&self, what: &'static str) {
        #[cfg(test)]
        self.notes.lock().unwrap().push(what);
        #[cfg(not(test))]
        let _ = what;
    }
}

#[cfg(test)]
mod tests {
    use super::{LocalDisk, UPLOADS};
    use crate::BlobKey;
    use bytes::Bytes;
    use std::os::unix::fs::PermissionsExt as _;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_blob_is_durable_before_it_is_named_and_its_name_before_the_put_returns() {
        let directory = tempfile::tempdir().unwrap();
        let disk = LocalDisk::open(directory.path().join("deep/below")).await.unwrap();
        let mut writer = disk.writer(&BlobKey::new(7, Uuid::from_u128(1))).await.unwrap();
        writer.write(Bytes::from_static(b"bytes")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(*disk.journal.notes.lock().unwrap(), ["file", "rename", "folder", "directory"]);
        let mode = |path: &str| {
            let path = directory.path().join("deep/below").join(path);
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        let blob = mode("7/00000000-0000-0000-0000-000000000001");
        // The first is subject to the umask of whoever runs the test.
        assert_eq!((mode("") & 0o700, mode(UPLOADS), mode("7"), blob), (0o700, 0o700, 0o700, 0o600));
    }
}
