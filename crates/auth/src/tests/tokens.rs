use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{World, alice};
use crate::{
    Reason, Via,
    testing::{TestKey, compact, patched},
};

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Compares whole tables, so that one run shows every row that is wrong.
async fn assert_refused(world: &World, assertions: bool, rows: Vec<(&str, String, Reason)>) {
    let mut got = Vec::new();
    for (name, token, _) in &rows {
        let outcome =
            if assertions { world.ask_with_assertion(token).await } else { world.ask_with_token(token).await };
        got.push((*name, outcome));
    }
    let wanted: Vec<_> = rows.into_iter().map(|(name, _, reason)| (name, Err(reason))).collect();
    assert_eq!(got, wanted);
}

#[tokio::test]
async fn good_tokens_of_both_algorithms_are_accepted() {
    let world = World::new().await;
    for key in [TestKey::rsa("new-rsa"), TestKey::ec("new-ec")] {
        world.issuer.publish(vec![key]);
        world.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(world.ask_with_token(&world.issuer.id_token("alice@example.com")).await, alice(Via::IdToken));
        assert_eq!(world.ask_with_assertion(&world.issuer.iap_assertion("alice@example.com")).await, alice(Via::Iap));
    }
}

#[tokio::test]
async fn every_wrong_signature_is_refused() {
    let world = World::new().await;
    let (rsa, ec) = (TestKey::rsa("rsa-1"), TestKey::ec("ec-1"));
    world.issuer.publish(vec![rsa.clone(), ec.clone()]);
    for assertions in [false, true] {
        let claims = if assertions { world.issuer.assertion("a@b") } else { world.issuer.person("a@b") };
        let unreadable = if assertions { Reason::InvalidJwt } else { Reason::InvalidIdToken };
        let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
        let stranger = TestKey::rsa("rsa-1");
        let good = rsa.token(&claims);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let other_claims =
            compact(&header("RS256", "rsa-1"), &patched(claims.clone(), &json!({"email": "c@d"})), |_| vec![]);
        let rows = vec![
            ("alg none", compact(&header("none", "rsa-1"), &claims, |_| b"x".to_vec()), Reason::WrongAlgorithm),
            ("alg none, no signature", compact(&header("none", "rsa-1"), &claims, |_| vec![]), unreadable),
            ("no signature", format!("{message}."), unreadable),
            (
                "HS256 with the public key",
                compact(&header("HS256", "rsa-1"), &claims, |m| hmac(&rsa.public_bytes(), m)),
                Reason::WrongAlgorithm,
            ),
            (
                "HS256 with the published key as text",
                compact(&header("HS256", "rsa-1"), &claims, |m| hmac(rsa.jwk().to_string().as_bytes(), m)),
                Reason::WrongAlgorithm,
            ),
            (
                "an HMAC that says RS256",
                compact(&header("RS256", "rsa-1"), &claims, |m| hmac(&rsa.public_bytes(), m)),
                Reason::BadSignature,
            ),
            ("RS512", compact(&header("RS512", "rsa-1"), &claims, |m| rsa.sign(m)), Reason::WrongAlgorithm),
            ("PS256", compact(&header("PS256", "rsa-1"), &claims, |m| rsa.sign(m)), Reason::WrongAlgorithm),
            ("ES384", compact(&header("ES384", "ec-1"), &claims, |m| ec.sign(m)), Reason::WrongAlgorithm),
            (
                "rs256 in small letters",
                compact(&header("rs256", "rsa-1"), &claims, |m| rsa.sign(m)),
                Reason::WrongAlgorithm,
            ),
            (
                "EC token for an RSA key",
                compact(&header("ES256", "rsa-1"), &claims, |m| ec.sign(m)),
                Reason::WrongAlgorithm,
            ),
            (
                "RSA token for an EC key",
                compact(&header("RS256", "ec-1"), &claims, |m| rsa.sign(m)),
                Reason::WrongAlgorithm,
            ),
            (
                "EC key, RS256, EC signature",
                compact(&header("RS256", "ec-1"), &claims, |m| ec.sign(m)),
                Reason::WrongAlgorithm,
            ),
            (
                "an ES256 signature of 63 bytes",
                compact(&header("ES256", "ec-1"), &claims, |m| ec.sign(m)[..63].to_vec()),
                Reason::BadSignature,
            ),
            (
                "an ES256 signature of zeros",
                compact(&header("ES256", "ec-1"), &claims, |_| vec![0; 64]),
                Reason::BadSignature,
            ),
            ("another key of the same id", stranger.token(&claims), Reason::BadSignature),
            ("an id that nobody publishes", stranger.named("rsa-9").token(&claims), Reason::UnknownKey),
            ("no key id", compact(&json!({ "alg": "RS256" }), &claims, |m| rsa.sign(m)), Reason::UnknownKey),
            ("an empty key id", compact(&header("RS256", ""), &claims, |m| rsa.sign(m)), Reason::UnknownKey),
            (
                "an endless key id",
                compact(&header("RS256", &"k".repeat(300)), &claims, |m| rsa.sign(m)),
                Reason::UnknownKey,
            ),
            (
                "its own key in the header",
                compact(&json!({ "alg": "RS256", "kid": "rsa-1", "jwk": stranger.jwk() }), &claims, |m| {
                    stranger.sign(m)
                }),
                Reason::BadSignature,
            ),
            (
                "a critical extension",
                compact(&json!({ "alg": "RS256", "kid": "rsa-1", "crit": ["b64"], "b64": false }), &claims, |m| {
                    rsa.sign(m)
                }),
                unreadable,
            ),
            ("other claims under a good signature", format!("{other_claims}{signature}"), Reason::BadSignature),
            (
                "a changed signature",
                format!("{message}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]),
                Reason::BadSignature,
            ),
            ("a padded signature", format!("{good}=="), Reason::BadSignature),
            ("four parts", format!("{good}.x"), unreadable),
            ("two parts", message.to_owned(), unreadable),
            ("no token at all", "opaque-request-token".to_owned(), unreadable),
            ("dots", "..".to_owned(), unreadable),
            ("a header that is no JSON", format!("AAAA.{}", message.split_once('.').unwrap().1), unreadable),
            ("a header without algorithm", compact(&json!({ "kid": "rsa-1" }), &claims, |m| rsa.sign(m)), unreadable),
            ("too large", rsa.token(&patched(claims.clone(), &json!({ "pad": "x".repeat(20_000) }))), Reason::TooLarge),
        ];
        assert_refused(&world, assertions, rows).await;
    }
}

#[tokio::test]
async fn every_wrong_claim_is_refused() {
    let world = World::with(&[("OAUTH_CLI_CLIENT_ID", "desktop")]).await;
    let now = world.clock.now().timestamp();
    let key = TestKey::rsa("rsa-1");
    world.issuer.publish(vec![key.clone()]);
    let rows = |claims: Value, unreadable: Reason, unknown: Reason| {
        let token = |patch: Value| key.token(&patched(claims.clone(), &patch));
        vec![
            ("no issuer", token(json!({ "iss": null })), unknown),
            ("another issuer", token(json!({ "iss": "https://accounts.google.com" })), Reason::UnknownIssuer),
            (
                "the issuer with a slash",
                token(json!({ "iss": format!("{}/", claims["iss"].as_str().unwrap()) })),
                Reason::UnknownIssuer,
            ),
            ("no audience", token(json!({ "aud": null })), Reason::WrongAudience),
            ("another audience", token(json!({ "aud": "somebody-else" })), Reason::WrongAudience),
            ("other audiences", token(json!({ "aud": ["a", "b"] })), Reason::WrongAudience),
            (
                "an audience that is a prefix",
                token(json!({ "aud": format!("{}x", claims["aud"].as_str().unwrap()) })),
                Reason::WrongAudience,
            ),
            ("an audience that is an object", token(json!({ "aud": {} })), unreadable),
            ("no expiry", token(json!({ "exp": null })), Reason::Expired),
            ("expired, beyond the leeway", token(json!({ "exp": now - 31 })), Reason::Expired),
            ("an expiry that is a text", token(json!({ "exp": "tomorrow" })), unreadable),
            ("not yet valid", token(json!({ "nbf": now + 31 })), Reason::NotYetValid),
            ("issued in the future", token(json!({ "iat": now + 31 })), Reason::NotYetValid),
            ("no e-mail address", token(json!({ "email": null })), Reason::UnusableEmail),
            ("an empty one", token(json!({ "email": "" })), Reason::UnusableEmail),
            ("one that is a name", token(json!({ "email": "system" })), Reason::UnusableEmail),
            ("one that is a job", token(json!({ "email": "ci-job:a@b" })), Reason::UnusableEmail),
            ("one that is an agent", token(json!({ "email": "agent:a/a@b" })), Reason::UnusableEmail),
            ("one with a line break", token(json!({ "email": "a@b\nc" })), Reason::UnusableEmail),
            ("one of 400 bytes", token(json!({ "email": format!("{}@b", "a".repeat(400)) })), Reason::UnusableEmail),
            ("one that is a number", token(json!({ "email": 1 })), unreadable),
        ]
    };
    assert_refused(&world, true, rows(world.issuer.assertion("a@b"), Reason::InvalidJwt, Reason::UnknownIssuer)).await;
    let mut bearers = rows(world.issuer.person("a@b"), Reason::InvalidIdToken, Reason::InvalidIdToken);
    let token = |patch: Value| key.token(&patched(world.issuer.person("a@b"), &patch));
    bearers.extend([
        ("the address is not verified", token(json!({ "email_verified": false })), Reason::UnverifiedEmail),
        ("nobody says that it is", token(json!({ "email_verified": null })), Reason::UnverifiedEmail),
        ("it is said in a text", token(json!({ "email_verified": "true" })), Reason::UnverifiedEmail),
        ("a job token", token(json!({ "iss": "https://oidc.docstore.dev" })), Reason::JobTokenNotAccepted),
        ("an assertion as a bearer", world.issuer.iap_assertion("a@b"), Reason::UnknownIssuer),
    ]);
    assert_refused(&world, false, bearers).await;
    assert_refused(
        &world,
        true,
        vec![("a bearer as an assertion", key.token(&world.issuer.person("a@b")), Reason::UnknownIssuer)],
    )
    .await;

    let accepted = [
        json!({ "exp": now - 30 }),
        json!({ "nbf": now + 30, "iat": now + 30 }),
        json!({ "iat": null }),
        json!({ "exp": 1.9e9 }),
        json!({ "aud": ["a", crate::testing::CLIENT_ID] }),
        json!({ "aud": "desktop" }),
    ];
    for patch in accepted {
        let outcome = world.ask_with_token(&token(patch.clone())).await;
        assert_eq!(outcome, Ok(("a@b".to_owned(), Via::IdToken)), "{patch}");
    }
}

#[tokio::test]
async fn a_claim_given_twice_makes_a_token_unreadable() {
    let world = World::new().await;
    let key = TestKey::rsa("rsa-1");
    world.issuer.publish(vec![key.clone()]);
    let claims = world.issuer.person("a@b").to_string().replace("\"email\":", "\"email\":\"root@b\",\"email\":");
    let encode = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text);
    let message = format!("{}.{}", encode(r#"{"alg":"RS256","kid":"rsa-1"}"#), encode(&claims));
    let token = format!(
        "{message}.{}",
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, key.sign(message.as_bytes()))
    );
    assert_eq!(world.ask_with_token(&token).await, Err(Reason::InvalidIdToken));
}

#[tokio::test]
async fn both_spellings_of_google_are_one_issuer() {
    let world = World::new().await;
    let keys = format!("{}/keys", world.issuer.url());
    let spellings = ["https://accounts.google.com", "accounts.google.com"];
    for configured in spellings {
        let variables = [("OIDC_LOGIN_ISSUER", configured), ("OIDC_LOGIN_JWKS_URL", keys.as_str())];
        let google = super::authenticator(&world.issuer, &world.clock, &variables);
        let key = TestKey::ec("g");
        world.issuer.publish(vec![key.clone()]);
        for claimed in spellings {
            let claims = patched(world.issuer.person("alice@example.com"), &json!({ "iss": claimed }));
            let bearer = format!("Bearer {}", key.token(&claims));
            assert_eq!(super::ask(&google, &[("authorization", &bearer)]).await, alice(Via::IdToken));
        }
    }
    assert_eq!(world.issuer.discovery_fetches(), 0, "Google needs no discovery");
}

#[tokio::test]
async fn an_assertion_of_any_audience_needs_the_switch() {
    let world = World::with(&[("IAP_AUDIENCE", ""), ("IAP_ALLOW_ANY_AUDIENCE", "true")]).await;
    let key = TestKey::ec("ec-1");
    world.issuer.publish(vec![key.clone()]);
    let assertion = key.token(&patched(world.issuer.assertion("alice@example.com"), &json!({ "aud": "/projects/9" })));
    assert_eq!(world.ask_with_assertion(&assertion).await, alice(Via::Iap));
}

#[tokio::test]
async fn keys_that_are_not_for_this_are_not_used() {
    let world = World::new().await;
    let key = TestKey::rsa("k");
    let good = key.jwk();
    let token = key.token(&world.issuer.person("alice@example.com"));
    for (patch, usable) in [
        (json!({}), true),
        (json!({ "use": null, "alg": null }), true),
        (json!({ "use": "enc" }), false),
        (json!({ "alg": "RS512" }), false),
        (json!({ "kty": "oct", "k": "c2VjcmV0" }), false),
        (json!({ "n": "AQAB" }), false),
        (json!({ "e": "" }), false),
    ] {
        let document = json!({ "keys": [patched(good.clone(), &patch), TestKey::ec("other").jwk(), {"kty": 7}, null] });
        let keys = crate::keys::KeySet::parse(document.to_string().as_bytes()).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(keys.find("k").is_some(), usable, "{patch}");
        assert!(keys.find("k").is_none_or(|key| key.verifies(message.as_bytes(), signature)), "{patch}");
    }
    for useless in [
        "{}",
        "{\"keys\":[]}",
        "[]",
        "",
        "{\"keys\":[{\"kty\":\"OKP\",\"kid\":\"x\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}",
    ] {
        assert!(crate::keys::KeySet::parse(useless.as_bytes()).is_err(), "{useless}");
    }
}
