//! The store that callers see, over the one that the settings choose.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    errors::{BoxError, GetError, OpenError, PutError, Unavailable},
    format,
    gcs::{Bucket, BucketObject, BucketWriter},
    key::BlobKey,
    local::{LocalDisk, LocalFile, LocalWriter},
    observe::{self, Observation},
    read::{self, BlobStream},
    settings::{Settings, Store},
    write,
};

/// The longest content that is taken, whatever the caller allows: 32 GiB. Its index takes 4.5 MiB of memory.
pub const CONTENT_BYTES_MAX: u64 = 32 * 1024 * 1024 * 1024;

/// How long an upload waits for a place: shorter than clients wait for an answer, longer than most uploads take.
const UPLOAD_WAIT: Duration = Duration::from_secs(10);

/// What the content under a key is: what a put returns, what the database row keeps and what a get expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
    /// Size of the content, in bytes.
    pub size: u64,
}

/// A place for large content. Clones share it.
#[derive(Clone)]
pub struct BlobStore {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    uploads: Semaphore,
    settings: Settings,
}

impl BlobStore {
    /// Opens the store. A local directory is created if it is absent, and what killed processes left in it is removed; a
    /// bucket is not contacted yet, see [`BlobStore::check`].
    ///
    /// # Errors
    /// When the directory cannot be used, or the credentials cannot be read.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let backend = match &settings.store {
            Store::Local(local) => Backend::Local(LocalDisk::open(local.directory.clone()).await?),
            Store::Gcs(gcs) => Backend::Gcs(Bucket::open(gcs, settings.timeout)?),
        };
        let uploads = Semaphore::new(usize::try_from(settings.uploads_max).unwrap_or(1));
        Ok(Self { shared: Arc::new(Shared { backend, uploads, settings }) })
    }

    /// Whether content of this size belongs here rather than into a database row.
    #[must_use]
    pub fn is_external(&self, size: u64) -> bool {
        self.shared.settings.is_external(size)
    }

    /// A key that was never used before.
    #[must_use]
    pub fn new_key(&self, repo_id: i64) -> BlobKey {
        BlobKey::new(repo_id, Uuid::new_v4())
    }

    /// Stores the whole stream under a fresh key, and returns when it is durable: the file and the folders that name it are
    /// synced to disk, or Google has confirmed the finished object.
    ///
    /// The stream is read no faster than it is stored. Compression is decided on the first 256 KiB and is no concern of the
    /// caller: limit, hash and size are those of the content. Dropping the future ends the upload.
    ///
    /// # Errors
    /// [`PutError::TooLarge`] above `limit_bytes` (or [`CONTENT_BYTES_MAX`]), [`PutError::HashMismatch`] when the content
    /// does not have `expected_sha256`, [`PutError::Source`] when the stream fails, [`PutError::Unavailable`] when the
    /// store fails or when no place for another upload is free within 10 s.
    pub async fn put<S, E>(
        &self,
        key: &BlobKey,
        stream: S,
        limit_bytes: u64,
        expected_sha256: Option<[u8; 32]>,
    ) -> Result<Stored, PutError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<BoxError>,
    {
        let observation = self.observe("put");
        let result = self.put_unobserved(key, stream, limit_bytes, expected_sha256).await;
        observation.end(result.as_ref().map_or_else(PutError::outcome, |_| "ok"));
        result
    }

    async fn put_unobserved<S, E>(
        &self,
        key: &BlobKey,
        stream: S,
        limit_bytes: u64,
        expected_sha256: Option<[u8; 32]>,
    ) -> Result<Stored, PutError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<BoxError>,
    {
        const WAITING: &str = "waiting for a place among the uploads";
        let _place = tokio::time::timeout(UPLOAD_WAIT, self.shared.uploads.acquire())
            .await
            .map_err(|late| {
                observe::uploads_full();
                Unavailable::new(WAITING, late)
            })?
            .map_err(|closed| Unavailable::new(WAITING, closed))?;
        let _upload = observe::Upload::start(self.shared.backend.name());
        let mut writer = self.shared.backend.writer(key).await?;
        match write::write(&mut writer, stream, limit_bytes.min(CONTENT_BYTES_MAX), expected_sha256).await {
            Ok(written) => {
                writer.finish().await?;
                observe::stored(self.shared.backend.name(), written.content.size, written.bytes);
                Ok(written.content)
            }
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    /// Reads a blob, or a range of its content, as a stream of verified bytes. The range is cut to the content.
    ///
    /// The first frame is verified before this returns, so content of up to 256 KiB is known to be right before an answer
    /// begins. The last frame of a whole read is given only when the hash of the whole matched.
    ///
    /// # Errors
    /// [`GetError::NotFound`], [`GetError::Corrupt`] when what is stored is not the expected content, and
    /// [`GetError::Unavailable`]; the stream can end with the latter two.
    pub async fn get(
        &self,
        key: &BlobKey,
        expected: &Stored,
        range: Option<Range<u64>>,
    ) -> Result<BlobStream, GetError> {
        let observation = self.observe("get");
        match self.start_read(key, *expected, range).await {
            Ok(started) => Ok(started.into_stream(self.shared.backend.name(), observation)),
            Err(error) => {
                observation.end(error.outcome());
                Err(error)
            }
        }
    }

    async fn start_read(
        &self,
        key: &BlobKey,
        expected: Stored,
        range: Option<Range<u64>>,
    ) -> Result<read::Started, GetError> {
        if expected.size > CONTENT_BYTES_MAX {
            return Err(GetError::Corrupt("the expected size is larger than any blob"));
        }
        let range = range.unwrap_or(0..expected.size);
        let end = range.end.min(expected.size);
        let opened = self.shared.backend.open(key, format::trailer_length(expected.size)).await?;
        read::start(opened, expected, range.start.min(end)..end).await
    }

    /// Deletes a blob. One that is not there counts as deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), Unavailable> {
        let observation = self.observe("delete");
        let result = self.shared.backend.delete(key).await;
        observation.end(outcome(&result));
        result
    }

    /// Whether the store can be read and written, for readiness. A directory gets a small file that is removed again; a
    /// bucket is asked for the object `_docstore/check`, which is written when it is absent.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn check(&self) -> Result<(), Unavailable> {
        let observation = self.observe("check");
        let result = self.shared.backend.check().await;
        observation.end(outcome(&result));
        result
    }

    fn observe(&self, operation: &'static str) -> Observation {
        Observation::start(self.shared.backend.name(), operation)
    }
}

impl std::fmt::Debug for BlobStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BlobStore").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

fn outcome(result: &Result<(), Unavailable>) -> &'static str {
    if result.is_ok() { "ok" } else { "unavailable" }
}

enum Backend {
    Local(LocalDisk),
    Gcs(Bucket),
}

impl Backend {
    const fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Gcs(_) => "gcs",
        }
    }

    async fn writer(&self, key: &BlobKey) -> Result<Writer, Unavailable> {
        match self {
            Self::Local(disk) => disk.writer(key).await.map(Writer::Local),
            Self::Gcs(bucket) => Ok(Writer::Gcs(bucket.writer(key))),
        }
    }

    async fn open(&self, key: &BlobKey, trailer_length: u64) -> Result<Opened, GetError> {
        match self {
            Self::Local(disk) => disk.open_blob(key, trailer_length).await,
            Self::Gcs(bucket) => bucket.open_blob(key, trailer_length).await,
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), Unavailable> {
        match self {
            Self::Local(disk) => disk.delete(key).await,
            Self::Gcs(bucket) => bucket.delete(key).await,
        }
    }

    async fn check(&self) -> Result<(), Unavailable> {
        match self {
            Self::Local(disk) => disk.check().await,
            Self::Gcs(bucket) => bucket.check().await,
        }
    }
}

/// A blob that is being written. Nothing is under its key until [`Writer::finish`]; dropped, it leaves nothing.
pub(crate) enum Writer {
    Local(LocalWriter),
    Gcs(BucketWriter),
}

impl Writer {
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Unavailable> {
        match self {
            Self::Local(writer) => writer.write(bytes).await,
            Self::Gcs(writer) => writer.write(&bytes).await,
        }
    }

    async fn finish(self) -> Result<(), Unavailable> {
        match self {
            Self::Local(writer) => writer.finish().await,
            Self::Gcs(writer) => writer.finish().await,
        }
    }

    /// What dropping does, but waits until it is done.
    async fn abort(self) {
        match self {
            Self::Local(writer) => drop(writer),
            Self::Gcs(writer) => writer.abort().await,
        }
    }
}

/// A blob that was found.
pub(crate) struct Opened {
    /// How many bytes are stored.
    pub(crate) object_length: u64,
    /// The last of them, as many as were asked for or as there are.
    pub(crate) trailer: Bytes,
    pub(crate) source: Source,
}

/// Where the rest of an opened blob comes from.
pub(crate) enum Source {
    Local(LocalFile),
    Gcs(BucketObject),
}

impl Source {
    /// The stored bytes of a range, which is not empty, in portions of any size.
    pub(crate) async fn stream(
        &self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, GetError>>, GetError> {
        match self {
            Self::Local(file) => Ok(file.stream(range)),
            Self::Gcs(object) => object.stream(range).await,
        }
    }
}
