//! Ids, log lines and panics, as the router shows them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::{cell::RefCell, io, sync::LazyLock, time::Duration};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    response::Response,
    routing::get,
};
use docstore_models::ErrorCode;
use docstore_service::{LogFormat, Observer, RequestFacts, error_response, observe, telemetry::LogLines};
use futures::stream;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

thread_local! {
    /// The log of one test, which has one thread, its runtime included.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the log of the test on whose thread it is used.
struct ThreadLog;

impl io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects the log for the whole process: collectors that come and go with tests would hide each other's lines.
static COLLECT: LazyLock<()> = LazyLock::new(|| {
    let noon = chrono::DateTime::from_timestamp(1_795_176_000, 0).unwrap();
    let layer = LogLines::with_clock(LogFormat::Json, || ThreadLog, move || noon);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
});

/// What this test's thread has logged.
fn log() -> String {
    String::from_utf8(LOG.take()).unwrap()
}

fn app() -> Router {
    LazyLock::force(&COLLECT);
    let router = Router::new()
        .route(
            "/repos/{*rest}",
            get(async |Extension(facts): Extension<RequestFacts>| {
                facts.set_identity("ann@example.com");
                facts.set_repo("acme/web");
                tracing::info!(files = 2, "looked up");
                tokio::time::sleep(Duration::from_millis(12)).await;
                "four"
            }),
        )
        .route(
            "/secret/{token}",
            get(async |Extension(facts): Extension<RequestFacts>| facts.set_shown_path("/secret/...")),
        )
        .route("/refused", get(async || error_response(ErrorCode::Forbidden, "no", None)))
        .route("/failed", get(async || StatusCode::BAD_GATEWAY))
        .route("/panic", get(async || -> Response { panic!("as a defect would") }))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route(
            "/stream",
            get(async || Body::from_stream(stream::iter([Ok::<_, io::Error>("one"), Ok("two"), Ok("three")]))),
        )
        .route(
            "/declared",
            get(async || {
                let chunks = stream::iter([Ok::<_, io::Error>("one"), Ok("two")]);
                ([("content-length", "6")], Body::from_stream(chunks))
            }),
        )
        .route(
            "/broken",
            get(async || Body::from_stream(stream::iter([Ok("one"), Err(io::Error::other("disk gone"))]))),
        );
    observe(router, Observer::with_request_ids(|| "new-id".to_owned()))
}

async fn ask(request: Request<Body>) -> Response {
    app().oneshot(request).await.unwrap()
}

fn get_request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_line_per_request_with_its_facts() {
    for path in ["/repos/acme%2Fweb/-/tree?at=3&token=secret", "/secret/word", "/refused", "/failed", "/missing%20%0a"]
    {
        let response = ask(get_request(path)).await;
        to_bytes(response.into_body(), 1000).await.unwrap();
    }
    insta::assert_snapshot!(log(), @r#"
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"looked up","files":2,"request_id":"new-id","target":"observe"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"request","method":"GET","path":"/repos/acme/web/-/tree","status":200,"duration_ms":12,"identity":"ann@example.com","repo":"acme/web","bytes":4,"request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"request","method":"GET","path":"/secret/...","status":200,"duration_ms":0,"identity":"","repo":"","bytes":0,"request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"WARN","msg":"request","method":"GET","path":"/refused","status":403,"duration_ms":0,"identity":"","repo":"","bytes":56,"request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"ERROR","msg":"request","method":"GET","path":"/failed","status":502,"duration_ms":0,"identity":"","repo":"","bytes":0,"request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"WARN","msg":"request","method":"GET","path":"/missing \n","status":404,"duration_ms":0,"identity":"","repo":"","bytes":0,"request_id":"new-id"}
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_500_with_the_request_id() {
    let response = ask(get_request("/panic")).await;
    assert_eq!(response.status(), 500);
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    insta::assert_snapshot!(std::str::from_utf8(&body).unwrap(), @r#"{"code":"INTERNAL_ERROR","error":"internal server error","request_id":"new-id"}"#);
    let log = log();
    assert!(log.contains("\"status\":500"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_answer_is_logged_with_499() {
    assert!(tokio::time::timeout(Duration::from_secs(1), ask(get_request("/never"))).await.is_err());
    insta::assert_snapshot!(log(), @r#"{"time":"2026-11-20T12:00:00.000000Z","level":"WARN","msg":"request","method":"GET","path":"/never","status":499,"duration_ms":1000,"identity":"","repo":"","bytes":0,"request_id":"new-id"}"#);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_says_so() {
    let mut left = ask(get_request("/stream")).await.into_body();
    left.frame().await.unwrap().unwrap();
    drop(left);
    to_bytes(ask(get_request("/stream")).await.into_body(), 1000).await.unwrap();
    // hyper drops a body that has given as much as its head said, without asking whether there is more.
    let mut declared = ask(get_request("/declared")).await.into_body();
    declared.frame().await.unwrap().unwrap();
    declared.frame().await.unwrap().unwrap();
    drop(declared);
    to_bytes(ask(get_request("/broken")).await.into_body(), 1000).await.unwrap_err();
    insta::assert_snapshot!(log(), @r#"
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"request","method":"GET","path":"/stream","status":200,"duration_ms":0,"identity":"","repo":"","bytes":3,"request_id":"new-id","aborted":true}
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"request","method":"GET","path":"/stream","status":200,"duration_ms":0,"identity":"","repo":"","bytes":11,"request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"request","method":"GET","path":"/declared","status":200,"duration_ms":0,"identity":"","repo":"","bytes":6,"request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"ERROR","msg":"the answer broke off","error":"disk gone","request_id":"new-id"}
    {"time":"2026-11-20T12:00:00.000000Z","level":"INFO","msg":"request","method":"GET","path":"/broken","status":200,"duration_ms":0,"identity":"","repo":"","bytes":3,"request_id":"new-id","aborted":true}
    "#);
}

#[tokio::test]
async fn a_tame_request_id_is_kept_and_any_other_replaced() {
    for (given, kept) in [
        (vec!["a-B_3.z"], true),
        (vec![""], false),
        (vec!["a b"], false),
        (vec!["<script>"], false),
        (vec!["a", "b"], false),
        (vec!["\u{e9}"], false),
        (vec!["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"], false),
    ] {
        let mut request = get_request("/refused");
        for value in &given {
            request.headers_mut().append("x-request-id", http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let response = ask(request).await;
        let expected = if kept { given[0] } else { "new-id" };
        assert_eq!(response.headers()["x-request-id"], expected, "{given:?}");
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        let expected = format!("{{\"code\":\"FORBIDDEN\",\"error\":\"no\",\"request_id\":\"{expected}\"}}\n");
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_new_id_is_a_uuid_that_sorts_by_time() {
    LazyLock::force(&COLLECT);
    let app = observe(Router::new(), Observer::default());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let response = app.clone().oneshot(get_request("/")).await.unwrap();
        ids.push(response.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    assert!(ids[0] < ids[1] && ids[0].len() == 36 && &ids[0][14..15] == "7", "{ids:?}");
}
