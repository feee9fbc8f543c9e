use http::{StatusCode, uri::Authority};
use serde_json::json;
use url::Url;

use super::{World, header_map};
use crate::{
    LoginFailure, Origin, Reason, Redirect, Via, login_location, safe_redirect,
    testing::{Fault, patched},
};

fn origin() -> Origin {
    Origin::of(&header_map(&[("host", "docs.example.com"), ("x-forwarded-proto", "https")]), None, false).unwrap()
}

/// What a browser remembers: the cookies as `name=value`.
fn jar(redirect: &Redirect) -> Vec<String> {
    redirect.cookies.iter().map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

fn lines(redirect: &Redirect) -> Vec<&str> {
    redirect.cookies.iter().map(|cookie| cookie.to_str().unwrap()).collect()
}

impl World {
    /// Begins a login and agrees to it at the provider: the browser's cookies and the query of the callback.
    async fn agreed(&self, redirect: &str) -> (String, String) {
        let start = self.authenticator.login().start(Some(redirect), &origin()).await.unwrap();
        let back = self.issuer.agree(start.location.to_str().unwrap());
        (jar(&start).join("; "), Url::parse(&back).unwrap().query().unwrap().to_owned())
    }

    async fn callback(&self, cookies: &str, query: &str) -> Result<Redirect, LoginFailure> {
        let headers = if cookies.is_empty() { header_map(&[]) } else { header_map(&[("cookie", cookies)]) };
        self.authenticator.login().callback(Some(query), &headers, &origin()).await.map(|done| done.redirect)
    }
}

#[tokio::test]
async fn a_login_ends_in_a_session() {
    let world = World::new().await;
    let start = world.authenticator.login().start(Some("/r/päper?x=1&y=2#z"), &origin()).await.unwrap();
    let location = Url::parse(start.location.to_str().unwrap()).unwrap();
    let fixed: Vec<_> = location
        .query_pairs()
        .filter(|(name, _)| !matches!(name.as_ref(), "state" | "nonce" | "code_challenge"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    insta::assert_debug_snapshot!(fixed, @r#"
    [
        "response_type: code",
        "client_id: docstore-test-client",
        "redirect_uri: https://docs.example.com/auth/callback",
        "scope: openid email",
        "code_challenge_method: S256",
    ]
    "#);
    insta::assert_debug_snapshot!(lines(&start), @r#"
    [
        "ds_oauth_state=eDglgipvnmLaIZDoKOTJ0g|%2Fr%2Fp%25C3%25A4per%3Fx%3D1%26y%3D2%23z; Path=/auth/; Max-Age=300; HttpOnly; SameSite=Lax; Secure",
        "ds_oauth_pkce=EwmsP05BUSgg-_JZrkkrtoZIDrSn9fpLvDghUmatmEw; Path=/auth/; Max-Age=300; HttpOnly; SameSite=Lax; Secure",
    ]
    "#);

    let back = world.issuer.agree(location.as_str());
    assert!(back.starts_with("https://docs.example.com/auth/callback?"));
    let done = world.callback(&jar(&start).join("; "), Url::parse(&back).unwrap().query().unwrap()).await.unwrap();
    assert_eq!(done.location, "/r/p%C3%A4per?x=1&y=2#z");
    insta::assert_debug_snapshot!(lines(&done), @r#"
    [
        "ds_oauth_state=; Path=/auth/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
        "ds_oauth_pkce=; Path=/auth/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
        "ds_session=eyJlbWFpbCI6ImFsaWNlQGV4YW1wbGUuY29tIiwiZXhwIjoxNzk1MjYyNDAwLCJiZWdhbiI6MTc5NTE3NjAwMDAwMDAwMH0.8gtCdMc6AdNHVZvlJWreQkwHcMPXwltAZarXViNoWy8; Path=/; Expires=Sat, 21 Nov 2026 12:00:00 GMT; HttpOnly; SameSite=Lax; Secure",
    ]
    "#);

    let session = jar(&done).pop().unwrap();
    assert_eq!(world.ask(&[("cookie", &session)]).await, super::alice(Via::Session));

    insta::assert_debug_snapshot!(lines(&world.authenticator.login().logout(&origin())), @r#"
    [
        "ds_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure",
    ]
    "#);
}

#[tokio::test]
async fn without_https_cookies_are_not_marked_secure() {
    let world = World::new().await;
    let plain = Origin::of(&header_map(&[("host", "127.0.0.1:8080")]), None, false).unwrap();
    let start = world.authenticator.login().start(None, &plain).await.unwrap();
    assert!(lines(&start).iter().all(|line| !line.contains("Secure")));
    assert!(start.location.to_str().unwrap().contains("redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fauth%2Fcallback"));
    assert!(jar(&start)[0].ends_with("|%2F"));
}

#[tokio::test]
async fn two_logins_share_nothing() {
    let world = World::new().await;
    let login = world.authenticator.login();
    let (one, two) = (login.start(None, &origin()).await.unwrap(), login.start(None, &origin()).await.unwrap());
    let values = |redirect: &Redirect| {
        let url = Url::parse(redirect.location.to_str().unwrap()).unwrap();
        let asked: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
        let verifier = jar(redirect)[1].split_once('=').unwrap().1.to_owned();
        [asked["state"].clone(), asked["nonce"].clone(), asked["code_challenge"].clone(), verifier]
    };
    let all: std::collections::HashSet<_> = values(&one).into_iter().chain(values(&two)).collect();
    assert_eq!(all.len(), 8, "state, nonce, challenge and verifier all differ from each other, too");
}

#[tokio::test]
async fn every_wrong_callback_is_refused_in_the_contracts_words() {
    let world = World::new().await;
    let (cookies, query) = world.agreed("/").await;
    let (other_cookies, other_query) = world.agreed("/").await;
    let (state, verifier) = cookies.split_once("; ").unwrap();
    let other_verifier = other_cookies.split_once("; ").unwrap().1;
    let state_only = query.split_once("&code=").unwrap().0;
    let rows = [
        ("no cookie", String::new(), query.clone(), LoginFailure::MissingStateCookie),
        ("no bar", "ds_oauth_state=abc".to_owned(), query.clone(), LoginFailure::MalformedStateCookie),
        (
            "an empty state",
            "ds_oauth_state=|/".to_owned(),
            "state=&code=x".to_owned(),
            LoginFailure::MalformedStateCookie,
        ),
        ("another login's answer", cookies.clone(), other_query.clone(), LoginFailure::StateMismatch),
        ("no state", cookies.clone(), "code=x".to_owned(), LoginFailure::StateMismatch),
        ("nothing", cookies.clone(), String::new(), LoginFailure::StateMismatch),
        ("no code", cookies.clone(), state_only.to_owned(), LoginFailure::MissingCode),
        ("an empty code", cookies.clone(), format!("{state_only}&code="), LoginFailure::MissingCode),
        ("declined", cookies.clone(), format!("{state_only}&error=access_denied"), LoginFailure::MissingCode),
        (
            "an endless code",
            cookies.clone(),
            format!("{state_only}&code={}", "x".repeat(5000)),
            LoginFailure::MissingCode,
        ),
        ("a code that is none", cookies.clone(), format!("{state_only}&code=guess"), LoginFailure::TokenExchangeFailed),
        ("no verifier", state.to_owned(), query.clone(), LoginFailure::MissingStateCookie),
        (
            "endless cookies",
            format!("{cookies}; pad={}", "x".repeat(20_000)),
            query.clone(),
            LoginFailure::MalformedStateCookie,
        ),
        (
            "a stolen code and state, another browser's verifier",
            format!("{state}; {other_verifier}"),
            query.clone(),
            LoginFailure::TokenExchangeFailed,
        ),
        ("a code that was used", format!("{state}; {verifier}"), query.clone(), LoginFailure::TokenExchangeFailed),
    ];
    let mut answers = Vec::new();
    for (name, cookies, query, wanted) in rows {
        let failure = world.callback(&cookies, &query).await.unwrap_err();
        assert_eq!(failure, wanted, "{name}");
        answers.push(format!("{} {failure}", failure.status().as_u16()));
    }
    answers.dedup();
    insta::assert_debug_snapshot!(answers, @r#"
    [
        "400 missing state cookie",
        "400 malformed state cookie",
        "400 state mismatch",
        "400 missing authorization code",
        "500 token exchange failed",
        "400 missing state cookie",
        "400 malformed state cookie",
        "500 token exchange failed",
    ]
    "#);
    assert!(world.callback(&other_cookies, &other_query).await.is_ok(), "the other login was not disturbed");
}

#[tokio::test]
async fn the_provider_must_vouch_for_the_person() {
    let world = World::new().await;
    let invalid = LoginFailure::InvalidIdToken;
    for (patch, wanted) in [
        (json!({ "nonce": "another" }), invalid(Reason::WrongNonce)),
        (json!({ "nonce": null }), invalid(Reason::WrongNonce)),
        (json!({ "email_verified": false }), invalid(Reason::UnverifiedEmail)),
        (json!({ "aud": "somebody-else" }), invalid(Reason::WrongAudience)),
        (json!({ "iss": "https://accounts.google.com" }), invalid(Reason::UnknownIssuer)),
        (json!({ "exp": 1 }), invalid(Reason::Expired)),
        (json!({ "email": "system" }), invalid(Reason::UnusableEmail)),
    ] {
        world.issuer.patch_logins(patch.clone());
        let (cookies, query) = world.agreed("/").await;
        let failure = world.callback(&cookies, &query).await.unwrap_err();
        assert_eq!((failure, failure.status()), (wanted, StatusCode::UNAUTHORIZED), "{patch}");
        assert_eq!(failure.to_string(), "invalid id token");
    }
    world.issuer.patch_logins(json!({}));
    world.issuer.leave_out_id_token(true);
    let (cookies, query) = world.agreed("/").await;
    let failure = world.callback(&cookies, &query).await.unwrap_err();
    assert_eq!((failure, failure.status()), (LoginFailure::NoIdToken, StatusCode::INTERNAL_SERVER_ERROR));
}

#[tokio::test]
async fn a_desktop_clients_token_does_not_end_a_browser_login() {
    let world = World::with(&[("OAUTH_CLI_CLIENT_ID", "desktop")]).await;
    world.issuer.patch_logins(json!({ "aud": "desktop" }));
    let (cookies, query) = world.agreed("/").await;
    let failure = world.callback(&cookies, &query).await.unwrap_err();
    assert_eq!(failure, LoginFailure::InvalidIdToken(Reason::WrongAudience));
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_apart() {
    let world = World::new().await;
    world.issuer.set_fault(Some(Fault::Status(500)));
    let failure = world.authenticator.login().start(None, &origin()).await.unwrap_err();
    assert_eq!((failure, failure.status()), (LoginFailure::ProviderUnavailable, StatusCode::SERVICE_UNAVAILABLE));
    world.issuer.set_fault(None);
    world.clock.advance(std::time::Duration::from_secs(10));
    let (cookies, query) = world.agreed("/").await;
    for fault in [Fault::Garbage, Fault::Oversized] {
        world.issuer.set_fault(Some(fault));
        assert_eq!(world.callback(&cookies, &query).await.unwrap_err(), LoginFailure::TokenExchangeFailed, "{fault:?}");
    }
}

#[tokio::test]
async fn a_login_takes_all_three_settings() {
    for missing in ["OAUTH_CLIENT_SECRET", "SESSION_SECRET"] {
        let world = World::with(&[(missing, "")]).await;
        let login = world.authenticator.login();
        assert!(!login.is_configured());
        let failure = login.start(None, &origin()).await.unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.status().as_u16()), ("OAuth not configured", 503));
        let failure = login.callback(None, &header_map(&[]), &origin()).await.unwrap_err();
        assert_eq!(failure, LoginFailure::NotConfigured);
    }
}

#[test]
fn the_origin_is_what_the_browser_sees() {
    let target: Authority = "h2.example.com".parse().unwrap();
    let of = |headers: &[(&str, &str)], target: Option<&Authority>, tls| Origin::of(&header_map(headers), target, tls);
    assert_eq!(
        of(&[("host", "a:1")], Some(&target), false),
        of(&[("host", "a:1"), ("x-forwarded-proto", "http")], None, true)
    );
    assert_eq!(of(&[("host", "a:1")], None, true), of(&[("host", "a:1"), ("x-forwarded-proto", "https")], None, false));
    assert_eq!(of(&[], Some(&target), true), of(&[("host", "h2.example.com")], None, true));
    for host in
        [&[] as &[(&str, &str)], &[("host", "")], &[("host", "a b")], &[("host", "x@evil.example")], &[("host", "a/b")]]
    {
        assert_eq!(of(host, None, true), Err(LoginFailure::MalformedHost), "{host:?}");
    }
}

#[test]
fn redirects_stay_on_this_site() {
    for (asked, wanted) in [
        ("/", "/"),
        ("/r/a/b?x=1#y", "/r/a/b?x=1#y"),
        ("/r/%2e%2e/%5c", "/r/%2e%2e/%5c"),
        ("/ä b\"<>", "/%C3%A4%20b%22%3C%3E"),
        ("", "/"),
        ("r", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/a\\..\\evil", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("/.//evil.example", "/"),
        ("/a/..//evil.example", "/"),
        ("/%2e//evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/go?to=https://evil.example", "/"),
        ("/auth/logout", "/"),
        ("/x/../auth/logout", "/"),
        (" /", "/"),
    ] {
        assert_eq!(safe_redirect(asked), wanted, "{asked:?}");
    }
    assert_eq!(safe_redirect(&format!("/{}", "a".repeat(2048))), "/");
    assert_eq!(login_location("/r/a?x=1&y=ä"), "/auth/login?redirect=%2Fr%2Fa%3Fx%3D1%26y%3D%25C3%25A4");
    assert_eq!(login_location("//evil.example"), "/auth/login?redirect=%2F");
}

#[test]
fn the_patch_of_a_test_takes_claims_away() {
    assert_eq!(patched(json!({ "a": 1, "b": 2 }), &json!({ "a": null, "c": 3 })), json!({ "b": 2, "c": 3 }));
}
