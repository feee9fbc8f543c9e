//! What is known about every request: its id, its log line, its metrics, its trace.

use std::{
    borrow::Cow,
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use bytes::Bytes;
use docstore_models::ErrorCode;
use futures::FutureExt;
use http::{HeaderValue, Method, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    REQUEST_ID_HEADER, RequestFacts, error_response,
    facts::{CURRENT, new_request_id, request_id_of},
    tasks::duration_ms,
    telemetry::traces,
};

/// What nginx made the customary status, in logs only, of a request whose client went away before the answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Where request ids come from.
#[derive(Clone)]
pub struct Observer {
    new_request_id: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Default for Observer {
    /// Ids are UUIDs of version 7.
    fn default() -> Self {
        Self::with_request_ids(new_request_id)
    }
}

impl Observer {
    /// Ids come from the given function, for tests.
    pub fn with_request_ids(new_request_id: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { new_request_id: Arc::new(new_request_id) }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

/// Wraps all routes of a router, as the last thing done to it, so that each request
///
/// - has an id, its own (`X-Request-Id`, when it is short and tame) or a new one, which the answer carries too;
/// - has [`RequestFacts`] as an extension and for [`RequestFacts::current`];
/// - leaves one line `request` in the log when its answer is complete or broken off (contract, server §1.5), with a
///   status of 499 when the client left before the answer and `aborted` when it left in the middle;
/// - is counted and timed by route template, method and status class;
/// - is a span, the child of the caller's `traceparent` if it has one;
/// - is answered with 500 when its handler panics.
pub fn observe(router: Router, observer: Observer) -> Router {
    router.layer(from_fn_with_state(observer, observe_request))
}

async fn observe_request(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let request_id = request_id_of(request.headers()).map_or_else(|| (observer.new_request_id)(), str::to_owned);
    let facts = RequestFacts::new(request_id);
    let mut line = RequestLine::begin(facts.clone(), &request);
    let span = line.span.clone();
    request.extensions_mut().insert(facts.clone());

    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    let handled = CURRENT.scope(facts.clone(), handled).instrument(span).await;
    // The panic hook has logged the story.
    let mut response = handled.unwrap_or_else(|_| {
        error_response(ErrorCode::InternalError, "internal server error", Some(facts.request_id()))
    });
    if let Ok(id) = HeaderValue::try_from(facts.request_id()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    line.status = Some(response.status());
    let declared = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    response.map(|body| Body::new(ObservedBody::new(body, declared, line)))
}

/// What the log line of a request says; dropping it writes the line.
struct RequestLine {
    facts: RequestFacts,
    method: Method,
    path: String,
    matched: Option<String>,
    started: Instant,
    span: Span,
    /// None until the handler has answered.
    status: Option<StatusCode>,
    /// Bytes of the answer's body that were handed to the connection.
    bytes: u64,
    /// Whether that is all of it.
    complete: bool,
}

impl RequestLine {
    fn begin(facts: RequestFacts, request: &Request) -> Self {
        let span = tracing::info_span!(
            "request",
            request_id = facts.request_id(),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = request.method().as_str(),
            http.route = Empty,
            http.response.status_code = Empty,
            url.path = Empty,
        );
        traces::continue_trace(&span, request.headers());
        metrics::gauge!("docstore_http_requests_in_flight").increment(1.0);
        Self {
            facts,
            method: request.method().clone(),
            path: percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned(),
            matched: request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()),
            started: Instant::now(),
            span,
            status: None,
            bytes: 0,
            complete: false,
        }
    }

    /// Counts the request by a bounded set of labels.
    fn count(&self, status: u16, route: &str) {
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let class = CLASSES.get(usize::from(status / 100).wrapping_sub(1)).copied().unwrap_or("other");
        let method = method_label(&self.method);
        let labels =
            [("method", Cow::Borrowed(method)), ("route", Cow::Owned(route.to_owned())), ("status", class.into())];
        metrics::gauge!("docstore_http_requests_in_flight").decrement(1.0);
        metrics::counter!("docstore_http_requests_total", &labels).increment(1);
        metrics::histogram!("docstore_http_request_duration_seconds", &labels[..2])
            .record(self.started.elapsed().as_secs_f64());
        metrics::counter!("docstore_http_response_bytes_total", "route" => route.to_owned()).increment(self.bytes);
    }

    fn trace(&self, status: u16, route: &str) {
        traces::name_span(&self.span, format!("{} {route}", method_label(&self.method)));
        self.span.record("http.route", route);
        self.span.record("url.path", self.facts.shown_path().unwrap_or(&self.path));
        self.span.record("http.response.status_code", status);
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    fn log(&self, status: u16) {
        // An answer that broke off says so; others do not carry the attribute.
        let aborted = (self.status.is_some() && !self.complete).then_some(true);
        let path = self.facts.shown_path().unwrap_or(&self.path);
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    method = self.method.as_str(),
                    path,
                    status,
                    duration_ms = duration_ms(self.started.elapsed()),
                    identity = self.facts.identity(),
                    repo = self.facts.repo(),
                    bytes = self.bytes,
                    request_id = self.facts.request_id(),
                    aborted,
                    "request"
                )
            };
        }
        let _in_span = self.span.enter();
        match status {
            500.. => line!(tracing::Level::ERROR),
            400.. => line!(tracing::Level::WARN),
            _ => line!(tracing::Level::INFO),
        }
    }
}

impl Drop for RequestLine {
    fn drop(&mut self) {
        let status = self.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        if let Some(matched) = self.matched.take() {
            self.facts.set_route(matched);
        }
        let facts = self.facts.clone();
        self.count(status, facts.route());
        self.trace(status, facts.route());
        self.log(status);
    }
}

/// The method as a label: a client can make up any number of others.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A body that counts its bytes and, when hyper drops it, lets the line be written.
struct ObservedBody {
    body: Body,
    line: RequestLine,
    /// The length that the body or the head of the answer promised. hyper stops asking once it has that much.
    promised: Option<u64>,
}

impl ObservedBody {
    fn new(body: Body, declared: Option<u64>, mut line: RequestLine) -> Self {
        let promised = body.size_hint().exact().or(declared);
        line.complete = body.is_end_stream()
            || line.method == Method::HEAD
            || matches!(line.status, Some(StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED));
        Self { body, line, promised }
    }
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = {
            let _in_span = this.line.span.enter();
            let facts = this.line.facts.clone();
            ready!(CURRENT.sync_scope(facts, || Pin::new(&mut this.body).poll_frame(cx)))
        };
        match &frame {
            Some(Ok(frame)) => {
                this.line.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.line.complete = this.body.is_end_stream() || this.promised == Some(this.line.bytes);
            }
            Some(Err(error)) => {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    request_id = this.line.facts.request_id(),
                    "the answer broke off"
                );
            }
            None => this.line.complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
