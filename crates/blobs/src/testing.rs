//! A stand-in for Google Cloud Storage, for tests.
//!
//! It listens on the loopback and speaks the part of the [JSON interface] that the client uses: objects with ranges, uploads
//! in one request, and resumable uploads with Google's rule that all parts but the last are multiples of 256 KiB. Objects
//! are files in a temporary directory, so that a test of the server's memory does not measure the stand-in. It panics
//! where a test went wrong; it is no part of a server.
//!
//! [JSON interface]: https://cloud.google.com/storage/docs/json_api

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a stand-in for tests stops at the first surprise")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use futures::StreamExt;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::{
    fs::OpenOptions,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::AbortHandle,
};
use tokio_util::io::ReaderStream;

use crate::{Gcs, Local, Settings, Store};

/// The bucket that every stand-in has.
pub const BUCKET: &str = "docstore-test";

/// Google keeps parts only in multiples of this, except the last.
const PART_MULTIPLE: u64 = 256 * 1024;

/// Far longer than anything takes that a test waits for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the stand-in gives for a refresh token.
pub const ACCESS_TOKEN: &str = "an-access-token";

/// Settings of a store in a local directory, which takes all content above 1 MiB.
#[must_use]
pub fn local_settings(directory: impl Into<PathBuf>) -> Settings {
    Settings {
        store: Store::Local(Local { directory: directory.into() }),
        threshold_bytes: Some(1024 * 1024),
        timeout: Duration::from_secs(30),
        uploads_max: 16,
    }
}

/// A bucket on the loopback that lasts until the value is dropped.
pub struct GcsStandIn {
    address: SocketAddr,
    bucket: Arc<Shared>,
    server: AbortHandle,
}

struct Shared {
    directory: TempDir,
    state: Mutex<Inner>,
    /// How many resumable uploads are under way.
    uploads: watch::Sender<usize>,
    /// How many requests came.
    requests: watch::Sender<usize>,
}

#[derive(Default)]
struct Inner {
    files: u64,
    objects: BTreeMap<String, File>,
    uploads: BTreeMap<String, Upload>,
    finished: BTreeSet<String>,
    requests: Vec<String>,
    authorizations: Vec<Option<String>>,
    faults: VecDeque<Fault>,
}

#[derive(Clone)]
struct File {
    path: PathBuf,
    length: u64,
}

#[derive(Clone)]
struct Upload {
    object: String,
    file: File,
}

/// What the stand-in does with a request instead of serving it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Serves it after all; lets a test reach a later request.
    None,
    /// Refuses it with this status.
    Status(u16),
    /// Does what was asked and then loses the answer.
    LostAnswer,
    /// Takes only so many bytes of a part, as Google may.
    Partial(u64),
    /// Never answers.
    Silence,
    /// Sends only this many bytes of an object and then breaks the connection. More than some 10,000 may get lost with it.
    BrokenBody(u64),
}

impl GcsStandIn {
    /// Starts one with an empty bucket.
    pub async fn start() -> Self {
        let bucket = Arc::new(Shared {
            directory: tempfile::tempdir().unwrap(),
            state: Mutex::default(),
            uploads: watch::Sender::new(0),
            requests: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/upload/storage/v1/b/{bucket}/o", any(serve))
            .route("/storage/v1/b/{bucket}/o/{object}", any(serve))
            .route("/token", post(token))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&bucket));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Self { address, bucket, server }
    }

    /// Its base URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Settings of a store in its bucket, which takes all content above 1 MiB.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let store = Gcs { bucket: BUCKET.to_owned(), endpoint: Some(self.endpoint()), anonymous: true };
        Settings { store: Store::Gcs(store), ..local_settings("") }
    }

    /// The names of all objects.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        self.bucket.state().objects.keys().cloned().collect()
    }

    /// The bytes of an object.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.bucket.state().objects.get(name)?.clone();
        Some(std::fs::read(file.path).unwrap())
    }

    /// Replaces the bytes of an object behind everybody's back.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let file = self.bucket.new_file();
        std::fs::write(&file.path, bytes).unwrap();
        self.bucket.state().objects.insert(name.to_owned(), File { length: bytes.len() as u64, ..file });
    }

    /// What the next requests meet, one each.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.bucket.state().faults.extend(faults);
    }

    /// Serves all requests again.
    pub fn forget_faults(&self) {
        self.bucket.state().faults.clear();
    }

    /// All requests so far by method, kind and range, such as `PUT resumable bytes 0-4194303/*`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.bucket.state().requests.clone()
    }

    /// The `Authorization` of all requests so far.
    #[must_use]
    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.bucket.state().authorizations.clone()
    }

    /// Waits until this many requests have come.
    pub async fn wait_for_requests(&self, count: usize) {
        until(&self.bucket.requests, |came| *came >= count).await;
    }

    /// Waits until no resumable upload is under way.
    pub async fn wait_for_no_uploads(&self) {
        until(&self.bucket.uploads, |uploads| *uploads == 0).await;
    }
}

/// Waits for a condition; one that never comes fails the test rather than hang it.
async fn until(counted: &watch::Sender<usize>, condition: impl FnMut(&usize) -> bool) {
    let mut counted = counted.subscribe();
    let reached = tokio::time::timeout(WAIT_MAX, counted.wait_for(condition)).await;
    reached.expect("the condition came").unwrap();
}

impl Drop for GcsStandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "uploadType")]
    upload_type: Option<String>,
    name: Option<String>,
    upload_id: Option<String>,
    alt: Option<String>,
}

#[derive(Deserialize)]
struct Location {
    bucket: String,
    object: Option<String>,
}

async fn token() -> Response {
    Json(BTreeMap::from([("access_token", ACCESS_TOKEN), ("token_type", "Bearer")])).into_response()
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    Path(location): Path<Location>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    let fault = shared.begin(&request, &parameters);
    match fault {
        Fault::Status(status) => return refusal(StatusCode::from_u16(status).unwrap(), "injected"),
        Fault::Silence => std::future::pending().await,
        _ => {}
    }
    if location.bucket != BUCKET {
        return refusal(StatusCode::NOT_FOUND, "no such bucket");
    }
    let (parts, body) = request.into_parts();
    let (method, headers) = (parts.method, parts.headers);
    let answer = match (location.object, parameters.upload_id, parameters.name, parameters.upload_type.as_deref()) {
        (None, Some(upload), _, _) if method == Method::PUT => shared.put_part(&upload, &headers, body, fault).await,
        (None, Some(upload), _, _) if method == Method::DELETE => shared.forget(&upload),
        (None, None, Some(name), Some("media")) if method == Method::POST => shared.put(name, body).await,
        (None, None, Some(name), Some("resumable")) if method == Method::POST => shared.create_upload(name),
        (Some(object), ..) if method == Method::DELETE => shared.delete(&object),
        (Some(object), ..) if method == Method::GET && parameters.alt.as_deref() == Some("media") => {
            shared.get(&object, &headers, fault).await
        }
        (Some(object), ..) if method == Method::GET => shared.describe(&object),
        _ => refusal(StatusCode::BAD_REQUEST, "a request that the stand-in does not know"),
    };
    if fault == Fault::LostAnswer {
        // Ends the task of the connection, and so the connection.
        std::panic::resume_unwind(Box::new("an injected loss of an answer"));
    }
    answer
}

fn refusal(status: StatusCode, reason: &'static str) -> Response {
    (status, reason).into_response()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap()
    }

    fn begin(&self, request: &Request, parameters: &Parameters) -> Fault {
        let headers = request.headers();
        let mut line = request.method().to_string();
        for word in [&parameters.upload_type, &parameters.alt].into_iter().flatten() {
            write!(line, " {word}").unwrap();
        }
        for range in [headers.get(header::RANGE), headers.get(header::CONTENT_RANGE)].into_iter().flatten() {
            write!(line, " {}", range.to_str().unwrap()).unwrap();
        }
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let mut state = self.state();
        state.requests.push(line);
        state.authorizations.push(authorization);
        self.requests.send_replace(state.requests.len());
        state.faults.pop_front().unwrap_or(Fault::None)
    }

    fn new_file(&self) -> File {
        let mut state = self.state();
        state.files += 1;
        File { path: self.directory.path().join(state.files.to_string()), length: 0 }
    }

    /// Appends at most so many bytes of a body to a file; false if the body broke off.
    async fn receive(file: &mut File, body: Body, mut limit: u64) -> bool {
        let mut writer = OpenOptions::new().create(true).append(true).open(&file.path).await.unwrap();
        let mut body = body.into_data_stream();
        let mut complete = true;
        while let Some(bytes) = body.next().await {
            let Ok(bytes) = bytes else {
                complete = false;
                break;
            };
            let taken = bytes.slice(..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX)));
            limit -= taken.len() as u64;
            file.length += taken.len() as u64;
            writer.write_all(&taken).await.unwrap();
        }
        writer.flush().await.unwrap();
        complete
    }

    async fn put(&self, object: String, body: Body) -> Response {
        let mut file = self.new_file();
        if !Self::receive(&mut file, body, u64::MAX).await {
            return refusal(StatusCode::BAD_REQUEST, "the body broke off");
        }
        self.state().objects.insert(object, file);
        Json(()).into_response()
    }

    fn delete(&self, object: &str) -> Response {
        match self.state().objects.remove(object) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => refusal(StatusCode::NOT_FOUND, "no such object"),
        }
    }

    fn describe(&self, object: &str) -> Response {
        match self.state().objects.get(object) {
            Some(_) => Json(()).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "no such object"),
        }
    }

    async fn get(&self, object: &str, headers: &HeaderMap, fault: Fault) -> Response {
        let Some(file) = self.state().objects.get(object).cloned() else {
            return refusal(StatusCode::NOT_FOUND, "no such object");
        };
        let range = headers.get(header::RANGE).unwrap().to_str().unwrap();
        let (from, to) = match range.strip_prefix("bytes=").unwrap().split_once('-').unwrap() {
            ("", last) => (file.length.saturating_sub(last.parse().unwrap()), file.length),
            (from, to) => (from.parse().unwrap(), file.length.min(to.parse::<u64>().unwrap() + 1)),
        };
        if from >= to {
            return refusal(StatusCode::RANGE_NOT_SATISFIABLE, "no byte is in this range");
        }
        let mut reader = tokio::fs::File::open(&file.path).await.unwrap();
        reader.seek(std::io::SeekFrom::Start(from)).await.unwrap();
        let body = match fault {
            Fault::BrokenBody(length) => {
                let break_off = futures::stream::once(async {
                    // What went before is written out while nothing else is ready.
                    tokio::task::yield_now().await;
                    Err(std::io::Error::other("injected"))
                });
                Body::from_stream(ReaderStream::new(reader.take(length)).chain(break_off))
            }
            _ => Body::from_stream(ReaderStream::new(reader.take(to - from))),
        };
        let headers = [
            (header::CONTENT_LENGTH, (to - from).to_string()),
            (header::CONTENT_RANGE, format!("bytes {from}-{}/{}", to - 1, file.length)),
        ];
        (StatusCode::PARTIAL_CONTENT, headers, body).into_response()
    }

    fn create_upload(&self, object: String) -> Response {
        let file = self.new_file();
        let mut state = self.state();
        let id = state.files.to_string();
        state.uploads.insert(id.clone(), Upload { object, file });
        self.uploads.send_replace(state.uploads.len());
        // A host that nobody can reach: the client has to stay with the endpoint that it was told.
        let location = format!("http://unreachable.invalid/upload/storage/v1/b/{BUCKET}/o?upload_id={id}");
        [(header::LOCATION, location)].into_response()
    }

    async fn put_part(&self, id: &str, headers: &HeaderMap, body: Body, fault: Fault) -> Response {
        let (upload, finished) = {
            let state = self.state();
            (state.uploads.get(id).cloned(), state.finished.contains(id))
        };
        let Some(mut upload) = upload else {
            return if finished { Json(()).into_response() } else { refusal(StatusCode::NOT_FOUND, "no such upload") };
        };
        let range = headers.get(header::CONTENT_RANGE).unwrap().to_str().unwrap();
        let (range, total) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
        if let Some((from, to)) = range.split_once('-') {
            let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
            if from != upload.file.length || (total == "*" && !(to + 1 - from).is_multiple_of(PART_MULTIPLE)) {
                return refusal(StatusCode::BAD_REQUEST, "a part of the wrong place or length");
            }
            let limit = if let Fault::Partial(limit) = fault { limit } else { u64::MAX };
            // What came is kept even if the rest did not come, in the multiples that Google keeps.
            if !Self::receive(&mut upload.file, body, limit).await {
                upload.file.length -= upload.file.length % PART_MULTIPLE;
                let file = std::fs::File::options().write(true).open(&upload.file.path).unwrap();
                file.set_len(upload.file.length).unwrap();
            }
        }
        let mut state = self.state();
        let length = upload.file.length;
        let Some(kept) = state.uploads.get_mut(id) else {
            return refusal(StatusCode::NOT_FOUND, "an upload that was cancelled");
        };
        *kept = upload.clone();
        if total.parse() == Ok(length) {
            state.uploads.remove(id);
            state.finished.insert(id.to_owned());
            state.objects.insert(upload.object, upload.file);
            self.uploads.send_replace(state.uploads.len());
            return Json(()).into_response();
        }
        if length == 0 {
            return StatusCode::PERMANENT_REDIRECT.into_response();
        }
        (StatusCode::PERMANENT_REDIRECT, [(header::RANGE, format!("bytes=0-{}", length - 1))]).into_response()
    }

    fn forget(&self, id: &str) -> Response {
        let mut state = self.state();
        let known = state.uploads.remove(id);
        self.uploads.send_replace(state.uploads.len());
        // Google's own status for an upload that was cancelled.
        if known.is_some() {
            refusal(StatusCode::from_u16(499).unwrap(), "cancelled")
        } else {
            refusal(StatusCode::NOT_FOUND, "no such upload")
        }
    }
}
