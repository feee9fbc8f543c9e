//! Who is let in: id tokens, assertions of Identity-Aware Proxy, browser sessions.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use docstore_auth::testing::{IAP_AUDIENCE, TestKey, patched};
use docstore_test_support::Answer;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    identities::{Verified, cookies},
    sse::Sse,
};

async fn whoami(verified: &Verified, headers: &[(&str, &str)]) -> Answer {
    let request = verified.nobody().request(Method::GET, "/whoami");
    Answer::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test]
async fn every_credential_says_who_is_calling() {
    let verified = Verified::start().await;
    let bearer = format!("Bearer {}", verified.issuer.id_token("bearer@example.com"));
    let assertion = verified.issuer.iap_assertion("proxy@example.com");
    let cookie = verified.log_in("Browser@Example.com").await;
    let mut told = Vec::new();
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("x-goog-iap-jwt-assertion", &assertion)],
        vec![("cookie", &cookie)],
        vec![("cookie", &format!("other=1; {cookie}; more=2"))],
        // The proxy's word goes before what it passes on, and a bearer before a cookie.
        vec![("authorization", &bearer), ("x-goog-iap-jwt-assertion", &assertion), ("cookie", &cookie)],
        vec![("authorization", &bearer), ("cookie", &cookie)],
    ] {
        told.push(whoami(&verified, &headers).await.expect(200));
    }
    let said: Vec<String> =
        told.iter().map(|one| format!("{} {}", one["via"], one["identity"]).replace('"', "")).collect();
    assert_eq!(
        said,
        [
            "id_token bearer@example.com",
            "iap proxy@example.com",
            "session Browser@Example.com",
            "session Browser@Example.com",
            "iap proxy@example.com",
            "id_token bearer@example.com",
        ]
    );
}

#[tokio::test]
async fn a_credential_that_does_not_verify_lets_nobody_in() {
    let verified = Verified::start().await;
    let issuer = &verified.issuer;
    let key = TestKey::ec("unpublished");
    let now = docstore_auth::system_clock()().timestamp();
    let good = issuer.person("me@example.com");
    let forged = |patch: Value| verified.wrong_key.token(&patched(good.clone(), &patch));
    let cookie = verified.log_in("me@example.com").await;
    let (name, value) = cookie.split_once('=').unwrap();
    let (payload, tag) = value.split_once('.').unwrap();
    let fine = issuer.id_token("me@example.com");
    let mut refused: Vec<(&str, String)> = vec![
        ("authorization", format!("Bearer {}", forged(json!({})))),
        ("authorization", format!("Bearer {}", key.token(&good))),
        ("authorization", "Bearer x".to_owned()),
        ("authorization", "Bearer a.b.c".to_owned()),
        ("authorization", format!("bearer {fine}")),
        ("authorization", format!("Bearer  {fine}")),
        ("authorization", format!("Basic {fine}")),
        ("authorization", format!("Bearer {}", issuer.iap_assertion("me@example.com"))),
        ("authorization", format!("Bearer {}.{}.", fine.split('.').next().unwrap(), fine.split('.').nth(1).unwrap())),
        ("x-goog-iap-jwt-assertion", fine.clone()),
        ("x-goog-iap-jwt-assertion", verified.wrong_key.token(&issuer.assertion("me@example.com"))),
        ("x-goog-authenticated-user-email", "accounts.google.com:me@example.com".to_owned()),
        ("cookie", format!("{name}={payload}.AAAA")),
        ("cookie", format!("{name}={payload}")),
        ("cookie", format!("{name}=eyJlbWFpbCI6Im1lQGV4YW1wbGUuY29tIiwiZXhwIjo5OTk5OTk5OTk5fQ.{tag}")),
        ("cookie", format!("{name}=")),
        ("x-docstore-identity", "me@example.com".to_owned()),
    ];
    // Claims that are not enough, signed as they should be.
    for patch in [
        json!({"exp": now - 60}),
        json!({"exp": null}),
        json!({"aud": "somebody-else"}),
        json!({"aud": null}),
        json!({"iss": "https://elsewhere.example"}),
        json!({"email_verified": false}),
        json!({"email_verified": null}),
        json!({"email": null}),
        json!({"email": ""}),
        json!({"email": "ci-job:1"}),
        json!({"nbf": now + 600}),
    ] {
        let signing = TestKey::ec("two");
        issuer.publish(vec![signing.clone()]);
        refused.push(("authorization", format!("Bearer {}", signing.token(&patched(good.clone(), &patch)))));
    }
    for (header, value) in refused {
        let answer = whoami(&verified, &[(header, &value)]).await;
        assert_eq!(answer.summary(), r#"401 {"code":"UNAUTHORIZED","error":"unauthenticated"}"#, "{header}: {value}");
    }
    // The first credential decides; a good one behind it does not help.
    let bad = format!("Bearer {}", forged(json!({})));
    assert_eq!(whoami(&verified, &[("authorization", &bad), ("cookie", &cookie)]).await.status, 401);
    let twice = verified.nobody().request(Method::GET, "/whoami").bearer_auth(&fine).bearer_auth(&fine);
    assert_eq!(Answer::of(twice).await.status, 401);
}

#[tokio::test]
async fn the_audience_of_the_proxy_counts() {
    let verified = Verified::start().await;
    let key = TestKey::ec("proxy");
    verified.issuer.publish(vec![key.clone()]);
    let claims = verified.issuer.assertion("me@example.com");
    for (audience, status) in [(IAP_AUDIENCE, 200), ("/projects/9/global/backendServices/9", 401), ("", 401)] {
        let assertion = key.token(&patched(claims.clone(), &json!({"aud": audience})));
        let answer = whoami(&verified, &[("x-goog-iap-jwt-assertion", &assertion)]).await;
        assert_eq!(answer.status, status, "{audience}");
    }
}

#[tokio::test]
async fn the_browser_login_goes_round() {
    let verified = Verified::start().await;
    let browser = verified.nobody();
    let https = async |path: &str, cookie: &str| {
        let request = browser.request(Method::GET, path).header("X-Forwarded-Proto", "https");
        Answer::of(if cookie.is_empty() { request } else { request.header("cookie", cookie) }).await
    };
    let begun = https("/auth/login?redirect=/repos/a/b?x=1%26y=2", "").await;
    let location = begun.headers["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(&format!("{}/authorize?", verified.issuer.url())), "{location}");
    assert!(location.contains("redirect_uri=https%3A%2F%2F127.0.0.1"), "{location}");
    assert_eq!(begun.headers["cache-control"], "no-store");
    for cookie in begun.headers.get_all("set-cookie") {
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    }
    let back = verified.issuer.agree(&location);
    let (_, query) = back.split_once('?').unwrap();
    let jar = cookies(&begun).join("; ");
    for (path, cookie, text) in [
        ("/auth/callback".to_owned(), "", "missing state cookie"),
        (format!("/auth/callback?{query}"), "", "missing state cookie"),
        (format!("/auth/callback?{query}"), "ds_oauth_state=x", "malformed state cookie"),
        ("/auth/callback?state=x&code=y".to_owned(), jar.as_str(), "state mismatch"),
        (format!("/auth/callback?{}", query.replace("&code=", "&no=")), &jar, "missing authorization code"),
    ] {
        let answer = https(&path, cookie).await;
        assert_eq!((answer.status.as_u16(), answer.text.trim_end()), (400, text), "{path}");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let done = https(&format!("/auth/callback?{query}"), &jar).await;
    assert_eq!((done.status.as_u16(), done.headers["location"].to_str().unwrap()), (302, "/repos/a/b?x=1&y=2"));
    let session = cookies(&done).into_iter().find(|cookie| cookie.starts_with("ds_session=")).unwrap();
    assert_eq!(https("/whoami", &session).await.expect(200)["via"], "session");
    // A code is good once.
    assert_eq!(https(&format!("/auth/callback?{query}"), &jar).await.summary(), "500 token exchange failed");
    let out = https("/auth/logout", &session).await;
    assert_eq!((out.status.as_u16(), out.headers["location"].to_str().unwrap()), (302, "/"));
    assert!(out.headers["set-cookie"].to_str().unwrap().starts_with("ds_session=; Path=/; Max-Age=0"));
    // Nobody is sent elsewhere after logging in.
    for (redirect, expected) in [
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/%5Cevil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        ("/docs/", "/docs/"),
    ] {
        let begun = browser.get(&format!("/auth/login?redirect={redirect}")).await;
        let back = verified.issuer.agree(begun.headers["location"].to_str().unwrap());
        let back = back.strip_prefix(verified.app.base_url()).unwrap();
        let request = browser.request(Method::GET, back).header("cookie", cookies(&begun).join("; "));
        assert_eq!(Answer::of(request).await.headers["location"].to_str().unwrap(), expected, "{redirect}");
    }
}

#[tokio::test]
async fn another_site_writes_nothing_with_a_browsers_credential() {
    let verified = Verified::start().await;
    let cookie = verified.log_in("me@example.com").await;
    let assertion = verified.issuer.iap_assertion("me@example.com");
    let bearer = format!("Bearer {}", verified.issuer.id_token("me@example.com"));
    let own = verified.app.base_url().to_owned();
    let mut count = 0;
    for (credential, value, ambient) in
        [("cookie", &cookie, true), ("x-goog-iap-jwt-assertion", &assertion, true), ("authorization", &bearer, false)]
    {
        for (header, origin, from_elsewhere) in [
            ("sec-fetch-site", "cross-site", true),
            ("sec-fetch-site", "same-site", true),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("origin", "https://evil.example", true),
            ("origin", "null", true),
            ("origin", &own, false),
            ("accept", "*/*", false),
        ] {
            count += 1;
            let request =
                verified.nobody().request(Method::POST, "/orgs").header(credential, value).header(header, origin);
            let answer = Answer::of(request.body(json!({"name": format!("org{count}")}).to_string())).await;
            let expected = if ambient && from_elsewhere { 403 } else { 201 };
            assert_eq!(answer.status, expected, "{credential} {header}: {origin}: {}", answer.text);
            let read = verified.nobody().request(Method::GET, "/orgs").header(credential, value).header(header, origin);
            assert_eq!(Answer::of(read).await.status, 200, "reading is harmless");
        }
    }
    // In development any page could reach the server, and nothing is needed.
    let app = docstore_test_support::TestApp::start().await;
    let request = app.admin().request(Method::POST, "/orgs").header("origin", "https://evil.example");
    assert_eq!(Answer::of(request.body(r#"{"name":"x"}"#)).await.status, 403);
}

#[tokio::test]
async fn keys_of_the_issuer_may_change() {
    let verified = Verified::start().await;
    let ask = async |key: &TestKey| {
        let token = key.token(&verified.issuer.person("me@example.com"));
        whoami(&verified, &[("authorization", &format!("Bearer {token}"))]).await.status.as_u16()
    };
    // A key that appears is found without waiting for the hour to pass, and one that is away serves on.
    let (rsa, ec) = (TestKey::rsa("rsa"), TestKey::ec("ec"));
    verified.issuer.publish(vec![rsa.clone(), ec.clone()]);
    assert_eq!((ask(&rsa).await, ask(&ec).await), (200, 200));
    verified.issuer.set_fault(Some(docstore_auth::testing::Fault::Status(500)));
    assert_eq!((ask(&rsa).await, ask(&ec).await), (200, 200));
}

/// A session cookie as the original makes it (contract, server §2.3), with the key of [`TestIssuer`].
fn cookie_of_the_wire(email: &str, expires_at: i64) -> String {
    let payload = URL_SAFE_NO_PAD.encode(json!({"email": email, "exp": expires_at}).to_string());
    // RFC 2104.
    let padded = |pad: u8| {
        let mut key = [pad; 64];
        key.iter_mut().zip(b"0123456789abcdef0123456789abcdef").for_each(|(byte, of_key)| *byte ^= of_key);
        key
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(&payload).finalize();
    let tag = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    format!("ds_session={payload}.{}", URL_SAFE_NO_PAD.encode(tag))
}

async fn status_with(verified: &Verified, cookie: &str) -> u16 {
    whoami(verified, &[("cookie", cookie)]).await.status.as_u16()
}

#[tokio::test]
async fn a_session_ends_where_its_browser_logs_out_and_the_others_go_on() {
    let verified = Verified::start().await;
    let (here, there) = (verified.log_in("me@example.com").await, verified.log_in("me@example.com").await);
    let soon = docstore_auth::system_clock()().timestamp() + 3600;
    let wire = cookie_of_the_wire("me@example.com", soon);
    for cookie in [&here, &there, &wire] {
        assert_eq!(status_with(&verified, cookie).await, 200);
    }
    let log_out = async |cookie: &str| {
        let request = verified.nobody().request(Method::GET, "/auth/logout").header("cookie", cookie);
        let answer = Answer::of(request).await;
        assert_eq!((answer.status.as_u16(), cookies(&answer)), (302, vec!["ds_session=".to_owned()]));
    };
    for (cookie, left) in [(&here, [401, 200, 200]), (&here, [401, 200, 200]), (&wire, [401, 200, 401])] {
        log_out(cookie).await;
        let mut statuses = Vec::new();
        for cookie in [&here, &there, &wire] {
            statuses.push(status_with(&verified, cookie).await);
        }
        assert_eq!(statuses, left);
    }
    // A browser that holds an ended one beside a good one is let in.
    assert_eq!(status_with(&verified, &format!("{here}; {there}")).await, 200);
    for nothing in ["ds_session=x.y", "other=1"] {
        log_out(nothing).await;
    }
    let admin = verified.nobody().with_token(&verified.issuer.id_token(docstore_test_support::ADMIN));
    let trail = admin.get("/audit?limit=4").await.expect(200);
    let ended: Vec<&Value> = trail["events"].as_array().unwrap().iter().map(|entry| &entry["event"]["data"]).collect();
    let told: Vec<bool> = ended.iter().map(|data| data["ended_by"] == "me@example.com").collect();
    assert_eq!(told, [true, true, false, false], "{trail}");
}

#[tokio::test]
async fn all_sessions_of_a_person_can_be_ended_at_once() {
    let verified = Verified::start().await;
    let bearer = |email: &str| verified.nobody().with_token(&verified.issuer.id_token(email));
    let (me, admin) = (bearer("me@example.com"), bearer(docstore_test_support::ADMIN));
    let clock = docstore_auth::system_clock();
    let wire = cookie_of_the_wire("me@example.com", clock().timestamp() + 3600);
    let mine = [verified.log_in("me@example.com").await, verified.log_in("me@example.com").await, wire];
    let other = verified.log_in("other@example.com").await;
    let ended = me.delete("/sessions").await;
    insta::assert_snapshot!(format!("{} {:?}", ended.status, ended.text), @r#"204 No Content """#);
    for cookie in &mine {
        assert_eq!(status_with(&verified, cookie).await, 401);
    }
    assert_eq!(status_with(&verified, &other).await, 200);
    // The next login is a new session.
    let again = verified.log_in("me@example.com").await;
    assert_eq!(status_with(&verified, &again).await, 200);

    me.delete("/sessions?identity=other@example.com").await.expect(403);
    let token = me.post("/tokens", &json!({"name": "t"})).await.expect(201);
    let by_token = verified.nobody().with_token(token["secret"].as_str().unwrap());
    by_token.delete("/sessions").await.expect(403);
    for bad in ["%00", "agent:x/me@example.com"] {
        admin.delete(&format!("/sessions?identity={bad}")).await.expect(400);
    }
    assert_eq!(status_with(&verified, &other).await, 200);
    admin.delete("/sessions?identity=other@example.com").await.expect(204);
    assert_eq!((status_with(&verified, &other).await, status_with(&verified, &again).await), (401, 200));
    // Tokens are no sessions.
    by_token.get("/whoami").await.expect(200);
    let newest = admin.get("/audit?limit=1").await.expect(200)["events"][0]["event"].clone();
    assert_eq!(newest["type"], "com.docstore.session.ended");
    assert_eq!(newest["source"], "/identities/other@example.com");
    assert_eq!(newest["data"], json!({"identity": "other@example.com", "ended_by": docstore_test_support::ADMIN}));
}

#[tokio::test]
async fn a_stream_ends_with_the_session_that_opened_it() {
    let verified = Verified::start().await;
    let me = verified.nobody().with_token(&verified.issuer.id_token("me@example.com"));
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    let open = async |cookie: &str| {
        let request = verified.nobody().request(Method::GET, "/repos/acme/app/-/events").header("cookie", cookie);
        Sse::from(request.send().await.unwrap())
    };
    let (here, there) = (verified.log_in("me@example.com").await, verified.log_in("me@example.com").await);
    let (mut of_here, mut of_there) = (open(&here).await, open(&there).await);
    let mut of_bearer = Sse::open(&me, "/repos/acme/app/-/events", None).await;
    let logout = verified.nobody().request(Method::GET, "/auth/logout").header("cookie", &here);
    assert_eq!(Answer::of(logout).await.status, 302);
    while of_here.frame().await.is_some() {}
    me.post("/repos/acme/app/-/branch", &json!({"name": "one"})).await.expect(201);
    of_there.find(|seen| seen.kind() == "branch.created").await;
    me.delete("/sessions").await.expect(204);
    while of_there.frame().await.is_some() {}
    me.post("/repos/acme/app/-/branch", &json!({"name": "two"})).await.expect(201);
    of_bearer.find(|seen| seen.event["data"]["branch"] == "two").await;
}
