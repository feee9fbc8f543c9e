//! Parameters of paths, queries and headers.

use docstore_test_support::TestApp;
use http::Method;

use crate::support::{
    REPO, Transcript,
    fixture::{Call, Fixture, bearer},
    raw, text_file,
    truth::document,
};

#[tokio::test]
async fn every_parameter_of_a_query_may_be_anything_and_breaks_nothing() {
    let fixture = Fixture::start(&[]).await;
    let creator = fixture.verified.issuer.id_token("creator@example.com");
    let values = [
        "%00",
        "%ff",
        "x",
        "",
        "0",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "1%20x",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "99999999999999999999999",
        "..%2f",
        "%F0%9F%92%A9",
        "%27%3B--",
    ];
    for operation in document().operations.iter().filter(|operation| operation.method == Method::GET) {
        let for_admins = matches!(operation.id.as_str(), "all_events" | "audit" | "event_log");
        let headers = [bearer(if for_admins { &fixture.admin_token } else { &creator })];
        let parameters = operation.value["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let types = &parameter["schema"]["type"];
            let is_integer = types == "integer" || types.as_array().is_some_and(|all| all.contains(&"integer".into()));
            for value in values {
                let good = fixture.call(&operation.id, 0).await;
                // The first of several counts.
                let (path, rest) = good.path.split_once('?').unwrap_or((&good.path, ""));
                let call = Call { path: format!("{path}?{name}={value}&{rest}"), ..good.clone() };
                let got = fixture.send(&call, &headers).await;
                let status = got.status.as_u16();
                assert!(status < 500, "{}: {}", call.path, got.answer().text);
                let signed = matches!(name, "sig" | "expires");
                let public = operation.value["security"].is_array();
                if value == "%00" && !signed && !public {
                    assert_eq!(status, 400, "{}", call.path);
                }
                let number = value.parse::<i64>().is_ok() || value.is_empty();
                if is_integer && !number && !signed && !public {
                    assert_eq!(status, 400, "{}", call.path);
                }
            }
        }
    }
}

#[tokio::test]
async fn every_name_in_a_path_may_be_anything_and_breaks_nothing() {
    let fixture = Fixture::start(&[]).await;
    let headers = [bearer(&fixture.admin_token)];
    let long = "x".repeat(5000);
    let names = [
        "%00",
        "a%00b",
        "%ff",
        "%c0%ae",
        "%2e%2e%2f%2e%2e",
        "a%0ab",
        "%20",
        "%F0%9F%92%A9",
        "-",
        "%2F",
        "%2Fx",
        "x%2F",
        "x%2F%2Fy",
        "9223372036854775808",
        "-1",
        "%25",
        "+",
        "~",
        "*",
        "a:b@c",
        &long,
    ];
    for (n, operation) in document().operations.iter().enumerate().filter(|(_, one)| one.template.contains('{')) {
        let body = fixture.call(&operation.id, n).await.body;
        for (position, _) in operation.template.match_indices('{') {
            let (before, rest) = operation.template.split_at(position);
            let (_, after) = rest.split_once('}').unwrap();
            let fill = |part: &str| part.replace("{repo}", "acme/app").replace("{branch}", "topic");
            for name in names {
                let path = format!("{}{name}{}?branch=main&from=1&to=2", fill(before), fill(after));
                let call = Call { method: operation.method.clone(), path, body: body.clone() };
                let got = fixture.send(&call, &headers).await;
                assert!(got.status.as_u16() < 500, "{} {}: {}", call.method, call.path, got.answer().text);
                if name.contains("%00") || name.contains("%ff") || name.contains("%c0") {
                    assert_eq!(got.status, 400, "{}", call.path);
                }
            }
        }
    }
}

#[tokio::test]
async fn every_header_that_is_read_may_be_anything_and_breaks_nothing() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.post(
        &format!("{REPO}/commit"),
        &serde_json::json!({"branch": "main", "message": "m", "files": [text_file("f", "0123456789")]}),
    )
    .await
    .expect(201);
    let values: [&[u8]; 9] = [b"", b" ", b"\x80\xff", b"\"", b"*", b"W/", b",,,", b"bytes=", b"99999999999999999999"];
    for name in [
        "If-Match",
        "If-None-Match",
        "If-Range",
        "Range",
        "Last-Event-ID",
        "Idempotency-Key",
        "X-DocStore-Identity",
        "X-Request-Id",
        "Accept-Encoding",
        "Accept",
        "User-Agent",
        "Origin",
        "Sec-Fetch-Site",
        "X-Forwarded-Proto",
        "Authorization",
        "Cookie",
        "Content-Type",
        "traceparent",
    ] {
        for value in values {
            for line in [
                format!("GET {REPO}/file/f?format=raw"),
                format!("GET {REPO}/tree"),
                format!("DELETE {REPO}/branch/none"),
                "GET /auth/login".to_owned(),
            ] {
                let head = [
                    format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{name}: ").as_bytes(),
                    value,
                    b"\r\n\r\n",
                ]
                .concat();
                let answer = raw::parse(&raw::exchange(&app, &head).await);
                // Without a provider the login says 503.
                let allowed = if line.contains("/auth/") { 503 } else { 499 };
                assert!(answer.status.as_u16() <= allowed, "{line} {name} {value:?}: {}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn what_is_unknown_or_malformed_is_told_apart() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut told = Transcript::new();
    for path in [
        "/repos/none/none",
        "/repos/none/none/-/tree",
        "/repos/default/default/",
        "/repos/default/default/-",
        "/orgs/none",
        "/repos/default/default/-/tree?branch=none",
        "/repos/default/default/-/file/none",
        "/repos/default/default/-/file/none?branch=none",
        "/repos/default/default/-/file/none/history?branch=none",
        "/repos/default/default/-/commits?branch=none",
        "/repos/default/default/-/diff",
        "/repos/default/default/-/diff?branch=none",
        "/repos/default/default/-/archive",
        "/repos/default/default/-/archive?branch=none",
        "/repos/default/default/-/archive?branch=main&at=v1",
        "/repos/default/default/-/branch/none",
        "/repos/default/default/-/releases/none",
        "/repos/default/default/-/commit/7",
        "/repos/default/default/-/commit/x",
        "/repos/default/default/-/commit/9223372036854775808",
        "/repos/default/default/-/tree?at=v1",
        "/repos/default/default/-/tree?limit=0",
        "/repos/default/default/-/file/x/history?after=x",
        "/repos/default/default/-/releases?after=x",
        "/repos/default/default/-/releases?after=7f1e3f1c-8e2c-4a6e-9e6c-1a2b3c4d5e6f",
        "/repos/default/default/-/branches?status=asleep",
        "/repos/default/default/-/chain",
        "/repos/default/default/-/chain?from=1",
        "/repos/default/default/-/chain?from=x&to=2",
        "/repos/default/default/-/chain?from=1&to=x",
        "/repos/default/default/-/chain?from=3&to=2",
        "/repos/default/default/-/events?since_seq=x",
        "/repos/default/default/-/nothing",
        "/repos/default/default/-/tree/more",
        "/nothing",
        "/repos/",
    ] {
        told.get(&me, path).await;
    }
    insta::assert_snapshot!(told, @r#"
    GET /repos/none/none
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    GET /repos/none/none/-/tree
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    GET /repos/default/default/
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    GET /repos/default/default/-
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    GET /orgs/none
      404 {"code":"ORG_NOT_FOUND","error":"org not found"}
    GET /repos/default/default/-/tree?branch=none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/file/none
      404 {"code":"NOT_FOUND","error":"file not found"}
    GET /repos/default/default/-/file/none?branch=none
      404 {"code":"NOT_FOUND","error":"file not found"}
    GET /repos/default/default/-/file/none/history?branch=none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/commits?branch=none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/diff
      400 {"code":"BAD_REQUEST","error":"branch parameter is required"}
    GET /repos/default/default/-/diff?branch=none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/archive
      400 {"code":"BAD_REQUEST","error":"branch parameter is required"}
    GET /repos/default/default/-/archive?branch=none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/archive?branch=main&at=v1
      400 {"code":"BAD_REQUEST","error":"invalid 'at' parameter"}
    GET /repos/default/default/-/branch/none
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    GET /repos/default/default/-/releases/none
      404 {"code":"RELEASE_NOT_FOUND","error":"release not found"}
    GET /repos/default/default/-/commit/7
      404 {"code":"NOT_FOUND","error":"commit not found"}
    GET /repos/default/default/-/commit/x
      400 {"code":"BAD_REQUEST","error":"invalid sequence number"}
    GET /repos/default/default/-/commit/9223372036854775808
      400 {"code":"BAD_REQUEST","error":"invalid sequence number"}
    GET /repos/default/default/-/tree?at=v1
      400 {"code":"BAD_REQUEST","error":"invalid 'at' parameter: not a sequence number or release name"}
    GET /repos/default/default/-/tree?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    GET /repos/default/default/-/file/x/history?after=x
      400 {"code":"BAD_REQUEST","error":"invalid 'after' parameter"}
    GET /repos/default/default/-/releases?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /repos/default/default/-/releases?after=ID-1
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /repos/default/default/-/branches?status=asleep
      400 {"code":"BAD_REQUEST","error":"invalid 'status' parameter: must be active, merged, or abandoned"}
    GET /repos/default/default/-/chain
      400 {"code":"BAD_REQUEST","error":"from and to query parameters are required"}
    GET /repos/default/default/-/chain?from=1
      400 {"code":"BAD_REQUEST","error":"from and to query parameters are required"}
    GET /repos/default/default/-/chain?from=x&to=2
      400 {"code":"BAD_REQUEST","error":"invalid 'from' parameter"}
    GET /repos/default/default/-/chain?from=1&to=x
      400 {"code":"BAD_REQUEST","error":"invalid 'to' parameter"}
    GET /repos/default/default/-/chain?from=3&to=2
      400 {"code":"BAD_REQUEST","error":"'from' must be <= 'to'"}
    GET /repos/default/default/-/events?since_seq=x
      400 {"code":"BAD_REQUEST","error":"since_seq must be the position of an event, a whole number from 0"}
    GET /repos/default/default/-/nothing
      404 {"code":"NOT_FOUND","error":"not found"}
    GET /repos/default/default/-/tree/more
      404 {"code":"NOT_FOUND","error":"not found"}
    GET /nothing
      404 {"code":"NOT_FOUND","error":"not found"}
    GET /repos/
      404 {"code":"NOT_FOUND","error":"not found"}
    "#);
}
