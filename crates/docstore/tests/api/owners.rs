//! OWNERS files that cannot be read, and how much of OWNERS files and policies there may be.

use docstore_test_support::{Person, TestApp};
use serde_json::{Value, json};

use crate::{
    limits::{counts, grew},
    support::{REPO, Transcript, branch, commit, grant, text_file},
};

const ALWAYS: &str = "package docstore.always\n\nallow := true\n";

async fn start() -> (TestApp, Person, Person) {
    docstore_service::telemetry::install_metrics("docstore").unwrap();
    let app = TestApp::start().await;
    let admin = app.admin();
    let me = admin.get("/whoami").await.json()["identity"].as_str().unwrap().to_owned();
    grant(&admin, &me, "admin").await;
    grant(&admin, "maintainer@example.com", "maintainer").await;
    let maintainer = app.person("maintainer@example.com");
    (app, admin, maintainer)
}

/// What an older server may have let in.
async fn change_content(app: &TestApp, path: &str, change: &str) {
    let changed = sqlx::query(sqlx::AssertSqlSafe(format!(
        "UPDATE {change} IN (SELECT content_id FROM file_changes WHERE path LIKE '{path}')"
    )));
    assert!(changed.execute(&app.pool().await).await.unwrap().rows_affected() > 0);
}

#[tokio::test]
async fn an_owners_file_that_cannot_be_read_does_not_reach_main() {
    let (_app, admin, maintainer) = start().await;
    let unreadable = json!({"path": "src/OWNERS", "content": "YQpi/w=="});
    let to = |branch: &str, file: Value| json!({"branch": branch, "message": "m", "files": [file]});
    let mut told = Transcript::new();
    told.post(&admin, &format!("{REPO}/commit"), &to("main", unreadable.clone())).await;
    let long = text_file("OWNERS", &"# long\n".repeat(40_000));
    let refused = admin.post(&format!("{REPO}/commit"), &to("main", long)).await.expect(409);
    assert_eq!(refused["error"], "OWNERS: it has more than 262144 bytes");
    let imported = json!({"author": "a@example.com", "message": "m", "imported_from": "git:1", "files": [unreadable]});
    told.post(&admin, &format!("{REPO}/import"), &json!({"branch": "main", "commits": [imported]})).await;
    branch(&maintainer, REPO, "topic").await;
    told.post(&maintainer, &format!("{REPO}/commit"), &to("topic", unreadable)).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.say("another file may hold what it wants");
    let other = json!({"path": "src/CODEOWNERS", "content": "/w=="});
    told.post(&admin, &format!("{REPO}/commit"), &to("main", other)).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"YQpi/w==","path":"src/OWNERS"}],"message":"m"}
      409 {"code":"POLICY_INVALID","error":"src/OWNERS:2: it is not text in UTF-8"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"a@example.com","files":[{"content":"YQpi/w==","path":"src/OWNERS"}],"imported_from":"git:1","message":"m"}]}
      409 {"code":"POLICY_INVALID","error":"src/OWNERS:2: it is not text in UTF-8"}
    POST /repos/default/default/-/commit {"branch":"topic","files":[{"content":"YQpi/w==","path":"src/OWNERS"}],"message":"m"}
      201 {"commit_hash":"HASH-1","files":[{"path":"src/OWNERS","version_id":"ID-1"}],"sequence":3}
    POST /repos/default/default/-/merge {"branch":"topic"}
      409 {"code":"POLICY_INVALID","error":"src/OWNERS:2: it is not text in UTF-8","requirements":[{"kind":"policy","what":"the branch brings what cannot be used on main: src/OWNERS:2: it is not text in UTF-8","who":["role:writer"]}]}
    # another file may hold what it wants
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"/w==","path":"src/CODEOWNERS"}],"message":"m"}
      201 {"commit_hash":"HASH-2","files":[{"path":"src/CODEOWNERS","version_id":"ID-2"}],"sequence":4}
    "#);
}

#[tokio::test]
async fn an_owners_file_that_cannot_be_read_refuses_until_it_is_replaced() {
    let (app, admin, maintainer) = start().await;
    commit(&admin, REPO, "main", &[("src/OWNERS", Some("a@example.com\nb"))]).await;
    commit(&admin, REPO, "main", &[(".docstore/policy/always.rego", Some(ALWAYS))]).await;
    let bytes = "'a\\012\\377'::bytea";
    change_content(&app, "src/OWNERS", &format!("content_bytes SET bytes = {bytes} WHERE content_id")).await;
    change_content(&app, "src/OWNERS", &format!("contents SET size = 3, content_hash = sha256({bytes}) WHERE id"))
        .await;
    for name in ["topic", "elsewhere"] {
        branch(&maintainer, REPO, name).await;
    }
    commit(&maintainer, REPO, "topic", &[("src/a", Some("1"))]).await;
    commit(&maintainer, REPO, "elsewhere", &[("docs/a", Some("1"))]).await;
    let over = |files: Vec<Value>| json!({"branch": "main", "message": "m", "override": "mend", "files": files});
    let mut told = Transcript::new();
    told.get(&maintainer, &format!("{REPO}/branch/topic/status")).await;
    told.get(&maintainer, &format!("{REPO}/branch/topic/why")).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    told.say("elsewhere it stands in nobody's way");
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "elsewhere"})).await;
    told.say("nobody goes past it, but an admin who mends it");
    told.post(&admin, &format!("{REPO}/merge"), &json!({"branch": "topic", "override": "hurry"})).await;
    let mended = text_file("src/OWNERS", "c@example.com\n");
    told.post(&admin, &format!("{REPO}/commit"), &over(vec![mended.clone(), text_file("src/b", "1")])).await;
    told.post(&maintainer, &format!("{REPO}/commit"), &over(vec![mended.clone()])).await;
    told.post(&admin, &format!("{REPO}/commit"), &over(vec![mended])).await;
    told.post(&maintainer, &format!("{REPO}/merge"), &json!({"branch": "topic"})).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/branch/topic/status
      200 {"auto_merge":false,"mergeable":false,"policies":[{"file":".docstore/policy/always.rego","name":"always","pass":true,"reason":""},{"file":"src/OWNERS","name":"OWNERS","pass":false,"reason":"src/OWNERS:2: it is not text in UTF-8"}]}
    GET /repos/default/default/-/branch/topic/why
      200 {"branch":"topic","head_sequence":3,"mergeable":false,"policies":[{"file":".docstore/policy/always.rego","name":"always","pass":true,"reason":""},{"file":"src/OWNERS","name":"OWNERS","pass":false,"reason":"src/OWNERS:2: it is not text in UTF-8"}],"requirements":[{"command":"ds checkout main && ds commit --override REASON","kind":"policy","policy":"OWNERS","what":"src/OWNERS:2: it is not text i… (510 bytes)
    POST /repos/default/default/-/merge {"branch":"topic"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: OWNERS: src/OWNERS:2: it is not text in UTF-8","policies":[{"file":"src/OWNERS","name":"OWNERS","pass":false,"reason":"src/OWNERS:2: it is not text in UTF-8"}],"requirements":[{"command":"ds checkout main && ds commit --override REASON","kind":"policy","policy":"OWNERS","what":"src/OWNERS:2: it is not text in UTF-8; an admin replaces it, with … (474 bytes)
    # elsewhere it stands in nobody's way
    POST /repos/default/default/-/merge {"branch":"elsewhere"}
      200 {"sequence":5}
    # nobody goes past it, but an admin who mends it
    POST /repos/default/default/-/merge {"branch":"topic","override":"hurry"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: OWNERS: src/OWNERS:2: it is not text in UTF-8 (not all of these policies can be overridden)","policies":[{"file":"src/OWNERS","name":"OWNERS","pass":false,"reason":"src/OWNERS:2: it is not text in UTF-8"}],"requirements":[{"command":"ds checkout main && ds commit --override REASON","kind":"policy","policy":"OWNERS","what":"src/OWNERS:2: it is … (520 bytes)
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"Y0BleGFtcGxlLmNvbQo=","path":"src/OWNERS"},{"content":"MQ==","path":"src/b"}],"message":"m","override":"mend"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: OWNERS: src/OWNERS:2: it is not text in UTF-8 (not all of these policies can be overridden)","policies":[{"file":"src/OWNERS","name":"OWNERS","pass":false,"reason":"src/OWNERS:2: it is not text in UTF-8"}],"requirements":[{"command":"ds checkout main && ds commit --override REASON","kind":"policy","policy":"OWNERS","what":"src/OWNERS:2: it is … (520 bytes)
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"Y0BleGFtcGxlLmNvbQo=","path":"src/OWNERS"}],"message":"m","override":"mend"}
      403 {"code":"POLICY_DENIED","error":"denied by policy: OWNERS: src/OWNERS:2: it is not text in UTF-8 (only an admin may override)","policies":[{"file":"src/OWNERS","name":"OWNERS","pass":false,"reason":"src/OWNERS:2: it is not text in UTF-8"}],"requirements":[{"command":"ds checkout main && ds commit --override REASON","kind":"policy","policy":"OWNERS","what":"src/OWNERS:2: it is not text in UTF-8… (503 bytes)
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"Y0BleGFtcGxlLmNvbQo=","path":"src/OWNERS"}],"message":"m","override":"mend"}
      201 {"commit_hash":"HASH-1","files":[{"path":"src/OWNERS","version_id":"ID-1"}],"sequence":8}
    POST /repos/default/default/-/merge {"branch":"topic"}
      200 {"sequence":9}
    "#);
}

#[tokio::test]
async fn so_many_policies_may_be_on_main() {
    let (app, admin, maintainer) = start().await;
    let files = |range: std::ops::Range<usize>, text: &dyn Fn(usize) -> String| -> Value {
        let file = |number| text_file(&format!(".docstore/policy/p{number}.rego"), &text(number));
        json!({"branch": "main", "message": "m", "override": "mend", "files": range.map(file).collect::<Vec<_>>()})
    };
    let before = counts();
    let refused = admin.post(&format!("{REPO}/commit"), &files(0..201, &|_| ALWAYS.to_owned())).await.expect(409);
    assert_eq!(refused["error"], ".docstore/policy/: main may have at most 200 policies");
    grew(&before, "main_policies");
    let long = |number| format!("{ALWAYS}# {number}{}", "x\n# ".repeat(64 * 1024 - 20));
    let refused = admin.post(&format!("{REPO}/commit"), &files(0..17, &long)).await.expect(409);
    assert_eq!(refused["error"], ".docstore/policy/: the policies of main may have at most 4194304 bytes together");
    grew(&before, "main_policies_bytes");
    // What is there counts too, but for what is replaced.
    admin.post(&format!("{REPO}/commit"), &files(0..2, &|_| ALWAYS.to_owned())).await.expect(201);
    let many = |range| files(range, &|_| ALWAYS.to_owned());
    admin.post(&format!("{REPO}/commit"), &many(2..201)).await.expect(409);
    admin.post(&format!("{REPO}/commit"), &many(1..200)).await.expect(201);
    // More than that, from earlier times, judges nothing, and is taken away.
    change_content(&app, ".docstore/policy/p1.rego", "contents SET size = 30000 WHERE id").await;
    branch(&maintainer, REPO, "topic").await;
    commit(&maintainer, REPO, "topic", &[("a", Some("1"))]).await;
    maintainer.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(500);
    let away: Vec<Value> = (1..200).map(|number| json!({"path": format!(".docstore/policy/p{number}.rego")})).collect();
    let away = json!({"branch": "main", "message": "m", "override": "too many", "files": away});
    admin.post(&format!("{REPO}/commit"), &away).await.expect(201);
}

#[tokio::test]
async fn so_much_of_owners_is_read_and_told() {
    let (app, admin, maintainer) = start().await;
    let paths: Vec<String> = (0..1_000).map(|number| format!("d{number}/a")).collect();
    let owners: Vec<(String, String)> =
        (0..40).map(|number| (format!("d{number}/OWNERS"), format!("{number}@example.com"))).collect();
    let files: Vec<(&str, Option<&str>)> =
        owners.iter().map(|(path, text)| (path.as_str(), Some(text.as_str()))).collect();
    commit(&admin, REPO, "main", &files).await;
    commit(&admin, REPO, "main", &[(".docstore/policy/always.rego", Some(ALWAYS))]).await;
    branch(&maintainer, REPO, "topic").await;
    let files: Vec<(&str, Option<&str>)> = paths.iter().map(|path| (path.as_str(), Some("1"))).collect();
    commit(&maintainer, REPO, "topic", &files).await;
    let merge = json!({"branch": "topic", "dry_run": true});
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(200);
    // Each may be read, all together not: bytes of this length are not even there.
    let before = counts();
    change_content(&app, "d%/OWNERS", "contents SET size = 256 * 1024 WHERE id").await;
    let failed = maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(500);
    assert_eq!(failed["code"], "POLICY_FAILED");
    grew(&before, "owners_read_bytes");
    // What is too long alone is not read at all.
    change_content(&app, "d%/OWNERS", "contents SET size = 256 * 1024 + 1 WHERE id").await;
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(403);
    change_content(&app, "d%/OWNERS", "contents SET size = 14 WHERE id").await;
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(200);
    // One file, but for a thousand paths.
    let long: String = (0..500).map(|number| format!("{number}@example.com\n")).collect();
    commit(&admin, REPO, "main", &[("OWNERS", Some(&long))]).await;
    maintainer.post(&format!("{REPO}/merge"), &merge).await.expect(500);
    grew(&before, "owners_document_bytes");
}
