//! How paths are spelt, and methods.

use docstore_test_support::TestApp;
use http::Method;
use serde_json::json;

use crate::support::{REPO, branch, commit, raw, truth::document};

#[tokio::test]
async fn slashes_may_be_escaped_or_not() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    me.post("/repos", &json!({"owner": "acme", "name": "team/app"})).await.expect(201);
    let repo = "/repos/acme/team/app/-";
    commit(&me, repo, "main", &[("docs/a b+c.md", Some("text")), ("x/-/y", Some("odd"))]).await;
    branch(&me, repo, "feature/x").await;
    for path in [
        "/repos/acme/team/app",
        "/repos/acme%2Fteam%2Fapp",
        "/repos/acme%2fteam/app/-/",
        "/repos/acme/team/app/-/branch/feature/x",
        "/repos/acme%2Fteam%2Fapp/-/branch/feature%2Fx",
        "/repos/acme/team/app/%2D/branch/feature%2fx",
        "/repos/acme/team/app/-/file/docs/a%20b+c.md",
        "/repos/acme/team/app/-/file/docs%2Fa%20b%2Bc.md",
        "/repos/acme/team/app/-/file/docs/a%20b+c.md/history",
        "/repos/acme/team/app/-/file/docs%2Fa%20b%2Bc.md%2Fhistory",
        "/repos/acme/team/app/-/file/x/-/y",
    ] {
        let answer = me.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    for path in ["/repos/acme/team/app/-/file/docs/a+b+c.md", "/repos/acme/team/app/-/file/docs/a%2520b+c.md"] {
        me.get(path).await.expect(404);
    }
}

#[tokio::test]
async fn unclean_paths_lead_to_clean_ones() {
    let app = TestApp::start().await;
    for (line, lead_to) in [
        ("GET //repos/default/default", "/repos/default/default"),
        ("GET /repos//default/default?x=%2F&y", "/repos/default/default?x=%2F&y"),
        ("POST /repos/default/default/-//commit", "/repos/default/default/-/commit"),
        ("GET /repos/default/./default/../default/-/tree", "/repos/default/default/-/tree"),
        ("GET /../../etc/passwd", "/etc/passwd"),
        ("GET //evil.example/..", "/"),
        ("GET ///", "/"),
        ("DELETE /repos/default//default", "/repos/default/default"),
    ] {
        let answer = raw::request(&app, line, &[], b"").await;
        let location = answer.headers.get("location").map(|location| location.to_str().unwrap());
        assert_eq!((answer.status.as_u16(), location), (307, Some(lead_to)), "{line}: {}", answer.text);
    }
    // What is escaped is a name, and no file has such a one.
    for line in
        [format!("GET {REPO}/file/%2e%2e/x"), format!("GET {REPO}/file/..%2Fx"), format!("GET {REPO}/file/a%2F%2Fb")]
    {
        assert_eq!(raw::request(&app, &line, &[], b"").await.status, 404, "{line}");
    }
    // `POST /repos` is never redirected.
    let made = raw::request(&app, "POST /repos", &[], br#"{"owner":"default","name":"x"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn methods_that_a_path_does_not_have_are_told_which_it_has() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut templates: Vec<&str> = document().operations.iter().map(|operation| operation.template.as_str()).collect();
    templates.dedup();
    for template in templates {
        let has: Vec<&Method> =
            document().operations.iter().filter(|one| one.template == template).map(|one| &one.method).collect();
        let path = template
            .replace("{repo}", "default/default")
            .replace("{branch}", "b")
            .replace("{path}", "p")
            .replace(['{', '}'], "");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            // What changes or deletes a branch takes all that follows as its name.
            let of_name = template.contains("/branch/{branch}/") && !template.ends_with("/auto-merge");
            if has.contains(&&method) || (of_name && matches!(method, Method::PATCH | Method::DELETE)) {
                continue;
            }
            let answer = me.send(method.clone(), &path, &serde_json::Value::Null).await;
            assert_eq!(answer.expect(405)["code"], "METHOD_NOT_ALLOWED", "{method} {path}");
            let mut allow: Vec<&str> = answer.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
            allow.retain(|method| *method != "HEAD");
            allow.sort_unstable();
            let mut expected: Vec<&str> = has.iter().map(|method| method.as_str()).collect();
            expected.sort_unstable();
            assert_eq!(allow, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("hello"))]).await;
    for path in ["/healthz", "/orgs", "/repos/default/default", &format!("{REPO}/file/a?format=raw")] {
        let (head, get) = (me.send(Method::HEAD, path, &json!(null)).await, me.get(path).await);
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.headers.get("content-length"), get.headers.get("content-length"), "{path}");
        assert_eq!(head.headers.get("etag"), get.headers.get("etag"), "{path}");
    }
    // Not even of a stream.
    let head = me.send(Method::HEAD, "/events", &json!(null)).await;
    assert_eq!((head.status.as_u16(), &head.headers["content-type"]), (200, &"text/event-stream".parse().unwrap()));
}
