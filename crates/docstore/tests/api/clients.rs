//! What particular clients need: the Go SDK, the CLI, browsers.

use docstore_test_support::{Answer, TestApp};
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    REPO, Transcript, commit,
    identities::{NO_DEVELOPMENT, Verified},
};

const SDK: (&str, &str) = ("user-agent", "docstore-go-sdk/0.1");

#[tokio::test]
async fn the_go_sdk_gets_three_lists_inside_objects() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    let mut told = Transcript::new();
    for path in ["tree", "branches", "file/a/history", "tree?dir=/", "releases", "chain?from=1&to=1"] {
        told.send_with(&me, Method::GET, &format!("{REPO}/{path}"), &[SDK], "").await;
    }
    told.say("whatever else its name, a client gets bare lists");
    for agent in ["Go-http-client/1.1", "my docstore-go-sdk/0.1", "docstore-go-sdk"] {
        told.send_with(&me, Method::GET, &format!("{REPO}/tree"), &[("user-agent", agent)], "").await;
    }
    told.say("and a cache does not give one the other's");
    for path in ["tree", "branches", "file/a/history"] {
        assert_eq!(me.get(&format!("{REPO}/{path}")).await.headers["vary"], "user-agent", "{path}");
    }
    let bare = me.get(&format!("{REPO}/tree")).await.headers["etag"].to_str().unwrap().to_owned();
    told.send_with(&me, Method::GET, &format!("{REPO}/tree"), &[SDK, ("if-none-match", &bare)], "").await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/tree user-agent: docstore-go-sdk/0.1
      200 {"entries":[{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"}]}
    GET /repos/default/default/-/branches user-agent: docstore-go-sdk/0.1
      200 {"branches":[{"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":1,"name":"main","repo":"default/default","status":"active"}]}
    GET /repos/default/default/-/file/a/history user-agent: docstore-go-sdk/0.1
      200 {"entries":[{"author":"admin@example.com","created_at":"TIME","message":"change main","sequence":1,"version_id":"ID-1"}]}
    GET /repos/default/default/-/tree?dir=/ user-agent: docstore-go-sdk/0.1
      200 [{"content_hash":"HASH-1","path":"a","size":1,"type":"file","version_id":"ID-1"}]
    GET /repos/default/default/-/releases user-agent: docstore-go-sdk/0.1
      200 {"releases":[]}
    GET /repos/default/default/-/chain?from=1&to=1 user-agent: docstore-go-sdk/0.1
      200 [{"author":"admin@example.com","branch":"main","commit_hash":"HASH-2","created_at":"TIME","files":[{"content_hash":"HASH-1","path":"a"}],"message":"change main","sequence":1}]
    # whatever else its name, a client gets bare lists
    GET /repos/default/default/-/tree user-agent: Go-http-client/1.1
      200 [{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"}]
    GET /repos/default/default/-/tree user-agent: my docstore-go-sdk/0.1
      200 [{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"}]
    GET /repos/default/default/-/tree user-agent: docstore-go-sdk
      200 [{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"}]
    # and a cache does not give one the other's
    GET /repos/default/default/-/tree user-agent: docstore-go-sdk/0.1 if-none-match: "TAG-1"
      200 {"entries":[{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"}]}
    "#);
}

#[tokio::test]
async fn bodies_of_actions_may_be_absent_null_or_anything() {
    let app = TestApp::start().await;
    let me = app.admin();
    for (n, body) in ["", "null", "{}", "anything at all"].into_iter().enumerate() {
        let name = format!("b{n}");
        // A draft does not merge in between.
        me.post(&format!("{REPO}/branch"), &json!({"name": name, "draft": true})).await.expect(201);
        for (method, path) in [
            (Method::POST, format!("{REPO}/branch/{name}/auto-merge")),
            (Method::DELETE, format!("{REPO}/branch/{name}/auto-merge")),
            (Method::DELETE, format!("{REPO}/branch/{name}")),
        ] {
            let answer = Answer::of(me.request(method, &path).body(body)).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{path} {body}");
        }
    }
}

#[tokio::test]
async fn answers_are_spelt_as_the_contract_has_them() {
    let app = TestApp::start().await;
    let me = app.admin();
    let body = json!({"branch": "main", "message": "<a> & b\u{2028}", "files": [{"path": "x", "content": ""}]});
    let committed = me.post(&format!("{REPO}/commit"), &body).await;
    assert_eq!(committed.headers["content-type"], "application/json");
    assert!(committed.text.ends_with("}\n"));
    // Key order and escapes.
    assert!(committed.text.starts_with(r#"{"sequence":1,"files":[{"path":"x","version_id":""#), "{}", committed.text);
    let detail = me.get(&format!("{REPO}/commit/1")).await;
    assert!(detail.text.contains(r#""message":"\u003ca\u003e \u0026 b\u2028""#), "{}", detail.text);
    // Times have no zeros at the end of their fraction, and are UTC.
    let import = |moment: &str| {
        json!({"branch": "main", "commits": [{"author": "a@b", "message": "m", "created_at": moment,
            "imported_from": "git:1", "files": []}]})
    };
    for (sent, shown) in [
        ("2026-11-20T10:36:36.806810Z", "2026-11-20T10:36:36.80681Z"),
        ("2026-11-20T11:36:36+01:00", "2026-11-20T10:36:36Z"),
        ("2026-11-20T10:36:30.000001Z", "2026-11-20T10:36:30.000001Z"),
    ] {
        let sequence = me.post(&format!("{REPO}/import"), &import(sent)).await.expect(201)["head_sequence"].clone();
        let detail = me.get(&format!("{REPO}/commit/{sequence}")).await.expect(200);
        assert_eq!(detail["created_at"], shown);
    }
    // Large answers are compressed for those who take it, and are the same inside.
    for n in 0..40 {
        commit(&me, REPO, "main", &[(&format!("file-with-a-long-name-{n:03}"), Some("x"))]).await;
    }
    let client = reqwest::Client::builder().no_proxy().no_gzip().no_zstd().build().unwrap();
    let get = |encoding: &str| client.get(format!("{}{REPO}/tree", app.base_url())).header("accept-encoding", encoding);
    let (plain, packed) = (get("identity").send().await.unwrap(), get("gzip").send().await.unwrap());
    assert_eq!(
        (plain.headers().get("content-encoding"), &packed.headers()["content-encoding"]),
        (None, &"gzip".parse().unwrap())
    );
    let tag = |answer: &reqwest::Response| answer.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag(&packed), format!("W/{}", tag(&plain)));
    let vary: Vec<&str> = packed.headers().get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(vary, ["user-agent", "accept-encoding"]);
}

#[tokio::test]
async fn every_answer_has_the_id_under_which_the_log_has_the_request() {
    let app = TestApp::start().await;
    let me = app.admin();
    let answer = me.get("/repos/none/none").await;
    assert_eq!(answer.headers["x-request-id"].to_str().unwrap(), answer.expect(404)["request_id"]);
    let own = Answer::of(me.request(Method::GET, "/orgs/none").header("X-Request-Id", "mine-1.2_3")).await;
    assert_eq!(
        (&own.headers["x-request-id"], own.expect(404)["request_id"].as_str()),
        (&"mine-1.2_3".parse().unwrap(), Some("mine-1.2_3"))
    );
    // What could break a log line is not taken.
    for bad in ["a b", "x".repeat(65).as_str(), "{\"a\":1}", ""] {
        let answer = Answer::of(me.request(Method::GET, "/orgs/none").header("X-Request-Id", bad)).await;
        assert_ne!(answer.headers["x-request-id"].to_str().unwrap(), bad);
    }
}

#[tokio::test]
async fn clients_are_told_how_to_log_in() {
    let config = async |variables: &[(&str, &str)]| {
        TestApp::start_with(variables).await.admin().get("/.well-known/ds-config").await.text
    };
    let mut told = String::new();
    told.push_str(&config(&[]).await);
    let id = ("OAUTH_CLIENT_ID", "client");
    let secret = ("OAUTH_CLIENT_SECRET", "never-shown");
    told.push_str(&config(&[NO_DEVELOPMENT, id, secret]).await);
    told.push_str(&config(&[NO_DEVELOPMENT, id, ("OAUTH_CLI_CLIENT_ID", "desktop")]).await);
    let audience = ("IAP_AUDIENCE", "/projects/1/global/backendServices/2");
    told.push_str(&config(&[NO_DEVELOPMENT, audience, ("IAP_CLIENT_ID", "iap")]).await);
    told.push_str(&config(&[NO_DEVELOPMENT, audience, ("IAP_CLIENT_ID", "iap"), ("IAP_CLIENT_SECRET", "s")]).await);
    insta::assert_snapshot!(told, @r#"
    {"auth":{"type":"none"}}
    {"auth":{"type":"oauth","client_id":"client"}}
    {"auth":{"type":"oauth","client_id":"desktop"}}
    {"auth":{"type":"iap","client_id":"iap"}}
    {"auth":{"type":"iap","client_id":"iap","client_secret":"s"}}
    "#);
}

#[tokio::test]
async fn in_development_a_name_is_played_only_when_it_is_an_address() {
    let app = TestApp::start().await;
    let who = async |name: &str| {
        // Not as a person of the test app, who would send a name of its own.
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("{}/whoami", app.base_url())).header("X-DocStore-Identity", name);
        Answer::of(request).await.expect(200)["identity"].as_str().unwrap().to_owned()
    };
    for name in ["alice", "root", "", "ci-job:1@x", "a b@example.com"] {
        assert_eq!(who(name).await, docstore_test_support::ADMIN, "{name:?}");
    }
    assert_eq!(who("alice@example.com").await, "alice@example.com");
    // Elsewhere the header is nothing at all.
    let verified = Verified::start().await;
    verified.app.person("alice@example.com").get("/whoami").await.expect(401);
    let token = verified.issuer.id_token("bob@example.com");
    let request = verified.app.person("alice@example.com").request(Method::GET, "/whoami").bearer_auth(token);
    assert_eq!(
        Answer::of(request).await.expect(200),
        json!({"identity": "bob@example.com", "via": "id_token", "kind": "person"})
    );
}

#[tokio::test]
async fn the_root_leads_on() {
    let app = TestApp::start().await;
    let me = app.admin();
    let told: Value = me.get("/").await.expect(200);
    let document: Value = me.get(told["openapi"].as_str().unwrap()).await.expect(200);
    assert_eq!(document, serde_json::from_str::<Value>(docstore::openapi_json()).unwrap());
    assert_eq!(document, me.get("/docs/openapi.json").await.expect(200), "what people see is what programs get");
    let browser = Answer::of(me.request(Method::GET, "/").header("accept", "text/html,*/*;q=0.8")).await;
    assert_eq!((browser.status.as_u16(), &browser.headers["location"]), (307, &"/docs/".parse().unwrap()));
    let page = me.get("/docs/").await;
    assert_eq!((page.status.as_u16(), page.headers["content-type"].to_str().unwrap()), (200, "text/html"));
}
