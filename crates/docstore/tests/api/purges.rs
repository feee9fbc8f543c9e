//! `/repos/{repo}/-/purge`.

use docstore_test_support::TestApp;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit};

#[tokio::test]
async fn what_ended_long_ago_is_deleted_and_what_is_needed_stays() {
    let app = TestApp::start().await;
    let me = app.admin();
    let pool = app.pool().await;
    let large = "x".repeat(10_000);
    commit(&me, REPO, "main", &[("a", Some("shared")), ("big", Some(&large))]).await;
    branch(&me, REPO, "merged").await;
    commit(&me, REPO, "merged", &[("m", Some("of merged")), ("s", Some("shared"))]).await;
    me.post(&format!("{REPO}/merge"), &json!({"branch": "merged"})).await.expect(200);
    branch(&me, REPO, "abandoned").await;
    let own = "y".repeat(10_000);
    commit(&me, REPO, "abandoned", &[("own", Some(&own)), ("s2", Some("shared"))]).await;
    me.delete(&format!("{REPO}/branch/abandoned")).await.expect(204);
    branch(&me, REPO, "active").await;
    commit(&me, REPO, "active", &[("kept", Some("of active"))]).await;

    let purge = format!("{REPO}/purge");
    let mut told = Transcript::new();
    told.say("nothing is old enough");
    told.post(&me, &purge, &json!({"older_than": "1d"})).await;
    for table in ["commits", "branches"] {
        let age = format!("UPDATE {table} SET created_at = created_at - interval '3 days'");
        sqlx::query(sqlx::AssertSqlSafe(age)).execute(&pool).await.unwrap();
    }
    told.say("a preview counts and changes nothing");
    told.post(&me, &purge, &json!({"older_than": "2d", "dry_run": true})).await;
    told.post(&me, &purge, &json!({"older_than": "2d", "dry_run": true})).await;
    told.post(&me, &purge, &json!({"older_than": "4d"})).await;
    told.say("for good");
    told.post(&me, &purge, &json!({"older_than": "2d"})).await;
    told.post(&me, &purge, &json!({"older_than": "2d"})).await;
    told.get(&me, &format!("{REPO}/branches")).await;
    told.get(&me, &format!("{REPO}/tree?branch=abandoned")).await;
    told.say("the names are free");
    told.post(&me, &format!("{REPO}/branch"), &json!({"name": "abandoned"})).await;
    told.get(&me, &format!("{REPO}/tree?branch=abandoned")).await;
    told.say("what main and others have is all there");
    for path in ["file/m", "file/s", "file/a", "file/kept?branch=active"] {
        told.get(&me, &format!("{REPO}/{path}")).await;
    }
    assert_eq!(me.get(&format!("{REPO}/file/big?format=raw")).await.text, large);
    told.say("what cannot be");
    for older_than in ["", "7", "720h", "0d", "-1d", "1.5d", "d", "99999999999d", "7 d", "٣d"] {
        told.post(&me, &purge, &json!({"older_than": older_than})).await;
    }
    told.post(&me, &purge, &Value::Null).await;
    insta::assert_snapshot!(told, @r#"
    # nothing is old enough
    POST /repos/default/default/-/purge {"older_than":"1d"}
      200 {"branches_purged":0,"check_runs_deleted":0,"commits_deleted":0,"documents_deleted":0,"file_commits_deleted":0,"reviews_deleted":0}
    # a preview counts and changes nothing
    POST /repos/default/default/-/purge {"dry_run":true,"older_than":"2d"}
      200 {"branches_purged":2,"check_runs_deleted":0,"commits_deleted":2,"documents_deleted":1,"file_commits_deleted":4,"reviews_deleted":0}
    POST /repos/default/default/-/purge {"dry_run":true,"older_than":"2d"}
      200 {"branches_purged":2,"check_runs_deleted":0,"commits_deleted":2,"documents_deleted":1,"file_commits_deleted":4,"reviews_deleted":0}
    POST /repos/default/default/-/purge {"older_than":"4d"}
      200 {"branches_purged":0,"check_runs_deleted":0,"commits_deleted":0,"documents_deleted":0,"file_commits_deleted":0,"reviews_deleted":0}
    # for good
    POST /repos/default/default/-/purge {"older_than":"2d"}
      200 {"branches_purged":2,"check_runs_deleted":0,"commits_deleted":2,"documents_deleted":1,"file_commits_deleted":4,"reviews_deleted":0}
    POST /repos/default/default/-/purge {"older_than":"2d"}
      200 {"branches_purged":0,"check_runs_deleted":0,"commits_deleted":0,"documents_deleted":0,"file_commits_deleted":0,"reviews_deleted":0}
    GET /repos/default/default/-/branches
      200 [{"auto_merge":false,"base_sequence":3,"draft":false,"head_sequence":5,"name":"active","repo":"default/default","status":"active"},{"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":3,"name":"main","repo":"default/default","status":"active"}]
    GET /repos/default/default/-/tree?branch=abandoned
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    # the names are free
    POST /repos/default/default/-/branch {"name":"abandoned"}
      201 {"base_sequence":3,"name":"abandoned"}
    GET /repos/default/default/-/tree?branch=abandoned
      200 [{"content_hash":"HASH-1","path":"a","size":6,"version_id":"ID-1"},{"content_hash":"HASH-2","path":"big","size":10000,"version_id":"ID-2"},{"content_hash":"HASH-3","path":"m","size":9,"version_id":"ID-3"},{"content_hash":"HASH-1","path":"s","size":6,"version_id":"ID-1"}]
    # what main and others have is all there
    GET /repos/default/default/-/file/m
      200 {"content":"b2YgbWVyZ2Vk","content_hash":"HASH-3","path":"m","version_id":"ID-3"}
    GET /repos/default/default/-/file/s
      200 {"content":"c2hhcmVk","content_hash":"HASH-1","path":"s","version_id":"ID-1"}
    GET /repos/default/default/-/file/a
      200 {"content":"c2hhcmVk","content_hash":"HASH-1","path":"a","version_id":"ID-1"}
    GET /repos/default/default/-/file/kept?branch=active
      200 {"content":"b2YgYWN0aXZl","content_hash":"HASH-4","path":"kept","version_id":"ID-4"}
    # what cannot be
    POST /repos/default/default/-/purge {"older_than":""}
      400 {"code":"BAD_REQUEST","error":"older_than is required"}
    POST /repos/default/default/-/purge {"older_than":"7"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"7\": must be of the form \"Nd\" (e.g. \"7d\")"}
    POST /repos/default/default/-/purge {"older_than":"720h"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"720h\": must be of the form \"Nd\" (e.g. \"7d\")"}
    POST /repos/default/default/-/purge {"older_than":"0d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"0d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge {"older_than":"-1d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"-1d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge {"older_than":"1.5d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"1.5d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge {"older_than":"d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge {"older_than":"99999999999d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"99999999999d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge {"older_than":"7 d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"7 d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge {"older_than":"٣d"}
      400 {"code":"BAD_REQUEST","error":"invalid duration \"٣d\": must be a positive integer followed by 'd'"}
    POST /repos/default/default/-/purge
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    "#);
}
