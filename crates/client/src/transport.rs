//! Sending a request: headers, time limits, and when to send it again.
//!
//! A request that failed falls into one of three cases. *Nothing was sent* (no connection): any request may be sent
//! again. *The server said no* with 429 or 503: it did nothing, or it will recognise the key. *The answer was lost*: a
//! read may be sent again; a write only if the server honours idempotency keys. Servers that do send `X-Request-Id`
//! with every answer, which those of the original contract never do; if no answer was seen yet, `/healthz` is asked.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use docstore_models::ErrorCode;
use reqwest::{
    Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::ExposeSecret;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    Attempt, ClientBuilder, Error, Limits, Refusal, RetryPolicy, TokenProvider,
    builder::Observer,
    contents::{ContentBody, Upload},
    paths::segments,
};

/// The largest JSON answer that is read, in bytes. The whole chain of a repo with a hundred thousand commits fits.
pub const MAX_JSON_ANSWER_BYTES: usize = 512 * 1024 * 1024;
/// The largest body of a refusal that is read, in bytes: enough for a long list of conflicts.
const MAX_REFUSAL_BYTES: usize = 4 * 1024 * 1024;
const IDENTITY_HEADER: &str = "X-DocStore-Identity";
const IDEMPOTENCY_KEY_HEADER: &str = "Idempotency-Key";
const REQUEST_ID_HEADER: &str = "x-request-id";

pub(crate) type KeySource = Arc<dyn Fn() -> Uuid + Send + Sync>;

pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    /// Without a slash at the end.
    pub(crate) base: String,
    pub(crate) identity: Option<String>,
    pub(crate) tokens: Option<Arc<dyn TokenProvider>>,
    pub(crate) limits: Limits,
    pub(crate) retries: RetryPolicy,
    pub(crate) keys: KeySource,
    pub(crate) observer: Option<Observer>,
    /// Whether the server honours idempotency keys, once known.
    pub(crate) honours_keys: OnceLock<bool>,
}

/// A client of one server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// A client of one repo of a server. Cheap to clone.
#[derive(Clone)]
pub struct RepoClient {
    pub(crate) client: Client,
    name: String,
}

/// What the request does, which decides when it may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// None, or the same one however often it is sent.
    Repeatable,
    /// A write, which carries an idempotency key.
    Write,
}

enum CallBody {
    None,
    Json(Bytes),
    Content(Upload),
}

/// A request, ready to be sent as often as it takes.
pub(crate) struct Call {
    method: Method,
    /// Below the server's address, encoded, with a leading slash.
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: CallBody,
    effect: Effect,
}

impl Call {
    fn new(method: Method, path: String, effect: Effect) -> Self {
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: CallBody::None, effect }
    }

    pub(crate) fn get(path: String) -> Self {
        Self::new(Method::GET, path, Effect::Repeatable)
    }

    pub(crate) fn post(path: String) -> Self {
        Self::new(Method::POST, path, Effect::Write)
    }

    /// A `POST` that only reads.
    pub(crate) fn post_query(path: String) -> Self {
        Self::new(Method::POST, path, Effect::Repeatable)
    }

    pub(crate) fn put(path: String) -> Self {
        Self::new(Method::PUT, path, Effect::Write)
    }

    pub(crate) fn patch(path: String) -> Self {
        Self::new(Method::PATCH, path, Effect::Write)
    }

    pub(crate) fn delete(path: String) -> Self {
        Self::new(Method::DELETE, path, Effect::Write)
    }

    /// Uploads bytes under their hash: sent twice, it does the same as once.
    pub(crate) fn put_content(path: String, upload: Upload) -> Self {
        let mut call = Self::new(Method::PUT, path, Effect::Repeatable);
        call.body = CallBody::Content(upload);
        call
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(body).map_err(|error| Error::Setup(error.to_string()))?;
        self.body = CallBody::Json(bytes.into());
        Ok(self)
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn query_some(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value.to_string()),
            None => self,
        }
    }

    /// The same with the parameters of one page.
    pub(crate) fn page(&self, rows: usize, after: Option<&impl ToString>) -> Self {
        let mut call = Self::get(self.path.clone());
        call.query.clone_from(&self.query);
        call.query("limit", rows.to_string()).query_some("after", after.map(ToString::to_string))
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn what(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn body_bytes(&self) -> u64 {
        match &self.body {
            CallBody::None => 0,
            CallBody::Json(bytes) => bytes.len() as u64,
            CallBody::Content(upload) => upload.size,
        }
    }
}

/// Why an attempt brought no answer.
enum Lost {
    /// No byte of the request had left.
    NotSent(String),
    /// The request, or part of it, had left.
    Unanswered(String),
    /// Trying again makes no sense.
    Final(Error),
}

impl Client {
    /// Settings for a client of the server at `url`: scheme, host, and a path in front of `/repos` if there is one.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The address of the server, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.inner.base
    }

    /// The client of one repo, by its full name such as `acme/team/app`.
    pub fn repo(&self, name: impl Into<String>) -> RepoClient {
        RepoClient { client: self.clone(), name: name.into() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn retries(&self) -> &RetryPolicy {
        &self.inner.retries
    }

    /// Sends the call and decodes the JSON of its answer.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let what = call.what();
        let response = self.send(&call).await?;
        let kind = content_type(&response);
        let body = self.read_all(response, MAX_JSON_ANSWER_BYTES, &what).await?;
        serde_json::from_slice(&body).map_err(|error| Error::UnexpectedAnswer {
            what,
            reason: match kind.as_deref() {
                Some(kind) if !kind.starts_with("application/json") => format!("it is {kind}, not JSON"),
                _ => error.to_string(),
            },
        })
    }

    /// Sends the call and ignores the body of its answer.
    pub(crate) async fn run(&self, call: Call) -> Result<(), Error> {
        self.send(&call).await.map(drop)
    }

    /// Sends the call, again if that is safe, until there is an answer or the attempts are used up.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, Error> {
        let key = (call.effect == Effect::Write).then(|| (self.inner.keys)());
        let mut delay = self.inner.retries.delay_first;
        let mut may_have_happened = false;
        let mut attempt = 1;
        loop {
            let last = attempt >= self.inner.retries.attempts_max.max(1);
            let attempted = self.attempt(call, key).await;
            self.observe(call, attempt, &attempted);
            let wait = match attempted {
                Ok(response) if response.status().is_success() => {
                    self.learn(&response);
                    return Ok(response);
                }
                Ok(response) => {
                    self.learn(&response);
                    let refusal = self.read_refusal(response).await;
                    match self.wait_after_refusal(call, &refusal, delay) {
                        Some(wait) if !last => wait,
                        _ => return Err(Error::Refused(Box::new(refusal))),
                    }
                }
                Err(Lost::Final(error)) => return Err(error),
                Err(Lost::NotSent(reason)) => {
                    if last {
                        return Err(self.lost(reason, may_have_happened));
                    }
                    delay
                }
                Err(Lost::Unanswered(reason)) => {
                    let write = call.effect == Effect::Write;
                    may_have_happened |= write;
                    if last || (write && !self.asks_for_keys().await) {
                        return Err(self.lost(reason, may_have_happened));
                    }
                    delay
                }
            };
            tokio::time::sleep(wait).await;
            delay = (delay * 2).min(self.inner.retries.delay_max);
            attempt += 1;
        }
    }

    fn observe(&self, call: &Call, number: u32, attempted: &Result<Response, Lost>) {
        let Some(observer) = &self.inner.observer else { return };
        let failure;
        let outcome = match attempted {
            Ok(response) => Ok(response.status().as_u16()),
            Err(Lost::NotSent(reason) | Lost::Unanswered(reason)) => Err(reason.as_str()),
            Err(Lost::Final(error)) => {
                failure = error.to_string();
                Err(failure.as_str())
            }
        };
        observer(&Attempt { method: call.method.as_str(), path: &call.path, number, outcome });
    }

    fn lost(&self, reason: String, may_have_happened: bool) -> Error {
        let server = self.inner.base.clone();
        if may_have_happened { Error::OutcomeUnknown { server, reason } } else { Error::Network { server, reason } }
    }

    /// How long to wait before the refused call may be sent again, if it may.
    fn wait_after_refusal(&self, call: &Call, refusal: &Refusal, delay: Duration) -> Option<Duration> {
        let safe = match refusal.status {
            429 => refusal.retry_after_s.is_some(),
            // A gateway says 503 also when it lost the server in the middle of a write.
            503 => call.effect == Effect::Repeatable || self.inner.honours_keys.get() == Some(&true),
            _ => false,
        };
        // Only the machinery is away for a moment; a feature that is not configured stays away.
        let passing = refusal.status == 429
            || matches!(refusal.code, None | Some(ErrorCode::ServiceUnavailable | ErrorCode::OutcomeUnknown));
        let wait = delay.max(Duration::from_secs(refusal.retry_after_s.unwrap_or(0)));
        (safe && passing && wait <= self.inner.retries.delay_max).then_some(wait)
    }

    async fn attempt(&self, call: &Call, key: Option<Uuid>) -> Result<Response, Lost> {
        let inner = &self.inner;
        let mut request = inner.http.request(call.method.clone(), format!("{}{}", inner.base, call.path));
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(identity) = &inner.identity
            && let Ok(value) = HeaderValue::from_bytes(identity.as_bytes())
        {
            request = request.header(IDENTITY_HEADER, value);
        }
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY_HEADER, key.to_string());
        }
        if let Some(tokens) = &inner.tokens
            && let Some(token) = tokens.token().await.map_err(|error| Lost::Final(error.into()))?
        {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|_| Lost::Final(Error::Setup("the token holds characters that cannot be sent".to_owned())))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let sending = Duration::from_secs(call.body_bytes() / inner.limits.upload_rate_min.max(1));
        let answer = inner.limits.answer + inner.limits.connect + sending;
        let answered = match &call.body {
            CallBody::None => timeout(answer, request.send()).await,
            CallBody::Json(bytes) => {
                let request = request.header(CONTENT_TYPE, "application/json").body(bytes.clone());
                timeout(answer, request.send()).await
            }
            CallBody::Content(upload) => {
                let body = upload.open().await.map_err(Lost::Final)?;
                let request = request
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, upload.size)
                    .body(body.body);
                let sent = tokio::select! {
                    sent = timeout(answer, request.send()) => sent,
                    () = body.progress.stalled(inner.limits.idle) => {
                        return Err(Lost::Unanswered("the upload got stuck".to_owned()));
                    }
                };
                // A file that changed under the upload is not the network's fault, whatever the network says.
                if let Some(fault) = body.progress.fault() {
                    return Err(Lost::Final(fault));
                }
                sent
            }
        };
        match answered {
            Err(_) => Err(Lost::Unanswered(format!("no answer within {} s", answer.as_secs()))),
            Ok(Err(error)) if error.is_connect() => Err(Lost::NotSent(one_line(&error))),
            Ok(Err(error)) if error.is_builder() => Err(Lost::Final(Error::Setup(one_line(&error)))),
            Ok(Err(error)) => Err(Lost::Unanswered(one_line(&error))),
            Ok(Ok(response)) => Ok(response),
        }
    }

    fn learn(&self, response: &Response) {
        if response.headers().contains_key(REQUEST_ID_HEADER) {
            self.inner.honours_keys.get_or_init(|| true);
        }
    }

    /// Whether the server honours idempotency keys; asks `/healthz` when no answer of it was seen yet.
    async fn asks_for_keys(&self) -> bool {
        if let Some(known) = self.inner.honours_keys.get() {
            return *known;
        }
        let mut delay = self.inner.retries.delay_first;
        for attempt in 1..=self.inner.retries.attempts_max.max(1) {
            if let Ok(response) = self.attempt(&Call::get("/healthz".to_owned()), None).await {
                let honours = response.headers().contains_key(REQUEST_ID_HEADER);
                return *self.inner.honours_keys.get_or_init(|| honours);
            }
            if attempt < self.inner.retries.attempts_max {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(self.inner.retries.delay_max);
            }
        }
        false
    }

    async fn read_refusal(&self, response: Response) -> Refusal {
        let status = response.status();
        let request_id = header_text(response.headers(), REQUEST_ID_HEADER);
        let retry_after = header_text(response.headers(), RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
        let elsewhere = status.is_redirection().then(|| header_text(response.headers(), "location")).flatten();
        let body = self.read_all(response, MAX_REFUSAL_BYTES, "").await.unwrap_or_default();
        let mut refusal = Refusal::parse(status.as_u16(), request_id, retry_after, &body);
        if refusal.message.is_none()
            && let Some(elsewhere) = elsewhere
        {
            let place = elsewhere.split('?').next().unwrap_or_default();
            refusal.message = Some(format!("the request was redirected to {place}, which is not followed"));
        }
        refusal
    }

    async fn read_all(&self, mut response: Response, bytes_max: usize, what: &str) -> Result<Bytes, Error> {
        let lost = |reason: String| Error::UnexpectedAnswer { what: what.to_owned(), reason };
        let mut body = BytesMut::new();
        loop {
            match timeout(self.inner.limits.idle.max(self.inner.limits.answer), response.chunk()).await {
                Err(_) => return Err(lost("it stopped in the middle".to_owned())),
                Ok(Err(error)) => return Err(lost(format!("it broke off: {}", one_line(&error)))),
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= bytes_max => body.extend_from_slice(&chunk),
                Ok(Ok(Some(_))) => return Err(lost(format!("it is longer than {bytes_max} bytes"))),
            }
        }
    }
}

impl RepoClient {
    /// The full name of the repo.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client of the server.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The path of an endpoint of this repo; `rest` is encoded already.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/repos/{}/-/{rest}", segments(&self.name))
    }
}

impl Upload {
    pub(crate) fn new(body: ContentBody, size: u64, hash: String) -> Self {
        Self { body, size, hash }
    }
}

fn content_type(response: &Response) -> Option<String> {
    header_text(response.headers(), CONTENT_TYPE.as_str())
}

pub(crate) fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// An error and its causes in one line, without repeating what the outer one says already.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    line
}

/// Whether the status says that the thing asked for has not changed.
pub(crate) fn is_not_modified(status: u16) -> bool {
    status == StatusCode::NOT_MODIFIED.as_u16()
}
