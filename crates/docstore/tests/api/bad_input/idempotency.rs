//! Requests that are sent again.

use docstore_test_support::{Answer, Person, TestApp};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    REPO, Transcript,
    fixture::{Fixture, Got, bearer},
    text_file,
    truth::document,
};

async fn send(who: &Person, key: &str, path: &str, body: &Value) -> Answer {
    let request = who.request(Method::POST, path).header("Idempotency-Key", key);
    Answer::of(request.body(body.to_string())).await
}

fn commit(text: &str) -> Value {
    json!({"branch": "main", "message": "m", "files": [text_file("a", text)]})
}

#[tokio::test]
async fn the_same_request_has_one_effect_and_the_same_answer() {
    let app = TestApp::start().await;
    let me = app.admin();
    let path = format!("{REPO}/commit");
    let first = send(&me, "key-1", &path, &commit("x")).await;
    let again = send(&me, "key-1", &path, &commit("x")).await;
    assert_eq!((first.status.as_u16(), &first.text), (201, &again.text));
    // The same path in another spelling, and the key quoted as the draft has it.
    let spelt = send(&me, "\"key-1\"", &path.replace("default/default", "default%2Fdefault"), &commit("x")).await;
    assert_eq!((spelt.status.as_u16(), &spelt.text), (201, &first.text));
    let log = me.get(&format!("{REPO}/commits")).await.expect(200);
    assert_eq!(log["commits"].as_array().unwrap().len(), 1);
    // Somebody else's key is another one.
    let you = app.person("you@example.com");
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "maintainer"})).await.expect(200);
    me.put(&format!("{REPO}/roles/{}", docstore_test_support::ADMIN), &json!({"role": "admin"})).await.expect(200);
    assert_ne!(send(&you, "key-1", &path, &commit("x")).await.expect(201)["sequence"], first.json()["sequence"]);

    let mut told = Transcript::new();
    told.note("the same key with another body", &send(&me, "key-1", &path, &commit("y")).await);
    told.note("the same key on another path", &send(&me, "key-1", "/orgs", &json!({"name": "acme"})).await);
    told.note("a refusal is not kept", &send(&me, "key-2", "/orgs", &json!({"name": "a b"})).await);
    told.note("so the key is free", &send(&me, "key-2", "/orgs", &json!({"name": "acme"})).await);
    let dry = json!({"branch": "none", "dry_run": true});
    told.note("nothing to repeat", &send(&me, "key-3", &format!("{REPO}/merge"), &dry).await);
    for key in ["", " ", "a b", &"x".repeat(256)] {
        told.note(&format!("{} bytes {key:.4}", key.len()), &send(&me, key, "/orgs", &json!({"name": "n"})).await);
    }
    insta::assert_snapshot!(told, @r#"
    the same key with another body
      409 {"code":"IDEMPOTENCY_KEY_REUSED","error":"the idempotency key was used before for another request; choose a new key"}
    the same key on another path
      409 {"code":"IDEMPOTENCY_KEY_REUSED","error":"the idempotency key was used before for another request; choose a new key"}
    a refusal is not kept
      400 {"code":"BAD_REQUEST","error":"org name 'a b' may not contain ' '"}
    so the key is free
      201 {"created_at":"TIME","created_by":"admin@example.com","name":"acme"}
    nothing to repeat
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    0 bytes 
      400 {"code":"BAD_REQUEST","error":"Idempotency-Key must have 1 to 255 visible ASCII characters"}
    1 bytes  
      400 {"code":"BAD_REQUEST","error":"Idempotency-Key must have 1 to 255 visible ASCII characters"}
    3 bytes a b
      400 {"code":"BAD_REQUEST","error":"Idempotency-Key must have 1 to 255 visible ASCII characters"}
    256 bytes xxxx
      400 {"code":"BAD_REQUEST","error":"Idempotency-Key must have 1 to 255 visible ASCII characters"}
    "#);
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_time_have_one_effect() {
    let app = TestApp::start().await;
    let me = app.admin();
    let path = format!("{REPO}/commit");
    let body = commit("x");
    let answers = join_all((0..12).map(|_| send(&me, "key", &path, &body))).await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.text), (201, &answers[0].text));
    }
    let log = me.get(&format!("{REPO}/commits")).await.expect(200);
    assert_eq!(log["commits"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_write_can_be_sent_again() {
    let fixture = Fixture::start(&[]).await;
    let mut fresh = 0;
    // An upload needs no key: sent again it does the same. It is refused for what was obliterated.
    let writes = document().operations.iter().filter(|operation| operation.id != "upload_content");
    for operation in writes.filter(|operation| operation.responses().contains_key(&409)) {
        assert!(operation.has_parameter("header", "Idempotency-Key"), "{}", operation.id);
        fresh += 1;
        let email = if operation.id == "delete_org" { "owner@example.com" } else { "creator@example.com" };
        let token = bearer(&fixture.verified.issuer.id_token(email));
        let headers = [token, ("idempotency-key", format!("key-{fresh}"))];
        let call = fixture.call(&operation.id, fresh).await;
        let before: i64 = events(&fixture).await;
        let first = fixture.send(&call, &headers).await;
        assert!(first.status.is_success(), "{}: {}", operation.id, first.answer().text);
        let between = events(&fixture).await;
        let again = fixture.send(&call, &headers).await;
        // The token of an invitation is told once; what is told again is another one of the same invitation.
        let one_time = operation.id == "create_invite";
        assert_eq!(again.status, first.status, "{}", operation.id);
        assert!(one_time || without_secret(&again) == without_secret(&first), "{}", operation.id);
        let told_again: Value = serde_json::from_slice(&again.body).unwrap_or_default();
        assert_eq!(told_again.get("secret"), None, "{}: a secret is told once", operation.id);
        assert_eq!(events(&fixture).await, between, "{} was done twice", operation.id);
        // Whatever changes something says so. What is sent again was told before.
        let unchanged = matches!(
            operation.id.as_str(),
            "update_branch" | "disable_auto_merge" | "resume_subscription" | "redeliver"
        );
        assert!(between > before || unchanged, "{} leaves no event", operation.id);
    }
}

/// The body without what is told the first time only.
fn without_secret(got: &Got) -> Value {
    let mut body: Value = serde_json::from_slice(&got.body).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("secret");
    }
    body
}

async fn events(fixture: &Fixture) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM event_log").fetch_one(&fixture.pool).await.unwrap()
}

#[tokio::test]
async fn an_answer_goes_with_the_repo_that_it_is_about() {
    let app = TestApp::start().await;
    let me = app.admin();
    let path = "/repos/default/again/-/commit";
    let create = json!({"owner": "default", "name": "again"});
    me.post("/repos", &create).await.expect(201);
    let first = send(&me, "key-1", path, &commit("x")).await.expect(201);
    assert_eq!(send(&me, "key-1", path, &commit("x")).await.expect(201), first);
    let role = json!({"role": "reader"});
    let role = async || {
        let request = me.request(Method::PUT, "/repos/default/again/-/roles/you@example.com");
        Answer::of(request.header("Idempotency-Key", "key-2").body(role.to_string())).await.expect(200)
    };
    role().await;
    let delete = async || {
        let request = me.request(Method::DELETE, "/repos/default/again");
        Answer::of(request.header("Idempotency-Key", "key-3")).await.expect(204)
    };
    delete().await;
    me.post("/repos", &create).await.expect(201);
    // The repo of that name is another one now: whoever deleted the first does not delete this one by asking once more.
    delete().await;
    let second = send(&me, "key-1", path, &commit("x")).await.expect(201);
    assert!(second["sequence"].as_i64() > first["sequence"].as_i64(), "{first} {second}");
    role().await;
    let roles = me.get("/repos/default/again/-/roles").await.expect(200);
    assert!(roles.to_string().contains("you@example.com"), "{roles}");
}

#[tokio::test]
async fn what_is_kept_of_a_request_tells_nothing_about_its_secret() {
    let app = TestApp::start().await;
    let me = app.admin();
    let url = "http://127.0.0.1:9/";
    let request = |secret: &str| json!({"backend": "webhook", "config": {"url": url, "secret": secret}});
    let pool = app.pool().await;
    let hash = async || -> Vec<u8> {
        sqlx::query_scalar("SELECT request_hash FROM idempotency_keys").fetch_one(&pool).await.unwrap()
    };
    let first = send(&me, "key-1", "/subscriptions", &request("guess")).await.expect(201);
    let of_first = hash().await;
    assert_eq!(send(&me, "key-1", "/subscriptions", &request("guess")).await.expect(201), first);
    send(&me, "key-1", "/subscriptions", &request("other")).await.expect(409);
    // The hash is the same whatever the secret was.
    sqlx::query("DELETE FROM idempotency_keys").execute(&pool).await.unwrap();
    send(&me, "key-1", "/subscriptions", &request("other")).await.expect(201);
    assert_eq!(hash().await, of_first);
    sqlx::query("DELETE FROM idempotency_keys").execute(&pool).await.unwrap();
    let path = format!("/subscriptions/{}", first["id"].as_str().unwrap());
    let rotate = async |secret: &str| {
        let request = me.request(Method::PATCH, &path).header("Idempotency-Key", "key-2");
        Answer::of(request.body(json!({"secret": secret}).to_string())).await.status.as_u16()
    };
    assert_eq!([rotate("new").await, rotate("new").await, rotate("newer").await], [200, 200, 409]);
}
