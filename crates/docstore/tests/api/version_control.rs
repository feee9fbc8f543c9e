//! Version control through the API, from the first commit to the merge.

use docstore_test_support::TestApp;
use serde_json::json;

const REPO: &str = "/repos/default/default/-";

#[tokio::test]
async fn a_commit_is_read_back_and_merged() {
    let app = TestApp::start().await;
    let me = app.admin();
    let committed = me
        .post(
            &format!("{REPO}/commit"),
            &json!({"branch": "main", "message": "first", "files": [{"path": "a/b.txt", "content": "aGVsbG8="}]}),
        )
        .await
        .expect(201);
    assert_eq!(committed["sequence"], 1);
    me.post(&format!("{REPO}/branch"), &json!({"name": "feature/x"})).await.expect(201);
    me.post(
        &format!("{REPO}/commit"),
        &json!({"branch": "feature/x", "message": "second", "files": [{"path": "c.txt", "content": ""}]}),
    )
    .await
    .expect(201);
    let merged = me.post(&format!("{REPO}/merge"), &json!({"branch": "feature/x"})).await.expect(200);
    let tree = me.get(&format!("{REPO}/tree")).await.expect(200);
    let paths: Vec<&str> = tree.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["a/b.txt", "c.txt"]);
    let log = me.get(&format!("{REPO}/commits")).await.expect(200);
    assert_eq!(log["commits"][0]["sequence"], merged["sequence"]);
    assert_eq!(log["commits"][0]["message"], "merge branch 'feature/x'");
}
