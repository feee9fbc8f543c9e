//! What a refusal leaves in the log. A process of its own, since `tracing` remembers for the whole process whether anybody
//! listens to a line, and the other tests do not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use docstore_auth::{Authenticator, Need, Origin, Settings, cross_site_write_refusal, system_clock, system_random};
use docstore_settings::Environment;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn token(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2VjcmV0", part(header), part(claims))
}

#[tokio::test]
async fn a_refusal_is_one_line_without_a_word_of_the_credential() {
    let environment = Environment::from_iter([
        ("OAUTH_CLIENT_ID", "client"),
        ("OAUTH_CLIENT_SECRET", "secret"),
        ("SESSION_SECRET", "MDEyMzQ1Njc4OWFiY2RlZg=="),
        ("IAP_AUDIENCE", "/projects/1"),
    ]);
    let settings = Settings::from_environment(&environment).unwrap();
    let authenticator = Authenticator::new(settings, system_clock(), system_random(), None).unwrap();
    let header = json!({ "alg": "secret", "kid": "secret" });
    let bearer = |issuer: &str| format!("Bearer {}", token(&header, &json!({ "iss": issuer, "email": "secret@b" })));
    let assertion = token(&header, &json!({ "iss": "https://cloud.google.com/iap", "email": "secret@b" }));

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().without_time().with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    for (name, value) in [
        ("accept", "secret".to_owned()),
        ("authorization", "Bearer secret".to_owned()),
        ("authorization", bearer("https://secret.example")),
        ("authorization", bearer("https://accounts.google.com")),
        ("authorization", bearer("https://oidc.docstore.dev")),
        ("x-goog-iap-jwt-assertion", "secret".to_owned()),
        ("x-goog-iap-jwt-assertion", assertion),
        ("cookie", "ds_session=secret.c2VjcmV0".to_owned()),
    ] {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::try_from(value).unwrap())]);
        assert!(authenticator.authenticate(&headers, Need::Nothing).await.is_err());
    }
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("docs.example.com"))]);
    let origin = Origin::of(&headers, None, true).unwrap();
    assert!(authenticator.login().callback(Some("state=secret&code=secret"), &headers, &origin).await.is_err());
    let foreign = HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static("https://secret.example"))]);
    cross_site_write_refusal(&Method::POST, &foreign).unwrap().log();
    drop(guard);

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("secret") && !log.contains("c2VjcmV0"), "{log}");
    let refusals: Vec<String> = log
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| line["fields"][name].as_str().unwrap().to_owned();
            format!(
                "{} {}: {} {}",
                line["level"].as_str().unwrap(),
                field("message"),
                field("reason"),
                field("credential")
            )
        })
        .collect();
    insta::assert_debug_snapshot!(refusals, @r#"
    [
        "WARN auth failed: missing_token none",
        "WARN auth failed: invalid_id_token bearer",
        "WARN auth failed: unknown_issuer bearer",
        "WARN auth failed: wrong_algorithm bearer",
        "WARN auth failed: job_token_not_accepted bearer",
        "WARN auth failed: invalid_jwt iap",
        "WARN auth failed: wrong_algorithm iap",
        "WARN auth failed: invalid_session session",
        "WARN auth failed: missing_state_cookie login",
        "WARN auth failed: cross_site_write none",
    ]
    "#);
}
