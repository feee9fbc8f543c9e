//! Bodies: for every operation that takes JSON, everything that is none, and every value exchanged for a wrong one.

use docstore_test_support::TestApp;
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    REPO, Transcript,
    fixture::{Call, Fixture, bearer},
    text_file,
    truth::{Operation, document},
};

/// The operations whose body is JSON.
fn with_json() -> impl Iterator<Item = &'static Operation> {
    let takes_json = |operation: &&Operation| operation.value["requestBody"]["content"]["application/json"].is_object();
    document().operations.iter().filter(takes_json)
}

/// Of whoever gets as far as the body: for secrets a job, for everything else somebody with all rights.
fn let_in(fixture: &Fixture, operation: &Operation) -> [(&'static str, String); 1] {
    match operation.id.as_str() {
        "reveal_secrets" => [bearer(&fixture.request_token)],
        _ => [bearer(&fixture.verified.issuer.id_token("creator@example.com"))],
    }
}

#[tokio::test]
async fn what_is_not_the_json_asked_for_is_refused() {
    let fixture = Fixture::start(&[]).await;
    let deep = format!("{{\"branch\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: [&[u8]; 16] = [
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b"7",
        b"\"x\"",
        b"true",
        b"{\"a\":}",
        b"{'a':1}",
        b"{\"a\":1,}",
        b"{\"a\xff\":1}",
        b"{\"a\":\"\\ud800\"}",
        b"{\"a\":\"\\u0000\"}",
        b"{\"a\":\"\0\"}",
        deep.as_bytes(),
    ];
    for (n, operation) in with_json().enumerate() {
        let good = fixture.call(&operation.id, n).await;
        let headers = let_in(&fixture, operation);
        for body in bodies {
            // Nothing at all is a body for those that need none.
            let optional = operation.value["requestBody"]["required"] != true;
            if optional && body.trim_ascii().is_empty() {
                continue;
            }
            let call = Call { body: body.to_vec(), ..good.clone() };
            let answer = fixture.send(&call, &headers).await.answer();
            let shown: String = String::from_utf8_lossy(body).chars().take(40).collect();
            let told = match body {
                _ if body == deep.as_bytes() => "the request body is nested deeper than 32 levels",
                br#"{"a":"\u0000"}"# => "the request body holds a NUL character",
                _ => "invalid request body",
            };
            assert_eq!(answer.expect(400)["error"], told, "{} {shown:?}", operation.id);
        }
    }
}

/// Every place of a value that is not an object or a list.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

#[tokio::test]
async fn a_wrong_value_anywhere_is_refused_and_breaks_nothing() {
    let fixture = Fixture::start(&[]).await;
    let strange = [
        json!("a\u{0}b"),
        json!(""),
        json!("x".repeat(5000)),
        json!("/etc/passwd"),
        json!("../../x"),
        json!("a//b"),
        json!("a\nb"),
        json!("\u{202e}\u{feff}"),
        json!("-9223372036854775808"),
        json!(0),
        json!(-1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!([{"path": "x"}]),
        Value::Null,
    ];
    for (n, operation) in with_json().enumerate() {
        let call = fixture.call(&operation.id, n).await;
        let headers = let_in(&fixture, operation);
        let mut good: Value = serde_json::from_slice(&call.body).unwrap();
        // What the good request leaves out.
        for (key, value) in [
            ("expected_head", json!(null)),
            ("expected_main_head", json!(null)),
            ("dry_run", json!(false)),
            ("draft", json!(false)),
            ("body", json!("notes")),
            ("sequence", json!(1)),
            ("at", json!(1)),
            ("branch", json!("topic")),
            (
                "resolutions",
                json!([{"path": "r", "content": "", "content_hash": "", "mode": "100644", "content_type": ""}]),
            ),
            ("nothing_of_ours", json!("x")),
        ] {
            let schema = &operation.value["requestBody"]["content"]["application/json"]["schema"];
            // One that may be absent is a choice between it and nothing.
            let schema = schema["$ref"].as_str().or(schema["oneOf"][0]["$ref"].as_str());
            let name = schema.unwrap().rsplit('/').next().unwrap();
            let known = document().properties(name);
            if good.get(key).is_none() && (known.contains(&key.to_owned()) || key == "nothing_of_ours") {
                good[key] = value;
            }
        }
        let mut places = Vec::new();
        leaves(&good, "", &mut places);
        for place in places {
            for value in &strange {
                let mut body = good.clone();
                *body.pointer_mut(&place).unwrap() = value.clone();
                let call = Call { body: body.to_string().into_bytes(), ..call.clone() };
                let answer = fixture.send(&call, &headers).await.answer();
                let status = answer.status.as_u16();
                assert!(status < 500, "{} {place} {value}: {}", operation.id, answer.text);
                if value.as_str().is_some_and(|text| text.contains('\0')) {
                    assert_eq!(status, 400, "{} {place} {value}: {}", operation.id, answer.text);
                }
                if status >= 400 {
                    assert!(!answer.json()["error"].as_str().unwrap().is_empty(), "{}", answer.text);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_a_body_may_look_like() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut told = Transcript::new();
    let commit = format!("{REPO}/commit");
    let branch = format!("{REPO}/branch");
    for body in [
        r#"{"NAME":"upper"}"#,
        r#"{"name":"first","name":"last"}"#,
        r#"{"name":"trailing"} bytes that are not looked at"#,
        r#"{"name":"more","unknown":{"x":[1,2]}}"#,
        r#"{"name":"nothing","draft":null}"#,
        "null",
    ] {
        told.send_with(&me, Method::POST, &branch, &[("content-type", "text/plain")], body).await;
    }
    told.say("base64: line breaks are skipped, anything else is not");
    for content in ["aGVs\nbG8=\r\n", "aGVsbG8", "aGVsbG8==", "aGVs bG8=", "aGVsbG9=", "_-8="] {
        let body = json!({"branch": "main", "message": "m", "files": [{"path": "x", "content": content}]});
        told.post(&me, &commit, &body).await;
    }
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/branch content-type: text/plain {"NAME":"upper"}
      201 {"base_sequence":0,"name":"upper"}
    POST /repos/default/default/-/branch content-type: text/plain {"name":"first","name":"last"}
      201 {"base_sequence":0,"name":"last"}
    POST /repos/default/default/-/branch content-type: text/plain {"name":"trailing"} bytes that are not looked at
      201 {"base_sequence":0,"name":"trailing"}
    POST /repos/default/default/-/branch content-type: text/plain {"name":"more","unknown":{"x":[1,2]}}
      201 {"base_sequence":0,"name":"more"}
    POST /repos/default/default/-/branch content-type: text/plain {"name":"nothing","draft":null}
      201 {"base_sequence":0,"name":"nothing"}
    POST /repos/default/default/-/branch content-type: text/plain null
      400 {"code":"BAD_REQUEST","error":"name is required"}
    # base64: line breaks are skipped, anything else is not
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"aGVs\nbG8=\r\n","path":"x"}],"message":"m"}
      201 {"commit_hash":"HASH-1","files":[{"path":"x","version_id":"ID-1"}],"sequence":1}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"aGVsbG8","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"aGVsbG8==","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"aGVs bG8=","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"aGVsbG9=","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"_-8=","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"invalid request body"}
    "#);
}

#[tokio::test]
async fn bad_changes_of_files_are_refused() {
    let app = TestApp::start().await;
    let me = app.admin();
    let commit = format!("{REPO}/commit");
    let ok = json!({"branch": "main", "message": "m", "files": [text_file("dir/file", "x"), text_file("top", "x")]});
    me.post(&commit, &ok).await.expect(201);
    let mut told = Transcript::new();
    told.say("in the order in which things are checked");
    for body in [
        json!({}),
        json!({"branch": "main"}),
        json!({"branch": "main", "files": [{}]}),
        json!({"branch": "main", "message": "m", "files": [{}]}),
        json!({"branch": "none", "message": "m", "files": [text_file("x", "y")]}),
    ] {
        told.post(&me, &commit, &body).await;
    }
    told.say("paths");
    let long = format!("a/{}", "x".repeat(256));
    let longer = vec!["x".repeat(200); 21].join("/");
    for path in [
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "./a",
        "a/.",
        "a//b",
        "a/",
        "a\nb",
        "a\u{7f}b",
        "a\u{0}b",
        &long,
        &longer,
    ] {
        told.post(&me, &commit, &json!({"branch": "main", "message": "m", "files": [text_file(path, "y")]})).await;
    }
    told.say("files against each other");
    for files in [
        json!([text_file("a", "1"), text_file("b", "2"), text_file("a", "3")]),
        json!([text_file("a", "1"), {"path": "a"}]),
        json!([text_file("a", "1"), text_file("a/b", "2")]),
        json!([text_file("dir", "1")]),
        json!([text_file("top/below", "1")]),
        json!([text_file("top/below", "1"), {"path": "top"}]),
    ] {
        told.post(&me, &commit, &json!({"branch": "main", "message": "m", "files": files})).await;
    }
    told.say("contents and modes");
    for file in [
        json!({"path": "x", "content": "eA==", "content_hash": "0".repeat(64)}),
        json!({"path": "x", "content_hash": "0".repeat(63)}),
        json!({"path": "x", "content_hash": "A".repeat(64)}),
        json!({"path": "x", "content_hash": "a".repeat(64)}),
        json!({"path": "x", "content": "eA==", "mode": "100600"}),
        json!({"path": "x", "content": "eA==", "mode": "755"}),
        json!({"path": "x", "content": "eA==", "content_type": "a\nb"}),
        json!({"path": "x", "content": "eA==", "content_type": "x".repeat(256)}),
    ] {
        told.post(&me, &commit, &json!({"branch": "main", "message": "m", "files": [file]})).await;
    }
    insta::assert_snapshot!(told, @r#"
    # in the order in which things are checked
    POST /repos/default/default/-/commit {}
      400 {"code":"BAD_REQUEST","error":"branch is required"}
    POST /repos/default/default/-/commit {"branch":"main"}
      400 {"code":"BAD_REQUEST","error":"at least one file is required"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{}]}
      400 {"code":"BAD_REQUEST","error":"message is required"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path is required"}
    POST /repos/default/default/-/commit {"branch":"none","files":[{"content":"eQ==","path":"x"}],"message":"m"}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    # paths
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"/etc/passwd"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path '/etc/passwd' is absolute"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":".."}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path '..' has the segment '..'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"../x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path '../x' has the segment '..'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a/../b"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a/../b' has the segment '..'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"./a"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path './a' has the segment '.'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a/."}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a/.' has the segment '.'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a//b"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a//b' has an empty segment"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a/"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a/' has an empty segment"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a\nb"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a\\nb' holds the control character '\\n'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"ab"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a\\u{7f}b' holds the control character '\\u{7f}'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a\u0000b"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"the request body holds a NUL character"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a/x*256"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a/x*78' has a segment longer than 255 bytes"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200/x*200"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'x*80' is longer than 4096 bytes"}
    # files against each other
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"a"},{"content":"Mg==","path":"b"},{"content":"Mw==","path":"a"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a' is given twice"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"a"},{"path":"a"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file path 'a' is given twice"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"a"},{"content":"Mg==","path":"a/b"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"'a' cannot be a file and the directory of 'a/b' at once"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"dir"}],"message":"m"}
      409 {"code":"CONFLICT","error":"'dir' cannot be created: 'dir/file' is in its way on branch 'main'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"top/below"}],"message":"m"}
      409 {"code":"CONFLICT","error":"'top/below' cannot be created: 'top' is in its way on branch 'main'"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"MQ==","path":"top/below"},{"path":"top"}],"message":"m"}
      201 {"commit_hash":"HASH-1","files":[{"path":"top/below","version_id":"ID-1"},{"path":"top","version_id":null}],"sequence":4}
    # contents and modes
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eA==","content_hash":"0*64","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file 'x': give either content or content_hash"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content_hash":"0*63","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content_hash":"A*64","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"a content hash must be 64 lower-case hexadecimal digits"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content_hash":"a*64","path":"x"}],"message":"m"}
      409 {"code":"CONTENT_MISSING","error":"the repo does not have 1 of the contents; upload them first","missing":["HASH-2"]}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eA==","mode":"100600","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file 'x': mode '100600' is none of 100644, 100755, 120000"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eA==","mode":"755","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file 'x': mode '755' is none of 100644, 100755, 120000"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eA==","content_type":"a\nb","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file 'x': content_type is not a media type"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eA==","content_type":"x*256","path":"x"}],"message":"m"}
      400 {"code":"BAD_REQUEST","error":"file 'x': content_type is not a media type"}
    "#);
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let app = TestApp::start_with(&[
        ("DOCSTORE_BODY_BYTES_MAX", "1024"),
        ("DOCSTORE_CONTENT_BODY_BYTES_MAX", "4096"),
        ("DOCSTORE_CONTENT_BYTES_MAX", "2000"),
        ("DOCSTORE_MESSAGE_BYTES_MAX", "20"),
        ("DOCSTORE_COMMIT_FILES_MAX", "2"),
        ("DOCSTORE_IMPORT_COMMITS_MAX", "1"),
        ("DOCSTORE_HASHES_MAX", "2"),
    ])
    .await;
    let me = app.admin();
    let mut told = Transcript::new();
    let of = |files: Vec<Value>, message: &str| json!({"branch": "main", "message": message, "files": files});
    told.post(&me, &format!("{REPO}/commit"), &of(vec![text_file("x", "y")], &"m".repeat(21))).await;
    let three = ["a", "b", "c"].map(|path| text_file(path, "y")).to_vec();
    told.post(&me, &format!("{REPO}/commit"), &of(three, "m")).await;
    told.post(&me, &format!("{REPO}/commit"), &of(vec![text_file("x", &"y".repeat(4000))], "m")).await;
    told.post(&me, &format!("{REPO}/commit"), &of(vec![text_file("x", &"y".repeat(2001))], "m")).await;
    told.post(&me, &format!("{REPO}/branch"), &json!({"name": "x".repeat(1024)})).await;
    let imported = json!({"author": "a@b", "imported_from": "git:1", "files": []});
    let import = json!({"branch": "main", "commits": [imported, imported]});
    told.post(&me, &format!("{REPO}/import"), &import).await;
    let hashes = ["0", "1", "2"].map(|digit| digit.repeat(64));
    told.post(&me, &format!("{REPO}/contents/missing"), &json!({"hashes": hashes})).await;
    told.post(&me, &format!("{REPO}/archive"), &json!({"paths": ["a", "b", "c"]})).await;
    told.post(&me, &format!("{REPO}/releases"), &json!({"name": "v1", "body": "m".repeat(21)})).await;
    told.send_with(&me, Method::PUT, &format!("{REPO}/contents/{}", "0".repeat(64)), &[], &"y".repeat(2001)).await;
    told.say("what has no length announced is counted");
    let chunks = futures::stream::iter(["y", "z"].map(|piece| Ok::<_, std::io::Error>(piece.repeat(1500))));
    let request = me.request(Method::PUT, &format!("{REPO}/contents/{}", "0".repeat(64)));
    let answer = docstore_test_support::Answer::of(request.body(reqwest::Body::wrap_stream(chunks))).await;
    told.note("PUT …/contents/{hash} in chunks", &answer);
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"x"}],"message":"mmmmmmmmmmmmmmmmmmmmm"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"message is longer than 20 bytes"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eQ==","path":"a"},{"content":"eQ==","path":"b"},{"content":"eQ==","path":"c"}],"message":"m"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"a commit may change at most 2 files"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eX… (5403 bytes)
      413 {"code":"PAYLOAD_TOO_LARGE","error":"the request body is larger than 4096 bytes"}
    POST /repos/default/default/-/commit {"branch":"main","files":[{"content":"eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eX… (2735 bytes)
      413 {"code":"PAYLOAD_TOO_LARGE","error":"the content is longer than the limit of 2000 bytes"}
    POST /repos/default/default/-/branch {"name":"x*1024"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"the request body is larger than 1024 bytes"}
    POST /repos/default/default/-/import {"branch":"main","commits":[{"author":"a@b","files":[],"imported_from":"git:1"},{"author":"a@b","files":[],"imported_from":"git:1"}]}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"one import may hold at most 1 commits"}
    POST /repos/default/default/-/contents/missing {"hashes":["0*64","1*64","2*64"]}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"at most 2 hashes may be asked about at once"}
    POST /repos/default/default/-/archive {"paths":["a","b","c"]}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"at most 2 paths may be asked for at once"}
    POST /repos/default/default/-/releases {"body":"mmmmmmmmmmmmmmmmmmmmm","name":"v1"}
      413 {"code":"PAYLOAD_TOO_LARGE","error":"body is longer than 20 bytes"}
    PUT /repos/default/default/-/contents/HASH-1 y*2001
      413 {"code":"PAYLOAD_TOO_LARGE","error":"the request body is larger than 2000 bytes"}
    # what has no length announced is counted
    PUT …/contents/{hash} in chunks
      413 {"code":"PAYLOAD_TOO_LARGE","error":"the content is too long"}
    "#);
}
