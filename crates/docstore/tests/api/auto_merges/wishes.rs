//! Who asks, for what, and what ends it.

use serde_json::json;

use super::{branch_now, enable, events, give, start, until_looked_at, until_merged, until_told};
use crate::support::{REPO, branch, commit, text_file};

#[tokio::test]
async fn what_is_green_when_it_is_asked_for_merges() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    until_merged(&maintainer, "topic").await;
    let head = maintainer.get(&format!("{REPO}/branch/main")).await.json()["head_sequence"].clone();
    let merge = maintainer.get(&format!("{REPO}/commit/{head}")).await.json();
    assert_eq!((&merge["author"], &merge["message"]), (&json!("auto-merge"), &json!("merge branch 'topic'")));
    assert_eq!(
        events(&app, "branch.merged").await,
        [json!({"repo": "default/default", "branch": "topic", "sequence": head, "merged_by": "auto-merge",
            "on_behalf_of": "maintainer@example.com", "branch_status": {"mergeable": true, "auto_merge": true,
                "policies": [{"name": "ready", "pass": true, "reason": "", "file": ".docstore/policy/ready.rego"}]}})]
    );
    let verdicts = maintainer.get(&format!("{REPO}/policies/verdicts?branch=topic")).await.json();
    assert_eq!(verdicts["verdicts"][0]["actor"], "auto-merge");
    assert_eq!(verdicts["verdicts"][0]["on_behalf_of"], "maintainer@example.com");
}

#[tokio::test]
async fn a_conflict_ends_the_wish() {
    let (app, admin, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("a", Some("2"))]).await;
    let body = json!({"branch": "main", "message": "m", "files": [text_file("a", "3")], "override": "conflict"});
    admin.post(&format!("{REPO}/commit"), &body).await.expect(201);
    enable(&maintainer, "topic").await;
    until_told(&maintainer, "branch.automerge.failed", "topic").await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], false);
    assert_eq!(
        events(&app, "branch.automerge.failed").await,
        [json!({"repo": "default/default", "branch": "topic", "reason": "merge conflict"})]
    );
}

#[tokio::test]
async fn whoever_takes_the_wish_back_in_time_is_heard() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    until_looked_at(&app).await;
    maintainer.delete(&format!("{REPO}/branch/topic/auto-merge")).await.expect(204);
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "topic").await["status"], "active");
}

#[tokio::test]
async fn what_somebody_adds_who_may_not_merge_ends_the_wish_of_another() {
    let (app, _, maintainer) = start().await;
    let writer = give(&app, "writer@example.com", "writer").await;
    branch(&maintainer, REPO, "topic").await;
    commit(&writer, REPO, "topic", &[("b", Some("1"))]).await;
    enable(&maintainer, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("2"))]).await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], true, "whoever may merge knows what they do");
    let body = json!({"name": "helper", "actions": ["read", "contents"]});
    let made = maintainer.post("/agents", &body).await.expect(201);
    let helper = maintainer.with_token(made["secret"].as_str().unwrap());
    // A branch each: what makes it ready would merge it as soon as somebody wishes it again.
    for (who, name, topic) in
        [(&writer, "writer@example.com", "of-writer"), (&helper, "agent:helper/maintainer@example.com", "of-agent")]
    {
        branch(&maintainer, REPO, topic).await;
        commit(&maintainer, REPO, topic, &[(topic, Some("1"))]).await;
        enable(&maintainer, topic).await;
        commit(who, REPO, topic, &[("ready", Some(name))]).await;
        assert_eq!(branch_now(&maintainer, topic).await["auto_merge"], false);
        let told = events(&app, "branch.automerge.failed").await;
        assert_eq!(told.last().unwrap()["reason"], format!("changed by {name}, who may not merge"));
    }
    // Their own wish is about what they do themselves.
    branch(&maintainer, REPO, "of-themselves").await;
    commit(&writer, REPO, "of-themselves", &[("c", Some("1"))]).await;
    enable(&writer, "of-themselves").await;
    commit(&writer, REPO, "of-themselves", &[("c", Some("2"))]).await;
    assert_eq!(branch_now(&maintainer, "of-themselves").await["auto_merge"], true);
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "of-themselves").await["status"], "active");
}

#[tokio::test]
async fn the_wish_of_an_agent_ends_with_it() {
    let (app, _, maintainer) = start().await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("b", Some("1"))]).await;
    let body = json!({"name": "merger", "actions": ["read", "merge"]});
    let made = maintainer.post("/agents", &body).await.expect(201);
    let merger = maintainer.with_token(made["secret"].as_str().unwrap());
    enable(&merger, "topic").await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], true);
    maintainer.delete(&format!("/agents/{}", made["agent"]["id"].as_str().unwrap())).await.expect(204);
    // Another one of the name did not ask for it.
    maintainer.post("/agents", &body).await.expect(201);
    until_told(&maintainer, "branch.automerge.failed", "topic").await;
    assert_eq!(branch_now(&maintainer, "topic").await["auto_merge"], false);
    commit(&maintainer, REPO, "topic", &[("ready", Some("1"))]).await;
    until_looked_at(&app).await;
    assert_eq!(branch_now(&maintainer, "topic").await["status"], "active");
    assert_eq!(
        events(&app, "branch.automerge.failed").await,
        [
            json!({"repo": "default/default", "branch": "topic", "reason": "agent:merger/maintainer@example.com has ended"})
        ]
    );
}
