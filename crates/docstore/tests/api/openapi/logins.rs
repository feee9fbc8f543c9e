//! The browser login, which answers in plain text.

use docstore_test_support::{Answer, TestApp};
use http::Method;
use serde_json::json;

use super::coverage::Coverage;
use crate::support::{
    fixture::Got,
    identities::{Verified, cookies},
    raw,
    truth::document,
};

fn record(coverage: &mut Coverage, id: &str, how: &str, answer: Answer) {
    let operation = document().operations.iter().find(|operation| operation.id == id).unwrap();
    let got = Got { status: answer.status, headers: answer.headers, body: answer.text.into_bytes() };
    coverage.record(operation, how, &got);
}

pub(super) async fn drive(coverage: &mut Coverage) {
    let verified = Verified::start().await;
    for id in ["login", "callback", "logout"] {
        let line = format!("GET /auth/{id} HTTP/1.0\r\n\r\n");
        let answer = raw::parse(&raw::exchange(&verified.app, line.as_bytes()).await);
        record(coverage, id, "no host", answer);
    }
    let browser = verified.nobody();
    let come_back = async |code: &str| {
        let begun = browser.get("/auth/login").await;
        let back = verified.issuer.agree(begun.headers["location"].to_str().unwrap());
        let back = back.strip_prefix(verified.app.base_url()).unwrap().replace("code=", code);
        Answer::of(browser.request(Method::GET, &back).header("cookie", cookies(&begun).join("; "))).await
    };
    record(coverage, "callback", "a login", come_back("code=").await);
    record(coverage, "callback", "a wrong code", come_back("code=no-").await);
    let cookie = verified.log_in("me@example.com").await;
    sqlx::query("ALTER TABLE ended_sessions RENAME TO taken_away").execute(&verified.app.pool().await).await.unwrap();
    let logout = browser.request(Method::GET, "/auth/logout").header("cookie", cookie);
    record(coverage, "logout", "a session that cannot be ended", Answer::of(logout).await);
    verified.issuer.patch_logins(json!({"email_verified": false}));
    record(coverage, "callback", "nobody the provider vouches for", come_back("code=").await);

    let unconfigured = TestApp::start().await;
    for id in ["login", "callback"] {
        record(coverage, id, "not configured", unconfigured.admin().get(&format!("/auth/{id}")).await);
    }
}
