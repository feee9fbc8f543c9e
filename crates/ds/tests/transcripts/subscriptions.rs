//! `ds subscriptions`, against a stand-in that answers as the server does and keeps what it was asked.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
    response::IntoResponse,
};
use serde_json::{Value, json};

use crate::support::Stage;

const ID: &str = "01900000-0000-7000-8000-000000000001";
const DELIVERY: &str = "01900000-0000-7000-8000-00000000000d";

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

fn subscription() -> Value {
    json!({"id": ID, "repo": "acme/app", "event_types": ["com.docstore.branch.merged"], "backend": "webhook",
        "config": {"url": "https://hooks.example.com/a", "secret": "********"}, "created_at": "2026-01-01T00:00:00Z",
        "created_by": "me@example.com", "failure_count": 0})
}

fn suspended() -> Value {
    json!({"id": ID.replace("0001", "0002"), "backend": "webhook", "config": {"url": "https://hooks.example.com/b"},
        "created_at": "2026-01-02T00:00:00Z", "created_by": "me@example.com", "failure_count": 1,
        "suspended_at": "2026-02-03T04:05:06Z", "suspended_reason": "a delivery failed 10 times: status 500"})
}

fn delivery() -> Value {
    json!({"id": DELIVERY, "event_id": ID, "event_type": "com.docstore.branch.merged", "position": 12, "state": "dead",
        "attempts": 10, "created_at": "2026-01-01T00:00:00Z", "dead_at": "2026-01-01T00:17:03Z",
        "last_error": "status 500"})
}

async fn answer(State(asked): State<Asked>, method: Method, uri: Uri, body: Bytes) -> impl IntoResponse {
    let text = String::from_utf8_lossy(&body).into_owned();
    asked.0.lock().unwrap().push(format!("{method} {uri} {text}").trim_end().to_owned());
    let path = uri.path().strip_prefix("/subscriptions").unwrap_or_default().to_owned();
    let one = format!("/{ID}");
    let (status, value) = match (method.as_str(), path.as_str()) {
        ("GET", "") => (200, json!({"subscriptions": [subscription(), suspended()]})),
        ("POST", "") => (201, subscription()),
        ("GET", path) if path == one => (200, subscription()),
        ("GET", path) if path.ends_with("0002") => (200, suspended()),
        ("PATCH", path) if path == one => {
            let mut changed = subscription();
            changed["previous_secret_until"] = json!("2026-01-02T00:00:00Z");
            (200, changed)
        }
        ("DELETE", path) if path == one => (204, Value::Null),
        ("POST", path) if path == format!("{one}/resume") => (204, Value::Null),
        ("POST", path) if path == format!("{one}/ping") => {
            (200, json!({"delivered": true, "status": 202, "duration_ms": 31}))
        }
        ("POST", path) if path.ends_with("0002/ping") => {
            (200, json!({"delivered": false, "error": "no answer within 10 s", "duration_ms": 10_000}))
        }
        ("GET", path) if path == format!("{one}/deliveries") => (200, json!({"deliveries": [delivery()]})),
        ("GET", path) if path == format!("{one}/deliveries/{DELIVERY}") => {
            let event = json!({"specversion": "1.0", "type": "com.docstore.branch.merged", "source": "/repos/acme/app",
                "id": ID, "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json", "data": {}});
            let attempt = json!({"started_at": "2026-01-01T00:00:00Z", "duration_ms": 12, "status": 500,
                "error": "status 500"});
            let silent = json!({"started_at": "2026-01-01T00:00:01Z", "duration_ms": 10_000,
                "error": "no answer within 10 s"});
            (200, json!({"delivery": delivery(), "history": [attempt, silent], "event": event}))
        }
        ("POST", path) if path == format!("{one}/redeliver") => {
            let all = text.contains("since");
            (200, json!({"queued": if all { 10_000 } else { 1 }, "more": all}))
        }
        _ => (404, json!({"code": "SUBSCRIPTION_NOT_FOUND", "error": "subscription not found"})),
    };
    let body = if value.is_null() { String::new() } else { value.to_string() };
    (StatusCode::from_u16(status).unwrap(), [("x-request-id", "test"), ("content-type", "application/json")], body)
}

/// A terminal at which everything that is typed and seen is kept.
struct Terminal {
    stage: Stage,
    url: String,
    asked: Asked,
    seen: String,
}

impl Terminal {
    async fn new() -> Self {
        let asked = Asked::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(asked.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { stage: Stage::new().await, url, asked, seen: String::new() }
    }

    async fn types(&mut self, line: &str) {
        self.types_with(line, "", &[]).await;
    }

    async fn types_with(&mut self, line: &str, stdin: &'static str, environment: &[(&str, &str)]) {
        let mut arguments: Vec<&str> = vec!["--remote", &self.url];
        arguments.extend(line.split_whitespace());
        let person = self.stage.person("me");
        let output = person
            .ds_with(&arguments, |context| {
                context.stdin = Box::new(stdin.as_bytes());
                for (name, value) in environment {
                    context.environment.insert((*name).to_owned(), (*value).to_owned());
                }
            })
            .await;
        self.seen.push_str(&format!("$ ds {line}\n{}", output.seen()));
        for request in self.asked.0.lock().unwrap().drain(..) {
            self.seen.push_str(&format!("  > {request}\n"));
        }
    }
}

#[tokio::test]
async fn subscriptions_are_looked_after() {
    let mut me = Terminal::new().await;
    me.types("subscriptions").await;
    me.types(&format!("subscriptions show {ID}")).await;
    me.types(&format!("subscriptions show {}", ID.replace("0001", "0002"))).await;
    me.types("subscriptions show other").await;
    me.types(&format!("subscriptions resume {ID}")).await;
    me.types(&format!("subscriptions ping {ID}")).await;
    me.types(&format!("subscriptions ping {}", ID.replace("0001", "0002"))).await;
    me.types(&format!("subscriptions deliveries {ID} --state dead")).await;
    me.types(&format!("subscriptions deliveries {ID} {DELIVERY}")).await;
    me.types(&format!("subscriptions deliveries {ID} --json")).await;
    me.types(&format!("subscriptions redeliver {ID} {DELIVERY}")).await;
    me.types(&format!("subscriptions redeliver {ID} --since 2026-01-01T00:00:00Z")).await;
    me.types(&format!("subscriptions delete {ID}")).await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds subscriptions
    ID                                    REPO                  BACKEND     SUSPENDED   URL
    01900000-0000-7000-8000-000000000001  acme/app              webhook     no          https://hooks.example.com/a
    01900000-0000-7000-8000-000000000002  (all)                 webhook     2026-02-03  https://hooks.example.com/b
      > GET /subscriptions
    $ ds subscriptions show 01900000-0000-7000-8000-000000000001
    ID:               01900000-0000-7000-8000-000000000001
    Repo:             acme/app
    Event types:      com.docstore.branch.merged
    URL:              https://hooks.example.com/a
    Secret:           set
    Created by:       me@example.com
    Created at:       2026-01-01T00:00:00Z
      > GET /subscriptions/01900000-0000-7000-8000-000000000001
    $ ds subscriptions show 01900000-0000-7000-8000-000000000002
    ID:               01900000-0000-7000-8000-000000000002
    Repo:             (all)
    Event types:      (all)
    URL:              https://hooks.example.com/b
    Secret:           none
    Created by:       me@example.com
    Created at:       2026-01-02T00:00:00Z
    Suspended:        2026-02-03T04:05:06Z
    Reason:           a delivery failed 10 times: status 500
      > GET /subscriptions/01900000-0000-7000-8000-000000000002
    $ ds subscriptions show other
    error: subscription 'other' or what was asked of it is not there
    [exit 1]
      > GET /subscriptions/other
    $ ds subscriptions resume 01900000-0000-7000-8000-000000000001
    Resumed subscription '01900000-0000-7000-8000-000000000001'
      > POST /subscriptions/01900000-0000-7000-8000-000000000001/resume {}
    $ ds subscriptions ping 01900000-0000-7000-8000-000000000001
    The receiver took it with status 202 after 31 ms
      > POST /subscriptions/01900000-0000-7000-8000-000000000001/ping {}
    $ ds subscriptions ping 01900000-0000-7000-8000-000000000002
    error: the receiver did not take it: no answer within 10 s
    [exit 1]
      > POST /subscriptions/01900000-0000-7000-8000-000000000002/ping {}
    $ ds subscriptions deliveries 01900000-0000-7000-8000-000000000001 --state dead
    ID                                    POSITION  STATE      TRIES  TYPE                              ERROR
    01900000-0000-7000-8000-00000000000d  12        dead       10     branch.merged                     status 500
      > GET /subscriptions/01900000-0000-7000-8000-000000000001/deliveries?state=dead&limit=20
    $ ds subscriptions deliveries 01900000-0000-7000-8000-000000000001 01900000-0000-7000-8000-00000000000d
    com.docstore.branch.merged of /repos/acme/app: dead
    STARTED                      MS      STATUS  ERROR
    2026-01-01T00:00:00Z         12      500     status 500
    2026-01-01T00:00:01Z         10000   -       no answer within 10 s
      > GET /subscriptions/01900000-0000-7000-8000-000000000001/deliveries/01900000-0000-7000-8000-00000000000d
    $ ds subscriptions deliveries 01900000-0000-7000-8000-000000000001 --json
    [
      {
        "id": "01900000-0000-7000-8000-00000000000d",
        "event_id": "01900000-0000-7000-8000-000000000001",
        "event_type": "com.docstore.branch.merged",
        "position": 12,
        "state": "dead",
        "attempts": 10,
        "created_at": "2026-01-01T00:00:00Z",
        "dead_at": "2026-01-01T00:17:03Z",
        "last_error": "status 500"
      }
    ]
      > GET /subscriptions/01900000-0000-7000-8000-000000000001/deliveries?limit=20
    $ ds subscriptions redeliver 01900000-0000-7000-8000-000000000001 01900000-0000-7000-8000-00000000000d
    Queued 1 delivery
      > POST /subscriptions/01900000-0000-7000-8000-000000000001/redeliver {"delivery":"01900000-0000-7000-8000-00000000000d"}
    $ ds subscriptions redeliver 01900000-0000-7000-8000-000000000001 --since 2026-01-01T00:00:00Z
    Queued 10000 deliveries
    warning: there is more: once these are delivered, ask again from the time of the last one
      > POST /subscriptions/01900000-0000-7000-8000-000000000001/redeliver {"since":"2026-01-01T00:00:00Z"}
    $ ds subscriptions delete 01900000-0000-7000-8000-000000000001
    Deleted subscription '01900000-0000-7000-8000-000000000001'
      > DELETE /subscriptions/01900000-0000-7000-8000-000000000001
    "#);
}

#[tokio::test]
async fn a_secret_need_not_be_on_the_command_line() {
    let mut me = Terminal::new().await;
    me.types("subscriptions create --url https://hooks.example.com/a").await;
    me.types(
        "subscriptions create --url https://hooks.example.com/a --repo acme/app --event-types a,b --secret s3cret",
    )
    .await;
    me.types_with("subscriptions create --url https://hooks.example.com/a --secret-file -", "s3cret\n", &[]).await;
    me.types_with(
        "subscriptions create --url https://hooks.example.com/a --secret-env HOOK",
        "",
        &[("HOOK", "s3cret")],
    )
    .await;
    me.types("subscriptions create --url https://hooks.example.com/a --secret-env HOOK").await;
    me.stage.person("me").write("hook.secret", "n3w\n");
    me.types(&format!("subscriptions rotate {ID} --secret-file hook.secret --overlap-hours 2")).await;
    me.types(&format!("subscriptions rotate {ID}")).await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds subscriptions create --url https://hooks.example.com/a
    Created subscription '01900000-0000-7000-8000-000000000001'
    warning: without a secret the receiver cannot tell who sends
      > POST /subscriptions {"backend":"webhook","config":{"url":"https://hooks.example.com/a"}}
    $ ds subscriptions create --url https://hooks.example.com/a --repo acme/app --event-types a,b --secret s3cret
    Created subscription '01900000-0000-7000-8000-000000000001'
    warning: a secret on the command line can be read by others on this machine; use --secret-file
      > POST /subscriptions {"repo":"acme/app","event_types":["a","b"],"backend":"webhook","config":{"secret":"s3cret","url":"https://hooks.example.com/a"}}
    $ ds subscriptions create --url https://hooks.example.com/a --secret-file -
    Created subscription '01900000-0000-7000-8000-000000000001'
      > POST /subscriptions {"backend":"webhook","config":{"secret":"s3cret","url":"https://hooks.example.com/a"}}
    $ ds subscriptions create --url https://hooks.example.com/a --secret-env HOOK
    Created subscription '01900000-0000-7000-8000-000000000001'
      > POST /subscriptions {"backend":"webhook","config":{"secret":"s3cret","url":"https://hooks.example.com/a"}}
    $ ds subscriptions create --url https://hooks.example.com/a --secret-env HOOK
    error: the environment has no HOOK
    [exit 2]
    $ ds subscriptions rotate 01900000-0000-7000-8000-000000000001 --secret-file hook.secret --overlap-hours 2
    Rotated the secret of subscription '01900000-0000-7000-8000-000000000001'
    The old secret signs as well until 2026-01-02T00:00:00Z
      > PATCH /subscriptions/01900000-0000-7000-8000-000000000001 {"secret":"n3w","previous_secret_seconds":7200}
    $ ds subscriptions rotate 01900000-0000-7000-8000-000000000001
    error: a new secret is needed: --secret-file, --secret-env or --secret
    [exit 2]
    "#);
}
