//! `ds review`, `comment`, `check` and what lists them, against a stand-in that answers as the server does and keeps what it
//! was asked.

use serde_json::{Value, json};

use crate::support::Terminal;

const FIRST: &str = "01900000-0000-7000-8000-000000000001";
const SECOND: &str = "01900000-0000-7000-8000-000000000002";
const VERSION: &str = "01900000-0000-7000-8000-00000000000f";

const JUNE: &str = "2026-06-01T00:00:00Z";

fn branch(path: &str) -> (u16, Value) {
    let name = path.trim_start_matches("branch/");
    if name == "other" {
        return (404, json!({"code": "BRANCH_NOT_FOUND", "error": "branch not found"}));
    }
    (
        200,
        json!({"repo": "default/default", "name": name, "head_sequence": 7, "base_sequence": 2, "status": "active",
        "draft": false, "auto_merge": false}),
    )
}

fn review(id: &str, status: &str, sequence: i64) -> Value {
    json!({"id": id, "repo": "default/default", "branch": "topic", "reviewer": "bob@example.com", "sequence": sequence,
        "status": status, "body": "two\nlines", "created_at": JUNE})
}

fn comment(id: &str, more: &Value) -> Value {
    let mut comment = json!({"id": id, "branch": "topic", "path": "src/a.rs", "version_id": VERSION, "body": "why?",
        "author": "bob@example.com", "sequence": 7, "created_at": JUNE});
    comment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    comment
}

fn check(name: &str, sequence: i64, status: &str, more: &Value) -> Value {
    let mut check = json!({"id": FIRST, "repo": "default/default", "branch": "topic", "sequence": sequence,
        "check_name": name, "status": status, "reporter": "ci-job:1", "created_at": JUNE, "attempt": 1});
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check
}

fn answer(method: &str, path: &str, text: &str) -> (u16, Value) {
    let path = path.strip_prefix("/repos/default/default/-/").unwrap_or_default();
    match (method, path) {
        ("GET", "branch/topic/reviews") => (200, json!([review(SECOND, "approved", 7), review(FIRST, "rejected", 5)])),
        ("GET", "branch/topic/comments") => {
            let first = json!({"start_line": 3, "end_line": 7, "resolved_at": JUNE, "resolved_by": "me"});
            let other = comment(&SECOND.replace("0002", "0003"), &json!({"path": "b", "start_line": 2, "end_line": 2}));
            (200, json!([comment(FIRST, &first), other, comment(SECOND, &json!({"in_reply_to": FIRST}))]))
        }
        ("GET", "branch/topic/checks") => (
            200,
            json!([
                check("docs", 7, "passed", &json!({"state": "not_applicable", "reason": "no docs changed"})),
                check("lint", 5, "failed", &json!({"log_url": "https://logs.example/1"})),
                check("test", 7, "pending", &json!({"state": "expected", "reporter": "system"})),
            ]),
        ),
        ("GET", path) if path.starts_with("branch/") && path.matches('/').count() == 1 => branch(path),
        ("GET", "branches") => (200, json!([])),
        ("GET", path) if path.starts_with("branch/") => (200, json!([])),
        ("GET", "file/src/a.rs/history") => {
            (200, json!([{"sequence": 7, "version_id": VERSION, "message": "m", "author": "me", "created_at": JUNE}]))
        }
        ("GET", "file/gone/history") => {
            (200, json!([{"sequence": 7, "version_id": null, "message": "m", "author": "me", "created_at": JUNE}]))
        }
        ("GET", path) if path.ends_with("/history") => (200, json!([])),
        ("POST", "review") if text.contains("\"expected_head\":3") => (
            409,
            json!({"code": "HEAD_MOVED", "error": "branch 'topic' has moved to 7; fetch it and try again",
                "head_sequence": 7}),
        ),
        ("POST", "review") if text.contains("comments") => {
            (201, json!({"id": FIRST, "sequence": 7, "comment_ids": [SECOND]}))
        }
        ("POST", "review" | "comment" | "check") => (201, json!({"id": FIRST, "sequence": 7})),
        ("PATCH", path) if path == format!("comment/{FIRST}") => (200, comment(FIRST, &json!({}))),
        ("DELETE", path) if path == format!("comment/{FIRST}") => (204, Value::Null),
        ("PATCH" | "DELETE", path) if path.starts_with("comment/") => {
            (404, json!({"code": "COMMENT_NOT_FOUND", "error": "comment not found"}))
        }
        ("POST", "checks/retry") => (202, json!({"attempt": 2, "checks": ["lint"]})),
        ("GET", "required-checks") => {
            let all = json!({"check_name": "test", "branch_pattern": "*", "created_by": "me", "created_at": JUNE});
            (200, json!({"required_checks": [all]}))
        }
        ("PUT", "required-checks") => {
            let pattern = if text.contains("release/*") { "release/*" } else { "*" };
            (200, json!({"check_name": "test", "branch_pattern": pattern, "created_by": "me", "created_at": JUNE}))
        }
        ("DELETE", "required-checks") => (204, Value::Null),
        _ => (404, json!({"code": "NOT_FOUND", "error": "not found"})),
    }
}

#[tokio::test]
async fn a_branch_is_reviewed() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    for line in [
        "reviews --branch topic",
        "reviews --branch topic --json",
        "reviews --branch empty",
        "reviews --branch other",
        "review --status approved --branch topic --body fine",
        "review --status approved --branch topic --at 3",
        "review --status rejected",
        "review --status dismissed --latest",
        "review --status maybe",
        "review",
    ] {
        me.types(line).await;
    }
    let drafts = br#"[{"path": "src/a.rs", "lines": "3-7", "body": "why?"}]"#;
    me.types_with("review --status rejected --branch topic --comments -", drafts, &[]).await;
    me.types_with("review --status rejected --branch topic --comments -", br#"[{"line": 3}]"#, &[]).await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds reviews --branch topic
    ID                                    REVIEWER                        SEQ   STATUS      BODY
    01900000-0000-7000-8000-000000000002  bob@example.com                 7     approved    two
    01900000-0000-7000-8000-000000000001  bob@example.com                 5     rejected    two  [stale]
      > GET /repos/default/default/-/branch/topic
      > GET /repos/default/default/-/branch/topic/reviews?limit=1000
    $ ds reviews --branch topic --json
    [
      {
        "id": "01900000-0000-7000-8000-000000000002",
        "repo": "default/default",
        "branch": "topic",
        "reviewer": "bob@example.com",
        "sequence": 7,
        "status": "approved",
        "body": "two\nlines",
        "created_at": "2026-06-01T00:00:00Z",
        "base_sequence": 0
      },
      {
        "id": "01900000-0000-7000-8000-000000000001",
        "repo": "default/default",
        "branch": "topic",
        "reviewer": "bob@example.com",
        "sequence": 5,
        "status": "rejected",
        "body": "two\nlines",
        "created_at": "2026-06-01T00:00:00Z",
        "base_sequence": 0
      }
    ]
      > GET /repos/default/default/-/branch/topic
      > GET /repos/default/default/-/branch/topic/reviews?limit=1000
    $ ds reviews --branch empty
    No reviews for branch 'empty'
      > GET /repos/default/default/-/branch/empty
      > GET /repos/default/default/-/branch/empty/reviews?limit=1000
    $ ds reviews --branch other
    error: branch "other" not found
    hint: `ds branches` lists the branches; `ds checkout -b <name>` creates one
    [exit 1]
      > GET /repos/default/default/-/branch/other
      > GET /repos/default/default/-/branches?include_draft=true&limit=1000
    $ ds review --status approved --branch topic --body fine
    Review submitted: approved (id: 01900000-0000-7000-8000-000000000001, sequence: 7)
      > POST /repos/default/default/-/review {"branch":"topic","status":"approved","body":"fine"}
    $ ds review --status approved --branch topic --at 3
    error: server error: branch 'topic' has moved to 7; fetch it and try again
    hint: somebody else was faster: run `ds pull`, then try again
    hint: or review whatever is there with --latest
    [exit 3]
      > POST /repos/default/default/-/review {"branch":"topic","status":"approved","expected_head":3}
    $ ds review --status rejected
    Review submitted: rejected (id: 01900000-0000-7000-8000-000000000001, sequence: 7)
      > POST /repos/default/default/-/review {"branch":"main","status":"rejected","expected_head":0}
    $ ds review --status dismissed --latest
    Review submitted: dismissed (id: 01900000-0000-7000-8000-000000000001, sequence: 7)
      > POST /repos/default/default/-/review {"branch":"main","status":"dismissed"}
    $ ds review --status maybe
    error: status must be 'approved' or 'rejected'
    hint: or 'dismissed'
    [exit 1]
    $ ds review
    error: the following required arguments were not provided:
      --status <STATUS>

    Usage: ds review --status <STATUS>

    For more information, try '--help'.
    [exit 2]
    $ ds review --status rejected --branch topic --comments -
    Review submitted: rejected (id: 01900000-0000-7000-8000-000000000001, sequence: 7)
    Comment created: id=01900000-0000-7000-8000-000000000002, sequence=7
      > GET /repos/default/default/-/file/src/a.rs/history?branch=topic&limit=1
      > POST /repos/default/default/-/review {"branch":"topic","status":"rejected","comments":[{"path":"src/a.rs","version_id":"01900000-0000-7000-8000-00000000000f","body":"why?","start_line":3,"end_line":7}]}
    $ ds review --status rejected --branch topic --comments -
    error: the comments cannot be read: unknown field `line`, expected one of `path`, `body`, `lines`, `side`, `reply` at line 1 column 8
    hint: expected [{"path": "src/a.rs", "lines": "3-7", "body": "why?"}, …]
    [exit 1]
    "#);
}

#[tokio::test]
async fn files_are_commented_on() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    for line in [
        "comments --branch topic",
        "comments --branch topic --unresolved",
        "comments --branch topic --path src/a.rs --json --unresolved",
        "comments",
        "comment --branch topic --path src/a.rs --body why?",
        "comment --branch topic --path src/a.rs --body why? --lines 3-7 --side old",
        "comment --branch topic --path gone --body why?",
        "comment --branch topic --path none --body why?",
        "comment --branch topic --path src/a.rs",
        "comment --branch topic --path src/a.rs --lines 7-3 --body why?",
        "comment --body why?",
    ] {
        me.types(line).await;
    }
    me.types(&format!("comment --branch topic --reply {FIRST} --body because")).await;
    me.types(&format!("comment --resolve {FIRST}")).await;
    me.types(&format!("comment --reopen {FIRST}")).await;
    me.types(&format!("comment --resolve {SECOND}")).await;
    me.types(&format!("comment --delete {FIRST}")).await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds comments --branch topic
    ID                                    PATH                                      SEQ   AUTHOR                BODY
    01900000-0000-7000-8000-000000000001  src/a.rs:3-7                              7     bob@example.com       why?  [resolved]
    01900000-0000-7000-8000-000000000002  src/a.rs                                  7     bob@example.com         why?
    01900000-0000-7000-8000-000000000003  b:2                                       7     bob@example.com       why?
      > GET /repos/default/default/-/branch/topic/comments?limit=1000
    $ ds comments --branch topic --unresolved
    ID                                    PATH                                      SEQ   AUTHOR                BODY
    01900000-0000-7000-8000-000000000003  b:2                                       7     bob@example.com       why?
      > GET /repos/default/default/-/branch/topic/comments?limit=1000
    $ ds comments --branch topic --path src/a.rs --json --unresolved
    [
      {
        "id": "01900000-0000-7000-8000-000000000003",
        "branch": "topic",
        "path": "b",
        "version_id": "01900000-0000-7000-8000-00000000000f",
        "body": "why?",
        "author": "bob@example.com",
        "sequence": 7,
        "created_at": "2026-06-01T00:00:00Z",
        "start_line": 2,
        "end_line": 2
      }
    ]
      > GET /repos/default/default/-/branch/topic/comments?path=src%2Fa.rs&limit=1000
    $ ds comments
    No comments for branch 'main'
      > GET /repos/default/default/-/branch/main/comments?limit=1000
    $ ds comment --branch topic --path src/a.rs --body why?
    Comment created: id=01900000-0000-7000-8000-000000000001, sequence=7
      > GET /repos/default/default/-/file/src/a.rs/history?branch=topic&limit=1
      > POST /repos/default/default/-/comment {"branch":"topic","path":"src/a.rs","version_id":"01900000-0000-7000-8000-00000000000f","body":"why?"}
    $ ds comment --branch topic --path src/a.rs --body why? --lines 3-7 --side old
    Comment created: id=01900000-0000-7000-8000-000000000001, sequence=7
      > GET /repos/default/default/-/branch/topic
      > GET /repos/default/default/-/file/src/a.rs/history?after=3&branch=main&limit=1
      > POST /repos/default/default/-/comment {"branch":"topic","path":"src/a.rs","version_id":"01900000-0000-7000-8000-00000000000f","body":"why?","start_line":3,"end_line":7,"side":"old"}
    $ ds comment --branch topic --path gone --body why?
    error: file "gone" was deleted on branch "topic"
    hint: comment on it as it was with --side old
    [exit 1]
      > GET /repos/default/default/-/file/gone/history?branch=topic&limit=1
    $ ds comment --branch topic --path none --body why?
    error: file "none" not found on branch "topic"
    [exit 1]
      > GET /repos/default/default/-/file/none/history?branch=topic&limit=1
    $ ds comment --branch topic --path src/a.rs
    error: there is no text
    hint: give it with --body, or in a file with -F
    [exit 2]
    $ ds comment --branch topic --path src/a.rs --lines 7-3 --body why?
    error: invalid value '7-3' for '--lines <N[-M]>': '7-3' are no lines: expected 3 or 3-7

    For more information, try '--help'.
    [exit 2]
    $ ds comment --body why?
    error: the following required arguments were not provided:
      <--path <PATH>|--reply <ID>|--resolve <ID>|--reopen <ID>|--delete <ID>>

    Usage: ds comment --body <TEXT> <--path <PATH>|--reply <ID>|--resolve <ID>|--reopen <ID>|--delete <ID>>

    For more information, try '--help'.
    [exit 2]
    $ ds comment --branch topic --reply 01900000-0000-7000-8000-000000000001 --body because
    Comment created: id=01900000-0000-7000-8000-000000000001, sequence=7
      > POST /repos/default/default/-/comment {"branch":"topic","path":"","version_id":"","body":"because","in_reply_to":"01900000-0000-7000-8000-000000000001"}
    $ ds comment --resolve 01900000-0000-7000-8000-000000000001
    Resolved the thread on 'src/a.rs' (id: 01900000-0000-7000-8000-000000000001)
      > PATCH /repos/default/default/-/comment/01900000-0000-7000-8000-000000000001 {"resolved":true}
    $ ds comment --reopen 01900000-0000-7000-8000-000000000001
    Reopened the thread on 'src/a.rs' (id: 01900000-0000-7000-8000-000000000001)
      > PATCH /repos/default/default/-/comment/01900000-0000-7000-8000-000000000001 {"resolved":false}
    $ ds comment --resolve 01900000-0000-7000-8000-000000000002
    error: comment 01900000-0000-7000-8000-000000000002 not found
    [exit 1]
      > PATCH /repos/default/default/-/comment/01900000-0000-7000-8000-000000000002 {"resolved":true}
    $ ds comment --delete 01900000-0000-7000-8000-000000000001
    Deleted comment 01900000-0000-7000-8000-000000000001
      > DELETE /repos/default/default/-/comment/01900000-0000-7000-8000-000000000001
    "#);
}

#[tokio::test]
async fn checks_are_reported_and_required() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    for line in [
        "checks --branch topic",
        "checks --branch topic --all",
        "checks --branch empty --json",
        "checks --branch empty",
        "check --branch topic --name lint --status failed --log-url https://logs.example/1 --sequence 7",
        "check --name lint --status not-applicable --reason unchanged",
        "check --name lint --status great",
        "retry --branch topic",
        "retry --branch topic --check lint --check test",
        "checks required",
        "checks require test",
        "checks require test --branches release/*",
        "checks release test --branches release/*",
    ] {
        me.types(line).await;
    }
    insta::assert_snapshot!(me.seen, @r#"
    $ ds checks --branch topic
    ID        CHECK NAME            SEQ   STATUS      REPORTER
    01900000  docs                  7     not needed  ci-job:1
              reason: no docs changed
    01900000  lint                  5     failed      ci-job:1  [stale]
              log: https://logs.example/1
    01900000  test                  7     expected    system
      > GET /repos/default/default/-/branch/topic/checks?limit=1000
      > GET /repos/default/default/-/branch/topic
    $ ds checks --branch topic --all
    ID        CHECK NAME            SEQ   STATUS      REPORTER
    01900000  docs                  7     not needed  ci-job:1
              reason: no docs changed
    01900000  lint                  5     failed      ci-job:1  [stale]
              log: https://logs.example/1
    01900000  test                  7     expected    system
      > GET /repos/default/default/-/branch/topic/checks?history=true&limit=1000
      > GET /repos/default/default/-/branch/topic
    $ ds checks --branch empty --json
    []
      > GET /repos/default/default/-/branch/empty/checks?limit=1000
    $ ds checks --branch empty
    No check runs for branch 'empty'
      > GET /repos/default/default/-/branch/empty/checks?limit=1000
    $ ds check --branch topic --name lint --status failed --log-url https://logs.example/1 --sequence 7
    Check run submitted: lint=failed (id: 01900000-0000-7000-8000-000000000001, sequence: 7)
      > POST /repos/default/default/-/check {"branch":"topic","check_name":"lint","status":"failed","log_url":"https://logs.example/1","sequence":7}
    $ ds check --name lint --status not-applicable --reason unchanged
    Check run submitted: lint=not-applicable (id: 01900000-0000-7000-8000-000000000001, sequence: 7)
      > POST /repos/default/default/-/check {"branch":"main","check_name":"lint","status":"not_applicable","reason":"unchanged"}
    $ ds check --name lint --status great
    error: status must be 'passed', 'failed' or 'pending'
    hint: or 'not-applicable'
    [exit 1]
    $ ds retry --branch topic
    Retrying all failed checks on branch 'topic' at sequence 7 (attempt 2)
      > GET /repos/default/default/-/branch/topic
      > POST /repos/default/default/-/checks/retry {"branch":"topic","sequence":7,"checks":null}
    $ ds retry --branch topic --check lint --check test
    Retrying checks [lint test] on branch 'topic' at sequence 7 (attempt 2)
      > GET /repos/default/default/-/branch/topic
      > POST /repos/default/default/-/checks/retry {"branch":"topic","sequence":7,"checks":["lint","test"]}
    $ ds checks required
    CHECK NAME            BRANCHES              REQUIRED BY
    test                  *                     me
      > GET /repos/default/default/-/required-checks
    $ ds checks require test
    Check 'test' is required on branches '*'
      > PUT /repos/default/default/-/required-checks {"check_name":"test"}
    $ ds checks require test --branches release/*
    Check 'test' is required on branches 'release/*'
      > PUT /repos/default/default/-/required-checks {"check_name":"test","branch_pattern":"release/*"}
    $ ds checks release test --branches release/*
    Check 'test' is no longer required on branches 'release/*'
      > DELETE /repos/default/default/-/required-checks?check_name=test&branch_pattern=release%2F*
    "#);
}
