//! What `/metrics` shows. One test, since the registry is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod common;

use axum::{Router, body::Body, routing::get};
use common::{SHORT, Server, answer, short};
use docstore_service::{
    Observer, RequestFacts, observe, read_body,
    telemetry::{install_metrics, metrics_response, metrics_text},
};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn requests_connections_and_limits_are_counted() {
    install_metrics("docstore-test").unwrap();
    install_metrics("docstore-test").unwrap();
    let router = Router::new()
        .route("/orgs/{org}", get(async || "four"))
        .route("/repos/{*rest}", get(async || RequestFacts::current().unwrap().set_route("/repos/{repo}/-/tree")))
        .route("/body", get(async |body: Body| read_body(body, 1, SHORT * 100).await.map(drop)))
        .route("/metrics", get(async || metrics_response()));
    let limits = short(|limits| {
        limits.header_timeout = SHORT;
        limits.body_timeout = SHORT;
        limits.max_connections = 3;
    });
    let server = Server::start(observe(router, Observer::default()), limits).await;
    let close = "HTTP/1.1\r\nHost: a\r\nConnection: close";
    for path in ["/orgs/a", "/orgs/b", "/repos/x/y/-/tree", "/made/up", "/made/up/too"] {
        server.send(format!("GET {path} {close}\r\n\r\n")).await;
    }
    server.send(format!("BREW /orgs/a {close}\r\n\r\n")).await;
    server.send(format!("GET /body {close}\r\nContent-Length: 2\r\n\r\nxx")).await;
    server.send(format!("GET /body {close}\r\nContent-Length: 2\r\n\r\nx")).await;
    server.send("GET / HTTP/1.1\r\n\r\n").await;
    server.send("GET / HT").await;
    server.send("").await;

    // Three connections that stay, and one too many.
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET /orgs/a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        answer(&mut stream).await;
        held.push(stream);
    }
    assert!(server.send("").await.starts_with("HTTP/1.1 503 "));
    held[0].write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let shown = answer(&mut held[0]).await;
    assert!(shown.contains("content-type: text/plain; version=0.0.4"), "{shown}");
    assert!(shown.contains("docstore_connections{service=\"docstore-test\"} 3\n"), "{shown}");

    drop(held);
    assert_eq!(server.stop().await, docstore_service::Outcome::Clean);
    let mut lines: Vec<String> = metrics_text()
        .lines()
        .filter(|line| {
            !line.is_empty() && !line.starts_with('#') && !line.contains("_bucket") && !line.contains("_sum")
        })
        .filter(|line| !line.contains("_bytes_total"))
        .map(|line| line.replace("service=\"docstore-test\",", "").replace("{service=\"docstore-test\"}", ""))
        .collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    docstore_connections 0
    docstore_http_request_duration_seconds_count{method="GET",route="/body"} 2
    docstore_http_request_duration_seconds_count{method="GET",route="/metrics"} 1
    docstore_http_request_duration_seconds_count{method="GET",route="/orgs/{org}"} 5
    docstore_http_request_duration_seconds_count{method="GET",route="/repos/{repo}/-/tree"} 1
    docstore_http_request_duration_seconds_count{method="GET",route="unmatched"} 2
    docstore_http_request_duration_seconds_count{method="other",route="/orgs/{org}"} 1
    docstore_http_requests_in_flight 0
    docstore_http_requests_refused_total{reason="head_too_slow"} 1
    docstore_http_requests_refused_total{reason="host_missing"} 1
    docstore_http_requests_total{method="GET",route="/body",status="4xx"} 2
    docstore_http_requests_total{method="GET",route="/metrics",status="2xx"} 1
    docstore_http_requests_total{method="GET",route="/orgs/{org}",status="2xx"} 5
    docstore_http_requests_total{method="GET",route="/repos/{repo}/-/tree",status="2xx"} 1
    docstore_http_requests_total{method="GET",route="unmatched",status="4xx"} 2
    docstore_http_requests_total{method="other",route="/orgs/{org}",status="4xx"} 1
    docstore_limit_reached_total{limit="body_bytes"} 1
    docstore_limit_reached_total{limit="body_timeout"} 1
    docstore_limit_reached_total{limit="connections"} 1
    docstore_limit_reached_total{limit="header_timeout"} 2
    "#);
    assert!(metrics_text().contains("docstore_http_request_duration_seconds_bucket"));
}
