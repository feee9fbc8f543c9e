//! Blobs in Google Cloud Storage: objects `<repo id>/<uuid>` of one bucket, over its [JSON interface].
//!
//! The interface is spoken here rather than by the `object_store` crate, because that one writes over Google's XML
//! interface, which the common emulator does not speak ([fake-gcs-server issue 331]), and because the resumable uploads
//! of the JSON interface leave nothing behind that costs money: an upload that nobody finishes lapses after a week.
//!
//! # Time and retries
//!
//! Every request ends when its answer, or the next piece of it, did not come for the timeout of the settings. One that found no connection, timed out, or was
//! refused with 408, 429 or 5xx is sent again, at most [`RETRIES_MAX`] times, after a wait that begins at
//! [`BACKOFF_FIRST`] and doubles, shortened by chance to at least half. All of that together, with the fetching of a
//! token, ends after twice the timeout. Everything that is sent may be sent twice, because a key belongs to one upload.
//!
//! [JSON interface]: https://cloud.google.com/storage/docs/json_api
//! [fake-gcs-server issue 331]: https://github.com/fsouza/fake-gcs-server/issues/331

mod request;
mod upload;

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use google_cloud_auth::credentials;
use http::{StatusCode, header};
use reqwest::{Method, Response, redirect};

use crate::{
    errors::{GetError, OpenError, Unavailable},
    key::BlobKey,
    settings,
    store::{Opened, Source},
};

pub(crate) use upload::BucketWriter;

use request::{Caller, Failure};

const GOOGLE: &str = "https://storage.googleapis.com";
/// Enough to read, write and delete objects, and nothing else of the project.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// Google answers within milliseconds; what takes longer to connect is better tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a request is sent again, and a download continued without a byte in between.
const RETRIES_MAX: u32 = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Readiness is asked often and by somebody who waits.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);
/// Outside the keys, which begin with a number.
const CHECK_OBJECT: &str = "_docstore%2Fcheck";

const READING: &str = "reading a blob";

/// One bucket.
#[derive(Clone)]
pub(crate) struct Bucket {
    caller: Caller,
    endpoint: String,
    name: String,
}

impl Bucket {
    pub(crate) fn open(settings: &settings::Gcs, timeout: Duration) -> Result<Self, OpenError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("docstore/", env!("CARGO_PKG_VERSION")))
            // Uploads and downloads side by side share nothing but the bucket, neither a connection nor its window.
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            // A download takes as long as its reader; what is bounded is the time without progress.
            .read_timeout(timeout)
            // An unfinished upload is answered with 308, which is no redirect here.
            .redirect(redirect::Policy::none())
            // Ranges are those of the stored bytes.
            .no_gzip()
            .no_zstd()
            .build()
            .map_err(|error| OpenError::Client(error.into()))?;
        let credentials = if settings.anonymous {
            credentials::anonymous::Builder::new().build()
        } else {
            let builder = credentials::Builder::default().with_scopes([SCOPE]);
            builder.build().map_err(|error| OpenError::Client(error.into()))?
        };
        Ok(Self {
            caller: Caller { http, credentials, deadline: 2 * timeout },
            endpoint: settings.endpoint.clone().unwrap_or_else(|| GOOGLE.to_owned()),
            name: settings.bucket.clone(),
        })
    }

    fn object_url(&self, object: &str) -> String {
        format!("{}/storage/v1/b/{}/o/{object}", self.endpoint, self.name)
    }

    /// Where objects are written, `how` being `media` or `resumable`.
    fn upload_url(&self, object: &str, how: &str) -> String {
        format!("{}/upload/storage/v1/b/{}/o?uploadType={how}&name={object}", self.endpoint, self.name)
    }

    pub(crate) fn writer(&self, key: &BlobKey) -> BucketWriter {
        BucketWriter::new(self.clone(), object(key))
    }

    pub(crate) async fn open_blob(&self, key: &BlobKey, trailer_length: u64) -> Result<Opened, GetError> {
        let object = BucketObject { bucket: self.clone(), url: self.object_url(&object(key)) };
        let (object_length, trailer) = self.caller.within(object.tail(trailer_length)).await?;
        Ok(Opened { object_length, trailer, source: Source::Gcs(object) })
    }

    pub(crate) async fn delete(&self, key: &BlobKey) -> Result<(), Unavailable> {
        let url = self.object_url(&object(key));
        let deleted =
            self.caller.send(|http| http.request(Method::DELETE, &url), |status| status == StatusCode::NOT_FOUND);
        self.caller.within(deleted).await.map(drop).map_err(|failure| Unavailable::new("deleting a blob", failure))
    }

    pub(crate) async fn check(&self) -> Result<(), Unavailable> {
        let checked = tokio::time::timeout(CHECK_DEADLINE, self.caller.within(self.ask()));
        let failure = match checked.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Late { deadline: CHECK_DEADLINE },
        };
        Err(Unavailable::new("asking the bucket", failure))
    }

    async fn ask(&self) -> Result<(), Failure> {
        let url = self.object_url(CHECK_OBJECT);
        let found = self.caller.send(|http| http.get(&url), |status| status == StatusCode::NOT_FOUND).await?;
        // A bucket that is not there answers the same, so only writing tells.
        if found.status() == StatusCode::NOT_FOUND {
            let url = self.upload_url(CHECK_OBJECT, "media");
            self.caller.send(|http| http.post(&url).body("docstore"), |_| false).await?;
        }
        Ok(())
    }
}

/// The name of a key's object as a part of a URL.
fn object(key: &BlobKey) -> String {
    key.as_str().replace('/', "%2F")
}

/// A stored blob that was found.
#[derive(Clone)]
pub(crate) struct BucketObject {
    bucket: Bucket,
    url: String,
}

impl BucketObject {
    /// The length of the object and its last bytes.
    async fn tail(&self, length: u64) -> Result<(u64, Bytes), Failure> {
        let mut attempt = 0;
        loop {
            let response = self.get(&format!("bytes=-{length}")).await?;
            let object_length = match response.status() {
                StatusCode::NOT_FOUND => return Err(Failure::NotFound),
                // There is no last byte of nothing.
                StatusCode::RANGE_NOT_SATISFIABLE => return Ok((0, Bytes::new())),
                StatusCode::OK => response.content_length(),
                _ => length_of_object(&response),
            };
            let object_length = object_length.ok_or(Failure::Answer("it did not tell the length of the object"))?;
            // Whoever sends the whole object instead of its end must not fill the memory with it.
            if response.content_length().is_none_or(|sent| sent != length.min(object_length)) {
                return Err(Failure::Answer("it sent another range than was asked for"));
            }
            match response.bytes().await {
                Ok(trailer) => return Ok((object_length, trailer)),
                Err(error) if attempt == RETRIES_MAX => return Err(error.into()),
                Err(_) => request::back_off(attempt).await,
            }
            attempt += 1;
        }
    }

    async fn get(&self, range: &str) -> Result<Response, Failure> {
        let accepted = |status| matches!(status, StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE);
        let request =
            |http: &reqwest::Client| http.get(&self.url).query(&[("alt", "media")]).header(header::RANGE, range);
        self.bucket.caller.send(request, accepted).await
    }

    /// The stored bytes of a range. A download that breaks off is continued where it was.
    pub(crate) async fn stream(
        &self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, GetError>>, GetError> {
        let mut download = Download { object: self.clone(), range, response: None, failures: 0 };
        self.bucket.caller.within(download.connect()).await?;
        Ok(stream::try_unfold(download, |mut download| async move {
            Ok(download.next().await?.map(|portion| (portion, download)))
        })
        .boxed())
    }
}

/// The total of `Content-Range: bytes 0-4/5`.
fn length_of_object(response: &Response) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

struct Download {
    object: BucketObject,
    /// What is still to come.
    range: Range<u64>,
    response: Option<Response>,
    /// How often in a row it broke off.
    failures: u32,
}

impl Download {
    async fn connect(&mut self) -> Result<(), Failure> {
        let range = format!("bytes={}-{}", self.range.start, self.range.end - 1);
        let response = self.object.get(&range).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::NOT_FOUND => return Err(Failure::NotFound),
            _ => return Err(Failure::Answer("it sent another range than was asked for")),
        }
        self.response = Some(response);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, GetError> {
        loop {
            if self.range.is_empty() {
                return Ok(None);
            }
            let Some(response) = &mut self.response else {
                let caller = self.object.bucket.caller.clone();
                caller.within(self.connect()).await?;
                continue;
            };
            match response.chunk().await {
                Ok(Some(portion)) => {
                    self.failures = 0;
                    self.range.start += portion.len() as u64;
                    return Ok(Some(portion));
                }
                // Whoever reads finds out what is missing.
                Ok(None) => return Ok(None),
                Err(error) if self.failures == RETRIES_MAX => return Err(Failure::from(error).into()),
                Err(error) => {
                    request::note(&error.into(), "a download from the bucket broke off and is continued");
                    self.response = None;
                    request::back_off(self.failures).await;
                    self.failures += 1;
                }
            }
        }
    }
}

impl From<Failure> for GetError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFound => Self::NotFound,
            failure => Unavailable::new(READING, failure).into(),
        }
    }
}
