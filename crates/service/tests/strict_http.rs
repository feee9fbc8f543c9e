//! What a client may send, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod common;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Bytes, extract::ConnectInfo, routing::get};
use common::{Server, answer, answers, rest_of, short};
use docstore_service::Limits;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

/// Answers with the request's path and body, and counts how often it was asked.
fn echo(calls: Arc<AtomicUsize>) -> Router {
    let handler = async move |uri: http::Uri, body: Bytes| {
        calls.fetch_add(1, Ordering::Relaxed);
        format!("{} {}", uri.path(), String::from_utf8_lossy(&body))
    };
    Router::new().fallback(handler)
}

const GOOD: &str = "POST /good HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const GOOD_CHUNKED: &str = "POST /good HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";

/// Heads that are refused, the status, and the sentence.
const BAD: &[(&str, u16, &str)] = &[
    ("GET / HTTP/1.1\r\n\r\n", 400, "the Host header is missing"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "there is more than one Host header"),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "the Host header is malformed"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "Content-Length and Transfer-Encoding stand together",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        400,
        "there is more than one Content-Length",
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\nhello", 400, "Content-Length is not a number of bytes"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        "Transfer-Encoding is not exactly chunked",
    ),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0 has no Transfer-Encoding"),
    ("GET / HTTP/1.1\nHost: a\n\n", 400, "a line of the request ends without carriage return"),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "a line of the request ends without carriage return"),
    ("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400, "a carriage return stands without line feed"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400, "a header field is folded over several lines"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400, "the request's head holds a NUL byte"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400, "a header field is malformed"),
    ("GET /\r\n", 400, "the protocol version is neither HTTP/1.1 nor HTTP/1.0"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "the protocol version is neither HTTP/1.1 nor HTTP/1.0"),
    ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request target and Host name different authorities"),
    ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request target is malformed"),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, "this method is not served"),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request begins with empty lines"),
];

#[tokio::test]
async fn a_bad_head_is_refused_with_the_envelope_and_the_connection_closed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = Server::start(echo(calls.clone()), Limits::default()).await;
    for (bad, status, message) in BAD {
        let answer = server.send(bad).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{bad:?}: {answer}");
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{answer}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{answer}");
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        let expected = format!("{{\"code\":\"BAD_REQUEST\",\"error\":\"{message}\",\"request_id\":\"{id}\"}}\n");
        assert_eq!(body, expected, "{bad:?}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_bad_head_is_refused_after_good_requests_too_and_what_follows_is_ignored() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = Server::start(echo(calls.clone()), Limits::default()).await;
    for (bad, status, message) in BAD {
        let bytes = format!("{GOOD}{GOOD_CHUNKED}{bad}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answers = answers(&server.send(bytes).await);
        assert_eq!(answers.len(), 3, "{bad:?}: {answers:?}");
        assert_eq!(answers[0], (200, "/good body".to_owned()));
        assert_eq!(answers[1], (200, "/good body".to_owned()));
        assert_eq!(answers[2].0, *status, "{bad:?}: {answers:?}");
        assert!(answers[2].1.contains(message), "{bad:?}: {answers:?}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2 * BAD.len());
}

#[tokio::test]
async fn broken_chunks_end_the_connection_without_a_second_request() {
    let calls = Arc::new(AtomicUsize::new(0));
    let server = Server::start(echo(calls.clone()), Limits::default()).await;
    for body in ["4\nbody\r\n0\r\n\r\n", "4\r\nbodyX", "zz\r\n", "4 \r\nbody\r\n0\r\n\r\n", "0\r\n\n"] {
        let bytes = format!(
            "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
             GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let answers = answers(&server.send(bytes).await);
        assert_eq!(answers.len(), 1, "{body:?}: {answers:?}");
        assert_eq!(answers[0].0, 400, "{body:?}: {answers:?}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(echo(Arc::default()), Limits::default()).await;
    let mut requests = String::new();
    for number in 0..50 {
        let _ = write!(requests, "PUT /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    }
    requests.push_str("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answers = answers(&server.send(requests).await);
    let expected: Vec<_> =
        (0..50).map(|number| (200, format!("/{number} hi"))).chain([(200, "/last ".to_owned())]).collect();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let server = Server::start(echo(Arc::default()), Limits::default()).await;
    assert_eq!(answers(&server.send("GET /old HTTP/1.0\r\n\r\n").await), [(200, "/old ".to_owned())]);
}

#[tokio::test]
async fn the_absolute_form_that_agrees_with_host_is_served() {
    let server = Server::start(echo(Arc::default()), Limits::default()).await;
    let request = "GET http://A.b:80/x HTTP/1.1\r\nHost: a.B:80\r\nConnection: close\r\n\r\n";
    assert_eq!(answers(&server.send(request).await), [(200, "/x ".to_owned())]);
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_gets_the_refusal() {
    let server = Server::start(echo(Arc::default()), Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\nContent-Length: 2000000\r\n\r\n").await.unwrap();
    // The answer is there. A server that had closed by now would reset the connection at the next byte, and the reset
    // would destroy the answer.
    stream.readable().await.unwrap();
    for _ in 0..20 {
        stream.write_all(&[b'x'; 100_000]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(answers(&rest_of(&mut stream).await)[0].0, 400);
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused() {
    let limits = short(|limits| (limits.max_header_bytes, limits.max_uri_bytes, limits.max_headers) = (2000, 500, 20));
    let server = Server::start(echo(Arc::default()), limits).await;
    for (bytes, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(500)), 414),
        (format!("GET /{}", "a".repeat(1500)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(2000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(2000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(20)), 431),
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n",
                "a".repeat(499),
                "X: y\r\n".repeat(18)
            ),
            200,
        ),
    ] {
        assert_eq!(answers(&server.send(&bytes).await)[0].0, status, "{bytes}");
    }
}

#[tokio::test]
async fn the_largest_head_that_settings_allow_is_served() {
    let limits = short(|limits| (limits.max_header_bytes, limits.max_uri_bytes) = (131_072, 65_534));
    let server = Server::start(echo(Arc::default()), limits).await;
    let path = format!("/{}", "a".repeat(65_533));
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ");
    let rest = 131_072 - request.len() - "\r\n\r\n".len();
    request.push_str(&"y".repeat(rest));
    request.push_str("\r\n\r\n");
    assert_eq!(answers(&server.send(request).await), [(200, format!("{path} "))]);
}

#[tokio::test]
async fn a_handler_knows_the_peer() {
    let router = Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()));
    let server = Server::start(router, Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut stream).await.ends_with(&stream.local_addr().unwrap().to_string()));
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let server = Server::start(echo(Arc::default()), Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    assert_eq!(common::head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    assert!(answer(&mut stream).await.ends_with("/ hi"));
}

/// A request and what [`echo`] says to it.
fn request() -> impl Strategy<Value = (String, String)> {
    let body = prop::option::of(("[ -~\r\n]{0,40}", any::<bool>(), 1_usize..10));
    ("[a-z]{0,9}", body).prop_map(|(path, body)| {
        let mut request = format!("PUT /{path} HTTP/1.1\r\nHost: a\r\n");
        let text = match body {
            None => {
                request.push_str("\r\n");
                String::new()
            }
            Some((text, false, _)) => {
                let _ = write!(request, "Content-Length: {}\r\n\r\n{text}", text.len());
                text
            }
            Some((text, true, size)) => {
                request.push_str("Transfer-Encoding: chunked\r\n\r\n");
                for chunk in text.as_bytes().chunks(size) {
                    let _ = write!(request, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
                }
                request.push_str("0\r\n\r\n");
                text
            }
        };
        (request, format!("/{path} {text}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The byte stream and hyper agree about where every request begins and ends.
    #[test]
    fn good_requests_get_their_answers_however_they_are_cut(
        requests in prop::collection::vec(request(), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes: String = requests.iter().map(|(request, _)| request.as_str()).collect();
        bytes.push_str("GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answered = runtime.block_on(async {
            let server = Server::start(echo(Arc::default()), Limits::default()).await;
            let mut stream = server.connect().await;
            stream.set_nodelay(true).unwrap();
            let (mut reader, mut writer) = stream.split();
            let write = async {
                for pair in cuts.windows(2) {
                    writer.write_all(&bytes.as_bytes()[pair[0]..pair[1]]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(write, rest_of(&mut reader)).1
        });
        let expected: Vec<_> = requests
            .into_iter()
            .map(|(_, answer)| (200, answer))
            .chain([(200, "/end ".to_owned())])
            .collect();
        prop_assert_eq!(answers(&answered), expected);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_wait_for_the_body_says_that_the_connection_closes() {
    let router = Router::new().route("/deaf", axum::routing::post(async || "no")).fallback(async |_: Bytes| "yes");
    let server = Server::start(router, Limits::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(GOOD.as_bytes()).await.unwrap();
    assert!(!answer(&mut stream).await.contains("\r\nconnection: close\r\n"));
    stream.write_all(b"POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nthe start").await.unwrap();
    let unheard = answer(&mut stream).await;
    assert!(unheard.contains("\r\nconnection: close\r\n") && unheard.ends_with("no"), "{unheard}");
    assert_eq!(rest_of(&mut stream).await, "");
}
