//! A slow or silent client is closed, and a patient one is not.
//!
//! The first half uses real sockets and waits for the server to close; the second a clock that jumps as soon as
//! everybody waits, so that an hour takes no time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod common;

use std::{convert::Infallible, future::Future, io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use common::{SHORT, Server, answer, answers, rest_of, short, until};
use docstore_service::{Limits, Listener, Settings, Shutdown, read_body, serve};
use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::Instant,
};

/// Says how many bytes came, or why they did not: of an upload, which may take as long as it goes on.
async fn measure(body: Body) -> Response {
    match read_body(body, 1 << 20, Duration::from_secs(86_400)).await {
        Ok(body) => body.len().to_string().into_response(),
        Err(error) => error.into_response(),
    }
}

/// Sends without end.
async fn endless() -> Body {
    Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 * 1024]))))
}

/// Sends an event, then nothing for an hour, then another.
async fn patient() -> Body {
    let events = stream::iter([0, 3600]).then(async |pause| {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        Ok::<_, io::Error>(format!("after {pause}\n"))
    });
    Body::from_stream(events)
}

fn router() -> Router {
    Router::new()
        .route("/measure", any(measure))
        .route("/endless", get(endless))
        .route("/patient", get(patient))
        .fallback(async || "hello")
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Server::start(router(), short(|limits| limits.header_timeout = SHORT)).await;
    assert_eq!(server.send("").await, "");
}

#[tokio::test]
async fn a_connection_between_requests_is_closed_quietly() {
    let server = Server::start(router(), short(|limits| limits.idle_timeout = SHORT)).await;
    let answer = server.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answers(&answer), [(200, "hello".to_owned())]);
}

#[tokio::test]
async fn a_body_that_stops_is_answered_and_closed() {
    let server = Server::start(router(), short(|limits| limits.body_timeout = SHORT)).await;
    for body in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let answer = server.send(format!("PUT /measure HTTP/1.1\r\nHost: a\r\n{body}")).await;
        let answers = answers(&answer);
        assert_eq!(answers[0].0, 408, "{answers:?}");
        assert!(answers[0].1.starts_with("{\"code\":\"REQUEST_TIMEOUT\""), "{answers:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let server = Server::start(router(), short(|limits| limits.write_timeout = SHORT)).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // The server has cut the connection when it has no other to wait for. Reading before would be reading.
    assert_eq!(server.stop().await, docstore_service::Outcome::Clean);
    rest_of(&mut stream).await;
}

#[tokio::test]
async fn a_slow_client_holds_nobody_up() {
    let server = Server::start(router(), Limits::default()).await;
    let mut slow = Vec::new();
    for bytes in [
        "",
        "GET",
        "PUT /measure HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
        "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for _ in 0..20 {
            let mut stream = server.connect().await;
            stream.write_all(bytes.as_bytes()).await.unwrap();
            slow.push(stream);
        }
    }
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("hello"));
}

/// Hands over what is sent to it.
struct Handed(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Handed {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(io) => Ok((io, SocketAddr::from(([192, 0, 2, 1], 1)))),
            None => std::future::pending().await,
        }
    }
}

/// A client's end of a connection to a server with the default limits.
fn connected() -> DuplexStream {
    let (give, take) = mpsc::unbounded_channel();
    tokio::spawn(async move { serve(Handed(take), router(), &Settings::default(), Shutdown::new()).await });
    let (server, client) = duplex(8192);
    give.send(server).unwrap();
    client
}

/// How many seconds of the paused clock something takes.
async fn seconds<T>(work: impl Future<Output = T>) -> (u64, T) {
    let begun = Instant::now();
    let done = work.await;
    (begun.elapsed().as_secs(), done)
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_silence_ends_within_fifteen_seconds() {
    for (bytes, limit) in [
        ("", 10),
        ("GET / HTTP/1.1\r\n", 10),
        ("PUT /measure HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 15),
        ("PUT /measure HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 15),
    ] {
        let mut client = connected();
        client.write_all(bytes.as_bytes()).await.unwrap();
        let (waited, answer) = seconds(until_closed(&mut client)).await;
        assert_eq!(waited, limit, "{bytes:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_answered_and_closed() {
    let (mut reader, mut writer) = tokio::io::split(connected());
    writer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await.unwrap();
    // A byte now and then does not buy more time.
    let drip = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (waited, answer) = seconds(async {
        tokio::select! {
            answer = rest_of(&mut reader) => answer,
            () = drip => panic!("closed without an answer"),
        }
    })
    .await;
    assert_eq!((waited, answers(&answer)[0].0), (10, 408));
}

/// Reads until the server has shut its side. It may go on to throw away what we send.
async fn until_closed(client: &mut DuplexStream) -> String {
    rest_of(client).await
}

#[tokio::test(start_paused = true)]
async fn a_connection_between_requests_may_stay_for_a_minute() {
    let mut client = connected();
    for pause in [0, 59, 59] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(answer(&mut client).await.ends_with("hello"));
    }
    let (waited, answer) = seconds(rest_of(&mut client)).await;
    assert_eq!((waited, answer.as_str()), (60, ""));
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_nothing_to_say_is_not_cut() {
    let mut client = connected();
    client.write_all(b"GET /patient HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(&mut client, "after 0\n").await;
    let (waited, _) = seconds(until(&mut client, "after 3600\n")).await;
    assert_eq!(waited, 3600);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_goes_on_is_not_cut() {
    let mut client = connected();
    client.write_all(b"PUT /measure HTTP/1.1\r\nHost: a\r\nContent-Length: 102400\r\n\r\n").await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(14)).await;
        client.write_all(&[b'x'; 1024]).await.unwrap();
    }
    assert!(answer(&mut client).await.ends_with("102400"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_cut_after_fifteen_seconds() {
    let mut client = connected();
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (waited, _) = seconds(async {
        // Writing fails once the server is gone; reading would let it go on.
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    assert_eq!(waited, 16);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_now_and_then_is_not_cut() {
    use tokio::io::AsyncReadExt;
    let mut client = connected();
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut piece = [0; 4096];
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(14)).await;
        client.read_exact(&mut piece).await.unwrap();
    }
}
