//! `/agents`, and how agents act.

use docstore_test_support::{ADMIN, Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, grant, text_file};

async fn agent(owner: &Person, body: Value) -> (String, Person) {
    let made = owner.post("/agents", &body).await.expect(201);
    (made["agent"]["id"].as_str().unwrap().to_owned(), owner.with_token(made["secret"].as_str().unwrap()))
}

#[tokio::test]
async fn agents_are_made_listed_and_revoked() {
    let app = TestApp::start().await;
    let me = app.admin();
    let you = app.person("you@example.com");
    let mut told = Transcript::new();
    told.skip_events(&app).await;
    let body =
        json!({"name": "fixer", "actions": ["read", "contents"], "branches": ["agents/*"], "expires_in_hours": 2});
    let made = told.post(&me, "/agents", &body).await.json();
    told.say("one of a name at a time");
    told.post(&me, "/agents", &body).await;
    told.say("what cannot be");
    for body in [
        json!({}),
        json!({"name": "Fixer"}),
        json!({"name": "a@b"}),
        json!({"name": "a", "actions": ["admin"]}),
        json!({"name": "a", "actions": ["secrets"]}),
        json!({"name": "a", "expires_in_hours": 25}),
        json!({"name": "a", "repos": ["no/such"]}),
    ] {
        told.post(&me, "/agents", &body).await;
    }
    told.say("each sees their own, the global admin all");
    told.get(&you, "/agents").await;
    told.get(&me, "/agents").await;
    told.get(&you, "/agents?all=true").await;
    told.get(&me, "/tokens").await;
    let id = made["agent"]["id"].as_str().unwrap().to_owned();
    told.delete(&you, &format!("/agents/{id}")).await;
    told.delete(&me, &format!("/agents/{id}")).await;
    told.delete(&me, &format!("/agents/{id}")).await;
    told.say("then the name is free");
    told.post(&me, "/agents", &json!({"name": "fixer"})).await;
    told.events(&app).await;
    insta::assert_snapshot!(told, @r#"
    POST /agents {"actions":["read","contents"],"branches":["agents/*"],"expires_in_hours":2,"name":"fixer"}
      201 {"agent":{"actions":["read","contents"],"branches":["agents/*"],"created_at":"TIME","expires_at":"TIME","id":"ID-1","identity":"agent:fixer/admin@example.com","name":"fixer","owner":"admin@example.com"},"secret":"dst_SECRET-1"}
    # one of a name at a time
    POST /agents {"actions":["read","contents"],"branches":["agents/*"],"expires_in_hours":2,"name":"fixer"}
      409 {"code":"CONFLICT","error":"you have an agent 'fixer' already; revoke it or choose another name"}
    # what cannot be
    POST /agents {}
      400 {"code":"BAD_REQUEST","error":"agent name must have 1 to 40 lower-case letters, digits and '-'"}
    POST /agents {"name":"Fixer"}
      400 {"code":"BAD_REQUEST","error":"agent name must have 1 to 40 lower-case letters, digits and '-'"}
    POST /agents {"name":"a@b"}
      400 {"code":"BAD_REQUEST","error":"agent name must have 1 to 40 lower-case letters, digits and '-'"}
    POST /agents {"actions":["admin"],"name":"a"}
      400 {"code":"BAD_REQUEST","error":"an agent may not have the action 'admin'"}
    POST /agents {"actions":["secrets"],"name":"a"}
      400 {"code":"BAD_REQUEST","error":"an agent may not have the action 'secrets'"}
    POST /agents {"expires_in_hours":25,"name":"a"}
      400 {"code":"BAD_REQUEST","error":"expires_in_hours must be between 1 and 24"}
    POST /agents {"name":"a","repos":["no/such"]}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo 'no/such'"}
    # each sees their own, the global admin all
    GET /agents
      200 {"agents":[]}
    GET /agents
      200 {"agents":[{"actions":["read","contents"],"branches":["agents/*"],"created_at":"TIME","expires_at":"TIME","id":"ID-1","identity":"agent:fixer/admin@example.com","name":"fixer","owner":"admin@example.com"}]}
    GET /agents?all=true
      403 {"code":"FORBIDDEN","error":"forbidden: global admin required"}
    GET /tokens
      200 {"tokens":[]}
    DELETE /agents/ID-1
      404 {"code":"NOT_FOUND","error":"agent not found"}
    DELETE /agents/ID-1
      204
    DELETE /agents/ID-1
      204
    # then the name is free
    POST /agents {"name":"fixer"}
      201 {"agent":{"actions":["read"],"created_at":"TIME","expires_at":"TIME","id":"ID-2","identity":"agent:fixer/admin@example.com","name":"fixer","owner":"admin@example.com"},"secret":"dst_SECRET-2"}
    ! /identities/admin@example.com agent.created {"actions":["read","contents"],"agent":"agent:fixer/admin@example.com","agent_id":"ID-1","branches":["agents/*"],"created_by":"admin@example.com","expires_at":"TIME"}
    ! /identities/admin@example.com agent.revoked {"agent":"agent:fixer/admin@example.com","agent_id":"ID-1","owner":"admin@example.com","revoked_by":"admin@example.com"}
    ! /identities/admin@example.com agent.created {"actions":["read"],"agent":"agent:fixer/admin@example.com","agent_id":"ID-2","created_by":"admin@example.com","expires_at":"TIME"}
    "#);
}

#[tokio::test]
async fn an_agent_acts_under_its_own_name_with_the_rights_of_its_owner() {
    let app = TestApp::start().await;
    let me = app.admin();
    let you = app.person("you@example.com");
    branch(&me, REPO, "agents/x").await;
    me.put(&format!("{REPO}/roles/you@example.com"), &json!({"role": "writer"})).await.expect(200);
    let (id, fixer) =
        agent(&you, json!({"name": "fixer", "actions": ["read", "contents"], "branches": ["agents/*"]})).await;
    let write = |branch: &str| json!({"branch": branch, "message": "m", "files": [text_file("a", branch)]});
    let mut told = Transcript::new();
    told.get(&fixer, "/whoami").await;
    told.get(&fixer, "/whoami/rights").await;
    let done = told.post(&fixer, &format!("{REPO}/commit"), &write("agents/x")).await.json();
    told.say("the commit says on whose behalf");
    told.get(&me, &format!("{REPO}/commit/{}", done["sequence"])).await;
    told.post(&fixer, &format!("{REPO}/commit"), &write("main")).await;
    told.post(&fixer, &format!("{REPO}/merge"), &json!({"branch": "agents/x"})).await;
    told.say("it has no role of its own, and cannot be given one");
    told.put(&me, &format!("{REPO}/roles/agent:fixer%2Fyou@example.com"), &json!({"role": "admin"})).await;
    told.say("what its owner loses it loses");
    me.delete(&format!("{REPO}/roles/you@example.com")).await;
    told.get(&fixer, &format!("{REPO}/tree")).await;
    told.get(&fixer, "/whoami").await;
    told.say("and it ends with a word of its owner");
    told.delete(&you, &format!("/agents/{id}")).await;
    told.get(&fixer, "/whoami").await;
    insta::assert_snapshot!(told, @r#"
    GET /whoami
      200 {"identity":"agent:fixer/you@example.com","kind":"agent","on_behalf_of":"you@example.com","token":{"actions":["read","contents"],"branches":["agents/*"],"expires_at":"TIME","id":"ID-1"},"via":"token"}
    GET /whoami/rights
      200 {"rights":[{"actions":["read","contents"],"branches":["agents/*"],"granted_by":"role","repo":"default/default","role":"writer"}]}
    POST /repos/default/default/-/commit {"branch":"agents/x","files":[{"content":"YWdlbnRzL3g=","path":"a"}],"message":"m"}
      201 {"commit_hash":"HASH-1","files":[{"path":"a","version_id":"ID-2"}],"sequence":1}
    # the commit says on whose behalf
    GET /repos/default/default/-/commit/1
      200 {"author":"agent:fixer/you@example.com","branch":"agents/x","commit_hash":"HASH-1","created_at":"TIME","files":[{"commit_id":"ID-3","content_hash":"HASH-2","path":"a","version_id":"ID-2"}],"message":"m","parent_sequence":0,"sequence":1}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"bWFpbg==","path":"a"}],"message":"m"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    POST /repos/default/default/-/merge {"branch":"agents/x"}
      403 {"code":"FORBIDDEN","error":"forbidden: the scope of the API token does not hold this"}
    # it has no role of its own, and cannot be given one
    PUT /repos/default/default/-/roles/agent:fixer%2Fyou@example.com {"role":"admin"}
      400 {"code":"BAD_REQUEST","error":"an agent has no role of its own; it has what its owner has"}
    # what its owner loses it loses
    GET /repos/default/default/-/tree
      403 {"code":"FORBIDDEN","error":"forbidden"}
    GET /whoami
      200 {"identity":"agent:fixer/you@example.com","kind":"agent","on_behalf_of":"you@example.com","token":{"actions":["read","contents"],"branches":["agents/*"],"expires_at":"TIME","id":"ID-1"},"via":"token"}
    # and it ends with a word of its owner
    DELETE /agents/ID-4
      204
    GET /whoami
      401 {"code":"UNAUTHORIZED","error":"unauthenticated"}
    "#);
}

#[tokio::test]
async fn nobody_becomes_an_agent_by_a_name() {
    let app = TestApp::start().await;
    let me = app.admin();
    let played = app.person("agent:fixer/admin@example.com");
    assert_eq!(played.get("/whoami").await.expect(200)["kind"], json!("person"), "the development identity as it is");
    let (_, agent) = agent(&me, json!({"name": "fixer"})).await;
    assert_eq!(agent.get("/whoami").await.expect(200)["on_behalf_of"], json!("admin@example.com"));
    for path in ["/agents", "/tokens"] {
        agent.post(path, &json!({"name": "more"})).await.expect(403);
    }
}

/// Somebody's credential that is not for merging brings nothing to `main` by another one's wish, whatever way it changes the
/// branch.
#[tokio::test]
async fn what_may_not_merge_ends_a_wish_by_a_rebase_or_an_import_too() {
    let app = TestApp::start().await;
    let me = app.admin();
    for (who, role) in [(ADMIN, "admin"), ("max@example.com", "maintainer")] {
        grant(&me, who, role).await;
    }
    let max = app.person("max@example.com");
    let (_, helper) = agent(&me, json!({"name": "helper", "actions": ["read", "contents"]})).await;
    let token = me.post("/tokens", &json!({"name": "t", "actions": ["read", "contents", "admin"]})).await.expect(201);
    let token = me.with_token(token["secret"].as_str().unwrap());
    for name in ["rebased", "imported"] {
        me.post(&format!("{REPO}/branch"), &json!({"name": name, "draft": true})).await.expect(201);
        commit(&max, REPO, name, &[("a", Some(name))]).await;
        assert!(max.post(&format!("{REPO}/branch/{name}/auto-merge"), &json!({})).await.status.is_success());
    }
    let main = commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    let resolved =
        json!({"branch": "rebased", "expected_main_head": main, "resolutions": [text_file("a", "not what max saw")]});
    let import = json!({"branch": "imported", "commits": [{"author": "a@example.com", "message": "m",
        "imported_from": "git:1", "files": [text_file("b", "not what max saw")]}]});
    for (who, name, path, body) in [(&helper, "rebased", "rebase", &resolved), (&token, "imported", "import", &import)]
    {
        let branch = format!("{REPO}/branch/{name}");
        assert_eq!(me.get(&branch).await.expect(200)["auto_merge"], true);
        let answer = who.post(&format!("{REPO}/{path}"), body).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        assert_eq!(me.get(&branch).await.expect(200)["auto_merge"], false, "{path}");
    }
}
