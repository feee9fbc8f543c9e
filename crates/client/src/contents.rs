use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use docstore_models::{MissingContentsRequest, MissingContentsResponse, StoredContent};
use futures::Stream;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use crate::{
    Error, RepoClient,
    transport::{Call, one_line},
};

/// Bytes read from a file at once while it is uploaded.
const UPLOAD_CHUNK_BYTES: usize = 128 * 1024;
/// Hashes asked about in one request; with more, `missing_contents` sends several.
const MISSING_HASHES_MAX: usize = 5_000;

/// The bytes of an upload, in a form that can be read again when the upload has to be sent again.
#[derive(Clone, Debug)]
pub enum ContentBody {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which is read while it is sent.
    File(PathBuf),
}

pub(crate) struct Upload {
    pub(crate) body: ContentBody,
    pub(crate) size: u64,
    pub(crate) hash: String,
}

/// A body being sent, and how it is doing.
pub(crate) struct OpenUpload {
    pub(crate) body: reqwest::Body,
    pub(crate) progress: Progress,
}

impl Upload {
    pub(crate) async fn open(&self) -> Result<OpenUpload, Error> {
        let progress = Progress::default();
        let body = match &self.body {
            ContentBody::Bytes(bytes) => {
                progress.complete();
                reqwest::Body::from(bytes.clone())
            }
            ContentBody::File(path) => {
                let what = path.display().to_string();
                let file = tokio::fs::File::open(path).await.map_err(|source| Error::Local { what, source })?;
                // One byte more than announced shows that the file has grown.
                let reader = ReaderStream::with_capacity(file.take(self.size.saturating_add(1)), UPLOAD_CHUNK_BYTES);
                reqwest::Body::wrap_stream(HashedUpload {
                    reader,
                    hasher: Some(Sha256::new()),
                    sent: 0,
                    size: self.size,
                    hash: self.hash.clone(),
                    what: path.display().to_string(),
                    progress: progress.clone(),
                })
            }
        };
        Ok(OpenUpload { body, progress })
    }
}

/// How far an upload is; shared between the body and whoever watches it.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    steps: Arc<AtomicU64>,
    fault: Arc<Mutex<Option<Error>>>,
}

impl Progress {
    const COMPLETE: u64 = u64::MAX;

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn complete(&self) {
        self.steps.store(Self::COMPLETE, Ordering::Relaxed);
    }

    fn fail(&self, error: Error) {
        if let Ok(mut fault) = self.fault.lock() {
            fault.get_or_insert(error);
        }
    }

    /// The local reason for which the upload broke off, if it is one.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault.lock().ok().and_then(|mut fault| fault.take())
    }

    /// Ends when nothing was taken from the body for `idle`; never once the whole body was taken.
    pub(crate) async fn stalled(&self, idle: Duration) {
        loop {
            let before = self.steps.load(Ordering::Relaxed);
            if before == Self::COMPLETE {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(idle).await;
            if self.steps.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// The stream of a file that fails before its last chunk when the bytes are not those that were announced.
struct HashedUpload {
    reader: ReaderStream<tokio::io::Take<tokio::fs::File>>,
    hasher: Option<Sha256>,
    sent: u64,
    size: u64,
    hash: String,
    what: String,
    progress: Progress,
}

impl HashedUpload {
    fn check_end(&mut self) -> Option<Error> {
        let actual = hex::encode(self.hasher.take()?.finalize());
        if self.sent == self.size && actual == self.hash {
            self.progress.complete();
            return None;
        }
        Some(Error::ContentMismatch {
            what: format!("{} (it changed while it was sent)", self.what),
            expected: self.hash.clone(),
            actual,
        })
    }
}

impl Stream for HashedUpload {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.hasher.is_none() {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = Pin::new(&mut self.reader).poll_next(context) else { return Poll::Pending };
        match next {
            Some(Ok(chunk)) => {
                self.sent += chunk.len() as u64;
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&chunk);
                }
                self.progress.step();
                // The last announced byte completes the request, so it leaves only after the check.
                if self.sent >= self.size
                    && let Some(fault) = self.check_end()
                {
                    self.progress.fail(fault);
                    return Poll::Ready(Some(Err(io::Error::other("the file changed while it was sent"))));
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Some(Err(source)) => {
                let text = one_line(&source);
                self.progress.fail(Error::Local { what: self.what.clone(), source });
                Poll::Ready(Some(Err(io::Error::other(text))))
            }
            None => match self.check_end() {
                Some(fault) => {
                    self.progress.fail(fault);
                    Poll::Ready(Some(Err(io::Error::other("the file changed while it was sent"))))
                }
                None => Poll::Ready(None),
            },
        }
    }
}

impl RepoClient {
    /// Which of these contents the repo does not have, `POST contents/missing`. Additive.
    ///
    /// # Errors
    /// As every call; see [`Error::is_missing_endpoint`] for servers without it.
    pub async fn missing_contents(&self, hashes: &[String]) -> Result<Vec<String>, Error> {
        let mut missing = Vec::new();
        for hashes in hashes.chunks(MISSING_HASHES_MAX) {
            let body = MissingContentsRequest { hashes: hashes.to_vec() };
            let call = Call::post_query(self.path("contents/missing")).json(&body)?;
            missing.extend(self.client.fetch::<MissingContentsResponse>(call).await?.missing);
        }
        Ok(missing)
    }

    /// Uploads bytes under their SHA-256, `PUT contents/{hash}`, so that a commit can name them. Additive.
    ///
    /// # Errors
    /// [`Error::ContentMismatch`] when a file no longer has this hash; otherwise as every call.
    pub async fn put_content(&self, hash: &str, size: u64, body: ContentBody) -> Result<StoredContent, Error> {
        let upload = Upload::new(body, size, hash.to_owned());
        self.client.fetch(Call::put_content(self.path(&format!("contents/{hash}")), upload)).await
    }
}
