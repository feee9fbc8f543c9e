//! Connection caps, and a listener that fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod common;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use common::{Server, answer, answers, rest_of, short};
use docstore_service::{Listener, Outcome, Settings, Shutdown, serve};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    net::TcpStream,
};

fn hello() -> Router {
    Router::new().fallback(async || "hello")
}

/// A connection that is known to be open on the server's side.
async fn open(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("hello"));
    stream
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_the_next_one_gets_the_free_slot() {
    let server = Server::start(hello(), short(|limits| limits.max_connections = 2)).await;
    let first = open(&server).await;
    let mut second = open(&server).await;
    let answer = server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        answers(&answer),
        [(503, "{\"code\":\"SERVICE_UNAVAILABLE\",\"error\":\"too many connections, try again\"}\n".to_owned())]
    );
    drop(first);
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    rest_of(&mut second).await;
    // The server notices at its own pace that the slots are free.
    while answers(&server.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await)[0].0 != 200 {}
}

#[tokio::test]
async fn one_peer_cannot_have_all() {
    let server = Server::start(hello(), short(|limits| limits.max_connections_per_peer = 1)).await;
    let _held = open(&server).await;
    let answer = server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        answers(&answer),
        [(429, "{\"code\":\"TOO_MANY_REQUESTS\",\"error\":\"too many connections from this address\"}\n".to_owned())]
    );
}

#[tokio::test]
async fn a_flood_of_surplus_connections_does_not_disturb_those_that_have_a_slot() {
    let server = Server::start(hello(), short(|limits| limits.max_connections = 1)).await;
    let mut held = open(&server).await;
    let mut surplus = Vec::new();
    for _ in 0..200 {
        surplus.push(server.connect().await);
    }
    held.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut held).await.ends_with("hello"));
}

/// Has no file descriptor left, ever.
struct Exhausted(Arc<AtomicUsize>, Shutdown);

impl Listener for Exhausted {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        const EMFILE: i32 = 24;
        if self.0.fetch_add(1, Ordering::Relaxed) == 100 {
            self.1.begin();
        }
        Err(io::Error::from_raw_os_error(EMFILE))
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_is_asked_again_after_growing_pauses() {
    let tries = Arc::new(AtomicUsize::new(0));
    let shutdown = Shutdown::new();
    let begun = tokio::time::Instant::now();
    let listener = Exhausted(tries.clone(), shutdown.clone());
    assert_eq!(serve(listener, hello(), &Settings::default(), shutdown).await, Outcome::Clean);
    assert_eq!(tries.load(Ordering::Relaxed), 101);
    // 10 + 20 + 40 + 80 + 160 + 320 + 640 ms, then 93 times a second.
    assert_eq!(begun.elapsed(), Duration::from_millis(1_270 + 93_000));
}
