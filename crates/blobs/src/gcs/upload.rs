//! The way into the bucket.
//!
//! What fits one part is sent in one request, longer content as a [resumable upload]: one part is on its way while the
//! next one fills, and nothing is visible before the last one arrived.
//!
//! [resumable upload]: https://cloud.google.com/storage/docs/performing-resumable-uploads

use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use reqwest::{Response, Url};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{errors::Unavailable, format::FRAME_LENGTH};

use super::{
    Bucket, RETRIES_MAX,
    request::{Caller, Failure, back_off, note},
};

/// A multiple of the 256 KiB that Google asks for. Two of them are all that an upload holds, and at 4 MiB the round trip
/// for each is a small part of the time it takes.
const PART_LENGTH: usize = 4 * 1024 * 1024;
const WRITING: &str = "writing a blob";
/// How long a given-up upload is told so; if that fails, it lapses by itself.
const FORGET_DEADLINE: Duration = Duration::from_secs(10);

/// An upload in progress. Dropped, it tells the bucket to forget it.
pub(crate) struct BucketWriter {
    bucket: Bucket,
    object: String,
    part: Vec<u8>,
    /// How many bytes were handed to the session.
    sent: u64,
    session: Option<Session>,
    /// The part on its way.
    sending: Option<JoinHandle<Result<(), Failure>>>,
}

impl BucketWriter {
    pub(super) fn new(bucket: Bucket, object: String) -> Self {
        Self { bucket, object, part: Vec::new(), sent: 0, session: None, sending: None }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Unavailable> {
        if self.part.capacity() == 0 {
            self.part.reserve_exact(PART_LENGTH + FRAME_LENGTH);
        }
        self.part.extend_from_slice(bytes);
        // Not at PART_LENGTH, so that something is left for the last part, which must not be empty.
        while self.part.len() > PART_LENGTH {
            self.send_part().await.map_err(|failure| Unavailable::new(WRITING, failure))?;
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), Failure> {
        // Its memory is free before more is taken.
        self.arrived().await?;
        let mut rest = Vec::with_capacity(PART_LENGTH + FRAME_LENGTH);
        rest.extend_from_slice(&self.part[PART_LENGTH..]);
        self.part.truncate(PART_LENGTH);
        let part = Bytes::from(std::mem::replace(&mut self.part, rest));
        let session = match &self.session {
            Some(session) => session.clone(),
            None => self.session.insert(Session::begin(&self.bucket, &self.object).await?).clone(),
        };
        let start = self.sent;
        self.sent += part.len() as u64;
        self.sending = Some(tokio::spawn(async move { session.send(part, start, None).await }));
        Ok(())
    }

    /// Waits for the part on its way.
    async fn arrived(&mut self) -> Result<(), Failure> {
        match &mut self.sending {
            None => Ok(()),
            Some(sending) => {
                let arrived = sending.await;
                self.sending = None;
                arrived?
            }
        }
    }

    pub(crate) async fn finish(mut self) -> Result<(), Unavailable> {
        match self.publish().await {
            Ok(()) => {
                self.session = None;
                Ok(())
            }
            Err(failure) => {
                self.abort().await;
                Err(Unavailable::new(WRITING, failure))
            }
        }
    }

    async fn publish(&mut self) -> Result<(), Failure> {
        self.arrived().await?;
        let last = Bytes::from(std::mem::take(&mut self.part));
        match &self.session {
            Some(session) => session.send(last.clone(), self.sent, Some(self.sent + last.len() as u64)).await,
            None => {
                let url = self.bucket.upload_url(&self.object, "media");
                let caller = &self.bucket.caller;
                let request = |http: &reqwest::Client| {
                    http.post(&url).header(header::CONTENT_TYPE, "application/octet-stream").body(last.clone())
                };
                caller.within(caller.send(request, |_| false)).await.map(drop)
            }
        }
    }

    pub(crate) async fn abort(mut self) {
        if let Some(sending) = self.sending.take() {
            sending.abort();
            let _ = sending.await;
        }
        if let Some(session) = self.session.take() {
            session.forget().await;
        }
    }
}

impl Drop for BucketWriter {
    fn drop(&mut self) {
        if let Some(sending) = &self.sending {
            sending.abort();
        }
        if let Some(session) = self.session.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { session.forget().await });
        }
    }
}

/// A resumable upload that was begun.
#[derive(Clone)]
struct Session {
    caller: Caller,
    /// Whoever knows it may write, so it is never logged.
    url: Url,
}

impl Session {
    async fn begin(bucket: &Bucket, object: &str) -> Result<Self, Failure> {
        let caller = bucket.caller.clone();
        let url = bucket.upload_url(object, "resumable");
        let request = |http: &reqwest::Client| {
            http.post(&url)
                .header("x-upload-content-type", "application/octet-stream")
                .header(header::CONTENT_LENGTH, 0)
        };
        let begun = caller.within(caller.send(request, |_| false)).await?;
        let url = session_url(&bucket.endpoint, &begun).ok_or(Failure::Answer("it named no upload"))?;
        Ok(Self { caller, url })
    }

    /// Sends a part, and with a `total` the last one. A part that fails is continued where the bucket says it stands.
    async fn send(&self, part: Bytes, start: u64, total: Option<u64>) -> Result<(), Failure> {
        let end = start + part.len() as u64;
        let mut stored = start;
        let mut attempt = 0;
        loop {
            let missing = part.slice(usize::try_from(stored - start).unwrap_or(part.len())..);
            let range = format!("bytes {stored}-{}/{}", end - 1, Total(total));
            let (progress, failure) = match self.caller.within(self.put(missing, range)).await {
                Ok(progress) => (progress, Failure::Answer("it kept less than it was sent")),
                Err(failure) if failure.is_passing() && attempt < RETRIES_MAX => {
                    back_off(attempt).await;
                    (self.progress(total).await?, failure)
                }
                Err(failure) => return Err(failure),
            };
            match progress {
                Progress::Finished if total.is_some() => return Ok(()),
                Progress::Stored(now) if now == end && total.is_none() => return Ok(()),
                // Google may keep less than it was sent; then the rest is sent again, but not for ever.
                Progress::Stored(now) if (stored..end).contains(&now) => {
                    if now == stored && attempt == RETRIES_MAX {
                        return Err(failure);
                    }
                    note(&failure, "a part of an upload was not stored and is continued");
                    attempt = if now == stored { attempt + 1 } else { 0 };
                    stored = now;
                }
                _ => return Err(Failure::Answer("it kept something else than it was sent")),
            }
        }
    }

    /// How far the upload is.
    async fn progress(&self, total: Option<u64>) -> Result<Progress, Failure> {
        let range = format!("bytes */{}", Total(total));
        let request = |http: &reqwest::Client| {
            http.put(self.url.clone()).header(header::CONTENT_RANGE, &range).header(header::CONTENT_LENGTH, 0)
        };
        self.caller.within(async { Progress::of(&self.caller.send(request, is_unfinished).await?) }).await
    }

    /// One attempt: what is to be sent next depends on how it ends.
    async fn put(&self, bytes: Bytes, range: String) -> Result<Progress, Failure> {
        let request = self.caller.http.put(self.url.clone()).header(header::CONTENT_RANGE, range).body(bytes);
        Progress::of(&self.caller.send_once(request, is_unfinished).await?)
    }

    /// Tells the bucket that the rest will not come. Google answers with 499, and it matters to nobody if it does not.
    async fn forget(&self) {
        let request = self.caller.http.delete(self.url.clone());
        let told = tokio::time::timeout(FORGET_DEADLINE, self.caller.send_once(request, |_| true)).await;
        if !matches!(told, Ok(Ok(_))) {
            tracing::info!("an upload that was given up could not be cancelled; it lapses by itself");
        }
    }
}

/// The address of the upload, at the endpoint that we were told: an emulator or a proxy may not know how it is reached.
fn session_url(endpoint: &str, begun: &Response) -> Option<Url> {
    let named = begun.url().join(begun.headers().get(header::LOCATION)?.to_str().ok()?).ok()?;
    let mut url = Url::parse(endpoint).ok()?;
    url.set_path(named.path());
    url.set_query(named.query());
    Some(url)
}

fn is_unfinished(status: StatusCode) -> bool {
    status == StatusCode::PERMANENT_REDIRECT
}

enum Progress {
    /// The object is there.
    Finished,
    /// So many bytes are kept.
    Stored(u64),
}

impl Progress {
    fn of(response: &Response) -> Result<Self, Failure> {
        if !is_unfinished(response.status()) {
            return Ok(Self::Finished);
        }
        // `Range: bytes=0-4` are five bytes, and without it there are none.
        let Some(range) = response.headers().get(header::RANGE) else { return Ok(Self::Stored(0)) };
        let last = range.to_str().ok().and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
        last.map(|last| Self::Stored(last + 1)).ok_or(Failure::Answer("it did not tell how far the upload is"))
    }
}

/// A total that may not be known yet.
struct Total(Option<u64>);

impl std::fmt::Display for Total {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(total) => total.fmt(formatter),
            None => formatter.write_str("*"),
        }
    }
}
