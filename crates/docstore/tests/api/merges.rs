//! `/repos/{repo}/-/diff`, `/merge` and `/rebase`.

use docstore_test_support::{Person, TestApp};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, paths, text_file};

async fn events(app: &TestApp) -> Vec<String> {
    let query = sqlx::query_scalar("SELECT type FROM event_log ORDER BY id");
    query.fetch_all(&app.pool().await).await.unwrap()
}

async fn merge(who: &Person, name: &str) -> Value {
    who.post(&format!("{REPO}/merge"), &json!({"branch": name})).await.expect(200)
}

#[tokio::test]
async fn a_branch_is_compared_and_merged() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1")), ("b", Some("1")), ("gone", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("2")), ("gone", None)]).await;
    let typed = json!({"path": "pic", "content": "AAAA", "content_type": "image/png", "mode": "100755"});
    me.post(&format!("{REPO}/commit"), &json!({"branch": "topic", "message": "m", "files": [typed]})).await.expect(201);
    commit(&me, REPO, "main", &[("c", Some("1"))]).await;
    let mut told = Transcript::new();
    told.get(&me, &format!("{REPO}/diff?branch=topic")).await;
    told.say("a preview spends no number and leaves no event");
    let before = events(&app).await;
    for _ in 0..3 {
        told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "topic", "dry_run": true})).await;
    }
    assert_eq!(events(&app).await, before);
    told.say("only the head that was reviewed");
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "topic", "expected_head": 2})).await;
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "topic", "expected_head": 3, "author": "x@y"})).await;
    told.get(&me, &format!("{REPO}/commit/5")).await;
    told.get(&me, &format!("{REPO}/tree")).await;
    told.get(&me, &format!("{REPO}/branch/topic")).await;
    told.get(&me, &format!("{REPO}/diff?branch=main")).await;
    told.say("once is enough");
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.say("what cannot be");
    for body in
        [json!({}), json!({"branch": "main"}), json!({"branch": "none"}), json!({"branch": "none", "dry_run": true})]
    {
        told.post(&me, &format!("{REPO}/merge"), &body).await;
        told.post(&me, &format!("{REPO}/rebase"), &body).await;
    }
    told.say("nothing to merge: the head of main");
    branch(&me, REPO, "empty").await;
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "empty"})).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/diff?branch=topic
      200 {"branch_changes":[{"path":"a","version_id":"ID-1"},{"path":"gone","version_id":null},{"binary":true,"path":"pic","version_id":"ID-2"}],"main_changes":[{"path":"c","version_id":"ID-3"}]}
    # a preview spends no number and leaves no event
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      200 {"sequence":4}
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      200 {"sequence":4}
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      200 {"sequence":4}
    # only the head that was reviewed
    POST /repos/default/default/-/merge {"branch":"topic","expected_head":2}
      409 {"code":"HEAD_MOVED","error":"branch 'topic' has moved to 3; fetch it and try again","head_sequence":3}
    POST /repos/default/default/-/merge {"author":"x@y","branch":"topic","expected_head":3}
      200 {"sequence":5}
    GET /repos/default/default/-/commit/5
      200 {"author":"admin@example.com","branch":"main","commit_hash":"HASH-1","created_at":"TIME","files":[{"commit_id":"ID-4","content_hash":"HASH-2","path":"a","version_id":"ID-1"},{"commit_id":"ID-5","path":"gone","version_id":null},{"commit_id":"ID-6","content_hash":"HASH-3","mode":"100755","path":"pic","version_id":"ID-2"}],"message":"merge branch 'topic'","parent_sequence":4,"sequence":5}
    GET /repos/default/default/-/tree
      200 [{"content_hash":"HASH-2","path":"a","size":1,"version_id":"ID-1"},{"content_hash":"HASH-4","path":"b","size":1,"version_id":"ID-3"},{"content_hash":"HASH-4","path":"c","size":1,"version_id":"ID-3"},{"content_hash":"HASH-3","mode":"100755","path":"pic","size":3,"version_id":"ID-2"}]
    GET /repos/default/default/-/branch/topic
      200 {"auto_merge":false,"base_sequence":1,"draft":false,"head_sequence":3,"name":"topic","repo":"default/default","status":"merged"}
    GET /repos/default/default/-/diff?branch=main
      200 {"branch_changes":[{"path":"a","version_id":"ID-1"},{"path":"b","version_id":"ID-3"},{"path":"c","version_id":"ID-3"},{"path":"gone","version_id":null},{"binary":true,"path":"pic","version_id":"ID-2"}],"main_changes":[{"path":"a","version_id":"ID-1"},{"path":"b","version_id":"ID-3"},{"path":"c","version_id":"ID-3"},{"path":"gone","version_id":null},{"binary":true,"path":"pic","version_id":"ID-… (405 bytes)
    # once is enough
    POST /repos/default/default/-/merge {"branch":"topic"}
      409 {"code":"BRANCH_NOT_ACTIVE","error":"branch is not active","requirements":[{"kind":"status","what":"the branch is merged; only an active branch can be merged","who":[]}]}
    # what cannot be
    POST /repos/default/default/-/merge {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/rebase {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/merge {"branch":"main"}
      400 {"code":"BAD_REQUEST","error":"cannot merge main into itself"}
    POST /repos/default/default/-/rebase {"branch":"main"}
      400 {"code":"BAD_REQUEST","error":"cannot rebase main"}
    POST /repos/default/default/-/merge {"branch":"none"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/rebase {"branch":"none"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/merge {"branch":"none","dry_run":true}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/rebase {"branch":"none","dry_run":true}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    # nothing to merge: the head of main
    POST /repos/default/default/-/merge {"branch":"empty"}
      200 {"sequence":5}
    "#);
    let logged = events(&app).await;
    assert_eq!(logged.iter().filter(|name| *name == "com.docstore.branch.merged").count(), 2);
    assert_eq!(
        logged.iter().filter(|name| *name == "com.docstore.commit.created").count(),
        4,
        "merges are not commits"
    );
}

#[tokio::test]
async fn conflicts_are_what_both_sides_made_different() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("both", Some("0")), ("same", Some("0")), ("gone", Some("0")), ("half", Some("0"))])
        .await;
    branch(&me, REPO, "topic").await;
    let theirs = [
        ("both", Some("1")),
        ("same", Some("2")),
        ("gone", None),
        ("half", None),
        ("new", Some("1")),
        ("dir", Some("1")),
    ];
    commit(&me, REPO, "topic", &theirs).await;
    let ours = [
        ("both", Some("2")),
        ("same", Some("2")),
        ("gone", None),
        ("half", Some("1")),
        ("new", Some("2")),
        ("dir/x", Some("1")),
    ];
    commit(&me, REPO, "main", &ours).await;
    let mut told = Transcript::new();
    told.get(&me, &format!("{REPO}/diff?branch=topic")).await;
    for path in ["merge", "rebase"] {
        told.post(&me, &format!("{REPO}/{path}"), &json!({"branch": "topic"})).await;
    }
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "topic", "dry_run": true})).await;
    told.say("nothing was written");
    told.get(&me, &format!("{REPO}/branch/topic")).await;
    told.get(&me, &format!("{REPO}/branch/main")).await;
    told.say("the same change on both sides is none");
    branch(&me, REPO, "equal").await;
    commit(&me, REPO, "equal", &[("both", Some("3")), ("same", None)]).await;
    commit(&me, REPO, "main", &[("both", Some("3")), ("same", None)]).await;
    told.get(&me, &format!("{REPO}/diff?branch=equal")).await;
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "equal"})).await;
    told.say("a mode is a difference");
    for (name, mode) in [("mode", "100755"), ("main", "100644")] {
        if name != "main" {
            branch(&me, REPO, name).await;
        }
        let mut file = text_file("both", "4");
        file["mode"] = mode.into();
        me.post(&format!("{REPO}/commit"), &json!({"branch": name, "message": "m", "files": [file]})).await.expect(201);
    }
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "mode"})).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/diff?branch=topic
      200 {"branch_changes":[{"path":"both","version_id":"ID-1"},{"path":"dir","version_id":"ID-1"},{"path":"gone","version_id":null},{"path":"half","version_id":null},{"path":"new","version_id":"ID-1"},{"path":"same","version_id":"ID-2"}],"conflicts":[{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"both"},{"branch_version_id":"","main_version_id":"ID-1","path":"half"},{"branch_version_id":… (678 bytes)
    POST /repos/default/default/-/merge {"branch":"topic"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"both"},{"branch_version_id":"","main_version_id":"ID-1","path":"half"},{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"new"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout topic && ds rebase","kind":"conflict","what":"topic and main both changed: bo… (566 bytes)
    POST /repos/default/default/-/rebase {"branch":"topic"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"both"},{"branch_version_id":"","main_version_id":"ID-1","path":"half"},{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"new"}],"error":"the branch conflicts with main"}
    POST /repos/default/default/-/merge {"branch":"topic","dry_run":true}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"both"},{"branch_version_id":"","main_version_id":"ID-1","path":"half"},{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"new"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout topic && ds rebase","kind":"conflict","what":"topic and main both changed: bo… (566 bytes)
    # nothing was written
    GET /repos/default/default/-/branch/topic
      200 {"auto_merge":false,"base_sequence":1,"draft":false,"head_sequence":2,"name":"topic","repo":"default/default","status":"active"}
    GET /repos/default/default/-/branch/main
      200 {"auto_merge":false,"base_sequence":0,"draft":false,"head_sequence":3,"name":"main","repo":"default/default","status":"active"}
    # the same change on both sides is none
    GET /repos/default/default/-/diff?branch=equal
      200 {"branch_changes":[{"path":"both","version_id":"ID-3"},{"path":"same","version_id":null}],"main_changes":[{"path":"both","version_id":"ID-3"},{"path":"same","version_id":null}]}
    POST /repos/default/default/-/merge {"branch":"equal"}
      200 {"sequence":6}
    # a mode is a difference
    POST /repos/default/default/-/merge {"branch":"mode"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-4","main_version_id":"ID-4","path":"both"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout mode && ds rebase","kind":"conflict","what":"mode and main both changed: both","who":["role:maintainer"]}]}
    "#);
}

#[tokio::test]
async fn a_rebase_keeps_who_did_what() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.put(&format!("{REPO}/roles/writer@example.com"), &json!({"role": "writer"})).await.expect(200);
    let writer = app.person("writer@example.com");
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&writer, REPO, "topic", &[("t", Some("1"))]).await;
    commit(&writer, REPO, "topic", &[("t", Some("2")), ("u", Some("1"))]).await;
    let mut told = Transcript::new();
    told.say("again and again, each replays what was written since the last time");
    for n in 0..3 {
        commit(&me, REPO, "main", &[(&format!("m{n}"), Some("1"))]).await;
        told.post(&me, &format!("{REPO}/rebase"), &json!({"branch": "topic"})).await;
    }
    let log = me.get(&format!("{REPO}/commits?branch=topic&limit=3")).await.expect(200);
    let authors: Vec<(&str, &str)> = log["commits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["author"].as_str().unwrap(), one["message"].as_str().unwrap()))
        .collect();
    assert_eq!(
        authors,
        [
            ("writer@example.com", "change topic"),
            ("writer@example.com", "change topic"),
            ("admin@example.com", "change main")
        ]
    );
    told.get(&me, &format!("{REPO}/tree?branch=topic")).await;
    told.say("a draft is rebased as well, and an empty branch moves");
    me.patch(&format!("{REPO}/branch/topic"), &json!({"draft": true})).await.expect(200);
    told.post(&me, &format!("{REPO}/rebase"), &json!({"branch": "topic", "expected_head": 1})).await;
    told.post(&me, &format!("{REPO}/rebase"), &json!({"branch": "topic"})).await;
    branch(&me, REPO, "empty").await;
    commit(&me, REPO, "main", &[("z", Some("1"))]).await;
    told.post(&me, &format!("{REPO}/rebase"), &json!({"branch": "empty"})).await;
    assert!(paths(&me.get(&format!("{REPO}/tree?branch=empty")).await.expect(200)).contains(&"z"));
    insta::assert_snapshot!(told, @r#"
    # again and again, each replays what was written since the last time
    POST /repos/default/default/-/rebase {"branch":"topic"}
      200 {"base_sequence":4,"commits_replayed":2,"head_sequence":6}
    POST /repos/default/default/-/rebase {"branch":"topic"}
      200 {"base_sequence":7,"commits_replayed":2,"head_sequence":9}
    POST /repos/default/default/-/rebase {"branch":"topic"}
      200 {"base_sequence":10,"commits_replayed":2,"head_sequence":12}
    GET /repos/default/default/-/tree?branch=topic
      200 [{"content_hash":"HASH-1","path":"a","size":1,"version_id":"ID-1"},{"content_hash":"HASH-1","path":"m0","size":1,"version_id":"ID-1"},{"content_hash":"HASH-1","path":"m1","size":1,"version_id":"ID-1"},{"content_hash":"HASH-1","path":"m2","size":1,"version_id":"ID-1"},{"content_hash":"HASH-2","path":"t","size":1,"version_id":"ID-2"},{"content_hash":"HASH-1","path":"u","size":1,"version_id":"ID-… (404 bytes)
    # a draft is rebased as well, and an empty branch moves
    POST /repos/default/default/-/rebase {"branch":"topic","expected_head":1}
      409 {"code":"HEAD_MOVED","error":"branch 'topic' has moved to 12; fetch it and try again","head_sequence":12}
    POST /repos/default/default/-/rebase {"branch":"topic"}
      200 {"base_sequence":10,"commits_replayed":2,"head_sequence":14}
    POST /repos/default/default/-/rebase {"branch":"empty"}
      200 {"base_sequence":15,"commits_replayed":0,"head_sequence":15}
    "#);
}

#[tokio::test]
async fn conflicts_are_resolved_in_the_rebase() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("0")), ("b", Some("0"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]).await;
    let main = commit(&me, REPO, "main", &[("a", Some("2")), ("b", None)]).await;
    let rebase = format!("{REPO}/rebase");
    let mut told = Transcript::new();
    told.say("all conflicts need one");
    told.post(&me, &rebase, &json!({"branch": "topic", "resolutions": [text_file("a", "3")]})).await;
    told.say("against the main that was seen");
    let both = json!([text_file("a", "3"), {"path": "b"}]);
    told.post(&me, &rebase, &json!({"branch": "topic", "resolutions": both, "expected_main_head": main - 1})).await;
    told.say("bad ones");
    for resolutions in [json!([text_file("../a", "3")]), json!([text_file("a", "3"), text_file("a", "4")]), json!([{}])]
    {
        told.post(&me, &rebase, &json!({"branch": "topic", "resolutions": resolutions})).await;
    }
    told.say("good ones");
    told.post(&me, &rebase, &json!({"branch": "topic", "resolutions": both, "expected_main_head": main})).await;
    told.get(&me, &format!("{REPO}/commits?branch=topic&limit=2")).await;
    told.get(&me, &format!("{REPO}/diff?branch=topic")).await;
    merge(&me, "topic").await;
    told.get(&me, &format!("{REPO}/tree")).await;
    insta::assert_snapshot!(told, @r#"
    # all conflicts need one
    POST /repos/default/default/-/rebase {"branch":"topic","resolutions":[{"content":"Mw==","path":"a"}]}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-1","main_version_id":"","path":"b"}],"error":"the branch conflicts with main"}
    # against the main that was seen
    POST /repos/default/default/-/rebase {"branch":"topic","expected_main_head":2,"resolutions":[{"content":"Mw==","path":"a"},{"path":"b"}]}
      409 {"code":"HEAD_MOVED","error":"branch 'main' has moved to 3; fetch it and try again","head_sequence":3}
    # bad ones
    POST /repos/default/default/-/rebase {"branch":"topic","resolutions":[{"content":"Mw==","path":"../a"}]}
      400 {"code":"BAD_REQUEST","error":"file path '../a' has the segment '..'"}
    POST /repos/default/default/-/rebase {"branch":"topic","resolutions":[{"content":"Mw==","path":"a"},{"content":"NA==","path":"a"}]}
      400 {"code":"BAD_REQUEST","error":"file path 'a' is given twice"}
    POST /repos/default/default/-/rebase {"branch":"topic","resolutions":[{}]}
      400 {"code":"BAD_REQUEST","error":"file path is required"}
    # good ones
    POST /repos/default/default/-/rebase {"branch":"topic","expected_main_head":3,"resolutions":[{"content":"Mw==","path":"a"},{"path":"b"}]}
      200 {"base_sequence":3,"commits_replayed":1,"head_sequence":5}
    GET /repos/default/default/-/commits?branch=topic&limit=2
      200 {"commits":[{"author":"admin@example.com","branch":"topic","commit_hash":"HASH-1","created_at":"TIME","file_count":2,"message":"resolve conflicts with main","sequence":5},{"author":"admin@example.com","branch":"topic","commit_hash":"HASH-2","created_at":"TIME","file_count":3,"message":"change topic","sequence":4}],"next_before":4}
    GET /repos/default/default/-/diff?branch=topic
      200 {"branch_changes":[{"path":"a","version_id":"ID-2"},{"path":"b","version_id":null},{"path":"c","version_id":"ID-1"}],"main_changes":[]}
    GET /repos/default/default/-/tree
      200 [{"content_hash":"HASH-3","path":"a","size":1,"version_id":"ID-2"},{"content_hash":"HASH-4","path":"c","size":1,"version_id":"ID-1"}]
    "#);
    assert_eq!(me.get(&format!("{REPO}/file/a?format=raw")).await.text, "3");
}

#[tokio::test]
async fn of_two_that_race_one_wins_and_the_other_is_told() {
    let app = TestApp::start().await;
    let me = app.admin();
    let head = commit(&me, REPO, "main", &[("a", Some("0"))]).await;
    let path = format!("{REPO}/commit");
    let bodies: Vec<Value> = (0..8)
        .map(|n| json!({"branch": "main", "message": format!("{n}"), "files": [text_file("a", &n.to_string())], "expected_head": head}))
        .collect();
    let answers = join_all(bodies.iter().map(|body| me.post(&path, body))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        let told = answer.expect(409);
        assert_eq!((&told["code"], &told["head_sequence"]), (&"HEAD_MOVED".into(), &won[0].json()["sequence"]));
    }
    // A merge, a rebase and commits to both sides at once: whatever order they take, the chains are whole.
    for round in 0..4 {
        let name = format!("topic{round}");
        branch(&me, REPO, &name).await;
        commit(&me, REPO, &name, &[(&format!("t{round}"), Some("1"))]).await;
        let on_branch = json!({"branch": name, "message": "late", "files": [text_file(&format!("late{round}"), "1")]});
        let on_main = json!({"branch": "main", "message": "m", "files": [text_file(&format!("m{round}"), "1")]});
        let body = json!({"branch": name});
        let (merge_path, rebase_path) = (format!("{REPO}/merge"), format!("{REPO}/rebase"));
        let (merged, rebased, late, main) = tokio::join!(
            me.post(&merge_path, &body),
            me.post(&rebase_path, &body),
            me.post(&path, &on_branch),
            me.post(&path, &on_main),
        );
        merged.expect(200);
        main.expect(201);
        for answer in [&rebased, &late] {
            let refused = answer.status == 409 && answer.json()["code"] == "BRANCH_NOT_ACTIVE";
            assert!(answer.status.is_success() || refused, "{}", answer.text);
        }
        let tree = me.get(&format!("{REPO}/tree")).await.expect(200);
        let has = |path: String| paths(&tree).contains(&path.as_str());
        assert!(has(format!("t{round}")) && has(format!("m{round}")));
        // What was committed before the merge is merged, what came behind it was refused.
        assert_eq!(has(format!("late{round}")), late.status == 201, "{}", late.text);
    }
    let log = me.get(&format!("{REPO}/commits?limit=1000")).await.expect(200);
    let numbers: Vec<i64> =
        log["commits"].as_array().unwrap().iter().map(|one| one["sequence"].as_i64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|newer, older| newer > older), "{numbers:?}");
}
