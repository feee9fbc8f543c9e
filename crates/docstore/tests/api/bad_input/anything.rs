//! Requests made up at random: whatever comes, nothing breaks.

use docstore_test_support::TestApp;
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestRunner},
};
use serde_json::Value;

use crate::support::{REPO, commit, raw};

/// Words that mean something to the server, and some that mean nothing.
fn word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "repos",
        "orgs",
        "default",
        "-",
        "tree",
        "file",
        "history",
        "commit",
        "commits",
        "chain",
        "diff",
        "branch",
        "branches",
        "main",
        "auto-merge",
        "merge",
        "rebase",
        "roles",
        "releases",
        "proposals",
        "issues",
        "comments",
        "refs",
        "members",
        "invites",
        "close",
        "purge",
        "archive",
        "presign",
        "contents",
        "missing",
        "import",
        "events",
        "whoami",
        "docs",
        "auth",
        "login",
        "callback",
        "a.txt",
        "..",
        ".",
        "",
        "1",
        "-1",
        "status",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,8}", 1 => "\\PC{0,4}", 1 => "%[0-9a-fA-F]{2}"]
}

fn escaped(word: &str) -> String {
    percent_encoding::utf8_percent_encode(word, percent_encoding::CONTROLS).to_string().replace([' ', '#', '?'], "%20")
}

fn path() -> impl Strategy<Value = String> {
    let free = prop::collection::vec(word(), 0..7);
    let in_repo = prop::collection::vec(word(), 0..4).prop_map(|words| {
        [vec!["repos", "default", "default", "-"].into_iter().map(str::to_owned).collect(), words].concat()
    });
    prop_oneof![1 => free, 3 => in_repo]
        .prop_map(|words| format!("/{}", words.iter().map(|word| escaped(word)).collect::<Vec<_>>().join("/")))
}

fn query() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "branch",
        "at",
        "limit",
        "after",
        "before",
        "from",
        "to",
        "dir",
        "format",
        "since_seq",
        "types",
        "status",
        "sig",
        "expires",
        "redirect",
        "state",
        "code",
    ]);
    let value = prop_oneof![word(), any::<i64>().prop_map(|n| n.to_string()), Just("raw".to_owned()), "%[0-9a-f]{2}"];
    prop::collection::vec((name, value), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    })
}

fn json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "branch",
        "message",
        "files",
        "path",
        "content",
        "content_hash",
        "mode",
        "name",
        "owner",
        "role",
        "sequence",
        "body",
        "older_than",
        "dry_run",
        "expected_head",
        "commits",
        "author",
        "created_at",
        "imported_from",
        "hashes",
        "paths",
        "at",
        "resolutions",
        "draft",
        "BRANCH",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        Just(Value::from("main")),
        Just(Value::from("aGk=")),
        Just(Value::from("7d")),
        Just(Value::from("a\u{0}")),
        Just(Value::from("0000-01-01T00:00:00Z")),
        Just(Value::from("9999-12-31T23:59:60-23:59")),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        6 => json().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn headers() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec![
        "If-Match",
        "If-None-Match",
        "Range",
        "Last-Event-ID",
        "Idempotency-Key",
        "X-DocStore-Identity",
        "Accept",
        "Accept-Encoding",
        "User-Agent",
    ]);
    let value = prop_oneof!["[ -~]{0,12}", Just("bytes=0-".to_owned()), Just("docstore-go-sdk/1".to_owned())];
    prop::collection::vec((name, value), 0..3)
        .prop_map(|all| all.into_iter().map(|(name, value)| format!("{name}: {value}")).collect())
}

#[test]
fn no_request_breaks_the_server() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::start());
    runtime.block_on(commit(&app.admin(), REPO, "main", &[("a.txt", Some("hello")), ("docs/b", Some("x"))]));
    let method =
        prop::sample::select(vec!["GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]);
    let config = Config {
        cases: 1500,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        ..Config::default()
    };
    let strategy = (method, path(), query(), headers(), body());
    let outcome = TestRunner::new(config).run(&strategy, |(method, path, query, headers, body)| {
        // A stream would not end.
        prop_assume!(!(path.ends_with("/events") && matches!(method, "GET" | "HEAD")));
        let line = format!("{method} {path}{query}");
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = runtime.block_on(raw::request(&app, &line, &headers, &body));
        // The login says 503 when it is not configured, which is no break.
        let login = path.starts_with("/auth/") && answer.text == "OAuth not configured\n";
        prop_assert!(answer.status.as_u16() < 500 || login, "{} {:?}", answer.status, answer.text);
        if answer.status.as_u16() >= 400 && !login && method != "HEAD" {
            let told: Result<Value, _> = serde_json::from_str(&answer.text);
            prop_assert!(
                told.is_ok_and(|told| told["code"].is_string()) || path.starts_with("/docs"),
                "{}",
                answer.text
            );
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
