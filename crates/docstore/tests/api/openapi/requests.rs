//! Answers that depend on the request and its caller.

use docstore_test_support::{ADMIN, Behaviour, Receiver};
use futures::future::join_all;
use http::Method;
use serde_json::json;
use sha2::Digest;

use super::coverage::Coverage;
use crate::support::{
    fixture::{Call, Fixture, Got, bearer},
    raw,
    truth::{Operation, document},
};

/// Limits that are easily reached.
const TINY: [(&str, &str); 6] = [
    ("DOCSTORE_BODY_BYTES_MAX", "1024"),
    ("DOCSTORE_CONTENT_BODY_BYTES_MAX", "16384"),
    ("DOCSTORE_CONTENT_BYTES_MAX", "8192"),
    ("DOCSTORE_STREAMS_PER_CALLER_MAX", "1"),
    ("DOCSTORE_HTTP_BODY_TIMEOUT_SECONDS", "1"),
    ("DOCSTORE_WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8"),
];

type Headers = Vec<(&'static str, String)>;

/// Whoever may do it.
fn allowed(fixture: &Fixture, operation: &Operation) -> Headers {
    if operation.id == "reveal_secrets" {
        return vec![bearer(&fixture.request_token)];
    }
    let email = match operation.id.as_str() {
        "all_events" | "audit" | "event_log" | "rewrap_secrets" => ADMIN,
        "delete_org" => "owner@example.com",
        _ => "creator@example.com",
    };
    vec![bearer(&fixture.verified.issuer.id_token(email))]
}

pub(super) async fn drive(coverage: &mut Coverage) {
    let fixture = Fixture::start(&TINY).await;
    let cookie = fixture.verified.log_in(ADMIN).await;
    let other_site = vec![("cookie", cookie), ("origin", "https://elsewhere.example".to_owned())];
    let narrow = fixture.secret("/tokens", json!({"name": "narrow", "actions": ["ci"], "branches": ["none"]})).await;
    // A key that was used for something else.
    let used = ("idempotency-key", "used".to_owned());
    for email in ["creator@example.com", "owner@example.com"] {
        let body = json!({"name": format!("used-by-{}", email.len())}).to_string().into_bytes();
        let org = Call { method: Method::POST, path: "/orgs".into(), body };
        let headers = [bearer(&fixture.verified.issuer.id_token(email)), used.clone()];
        assert_eq!(fixture.send(&org, &headers).await.status, 201);
    }

    let mut fresh = 0;
    for operation in &document().operations {
        let allowed = allowed(&fixture, operation);
        let with = |name: &'static str, value: &str| [allowed.clone(), vec![(name, value.to_owned())]].concat();
        let mut tries: Vec<Try> = vec![
            ("allowed", allowed.clone(), |call| call),
            ("no credential", vec![], |call| call),
            ("stranger", vec![bearer(&fixture.verified.issuer.id_token("stranger@example.com"))], |call| call),
            ("an API token for something else", vec![bearer(&narrow)], |call| call),
            ("another site", other_site.clone(), |call| call),
            ("nothing there", vec![bearer(&fixture.admin_token)], nowhere),
            ("bad parameters", allowed.clone(), bad_parameters),
            ("bad JSON", allowed.clone(), |call| Call { body: b"{".to_vec(), ..call }),
            ("a NUL in the path", allowed.clone(), |call| at(call, "%00")),
            ("no text in the path", allowed.clone(), |call| at(call, "%ff")),
            ("a bad key", with("idempotency-key", "a b"), |call| call),
            ("a used key", with(used.0, &used.1), |call| call),
            ("another tag", with("if-match", "\"x\""), |call| call),
            ("any tag", with("if-none-match", "*"), |call| call),
            ("too large", allowed.clone(), |call| Call { body: vec![b' '; 20_000], ..call }),
            ("the Go SDK", with("user-agent", "docstore-go-sdk/0.1"), |call| call),
        ];
        match operation.id.as_str() {
            "file" => tries.extend(raw_tries(&allowed)),
            "upload_content" => tries.push(("again", allowed.clone(), |_| uploaded_before())),
            _ => {}
        }
        for (how, headers, change) in tries {
            // What has no body is not sent one: it would not be looked at.
            fresh += 1;
            let call = change(fixture.call(&operation.id, fresh).await);
            let elsewhere = how.ends_with("in the path") && !operation.template.contains('{');
            if elsewhere || (call.method == Method::GET && !call.body.is_empty()) {
                continue;
            }
            let got = fixture.send(&call, &headers).await;
            coverage.record(operation, how, &got);
        }
    }
    histories(coverage, &fixture).await;
    obliterated(coverage, &fixture).await;
    streams(coverage, &fixture).await;
    pings(coverage, &fixture).await;
    presigned(coverage, &fixture).await;
    invites(coverage, &fixture).await;
    reveals(coverage, &fixture).await;
    slow_bodies(coverage, &fixture).await;
}

/// What a try is about, the headers it has, and what it does to a call.
type Try = (&'static str, Headers, fn(Call) -> Call);

fn raw_tries(allowed: &Headers) -> Vec<Try> {
    let raw: fn(Call) -> Call = |call| Call { path: format!("{}?format=raw", call.path), ..call };
    let range = |value: &str| [allowed.clone(), vec![("range", value.to_owned())]].concat();
    vec![
        ("raw", allowed.clone(), raw),
        ("a range", range("bytes=0-0"), raw),
        ("a range outside", range("bytes=9-"), raw),
    ]
}

/// Bytes that are in the repo already.
fn uploaded_before() -> Call {
    let path = format!("/repos/acme/app/-/contents/{}", hex::encode(sha2::Sha256::digest("a")));
    Call { method: Method::PUT, path, body: b"a".to_vec() }
}

/// The same request where there is nothing.
fn nowhere(call: Call) -> Call {
    let path = call.path.replace("/repos/acme/app", "/repos/no/such").replace("/orgs/acme", "/orgs/none");
    let path = match path.strip_prefix("/subscriptions/").and_then(|rest| rest.get(36..)) {
        Some(rest) => format!("/subscriptions/{}{rest}", "0".repeat(36)),
        None => path,
    };
    let path = path.replace("/repos/acme/gone", "/repos/no/").replace("/orgs/gone", "/orgs/no");
    let body = String::from_utf8(call.body.clone()).unwrap_or_default().replace("\"acme\"", "\"none\"");
    let body = body.replace("\"acme/app\"", "\"no/such\"");
    let about_another = matches!(call.path.as_str(), "/repos" | "/subscriptions");
    Call { path, body: if about_another { body.into() } else { call.body }, ..call }
}

fn bad_parameters(call: Call) -> Call {
    let path = call.path.split('?').next().unwrap_or_default();
    Call {
        path: format!("{path}?limit=0&at=x&before=x&from=x&to=x&since_seq=x&status=x&after=x&state=x&redirect=%00"),
        ..call
    }
}

fn at(call: Call, escape: &str) -> Call {
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    Call { path: format!("{path}{escape}?{query}"), ..call }
}

/// A file that is named `history`, below a path that never was a file.
async fn histories(coverage: &mut Coverage, fixture: &Fixture) {
    let operation = find("file_history");
    let headers = allowed(fixture, operation);
    let body = json!({"branch": "main", "message": "m", "files": [{"path": "odd/history", "content": "aGk="}]});
    let commit = Call { method: Method::POST, path: "/repos/acme/app/-/commit".into(), body: body.to_string().into() };
    assert_eq!(fixture.send(&commit, &headers).await.status, 201);
    let get = |query: &str| Call {
        method: Method::GET,
        path: format!("/repos/acme/app/-/file/odd/history{query}"),
        body: Vec::new(),
    };
    coverage.record(operation, "a file named history", &fixture.send(&get(""), &headers).await);
    for range in [None, Some("bytes=0-0"), Some("bytes=9-")] {
        let range = range.map(|range| ("range", range.to_owned()));
        let headers: Headers = headers.iter().cloned().chain(range).collect();
        let got = fixture.send(&get("?format=raw"), &headers).await;
        coverage.record(operation, "a raw file named history", &got);
    }
}

/// Bytes that are gone for good.
async fn obliterated(coverage: &mut Coverage, fixture: &Fixture) {
    const R: &str = "/repos/acme/app/-";
    let files = json!([{"path": "gone/file", "content": "bGVhaw=="}, {"path": "gone/history", "content": "bGVhaw=="}]);
    let commit = json!({"branch": "main", "message": "m", "files": files});
    fixture.creator(Method::POST, &format!("{R}/commit"), commit).await;
    let reason = json!({"path": "gone/file", "reason": "leaked"});
    fixture.creator(Method::POST, &format!("{R}/obliterations"), reason).await;
    let upload = format!("{R}/contents/{}", hex::encode(sha2::Sha256::digest("leak")));
    for (id, method, path, body) in [
        ("file", Method::GET, format!("{R}/file/gone/file"), Vec::new()),
        ("file_history", Method::GET, format!("{R}/file/gone/history?format=raw"), Vec::new()),
        ("upload_content", Method::PUT, upload, b"leak".to_vec()),
    ] {
        let operation = find(id);
        let got = fixture.send(&Call { method, path, body }, &allowed(fixture, operation)).await;
        coverage.record(operation, "obliterated", &got);
    }
}

/// One stream more than a caller may have.
async fn streams(coverage: &mut Coverage, fixture: &Fixture) {
    for id in ["repo_events", "all_events"] {
        let operation = find(id);
        let call = fixture.call(id, 0).await;
        let identity = if id == "all_events" { ADMIN } else { "maintainer@example.com" };
        let token = fixture.verified.issuer.id_token(identity);
        let url = format!("{}{}", fixture.verified.app.base_url(), call.path);
        let held = fixture.http.get(url).bearer_auth(&token).send().await.unwrap();
        // Streams of before may still count; then this one is already the one too many.
        coverage.record(operation, "one stream more", &fixture.send(&call, &[bearer(&token)]).await);
        drop(held);
    }
}

/// One ping more than may wait for their receivers.
async fn pings(coverage: &mut Coverage, fixture: &Fixture) {
    const PINGS_MAX: usize = 16;
    let operation = find("ping_subscription");
    let headers = allowed(fixture, operation);
    let receiver = Receiver::start(Behaviour::Hold).await;
    let body = json!({"backend": "webhook", "repo": "acme/app", "event_types": ["com.docstore.none"],
        "config": {"url": receiver.url()}});
    let created = fixture.creator(Method::POST, "/subscriptions", body).await;
    let path = format!("/subscriptions/{}/ping", created["id"].as_str().unwrap());
    let call = Call { method: Method::POST, path, body: Vec::new() };
    let waiting = join_all((0..PINGS_MAX).map(|_| fixture.send(&call, &headers)));
    let one_more = async {
        receiver.wait_for(PINGS_MAX).await;
        let got = fixture.send(&call, &headers).await;
        assert_eq!(got.status, 429);
        receiver.release();
        got
    };
    let (answered, refused) = futures::join!(waiting, one_more);
    coverage.record(operation, "one ping more", &refused);
    for got in answered {
        coverage.record(operation, "held", &got);
        assert_eq!(got.answer().json()["delivered"], true);
    }
    // A place is free again.
    receiver.usually(Behaviour::Status(204));
    assert_eq!(fixture.send(&call, &headers).await.status, 200);
}

fn find(id: &str) -> &'static Operation {
    document().operations.iter().find(|operation| operation.id == id).unwrap()
}

/// Signed URLs, good, forged and expired.
async fn presigned(coverage: &mut Coverage, fixture: &Fixture) {
    let operation = find("archive");
    let presign = fixture.call("presign_archive", 0).await;
    let got = fixture.send(&presign, &[bearer(&fixture.request_token)]).await;
    coverage.record(find("presign_archive"), "a request token", &got);
    let url = got.answer().json()["url"].as_str().unwrap().to_owned();
    for (how, url) in [
        ("signed", url.clone()),
        ("forged", url.replace("branch=main", "branch=topic")),
        ("expired", url.replace("expires=", "expires=1&x=")),
        ("incomplete", url.replace("expires=", "x=")),
    ] {
        let call = Call { method: Method::GET, path: url, body: Vec::new() };
        coverage.record(operation, how, &fixture.send(&call, &[]).await);
    }
}

/// Invitations that can be accepted no more.
async fn invites(coverage: &mut Coverage, fixture: &Fixture) {
    let accept = find("accept_invite");
    let headers = allowed(fixture, accept);
    let call = fixture.call("accept_invite", 0).await;
    sqlx::query("UPDATE org_invites SET expires_at = now()").execute(&fixture.pool).await.unwrap();
    coverage.record(accept, "too late", &fixture.send(&call, &headers).await);

    let create = find("create_invite");
    let call = fixture.call("create_invite", 20_000).await;
    let headers = [headers, vec![("idempotency-key", "an-invite".to_owned())]].concat();
    coverage.record(create, "with a key", &fixture.send(&call, &headers).await);
    sqlx::query("DELETE FROM org_invites").execute(&fixture.pool).await.unwrap();
    coverage.record(create, "again, when it was revoked", &fixture.send(&call, &headers).await);
}

/// Secrets for a job of another repo, and for one that may have none.
async fn reveals(coverage: &mut Coverage, fixture: &Fixture) {
    let operation = find("reveal_secrets");
    let headers = [bearer(&fixture.request_token)];
    let call = fixture.call(&operation.id, 0).await;
    coverage.record(operation, "another repo", &fixture.send(&nowhere(call.clone()), &headers).await);
    sqlx::query("UPDATE ci_jobs SET trigger_type = 'proposal'").execute(&fixture.pool).await.unwrap();
    coverage.record(operation, "a stranger's proposal", &fixture.send(&call, &headers).await);
}

/// Bodies that are announced and do not come. All at once: each takes the whole time-out.
async fn slow_bodies(coverage: &mut Coverage, fixture: &Fixture) {
    let waiting = document().operations.iter().filter(|operation| operation.method != Method::GET).enumerate();
    let answers = waiting.map(async |(n, operation)| {
        let call = fixture.call(&operation.id, 10_000 + n).await;
        let (_, token) = &allowed(fixture, operation)[0];
        let line = format!("{} {}", call.method, call.path);
        let authorization = format!("Authorization: {token}");
        let answer = raw::request(&fixture.verified.app, &line, &[&authorization, "Content-Length: 10"], b"").await;
        (operation, answer)
    });
    for (operation, answer) in join_all(answers).await {
        let got = Got { status: answer.status, headers: answer.headers, body: answer.text.into_bytes() };
        coverage.record(operation, "a slow body", &got);
    }
}
