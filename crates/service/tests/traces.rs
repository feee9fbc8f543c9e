//! Traces, as a collector gets them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
    routing::get,
};
use bytes::Bytes;
use docstore_service::{Observer, Settings, observe, telemetry};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::mpsc};
use tower::ServiceExt;

/// A collector of one connection: it takes every export and says that it was well.
async fn collect(listener: TcpListener, exports: mpsc::UnboundedSender<(String, Bytes)>) {
    let (stream, _) = listener.accept().await.unwrap();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let exports = exports.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            exports.send((path, body)).unwrap();
            // gRPC: one empty message, then the status in the trailers.
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )]);
            let frames = [Ok(Frame::data(Bytes::from_static(&[0; 5]))), Ok(Frame::trailers(trailers))];
            let body: BoxBody<Bytes, Infallible> = BoxBody::new(StreamBody::new(futures::stream::iter(frames)));
            Ok::<_, Infallible>(
                hyper::Response::builder().header("content-type", "application/grpc").body(body).unwrap(),
            )
        }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_span_under_its_callers_and_is_sent_at_the_end() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (send, mut exports) = mpsc::unbounded_channel();
    tokio::spawn(collect(listener, send));

    let settings = Settings { trace_endpoint: Some(endpoint), ..Settings::default() };
    let guard = telemetry::init(&settings, "docstore-test").unwrap();
    assert!(telemetry::init(&settings, "docstore-test").is_err(), "once per process");

    let app = observe(Router::new().route("/orgs/{org}", get(async || "four")), Observer::default());
    let request = Request::get("/orgs/acme")
        .header("traceparent", "00-0123456789abcdef0123456789abcdef-00f067aa0ba902b7-01")
        .body(Body::empty())
        .unwrap();
    to_bytes(app.oneshot(request).await.unwrap().into_body(), 100).await.unwrap();
    tokio::task::spawn_blocking(move || drop(guard)).await.unwrap();

    let (path, body) = exports.recv().await.unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let has = |needle: &[u8]| body.windows(needle.len()).any(|window| window == needle);
    assert!(has(b"docstore-test"), "the service");
    assert!(has(b"GET /orgs/{org}"), "the name");
    assert!(has(&0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes()), "the caller's trace");
    assert!(has(&0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()), "the caller's span");
}
