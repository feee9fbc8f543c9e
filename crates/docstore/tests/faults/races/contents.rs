//! Contents that are uploaded, used and cleared away at the same time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use docstore_test_support::Answer;
use futures::SinkExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Repo, file, outcome_of, sha256_hex};

use super::{ROUNDS, all_at_once, app_and_repo, both, check, operations};

fn named(path: &str, bytes: &[u8]) -> Value {
    json!({"path": path, "content_hash": sha256_hex(bytes)})
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_upload_one_content() {
    let (app, repo) = app_and_repo().await;
    for bytes in [b"small".to_vec(), vec![7; 300_000]] {
        let versions = all_at_once((0..16).map(|_| {
            let (repo, bytes) = (repo.clone(), bytes.clone());
            async move {
                let answer = repo.upload(&bytes).await;
                assert!(answer.status.is_success(), "{}", answer.text);
                answer.json()["version_id"].as_str().unwrap().to_owned()
            }
        }))
        .await;
        assert!(versions.iter().all(|version| *version == versions[0]), "one content has several ids");
        repo.commit("main", "all the same", &[named("f", &bytes)]).await.expect(201);
        assert_eq!(repo.bytes_of("main", "f").await, Some(bytes));
    }
    check(&app, &repo).await;
}

/// An upload can be committed for a day, whatever is purged meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_survives_purges_until_it_is_committed() {
    let (app, repo) = app_and_repo().await;
    let done = Arc::new(AtomicBool::new(false));
    let purging = {
        let (repo, done) = (repo.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                repo.post("purge", &json!({"older_than": "1d"})).await.expect(200);
            }
        })
    };
    all_at_once((0..8).map(|uploader| {
        let repo = repo.clone();
        async move {
            let branch = format!("b{uploader}");
            repo.create_branch(&branch).await.expect(201);
            for number in 0..5 {
                // All upload the same bytes, half of them for the blob store.
                let bytes = vec![u8::try_from(number).unwrap(); if number % 2 == 0 { 100 } else { 10_000 }];
                let answer = repo.upload(&bytes).await;
                assert!(answer.status.is_success(), "{}", answer.text);
                let path = format!("f{number}");
                repo.commit(&branch, "what was uploaded", &[named(&path, &bytes)]).await.expect(201);
                assert_eq!(repo.bytes_of(&branch, &path).await, Some(bytes));
            }
            repo.abandon(&branch).await.expect(204);
        }
    }))
    .await;
    done.store(true, Ordering::Relaxed);
    purging.await.unwrap();
    check(&app, &repo).await;
}

/// A content whose day is over is committed and uploaded again while it is cleared away.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_expires_while_it_is_used() {
    let (app, repo) = app_and_repo().await;
    let (collector, pool) = (operations(&app).await, app.pool().await);
    for round in 0..2 * ROUNDS {
        let contents: Vec<Vec<u8>> =
            (0..4).map(|number| format!("{round}.{number} ").into_bytes().repeat(1 + 2000 * (number % 2))).collect();
        for bytes in &contents {
            repo.upload(bytes).await.expect(201);
        }
        let make_old = "UPDATE uploaded_contents SET uploaded_at = uploaded_at - interval '25 hours'";
        sqlx::query(make_old).execute(&pool).await.unwrap();
        let committing = {
            let (repo, mut contents) = (repo.clone(), contents.clone());
            async move {
                contents.reverse();
                let path = |number: usize| format!("{round}.{number}");
                let files: Vec<Value> =
                    contents.iter().enumerate().map(|(number, bytes)| named(&path(number), bytes)).collect();
                repo.commit("main", "at the last moment", &files).await
            }
        };
        let uploading = {
            let (repo, bytes) = (repo.clone(), contents[round % 4].clone());
            async move { repo.upload(&bytes).await }
        };
        let collecting = {
            let collector = collector.clone();
            tokio::spawn(async move { collector.maintain().await.unwrap() })
        };
        let (committed, uploaded) = both(committing, uploading).await;
        collecting.await.unwrap();
        assert!(uploaded.status.is_success(), "{}", uploaded.text);
        repo.commit("main", "uploaded again", &[named("again", &contents[round % 4])]).await.expect(201);
        match outcome_of(&committed).as_str() {
            "201" => {}
            "409 CONTENT_MISSING" => assert!(!committed.json()["missing"].as_array().unwrap().is_empty()),
            other => panic!("{other}: {}", committed.text),
        }
        // What was cleared away goes from the disk as well, and what is in use does not.
        sqlx::query("UPDATE blob_deletions SET not_before = now()").execute(&pool).await.unwrap();
        while collector.maintain().await.unwrap().found_work() {}
        if committed.status == 201 {
            for (number, bytes) in contents.iter().rev().enumerate() {
                assert_eq!(repo.bytes_of("main", &format!("{round}.{number}")).await.as_ref(), Some(bytes));
            }
        }
        assert_eq!(repo.bytes_of("main", "again").await.as_ref(), Some(&contents[round % 4]));
        check(&app, &repo).await;
    }
}

/// An upload that takes longer than its blob may go unnamed: it fails, rather than name what was cleared away.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_cleared_away_before_it_is_named() {
    let (app, repo) = app_and_repo().await;
    let (collector, pool) = (operations(&app).await, app.pool().await);
    let bytes = vec![7; 20_000];
    let (mut send, receive) = futures::channel::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(receive);
    let path = repo.path(&format!("contents/{}", sha256_hex(&bytes)));
    let upload = tokio::spawn(Answer::of(repo.person.request(Method::PUT, &path).body(body)));
    send.send(Ok(bytes[..10_000].to_vec())).await.unwrap();
    let scheduled = "SELECT count(*) FROM blob_deletions";
    while sqlx::query_scalar::<_, i64>(scheduled).fetch_one(&pool).await.unwrap() == 0 {}
    sqlx::query("UPDATE blob_deletions SET not_before = now()").execute(&pool).await.unwrap();
    assert_eq!(collector.maintain().await.unwrap().blobs_deleted, 1);
    send.send(Ok(bytes[10_000..].to_vec())).await.unwrap();
    drop(send);
    assert_eq!(outcome_of(&upload.await.unwrap()), "503 SERVICE_UNAVAILABLE");
    // Nobody knows of that blob any more; it is the one leftover that a clock gone wrong can cause.
    let repos = std::fs::read_dir(app.blobs()).unwrap().map(|repo| repo.unwrap());
    for repo in repos.filter(|repo| !repo.file_name().as_encoded_bytes().starts_with(b".")) {
        std::fs::remove_dir_all(repo.path()).unwrap();
    }
    repo.upload(&bytes).await.expect(201);
    repo.commit("main", "at last", &[named("f", &bytes)]).await.expect(201);
    assert_eq!(repo.bytes_of("main", "f").await, Some(bytes));
    check(&app, &repo).await;
}

/// Two who clear away at once share the work, also with those who bring new contents.
#[tokio::test(flavor = "multi_thread")]
async fn several_servers_clear_away() {
    let (app, repo) = app_and_repo().await;
    let (collector, pool) = (operations(&app).await, app.pool().await);
    for round in 0..4 {
        let doomed = Repo::create(app.admin(), "doomed").await;
        for number in 0..6 {
            let bytes = vec![number; 10_000];
            doomed.commit("main", "to go", &[file(&format!("f{number}"), &bytes)]).await.expect(201);
            repo.upload(&[number, round].repeat(5000)).await.expect(201);
        }
        doomed.person.delete(&format!("/repos/{}", doomed.name)).await.expect(204);
        let make_old = "UPDATE uploaded_contents SET uploaded_at = uploaded_at - interval '25 hours'";
        sqlx::query(make_old).execute(&pool).await.unwrap();
        all_at_once((0..6_u8).map(|worker| {
            let (collector, repo) = (collector.clone(), repo.clone());
            async move {
                if worker < 4 {
                    while collector.maintain().await.unwrap().found_work() {}
                } else {
                    let path = format!("of{worker}/{round}");
                    repo.commit("main", "meanwhile", &[file(&path, &[worker, round].repeat(5000))]).await.expect(201);
                }
            }
        }))
        .await;
    }
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM commits c JOIN repos r ON r.id = c.repo_id AND r.deleted_at IS NOT NULL)
            + (SELECT count(*) FROM contents c JOIN repos r ON r.id = c.repo_id AND r.deleted_at IS NOT NULL)
            + (SELECT count(*) FROM uploaded_contents)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(left, 0, "something was not cleared away");
    for (worker, round) in (4..6_u8).flat_map(|worker| (0..4).map(move |round| (worker, round))) {
        let bytes = repo.bytes_of("main", &format!("of{worker}/{round}")).await;
        assert_eq!(bytes, Some([worker, round].repeat(5000)));
    }
    check(&app, &repo).await;
}
