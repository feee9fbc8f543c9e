//! Many who commit at once.

use std::collections::BTreeMap;

use crate::support::{Repo, code_of, file, outcome_of, sha256_hex};

use super::{all_at_once, app_and_repo, check};

const COMMITTERS: usize = 16;
const COMMITS_EACH: usize = 4;

/// Bytes in the database for half of the commits, in the blob store for the others.
fn bytes_of(committer: usize, number: usize) -> Vec<u8> {
    let length = if (committer + number).is_multiple_of(2) { 20 } else { 5000 };
    format!("{committer}/{number} ").into_bytes().into_iter().cycle().take(length).collect()
}

/// Every acknowledged commit is in the chain with its files, in the order of its number.
async fn assert_all_there(repo: &Repo, branch: &str, acknowledged: &[(i64, String, Vec<u8>)]) {
    let chains = repo.verified_chains().await;
    let by_number: BTreeMap<i64, _> = chains[branch].iter().map(|entry| (entry.sequence, entry)).collect();
    for (sequence, path, bytes) in acknowledged {
        let entry = by_number[sequence];
        assert_eq!(entry.files.len(), 1);
        assert_eq!((&entry.files[0].path, &entry.files[0].content_hash), (path, &sha256_hex(bytes)));
        assert_eq!(repo.bytes_of(branch, path).await.as_ref(), Some(bytes));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_commit_to_one_branch() {
    let (app, repo) = app_and_repo().await;
    repo.create_branch("busy").await.expect(201);
    let acknowledged = all_at_once((0..COMMITTERS).map(|committer| {
        let repo = repo.clone();
        async move {
            let mut done = Vec::new();
            for number in 0..COMMITS_EACH {
                let (path, bytes) = (format!("of{committer}/{number}"), bytes_of(committer, number));
                let answer = repo.commit("busy", &path, &[file(&path, &bytes)]).await.expect(201);
                done.push((answer["sequence"].as_i64().unwrap(), path, bytes));
            }
            assert!(done.is_sorted_by(|(one, ..), (next, ..)| one < next), "numbers rise");
            done
        }
    }))
    .await
    .concat();
    assert_all_there(&repo, "busy", &acknowledged).await;
    assert_eq!(repo.verified_chains().await["busy"].len(), COMMITTERS * COMMITS_EACH, "nothing was doubled");
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_commit_on_top_of_what_they_saw() {
    let (app, repo) = app_and_repo().await;
    let acknowledged = all_at_once((0..COMMITTERS).map(|committer| {
        let repo = repo.clone();
        async move {
            let mut head = 0;
            let mut done = Vec::new();
            // Each refusal means that somebody else has won, so this ends.
            while done.len() < 2 {
                let (path, bytes) = (format!("of{committer}/{}", done.len()), bytes_of(committer, done.len()));
                let answer = repo.commit_on("main", &path, &[file(&path, &bytes)], head).await;
                if answer.status == 201 {
                    let sequence = answer.json()["sequence"].as_i64().unwrap();
                    let parent = repo.get(&format!("commit/{sequence}")).await.expect(200)["parent_sequence"].clone();
                    assert_eq!(parent, head, "something came in between");
                    done.push((sequence, path, bytes));
                    head = sequence;
                } else {
                    assert_eq!(outcome_of(&answer), "409 HEAD_MOVED");
                    let moved = answer.json()["head_sequence"].as_i64().unwrap();
                    assert!(moved > head);
                    head = moved;
                }
            }
            done
        }
    }))
    .await
    .concat();
    assert_all_there(&repo, "main", &acknowledged).await;
    assert_eq!(repo.verified_chains().await["main"].len(), 2 * COMMITTERS);
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_commit_the_same_contents_to_separate_branches() {
    let (app, repo) = app_and_repo().await;
    for committer in 0..COMMITTERS {
        repo.create_branch(&format!("b{committer}")).await.expect(201);
    }
    let contents: Vec<Vec<u8>> = (0..8).map(|number| bytes_of(number, number / 2)).collect();
    all_at_once((0..COMMITTERS).map(|committer| {
        let (repo, mut contents) = (repo.clone(), contents.clone());
        async move {
            // Each in an order of its own: who waits for whom must not become a circle.
            contents.rotate_left(committer % 8);
            if committer >= 8 {
                contents.reverse();
            }
            let files: Vec<_> =
                contents.iter().enumerate().map(|(number, bytes)| file(&format!("f{number}"), bytes)).collect();
            let answer = repo.commit(&format!("b{committer}"), "all of them", &files).await;
            answer.expect(201);
            assert_eq!(code_of(&answer), "");
        }
    }))
    .await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM contents").fetch_one(&app.pool().await).await.unwrap();
    assert_eq!(stored, 8, "contents are stored once");
    check(&app, &repo).await;
}
