//! Stopping: finish what is in hand, then a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod common;

use std::{io, sync::Arc};

use axum::{Router, body::Body, routing::get};
use common::{SHORT, Server, answer, answers, rest_of, short, until};
use docstore_service::{Limits, Outcome, Shutdown};
use futures::{StreamExt, stream};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

/// A stream that says hello, and goodbye at shutdown.
fn polite_stream(shutdown: Shutdown) -> Router {
    Router::new().route(
        "/",
        get(async move || {
            let hello = stream::iter([Ok::<_, io::Error>("hello\n")]);
            let idle = stream::pending().take_until(shutdown.wait_owned());
            Body::from_stream(hello.chain(idle).chain(stream::iter([Ok("goodbye\n")])))
        }),
    )
}

#[tokio::test]
async fn an_open_stream_comes_to_a_clean_end() {
    // The router's signal is the server's; the server is started with it afterwards.
    let signal = Shutdown::new();
    let server = Server::start(polite_stream(signal.clone()), Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(&mut stream, "hello\n\r\n").await;
    signal.begin();
    server.shutdown.begin();
    assert!(rest_of(&mut stream).await.ends_with("goodbye\n\r\n0\r\n\r\n"), "the last chunk is there");
    assert_eq!(server.outcome.await.unwrap(), Outcome::Clean);
}

#[tokio::test]
async fn a_request_in_hand_is_finished_and_its_connection_closed() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, may_leave) = (entered.clone(), leave.clone());
    let router = Router::new().route(
        "/",
        get(async move || {
            enter.notify_one();
            may_leave.notified().await;
            "done"
        }),
    );
    let server = Server::start(router, short(|_| ())).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    entered.notified().await;
    server.shutdown.begin();
    // New connections are refused from the moment the listener is gone.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    leave.notify_one();
    assert_eq!(answers(&rest_of(&mut stream).await), [(200, "done".to_owned())]);
    assert_eq!(server.outcome.await.unwrap(), Outcome::Clean);
}

#[tokio::test]
async fn idle_and_silent_connections_do_not_delay() {
    let router = Router::new().fallback(async || "hello");
    let server = Server::start(router, short(|_| ())).await;
    let mut silent = server.connect().await;
    let mut half = server.connect().await;
    half.write_all(b"GET / HT").await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut idle).await.ends_with("hello"));
    assert_eq!(server.stop().await, Outcome::Clean);
    for stream in [&mut silent, &mut half, &mut idle] {
        assert_eq!(rest_of(stream).await, "");
    }
}

#[tokio::test]
async fn what_does_not_end_is_cut_when_the_grace_ends() {
    let router = Router::new().route("/", get(async || Body::from_stream(stream::pending::<io::Result<&str>>())));
    let server = Server::start(router, short(|limits| limits.shutdown_grace = SHORT)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    common::head(&mut stream).await;
    assert_eq!(server.stop().await, Outcome::Cut { unfinished: 1 });
    assert_eq!(rest_of(&mut stream).await, "", "without a last chunk, so that the client knows");
}

#[tokio::test]
async fn a_signal_sets_it_off() {
    let shutdown = Shutdown::on_signal().unwrap();
    assert!(!shutdown.is_begun());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    shutdown.wait().await;
    assert!(shutdown.is_begun());
}
