//! `/repos/{repo}/-/commit`, `/commits`, `/chain` and `/import`.

use docstore_history::{ChainInput, GENESIS, chain_hash};
use docstore_test_support::{Answer, Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, text_file};

#[tokio::test]
async fn a_commit_is_what_was_sent() {
    let app = TestApp::start().await;
    let me = app.admin();
    let path = format!("{REPO}/commit");
    let mut told = Transcript::new();
    told.say("who the author is does not depend on the body, and files keep their order");
    let body = json!({"branch": "main", "message": "first\n\nline", "author": "you@example.com", "repo": "x/y", "files": [
        {"path": "z", "content": "eg=="}, {"path": "empty", "content": ""}, {"path": "never", "content": null},
        {"path": "run", "content": "IyE=", "mode": "100755"}, {"path": "link", "content": "eg==", "mode": "120000"},
        {"path": "page", "content": "PGI+", "content_type": "text/html; charset=utf-8", "mode": ""}]});
    told.post(&me, &path, &body).await;
    told.get(&me, &format!("{REPO}/commit/1")).await;
    told.get(&me, &format!("{REPO}/tree")).await;
    told.say("an empty file is there, a deleted one is not");
    told.get(&me, &format!("{REPO}/file/empty")).await;
    told.get(&me, &format!("{REPO}/file/never")).await;
    told.post(&me, &path, &json!({"branch": "main", "message": "m", "files": [{"path": "empty"}]})).await;
    told.get(&me, &format!("{REPO}/file/empty")).await;
    told.get(&me, &format!("{REPO}/file/empty?at=1")).await;
    told.say("nothing changed, and still a commit");
    told.post(&me, &path, &json!({"branch": "main", "message": "m", "files": [text_file("z", "z")]})).await;
    told.say("the head that was seen");
    for expected in [3, 4, 4] {
        let body = json!({"branch": "main", "message": "m", "files": [text_file("a", "a")], "expected_head": expected});
        told.post(&me, &path, &body).await;
    }
    insta::assert_snapshot!(told, @r#"
    # who the author is does not depend on the body, and files keep their order
    POST /repos/default/default/-/commit {"author":"you@example.com","branch":"main","files":[{"content":"eg==","path":"z"},{"content":"","path":"empty"},{"content":null,"path":"never"},{"content":"IyE=","mode":"100755","path":"run"},{"content":"eg==","mode":"120000","path":"link"},{"content":"PGI+","content_type":"text/html; charset=utf-8","mode":"","path":"page"}],"message":"first\n\nline","repo":"x/y"}
      201 {"commit_hash":"HASH-1","files":[{"path":"z","version_id":"ID-1"},{"path":"empty","version_id":"ID-2"},{"path":"never","version_id":null},{"path":"run","version_id":"ID-3"},{"path":"link","version_id":"ID-1"},{"path":"page","version_id":"ID-4"}],"sequence":1}
    GET /repos/default/default/-/commit/1
      200 {"author":"admin@example.com","branch":"main","commit_hash":"HASH-1","created_at":"TIME","files":[{"commit_id":"ID-5","content_hash":"HASH-2","path":"empty","version_id":"ID-2"},{"commit_id":"ID-6","content_hash":"HASH-3","mode":"120000","path":"link","version_id":"ID-1"},{"commit_id":"ID-7","path":"never","version_id":null},{"commit_id":"ID-8","content_hash":"HASH-4","path":"page","version_id… (641 bytes)
    GET /repos/default/default/-/tree
      200 [{"content_hash":"HASH-2","path":"empty","size":0,"version_id":"ID-2"},{"content_hash":"HASH-3","mode":"120000","path":"link","size":1,"version_id":"ID-1"},{"content_hash":"HASH-4","path":"page","size":3,"version_id":"ID-4"},{"content_hash":"HASH-5","mode":"100755","path":"run","size":2,"version_id":"ID-3"},{"content_hash":"HASH-3","path":"z","size":1,"version_id":"ID-1"}]
    # an empty file is there, a deleted one is not
    GET /repos/default/default/-/file/empty
      200 {"content":"","content_hash":"HASH-2","path":"empty","version_id":"ID-2"}
    GET /repos/default/default/-/file/never
      404 {"code":"NOT_FOUND","error":"file not found"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"path":"empty"}],"message":"m"}
      201 {"commit_hash":"HASH-6","files":[{"path":"empty","version_id":null}],"sequence":2}
    GET /repos/default/default/-/file/empty
      404 {"code":"NOT_FOUND","error":"file not found"}
    GET /repos/default/default/-/file/empty?at=1
      200 {"content":"","content_hash":"HASH-2","path":"empty","version_id":"ID-2"}
    # nothing changed, and still a commit
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eg==","path":"z"}],"message":"m"}
      201 {"commit_hash":"HASH-7","files":[{"path":"z","version_id":"ID-1"}],"sequence":3}
    # the head that was seen
    POST /repos/default/default/-/commit {"branch":"main","expected_head":3,"files":[{"content":"YQ==","path":"a"}],"message":"m"}
      201 {"commit_hash":"HASH-8","files":[{"path":"a","version_id":"ID-11"}],"sequence":4}
    POST /repos/default/default/-/commit {"branch":"main","expected_head":4,"files":[{"content":"YQ==","path":"a"}],"message":"m"}
      201 {"commit_hash":"HASH-9","files":[{"path":"a","version_id":"ID-11"}],"sequence":5}
    POST /repos/default/default/-/commit {"branch":"main","expected_head":4,"files":[{"content":"YQ==","path":"a"}],"message":"m"}
      409 {"code":"HEAD_MOVED","error":"branch 'main' has moved to 5; fetch it and try again","head_sequence":5}
    "#);
}

#[tokio::test]
async fn contents_are_uploaded_ahead_of_a_commit() {
    let app = TestApp::start().await;
    let me = app.admin();
    let (small, large) = ("hello".to_owned(), "x".repeat(100_000));
    let hash = |text: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text));
    let missing = format!("{REPO}/contents/missing");
    let mut told = Transcript::new();
    let asked = json!({"hashes": [hash(&small), hash(&large), hash(&small)]});
    told.post(&me, &missing, &asked).await;
    for text in [&small, &large, &small] {
        let path = format!("{REPO}/contents/{}", hash(text));
        told.send_with(&me, http::Method::PUT, &path, &[], text).await;
    }
    told.post(&me, &missing, &asked).await;
    told.say("what does not have the hash is refused, and leaves nothing");
    for text in ["other", large.replace('x', "y").as_str()] {
        let path = format!("{REPO}/contents/{}", hash("announced"));
        told.send_with(&me, http::Method::PUT, &path, &[], text).await;
    }
    told.post(&me, &missing, &json!({"hashes": [hash("announced")]})).await;
    for bad in ["x", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
        told.send_with(&me, http::Method::PUT, &format!("{REPO}/contents/{bad}"), &[], "x").await;
        told.post(&me, &missing, &json!({"hashes": [bad]})).await;
    }
    told.say("committed by hash");
    let files =
        json!([{"path": "small", "content_hash": hash(&small)}, {"path": "large", "content_hash": hash(&large)}]);
    told.post(&me, &format!("{REPO}/commit"), &json!({"branch": "main", "message": "m", "files": files})).await;
    told.get(&me, &format!("{REPO}/file/small")).await;
    assert_eq!(me.get(&format!("{REPO}/file/large?format=raw")).await.text, large);
    told.say("what another repo has is not had here");
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let other = "/repos/default/other/-";
    told.post(&me, &format!("{other}/contents/missing"), &asked).await;
    told.post(&me, &format!("{other}/commit"), &json!({"branch": "main", "message": "m", "files": files})).await;
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/contents/missing {"hashes":["HASH-1","HASH-2","HASH-1"]}
      200 {"missing":["HASH-1","HASH-2"]}
    PUT /repos/default/default/-/contents/HASH-1 hello
      201 {"content_hash":"HASH-1","size":5,"version_id":"ID-1"}
    PUT /repos/default/default/-/contents/HASH-2 x*100000
      201 {"content_hash":"HASH-2","size":100000,"version_id":"ID-2"}
    PUT /repos/default/default/-/contents/HASH-1 hello
      200 {"content_hash":"HASH-1","size":5,"version_id":"ID-1"}
    POST /repos/default/default/-/contents/missing {"hashes":["HASH-1","HASH-2","HASH-1"]}
      200 {"missing":[]}
    # what does not have the hash is refused, and leaves nothing
    PUT /repos/default/default/-/contents/HASH-3 other
      400 {"code":"BAD_REQUEST","error":"the content does not have the announced hash: it is HASH-4"}
    PUT /repos/default/default/-/contents/HASH-3 y*100000
      400 {"code":"BAD_REQUEST","error":"the content does not have the announced hash: it is HASH-5"}
    POST /repos/default/default/-/contents/missing {"hashes":["HASH-3"]}
      200 {"missing":["HASH-3"]}
    PUT /repos/default/default/-/contents/x x
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    POST /repos/default/default/-/contents/missing {"hashes":["x"]}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    PUT /repos/default/default/-/contents/HASH-6 x
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    POST /repos/default/default/-/contents/missing {"hashes":["A*64"]}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    PUT /repos/default/default/-/contents/gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg x
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    POST /repos/default/default/-/contents/missing {"hashes":["g*64"]}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    PUT /repos/default/default/-/contents/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa x
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    POST /repos/default/default/-/contents/missing {"hashes":["a*65"]}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    # committed by hash
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content_hash":"HASH-1","path":"small"},{"content_hash":"HASH-2","path":"large"}],"message":"m"}
      201 {"commit_hash":"HASH-7","files":[{"path":"small","version_id":"ID-1"},{"path":"large","version_id":"ID-2"}],"sequence":1}
    GET /repos/default/default/-/file/small
      200 {"content":"aGVsbG8=","content_hash":"HASH-1","path":"small","version_id":"ID-1"}
    # what another repo has is not had here
    POST /repos/default/other/-/contents/missing {"hashes":["HASH-1","HASH-2","HASH-1"]}
      200 {"missing":["HASH-1","HASH-2"]}
    POST /repos/default/other/-/commit {"branch":"main","files":[{"content_hash":"HASH-1","path":"small"},{"content_hash":"HASH-2","path":"large"}],"message":"m"}
      409 {"code":"CONTENT_MISSING","error":"the repo does not have 2 of the contents; upload them first","missing":["HASH-1","HASH-2"]}
    "#);
}

#[tokio::test]
async fn a_writer_commits_to_branches_only() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.put(&format!("{REPO}/roles/writer@example.com"), &json!({"role": "writer"})).await.expect(200);
    branch(&me, REPO, "topic").await;
    let writer = app.person("writer@example.com");
    let path = format!("{REPO}/commit");
    let send = async |body: &str| {
        let request = writer.request(http::Method::POST, &path).body(body.to_owned());
        Answer::of(request).await.status.as_u16()
    };
    let of = |branch: &str| json!({"branch": branch, "message": "m", "files": [text_file("a", "x")]}).to_string();
    assert_eq!(send(&of("topic")).await, 201);
    assert_eq!(send(&of("main")).await, 403);
    for trick in [
        format!("{} trailing", of("main")),
        format!("{}{}", of("main"), of("topic")),
        of("main").replace("\"branch\"", "\"BRANCH\""),
        of("topic").replace("\"branch\":\"topic\"", "\"branch\":\"topic\",\"Branch\":\"main\""),
        of("main").replace("main", "\\u006dain"),
    ] {
        assert_eq!(send(&trick).await, 403, "{trick}");
    }
    assert_eq!(me.get(&format!("{REPO}/tree")).await.expect(200), json!([]), "nothing reached main");
}

#[tokio::test]
async fn whoever_may_not_commit_is_told_that_whatever_they_sent() {
    let app = TestApp::start().await;
    let me = app.admin();
    me.put(&format!("{REPO}/roles/reader@example.com"), &json!({"role": "reader"})).await.expect(200);
    branch(&me, REPO, "topic").await;
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);
    let token_for =
        async |body: Value| me.post("/tokens", &body).await.expect(201)["secret"].as_str().unwrap().to_owned();
    let elsewhere = token_for(json!({"name": "a", "repos": ["default/other"], "actions": ["contents"]})).await;
    let on_others = token_for(json!({"name": "b", "branches": ["else"], "actions": ["contents"]})).await;
    let of = |branch: &str, text: &str| {
        json!({"branch": branch, "message": "m", "files": [text_file("a", text)]}).to_string()
    };
    let long = "x".repeat(200 * 1024);
    for (who, person) in [
        ("a reader", app.person("reader@example.com")),
        ("a stranger", app.person("stranger@example.com")),
        ("a token for another repo", me.with_token(&elsewhere)),
    ] {
        for body in [
            of("topic", "x"),
            of("main", "x"),
            of("nowhere", "x"),
            of("topic", &long),
            of("", "x"),
            of("topic", "x").replace("\"a\"", "\"../a\""),
            "{".to_owned(),
            String::new(),
        ] {
            let request = person.request(http::Method::POST, &format!("{REPO}/commit")).body(body.clone());
            let answer = Answer::of(request).await;
            assert_eq!(answer.summary(), r#"403 {"code":"FORBIDDEN","error":"forbidden"}"#, "{who}: {body:.60}");
        }
        // What is long is not even waited for.
        let body = reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let request = person.request(http::Method::POST, &format!("{REPO}/commit")).body(body);
        assert_eq!(Answer::of(request).await.status, 403, "{who}");
    }
    let token = me.with_token(&on_others);
    let request = token.request(http::Method::POST, &format!("{REPO}/commit")).body(of("topic", "x"));
    assert_eq!(Answer::of(request).await.status, 403);
    for branch in ["main", "topic"] {
        assert_eq!(me.get(&format!("{REPO}/commits?branch={branch}")).await.expect(200)["commits"], json!([]));
    }
}

#[tokio::test]
async fn the_log_leads_back_from_the_head_in_pages() {
    let app = TestApp::start().await;
    let me = app.admin();
    for n in 0..5 {
        commit(&me, REPO, "main", &[("a", Some(&format!("{n}")))]).await;
    }
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("b", Some("1"))]).await;
    commit(&me, REPO, "main", &[("c", Some("1"))]).await;
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = me.get(&format!("{REPO}/commits?branch=topic&limit=2{before}")).await.expect(200);
        seen.extend(page["commits"].as_array().unwrap().iter().map(|one| one["sequence"].as_i64().unwrap()));
        let Some(next) = page["next_before"].as_i64() else { break };
        before = format!("&before={next}");
    }
    assert_eq!(seen, [6, 5, 4, 3, 2, 1], "the branch's own, then those of main up to its base");
    let mut told = Transcript::new();
    told.get(&me, &format!("{REPO}/commits?limit=1")).await;
    told.get(&me, &format!("{REPO}/commits?before=0")).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/commits?limit=1
      200 {"commits":[{"author":"admin@example.com","branch":"main","commit_hash":"HASH-1","created_at":"TIME","file_count":1,"message":"change main","sequence":7}],"next_before":7}
    GET /repos/default/default/-/commits?before=0
      200 {"commits":[]}
    "#);
}

#[tokio::test]
async fn long_messages_make_short_pages() {
    let app = TestApp::start().await;
    let me = app.admin();
    for n in 0..5 {
        let body = json!({"branch": "main", "message": "x".repeat(1 << 20), "files": [text_file("a", &n.to_string())]});
        me.post(&format!("{REPO}/commit"), &body).await.expect(201);
    }
    for (before, sequences, next) in [("", vec![5, 4, 3, 2], json!(2)), ("?before=2", vec![1], Value::Null)] {
        let page = me.get(&format!("{REPO}/commits{before}")).await.expect(200);
        let commits = page["commits"].as_array().unwrap();
        assert_eq!(commits.iter().map(|one| one["sequence"].as_i64().unwrap()).collect::<Vec<_>>(), sequences);
        assert_eq!(page["next_before"], next);
    }
    // A chain is read in such pages, and told whole.
    for branch in ["", "&branch=main"] {
        let chain = me.get(&format!("{REPO}/chain?from=1&to=9{branch}")).await.expect(200);
        let sequences: Vec<i64> =
            chain.as_array().unwrap().iter().map(|one| one["sequence"].as_i64().unwrap()).collect();
        assert_eq!(sequences, [1, 2, 3, 4, 5]);
    }
}

/// Recomputes the hashes of one branch from what the chain endpoint says, as clients do.
fn verify(entries: &Value, repo: &str) {
    let mut previous = GENESIS.to_owned();
    for entry in entries.as_array().unwrap() {
        let text = |name: &str| entry[name].as_str().unwrap();
        previous = chain_hash(&ChainInput {
            previous: &previous,
            sequence: entry["sequence"].as_i64().unwrap(),
            repo,
            branch: text("branch"),
            author: text("author"),
            message: text("message"),
            created_at: text("created_at").parse().unwrap(),
            files: entry["files"]
                .as_array()
                .unwrap()
                .iter()
                .map(|file| (file["path"].as_str().unwrap(), file["content_hash"].as_str().unwrap()))
                .collect(),
        });
        assert_eq!(entry["commit_hash"], previous, "commit {}", entry["sequence"]);
    }
}

async fn chain(who: &Person, query: &str) -> Value {
    who.get(&format!("{REPO}/chain?{query}")).await.expect(200)
}

#[tokio::test]
async fn the_chain_can_be_verified_from_what_is_sent() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("b", Some("1")), ("a", Some("2")), ("ä", Some("3"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("t", Some("1")), ("a", None)]).await;
    commit(&me, REPO, "main", &[("b", None)]).await;
    me.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
    me.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
    let import = json!({"branch": "main", "commits": [
        {"author": "A <a@example.com>", "message": "leap", "created_at": "2016-12-31T23:59:60Z", "imported_from": "git:1",
         "files": [text_file("i", "1")]},
        {"author": "b@example.com", "message": "fine", "created_at": "2001-02-03T04:05:06.123456789+01:00",
         "imported_from": "git:2", "files": []},
        {"author": "b@example.com", "message": "old", "created_at": "0001-01-01T00:00:00Z", "imported_from": "git:3",
         "files": [{"path": "i"}]},
    ]});
    me.post(&format!("{REPO}/import"), &import).await.expect(201);

    for name in ["main", "topic"] {
        let entries = chain(&me, &format!("from=1&to=1000&branch={name}")).await;
        assert!(entries.as_array().unwrap().len() >= 2);
        verify(&entries, "default/default");
    }
    let all = chain(&me, "from=1&to=1000").await;
    let numbers = |entries: &Value| -> Vec<i64> {
        entries.as_array().unwrap().iter().map(|entry| entry["sequence"].as_i64().unwrap()).collect()
    };
    let ordered = numbers(&all);
    assert!(ordered.is_sorted() && ordered.len() == 8, "{ordered:?}");
    assert_eq!(numbers(&chain(&me, "from=2&to=3").await), [2, 3]);
    assert_eq!(numbers(&chain(&me, "from=1&to=1000&limit=3").await), &ordered[..3]);
    assert_eq!(chain(&me, "from=1000&to=2000").await, json!([]));
    assert_eq!(numbers(&chain(&me, "from=-9223372036854775808&to=9223372036854775807").await), ordered);
    // What is in the chain is in the commits.
    for entry in all.as_array().unwrap() {
        let detail = me.get(&format!("{REPO}/commit/{}", entry["sequence"])).await.expect(200);
        for name in ["branch", "author", "message", "created_at", "commit_hash"] {
            assert_eq!(detail[name], entry[name], "{name}");
        }
        assert_eq!(detail["files"].as_array().unwrap().len(), entry["files"].as_array().unwrap().len());
    }
}

#[tokio::test]
async fn the_chain_streams_more_than_a_page() {
    let app = TestApp::start().await;
    let me = app.admin();
    let commits: Vec<Value> = (0..1203)
        .map(|n| json!({"author": "a@b", "message": format!("m{n}"), "imported_from": format!("git:{n}"), "files": []}))
        .collect();
    me.post(&format!("{REPO}/import"), &json!({"branch": "main", "commits": commits})).await.expect(201);
    let entries = chain(&me, "from=1&to=1203").await;
    assert_eq!(entries.as_array().unwrap().len(), 1203);
    verify(&entries, "default/default");
}

#[tokio::test]
async fn history_is_imported_with_its_authors() {
    let app = TestApp::start().await;
    let me = app.admin();
    let path = format!("{REPO}/import");
    let mut told = Transcript::new();
    let good = json!({"author": "Ann <ann@example.com>", "created_at": "2020-02-03T04:05:06Z", "message": "",
        "imported_from": "git:0123", "files": [text_file("a", "1")]});
    let second = json!({"author": "bob@example.com", "message": "m", "imported_from": "git:4567",
        "files": [text_file("a", "2"), text_file("b", "3")]});
    told.post(&me, &path, &json!({"branch": "main", "commits": [good, second], "expected_head": 0})).await;
    told.get(&me, &format!("{REPO}/commits")).await;
    told.get(&me, &format!("{REPO}/file/a?at=1")).await;
    told.say("not twice");
    told.post(&me, &path, &json!({"branch": "main", "commits": [second], "expected_head": 0})).await;
    told.say("what cannot be");
    for (key, value) in [
        ("author", json!("")),
        ("author", json!("a\nb")),
        ("imported_from", json!("")),
        ("imported_from", json!("x".repeat(256))),
        ("created_at", json!("yesterday")),
        ("created_at", json!("9999-12-31T23:59:59-01:00")),
        ("created_at", json!("0000-12-31T23:59:59Z")),
        ("files", json!([text_file("a", "1"), text_file("a", "2")])),
        ("files", json!([text_file("/a", "1")])),
    ] {
        let mut bad = second.clone();
        bad[key] = value;
        told.post(&me, &path, &json!({"branch": "main", "commits": [good, bad]})).await;
    }
    told.post(&me, &path, &json!({"branch": "main", "commits": []})).await;
    told.post(&me, &path, &json!({"branch": "none", "commits": [good]})).await;
    assert_eq!(me.get(&format!("{REPO}/commits")).await.expect(200)["commits"].as_array().unwrap().len(), 2);
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}],"expected_head":0}
      201 {"commit_hash":"HASH-1","head_sequence":2,"sequences":[1,2]}
    GET /repos/default/default/-/commits
      200 {"commits":[{"author":"bob@example.com","branch":"main","commit_hash":"HASH-1","created_at":"TIME","file_count":2,"imported_from":"git:4567","message":"m","sequence":2},{"author":"Ann <ann@example.com>","branch":"main","commit_hash":"HASH-2","created_at":"TIME","file_count":1,"imported_from":"git:0123","message":"","sequence":1}]}
    GET /repos/default/default/-/file/a?at=1
      200 {"content":"MQ==","content_hash":"HASH-3","path":"a","version_id":"ID-1"}
    # not twice
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"bob@example.com","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}],"expected_head":0}
      409 {"code":"HEAD_MOVED","error":"branch 'main' has moved to 2; fetch it and try again","head_sequence":2}
    # what cannot be
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: identity is empty"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"a\nb","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: identity holds a control character"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: imported_from is required"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"x*256","message":"m"}]}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"commits[1]: imported_from is longer than 255 bytes"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","created_at":"yesterday","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","created_at":"TIME","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: created_at lies outside the years 0001 to 9999"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","created_at":"TIME","files":[{"content":"Mg==","path":"a"},{"content":"Mw==","path":"b"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: created_at lies outside the years 0001 to 9999"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","files":[{"content":"MQ==","path":"a"},{"content":"Mg==","path":"a"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: file path 'a' is given twice"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""},{"author":"bob@example.com","files":[{"content":"MQ==","path":"/a"}],"imported_from":"git:4567","message":"m"}]}
      400 {"code":"BAD_REQUEST","error":"commits[1]: file path '/a' is absolute"}
    POST /repos/default/default/-/import {"branch":"main","commits":[]}
      400 {"code":"BAD_REQUEST","error":"at least one commit is required"}
    POST /repos/default/default/-/import {"branch":"none","commits":[{"author":"Ann <ann@example.com>","created_at":"TIME","files":[{"content":"MQ==","path":"a"}],"imported_from":"git:0123","message":""}]}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    "#);
}
