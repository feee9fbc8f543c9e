//! One connection.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, body::Body, extract::ConnectInfo};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    Limits, REQUEST_ID_HEADER,
    facts::new_request_id,
    responses::error_response_with_status,
    strict::{Exchange, Refusal, RequestGuard, StrictIo},
};

/// What hyper may buffer of a connection in each direction: twice the longest head that settings allow.
const MAX_BUFFER_BYTES: usize = 256 * 1024;

/// The two stages of a shutdown.
#[derive(Clone, Debug)]
pub(super) struct Drain {
    /// Finish the request in hand, take no other.
    pub(super) soon: CancellationToken,
    /// End at once.
    pub(super) now: CancellationToken,
}

/// What a connection needs to be served.
pub(super) struct Connection {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) peer: SocketAddr,
    pub(super) drain: Drain,
}

impl Connection {
    /// Serves the requests that come over these bytes until either side closes.
    pub(super) async fn run<IO>(self, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let exchange = Arc::new(Exchange::default());
        let io = StrictIo::new(io, self.limits, exchange.clone());
        let drain = self.drain;
        let service = ConnectionService { router: self.router, peer: self.peer, exchange: exchange.clone() };
        let mut connection = pin!(
            http1::Builder::new()
                // The byte stream below has the deadlines; hyper's own would also end a connection between requests.
                .header_read_timeout(None)
                .max_buf_size(MAX_BUFFER_BYTES)
                .serve_connection(TokioIo::new(io), service)
        );
        let ended = tokio::select! {
            biased;
            ended = serving(connection.as_mut(), &exchange) => ended,
            () = drain.soon.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    ended = serving(connection.as_mut(), &exchange) => ended,
                    () = drain.now.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            // The client went away or was too slow; what that meant for a request is in the request's own line.
            tracing::debug!(error = &error as &dyn std::error::Error, peer = %self.peer, "connection ended early");
        }
    }
}

/// Polls a connection, once more after each answer.
async fn serving<C: Future>(mut connection: Pin<&mut C>, exchange: &Exchange) -> C::Output {
    poll_fn(|cx| {
        loop {
            let polled = connection.as_mut().poll(cx);
            if polled.is_ready() || !exchange.take_answered() {
                return polled;
            }
        }
    })
    .await
}

/// What hyper calls for each head that the byte stream let through.
struct ConnectionService {
    router: Router,
    peer: SocketAddr,
    exchange: Arc<Exchange>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<GuardedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (guard, refusal) = self.exchange.serve();
        if let Some(refusal) = refusal {
            let response = refuse(refusal, self.peer).map(|body| GuardedBody { body, _guard: guard });
            return Box::pin(std::future::ready(Ok(response)));
        }
        let is_read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
        let mut request = request.map(|body| Body::new(WatchedBody { body, is_read: is_read.clone() }));
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.clone().oneshot(request);
        Box::pin(async move {
            let mut response = answer.await?;
            if !is_read.load(Ordering::Relaxed) {
                // hyper closes the connection then, but after the head is written. A client that is not told sends its
                // next request into the closing connection.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| GuardedBody { body, _guard: guard }))
        })
    }
}

/// The answer in place of the one that the refused head would have got.
fn refuse(refusal: Refusal, peer: SocketAddr) -> Response<Body> {
    let request_id = new_request_id();
    let status = refusal.status();
    metrics::counter!("docstore_http_requests_refused_total", "reason" => refusal.reason()).increment(1);
    tracing::warn!(
        reason = refusal.reason(),
        status = status.as_u16(),
        peer = %peer,
        request_id,
        "request refused"
    );
    let mut response = error_response_with_status(status, refusal.code(), refusal.message(), Some(&request_id));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    response
}

/// The body of a request, and whether somebody read it to its end.
struct WatchedBody {
    body: Incoming,
    is_read: Arc<AtomicBool>,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.is_read.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that keeps its request in flight until hyper is done with it.
struct GuardedBody {
    body: Body,
    _guard: RequestGuard,
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
