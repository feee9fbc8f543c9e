use docstore_settings::Environment;
use serde_json::{Value, json};

use crate::{Authenticator, Settings, VARIABLES, Via, system_clock, system_random};

fn refusal(pairs: &[(&str, &str)]) -> String {
    match Settings::from_environment(&pairs.iter().copied().collect::<Environment>()) {
        Ok(_) => "accepted".to_owned(),
        Err(invalid) => invalid.name,
    }
}

fn published(pairs: &[(&str, &str)]) -> Value {
    let settings = Settings::from_environment(&pairs.iter().copied().collect::<Environment>()).unwrap();
    let authenticator = Authenticator::new(settings, system_clock(), system_random(), None).unwrap();
    serde_json::to_value(authenticator.discovery()).unwrap()
}

#[test]
fn a_setting_that_would_let_strangers_in_is_refused_by_name() {
    let rows: [(&[(&str, &str)], &str); 22] = [
        (&[], "accepted"),
        (&[("OAUTH_CLIENT_ID", "id")], "accepted"),
        (&[("IAP_CLIENT_ID", "id")], "IAP_AUDIENCE"),
        (&[("IAP_CLIENT_ID", "id"), ("IAP_AUDIENCE", " , ")], "IAP_AUDIENCE"),
        (&[("IAP_CLIENT_ID", "id"), ("IAP_AUDIENCE", "/projects/1, /projects/2")], "accepted"),
        (&[("IAP_CLIENT_ID", "id"), ("IAP_ALLOW_ANY_AUDIENCE", "true")], "accepted"),
        (&[("IAP_AUDIENCE", "/projects/1"), ("IAP_ALLOW_ANY_AUDIENCE", "true")], "IAP_ALLOW_ANY_AUDIENCE"),
        (&[("IAP_JWKS_URL", "http://keys.example.com/")], "IAP_JWKS_URL"),
        (&[("IAP_JWKS_URL", "http://keys.example.com/"), ("DOCSTORE_AUTH_PLAIN_HTTP", "true")], "accepted"),
        (&[("OIDC_LOGIN_ISSUER", "http://id.example.com"), ("OAUTH_CLIENT_ID", "id")], "OIDC_LOGIN_ISSUER"),
        (&[("OIDC_LOGIN_ISSUER", "http://127.0.0.1:1"), ("OAUTH_CLIENT_ID", "id")], "accepted"),
        (&[("OIDC_LOGIN_ISSUER", "https://id.example.com?x=y"), ("OAUTH_CLIENT_ID", "id")], "OIDC_LOGIN_ISSUER"),
        (&[("OIDC_LOGIN_TOKEN_URL", "file:///etc/passwd")], "OIDC_LOGIN_TOKEN_URL"),
        (&[("OIDC_LOGIN_JWKS_URI", "https://id.example.com")], "OIDC_LOGIN_JWKS_URI"),
        (&[("OIDC_LOGIN_ISSUER", "https://id.example.com")], "OAUTH_CLIENT_ID"),
        (&[("OAUTH_CLIENT_SECRET", "s")], "OAUTH_CLIENT_ID"),
        (&[("OAUTH_CLIENT_ID", "id"), ("OIDC_ISSUER", "accounts.google.com")], "OIDC_ISSUER"),
        (&[("IAP_AUDIENCE", "a"), ("OIDC_ISSUER", "https://cloud.google.com/iap")], "OIDC_ISSUER"),
        (&[("OIDC_JWKS_URL", "no address")], "OIDC_JWKS_URL"),
        (&[("SESSION_SECRET", "?")], "SESSION_SECRET"),
        (&[("SESSION_SECRET", "c2hvcnQ=")], "SESSION_SECRET"),
        (&[("DEV_IDENTITY", "a\nb")], "DEV_IDENTITY"),
    ];
    for (pairs, name) in rows {
        assert_eq!(refusal(pairs), name, "{pairs:?}");
    }
}

#[test]
fn every_variable_that_is_a_number_or_a_switch_has_its_bounds() {
    for variable in VARIABLES.iter().filter(|variable| variable.name.starts_with("DOCSTORE_")) {
        assert_eq!(refusal(&[(variable.name, "perhaps")]), variable.name);
        assert_eq!(refusal(&[(variable.name, "99999999")]), variable.name);
        assert_eq!(refusal(&[(variable.name, variable.default)]), "accepted");
    }
}

#[test]
fn settings_do_not_print_secrets() {
    let pairs =
        [("OAUTH_CLIENT_ID", "id"), ("OAUTH_CLIENT_SECRET", "hush"), ("SESSION_SECRET", "aHVzaGh1c2hodXNoaHVzaA==")];
    let settings = Settings::from_environment(&Environment::from_iter(pairs)).unwrap();
    let text = format!("{settings:?}");
    assert!(!text.contains("hush") && !text.contains("104, 117"), "{text}");
}

#[test]
fn discovery_is_the_contracts_and_publishes_no_web_secret() {
    let oauth = [("OAUTH_CLIENT_ID", "web"), ("OAUTH_CLIENT_SECRET", "hush")];
    let iap = [("IAP_CLIENT_ID", "desk"), ("IAP_AUDIENCE", "a")];
    assert_eq!(published(&[]), json!({ "auth": { "type": "none" } }));
    assert_eq!(published(&oauth), json!({ "auth": { "type": "oauth", "client_id": "web" } }));
    assert_eq!(
        published(&[oauth[0], oauth[1], ("OAUTH_CLI_CLIENT_ID", "desk")]),
        json!({ "auth": { "type": "oauth", "client_id": "desk" } })
    );
    assert_eq!(
        published(&[oauth[0], ("OIDC_LOGIN_ISSUER", "https://id.example.com")]),
        json!({ "auth": { "type": "oauth", "client_id": "web", "issuer": "https://id.example.com" } })
    );
    assert_eq!(published(&iap), json!({ "auth": { "type": "iap", "client_id": "desk" } }));
    assert_eq!(
        published(&[iap[0], iap[1], oauth[0], oauth[1], ("IAP_CLIENT_SECRET", "known")]),
        json!({ "auth": { "type": "iap", "client_id": "desk", "client_secret": "known" } })
    );
}

#[test]
fn the_ways_in_are_told() {
    let methods = |pairs: &[(&str, &str)]| {
        let settings = Settings::from_environment(&pairs.iter().copied().collect::<Environment>()).unwrap();
        Authenticator::new(settings, system_clock(), system_random(), None).unwrap().methods()
    };
    assert_eq!(methods(&[]), []);
    assert_eq!(methods(&[("OAUTH_CLIENT_ID", "id"), ("IAP_AUDIENCE", "a")]), [Via::Iap, Via::IdToken]);
    let identity = docstore_models::Identity::parse("dev").unwrap();
    assert!(Settings::development(identity).unwrap().is_development());
}
