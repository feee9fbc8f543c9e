//! `/repos/{repo}/-/secrets`: people write, jobs read.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use docstore_database::Pool;
use docstore_test_support::{Answer, Person, TestApp};
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{
    REPO, Transcript, branch, commit,
    identities::{claimed_job, give_role, make_member},
};

const CONFIG: &str = "checks:\n  - name: test\n    image: rust\n    steps: [cargo test]\n    secrets: [TOKEN, {KEY: PROD_KEY}, NONE]\n  - name: deploy\n    secrets: [DEPLOY]\n";

#[tokio::test]
async fn people_write_secrets_and_never_read_them() {
    let app = TestApp::start().await;
    let me = app.admin();
    give_role(&app.pool().await, "default/default", "reader@example.com", "reader").await;
    give_role(&app.pool().await, "default/default", "maintainer@example.com", "maintainer").await;
    let (reader, maintainer) = (app.person("reader@example.com"), app.person("maintainer@example.com"));
    let secrets = format!("{REPO}/secrets");
    // With others about, the global admin needs a role as well.
    give_role(&app.pool().await, "default/default", docstore_test_support::ADMIN, "admin").await;
    let mut told = Transcript::new();
    told.put(&me, &format!("{secrets}/TOKEN"), &json!({"value": "s3cret", "description": "for tests"})).await;
    told.put(
        &me,
        &format!("{secrets}/TOKEN"),
        &json!({"value": "other", "branches": ["main", "release/*"], "checks": ["test"]}),
    )
    .await;
    told.put(&me, &format!("{secrets}/BINARY"), &json!({"value_base64": STANDARD.encode([0, 255])})).await;
    told.get(&reader, &secrets).await;
    told.get(&reader, &format!("{secrets}?limit=1&after=BINARY")).await;
    told.get(&me, &format!("{secrets}/TOKEN")).await;
    told.say("what cannot be");
    for (name, body) in [
        ("token", json!({"value": "x"})),
        ("1TOKEN", json!({"value": "x"})),
        ("DOCSTORE_TOKEN", json!({"value": "x"})),
        ("TOKEN", json!({})),
        ("TOKEN", json!({"value": ""})),
        ("TOKEN", json!({"value": "x".repeat(32_769)})),
        ("TOKEN", json!({"value": 1})),
        ("TOKEN", json!({"value": "x", "value_base64": "eA=="})),
        ("TOKEN", json!({"value_base64": "?"})),
        ("TOKEN", json!({"value": "x", "branches": []})),
        ("TOKEN", json!({"value": "x", "branches": ["a b"]})),
        ("TOKEN", json!({"value": "x", "checks": [""]})),
        ("TOKEN", json!({"value": "x", "description": "x".repeat(1025)})),
    ] {
        told.put(&me, &format!("{secrets}/{name}"), &body).await;
    }
    told.say("who may");
    told.put(&maintainer, &format!("{secrets}/TOKEN"), &json!({"value": "x"})).await;
    told.delete(&maintainer, &format!("{secrets}/TOKEN")).await;
    told.get(&app.person("stranger@example.com"), &secrets).await;
    told.delete(&me, &format!("{secrets}/TOKEN")).await;
    told.delete(&me, &format!("{secrets}/TOKEN")).await;
    insta::assert_snapshot!(told, @r#"
    PUT /repos/default/default/-/secrets/TOKEN {"description":"for tests","value":"s3cret"}
      200 {"created_at":"TIME","created_by":"admin@example.com","description":"for tests","id":"ID-1","name":"TOKEN","size_bytes":6}
    PUT /repos/default/default/-/secrets/TOKEN {"branches":["main","release/*"],"checks":["test"],"value":"other"}
      200 {"branches":["main","release/*"],"checks":["test"],"created_at":"TIME","created_by":"admin@example.com","description":"","id":"ID-1","name":"TOKEN","size_bytes":5,"updated_at":"TIME","updated_by":"admin@example.com"}
    PUT /repos/default/default/-/secrets/BINARY {"value_base64":"AP8="}
      200 {"created_at":"TIME","created_by":"admin@example.com","description":"","id":"ID-2","name":"BINARY","size_bytes":2}
    GET /repos/default/default/-/secrets
      200 {"secrets":[{"created_at":"TIME","created_by":"admin@example.com","description":"","id":"ID-2","name":"BINARY","size_bytes":2},{"branches":["main","release/*"],"checks":["test"],"created_at":"TIME","created_by":"admin@example.com","description":"","id":"ID-1","name":"TOKEN","size_bytes":5,"updated_at":"TIME","updated_by":"admin@example.com"}]}
    GET /repos/default/default/-/secrets?limit=1&after=BINARY
      200 {"secrets":[{"branches":["main","release/*"],"checks":["test"],"created_at":"TIME","created_by":"admin@example.com","description":"","id":"ID-1","name":"TOKEN","size_bytes":5,"updated_at":"TIME","updated_by":"admin@example.com"}]}
    GET /repos/default/default/-/secrets/TOKEN
      405 {"code":"METHOD_NOT_ALLOWED","error":"method not allowed"}
    # what cannot be
    PUT /repos/default/default/-/secrets/token {"value":"x"}
      400 {"code":"BAD_REQUEST","error":"invalid secret name"}
    PUT /repos/default/default/-/secrets/1TOKEN {"value":"x"}
      400 {"code":"BAD_REQUEST","error":"invalid secret name"}
    PUT /repos/default/default/-/secrets/DOCSTORE_TOKEN {"value":"x"}
      400 {"code":"BAD_REQUEST","error":"secret name uses reserved prefix"}
    PUT /repos/default/default/-/secrets/TOKEN {}
      400 {"code":"BAD_REQUEST","error":"secret value is empty"}
    PUT /repos/default/default/-/secrets/TOKEN {"value":""}
      400 {"code":"BAD_REQUEST","error":"secret value is empty"}
    PUT /repos/default/default/-/secrets/TOKEN {"value":"x*32769"}
      400 {"code":"BAD_REQUEST","error":"secret value exceeds maximum size"}
    PUT /repos/default/default/-/secrets/TOKEN {"value":1}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    PUT /repos/default/default/-/secrets/TOKEN {"value":"x","value_base64":"eA=="}
      400 {"code":"BAD_REQUEST","error":"value and value_base64 exclude each other"}
    PUT /repos/default/default/-/secrets/TOKEN {"value_base64":"?"}
      400 {"code":"BAD_REQUEST","error":"value_base64 is not standard base64"}
    PUT /repos/default/default/-/secrets/TOKEN {"branches":[],"value":"x"}
      400 {"code":"BAD_REQUEST","error":"branches and checks must have 1 to 100 entries; leave them out for all"}
    PUT /repos/default/default/-/secrets/TOKEN {"branches":["a b"],"value":"x"}
      400 {"code":"BAD_REQUEST","error":"branch pattern may not contain ' '"}
    PUT /repos/default/default/-/secrets/TOKEN {"checks":[""],"value":"x"}
      400 {"code":"BAD_REQUEST","error":"names of checks must have 1 to 255 bytes"}
    PUT /repos/default/default/-/secrets/TOKEN {"description":"x*1025","value":"x"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"description is longer than 1024 bytes"}
    # who may
    PUT /repos/default/default/-/secrets/TOKEN {"value":"x"}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    DELETE /repos/default/default/-/secrets/TOKEN
      403 {"code":"FORBIDDEN","error":"forbidden"}
    GET /repos/default/default/-/secrets
      403 {"code":"FORBIDDEN","error":"forbidden"}
    DELETE /repos/default/default/-/secrets/TOKEN
      204
    DELETE /repos/default/default/-/secrets/TOKEN
      404 {"code":"NOT_FOUND","error":"secret not found"}
    "#);
    // The events are the repo's, without a value.
    let page = loop {
        let page = reader.get(&format!("{REPO}/events/log")).await.expect(200);
        if page["events"].as_array().unwrap().len() == 4 {
            break page;
        }
    };
    let kinds: Vec<String> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let event = &one["event"];
            format!(
                "{} {} {}",
                event["type"].as_str().unwrap(),
                event["source"].as_str().unwrap(),
                event["data"]["actor"]
            )
        })
        .collect();
    insta::assert_snapshot!(kinds.join("\n"), @r#"
    com.docstore.secret.created /repos/default/default/-/secrets/TOKEN "admin@example.com"
    com.docstore.secret.updated /repos/default/default/-/secrets/TOKEN "admin@example.com"
    com.docstore.secret.created /repos/default/default/-/secrets/BINARY "admin@example.com"
    com.docstore.secret.deleted /repos/default/default/-/secrets/TOKEN "admin@example.com"
    "#);
    assert!(!page.to_string().contains("s3cret"));
    // Nor is one in the database.
    let dump: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT ciphertext, encrypted_dek FROM repo_secrets")
        .fetch_all(&app.pool().await)
        .await
        .unwrap();
    assert_eq!(dump.len(), 1);
}

/// A claimed job with a trigger, and its token.
async fn job(pool: &Pool, on: &str, token: &str, trigger: Option<&str>, proposal: Option<&str>) -> String {
    let token = claimed_job(pool, "default/default", on, token).await;
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&token));
    let done = sqlx::query("UPDATE ci_jobs SET trigger_type = $1, trigger_proposal_id = $2 WHERE request_token = $3")
        .bind(trigger)
        .bind(proposal)
        .bind(hash)
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1);
    token
}

async fn reveal(app: &TestApp, token: &str, body: &Value) -> Answer {
    let who = Person::new(app.base_url(), "worker@example.com");
    let request = who.request(Method::POST, &format!("{REPO}/secrets/reveal")).bearer_auth(token);
    Answer::of(request.body(body.to_string())).await
}

async fn set(me: &Person, name: &str, body: &Value) {
    me.put(&format!("{REPO}/secrets/{name}"), body).await.expect(200);
}

#[tokio::test]
async fn a_job_gets_what_the_config_on_main_names_for_it() {
    let app = TestApp::start().await;
    let (me, pool) = (app.admin(), app.pool().await);
    for (name, body) in [
        ("TOKEN", json!({"value": "t\u{e9}"})),
        ("PROD_KEY", json!({"value": "k", "branches": ["main"]})),
        ("DEPLOY", json!({"value": "d", "checks": ["deploy"]})),
        ("UNUSED", json!({"value": "u"})),
    ] {
        set(&me, name, &body).await;
    }
    branch(&me, REPO, "topic").await;
    let on_main = job(&pool, "main", "on-main", Some("push"), None).await;
    let all = json!({"names": ["TOKEN", "PROD_KEY", "DEPLOY", "UNUSED", "NONE"]});
    let mut told = Transcript::new();
    told.note("without a config", &reveal(&app, &on_main, &all).await);
    commit(&me, REPO, "main", &[(".docstore/ci.yaml", Some(CONFIG))]).await;
    // What the branch's own config names does not count.
    commit(&me, REPO, "topic", &[(".docstore/ci.yaml", Some("checks: [{name: test, secrets: [UNUSED]}]"))]).await;
    told.note("on main", &reveal(&app, &on_main, &all).await);
    told.note(
        "on main, for one check",
        &reveal(&app, &on_main, &json!({"names": ["TOKEN", "DEPLOY"], "check": "deploy"})).await,
    );
    let on_topic = job(&pool, "topic", "on-topic", Some("push"), None).await;
    told.note("on topic", &reveal(&app, &on_topic, &all).await);
    for names in [json!({}), json!({"names": []}), json!({"names": ["x"]}), json!({"names": "TOKEN"})] {
        told.note("what cannot be asked", &reveal(&app, &on_main, &names).await);
    }
    told.note("a token that opens nothing", &reveal(&app, "nothing", &all).await);
    let who = Person::new(app.base_url(), "worker@example.com");
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let other = who.request(Method::POST, "/repos/default/other/-/secrets/reveal").bearer_auth(&on_main);
    told.note("of another repo", &Answer::of(other.body(all.to_string())).await);
    commit(&me, REPO, "main", &[(".docstore/ci.yaml", Some("checks: {"))]).await;
    told.note("a config that cannot be read", &reveal(&app, &on_main, &json!({"names": ["TOKEN"]})).await);
    insta::assert_snapshot!(told, @r#"
    without a config
      200 {"missing":["TOKEN","PROD_KEY","DEPLOY","UNUSED","NONE"],"values":{},"withheld":{"DEPLOY":"main has no .docstore/ci.yaml that can be read","PROD_KEY":"main has no .docstore/ci.yaml that can be read","TOKEN":"main has no .docstore/ci.yaml that can be read","UNUSED":"main has no .docstore/ci.yaml that can be read"}}
    on main
      200 {"missing":["UNUSED","NONE"],"values":{"DEPLOY":"ZA==","PROD_KEY":"aw==","TOKEN":"dMOp"},"withheld":{"UNUSED":".docstore/ci.yaml on main does not name it for this check"}}
    on main, for one check
      200 {"missing":["TOKEN"],"values":{"DEPLOY":"ZA=="},"withheld":{"TOKEN":".docstore/ci.yaml on main does not name it for this check"}}
    on topic
      200 {"missing":["PROD_KEY","UNUSED","NONE"],"values":{"DEPLOY":"ZA==","TOKEN":"dMOp"},"withheld":{"PROD_KEY":"it is for other branches","UNUSED":".docstore/ci.yaml on main does not name it for this check"}}
    what cannot be asked
      400 {"code":"BAD_REQUEST","error":"names is required"}
    what cannot be asked
      400 {"code":"BAD_REQUEST","error":"names is required"}
    what cannot be asked
      400 {"code":"BAD_REQUEST","error":"invalid secret name"}
    what cannot be asked
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    a token that opens nothing
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    of another repo
      404 {"code":"NOT_FOUND","error":"not found"}
    a config that cannot be read
      200 {"missing":["TOKEN"],"values":{},"withheld":{"TOKEN":"main has no .docstore/ci.yaml that can be read"}}
    "#);
    let used = me.get(&format!("{REPO}/secrets")).await.expect(200);
    let used: Vec<&str> = used["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| !one["last_used_at"].is_null())
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(used, ["DEPLOY", "PROD_KEY", "TOKEN"]);
    let accessed: Vec<(String, String)> = sqlx::query_as(
        "SELECT payload::json #>> '{data,name}', payload::json #>> '{data,branch}' FROM event_log
         WHERE type = 'com.docstore.secret.accessed' ORDER BY id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let accessed: Vec<String> = accessed.into_iter().map(|(name, branch)| format!("{name} {branch}")).collect();
    assert_eq!(accessed, ["TOKEN main", "PROD_KEY main", "DEPLOY main", "DEPLOY main", "TOKEN topic", "DEPLOY topic"]);
}

#[tokio::test]
async fn what_started_a_job_decides_whether_it_gets_any() {
    let app = TestApp::start().await;
    let (me, pool) = (app.admin(), app.pool().await);
    set(&me, "TOKEN", &json!({"value": "t"})).await;
    commit(&me, REPO, "main", &[(".docstore/ci.yaml", Some(CONFIG))]).await;
    give_role(&pool, "default/default", "member@example.com", "writer").await;
    give_role(&pool, "default/default", "outsider@example.com", "writer").await;
    make_member(&pool, "default", "member@example.com", "member").await;
    let mut proposals = Vec::new();
    for (name, author) in [("of-member", "member@example.com"), ("of-outsider", "outsider@example.com")] {
        branch(&me, REPO, name).await;
        let (repo_id, branch_id): (i64, i64) = sqlx::query_as("SELECT repo_id, id FROM branches WHERE name = $1")
            .bind(name)
            .fetch_one(&pool)
            .await
            .unwrap();
        let id = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO proposals (id, repo_id, branch_id, base_branch_id, title, author)
             SELECT $1, $2, $3, id, 't', $4 FROM branches WHERE repo_id = $2 AND name = 'main'",
        )
        .bind(id)
        .bind(repo_id)
        .bind(branch_id)
        .bind(author)
        .execute(&pool)
        .await
        .unwrap();
        proposals.push(id.to_string());
    }
    let unknown = Uuid::nil().to_string();
    let names = json!({"names": ["TOKEN"]});
    let mut told = Transcript::new();
    for (n, (on, trigger, proposal)) in [
        ("main", "push", None),
        ("main", "manual", None),
        ("main", "schedule", None),
        ("of-member", "proposal", Some(&proposals[0])),
        ("of-member", "proposal_synchronized", Some(&proposals[0])),
        ("of-outsider", "proposal", Some(&proposals[1])),
        ("of-outsider", "proposal", Some(&proposals[0])),
        ("main", "proposal", None),
        ("main", "proposal", Some(&unknown)),
        ("main", "other", None),
    ]
    .into_iter()
    .enumerate()
    {
        let token = job(&pool, on, &format!("token-{n}"), Some(trigger), proposal.map(String::as_str)).await;
        let own = proposal.map_or("", |id| if *id == unknown { " an unknown one" } else { " one" });
        told.note(&format!("{trigger}{own} on {on}"), &reveal(&app, &token, &names).await);
    }
    let untriggered = job(&pool, "main", "untriggered", None, None).await;
    told.note("no trigger", &reveal(&app, &untriggered, &names).await);
    // A member's proposal of what somebody else pushed.
    commit(&app.person("outsider@example.com"), REPO, "of-member", &[("x", Some("1"))]).await;
    commit(&app.person("member@example.com"), REPO, "of-member", &[("y", Some("1"))]).await;
    let pushed = job(&pool, "of-member", "pushed", Some("proposal_synchronized"), Some(&proposals[0])).await;
    told.note("pushed by an outsider", &reveal(&app, &pushed, &names).await);
    insta::assert_snapshot!(told, @r#"
    push on main
      200 {"values":{"TOKEN":"dA=="}}
    manual on main
      200 {"values":{"TOKEN":"dA=="}}
    schedule on main
      200 {"values":{"TOKEN":"dA=="}}
    proposal one on of-member
      200 {"values":{"TOKEN":"dA=="}}
    proposal_synchronized one on of-member
      200 {"values":{"TOKEN":"dA=="}}
    proposal one on of-outsider
      403 {"code":"FORBIDDEN","error":"secrets_blocked: non_member_proposal"}
    proposal one on of-outsider
      403 {"code":"FORBIDDEN","error":"secrets_blocked: proposal_not_found"}
    proposal on main
      403 {"code":"FORBIDDEN","error":"secrets_blocked: missing_proposal"}
    proposal an unknown one on main
      403 {"code":"FORBIDDEN","error":"secrets_blocked: proposal_not_found"}
    other on main
      403 {"code":"FORBIDDEN","error":"secrets_blocked: trigger_not_allowed"}
    no trigger
      403 {"code":"FORBIDDEN","error":"secrets_blocked: trigger_not_allowed"}
    pushed by an outsider
      403 {"code":"FORBIDDEN","error":"secrets_blocked: non_member_pusher"}
    "#);
    let denied: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', payload::json #>> '{data,branch}', payload::json #>> '{data,names}',
             payload::json #>> '{data,reason}')
         FROM event_log WHERE type = 'com.docstore.secret.denied' ORDER BY id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    insta::assert_snapshot!(denied.join("\n"), @r#"
    of-outsider ["TOKEN"] non_member_proposal
    of-outsider ["TOKEN"] proposal_not_found
    main ["TOKEN"] missing_proposal
    main ["TOKEN"] proposal_not_found
    main ["TOKEN"] trigger_not_allowed
    main ["TOKEN"] trigger_not_allowed
    of-member ["TOKEN"] non_member_pusher
    "#);
}

#[tokio::test]
async fn another_value_of_a_secret_is_for_whom_it_was_before() {
    let app = TestApp::start().await;
    let me = app.admin();
    let url = format!("{REPO}/secrets/KEY");
    let bindings = async |body: Value| {
        let set = me.put(&url, &body).await.expect(200);
        format!("{} {}", set["branches"], set["checks"])
    };
    assert_eq!(bindings(json!({"value": "1", "branches": ["*"]})).await, "null null");
    let bound = json!({"value": "2", "branches": ["main"], "checks": ["deploy"]});
    assert_eq!(bindings(bound).await, r#"["main"] ["deploy"]"#);
    assert_eq!(bindings(json!({"value": "3"})).await, r#"["main"] ["deploy"]"#);
    assert_eq!(bindings(json!({"value": "4", "branches": ["*"]})).await, r#"null ["deploy"]"#);
    assert_eq!(bindings(json!({"value": "5", "checks": ["*"]})).await, "null null");
}

#[tokio::test]
async fn a_token_is_looked_at_before_the_body() {
    let app = TestApp::start().await;
    let (me, pool) = (app.admin(), app.pool().await);
    let token = job(&pool, "main", "token", Some("push"), None).await;
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let who = Person::new(app.base_url(), "worker@example.com");
    let mut told = Transcript::new();
    for (what, repo, token) in [
        ("no such token", REPO, "nothing"),
        ("another repo", "/repos/default/other/-", token.as_str()),
        ("its own repo", REPO, token.as_str()),
    ] {
        let request = who.request(Method::POST, &format!("{repo}/secrets/reveal")).bearer_auth(token);
        told.note(what, &Answer::of(request.body("{")).await);
    }
    let request = who.request(Method::POST, &format!("{REPO}/secrets/reveal")).body("{");
    told.note("no token", &Answer::of(request).await);
    insta::assert_snapshot!(told, @r#"
    no such token
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    another repo
      404 {"code":"NOT_FOUND","error":"not found"}
    its own repo
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    no token
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    "#);
}

#[tokio::test]
async fn secrets_of_an_old_key_and_layout_are_read_and_encrypted_anew() {
    let keys = tempfile::tempdir().unwrap();
    let (old, new) = (keys.path().join("dev-encryption-key"), keys.path().join("new-key"));
    std::fs::write(&old, [0x11; 32]).unwrap();
    std::fs::write(&new, [0x12; 32]).unwrap();
    let (old, new) = (old.display().to_string(), new.display().to_string());
    let app =
        TestApp::start_with(&[("DOCSTORE_SECRETS_KEY_FILE", &new), ("DOCSTORE_SECRETS_OLD_KEY_FILES", &old)]).await;
    let (me, pool) = (app.admin(), app.pool().await);
    commit(&me, REPO, "main", &[(".docstore/ci.yaml", Some(CONFIG))]).await;
    // As a server of the original wrote it: `old value`, bound to nothing.
    for (name, key) in [("TOKEN", "local:dev-encryption-key"), ("PROD_KEY", "projects/gone")] {
        sqlx::query(
            "INSERT INTO repo_secrets (id, repo_id, name, layout, ciphertext, nonce, encrypted_dek, kms_key_name,
                 size_bytes, created_by)
             SELECT $1, id, $2, 1, $3, $4, $5, $6, 9, 'someone@example.com' FROM repos WHERE name = 'default/default'",
        )
        .bind(Uuid::new_v4())
        .bind(name)
        .bind(STANDARD.decode("Ga+iygNNGh1tFLrvSbE8AMVD/fcxHUNKEg==").unwrap())
        .bind(vec![0x33_u8; 12])
        .bind(
            STANDARD
                .decode("RERERERERERERERE7mdqTGgaBhXLsr2/CshVzrro7hmaLx319XHDQR7pCP5pInzC4uP74q07YVfYt692")
                .unwrap(),
        )
        .bind(key)
        .execute(&pool)
        .await
        .unwrap();
    }
    let token = job(&pool, "main", "token", Some("push"), None).await;
    let names = json!({"names": ["TOKEN"]});
    let value = STANDARD.encode("old value");
    assert_eq!(reveal(&app, &token, &names).await.expect(200)["values"]["TOKEN"], value);
    let unknown = reveal(&app, &token, &json!({"names": ["TOKEN", "PROD_KEY"]})).await;
    assert_eq!(unknown.expect(500)["code"], "INTERNAL_ERROR", "no part of an answer");
    let done = me.post("/secrets/rewrap", &json!({})).await.expect(200);
    insta::assert_snapshot!(done, @r#"{"failed":["default/default PROD_KEY"],"rewrapped":1}"#);
    let stored: (i32, String) = sqlx::query_as("SELECT layout, kms_key_name FROM repo_secrets WHERE name = 'TOKEN'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(stored, (2, "local:new-key".to_owned()));
    assert_eq!(reveal(&app, &token, &names).await.expect(200)["values"]["TOKEN"], value);
    // A row that somebody moves to another repo or name opens nothing.
    sqlx::query("UPDATE repo_secrets SET name = 'NONE' WHERE name = 'TOKEN'").execute(&pool).await.unwrap();
    reveal(&app, &token, &json!({"names": ["NONE"]})).await.expect(500);
    app.person("other@example.com").post("/secrets/rewrap", &json!({})).await.expect(403);
}

#[tokio::test]
async fn without_a_key_there_are_no_secrets() {
    let app = TestApp::start_with(&[("DOCSTORE_SECRETS_KEY_FILE", "")]).await;
    let me = app.admin();
    let mut told = Transcript::new();
    told.get(&me, &format!("{REPO}/secrets")).await;
    told.put(&me, &format!("{REPO}/secrets/TOKEN"), &json!({"value": "x"})).await;
    told.delete(&me, &format!("{REPO}/secrets/TOKEN")).await;
    told.note("reveal", &reveal(&app, "token", &json!({"names": ["TOKEN"]})).await);
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/secrets
      503 {"code":"SERVICE_UNAVAILABLE","error":"secrets service not configured"}
    PUT /repos/default/default/-/secrets/TOKEN {"value":"x"}
      503 {"code":"SERVICE_UNAVAILABLE","error":"secrets service not configured"}
    DELETE /repos/default/default/-/secrets/TOKEN
      503 {"code":"SERVICE_UNAVAILABLE","error":"secrets service not configured"}
    reveal
      503 {"code":"SERVICE_UNAVAILABLE","error":"secrets reveal not available"}
    "#);
}

#[tokio::test]
async fn a_repo_that_takes_a_name_again_has_no_secrets() {
    let app = TestApp::start().await;
    let me = app.admin();
    let create = json!({"owner": "default", "name": "again"});
    me.post("/repos", &create).await.expect(201);
    me.put("/repos/default/again/-/secrets/TOKEN", &json!({"value": "x"})).await.expect(200);
    me.delete("/repos/default/again").await.expect(204);
    me.post("/repos", &create).await.expect(201);
    assert_eq!(me.get("/repos/default/again/-/secrets").await.expect(200)["secrets"], json!([]));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM repo_secrets").fetch_one(&app.pool().await).await.unwrap();
    assert_eq!(left, 0);
}
