//! The starter set.

use serde_json::{Value, json};

use super::{give, start};
use crate::support::{REPO, branch, commit, text_file};

#[tokio::test]
async fn the_starter_set_wants_a_second_person_and_a_pure_rebase_costs_nothing() {
    let (app, admin) = start().await;
    let author = give(&app, "author@example.com", "maintainer").await;
    let reviewer = give(&app, "reviewer@example.com", "writer").await;
    commit(&admin, REPO, "main", &[("OWNERS", Some("reviewer@example.com"))]).await;
    let files: Vec<Value> = docstore_policy::STARTER.iter().map(|file| text_file(file.path, file.text)).collect();
    let body = json!({"branch": "main", "message": "policies", "files": files});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    branch(&author, REPO, "topic").await;
    commit(&author, REPO, "topic", &[("a", Some("1"))]).await;
    let check = |status: &str| json!({"branch": "topic", "check_name": "test", "status": status});
    author.post(&format!("{REPO}/check"), &check("failed")).await.expect(201);
    let failing = async || {
        let status = author.get(&format!("{REPO}/branch/topic/status")).await.json();
        let policies = status["policies"].as_array().unwrap();
        let failing = policies.iter().filter(|policy| policy["pass"] == false);
        failing.map(|policy| format!("{}: {}", policy["name"], policy["reason"])).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        failing().await,
        r#""checks": "failed: test" "owners": "owners have not approved: a" "review": "nobody else has approved this change""#
    );
    let why = author.get(&format!("{REPO}/branch/topic/why")).await.json();
    insta::assert_json_snapshot!(why["requirements"], @r#"
    [
      {
        "command": "ds retry --branch topic --check test",
        "kind": "check",
        "policy": "checks",
        "what": "check test failed",
        "who": [
          "role:writer"
        ]
      },
      {
        "command": "ds review --status approved --branch topic",
        "kind": "review",
        "policy": "owners",
        "what": "an owner of a must approve",
        "who": [
          "reviewer@example.com"
        ]
      },
      {
        "command": "ds review --status approved --branch topic",
        "kind": "review",
        "policy": "review",
        "what": "a person who had no hand in the change must approve it",
        "who": [
          "role:writer"
        ]
      }
    ]
    "#);
    author.post(&format!("{REPO}/check"), &check("passed")).await.expect(201);
    let review = |status: &str| json!({"branch": "topic", "status": status});
    reviewer.post(&format!("{REPO}/review"), &review("rejected")).await.expect(201);
    assert_eq!(
        failing().await,
        r#""owners": "owners have not approved: a" "review": "rejected by reviewer@example.com""#
    );
    reviewer.post(&format!("{REPO}/review"), &review("approved")).await.expect(201);
    assert_eq!(failing().await, "");
    // Somebody else's change on main, and a rebase: the same change, so the approval still holds.
    let other = json!({"branch": "main", "message": "m", "override": "unrelated", "files": [text_file("b", "1")]});
    admin.post(&format!("{REPO}/commit"), &other).await.expect(201);
    author.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    assert_eq!(failing().await, "");
    // A hidden change always costs it.
    commit(&author, REPO, "topic", &[("a", Some("2"))]).await;
    assert_eq!(
        failing().await,
        r#""owners": "owners have not approved: a" "review": "the approval by reviewer@example.com is of an earlier change""#
    );
    reviewer.post(&format!("{REPO}/review"), &review("approved")).await.expect(201);
    author.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
}
