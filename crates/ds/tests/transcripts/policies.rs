//! `ds why`, `ds policy` and what a denied merge says.

use serde_json::{Value, json};

use crate::support::Terminal;

const FIRST: &str = "01900000-0000-7000-8000-000000000001";
const JUNE: &str = "2026-06-01T00:00:00Z";

fn answer(method: &str, path: &str, _text: &str) -> (u16, Value) {
    let failing = json!({"name": "review", "pass": false, "reason": "nobody else has approved this change"});
    match (method, path.strip_prefix("/repos/default/default/-/").unwrap_or(path)) {
        ("GET", "branch/topic/why") => (
            200,
            json!({"branch": "topic", "head_sequence": 7, "mergeable": false, "requirements": [
                {"kind": "draft", "what": "the branch is a draft; somebody must say that it is ready",
                    "who": ["role:writer"], "command": "ds ready topic"},
                {"kind": "review", "what": "an owner of src/a must approve", "who": ["bob@example.com", "eve@example.com"],
                    "command": "ds review --status approved --branch topic", "policy": "owners"},
                {"kind": "policy", "what": "not on a Friday", "who": [], "policy": "friday"}],
                "policies": [failing, {"name": "tried", "pass": false, "reason": "soon", "shadow": true}]}),
        ),
        ("GET", "branch/good/why") => (
            200,
            json!({"branch": "good", "head_sequence": 8, "mergeable": true, "requirements": [], "policies": [],
                "automatic": {"id": FIRST, "action": "merge", "branch": "good", "actor": "auto-merge",
                    "on_behalf_of": "me", "outcome": "denied", "head_sequence": 8, "created_at": JUNE,
                    "policies": [{"name": "people", "pass": false, "reason": "somebody with a role must do it"},
                        {"name": "other", "pass": true}]}}),
        ),
        ("GET", "policies/verdicts") => (
            200,
            json!({"verdicts": [{"id": FIRST, "action": "merge", "branch": "topic", "actor": "me", "outcome": "denied",
                "head_sequence": 7, "policies": [failing], "created_at": JUNE}]}),
        ),
        ("POST", "policies/replay") => (
            200,
            json!({"replayed": 2, "skipped": 3, "refused": 1, "allowed": 0, "changed": [{"id": FIRST, "action": "merge",
                "branch": "topic", "actor": "me", "was": "allowed", "would_pass": false, "policies": [failing],
                "created_at": JUNE}]}),
        ),
        _ => (404, json!({"code": "NOT_FOUND", "error": "not found"})),
    }
}

#[tokio::test]
async fn it_is_told_why_a_branch_cannot_be_merged() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    for line in ["why topic", "why good", "why good --json", "why", "why none"] {
        me.types(line).await;
    }
    insta::assert_snapshot!(me.seen, @r#"
    $ ds why topic
    What is missing:
      - the branch is a draft; somebody must say that it is ready
        who: anyone with the role writer
        run: ds ready topic
      - an owner of src/a must approve
        who: bob@example.com, eve@example.com
        run: ds review --status approved --branch topic
      - not on a Friday
    Would be denied by policies that are only tried out:
      tried: soon
    error: 'topic' cannot be merged yet
    [exit 6]
      > GET /repos/default/default/-/branch/topic/why
    $ ds why good
    Nothing stands between 'good' and main
    It does not merge by itself, as these policies deny that:
      people: somebody with a role must do it
      > GET /repos/default/default/-/branch/good/why
    $ ds why good --json
    {
      "branch": "good",
      "head_sequence": 8,
      "mergeable": true,
      "requirements": [],
      "policies": [],
      "automatic": {
        "id": "01900000-0000-7000-8000-000000000001",
        "action": "merge",
        "branch": "good",
        "actor": "auto-merge",
        "on_behalf_of": "me",
        "outcome": "denied",
        "head_sequence": 8,
        "policies": [
          {
            "name": "people",
            "pass": false,
            "reason": "somebody with a role must do it"
          },
          {
            "name": "other",
            "pass": true,
            "reason": ""
          }
        ],
        "created_at": "2026-06-01T00:00:00Z"
      }
    }
      > GET /repos/default/default/-/branch/good/why
    $ ds why
    error: no branch checked out (or on main)
    [exit 1]
    $ ds why none
    error: server error: not found
    [exit 1]
      > GET /repos/default/default/-/branch/none/why
    "#);
}

#[tokio::test]
async fn policies_are_started_tested_and_tried() {
    let mut me = Terminal::new(answer).await.in_workspace().await;
    me.types("policy test").await;
    me.types("policy init").await;
    me.types("policy init").await;
    me.types("policy test").await;
    me.person().write(".docstore/policy/bad.rego", "package docstore.bad\n\nallow if nobody\n");
    me.person().write(".docstore/policy/never.rego", "package docstore.never\n\nallow := false\n");
    let cases = r#"{"cases": [{"name": "always", "input": {}, "allow": true}]}"#;
    me.person().write(".docstore/policy/never.cases.json", cases);
    me.types("policy test").await;
    me.types("policy test .docstore/policy/review.rego").await;
    me.person().write(".docstore/policy/small.rego", "package docstore.small\nallow := true\n");
    me.types("policy replay .docstore/policy/small.rego --last 2").await;
    me.types("policy verdicts --limit 1 --outcome denied").await;
    insta::assert_snapshot!(me.seen, @r#"
    $ ds policy test
    error: there are no policies in .docstore/policy/
    hint: `ds policy init` writes a set to start with
    [exit 1]
    $ ds policy init
    .docstore/policy/review.rego
    .docstore/policy/review.cases.json
    .docstore/policy/owners.rego
    .docstore/policy/owners.cases.json
    .docstore/policy/checks.rego
    .docstore/policy/checks.cases.json
    Test them with `ds policy test`, then commit them to main
    $ ds policy init
    error: already there: .docstore/policy/review.rego, .docstore/policy/review.cases.json, .docstore/policy/owners.rego, .docstore/policy/owners.cases.json, .docstore/policy/checks.rego, .docstore/policy/checks.cases.json
    hint: --force replaces them
    [exit 1]
    $ ds policy test
    18 passed
    $ ds policy test
    .docstore/policy/bad.rego:3: use of undefined variable `nobody` is unsafe
    .docstore/policy/never.cases.json: always: should be allowed, and is denied: policy denied
    error: 2 failed, 18 passed
    [exit 6]
    $ ds policy test .docstore/policy/review.rego
    9 passed
    $ ds policy replay .docstore/policy/small.rego --last 2
    2026-06-01 merge of topic by me: allowed, would be denied
      review: nobody else has approved this change
    Of 2 decisions 1 that went ahead would be denied, 0 that were denied would be allowed
    Passed over 3, whose documents are not kept
      > POST /repos/default/default/-/policies/replay {"policies":[{"file":".docstore/policy/small.rego","source":"package docstore.small\nallow := true\n"}],"limit":2}
    $ ds policy verdicts --limit 1 --outcome denied
    WHEN              ACTION  BRANCH                ACTOR                     OUTCOME     WHY
    2026-06-01 00:00  merge   topic                 me                        denied      review: nobody else has approved this change
      > GET /repos/default/default/-/policies/verdicts?outcome=denied&limit=1
    "#);
}

#[tokio::test]
async fn the_commands_on_the_page_are_there() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies.md");
    let page = std::fs::read_to_string(page).unwrap();
    let commands = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let mut me = Terminal::new(answer).await;
    for line in commands.lines() {
        let command = line.split('#').next().unwrap().trim().strip_prefix("ds ").unwrap();
        me.types(&format!("{command} --help")).await;
        let usage = format!("Usage: ds {command}");
        assert!(me.seen.contains(&usage), "{usage} is not in {}", me.seen);
    }
}
