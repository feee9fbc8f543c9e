//! The table of every route against every kind of caller.
//!
//! The routes come from the OpenAPI document, which is made from the routes of the server: a new one cannot be left out.

use std::fmt::Write;

use docstore_models::Action;
use docstore_test_support::{ADMIN, Answer};
use http::Method;
use serde_json::json;

use crate::support::{
    fixture::{Call, Fixture, REPO, bearer},
    generated,
    truth::document,
};

/// Somebody who calls, with what they prove it by.
struct CallerKind {
    name: &'static str,
    meaning: &'static str,
    headers: Vec<(&'static str, String)>,
    query: String,
}

fn kind(name: &'static str, meaning: &'static str, headers: Vec<(&'static str, String)>) -> CallerKind {
    CallerKind { name, meaning, headers, query: String::new() }
}

/// What a request of an operation is in this table when it is not the ordinary one of the fixture.
const VARIANTS: [(&str, &str); 2] = [("commit", "to `main`"), ("commit", "to `main`, bytes behind the JSON")];

async fn callers(fixture: &Fixture) -> Vec<CallerKind> {
    let issuer = &fixture.verified.issuer;
    let cookie = fixture.verified.log_in("admin-of-repo@example.com").await;
    let same_site = vec![("cookie", cookie.clone()), ("sec-fetch-site", "same-origin".to_owned())];
    let other_site = vec![("cookie", cookie), ("sec-fetch-site", "cross-site".to_owned())];
    let forged = fixture.verified.wrong_key.token(&issuer.person(ADMIN));
    let job = serde_json::json!({"iss": "https://oidc.docstore.dev", "aud": "docstore", "job_id": "1", "repo": REPO,
        "exp": 4_000_000_000_u64});
    let job = fixture.verified.wrong_key.token(&job);
    let presign = fixture.call("presign_archive", 0).await;
    let presigned = fixture.send(&presign, &[bearer(&fixture.request_token)]).await.answer().expect(200);
    let url = presigned["url"].as_str().unwrap().to_owned();
    let signature = url.split_once('?').unwrap().1.to_owned();
    let every: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    let agents: Vec<&str> = every.iter().copied().filter(|action| !matches!(*action, "admin" | "secrets")).collect();
    let contents: Vec<&str> = every.iter().copied().filter(|action| *action != "admin").collect();
    fixture.creator(Method::POST, "/repos", json!({"owner": "acme", "name": "other"})).await;
    let token = |name: &'static str, body: serde_json::Value| {
        let mut body = body;
        body["name"] = json!(name);
        fixture.secret("/tokens", body)
    };
    let reading = token("reading", json!({"repos": [REPO]})).await;
    let elsewhere = token("elsewhere", json!({"actions": every, "repos": ["acme/other"]})).await;
    let branches = token("branches", json!({"actions": contents, "branches": ["nothing/*"]})).await;
    let full = token("full", json!({"actions": every})).await;
    let gone = fixture.creator(Method::POST, "/tokens", json!({"name": "gone", "actions": every})).await;
    fixture.creator(Method::DELETE, &format!("/tokens/{}", gone["token"]["id"].as_str().unwrap()), json!(null)).await;
    let gone = gone["secret"].as_str().unwrap().to_owned();
    let agent = fixture.secret("/agents", json!({"name": "helper", "actions": agents})).await;
    let token = |email: &str| vec![bearer(&issuer.id_token(email))];
    vec![
        kind("nobody", "No credential.", vec![]),
        kind(
            "forged",
            "An id token of the global admin, signed with a key that the issuer does not have.",
            vec![bearer(&forged)],
        ),
        kind("job", "The token of a CI job. Not accepted by this version.", vec![bearer(&job)]),
        kind("request", "The request token of a CI job of the repo.", vec![bearer(&fixture.request_token)]),
        CallerKind {
            query: signature,
            ..kind("signed", "No credential, but the query of a presigned archive URL.", vec![])
        },
        kind("stranger", "Somebody with an account and no role.", token("stranger@example.com")),
        kind("reader", "A reader of the repo.", token("reader@example.com")),
        kind("writer", "A writer of the repo.", token("writer@example.com")),
        kind("maintainer", "A maintainer of the repo.", token("maintainer@example.com")),
        kind("admin", "An admin of the repo.", token("admin-of-repo@example.com")),
        kind("creator", "Who created org and repo: an owner and an admin.", token("creator@example.com")),
        kind("member", "A member of the org.", token("member@example.com")),
        kind("owner", "An owner of the org.", token("owner@example.com")),
        kind("global", "The global admin, where the repo has an admin.", token(ADMIN)),
        kind(
            "proxy",
            "An admin of the repo, by an assertion of Identity-Aware Proxy.",
            vec![("x-goog-iap-jwt-assertion", issuer.iap_assertion("admin-of-repo@example.com"))],
        ),
        kind("browser", "An admin of the repo, by the session cookie.", same_site),
        kind("token-read", "A token of the creator, for reading this repo.", vec![bearer(&reading)]),
        kind("token-other", "A token of the creator, for everything in another repo.", vec![bearer(&elsewhere)]),
        kind("token-branch", "A token of the creator, for writing other branches than these.", vec![bearer(&branches)]),
        kind("token-full", "A token of the creator, for everything.", vec![bearer(&full)]),
        kind("token-gone", "A token of the creator that was revoked.", vec![bearer(&gone)]),
        kind("agent", "An agent of the creator, with every action that an agent may have.", vec![bearer(&agent)]),
        kind("site", "The same cookie, sent by the page of another site.", other_site),
    ]
}

async fn variant(fixture: &Fixture, operation: &str, variant: &str, fresh: usize) -> Call {
    let mut call = fixture.call(operation, fresh).await;
    if variant.starts_with("to `main`") {
        call.body = String::from_utf8(call.body).unwrap().replace("\"topic\"", "\"main\"").into();
    }
    if variant.ends_with("bytes behind the JSON") {
        call.body.extend_from_slice(b"}\"");
    }
    call
}

#[tokio::test]
async fn generated_access_table() {
    // Each caller opens streams one after the other, and the server sees late that they were closed.
    let fixture = Fixture::start(&[("DOCSTORE_STREAMS_PER_CALLER_MAX", "100")]).await;
    let callers = callers(&fixture).await;
    let mut rows = Vec::new();
    for operation in &document().operations {
        rows.push((operation.method.clone(), operation.template.clone(), operation.id.as_str(), ""));
        for (_, name) in VARIANTS.iter().filter(|(id, _)| *id == operation.id) {
            rows.push((operation.method.clone(), operation.template.clone(), operation.id.as_str(), name));
        }
    }
    let mut text = head(&callers);
    let mut fresh = 0;
    for (method, template, operation, name) in rows {
        let remark = if name.is_empty() { String::new() } else { format!(" {name}") };
        write!(text, "| {method} `{template}`{remark} |").unwrap();
        for caller in &callers {
            fresh += 1;
            let mut call = variant(&fixture, operation, name, fresh).await;
            if !caller.query.is_empty() {
                call.path = format!("{}?{}", call.path.split('?').next().unwrap(), caller.query);
            }
            let got = fixture.send(&call, &caller.headers).await;
            assert!(got.status.as_u16() < 500, "{method} {}: {:?}", call.path, got.answer().text);
            write!(text, " {} |", got.status.as_u16()).unwrap();
        }
        text.push('\n');
    }
    text.push_str(&elsewhere(&fixture, &callers).await);
    generated::check("docs/access.md", &text);
}

fn head(callers: &[CallerKind]) -> String {
    let mut text = "# Who may do what\n\nMade by the test `generated_access_table`; `scripts/generate` writes it again. \
        Each cell is the status of a real\nanswer: every caller sends a request that would succeed for somebody who may \
        send it, on something of its own.\nSo 2xx and 3xx mean allowed, 401 not known, 403 not allowed; 400 and 404 come \
        behind those checks, or where there are\nnone. The proposals, issues and comments that they \
        change are the creator's: a writer may change what is their own. Tokens and agents belong to the creator, so \
        nothing of theirs is more than the creator's column.\n\nIn development (`DEV_IDENTITY`) no credential is looked at, and \
        whoever sends a request is whom `X-DocStore-Identity`\nnames, else the development identity.\n\n| Caller | \
        |\n| --- | --- |\n"
        .to_owned();
    for caller in callers {
        writeln!(text, "| {} | {} |", caller.name, caller.meaning).unwrap();
    }
    text.push_str("\n| Route |");
    for caller in callers {
        write!(text, " {} |", caller.name).unwrap();
    }
    text.push_str("\n| --- |");
    callers.iter().for_each(|_| text.push_str(" --- |"));
    text.push('\n');
    text
}

/// What is on the server beside the API.
async fn elsewhere(fixture: &Fixture, callers: &[CallerKind]) -> String {
    let mut text = String::new();
    for (method, path, shown) in [
        (Method::GET, "/", "GET `/`"),
        (Method::GET, "/docs/", "GET `/docs/`"),
        (Method::GET, "/docs/openapi.json", "GET `/docs/openapi.json`"),
        (Method::GET, "/nowhere", "GET of a path without a route"),
        (Method::POST, "/healthz", "a method that a path does not have"),
        (Method::GET, "/repos/default/default/-/tree", "GET `/repos/{repo}/-/tree` of a repo without an admin"),
        (Method::GET, "/repos/default/default/-/roles", "GET `/repos/{repo}/-/roles` of a repo without an admin"),
        (Method::GET, "/repos/no/such/-/tree", "GET `/repos/{repo}/-/tree` of a repo that is not there"),
    ] {
        write!(text, "| {shown} |").unwrap();
        for caller in callers {
            let call = Call { method: method.clone(), path: path.to_owned(), body: Vec::new() };
            let got: Answer = fixture.send(&call, &caller.headers).await.answer();
            write!(text, " {} |", got.status.as_u16()).unwrap();
        }
        text.push('\n');
    }
    text
}
