//! `/repos/{repo}/-/obliterations`: a leaked file is taken out for good.

use docstore_test_support::{ADMIN, Person, TestApp};
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{REPO, Transcript, branch, commit, grant, terminal::Terminals, text_file};

const LEAK: &str = "the password is swordfish";

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// How many rows of bytes there are for a text, in all repos.
async fn rows_of_bytes(app: &TestApp, text: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM content_bytes WHERE bytes = $1")
        .bind(text.as_bytes())
        .fetch_one(&app.pool().await)
        .await
        .unwrap()
}

/// The files in the blob folder.
fn blobs(app: &TestApp) -> usize {
    let mut count = 0;
    let mut folders = vec![app.blobs().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { count += 1 }
        }
    }
    count
}

/// Everything that the history of a repo says.
async fn history(who: &Person) -> Vec<Value> {
    let mut said = vec![who.get(&format!("{REPO}/chain?from=1&to=1000")).await.expect(200)];
    for path in ["commits?branch=main", "branches"] {
        said.push(who.get(&format!("{REPO}/{path}")).await.expect(200));
    }
    said
}

#[tokio::test]
async fn a_leaked_file_is_gone_everywhere_and_the_history_stays() {
    let app = TestApp::start().await;
    let me = app.admin();
    let obliterations = format!("{REPO}/obliterations");
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    commit(&me, "/repos/default/other/-", "main", &[("mine", Some(LEAK))]).await;
    commit(&me, REPO, "main", &[("a", Some("1")), ("env", Some(LEAK))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("copy", Some(LEAK))]).await;
    commit(&me, REPO, "main", &[("env", Some("clean"))]).await;
    let before = history(&me).await;
    assert_eq!(rows_of_bytes(&app, LEAK).await, 2, "one for each repo");

    let mut told = Transcript::new();
    told.skip_events(&app).await;
    told.say("what would be touched");
    told.get(&me, &format!("{obliterations}/preview?path=env&at=2&limit=1")).await;
    let preview = me.get(&format!("{obliterations}/preview?path=env&at=2&limit=1")).await.expect(200);
    let after = preview["next_after"].as_str().unwrap();
    told.get(&me, &format!("{obliterations}/preview?content_hash={}&after={after}", hash(LEAK))).await;
    told.say("what cannot be");
    for body in [
        json!({"content_hash": hash(LEAK)}),
        json!({"content_hash": hash(LEAK), "reason": " "}),
        json!({"reason": "leaked"}),
        json!({"path": "env", "content_hash": hash(LEAK), "reason": "leaked"}),
        json!({"path": "nothing", "reason": "leaked"}),
        json!({"content_hash": hash("nothing"), "reason": "leaked"}),
        json!({"content_hash": "x", "reason": "leaked"}),
    ] {
        told.post(&me, &obliterations, &body).await;
    }
    told.say("it goes");
    let leaked = json!({"path": "copy", "branch": "topic", "reason": "a password"});
    told.post(&me, &obliterations, &leaked).await;
    told.events(&app).await;
    told.say("once");
    told.post(&me, &obliterations, &json!({"content_hash": hash(LEAK), "reason": "again"})).await;
    told.get(&me, &obliterations).await;
    told.say("nobody reads it any more");
    told.get(&me, &format!("{REPO}/file/copy?branch=topic")).await;
    told.get(&me, &format!("{REPO}/file/copy?branch=topic&format=raw")).await;
    told.get(&me, &format!("{REPO}/file/env?at=2")).await;
    told.get(&me, &format!("{REPO}/file/env")).await;
    told.say("what there is about it stays");
    told.get(&me, &format!("{REPO}/tree?branch=topic")).await;
    told.get(&me, &format!("{REPO}/tree?branch=topic&dir=")).await;
    told.get(&me, &format!("{REPO}/file/env/history")).await;
    told.get(&me, &format!("{REPO}/commit/2")).await;
    told.get(&me, &format!("{REPO}/diff?branch=topic")).await;
    told.say("it does not come back");
    told.post(&me, &format!("{REPO}/contents/missing"), &json!({"hashes": [hash(LEAK)]})).await;
    let upload = me.request(Method::PUT, &format!("{REPO}/contents/{}", hash(LEAK))).body(LEAK);
    assert_eq!(upload.send().await.unwrap().status(), 409);
    for file in [text_file("again", LEAK), json!({"path": "again", "content_hash": hash(LEAK)})] {
        let body = json!({"branch": "topic", "message": "m", "files": [file]});
        told.post(&me, &format!("{REPO}/commit"), &body).await;
    }
    insta::assert_snapshot!(told, @r#"
    # what would be touched
    GET /repos/default/default/-/obliterations/preview?path=env&at=2&limit=1
      200 {"branches":2,"changes":2,"content_hash":"HASH-1","next_after":"2/env","paths":2,"places":[{"at_head":false,"author":"admin@example.com","branch":"main","branch_status":"active","created_at":"TIME","path":"env","sequence":2}],"size":25}
    GET /repos/default/default/-/obliterations/preview?content_hash=HASH-1&after=2/env
      200 {"branches":2,"changes":2,"content_hash":"HASH-1","paths":2,"places":[{"at_head":true,"author":"admin@example.com","branch":"topic","branch_status":"active","created_at":"TIME","path":"copy","sequence":3}],"size":25}
    # what cannot be
    POST /repos/default/default/-/obliterations {"content_hash":"HASH-1"}
      400 {"code":"BAD_REQUEST","error":"reason is required"}
    POST /repos/default/default/-/obliterations {"content_hash":"HASH-1","reason":" "}
      400 {"code":"BAD_REQUEST","error":"reason is required"}
    POST /repos/default/default/-/obliterations {"reason":"leaked"}
      400 {"code":"BAD_REQUEST","error":"give either path or content_hash"}
    POST /repos/default/default/-/obliterations {"content_hash":"HASH-1","path":"env","reason":"leaked"}
      400 {"code":"BAD_REQUEST","error":"give either path or content_hash"}
    POST /repos/default/default/-/obliterations {"path":"nothing","reason":"leaked"}
      404 {"code":"NOT_FOUND","error":"file not found"}
    POST /repos/default/default/-/obliterations {"content_hash":"HASH-2","reason":"leaked"}
      404 {"code":"NOT_FOUND","error":"the repo has no content with this hash"}
    POST /repos/default/default/-/obliterations {"content_hash":"x","reason":"leaked"}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    # it goes
    POST /repos/default/default/-/obliterations {"branch":"topic","path":"copy","reason":"a password"}
      201 {"branches":2,"changes":2,"obliteration":{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25},"paths":2}
    ! /repos/default/default content.obliterated {"changes":2,"content_hash":"HASH-1","obliterated_by":"admin@example.com","obliteration_id":"ID-1","reason":"a password","repo":"default/default","size":25}
    # once
    POST /repos/default/default/-/obliterations {"content_hash":"HASH-1","reason":"again"}
      409 {"code":"CONFLICT","error":"the content was obliterated before"}
    GET /repos/default/default/-/obliterations
      200 {"obliterations":[{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25}]}
    # nobody reads it any more
    GET /repos/default/default/-/file/copy?branch=topic
      410 {"code":"CONTENT_OBLITERATED","error":"the content was obliterated on TIME by admin@example.com: a password","obliterated":[{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25}]}
    GET /repos/default/default/-/file/copy?branch=topic&format=raw
      410 {"code":"CONTENT_OBLITERATED","error":"the content was obliterated on TIME by admin@example.com: a password","obliterated":[{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25}]}
    GET /repos/default/default/-/file/env?at=2
      410 {"code":"CONTENT_OBLITERATED","error":"the content was obliterated on TIME by admin@example.com: a password","obliterated":[{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25}]}
    GET /repos/default/default/-/file/env
      200 {"content":"Y2xlYW4=","content_hash":"HASH-3","path":"env","version_id":"ID-2"}
    # what there is about it stays
    GET /repos/default/default/-/tree?branch=topic
      200 [{"content_hash":"HASH-4","path":"a","size":1,"version_id":"ID-3"},{"content_hash":"HASH-1","obliterated":true,"path":"copy","size":25,"version_id":"ID-4"},{"content_hash":"HASH-1","obliterated":true,"path":"env","size":25,"version_id":"ID-4"}]
    GET /repos/default/default/-/tree?branch=topic&dir=
      200 [{"content_hash":"HASH-4","path":"a","size":1,"version_id":"ID-3"},{"content_hash":"HASH-1","obliterated":true,"path":"copy","size":25,"version_id":"ID-4"},{"content_hash":"HASH-1","obliterated":true,"path":"env","size":25,"version_id":"ID-4"}]
    GET /repos/default/default/-/file/env/history
      200 [{"author":"admin@example.com","created_at":"TIME","message":"change main","sequence":4,"version_id":"ID-2"},{"author":"admin@example.com","created_at":"TIME","message":"change main","obliterated":true,"sequence":2,"version_id":"ID-4"}]
    GET /repos/default/default/-/commit/2
      200 {"author":"admin@example.com","branch":"main","commit_hash":"HASH-5","created_at":"TIME","files":[{"commit_id":"ID-5","content_hash":"HASH-4","path":"a","version_id":"ID-3"},{"commit_id":"ID-6","content_hash":"HASH-1","obliterated":true,"path":"env","version_id":"ID-4"}],"message":"change main","parent_sequence":0,"sequence":2}
    GET /repos/default/default/-/diff?branch=topic
      200 {"branch_changes":[{"obliterated":true,"path":"copy","version_id":"ID-4"}],"main_changes":[{"path":"env","version_id":"ID-2"}]}
    # it does not come back
    POST /repos/default/default/-/contents/missing {"hashes":["HASH-1"]}
      200 {"missing":[]}
    POST /repos/default/default/-/commit {"branch":"topic","files":[{"content":"dGhlIHBhc3N3b3JkIGlzIHN3b3JkZmlzaA==","path":"again"}],"message":"m"}
      409 {"code":"CONTENT_REFUSED","error":"the content of 'again' was obliterated in this repo, which takes the same bytes no more; on TIME by admin@example.com: a password","obliterated":[{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25}]}
    POST /repos/default/default/-/commit {"branch":"topic","files":[{"content_hash":"HASH-1","path":"again"}],"message":"m"}
      409 {"code":"CONTENT_REFUSED","error":"the content of 'again' was obliterated in this repo, which takes the same bytes no more; on TIME by admin@example.com: a password","obliterated":[{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"a password","size":25}]}
    "#);
    assert_eq!(history(&me).await, before);
    assert_eq!(rows_of_bytes(&app, LEAK).await, 1, "that of the other repo");
    me.get("/repos/default/other/-/file/mine").await.expect(200);
    // What is left is merged like any other file.
    me.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
    assert_eq!(me.get(&format!("{REPO}/file/copy")).await.expect(410)["code"], "CONTENT_OBLITERATED");
}

#[tokio::test]
async fn a_blob_is_gone_from_the_blob_store_and_archives_leave_it_out() {
    let app = TestApp::start().await;
    let me = app.admin();
    let leak = LEAK.repeat(1000);
    commit(&me, REPO, "main", &[("a", Some("1")), ("dump", Some(&leak))]).await;
    let blobs_before = blobs(&app);
    let archive = format!("{REPO}/archive?branch=main");
    let whole = me.request(Method::GET, &archive).send().await.unwrap();
    let etag = whole.headers()["etag"].clone();
    assert!(!whole.headers().contains_key("x-docstore-left-out"));
    let presigned = |answer: Value| answer["checksum"].as_str().unwrap().to_owned();
    let presign = json!({"branch": "main", "at": 1});
    let checksum = presigned(me.post(&format!("{REPO}/archive/presign"), &presign).await.expect(200));
    me.post(&format!("{REPO}/obliterations"), &json!({"path": "dump", "reason": "a dump"})).await.expect(201);
    assert_eq!(blobs(&app), blobs_before - 1);
    assert_eq!(me.get(&format!("{REPO}/file/dump?format=raw")).await.expect(410)["code"], "CONTENT_OBLITERATED");
    // Who has the archive of before is not told that it is still the same.
    let response = me.request(Method::GET, &archive).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-docstore-left-out"]), (200, &"1".parse().unwrap()));
    let bytes = response.bytes().await.unwrap();
    let mut tar = tar::Archive::new(bytes.as_ref());
    let names: Vec<_> = tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    assert_eq!(names, [std::path::Path::new("a")]);
    let response = me
        .request(Method::POST, &format!("{REPO}/archive"))
        .json(&json!({"branch": "main", "paths": ["a", "dump"]}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-docstore-left-out"], "1");
    let again = presigned(me.post(&format!("{REPO}/archive/presign"), &presign).await.expect(200));
    assert_eq!(again, format!("sha256:{}", hex::encode(Sha256::digest(&bytes))));
    assert_ne!(again, checksum);
}

#[tokio::test]
async fn what_judges_is_replaced_first() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("OWNERS", Some("someone@example.com\n"))]).await;
    let obliterations = format!("{REPO}/obliterations");
    let mut told = Transcript::new();
    let body = json!({"path": "OWNERS", "reason": "an address"});
    told.post(&me, &obliterations, &body).await;
    commit(&me, REPO, "main", &[("OWNERS", Some("other@example.com\n"))]).await;
    told.post(&me, &obliterations, &json!({"path": "OWNERS", "at": 1, "reason": "an address"})).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/obliterations {"path":"OWNERS","reason":"an address"}
      409 {"code":"CONFLICT","error":"'OWNERS' on main has this content, and merges are judged by it: change it there first"}
    POST /repos/default/default/-/obliterations {"at":1,"path":"OWNERS","reason":"an address"}
      201 {"branches":1,"changes":1,"obliteration":{"content_hash":"HASH-1","id":"ID-1","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"an address","size":20},"paths":1}
    "#);
}

#[tokio::test]
async fn whoever_commits_the_bytes_meanwhile_comes_before_or_is_refused() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("env", Some(LEAK))]).await;
    for n in 0..8 {
        branch(&me, REPO, &format!("topic{n}")).await;
    }
    let commits = (0..8).map(|n| {
        let me = &me;
        async move {
            let body =
                json!({"branch": format!("topic{n}"), "message": "m", "files": [text_file(&format!("f{n}"), LEAK)]});
            let answer = me.post(&format!("{REPO}/commit"), &body).await;
            match answer.status.as_u16() {
                201 => {}
                409 => assert_eq!(answer.json()["code"], "CONTENT_REFUSED"),
                other => panic!("{other}: {}", answer.text),
            }
        }
    });
    let obliterate = async {
        let body = json!({"content_hash": hash(LEAK), "reason": "leaked"});
        me.post(&format!("{REPO}/obliterations"), &body).await.expect(201);
    };
    futures::join!(futures::future::join_all(commits), obliterate);
    assert_eq!(rows_of_bytes(&app, LEAK).await, 0);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM contents WHERE content_hash = $1 AND NOT obliterated")
        .bind(Sha256::digest(LEAK).as_slice())
        .fetch_one(&app.pool().await)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn at_a_terminal() {
    const ANN: &str = "ann@example.com";
    let app = TestApp::start().await;
    let me = app.admin();
    grant(&me, ADMIN, "admin").await;
    grant(&me, ANN, "admin").await;
    commit(&me, REPO, "main", &[("a", Some("1")), ("env", Some(LEAK))]).await;
    let mut told = Terminals::of(&app);
    told.workspace(ANN).await;
    told.types(ANN, "obliterate env --preview").await;
    told.types(ANN, "obliterate env").await;
    told.types(ANN, "obliterate env --reason \"a password\"").await;
    told.types(ANN, "obliterate env --reason \"a password\" --yes").await;
    told.types(ANN, "obliterate env --reason \"a password\" --yes").await;
    told.types(ANN, "commit -m again").await;
    told.types(ANN, "pull").await;
    told.types(ANN, "status").await;
    told.say("what is not here is deleted by its name alone");
    told.types(ANN, "commit -m gone .").await;
    told.types(ANN, "commit -m gone env a").await;
    told.types(ANN, "commit -m gone env never").await;
    told.types(ANN, "commit -m gone env").await;
    told.types(ANN, "pull").await;
    told.types(ANN, "show 2").await;
    insta::assert_snapshot!(told.text(), @r#"
    ann$ ds obliterate env --preview
    Content: ID-1 (25 bytes)
    In 1 change, on 1 path and 1 branch:
    SEQUENCE  BRANCH                STATUS     AT HEAD  PATH
    1         main                  active     yes      env
    ann$ ds obliterate env
    error: the following required arguments were not provided:
      --reason <REASON>

    Usage: ds obliterate --reason <REASON> <PATH|HASH>

    For more information, try '--help'.
    [exit 2]
    ann$ ds obliterate env --reason "a password"
    Content: ID-1 (25 bytes)
    In 1 change, on 1 path and 1 branch:
    SEQUENCE  BRANCH                STATUS     AT HEAD  PATH
    1         main                  active     yes      env
    error: obliterating takes --yes where nobody can be asked
    [exit 2]
    ann$ ds obliterate env --reason "a password" --yes
    Content: ID-1 (25 bytes)
    In 1 change, on 1 path and 1 branch:
    SEQUENCE  BRANCH                STATUS     AT HEAD  PATH
    1         main                  active     yes      env
    Obliterated 25 bytes with the hash ID-1
    Copies outside of the server are not reached: replace what was leaked
    ann$ ds obliterate env --reason "a password" --yes
    Content: ID-1 (25 bytes)
    Obliterated on DATE by ann@example.com: a password
    In 1 change, on 1 path and 1 branch:
    SEQUENCE  BRANCH                STATUS     AT HEAD  PATH
    1         main                  active     yes      env
    error: server error: the content was obliterated before
    [exit 3]
    ann$ ds commit -m again
    error: nothing to commit
    [exit 1]
    ann$ ds pull
    Synced branch 'main' (0 downloaded, 1 removed)
    warning: 'env' is left out: its content was obliterated on the server; committing it by name deletes it
    ann$ ds status
    On branch main
    No changes
    # what is not here is deleted by its name alone
    ann$ ds commit -m gone .
    error: nothing to commit
    [exit 1]
    ann$ ds commit -m gone env a
    error: nothing changed at 'a'
    [exit 1]
    ann$ ds commit -m gone env never
    error: nothing changed at 'never'
    [exit 1]
    ann$ ds commit -m gone env
    Committed sequence 2 (1 files)
    ann$ ds pull
    Synced branch 'main' (0 downloaded, 0 removed)
    ann$ ds show 2
    commit 2
    branch:  main
    author:  ann@example.com
    date:    TIME
    message: gone

    Files:
      env  (deleted)
    "#);
}

/// Whether two sides conflict is said by their hashes, so it does not matter whose bytes are gone.
#[tokio::test]
async fn sides_conflict_or_not_as_before_whatever_of_them_is_gone() {
    let app = TestApp::start().await;
    let me = app.admin();
    let obliterate = async |text: &str| {
        let body = json!({"content_hash": hash(text), "reason": "leaked"});
        me.post(&format!("{REPO}/obliterations"), &body).await.expect(201);
    };
    let mut told = Transcript::new();
    for (gone, base, on_main, on_branch) in [
        ("base", "the base", "of main", "of the branch"),
        ("main", "a base", "main's leak", "of it"),
        ("branch", "one base", "main's", "the branch's leak"),
    ] {
        let branch_name = format!("gone-on-{gone}");
        commit(&me, REPO, "main", &[("both", Some(base))]).await;
        branch(&me, REPO, &branch_name).await;
        commit(&me, REPO, &branch_name, &[("both", Some(on_branch)), (&branch_name, Some("x"))]).await;
        let main = commit(&me, REPO, "main", &[("both", Some(on_main))]).await;
        obliterate(match gone {
            "base" => base,
            "main" => on_main,
            _ => on_branch,
        })
        .await;
        told.say(&format!("gone: {gone}"));
        let body = json!({"branch": branch_name});
        told.post(&me, &format!("{REPO}/merge"), &body).await;
        told.post(&me, &format!("{REPO}/rebase"), &body).await;
        told.get(&me, &format!("{REPO}/branch/{branch_name}/why")).await;
        // The way out of a conflict needs no bytes but those that are chosen.
        let resolved = json!({"branch": branch_name, "expected_main_head": main,
            "resolutions": [text_file("both", &format!("chosen for {gone}"))]});
        told.post(&me, &format!("{REPO}/rebase"), &resolved).await;
        told.post(&me, &format!("{REPO}/merge"), &body).await;
    }
    told.say("both sides have the same bytes, which are gone");
    branch(&me, REPO, "same").await;
    for name in ["same", "main"] {
        commit(&me, REPO, name, &[("new", Some("one leak for both"))]).await;
    }
    commit(&me, REPO, "same", &[("more", Some("another leak"))]).await;
    obliterate("one leak for both").await;
    obliterate("another leak").await;
    told.post(&me, &format!("{REPO}/rebase"), &json!({"branch": "same"})).await;
    told.post(&me, &format!("{REPO}/merge"), &json!({"branch": "same"})).await;
    told.get(&me, &format!("{REPO}/file/more")).await;
    insta::assert_snapshot!(told, @r#"
    # gone: base
    POST /repos/default/default/-/merge {"branch":"gone-on-base"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"both"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout gone-on-base && ds rebase","kind":"conflict","what":"gone-on-base and main both changed: both","who":["role:maintainer"]}]}
    POST /repos/default/default/-/rebase {"branch":"gone-on-base"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-1","main_version_id":"ID-2","path":"both"}],"error":"the branch conflicts with main"}
    GET /repos/default/default/-/branch/gone-on-base/why
      200 {"branch":"gone-on-base","head_sequence":2,"mergeable":false,"policies":[],"requirements":[{"command":"ds checkout gone-on-base && ds rebase","kind":"conflict","what":"gone-on-base and main both changed: both","who":["role:maintainer"]}]}
    POST /repos/default/default/-/rebase {"branch":"gone-on-base","expected_main_head":3,"resolutions":[{"content":"Y2hvc2VuIGZvciBiYXNl","path":"both"}]}
      200 {"base_sequence":3,"commits_replayed":1,"head_sequence":5}
    POST /repos/default/default/-/merge {"branch":"gone-on-base"}
      200 {"sequence":6}
    # gone: main
    POST /repos/default/default/-/merge {"branch":"gone-on-main"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-3","main_version_id":"ID-4","path":"both"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout gone-on-main && ds rebase","kind":"conflict","what":"gone-on-main and main both changed: both","who":["role:maintainer"]}]}
    POST /repos/default/default/-/rebase {"branch":"gone-on-main"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-3","main_version_id":"ID-4","path":"both"}],"error":"the branch conflicts with main"}
    GET /repos/default/default/-/branch/gone-on-main/why
      200 {"branch":"gone-on-main","head_sequence":8,"mergeable":false,"policies":[],"requirements":[{"command":"ds checkout gone-on-main && ds rebase","kind":"conflict","what":"gone-on-main and main both changed: both","who":["role:maintainer"]}]}
    POST /repos/default/default/-/rebase {"branch":"gone-on-main","expected_main_head":9,"resolutions":[{"content":"Y2hvc2VuIGZvciBtYWlu","path":"both"}]}
      200 {"base_sequence":9,"commits_replayed":1,"head_sequence":11}
    POST /repos/default/default/-/merge {"branch":"gone-on-main"}
      200 {"sequence":12}
    # gone: branch
    POST /repos/default/default/-/merge {"branch":"gone-on-branch"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-5","main_version_id":"ID-6","path":"both"}],"error":"the branch conflicts with main","requirements":[{"command":"ds checkout gone-on-branch && ds rebase","kind":"conflict","what":"gone-on-branch and main both changed: both","who":["role:maintainer"]}]}
    POST /repos/default/default/-/rebase {"branch":"gone-on-branch"}
      409 {"code":"MERGE_CONFLICT","conflicts":[{"branch_version_id":"ID-5","main_version_id":"ID-6","path":"both"}],"error":"the branch conflicts with main"}
    GET /repos/default/default/-/branch/gone-on-branch/why
      200 {"branch":"gone-on-branch","head_sequence":14,"mergeable":false,"policies":[],"requirements":[{"command":"ds checkout gone-on-branch && ds rebase","kind":"conflict","what":"gone-on-branch and main both changed: both","who":["role:maintainer"]}]}
    POST /repos/default/default/-/rebase {"branch":"gone-on-branch","expected_main_head":15,"resolutions":[{"content":"Y2hvc2VuIGZvciBicmFuY2g=","path":"both"}]}
      200 {"base_sequence":15,"commits_replayed":1,"head_sequence":17}
    POST /repos/default/default/-/merge {"branch":"gone-on-branch"}
      200 {"sequence":18}
    # both sides have the same bytes, which are gone
    POST /repos/default/default/-/rebase {"branch":"same"}
      200 {"base_sequence":20,"commits_replayed":2,"head_sequence":23}
    POST /repos/default/default/-/merge {"branch":"same"}
      200 {"sequence":24}
    GET /repos/default/default/-/file/more
      410 {"code":"CONTENT_OBLITERATED","error":"the content was obliterated on TIME by admin@example.com: leaked","obliterated":[{"content_hash":"HASH-1","id":"ID-7","obliterated_at":"TIME","obliterated_by":"admin@example.com","reason":"leaked","size":12}]}
    "#);
}
