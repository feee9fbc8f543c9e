//! `/repos/{repo}/-/archive` and its presigned URLs.

use std::{collections::BTreeMap, io::Read, process::Command};

use docstore_test_support::{Answer, Person, TestApp};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{
    REPO, Transcript, branch, commit,
    identities::{claimed_job, job},
    text_file,
};

async fn bytes(who: &Person, method: Method, path: &str, body: &str) -> Vec<u8> {
    let response = who.request(method, path).body(body.to_owned()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-tar");
    response.bytes().await.unwrap().to_vec()
}

/// The files of an archive: path, mode, kind, bytes or link target.
fn unpacked(archive: &[u8]) -> BTreeMap<String, (u32, String, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0), "{path}");
        let (mode, kind) = (header.mode().unwrap(), format!("{:?}", header.entry_type()));
        let mut content = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        entry.read_to_end(&mut content).unwrap();
        files.insert(path, (mode, kind, content));
    }
    files
}

#[tokio::test]
async fn an_archive_is_the_tree_byte_for_byte() {
    let app = TestApp::start().await;
    let me = app.admin();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let large = "0123456789".repeat(60_000);
    let mut executable = text_file("bin/run", "#!/bin/sh\n");
    executable["mode"] = "100755".into();
    let mut link = text_file("link", "bin/run");
    link["mode"] = "120000".into();
    let mut far = text_file("far", &"../".repeat(60));
    far["mode"] = "120000".into();
    let files = json!([
        text_file("empty", ""),
        text_file("exactly", &"x".repeat(512)),
        text_file("a b/ü€.txt", "unicode"),
        text_file(&long, "long name"),
        text_file("large", &large),
        text_file("again", &large),
        executable,
        link,
        far,
        text_file("-rf", "dash"),
        text_file("Z", "upper")
    ]);
    me.post(&format!("{REPO}/commit"), &json!({"branch": "main", "message": "m", "files": files})).await.expect(201);
    let archive = bytes(&me, Method::GET, &format!("{REPO}/archive?branch=main"), "").await;
    assert_eq!(archive.len() % 512, 0);
    assert!(archive.ends_with(&[0; 1024]) && !archive.ends_with(&[0; 1025]) || archive.len() > 1024);
    let found = unpacked(&archive);
    for file in files.as_array().unwrap() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let path = file["path"].as_str().unwrap();
        let content = STANDARD.decode(file["content"].as_str().unwrap()).unwrap();
        let expected = match file["mode"].as_str() {
            Some("100755") => (0o755, "Regular"),
            Some("120000") => (0o644, "Symlink"),
            _ => (0o644, "Regular"),
        };
        let (mode, kind, got) = &found[path];
        assert_eq!((*mode, kind.as_str()), expected, "{path}");
        assert!(*got == content, "{path}");
    }
    assert_eq!(found.len(), files.as_array().unwrap().len());
    // The order is that of the tree.
    let mut order = tar::Archive::new(archive.as_slice());
    let order: Vec<Vec<u8>> = order.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
    assert!(order.is_sorted());
    // What is not a library of ours reads it too.
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("archive.tar"), &archive).unwrap();
    let listed = Command::new("tar").arg("-xvf").arg("archive.tar").current_dir(folder.path()).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert_eq!(std::fs::read_to_string(folder.path().join("a b/ü€.txt")).unwrap(), "unicode");
    assert_eq!(std::fs::read_to_string(folder.path().join(&long)).unwrap(), "long name");
    assert_eq!(std::fs::read_link(folder.path().join("link")).unwrap().to_str().unwrap(), "bin/run");
    // The same bytes, whenever and by whichever server.
    let again = bytes(&me, Method::GET, &format!("{REPO}/archive?branch=main&at=1"), "").await;
    assert!(again == archive);
    let other = app.second_server().await;
    let there = other.person(docstore_test_support::ADMIN);
    assert!(bytes(&there, Method::GET, &format!("{REPO}/archive?branch=main"), "").await == archive);
    assert_eq!(other.stop().await, docstore_service::Outcome::Clean);
    // A release before this one wrote no hash beside the bytes: they are the same, and checked all the same.
    let pool = app.pool().await;
    sqlx::query("UPDATE content_bytes SET content_hash = NULL").execute(&pool).await.unwrap();
    assert!(bytes(&me, Method::GET, &format!("{REPO}/archive?branch=main"), "").await == archive);
    sqlx::query("UPDATE content_bytes SET bytes = 'upset' WHERE bytes = 'upper'").execute(&pool).await.unwrap();
    let response = me.request(Method::GET, &format!("{REPO}/archive?branch=main")).send().await;
    let complete = match response {
        Ok(response) if response.status() == 200 => response.bytes().await.is_ok(),
        _ => false,
    };
    assert!(!complete, "damaged bytes were archived");
}

#[tokio::test]
async fn chosen_files_are_archived() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1")), ("b", Some("1")), ("c/d", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("a", Some("2")), ("b", None)]).await;
    let path = format!("{REPO}/archive");
    let names = async |body: serde_json::Value| {
        unpacked(&bytes(&me, Method::POST, &path, &body.to_string()).await).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(names(json!({"paths": ["c/d", "a", "none", "a", "../x"]})).await, ["a", "c/d"]);
    assert_eq!(names(json!({"branch": "topic", "paths": ["a", "b"]})).await, ["a"]);
    assert_eq!(names(json!({"branch": "topic", "at": 1, "paths": ["a", "b"]})).await, ["a", "b"]);
    assert_eq!(names(json!({"paths": []})).await, Vec::<String>::new());
    me.post(&path, &json!({"branch": "none", "paths": ["a"]})).await.expect(404);
}

#[tokio::test]
async fn a_job_gets_a_url_for_its_tree() {
    let app = TestApp::start_with(&[("ARCHIVE_BASE_URL", "https://docs.example.com/base/")]).await;
    let me = app.admin();
    let pool = app.pool().await;
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    branch(&me, REPO, "feature/x").await;
    commit(&me, REPO, "feature/x", &[("b", Some("2"))]).await;
    let token = claimed_job(&pool, "default/default", "feature/x", "the-token").await;
    job(&pool, "default/default", "main", "queued-token", "queued", "now() + interval '1 hour'").await;
    job(&pool, "default/default", "main", "old-token", "claimed", "now() - interval '1 second'").await;
    commit(&me, REPO, "feature/x", &[("later", Some("3"))]).await;
    me.post("/repos", &json!({"owner": "default", "name": "other"})).await.expect(201);

    let presign = async |repo: &str, authorization: &str| {
        let request =
            me.request(Method::POST, &format!("{repo}/archive/presign")).header("Authorization", authorization);
        Answer::of(request).await
    };
    let got = presign(REPO, &format!("Bearer {token}")).await;
    assert!(got.text.contains("\\u0026"), "ampersands are escaped: {}", got.text);
    let got = got.expect(200);
    // As the contract has it, recomputed here.
    let url = got["url"].as_str().unwrap();
    let query = url.strip_prefix("https://docs.example.com/base/repos/default/default/-/archive?").unwrap();
    let fields: BTreeMap<&str, &str> = query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    assert_eq!((fields["branch"], fields["at"]), ("feature%2Fx", "2"), "the commit of the job, not the head");
    let expires: i64 = fields["expires"].parse().unwrap();
    assert!((3590..=3600).contains(&(expires - docstore_auth::system_clock()().timestamp())));
    let mut mac = Hmac::<Sha256>::new_from_slice(b"test").unwrap();
    mac.update(format!("default/default\nfeature/x\n2\n{expires}").as_bytes());
    assert_eq!(fields["sig"], hex::encode(mac.finalize().into_bytes()));
    // Anybody may fetch it, and gets the bytes that the checksum is of.
    let nobody = reqwest::Client::builder().no_proxy().build().unwrap();
    let here = format!("{}/repos/default/default/-/archive?{query}", app.base_url());
    let archive = nobody.get(&here).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(got["checksum"], format!("sha256:{}", hex::encode(Sha256::digest(&archive))));
    assert_eq!(unpacked(&archive).into_keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        presign(REPO, &format!("Bearer {token}")).await.expect(200)["checksum"],
        got["checksum"],
        "from the cache"
    );

    let mut told = Transcript::new();
    for (repo, authorization, what) in [
        (REPO, "Bearer wrong", "a wrong token"),
        (REPO, "Bearer queued-token", "a job that is not claimed"),
        (REPO, "Bearer old-token", "an expired token"),
        ("/repos/default/other/-", "Bearer the-token", "another repo"),
        ("/repos/none/none/-", "Bearer the-token", "no repo"),
    ] {
        told.note(what, &presign(repo, authorization).await);
    }
    sqlx::query("UPDATE ci_jobs SET status = 'passed'").execute(&pool).await.unwrap();
    told.note("a job that has ended", &presign(REPO, "Bearer the-token").await);
    told.say("downloads, in the order in which things are checked");
    let base = "/repos/default/default/-/archive?branch=feature%2Fx&at=2";
    for (query, what) in [
        (format!("{base}&sig=00"), "no expiry"),
        ("/repos/default/default/-/archive?sig=00".to_owned(), "nothing else"),
        (format!("{base}&expires=x&sig=00").replace("at=2", "at=x"), "no numbers"),
        (format!("{base}&expires=x&sig=00"), "no number"),
        (format!("{base}&expires=1&sig={}", fields["sig"]), "expired"),
        (format!("{base}&expires={expires}&sig=zz"), "not hex"),
        (format!("{base}&expires={}&sig={}", expires + 1, fields["sig"]), "another expiry"),
        (format!("{base}&expires={expires}&sig={}", fields["sig"]).replace("at=2", "at=3"), "another sequence"),
        (
            format!("{base}&expires={expires}&sig={}", fields["sig"]).replace("default/default/-", "default/other/-"),
            "another repo",
        ),
    ] {
        let answer = Answer::of(nobody.get(format!("{}{query}", app.base_url()))).await;
        told.note(what, &answer);
    }
    let upper = format!("{base}&expires={expires}&sig={}", fields["sig"].to_uppercase());
    assert_eq!(nobody.get(format!("{}{upper}", app.base_url())).send().await.unwrap().status(), 200);
    insta::assert_snapshot!(told, @r#"
    a wrong token
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    a job that is not claimed
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    an expired token
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    another repo
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    no repo
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    a job that has ended
      401 {"code":"UNAUTHORIZED","error":"unauthorized"}
    # downloads, in the order in which things are checked
    no expiry
      400 {"code":"BAD_REQUEST","error":"missing required query parameters"}
    nothing else
      400 {"code":"BAD_REQUEST","error":"missing required query parameters"}
    no numbers
      400 {"code":"BAD_REQUEST","error":"invalid at parameter"}
    no number
      400 {"code":"BAD_REQUEST","error":"invalid expires parameter"}
    expired
      403 expired
    not hex
      403 forbidden
    another expiry
      403 forbidden
    another sequence
      403 forbidden
    another repo
      403 forbidden
    "#);
}

#[tokio::test]
async fn readers_get_urls_as_well_and_a_server_without_a_key_has_none() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    commit(&me, REPO, "main", &[("a", Some("2"))]).await;
    let mut told = Transcript::new();
    let sums: Vec<serde_json::Value> = {
        let mut sums = Vec::new();
        for query in ["", "?at=1", "?at=2", "?at=99"] {
            sums.push(
                me.post(&format!("{REPO}/archive/presign{query}"), &json!({})).await.expect(200)["checksum"].clone(),
            );
        }
        sums
    };
    assert!(sums[0] == sums[2] && sums[2] == sums[3] && sums[0] != sums[1], "{sums:?}");
    told.post(&me, &format!("{REPO}/archive/presign?branch=none"), &json!({})).await;
    told.post(&app.person("you@example.com"), &format!("{REPO}/archive/presign"), &json!({})).await;
    let without = TestApp::start_with(&[("ARCHIVE_HMAC_SECRET", "")]).await;
    told.say("without a key");
    let answer = without.admin().post(&format!("{REPO}/archive/presign"), &json!({})).await;
    told.note("POST presign", &answer);
    let signed = without.admin().get(&format!("{REPO}/archive?branch=main&at=0&expires=9999999999&sig=00")).await;
    told.note("GET signed", &signed);
    insta::assert_snapshot!(told, @r#"
    POST /repos/default/default/-/archive/presign?branch=none {}
      404 {"code":"BRANCH_NOT_FOUND","error":"branch not found"}
    POST /repos/default/default/-/archive/presign {}
      403 {"code":"FORBIDDEN","error":"forbidden"}
    # without a key
    POST presign
      503 {"code":"SERVICE_UNAVAILABLE","error":"presigned archives not configured"}
    GET signed
      403 forbidden
    "#);
}
