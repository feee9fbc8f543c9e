//! `/repos/{repo}/-/tree`.

use docstore_test_support::{ADMIN, Answer, Person, TestApp};
use serde_json::{Value, json};

use crate::support::{REPO, Transcript, branch, commit, paths, terminal::Terminals};

async fn tree(who: &Person, query: &str) -> Vec<String> {
    let list = who.get(&format!("{REPO}/tree?{query}")).await.expect(200);
    paths(&list).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn pages_follow_one_another_in_bytewise_order_and_only_the_last_is_short() {
    let app = TestApp::start().await;
    let me = app.admin();
    let mut expected = vec!["Z", "a", "a b", "a-b", "a.b", "a/b", "a/b-c", "a0", "aa", "b", "é", "\u{10348}"];
    let files: Vec<(&str, Option<&str>)> = expected.iter().map(|path| (*path, Some("x"))).collect();
    // `a` cannot be a file and a directory at once.
    let files: Vec<(&str, Option<&str>)> = files.into_iter().filter(|(path, _)| *path != "a").collect();
    expected.retain(|path| *path != "a");
    commit(&me, REPO, "main", &files).await;
    commit(&me, REPO, "main", &[("deleted", Some("x"))]).await;
    commit(&me, REPO, "main", &[("deleted", None)]).await;
    assert_eq!(tree(&me, "").await, expected);
    for limit in 1..=expected.len() + 1 {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let after = percent_encoding::utf8_percent_encode(
                seen.last().map_or("", String::as_str),
                percent_encoding::NON_ALPHANUMERIC,
            )
            .to_string();
            let page = tree(&me, &format!("limit={limit}&after={after}")).await;
            let more = page.len() == limit;
            seen.extend(page);
            if !more {
                break;
            }
        }
        assert_eq!(seen, expected, "pages of {limit}");
    }
    assert_eq!(tree(&me, "after=a/b").await[0], "a/b-c");
    assert_eq!(tree(&me, "after=a/").await[0], "a/b", "a cursor need not be a file");
    assert_eq!(tree(&me, "limit=9223372036854775807").await, expected, "cut to the largest page");
}

#[tokio::test]
async fn a_page_is_never_larger_than_the_limit_of_the_server() {
    let app = TestApp::start_with(&[("DOCSTORE_PAGE_ROWS_MAX", "100")]).await;
    let me = app.admin();
    let names: Vec<String> = (0..250).map(|number| format!("{number:03}")).collect();
    let files: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("1"))).collect();
    commit(&me, REPO, "main", &files).await;
    assert_eq!(tree(&me, "limit=1000").await, names[..100]);
    assert_eq!(tree(&me, "").await, names[..100]);
    for name in &names[..100] {
        branch(&me, REPO, name).await;
    }
    // Lists that the contract sends whole stay whole unless a client asks for pages.
    assert_eq!(me.get(&format!("{REPO}/branches")).await.expect(200).as_array().unwrap().len(), 101);
    assert_eq!(me.get(&format!("{REPO}/branches?limit=1000")).await.expect(200).as_array().unwrap().len(), 100);
    // `ds` asks for more than it gets, and does not take that for the end.
    let mut told = Terminals::of(&app);
    told.workspace(ADMIN).await;
    assert!(told.types(ADMIN, "checkout 000").await.contains("0 removed"));
    assert_eq!(told.types(ADMIN, "branches").await.lines().count(), 102, "and a header");
}

#[tokio::test]
async fn the_children_of_a_directory_are_listed() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(
        &me,
        REPO,
        "main",
        &[
            ("README", Some("1")),
            ("src/a.rs", Some("1")),
            ("src/lib/b.rs", Some("1")),
            ("src/lib/c.rs", Some("1")),
            ("src-old/x", Some("1")),
            ("src.txt", Some("1")),
        ],
    )
    .await;
    let mut told = Transcript::new();
    for query in
        ["dir=/", "dir=src", "dir=src/", "dir=src/lib", "dir=none", "dir=README", "dir=src&limit=1", "dir=../etc"]
    {
        told.get(&me, &format!("{REPO}/tree?{query}")).await;
    }
    insta::assert_snapshot!(told, @r#"
    GET /repos/default/default/-/tree?dir=/
      200 [{"content_hash":"HASH-1","path":"README","size":1,"type":"file","version_id":"ID-1"},{"path":"src-old","type":"directory"},{"content_hash":"HASH-1","path":"src.txt","size":1,"type":"file","version_id":"ID-1"},{"path":"src","type":"directory"}]
    GET /repos/default/default/-/tree?dir=src
      200 [{"content_hash":"HASH-1","path":"src/a.rs","size":1,"type":"file","version_id":"ID-1"},{"path":"src/lib","type":"directory"}]
    GET /repos/default/default/-/tree?dir=src/
      200 [{"content_hash":"HASH-1","path":"src/a.rs","size":1,"type":"file","version_id":"ID-1"},{"path":"src/lib","type":"directory"}]
    GET /repos/default/default/-/tree?dir=src/lib
      200 [{"content_hash":"HASH-1","path":"src/lib/b.rs","size":1,"type":"file","version_id":"ID-1"},{"content_hash":"HASH-1","path":"src/lib/c.rs","size":1,"type":"file","version_id":"ID-1"}]
    GET /repos/default/default/-/tree?dir=none
      200 []
    GET /repos/default/default/-/tree?dir=README
      200 []
    GET /repos/default/default/-/tree?dir=src&limit=1
      200 [{"content_hash":"HASH-1","path":"src/a.rs","size":1,"type":"file","version_id":"ID-1"}]
    GET /repos/default/default/-/tree?dir=../etc
      200 []
    "#);
    // Page by page, of any size, with the cursor that the last child is.
    let whole = tree(&me, "dir=/").await;
    for limit in 1..=whole.len() {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let after = seen.last().cloned().unwrap_or_default();
            let page = tree(&me, &format!("dir=/&limit={limit}&after={after}")).await;
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen, whole, "pages of {limit}");
    }
}

#[tokio::test]
async fn a_wide_directory_is_listed_with_its_subdirectories_in_between() {
    let app = TestApp::start().await;
    let me = app.admin();
    // Runs of files of several lengths, up to more than a page, with one or more subdirectories behind each.
    let mut files: Vec<String> = Vec::new();
    let mut expected: Vec<String> = Vec::new();
    for run in [0, 1, 2, 5, 21, 90] {
        for file in 0..run {
            files.push(format!("wide/{run:02}/in/a/{file}"));
            expected.push(format!("wide/{run:02}-{file:02}"));
        }
        files.push(format!("wide/{run:02}z/deep/er"));
        files.push(format!("wide/{run:02}z/deeper"));
        expected.extend([format!("wide/{run:02}"), format!("wide/{run:02}z")]);
    }
    files.extend(expected.iter().filter(|path| path.contains('-')).cloned());
    files.extend(["wide/00/in", "wide-", "widf"].map(str::to_owned));
    expected.sort_by_key(|path| if path.contains('-') { path.clone() } else { format!("{path}/") });
    let changes: Vec<(&str, Option<&str>)> = files.iter().map(|path| (path.as_str(), Some("x"))).collect();
    commit(&me, REPO, "main", &changes).await;
    branch(&me, REPO, "topic").await;
    commit(&me, REPO, "topic", &[("wide/90-45", None), ("wide/20-new", Some("x"))]).await;
    let mut on_topic = expected.clone();
    on_topic.retain(|path| path != "wide/90-45");
    on_topic.insert(on_topic.iter().position(|path| path.as_str() > "wide/20-new").unwrap(), "wide/20-new".to_owned());
    for (branch, expected) in [("main", &expected), ("topic", &on_topic)] {
        for limit in [1, 2, 3, 7, 22, 90, 1000] {
            let mut seen: Vec<String> = Vec::new();
            loop {
                let after = seen.last().cloned().unwrap_or_default();
                let page = tree(&me, &format!("branch={branch}&dir=wide&limit={limit}&after={after}")).await;
                if page.is_empty() {
                    break;
                }
                seen.extend(page);
            }
            assert_eq!(&seen, expected, "pages of {limit} on {branch}");
        }
    }
}

#[tokio::test]
async fn a_tree_of_the_past_stays_what_it_was() {
    let app = TestApp::start().await;
    let me = app.admin();
    commit(&me, REPO, "main", &[("a", Some("1")), ("b", Some("1"))]).await;
    branch(&me, REPO, "topic").await;
    let first = commit(&me, REPO, "topic", &[("t", Some("1"))]).await;
    let second = commit(&me, REPO, "topic", &[("a", None), ("t", Some("2"))]).await;
    let at = async |sequence: i64| -> Vec<Value> {
        let mut seen = Vec::new();
        for query in [format!("tree?branch=topic&at={sequence}"), format!("tree?branch=topic&at={sequence}&dir=/")] {
            seen.push(me.get(&format!("{REPO}/{query}")).await.expect(200));
        }
        let archive = me.get(&format!("{REPO}/archive?branch=topic&at={sequence}")).await;
        assert_eq!(archive.status, 200);
        seen.push(archive.text.into());
        seen
    };
    let before = [at(first).await, at(second).await];
    assert_eq!(paths(&before[0][0]), ["a", "b", "t"]);
    assert_eq!(paths(&before[1][0]), ["b", "t"]);
    for n in 0..2 {
        commit(&me, REPO, "main", &[("b", None), (&format!("new{n}"), Some("1"))]).await;
        me.post(&format!("{REPO}/rebase"), &json!({"branch": "topic"})).await.expect(200);
        assert_eq!([at(first).await, at(second).await], before, "after rebase {n}");
        assert!(!tree(&me, "branch=topic").await.contains(&"b".to_owned()));
    }
    me.post(&format!("{REPO}/merge"), &json!({"branch": "topic"})).await.expect(200);
    assert_eq!([at(first).await, at(second).await], before, "after the merge");
}

#[tokio::test]
async fn an_unchanged_tree_is_not_sent_again() {
    let app = TestApp::start().await;
    let me = app.admin();
    let first = commit(&me, REPO, "main", &[("a", Some("1"))]).await;
    let ask = async |query: &str, tag: &str| {
        // What is compressed has a weak tag.
        let request = me.request(http::Method::GET, &format!("{REPO}/{query}")).header("Accept-Encoding", "identity");
        Answer::of(if tag.is_empty() { request } else { request.header("If-None-Match", tag) }).await
    };
    for query in [
        "tree?limit=5",
        "tree?dir=/",
        "archive?branch=main",
        "diff?branch=main",
        "file/a",
        "file/a/history",
        "commit/1",
    ] {
        let seen = ask(query, "").await;
        let tag = seen.headers["etag"].to_str().unwrap().to_owned();
        for sent in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = ask(query, &sent).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{query} {sent}");
            assert_eq!(again.headers["etag"].to_str().unwrap(), tag, "{query}");
            assert_eq!(again.headers["cache-control"], seen.headers["cache-control"], "{query}");
        }
        assert_eq!(ask(query, "\"other\"").await.status, 200, "{query}");
        assert!(seen.headers["cache-control"].to_str().unwrap().starts_with("private, "), "{query}");
    }
    let tag = ask("tree", "").await.headers["etag"].to_str().unwrap().to_owned();
    commit(&me, REPO, "main", &[("b", Some("1"))]).await;
    assert_eq!(ask("tree", &tag).await.status, 200, "the head has moved");
    // Only what can never change may be kept without asking.
    let kept = |answer: &Answer| answer.headers["cache-control"].to_str().unwrap().contains("immutable");
    assert!(kept(&ask(&format!("tree?at={first}"), "").await));
    assert!(kept(&ask(&format!("file/a?at={first}"), "").await));
    assert!(kept(&ask(&format!("archive?branch=main&at={first}"), "").await));
    for query in ["tree", "file/a", "archive?branch=main", "tree?at=999", "file/a?at=999", "archive?branch=main&at=999"]
    {
        assert!(!kept(&ask(query, "").await), "{query}");
    }
}
