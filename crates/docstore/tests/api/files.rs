//! `/repos/{repo}/-/file/{path}` and its history.

use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_test_support::{Answer, Person, TestApp};
use http::Method;
use serde_json::json;

use crate::support::{REPO, Transcript, branch, commit, identities::picked};

async fn commit_typed(who: &Person, path: &str, content_type: &str, bytes: &[u8]) {
    let file = json!({"path": path, "content": STANDARD.encode(bytes), "content_type": content_type});
    let body = json!({"branch": "main", "message": "m", "files": [file]});
    who.post(&format!("{REPO}/commit"), &body).await.expect(201);
}

async fn raw(who: &Person, path: &str, headers: &[(&str, &str)]) -> (Answer, Vec<u8>) {
    let request = who.request(Method::GET, &format!("{REPO}/file/{path}?format=raw"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap().to_vec();
    (Answer { status, headers, text: String::new() }, bytes)
}

#[tokio::test]
async fn raw_files_are_inert() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut told = String::new();
    for (path, content_type) in [
        ("page.html", "text/html"),
        ("image.svg", "image/svg+xml"),
        ("script.js", "text/javascript"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("photo.png", "image/png"),
        ("odd", "TEXT/HTML"),
        ("strange", "image/png, text/html"),
        ("none", ""),
        ("quote\";x=y é.txt", "text/plain"),
    ] {
        commit_typed(&me, path, content_type, b"<script>alert(1)</script>").await;
        let escaped = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC).to_string();
        let (answer, bytes) = raw(&me, &escaped, &[]).await;
        assert_eq!((answer.status.as_u16(), bytes.as_slice()), (200, &b"<script>alert(1)</script>"[..]));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["content-security-policy"], "sandbox; default-src 'none'");
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        told.push_str(&format!("{path}: {}; {}\n", header("content-type"), header("content-disposition")));
    }
    insta::assert_snapshot!(told, @r#"
    page.html: text/html; attachment; filename*=UTF-8''page%2Ehtml
    image.svg: image/svg+xml; attachment; filename*=UTF-8''image%2Esvg
    script.js: text/javascript; attachment; filename*=UTF-8''script%2Ejs
    a.txt: text/plain; charset=utf-8; inline; filename*=UTF-8''a%2Etxt
    photo.png: image/png; inline; filename*=UTF-8''photo%2Epng
    odd: TEXT/HTML; attachment; filename*=UTF-8''odd
    strange: image/png, text/html; attachment; filename*=UTF-8''strange
    none: application/octet-stream; attachment; filename*=UTF-8''none
    quote";x=y é.txt: text/plain; inline; filename*=UTF-8''quote%22%3Bx%3Dy%20%C3%A9%2Etxt
    "#);
}

#[tokio::test]
async fn ranges_are_parts_of_the_bytes() {
    let app = TestApp::start().await;
    let me = app.admin();
    // One in the database, one in the blob store over several of its frames.
    let large: Vec<u8> = (0..700_000_u32).flat_map(|n| [(n % 251) as u8]).collect();
    commit_typed(&me, "small", "text/plain", b"0123456789").await;
    commit_typed(&me, "large", "", &large).await;
    for (path, bytes) in [("small", &b"0123456789"[..]), ("large", &large)] {
        let size = bytes.len();
        let (whole, got) = raw(&me, path, &[]).await;
        assert_eq!((whole.status.as_u16(), got == bytes), (200, true));
        assert_eq!(whole.headers["accept-ranges"], "bytes");
        assert_eq!(whole.headers["content-length"], size.to_string());
        let tag = whole.headers["etag"].to_str().unwrap().to_owned();
        for (range, expected) in [
            ("bytes=0-0".to_owned(), 0..1),
            ("bytes=3-6".to_owned(), 3..7),
            ("bytes=5-".to_owned(), 5..size),
            ("bytes=-4".to_owned(), size - 4..size),
            (format!("bytes=-{}", size * 2), 0..size),
            (format!("bytes=2-{}", size * 2), 2..size),
            (format!("bytes={}-{}", size / 2, size / 2 + 2), size / 2..size / 2 + 3),
            ("bytes=0-18446744073709551615".to_owned(), 0..size),
        ] {
            let (part, got) = raw(&me, path, &[("range", &range), ("if-range", &tag)]).await;
            assert_eq!(part.status, 206, "{path} {range}");
            assert!(got == bytes[expected.clone()], "{path} {range}");
            let told = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(part.headers["content-range"], told, "{path} {range}");
            assert_eq!(part.headers["content-length"], expected.len().to_string(), "{path} {range}");
            assert_eq!(part.headers["etag"].to_str().unwrap(), tag);
        }
        for range in ["bytes=3-2", "bytes=", "lines=1-2", "bytes=0-1,4-5", "bytes=18446744073709551616-"] {
            let (whole, got) = raw(&me, path, &[("range", range)]).await;
            assert_eq!((whole.status.as_u16(), got.len()), (200, size), "{path} {range}");
        }
        let (outside, _) = raw(&me, path, &[("range", &format!("bytes={size}-"))]).await;
        assert_eq!(outside.status, 416);
        assert_eq!(outside.headers["content-range"], format!("bytes */{size}"));
        let (other, got) = raw(&me, path, &[("range", "bytes=0-0"), ("if-range", "\"other\"")]).await;
        assert_eq!((other.status.as_u16(), got.len()), (200, size), "a range of other bytes is not wanted");
        let (unchanged, got) = raw(&me, path, &[("range", "bytes=0-0"), ("if-none-match", &tag)]).await;
        assert_eq!((unchanged.status.as_u16(), got.len()), (304, 0));
    }
    commit_typed(&me, "empty", "", b"").await;
    let (empty, got) = raw(&me, "empty", &[]).await;
    assert_eq!((empty.status.as_u16(), got.len(), &empty.headers["content-length"]), (200, 0, &"0".parse().unwrap()));
    assert_eq!(raw(&me, "empty", &[("range", "bytes=0-")]).await.0.status, 416);
}

#[tokio::test]
async fn a_file_is_json_with_base64_whatever_its_size() {
    let app = TestApp::start().await;
    let me = app.admin();
    for size in [0, 1, 2, 3, 4096, 4097, 4098, 300_001] {
        let bytes: Vec<u8> = (0..size).map(|n| (n * 7 % 256) as u8).collect();
        commit_typed(&me, "f", "application/x-test", &bytes).await;
        let file = me.get(&format!("{REPO}/file/f")).await.expect(200);
        assert_eq!(STANDARD.decode(file["content"].as_str().unwrap()).unwrap(), bytes, "{size} bytes");
        assert_eq!(file["content_type"], "application/x-test");
        assert_eq!(file["content_hash"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)));
    }
    // The tag tells the mode apart as well, since the JSON shows it.
    let tag = me.get(&format!("{REPO}/file/f")).await.headers["etag"].clone();
    let file = me.get(&format!("{REPO}/file/f")).await.expect(200);
    let body = json!({"branch": "main", "message": "m", "files": [
        {"path": "f", "content_hash": file["content_hash"], "mode": "100755"}]});
    me.post(&format!("{REPO}/commit"), &body).await.expect(201);
    let executable = me.get(&format!("{REPO}/file/f")).await;
    assert_ne!(executable.headers["etag"], tag);
    assert_eq!(executable.expect(200)["mode"], "100755");
    assert_eq!(executable.json().get("content_type"), None, "a media type belongs to the change, not to the bytes");
}

#[tokio::test]
async fn damaged_bytes_are_never_an_answer() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit_typed(&me, "small", "", b"hello").await;
    commit_typed(&me, "large", "", &vec![b'x'; 20_000]).await;
    let pool = app.pool().await;
    sqlx::query("UPDATE content_bytes SET bytes = 'jello'").execute(&pool).await.unwrap();
    let mut damaged = 0;
    let mut folders = vec![app.blobs().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let mut bytes = std::fs::read(entry.path()).unwrap();
                bytes[10] ^= 1;
                std::fs::write(entry.path(), bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 1);
    let mut told = Transcript::new();
    told.get(&me, &format!("{REPO}/file/small")).await;
    told.get(&me, &format!("{REPO}/file/small?format=raw")).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/file/small
      500 {"code":"CONTENT_CORRUPT","error":"the stored content is damaged"}
    GET /repos/default/default/-/file/small?format=raw
      500 {"code":"CONTENT_CORRUPT","error":"the stored content is damaged"}
    "#);
    // What has begun is broken off.
    for path in ["file/large", "file/large?format=raw", "archive?branch=main"] {
        let response = me.request(Method::GET, &format!("{REPO}/{path}")).send().await;
        let complete = match response {
            Ok(response) if response.status() == 200 => response.bytes().await.is_ok(),
            _ => false,
        };
        assert!(!complete, "{path}");
    }
}

#[tokio::test]
async fn the_history_of_a_file_has_pages() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1")), ("other", Some("1"))]).await;
    commit(&me, REPO, "main", &[("a", Some("2"))]).await;
    commit(&me, REPO, "main", &[("other", Some("2"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", None)]).await;
    commit(&me, REPO, "main", &[("a", Some("3"))]).await;
    let mut told = Transcript::new();
    told.get(&me, &format!("{REPO}/file/a/history?branch=topic")).await;
    told.get(&me, &format!("{REPO}/file/a/history?branch=topic&limit=1")).await;
    told.get(&me, &format!("{REPO}/file/a/history?branch=topic&limit=1&after=4")).await;
    told.get(&me, &format!("{REPO}/file/a/history?branch=topic&after=1")).await;
    told.get(&me, &format!("{REPO}/file/none/history")).await;
    told.say("a file may be called history");
    commit(&me, REPO, "main", &[("docs/history", Some("h")), ("history", Some("r"))]).await;
    told.get(&me, &format!("{REPO}/file/docs/history")).await;
    told.get(&me, &format!("{REPO}/file/history")).await;
    told.get(&me, &format!("{REPO}/file/docs/history/history")).await;
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/file/a/history?branch=topic
      200 [{"author":"admin@example.com","created_at":"TIME","message":"change topic","sequence":4,"version_id":null},{"author":"admin@example.com","created_at":"TIME","message":"change main","sequence":2,"version_id":"ID-1"},{"author":"admin@example.com","created_at":"TIME","message":"change main","sequence":1,"version_id":"ID-2"}]
    GET /repos/default/default/-/file/a/history?branch=topic&limit=1
      200 [{"author":"admin@example.com","created_at":"TIME","message":"change topic","sequence":4,"version_id":null}]
    GET /repos/default/default/-/file/a/history?branch=topic&limit=1&after=4
      200 [{"author":"admin@example.com","created_at":"TIME","message":"change main","sequence":2,"version_id":"ID-1"}]
    GET /repos/default/default/-/file/a/history?branch=topic&after=1
      200 []
    GET /repos/default/default/-/file/none/history
      200 []
    # a file may be called history
    GET /repos/default/default/-/file/docs/history
      200 {"content":"aA==","content_hash":"HASH-1","path":"docs/history","version_id":"ID-3"}
    GET /repos/default/default/-/file/history
      200 {"content":"cg==","content_hash":"HASH-2","path":"history","version_id":"ID-4"}
    GET /repos/default/default/-/file/docs/history/history
      200 [{"author":"admin@example.com","created_at":"TIME","message":"change main","sequence":6,"version_id":"ID-3"}]
    "#);
    // The same bytes have one id in a repo, wherever they are.
    commit(&me, REPO, "main", &[("copy", Some("3"))]).await;
    let id = async |path: &str| picked(&me.get(&format!("{REPO}/file/{path}")).await.json(), &["version_id"]);
    assert_eq!(id("copy").await, id("a").await);
}
