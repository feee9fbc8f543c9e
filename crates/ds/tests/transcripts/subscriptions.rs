//! `ds subscriptions`, against a stand-in that answers as the server does and keeps what it was asked.

use serde_json::{Value, json};

use crate::support::Terminal;

const ID: &str = "01900000-0000-7000-8000-000000000001";
const DELIVERY: &str = "01900000-0000-7000-8000-00000000000d";

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

fn answer(method: &str, path: &str, text: &str) -> (u16, Value) {
    let path = path.strip_prefix("/subscriptions").unwrap_or_default();
    let one = format!("/{ID}");
    match (method, path) {
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
    }
}

#[tokio::test]
async fn subscriptions_are_looked_after() {
    let mut me = Terminal::new(answer).await;
    me.types("subscriptions").await;
    me.types("subscriptions list --json").await;
    me.types(&format!("subscriptions show {ID}")).await;
    me.types(&format!("subscriptions show {}", ID.replace("0001", "0002"))).await;
    me.types("subscriptions show other").await;
    me.types(&format!("subscriptions resume {ID}")).await;
    me.types(&format!("subscriptions ping {ID}")).await;
    me.types(&format!("subscriptions ping {}", ID.replace("0001", "0002"))).await;
    me.types(&format!("subscriptions deliveries {ID} --state dead")).await;
    me.types(&format!("subscriptions deliveries {ID} {DELIVERY}")).await;
    me.types(&format!("subscriptions deliveries {ID} --limit 1 --after {DELIVERY} --json")).await;
    me.types(&format!("subscriptions redeliver {ID} {DELIVERY}")).await;
    me.types(&format!("subscriptions redeliver {ID} --since 2026-01-01T00:00:00Z")).await;
    me.types(&format!("subscriptions delete {ID}")).await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds subscriptions
    ID                                    REPO                  BACKEND     SUSPENDED   URL
    01900000-0000-7000-8000-000000000001  acme/app              webhook     no          https://hooks.example.com/a
    01900000-0000-7000-8000-000000000002  (all)                 webhook     2026-02-03  https://hooks.example.com/b
      > GET /subscriptions?limit=1000
    $ ds subscriptions list --json
    [
      {
        "id": "01900000-0000-7000-8000-000000000001",
        "repo": "acme/app",
        "event_types": [
          "com.docstore.branch.merged"
        ],
        "backend": "webhook",
        "config": {
          "secret": "********",
          "url": "https://hooks.example.com/a"
        },
        "created_at": "2026-01-01T00:00:00Z",
        "created_by": "me@example.com",
        "failure_count": 0
      },
      {
        "id": "01900000-0000-7000-8000-000000000002",
        "backend": "webhook",
        "config": {
          "url": "https://hooks.example.com/b"
        },
        "created_at": "2026-01-02T00:00:00Z",
        "created_by": "me@example.com",
        "suspended_at": "2026-02-03T04:05:06Z",
        "failure_count": 1,
        "suspended_reason": "a delivery failed 10 times: status 500"
      }
    ]
      > GET /subscriptions?limit=1000
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
    $ ds subscriptions deliveries 01900000-0000-7000-8000-000000000001 --limit 1 --after 01900000-0000-7000-8000-00000000000d --json
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
      > GET /subscriptions/01900000-0000-7000-8000-000000000001/deliveries?limit=1&after=01900000-0000-7000-8000-00000000000d
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
    let mut me = Terminal::new(answer).await;
    me.types("subscriptions create --url https://hooks.example.com/a").await;
    me.types(
        "subscriptions create --url https://hooks.example.com/a --repo acme/app --event-types a,b --secret s3cret",
    )
    .await;
    me.types_with("subscriptions create --url https://hooks.example.com/a --secret-file -", b"s3cret\n", &[]).await;
    me.types_with(
        "subscriptions create --url https://hooks.example.com/a --secret-env HOOK",
        b"",
        &[("HOOK", "s3cret")],
    )
    .await;
    me.types("subscriptions create --url https://hooks.example.com/a --secret-env HOOK").await;
    me.person().write("hook.secret", "n3w\n");
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
