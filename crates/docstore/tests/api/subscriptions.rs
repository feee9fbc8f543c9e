//! `/subscriptions`, and the log in pages.

use docstore_test_support::TestApp;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, identities::give_role};

const NOWHERE: &str = "http://127.0.0.1:9/hook";

fn webhook(repo: Option<&str>, config: &Value) -> Value {
    let mut body = json!({"backend": "webhook", "config": config});
    if let Some(repo) = repo {
        body["repo"] = json!(repo);
    }
    body
}

#[tokio::test]
async fn what_cannot_be_subscribed_is_refused_in_the_contracts_order() {
    let app = TestApp::start().await;
    let (me, stranger) = (app.admin(), app.person("stranger@example.com"));
    let mut told = Transcript::new();
    for body in [
        json!({}),
        json!({"backend": "pubsub"}),
        json!({"backend": "webhook"}),
        json!({"backend": "webhook", "config": null}),
        json!({"backend": "webhook", "config": "x"}),
        webhook(None, &json!({"url": NOWHERE, "n": 1})),
        webhook(None, &json!({})),
        webhook(None, &json!({"url": ""})),
        webhook(None, &json!({"url": "ftp://example.com"})),
        webhook(None, &json!({"url": "hooks.example.com"})),
        webhook(None, &json!({"url": "https://me:secret@example.com/"})),
        webhook(None, &json!({"url": "http://10.0.0.1/"})),
        webhook(None, &json!({"url": "http://0xa9fea9fe/latest"})),
        webhook(None, &json!({"url": "http://[::ffff:10.0.0.1]/"})),
        json!({"backend": "webhook", "config": {"url": NOWHERE}, "event_types": []}),
        json!({"backend": "webhook", "config": {"url": NOWHERE}, "event_types": [""]}),
        json!({"backend": "webhook", "config": {"url": NOWHERE}, "event_types": "x"}),
    ] {
        told.post(&stranger, "/subscriptions", &body).await;
    }
    told.say("who may");
    told.post(&stranger, "/subscriptions", &webhook(None, &json!({"url": NOWHERE}))).await;
    told.post(&stranger, "/subscriptions", &webhook(Some("default/default"), &json!({"url": NOWHERE}))).await;
    told.post(&stranger, "/subscriptions", &webhook(Some("no/such"), &json!({"url": NOWHERE}))).await;
    told.post(&me, "/subscriptions", &webhook(Some("no/such"), &json!({"url": NOWHERE}))).await;
    told.post(&me, "/subscriptions", &webhook(Some(""), &json!({"url": NOWHERE}))).await;
    insta::assert_snapshot!(told, @r#"
    POST /subscriptions {}
      400 {"code":"BAD_REQUEST","error":"backend is required"}
    POST /subscriptions {"backend":"pubsub"}
      400 {"code":"BAD_REQUEST","error":"only backend='webhook' is supported"}
    POST /subscriptions {"backend":"webhook"}
      400 {"code":"BAD_REQUEST","error":"config is required"}
    POST /subscriptions {"backend":"webhook","config":null}
      400 {"code":"BAD_REQUEST","error":"config is required"}
    POST /subscriptions {"backend":"webhook","config":"x"}
      400 {"code":"BAD_REQUEST","error":"config must be a JSON object"}
    POST /subscriptions {"backend":"webhook","config":{"n":1,"url":"http://127.0.0.1:9/hook"}}
      400 {"code":"BAD_REQUEST","error":"config must be a JSON object"}
    POST /subscriptions {"backend":"webhook","config":{}}
      400 {"code":"BAD_REQUEST","error":"config.url is required for webhook backend"}
    POST /subscriptions {"backend":"webhook","config":{"url":""}}
      400 {"code":"BAD_REQUEST","error":"config.url is required for webhook backend"}
    POST /subscriptions {"backend":"webhook","config":{"url":"ftp://example.com"}}
      400 {"code":"BAD_REQUEST","error":"config.url must be a valid http or https URL"}
    POST /subscriptions {"backend":"webhook","config":{"url":"hooks.example.com"}}
      400 {"code":"BAD_REQUEST","error":"config.url must be a valid http or https URL"}
    POST /subscriptions {"backend":"webhook","config":{"url":"https://me:secret@example.com/"}}
      400 {"code":"BAD_REQUEST","error":"config.url must not carry credentials; use config.secret"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://10.0.0.1/"}}
      400 {"code":"BAD_REQUEST","error":"config.url: the host has no address that webhooks may go to"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://0xa9fea9fe/latest"}}
      400 {"code":"BAD_REQUEST","error":"config.url: the host has no address that webhooks may go to"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://[::ffff:10.0.0.1]/"}}
      400 {"code":"BAD_REQUEST","error":"config.url: the host has no address that webhooks may go to"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"event_types":[]}
      400 {"code":"BAD_REQUEST","error":"event_types is empty; leave it out for all events"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"event_types":[""]}
      400 {"code":"BAD_REQUEST","error":"event_types must have 1 to 255 bytes each"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"event_types":"x"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    # who may
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"}}
      403 {"code":"FORBIDDEN","error":"forbidden: global admin required for global subscriptions"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"repo":"default/default"}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"repo":"no/such"}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"repo":"no/such"}
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    POST /subscriptions {"backend":"webhook","config":{"url":"http://127.0.0.1:9/hook"},"repo":""}
      404 {"code":"REPO_NOT_FOUND","error":"repo not found"}
    "#);
}

#[tokio::test]
async fn subscriptions_are_their_creators() {
    let app = TestApp::start().await;
    let me = app.admin();
    let (reader, other) = (app.person("reader@example.com"), app.person("other@example.com"));
    let stranger = app.person("stranger@example.com");
    let pool = app.pool().await;
    give_role(&pool, "default/default", "reader@example.com", "reader").await;
    give_role(&pool, "default/default", "other@example.com", "admin").await;
    let mut told = Transcript::new();
    let config = json!({"url": "https://hooks.example.com/a", "secret": "s3cret", "note": "mine"});
    let of_repo = told.post(&reader, "/subscriptions", &webhook(Some("default/default"), &config)).await;
    let of_repo = format!("/subscriptions/{}", of_repo.json()["id"].as_str().unwrap());
    let mut global = webhook(None, &json!({"url": "https://hooks.example.com/b"}));
    global["event_types"] = json!(["com.docstore.repo.created"]);
    told.post(&me, "/subscriptions", &global).await;
    told.say("reading: the own ones, or all; never a secret");
    told.get(&reader, "/subscriptions").await;
    let all = told.get(&me, "/subscriptions").await.json();
    told.get(&other, "/subscriptions").await;
    told.get(&reader, &of_repo).await;
    told.get(&me, &of_repo).await;
    told.get(&other, &of_repo).await;
    told.say("pages");
    told.get(&me, "/subscriptions?limit=1").await;
    let last = all["subscriptions"][0]["id"].as_str().unwrap();
    told.get(&me, &format!("/subscriptions?limit=1&after={last}")).await;
    told.get(&me, "/subscriptions?after=x").await;
    told.get(&other, &format!("/subscriptions?after={last}")).await;
    told.get(&me, "/subscriptions?limit=0").await;
    told.say("changing");
    for body in [
        json!({"url": "http://10.0.0.1/"}),
        json!({"event_types": []}),
        json!({"event_types": ["x"], "all_event_types": true}),
        json!({"secret": ""}),
        json!({"secret": "new", "previous_secret_seconds": -1}),
        json!({"secret": "new", "url": "https://hooks.example.com/c", "event_types": ["com.docstore.branch.created"]}),
        json!({"all_event_types": true}),
    ] {
        told.patch(&reader, &of_repo, &body).await;
    }
    told.patch(&other, &of_repo, &json!({"url": "https://elsewhere.example.com/"})).await;
    told.say("resuming and deleting");
    told.post(&other, &format!("{of_repo}/resume"), &json!({})).await;
    told.post(&reader, &format!("{of_repo}/resume"), &json!({})).await;
    told.delete(&stranger, &of_repo).await;
    told.delete(&other, &of_repo).await;
    told.delete(&me, &of_repo).await;
    for path in ["/subscriptions/x", "/subscriptions/00000000-0000-0000-0000-000000000000"] {
        told.get(&me, path).await;
        told.delete(&me, path).await;
        told.post(&me, &format!("{path}/resume"), &json!({})).await;
    }
    insta::assert_snapshot!(told, @r#"
    POST /subscriptions {"backend":"webhook","config":{"note":"mine","secret":"s3cret","url":"https://hooks.example.com/a"},"repo":"default/default"}
      201 {"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/a"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","repo":"default/default"}
    POST /subscriptions {"backend":"webhook","config":{"url":"https://hooks.example.com/b"},"event_types":["com.docstore.repo.created"]}
      201 {"backend":"webhook","config":{"url":"https://hooks.example.com/b"},"created_at":"TIME","created_by":"admin@example.com","event_types":["com.docstore.repo.created"],"failure_count":0,"id":"ID-2"}
    # reading: the own ones, or all; never a secret
    GET /subscriptions
      200 {"subscriptions":[{"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/a"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","repo":"default/default"}]}
    GET /subscriptions
      200 {"subscriptions":[{"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/a"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","repo":"default/default"},{"backend":"webhook","config":{"url":"https://hooks.example.com/b"},"created_at":"TIME","created_by":"admin@example.com","event_types":["com.docstore.repo.created"],"… (431 bytes)
    GET /subscriptions
      200 {"subscriptions":[]}
    GET /subscriptions/ID-1
      200 {"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/a"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","repo":"default/default"}
    GET /subscriptions/ID-1
      200 {"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/a"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","repo":"default/default"}
    GET /subscriptions/ID-1
      403 {"code":"FORBIDDEN","error":"forbidden: not subscription creator"}
    # pages
    GET /subscriptions?limit=1
      200 {"subscriptions":[{"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/a"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","repo":"default/default"}]}
    GET /subscriptions?limit=1&after=ID-1
      200 {"subscriptions":[{"backend":"webhook","config":{"url":"https://hooks.example.com/b"},"created_at":"TIME","created_by":"admin@example.com","event_types":["com.docstore.repo.created"],"failure_count":0,"id":"ID-2"}]}
    GET /subscriptions?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /subscriptions?after=ID-1
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /subscriptions?limit=0
      400 {"code":"BAD_REQUEST","error":"invalid 'limit' parameter"}
    # changing
    PATCH /subscriptions/ID-1 {"url":"http://10.0.0.1/"}
      400 {"code":"BAD_REQUEST","error":"config.url: the host has no address that webhooks may go to"}
    PATCH /subscriptions/ID-1 {"event_types":[]}
      400 {"code":"BAD_REQUEST","error":"event_types is empty; leave it out for all events"}
    PATCH /subscriptions/ID-1 {"all_event_types":true,"event_types":["x"]}
      400 {"code":"BAD_REQUEST","error":"event_types and all_event_types exclude each other"}
    PATCH /subscriptions/ID-1 {"secret":""}
      400 {"code":"BAD_REQUEST","error":"secret is empty"}
    PATCH /subscriptions/ID-1 {"previous_secret_seconds":-1,"secret":"new"}
      400 {"code":"BAD_REQUEST","error":"previous_secret_seconds must be between 0 and 2592000"}
    PATCH /subscriptions/ID-1 {"event_types":["com.docstore.branch.created"],"secret":"new","url":"https://hooks.example.com/c"}
      200 {"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/c"},"created_at":"TIME","created_by":"reader@example.com","event_types":["com.docstore.branch.created"],"failure_count":0,"id":"ID-1","previous_secret_until":"TIME","repo":"default/default"}
    PATCH /subscriptions/ID-1 {"all_event_types":true}
      200 {"backend":"webhook","config":{"note":"mine","secret":"********","url":"https://hooks.example.com/c"},"created_at":"TIME","created_by":"reader@example.com","failure_count":0,"id":"ID-1","previous_secret_until":"TIME","repo":"default/default"}
    PATCH /subscriptions/ID-1 {"url":"https://elsewhere.example.com/"}
      403 {"code":"FORBIDDEN","error":"forbidden: not subscription creator"}
    # resuming and deleting
    POST /subscriptions/ID-1/resume {}
      403 {"code":"FORBIDDEN","error":"forbidden: not subscription creator"}
    POST /subscriptions/ID-1/resume {}
      204
    DELETE /subscriptions/ID-1
      403 {"code":"FORBIDDEN","error":"forbidden: not subscription creator"}
    DELETE /subscriptions/ID-1
      204
    DELETE /subscriptions/ID-1
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    GET /subscriptions/x
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    DELETE /subscriptions/x
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    POST /subscriptions/x/resume {}
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    GET /subscriptions/ID-3
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    DELETE /subscriptions/ID-3
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    POST /subscriptions/ID-3/resume {}
      404 {"code":"SUBSCRIPTION_NOT_FOUND","error":"subscription not found"}
    "#);
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM event_outbox WHERE subscription_id = $1")
        .bind(of_repo.trim_start_matches("/subscriptions/").parse::<uuid::Uuid>().unwrap())
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(stored, 0, "what waited goes with it");
}

#[tokio::test]
async fn whoever_lost_their_role_has_nothing_more_from_their_subscription() {
    let app = TestApp::start().await;
    let me = app.admin();
    let reader = app.person("reader@example.com");
    me.put(&format!("{REPO}/roles/reader@example.com"), &json!({"role": "reader"})).await.expect(200);
    let created = reader.post("/subscriptions", &webhook(Some("default/default"), &json!({"url": NOWHERE}))).await;
    let path = format!("/subscriptions/{}", created.expect(201)["id"].as_str().unwrap());
    branch(&me, REPO, "seen").await;
    let seen = reader.get(&format!("{path}/deliveries")).await.expect(200)["deliveries"][0]["id"].clone();
    let of_delivery = format!("{path}/deliveries/{}", seen.as_str().unwrap());
    reader.get(&of_delivery).await.expect(200);
    me.delete(&format!("{REPO}/roles/reader@example.com")).await.expect(204);
    let mut told = Transcript::new();
    told.get(&reader, &path).await;
    told.get(&reader, &format!("{path}/deliveries")).await;
    told.get(&reader, &of_delivery).await;
    told.post(&reader, &format!("{path}/redeliver"), &json!({"since": "2020-01-01T00:00:00Z"})).await;
    told.post(&reader, &format!("{path}/resume"), &json!({})).await;
    told.post(&reader, &format!("{path}/ping"), &json!({})).await;
    told.patch(&reader, &path, &json!({"all_event_types": true})).await;
    told.say("but may end it");
    told.delete(&reader, &path).await;
    insta::assert_snapshot!(told, @r#"
    GET /subscriptions/ID-1
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    GET /subscriptions/ID-1/deliveries
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    GET /subscriptions/ID-1/deliveries/ID-2
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    POST /subscriptions/ID-1/redeliver {"since":"TIME"}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    POST /subscriptions/ID-1/resume {}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    POST /subscriptions/ID-1/ping {}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    PATCH /subscriptions/ID-1 {"all_event_types":true}
      403 {"code":"FORBIDDEN","error":"forbidden: no access to repo"}
    # but may end it
    DELETE /subscriptions/ID-1
      204
    "#);
}

#[tokio::test]
async fn what_an_agent_subscribed_to_is_its_owners_to_end() {
    let app = TestApp::start().await;
    let me = app.admin();
    let (owner, other) = (app.person("owner@example.com"), app.person("other@example.com"));
    for who in ["owner@example.com", "other@example.com"] {
        me.put(&format!("{REPO}/roles/{who}"), &json!({"role": "reader"})).await.expect(200);
    }
    let mut agents = Vec::new();
    for name in ["hooks", "second"] {
        let body = json!({"name": name, "actions": ["read", "webhooks"]});
        let made = owner.post("/agents", &body).await.expect(201);
        agents.push((made["agent"]["id"].clone(), owner.with_token(made["secret"].as_str().unwrap())));
    }
    let (hooks, second) = (&agents[0], &agents[1]);
    let created = hooks.1.post("/subscriptions", &webhook(Some("default/default"), &json!({"url": NOWHERE}))).await;
    let id = created.expect(201)["id"].clone();
    let path = format!("/subscriptions/{}", id.as_str().unwrap());
    owner.delete(&format!("/agents/{}", hooks.0.as_str().unwrap())).await.expect(204);
    for (who, count) in [(&owner, 1), (&second.1, 0), (&other, 0)] {
        let list = who.get("/subscriptions").await.expect(200);
        assert_eq!(list["subscriptions"].as_array().unwrap().len(), count, "{list}");
    }
    assert_eq!(owner.get(&path).await.expect(200)["created_by"], "agent:hooks/owner@example.com");
    for who in [&second.1, &other] {
        who.get(&path).await.expect(403);
        who.delete(&path).await.expect(403);
    }
    owner.delete(&path).await.expect(204);
    me.get(&path).await.expect(404);
}

#[tokio::test]
async fn deliveries_can_be_looked_at_and_had_again() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut body = webhook(Some("default/default"), &json!({"url": NOWHERE}));
    body["event_types"] = json!(["com.docstore.branch.created"]);
    let created = me.post("/subscriptions", &body).await.expect(201);
    let path = format!("/subscriptions/{}", created["id"].as_str().unwrap());
    for name in ["one", "two", "three"] {
        branch(&me, REPO, name).await;
    }
    let newest = me.get(&format!("{path}/deliveries?limit=1")).await.expect(200);
    let newest = newest["deliveries"][0]["id"].as_str().unwrap();
    let rest = me.get(&format!("{path}/deliveries?after={newest}")).await.expect(200);
    let rest = rest["deliveries"].as_array().unwrap();
    assert_eq!(rest.len(), 2);
    let detail = me.get(&format!("{path}/deliveries/{newest}")).await.expect(200);
    assert_eq!(detail["event"]["data"]["branch"], "three");
    assert_eq!(detail["delivery"]["event_type"], "com.docstore.branch.created");
    let mut told = Transcript::new();
    told.get(&me, &format!("{path}/deliveries?state=delivered")).await;
    told.get(&me, &format!("{path}/deliveries?state=asleep")).await;
    told.get(&me, &format!("{path}/deliveries?after=x")).await;
    told.get(&me, &format!("{path}/deliveries?after=00000000-0000-0000-0000-000000000000")).await;
    told.get(&me, &format!("{path}/deliveries/x")).await;
    told.get(&me, &format!("{path}/deliveries/00000000-0000-0000-0000-000000000000")).await;
    told.say("again");
    told.post(&me, &format!("{path}/redeliver"), &json!({"delivery": newest})).await;
    told.post(&me, &format!("{path}/redeliver"), &json!({"since": "2020-01-01T00:00:00Z"})).await;
    told.post(&me, &format!("{path}/redeliver"), &json!({"since": "9999-01-01T00:00:00Z"})).await;
    for body in [
        json!({}),
        json!({"delivery": newest, "since": "2020-01-01T00:00:00Z"}),
        json!({"delivery": "x"}),
        json!({"since": "yesterday"}),
        json!({"delivery": "00000000-0000-0000-0000-000000000000"}),
    ] {
        told.post(&me, &format!("{path}/redeliver"), &body).await;
    }
    insta::assert_snapshot!(told, @r#"
    GET /subscriptions/ID-1/deliveries?state=delivered
      200 {"deliveries":[]}
    GET /subscriptions/ID-1/deliveries?state=asleep
      400 {"code":"BAD_REQUEST","error":"invalid 'state' parameter: must be pending, delivered or dead"}
    GET /subscriptions/ID-1/deliveries?after=x
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /subscriptions/ID-1/deliveries?after=ID-2
      400 {"code":"BAD_REQUEST","error":"invalid pagination cursor"}
    GET /subscriptions/ID-1/deliveries/x
      404 {"code":"NOT_FOUND","error":"delivery not found"}
    GET /subscriptions/ID-1/deliveries/ID-2
      404 {"code":"NOT_FOUND","error":"delivery not found"}
    # again
    POST /subscriptions/ID-1/redeliver {"delivery":"ID-3"}
      200 {"more":false,"queued":1}
    POST /subscriptions/ID-1/redeliver {"since":"TIME"}
      200 {"more":false,"queued":3}
    POST /subscriptions/ID-1/redeliver {"since":"TIME"}
      200 {"more":false,"queued":0}
    POST /subscriptions/ID-1/redeliver {}
      400 {"code":"BAD_REQUEST","error":"exactly one of delivery and since is required"}
    POST /subscriptions/ID-1/redeliver {"delivery":"ID-3","since":"TIME"}
      400 {"code":"BAD_REQUEST","error":"exactly one of delivery and since is required"}
    POST /subscriptions/ID-1/redeliver {"delivery":"x"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /subscriptions/ID-1/redeliver {"since":"yesterday"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /subscriptions/ID-1/redeliver {"delivery":"ID-2"}
      404 {"code":"NOT_FOUND","error":"delivery not found"}
    "#);
}

#[tokio::test]
async fn a_repo_goes_with_its_subscriptions() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.post("/repos", &json!({"owner": "default", "name": "gone"})).await.expect(201);
    me.post("/subscriptions", &webhook(Some("default/gone"), &json!({"url": NOWHERE}))).await.expect(201);
    me.delete("/repos/default/gone").await.expect(204);
    assert_eq!(me.get("/subscriptions").await.expect(200)["subscriptions"], json!([]));
}

#[tokio::test]
async fn a_repo_has_so_many_subscriptions_and_no_more() {
    let app = TestApp::start().await;
    let me = app.admin();
    for _ in 0..100 {
        me.post("/subscriptions", &webhook(Some("default/default"), &json!({"url": NOWHERE}))).await.expect(201);
    }
    let refused = me.post("/subscriptions", &webhook(Some("default/default"), &json!({"url": NOWHERE}))).await;
    assert_eq!(refused.expect(409)["code"], "CONFLICT");
}

#[tokio::test]
async fn the_log_is_read_in_pages() {
    let app = TestApp::start().await;
    let me = app.admin();
    give_role(&app.pool().await, "default/default", "reader@example.com", "reader").await;
    let reader = app.person("reader@example.com");
    for n in 0..5 {
        commit(&me, REPO, "main", &[("a", Some(&n.to_string()))]).await;
        branch(&me, REPO, &format!("b{n}")).await;
    }
    let positions = |page: &Value| -> Vec<i64> {
        page["events"].as_array().unwrap().iter().map(|one| one["position"].as_i64().unwrap()).collect()
    };
    // Positions are given after the commit.
    let whole = loop {
        let page = me.get("/events/log").await.expect(200);
        if positions(&page).len() == 10 {
            break page;
        }
    };
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = reader.get(&format!("{REPO}/events/log?limit=3&after={after}")).await.expect(200);
        seen.extend(positions(&page));
        after = page["next_after"].as_i64().unwrap();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, positions(&whole));
    let only = reader.get(&format!("{REPO}/events/log?types=com.docstore.branch.created&limit=2")).await.expect(200);
    assert_eq!(positions(&only).len(), 2);
    assert_eq!(only["more"], true);
    let of_repo = me.get("/events/log?repo=default/default").await.expect(200);
    assert_eq!(positions(&of_repo), positions(&whole));
    assert!(positions(&me.get("/events/log?repo=no/such").await.expect(200)).is_empty());
    reader.get("/events/log").await.expect(403);
    me.get("/events/log?after=x").await.expect(400);
    me.get("/events/log?limit=0").await.expect(400);
}
