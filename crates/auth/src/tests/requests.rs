use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use docstore_models::{Identity, PrincipalKind};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::json;

use super::{World, alice, header_map};
use crate::{Caller, Credential, Need, Reason, Via, cross_site_write_refusal, testing::TestKey};

/// The cookie for alice@example.com, good until 2026-11-21T12:00:00Z, computed apart from this code (Python's `hmac`).
const COOKIE: &str =
    "eyJlbWFpbCI6ImFsaWNlQGV4YW1wbGUuY29tIiwiZXhwIjoxNzk1MjYyNDAwfQ.xGI1JRe18C37WPh-HjmBJbsTGypViNLG3iOxwKFk8cQ";

#[tokio::test]
async fn nothing_is_nobody() {
    let world = World::new().await;
    for headers in [
        &[] as &[(&str, &str)],
        &[("authorization", "Basic YTpi")],
        &[("authorization", "bearer abc")],
        &[("authorization", "Bearer ")],
        &[("x-goog-iap-jwt-assertion", "")],
        &[("x-goog-authenticated-user-email", "accounts.google.com:alice@example.com")],
        &[("x-docstore-identity", "alice@example.com")],
        &[("cookie", "theme=dark; ds_oauth_state=x|y")],
    ] {
        assert_eq!(world.ask(headers).await, Err(Reason::MissingToken), "{headers:?}");
    }
}

#[tokio::test]
async fn the_first_credential_decides() {
    let world = World::new().await;
    let id_token = format!("Bearer {}", world.issuer.id_token("bearer@example.com"));
    let job = TestKey::rsa("rsa-1").token(&json!({ "iss": "https://oidc.docstore.dev" }));
    let job = format!("Bearer {job}");
    let assertion = world.issuer.iap_assertion("proxy@example.com");
    let cookie = format!("ds_session={COOKIE}");
    let proxy = Ok(("proxy@example.com".to_owned(), Via::Iap));
    let rows: [(&[(&str, &str)], _); 9] = [
        (&[("authorization", &id_token), ("x-goog-iap-jwt-assertion", &assertion), ("cookie", &cookie)], proxy.clone()),
        (&[("authorization", "Basic x"), ("x-goog-iap-jwt-assertion", &assertion)], proxy.clone()),
        (&[("authorization", "Bearer opaque"), ("x-goog-iap-jwt-assertion", &assertion)], proxy),
        (&[("authorization", &id_token), ("x-goog-iap-jwt-assertion", "x")], Err(Reason::InvalidJwt)),
        (&[("authorization", &job), ("x-goog-iap-jwt-assertion", &assertion)], Err(Reason::JobTokenNotAccepted)),
        (&[("authorization", &id_token), ("cookie", &cookie)], Ok(("bearer@example.com".to_owned(), Via::IdToken))),
        (&[("authorization", "Bearer x"), ("cookie", &cookie)], Err(Reason::InvalidIdToken)),
        (&[("authorization", &id_token), ("authorization", &id_token)], Err(Reason::InvalidIdToken)),
        (
            &[("x-goog-iap-jwt-assertion", &assertion), ("x-goog-iap-jwt-assertion", &assertion)],
            Err(Reason::InvalidJwt),
        ),
    ];
    for (headers, wanted) in rows {
        assert_eq!(world.ask(headers).await, wanted, "{headers:?}");
    }
}

#[tokio::test]
async fn an_assertion_counts_only_behind_the_proxy() {
    let world = World::with(&[("IAP_AUDIENCE", "")]).await;
    let assertion = world.issuer.iap_assertion("alice@example.com");
    assert_eq!(world.ask_with_assertion(&assertion).await, Err(Reason::MissingToken));
}

#[tokio::test]
async fn a_bearer_without_a_provider_has_an_unknown_issuer() {
    let without = [("OAUTH_CLIENT_ID", ""), ("OAUTH_CLIENT_SECRET", ""), ("OIDC_LOGIN_ISSUER", "")];
    let world = World::with(&without).await;
    assert_eq!(world.ask_with_token(&world.issuer.id_token("a@b")).await, Err(Reason::UnknownIssuer));
}

#[tokio::test]
async fn in_development_everybody_is_one_person_or_who_they_play() {
    let world = World::with(&[("DEV_IDENTITY", "dev")]).await;
    let long = format!("{}@b", "a".repeat(400));
    let rows: [(&[(&str, &str)], &str); 7] = [
        (&[], "dev"),
        (&[("x-docstore-identity", "bob@example.com")], "bob@example.com"),
        (&[("x-docstore-identity", "bob")], "dev"),
        (&[("x-docstore-identity", "ci-job:7@x")], "dev"),
        (&[("x-docstore-identity", &long)], "dev"),
        (&[("authorization", "Bearer nonsense"), ("cookie", "ds_session=nonsense")], "dev"),
        (&[("x-goog-iap-jwt-assertion", "nonsense")], "dev"),
    ];
    for (headers, identity) in rows {
        assert_eq!(world.ask(headers).await, Ok((identity.to_owned(), Via::Development)), "{headers:?}");
    }
    assert_eq!(world.authenticator.methods(), [Via::Development]);
    assert_eq!(world.issuer.key_fetches(), 0);
}

#[tokio::test]
async fn a_session_is_the_contracts_bytes_and_ends() {
    let world = World::new().await;
    let now = world.clock.now();
    let sessions = crate::session::Sessions::new(
        b"0123456789abcdef0123456789abcdef".to_vec().into(),
        std::time::Duration::from_secs(86_400),
    );
    let identity = docstore_models::Identity::parse("alice@example.com").unwrap();
    let issued = sessions.issue(&identity, now).unwrap();
    let said = URL_SAFE_NO_PAD.decode(issued.split('.').next().unwrap()).unwrap();
    let (over, began) = (now.timestamp() + 86_400, now.timestamp_micros());
    assert_eq!(
        String::from_utf8(said).unwrap(),
        format!(r#"{{"email":"alice@example.com","exp":{over},"began":{began}}}"#)
    );
    // The contract's own does not say when it began.
    let (ours, wire) = (sessions.read(&issued, now).unwrap(), sessions.read(COOKIE, now).unwrap());
    assert_eq!((ours.began_at, wire.began_at), (now, now));
    assert_eq!((ours.expires_at, &ours.identity), (wire.expires_at, &wire.identity));
    assert_ne!(ours.digest, wire.digest);

    let cookie = format!("theme=dark; ds_session={COOKIE}; x=y");
    assert_eq!(world.ask(&[("cookie", &cookie)]).await, alice(Via::Session));
    let spread = [("cookie", "theme=dark"), ("cookie", cookie.as_str())];
    assert_eq!(world.ask(&spread).await, alice(Via::Session));
    let tossed = format!("ds_session=AAAA.BBBB; {cookie}");
    assert_eq!(world.ask(&[("cookie", &tossed)]).await, alice(Via::Session));
    assert_eq!(world.ask(&[("cookie", "ds_session=AAAA.BBBB")]).await, Err(Reason::InvalidSession));
    let stuffed = format!("{cookie}; pad={}", "x".repeat(16_384));
    assert_eq!(world.ask(&[("cookie", &stuffed)]).await, Err(Reason::TooLarge));

    world.clock.advance(std::time::Duration::from_secs(86_400));
    assert_eq!(world.ask(&[("cookie", &cookie)]).await, alice(Via::Session));
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(world.ask(&[("cookie", &cookie)]).await, Err(Reason::Expired));
}

#[tokio::test]
async fn a_session_signed_with_another_key_is_nobodys() {
    let world = World::with(&[("SESSION_SECRET", "YW5vdGhlci1rZXktb2YtMzItYnl0ZXMtbGVuZ3RoISE=")]).await;
    assert_eq!(world.ask(&[("cookie", &format!("ds_session={COOKIE}"))]).await, Err(Reason::InvalidSession));
    let world = World::with(&[("SESSION_SECRET", "")]).await;
    assert_eq!(world.ask(&[("cookie", &format!("ds_session={COOKIE}"))]).await, Err(Reason::MissingToken));
}

#[test]
fn callers_cannot_be_made_up() {
    assert_eq!(Caller::system("auto-merge").unwrap().via(), Via::System);
    for name in ["", "alice@example.com", "ci-job:7", "a\nb"] {
        assert!(Caller::system(name).is_err(), "{name:?}");
    }
}

#[test]
fn callers_are_of_a_kind() {
    let caller = |identity| Caller::for_test(Identity::parse(identity).unwrap(), Via::Development);
    let (alice, agent) = (caller("alice@example.com"), caller("agent:fixer/alice@example.com"));
    assert_eq!((alice.kind(), alice.on_behalf_of()), (PrincipalKind::Person, None));
    assert_eq!((agent.kind(), agent.on_behalf_of()), (PrincipalKind::Agent, Some(alice.identity())));
    assert_eq!((agent.rights_of(), alice.rights_of()), (alice.identity(), alice.identity()));
    assert_eq!(caller("ci-job:7").kind(), PrincipalKind::Job);
    assert_eq!(Caller::system("anything").unwrap().kind(), PrincipalKind::System);
}

#[test]
fn browsers_may_not_write_for_other_sites() {
    let host = ("host", "docs.example.com");
    type Row<'r> = (Method, &'r [(&'r str, &'r str)], bool);
    let rows: [Row<'_>; 15] = [
        (Method::POST, &[host], false),
        (Method::GET, &[host, ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], false),
        (Method::POST, &[host, ("sec-fetch-site", "same-origin")], false),
        (Method::POST, &[host, ("sec-fetch-site", "none")], false),
        (Method::POST, &[host, ("sec-fetch-site", "cross-site")], true),
        (Method::DELETE, &[host, ("sec-fetch-site", "same-site")], true),
        (Method::POST, &[host, ("sec-fetch-site", "whatever"), ("origin", "https://docs.example.com")], true),
        (Method::POST, &[host, ("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
        (Method::POST, &[host, ("origin", "https://docs.example.com")], false),
        (Method::POST, &[host, ("origin", "https://DOCS.example.com")], false),
        (Method::PUT, &[host, ("origin", "https://docs.example.com:8443")], true),
        (Method::PATCH, &[host, ("origin", "https://evil.example")], true),
        (Method::POST, &[host, ("origin", "null")], true),
        (Method::POST, &[("origin", "https://docs.example.com")], true),
        (Method::POST, &[host, ("sec-fetch-site", ""), ("origin", "https://evil.example")], true),
    ];
    for (method, headers, refused) in rows {
        let refusal = cross_site_write_refusal(&method, &header_map(headers));
        assert_eq!(refusal.is_some(), refused, "{method} {headers:?}");
        assert!(
            refusal.is_none_or(|refusal| refusal.reason() == Reason::CrossSiteWrite && refusal.code().status() == 403)
        );
    }
    assert!(Via::Session.is_ambient() && Via::Iap.is_ambient() && Via::Development.is_ambient());
    assert!(!Via::IdToken.is_ambient());
}

#[tokio::test]
async fn missing_keys_are_503_and_wrong_credentials_401() {
    let world = World::new().await;
    world.issuer.set_fault(Some(crate::testing::Fault::Status(500)));
    let headers = header_map(&[("authorization", &format!("Bearer {}", world.issuer.id_token("a@b")))]);
    let refusal = world.authenticator.authenticate(&headers, Need::Nothing).await.unwrap_err();
    assert_eq!((refusal.code().status(), refusal.credential()), (503, Credential::Bearer));
    let refusal = world.authenticator.authenticate(&HeaderMap::new(), Need::Nothing).await.unwrap_err();
    assert_eq!((refusal.code().status(), refusal.message()), (401, "unauthenticated"));
    assert_eq!(refusal.to_string(), "auth failed: missing_token (none)");
}

fn any_header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let name = prop::sample::select(vec![
        "authorization",
        "cookie",
        "x-goog-iap-jwt-assertion",
        "x-docstore-identity",
        "origin",
        "host",
        "sec-fetch-site",
        "x-forwarded-proto",
    ]);
    let part = prop_oneof![
        any::<Vec<u8>>(),
        "[A-Za-z0-9_.=-]{0,60}".prop_map(String::into_bytes),
        Just(b"eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.AA".to_vec()),
    ];
    let prefix = prop::sample::select(vec!["", "Bearer ", "ds_session=", "ds_oauth_state=a|", "https://", "; "]);
    (name, prefix, part).prop_map(|(name, prefix, part)| (name, [prefix.as_bytes(), &part].concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_header_panics_or_lets_anybody_in(sent in prop::collection::vec(prop::collection::vec(any_header(), 0..5), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            for headers in sent {
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    if let Ok(value) = HeaderValue::from_bytes(&value) {
                        map.append(HeaderName::from_static(name), value);
                    }
                }
                assert!(world.authenticator.authenticate(&map, Need::Nothing).await.is_err());
                let _ = cross_site_write_refusal(&Method::POST, &map);
                if let Ok(origin) = crate::Origin::of(&map, None, false) {
                    assert!(world.authenticator.login().callback(Some("state=a&code=b"), &map, &origin).await.is_err());
                }
            }
        });
    }

    #[test]
    fn no_other_cookie_of_that_length_verifies(place in 0..COOKIE.len(), byte in "[A-Za-z0-9_.-]") {
        let mut cookie = COOKIE.to_owned();
        cookie.replace_range(place..=place, &byte);
        let sessions = crate::session::Sessions::new(
            b"0123456789abcdef0123456789abcdef".to_vec().into(),
            std::time::Duration::from_secs(86_400),
        );
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        prop_assert_eq!(sessions.read(&cookie, now).is_ok(), cookie == COOKIE);
    }
}
