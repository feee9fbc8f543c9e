//! Limits are counted when they are reached, under the names that `docs/limits.md` has.

use std::collections::BTreeMap;

use docstore_service::telemetry::{install_metrics, metrics_text};
use docstore_test_support::{Answer, TestApp};
use futures::future::join_all;
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Digest;
use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{REPO, commit, identities::Verified, raw::parse, text_file};

/// How often each limit was reached in this process. Other tests count as well, so only what grows says something.
pub(crate) fn counts() -> BTreeMap<String, u64> {
    metrics_text()
        .lines()
        .filter_map(|line| line.strip_prefix("docstore_limit_reached_total{"))
        .filter_map(|line| {
            let (labels, count) = line.split_once("} ")?;
            let limit = labels.split(',').find_map(|label| label.strip_prefix("limit=\"")?.strip_suffix('"'))?;
            Some((limit.to_owned(), count.parse().ok()?))
        })
        .collect()
}

#[track_caller]
pub(crate) fn grew(before: &BTreeMap<String, u64>, limit: &str) {
    let (was, is) = (before.get(limit).copied().unwrap_or_default(), counts().get(limit).copied().unwrap_or_default());
    assert!(is > was, "{limit} was reached and not counted: {was}, {is}");
}

#[tokio::test]
async fn a_limit_that_is_reached_is_counted() {
    install_metrics("docstore").unwrap();
    let app = TestApp::start_with(&[
        ("DOCSTORE_BODY_BYTES_MAX", "1024"),
        ("DOCSTORE_CONTENT_BYTES_MAX", "1000"),
        ("DOCSTORE_MESSAGE_BYTES_MAX", "20"),
        ("DOCSTORE_COMMIT_FILES_MAX", "2"),
        ("DOCSTORE_IMPORT_COMMITS_MAX", "3"),
        ("DOCSTORE_HASHES_MAX", "2"),
        ("DOCSTORE_PAGE_ROWS_MAX", "100"),
        ("DOCSTORE_CHAIN_ROWS_MAX", "2"),
        ("DOCSTORE_PATH_BYTES_MAX", "10"),
        ("DOCSTORE_JSON_DEPTH_MAX", "8"),
        ("DOCSTORE_STREAMS_PER_CALLER_MAX", "1"),
        ("DOCSTORE_EVENT_STREAMS_MAX", "1"),
    ])
    .await;
    let me = app.admin();
    let imported = json!({"author": "a@b", "imported_from": "git:1", "files": []});
    let import = |count: usize| json!({"branch": "main", "commits": vec![imported.clone(); count]});
    me.post(&format!("{REPO}/import"), &import(3)).await.expect(201);
    let of = |files: Vec<Value>, message: &str| json!({"branch": "main", "message": message, "files": files});
    let file = |path: &str, size: usize| text_file(path, &"x".repeat(size));
    let deep = (0..9).fold(json!(1), |inner, _| json!([inner]));
    let hashes = ["0", "1", "2"].map(|digit| digit.repeat(64));
    for (limit, path, body, status) in [
        ("body_bytes", "branch", json!({"name": "x".repeat(1024)}), 413),
        ("json_depth", "branch", json!({"name": "x", "more": deep}), 400),
        ("content_bytes", "commit", of(vec![file("a", 1001)], "m"), 413),
        ("message_bytes", "commit", of(vec![file("a", 1)], &"m".repeat(21)), 413),
        ("commit_files", "commit", of(vec![file("a", 1), file("b", 1), file("c", 1)], "m"), 413),
        ("path_bytes", "commit", of(vec![file("a/long/path", 1)], "m"), 400),
        ("path_bytes", "commit", of(vec![file(&"x/".repeat(3000), 1)], "m"), 400),
        ("import_commits", "import", import(4), 413),
        ("hashes", "contents/missing", json!({"hashes": hashes}), 413),
        ("hashes", "archive", json!({"paths": ["a", "b", "c"]}), 413),
    ] {
        let before = counts();
        let answer = me.post(&format!("{REPO}/{path}"), &body).await;
        assert_eq!(answer.status, status, "{limit}: {}", answer.text);
        grew(&before, limit);
    }
    for (limit, path, body) in [
        ("token_days", "/tokens", json!({"name": "t", "expires_in_days": 366})),
        ("agent_hours", "/agents", json!({"name": "a", "expires_in_hours": 25})),
    ] {
        let before = counts();
        me.post(path, &body).await.expect(400);
        grew(&before, limit);
    }
    for (limit, query, rows) in [
        ("page_rows", "commits?limit=101", 3),
        ("chain_rows", "chain?from=1&to=9", 2),
        ("chain_rows", "chain?from=1&to=9&limit=5", 2),
    ] {
        let before = counts();
        let answer = me.get(&format!("{REPO}/{query}")).await.expect(200);
        let list = answer.get("commits").unwrap_or(&answer);
        assert_eq!(list.as_array().unwrap().len(), rows, "{query}");
        grew(&before, limit);
    }
    let before = counts();
    let held = me.request(Method::GET, "/events").send().await.unwrap();
    me.get("/events").await.expect(429);
    grew(&before, "streams_per_caller");
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "reader"})).await.expect(200);
    app.person("you@example.com").get(&format!("{REPO}/events")).await.expect(503);
    grew(&before, "event_streams");
    drop(held);
}

#[tokio::test]
async fn a_page_that_is_not_cut_is_not_counted() {
    install_metrics("docstore").unwrap();
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    let text = me.get("/metrics").await.text;
    assert!(text.contains("docstore_http_requests_total{"), "{text}");
    for name in ["docstore_limit_reached_total", "docstore_refusals_total", "docstore_auth_callers_total"] {
        assert!(!text.contains(&format!("{name}{{}}")), "{name} has labels");
    }
}

#[tokio::test]
async fn a_json_body_has_a_deadline_and_an_upload_has_none() {
    install_metrics("docstore").unwrap();
    let app = TestApp::start_with(&[("DOCSTORE_BODY_SECONDS", "1"), ("DOCSTORE_BODY_SECONDS_PER_MIB", "0")]).await;
    commit(&app.admin(), REPO, "main", &[("a", Some("1"))]).await;
    let before = counts();
    let address = app.base_url().trim_start_matches("http://").to_owned();
    let begin = async |line: String, length: usize| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head =
            format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let bytes = b"uploaded";
    let hash = hex::encode(sha2::Sha256::digest(bytes));
    let mut upload = begin(format!("PUT {REPO}/contents/{hash}"), bytes.len()).await;
    upload.write_all(&bytes[..1]).await.unwrap();
    let mut slow = begin(format!("POST {REPO}/branch"), 10).await;
    slow.write_all(b"{").await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    let answer = parse(&answer).expect(408);
    assert_eq!(answer["code"], "REQUEST_TIMEOUT");
    grew(&before, "body_deadline");
    // It began before, and is done after.
    upload.write_all(&bytes[1..]).await.unwrap();
    let mut answer = Vec::new();
    upload.read_to_end(&mut answer).await.unwrap();
    assert!(parse(&answer).status.is_success());
}

#[tokio::test]
async fn a_credential_that_is_too_large_is_counted() {
    install_metrics("docstore").unwrap();
    let verified = Verified::start_with(&[("DOCSTORE_AUTH_CREDENTIAL_BYTES_MAX", "1024")]).await;
    let before = counts();
    let request = verified.nobody().request(Method::GET, "/whoami").bearer_auth("x".repeat(1025));
    Answer::of(request).await.expect(401);
    grew(&before, "auth_credential_bytes");
}

#[tokio::test]
async fn waits_for_the_database_end_and_are_counted() {
    install_metrics("docstore").unwrap();
    let app = TestApp::start_with(&[
        ("DOCSTORE_DATABASE_CONNECTIONS", "3"),
        ("DOCSTORE_DATABASE_ACQUIRE_SECONDS", "1"),
        ("DOCSTORE_DATABASE_STATEMENT_SECONDS", "2"),
    ])
    .await;
    let me = app.admin();
    let before = counts();
    let mut connection = PgConnection::connect(app.database().settings().url.expose_secret()).await.unwrap();
    connection.execute("BEGIN; LOCK TABLE orgs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    // Some wait for the lock, and the others for those.
    let answers = join_all((0..8).map(|_| me.get("/orgs"))).await;
    for answer in &answers {
        assert_eq!(answer.expect(503)["code"], "SERVICE_UNAVAILABLE");
    }
    grew(&before, "database_acquire");
    grew(&before, "database_statement");
    connection.close().await.unwrap();
    me.get("/orgs").await.expect(200);
}
