//! `/tokens`, and what a token is good for.

use docstore_test_support::{Person, TestApp};
use http::Method;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, text_file};

/// Makes a token and answers its id and somebody who sends it.
async fn token(owner: &Person, body: Value) -> (String, Person) {
    let made = owner.post("/tokens", &body).await.expect(201);
    (made["token"]["id"].as_str().unwrap().to_owned(), owner.with_token(made["secret"].as_str().unwrap()))
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let app = TestApp::start().await;
    let me = app.admin();
    let you = app.person("you@example.com");
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    let made = told.post(&me, "/tokens", &json!({"name": "laptop"})).await.json();
    let scoped = json!({"name": "bot", "actions": ["contents", "read", "read"], "repos": ["default/default"],
        "branches": ["bot/*"], "expires_in_days": 1});
    let scoped = told.post(&me, "/tokens", &scoped).await.json();
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"name": "a\u{7}"}),
        json!({"name": "x".repeat(101)}),
        json!({"name": "a", "actions": ["everything"]}),
        json!({"name": "a", "repos": []}),
        json!({"name": "a", "repos": ["no/such"]}),
        json!({"name": "a", "branches": ["a b"]}),
        json!({"name": "a", "branches": ["x"], "actions": ["admin"]}),
        json!({"name": "a", "expires_in_days": 0}),
        json!({"name": "a", "expires_in_days": 366}),
    ] {
        told.post(&me, "/tokens", &body).await;
    }
    told.say("a repo of somebody else looks like one that is not there");
    told.post(&you, "/tokens", &json!({"name": "a", "repos": ["default/default"]})).await;
    told.say("each sees their own, the global admin all");
    told.get(&you, "/tokens").await;
    let first = made["token"]["id"].as_str().unwrap().to_owned();
    told.get(&me, &format!("/tokens?after={first}")).await;
    told.get(&me, "/tokens?limit=1&all=true").await;
    told.get(&me, "/tokens?owner=you@example.com").await;
    told.get(&you, "/tokens?owner=admin@example.com").await;
    told.get(&you, "/tokens?all=true").await;
    told.get(&me, "/tokens?after=x").await;
    told.say("revoking is for the owner and the global admin, and may be repeated");
    let second = scoped["token"]["id"].as_str().unwrap().to_owned();
    told.delete(&you, &format!("/tokens/{second}")).await;
    told.delete(&me, &format!("/tokens/{second}")).await;
    told.delete(&me, &format!("/tokens/{second}")).await;
    told.delete(&me, "/tokens/x").await;
    let (yours, _) = token(&you, json!({"name": "yours"})).await;
    told.delete(&me, &format!("/tokens/{yours}")).await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /tokens {"name":"laptop"}
      201 {"secret":"dst_SECRET-1","token":{"actions":["read"],"created_at":"TIME","expires_at":"TIME","id":"ID-1","name":"laptop","owner":"admin@example.com"}}
    POST /tokens {"actions":["contents","read","read"],"branches":["bot/*"],"expires_in_days":1,"name":"bot","repos":["default/default"]}
      201 {"secret":"dst_SECRET-2","token":{"actions":["read","contents"],"branches":["bot/*"],"created_at":"TIME","expires_at":"TIME","id":"ID-2","name":"bot","owner":"admin@example.com","repos":["default/default"]}}
    # what cannot be
    POST /tokens {}
      400 {"code":"BAD_REQUEST","error":"name is required"}
    POST /tokens {"name":"a\u0007"}
      400 {"code":"BAD_REQUEST","error":"name holds a control character"}
    POST /tokens {"name":"x*101"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"name is longer than 100 bytes"}
    POST /tokens {"actions":["everything"],"name":"a"}
      400 {"code":"BAD_REQUEST","error":"invalid action; must be one of read, contents, merge, proposals, reviews, checks, issues, releases, webhooks, secrets, ci, admin"}
    POST /tokens {"name":"a","repos":[]}
      400 {"code":"BAD_REQUEST","error":"repos must hold 1 to 100 entries; leave it out for all"}
    POST /tokens {"name":"a","repos":["no/such"]}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo 'no/such'"}
    POST /tokens {"branches":["a b"],"name":"a"}
      400 {"code":"BAD_REQUEST","error":"branch pattern may not contain ' '"}
    POST /tokens {"actions":["admin"],"branches":["x"],"name":"a"}
      400 {"code":"BAD_REQUEST","error":"the action 'admin' goes with all branches only"}
    POST /tokens {"expires_in_days":0,"name":"a"}
      400 {"code":"BAD_REQUEST","error":"expires_in_days must be between 1 and 365"}
    POST /tokens {"expires_in_days":366,"name":"a"}
      400 {"code":"BAD_REQUEST","error":"expires_in_days must be between 1 and 365"}
    # a repo of somebody else looks like one that is not there
    POST /tokens {"name":"a","repos":["default/default"]}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo 'default/default'"}
    # each sees their own, the global admin all
    GET /tokens
      200 {"tokens":[]}
    GET /tokens?after=ID-1
      200 {"tokens":[{"actions":["read","contents"],"branches":["bot/*"],"created_at":"TIME","expires_at":"TIME","id":"ID-2","name":"bot","owner":"admin@example.com","repos":["default/default"]}]}
    GET /tokens?limit=1&all=true
      200 {"tokens":[{"actions":["read"],"created_at":"TIME","expires_at":"TIME","id":"ID-1","name":"laptop","owner":"admin@example.com"}]}
    GET /tokens?owner=you@example.com
      200 {"tokens":[]}
    GET /tokens?owner=admin@example.com
      403 {"code":"FORBIDDEN","error":"forbidden: global admin required"}
    GET /tokens?all=true
      403 {"code":"FORBIDDEN","error":"forbidden: global admin required"}
    GET /tokens?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    # revoking is for the owner and the global admin, and may be repeated
    DELETE /tokens/ID-2
      404 {"code":"NOT_FOUND","error":"token not found"}
    DELETE /tokens/ID-2
      204
    DELETE /tokens/ID-2
      204
    DELETE /tokens/x
      404 {"code":"NOT_FOUND","error":"token not found"}
    DELETE /tokens/ID-3
      204
    ! /identities/admin@example.com token.created {"actions":["read"],"created_by":"admin@example.com","expires_at":"TIME","name":"laptop","token_id":"ID-1"}
    ! /identities/admin@example.com token.created {"actions":["read","contents"],"branches":["bot/*"],"created_by":"admin@example.com","expires_at":"TIME","name":"bot","repos":["default/default"],"token_id":"ID-2"}
    ! /identities/admin@example.com token.revoked {"name":"bot","owner":"admin@example.com","revoked_by":"admin@example.com","token_id":"ID-2"}
    ! /identities/you@example.com token.created {"actions":["read"],"created_by":"you@example.com","expires_at":"TIME","name":"yours","token_id":"ID-3"}
    ! /identities/you@example.com token.revoked {"name":"yours","owner":"you@example.com","revoked_by":"admin@example.com","token_id":"ID-3"}
    "#);
}

#[tokio::test]
async fn a_token_is_who_its_owner_is_for_what_its_scope_holds() {
    let app = TestApp::start().await;
    let me = app.admin();
    branch(&me, REPO, "bot/one").await;
    let (_, reading) = token(&me, json!({"name": "reading"})).await;
    let (_, bot) = token(
        &me,
        json!({"name": "bot", "actions": ["read", "contents", "merge"],
        "repos": ["default/default"], "branches": ["bot/*"]}),
    )
    .await;
    let write = |branch: &str| json!({"branch": branch, "message": "m", "files": [text_file("a", branch)]});
    let mut told = Transcript::new();
    told.say("for reading, everywhere");
    told.get(&reading, "/whoami").await;
    told.get(&reading, &format!("{REPO}/branch/main")).await;
    told.get(&reading, "/repos").await;
    told.post(&reading, &format!("{REPO}/commit"), &write("bot/one")).await;
    told.post(&reading, "/orgs", &json!({"name": "acme"})).await;
    told.say("for one repo and some branches");
    told.get(&bot, "/whoami").await;
    told.post(&bot, &format!("{REPO}/commit"), &write("bot/one")).await;
    told.post(&bot, &format!("{REPO}/commit"), &write("main")).await;
    told.post(&bot, &format!("{REPO}/branch"), &json!({"name": "bot/two"})).await;
    told.post(&bot, &format!("{REPO}/branch"), &json!({"name": "other"})).await;
    told.post(&bot, &format!("{REPO}/rebase"), &json!({"branch": "bot/one"})).await;
    told.delete(&bot, &format!("{REPO}/branch/bot/two")).await;
    told.say("a merge writes main");
    told.post(&bot, &format!("{REPO}/merge"), &json!({"branch": "bot/one"})).await;
    told.get(&bot, &format!("{REPO}/branch/bot/one/why")).await;
    told.get(&reading, &format!("{REPO}/branch/bot/one/why")).await;
    told.say("what is about no repo is not covered");
    told.get(&bot, "/repos").await;
    told.get(&bot, "/repos/default/default").await;
    told.say("no token makes, lists or revokes tokens");
    told.get(&bot, "/tokens").await;
    told.post(&reading, "/tokens", &json!({"name": "more"})).await;
    told.post(&bot, "/agents", &json!({"name": "more"})).await;
    insta::assert_snapshot!(told, @r#"
    # for reading, everywhere
    GET /whoami
      200 {"identity":"admin@example.com","kind":"person","token":{"actions":["read"],"expires_at":"TIME","id":"ID-1"},"via":"token"}
    GET /repos/default/default/-/branch/main
      200 {"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":0,"name":"main","repo":"default/default","status":"active"}
    GET /repos
      200 {"repos":[{"created_at":"TIME","created_by":"system","name":"default/default","owner":"default"}]}
    POST /repos/default/default/-/commit {"branch":"bot/one","files":[{"content":"Ym90L29uZQ==","path":"a"}],"message":"m"}
      403 {"code":"FORBIDDEN","error":"forbidden: the scope of the API token does not hold this"}
    POST /orgs {"name":"acme"}
      403 {"code":"FORBIDDEN","error":"forbidden: the scope of the API token does not hold this"}
    # for one repo and some branches
    GET /whoami
      200 {"identity":"admin@example.com","kind":"person","token":{"actions":["read","contents","merge"],"branches":["bot/*"],"expires_at":"TIME","id":"ID-2","repos":["default/default"]},"via":"token"}
    POST /repos/default/default/-/commit {"branch":"bot/one","files":[{"content":"Ym90L29uZQ==","path":"a"}],"message":"m"}
      201 {"commit_hash":"HASH-1","files":[{"path":"a","version_id":"ID-3"}],"sequence":1}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"bWFpbg==","path":"a"}],"message":"m"}
      403 {"code":"FORBIDDEN","error":"forbidden: the API token is for other branches"}
    POST /repos/default/default/-/branch {"name":"bot/two"}
      201 {"base_sequence":0,"name":"bot/two"}
    POST /repos/default/default/-/branch {"name":"other"}
      403 {"code":"FORBIDDEN","error":"forbidden: the API token is for other branches"}
    POST /repos/default/default/-/rebase {"branch":"bot/one"}
      200 {"base_sequence":0,"commits_replayed":1,"head_sequence":2}
    DELETE /repos/default/default/-/branch/bot/two
      204
    # a merge writes main
    POST /repos/default/default/-/merge {"branch":"bot/one"}
      403 {"code":"FORBIDDEN","error":"forbidden: the API token is for other branches","requirements":[{"command":"ds merge bot/one","kind":"role","what":"merging takes a token for the branch and for main; yours is for other branches","who":["role:maintainer"]}]}
    GET /repos/default/default/-/branch/bot/one/why
      200 {"branch":"bot/one","head_sequence":2,"mergeable":false,"policies":[],"requirements":[{"command":"ds merge bot/one","kind":"role","what":"merging takes a token for the branch and for main; yours is for other branches","who":["role:maintainer"]}]}
    GET /repos/default/default/-/branch/bot/one/why
      200 {"branch":"bot/one","head_sequence":2,"mergeable":false,"policies":[],"requirements":[{"command":"ds merge bot/one","kind":"role","what":"merging takes a token with the action 'merge'","who":["role:maintainer"]}]}
    # what is about no repo is not covered
    GET /repos
      403 {"code":"FORBIDDEN","error":"forbidden: the scope of the API token does not hold this"}
    GET /repos/default/default
      200 {"created_at":"TIME","created_by":"system","name":"default/default","owner":"default"}
    # no token makes, lists or revokes tokens
    GET /tokens
      403 {"code":"FORBIDDEN","error":"forbidden: this takes a login, not an API token"}
    POST /tokens {"name":"more"}
      403 {"code":"FORBIDDEN","error":"forbidden: this takes a login, not an API token"}
    POST /agents {"name":"more"}
      403 {"code":"FORBIDDEN","error":"forbidden: this takes a login, not an API token"}
    "#);
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_or_its_owner_loses_the_role() {
    let app = TestApp::start().await;
    let me = app.admin();
    let you = app.person("you@example.com");
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "writer"})).await.expect(200);
    let (id, bearer) = token(&you, json!({"name": "t", "actions": ["read", "contents"]})).await;
    bearer.get(&format!("{REPO}/tree")).await.expect(200);
    // Whoever has the role later has the rights, and no more.
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "reader"})).await.expect(200);
    let commit = json!({"branch": "main", "message": "m", "files": [text_file("a", "a")]});
    bearer.post(&format!("{REPO}/commit"), &commit).await.expect(403);
    bearer.get(&format!("{REPO}/tree")).await.expect(200);
    me.delete(&format!("{REPO}/roles/you@example.com")).await;
    bearer.get(&format!("{REPO}/tree")).await.expect(403);
    bearer.get("/whoami").await.expect(200);
    you.delete(&format!("/tokens/{id}")).await;
    bearer.get("/whoami").await.expect(401);
    let (id, bearer) = token(&you, json!({"name": "t"})).await;
    sqlx::query("UPDATE tokens SET expires_at = now() WHERE token_id::text = $1")
        .bind(&id)
        .execute(&app.pool().await)
        .await
        .unwrap();
    bearer.get("/whoami").await.expect(401);
}

#[tokio::test]
async fn a_token_for_a_repo_is_none_for_another_one_of_its_name() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.post("/orgs", &json!({"name": "acme"})).await.expect(201);
    let repo = json!({"owner": "acme", "name": "app"});
    me.post("/repos", &repo).await.expect(201);
    let (_, bearer) = token(&me, json!({"name": "t", "repos": ["acme/app"]})).await;
    bearer.get("/repos/acme/app/-/tree").await.expect(200);
    me.delete("/repos/acme/app").await;
    me.post("/repos", &repo).await.expect(201);
    bearer.get("/repos/acme/app/-/tree").await.expect(403);
    assert_eq!(bearer.get("/whoami").await.expect(200)["token"]["repos"], json!([]));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM token_repos").fetch_one(&app.pool().await).await.unwrap();
    assert_eq!(left, 0, "what belongs to a repo goes with it");
}

#[tokio::test]
async fn the_last_use_of_a_token_is_noted() {
    let app = TestApp::start().await;
    let me = app.admin();
    let (_, bearer) = token(&me, json!({"name": "t"})).await;
    assert_eq!(me.get("/tokens").await.expect(200)["tokens"][0]["last_used_at"], Value::Null);
    bearer.get("/whoami").await.expect(200);
    // It is written beside the request; each look gives it the time of one.
    let mut noted = Value::Null;
    while noted.is_null() {
        noted = me.get("/tokens").await.expect(200)["tokens"][0]["last_used_at"].clone();
    }
    bearer.get("/whoami").await.expect(200);
    assert_eq!(me.get("/tokens").await.expect(200)["tokens"][0]["last_used_at"], noted, "not again within a minute");
}

#[tokio::test]
async fn nothing_that_is_stored_opens_anything() {
    let app = TestApp::start().await;
    let me = app.admin();
    let request = me.request(Method::POST, "/tokens").header("idempotency-key", "key");
    let made = docstore_test_support::Answer::of(request.body(json!({"name": "t"}).to_string())).await.expect(201);
    let secret = made["secret"].as_str().unwrap();
    let pool = app.pool().await;
    for table in ["tokens", "idempotency_keys", "event_log"] {
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT json_agg(t)::text FROM {table} t")))
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(!rows.contains(secret) && !rows.contains(&secret[4..68]), "{table} holds the secret");
    }
}

#[tokio::test]
async fn what_is_no_token_lets_nobody_in_and_breaks_nothing() {
    let app = TestApp::start().await;
    let me = app.admin();
    let (_, bearer) = token(&me, json!({"name": "t"})).await;
    bearer.get("/whoami").await.expect(200);
    let hex = "0".repeat(64);
    for text in [
        "dst_",
        "dst_x",
        "dst_ä",
        "dst_' OR 1=1 --",
        "dst_%00",
        &format!("dst_{hex}00000000"),
        // Well-formed, and nobody's.
        &format!("dst_{hex}e0c3b83a"),
        &format!("dst_{}", "f".repeat(100_000)),
    ] {
        let request = me.request(Method::GET, "/whoami").header("authorization", format!("Bearer {text}").into_bytes());
        let answer = docstore_test_support::Answer::of(request).await;
        assert!(matches!(answer.status.as_u16(), 401 | 431), "{text:.80}: {}", answer.text);
    }
    // In development whatever is no token of ours is still not looked at.
    let request = me.request(Method::GET, "/whoami").header("authorization", "Bearer x");
    docstore_test_support::Answer::of(request).await.expect(200);
}

#[tokio::test]
async fn rights_are_told_with_what_gives_them() {
    let app = TestApp::start().await;
    let me = app.admin();
    let you = app.person("you@example.com");
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    for org in ["acme", "open"] {
        you.post("/orgs", &json!({"name": org})).await.expect(201);
    }
    you.post("/repos", &json!({"owner": "acme", "name": "app"})).await.expect(201);
    you.delete("/repos/acme/app/-/roles/you@example.com").await;
    you.post("/repos", &json!({"owner": "open", "name": "tool"})).await.expect(201);
    you.put("/repos/open/tool/-/roles/me@example.com", &json!({"role": "admin"})).await.expect(200);
    you.put("/repos/open/tool/-/roles/you@example.com", &json!({"role": "reader"})).await.expect(200);
    let (_, narrow) = token(&you, json!({"name": "t", "repos": ["open/tool"]})).await;
    let mut told = Transcript::new();
    told.say("an org, and a role that is lower than the org would give");
    told.get(&you, "/whoami/rights").await;
    told.get(&you, "/whoami/rights?limit=1").await;
    told.get(&you, "/whoami/rights?after=acme/app").await;
    told.say("the same cut by a token");
    told.get(&narrow, "/whoami/rights").await;
    told.say("the global admin, where nobody else is admin");
    told.get(&me, "/whoami/rights").await;
    told.get(&app.person("stranger@example.com"), "/whoami/rights").await;
    told.get(&me, "/whoami/rights?limit=0").await;
    insta::assert_snapshot!(told, @r#"
    # an org, and a role that is lower than the org would give
    GET /whoami/rights
      200 {"rights":[{"granted_by":"org_owner","repo":"acme/app","role":"admin"},{"granted_by":"role","repo":"open/tool","role":"reader"}]}
    GET /whoami/rights?limit=1
      200 {"rights":[{"granted_by":"org_owner","repo":"acme/app","role":"admin"}]}
    GET /whoami/rights?after=acme/app
      200 {"rights":[{"granted_by":"role","repo":"open/tool","role":"reader"}]}
    # the same cut by a token
    GET /whoami/rights
      200 {"rights":[{"actions":["read"],"granted_by":"role","repo":"open/tool","role":"reader"}]}
    # the global admin, where nobody else is admin
    GET /whoami/rights
      200 {"rights":[{"granted_by":"global_admin","repo":"acme/app","role":"admin"},{"granted_by":"global_admin","repo":"default/default","role":"admin"}]}
    GET /whoami/rights
      200 {"rights":[]}
    GET /whoami/rights?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    "#);
}
