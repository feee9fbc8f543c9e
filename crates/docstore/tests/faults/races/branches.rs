//! Merges, rebases and commits that meet on one branch.

use serde_json::json;

use crate::support::file;

use super::{ROUNDS, app_and_repo, both, check, outcomes};

/// A branch with one commit of its own, and its head.
async fn branch_with_commit(repo: &crate::support::Repo, name: &str) -> i64 {
    repo.create_branch(name).await.expect(201);
    repo.commit(name, "mine", &[file(&format!("{name}.txt"), b"one")]).await.expect(201)["sequence"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_races_a_commit_to_the_branch() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        let head = branch_with_commit(&repo, &name).await;
        let late = file(&format!("{name}.late"), b"late");
        let merging = {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("merge", &json!({"branch": name, "expected_head": head})).await }
        };
        let committing = {
            let (repo, name, late) = (repo.clone(), name.clone(), late.clone());
            async move { repo.commit(&name, "late", &[late]).await }
        };
        let answers = both(merging, committing).await;
        let (merged, committed) = outcomes(&answers);
        let on_main = repo.tree("main").await;
        match (merged.as_str(), committed.as_str()) {
            ("200", "409 BRANCH_NOT_ACTIVE") => {
                assert!(on_main.contains_key(&format!("{name}.txt")) && !on_main.contains_key(&format!("{name}.late")));
            }
            ("409 HEAD_MOVED", "201") => {
                assert!(!on_main.contains_key(&format!("{name}.txt")), "an unseen commit was merged");
                assert_eq!(answers.0.json()["head_sequence"], answers.1.json()["sequence"]);
            }
            other => panic!("{other:?}"),
        }
    }
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_without_a_condition_takes_all_or_leaves_all_of_a_commit() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        branch_with_commit(&repo, &name).await;
        let late = [file(&format!("{name}.1"), b"1"), file(&format!("{name}.2"), b"2")];
        let merging = {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("merge", &json!({"branch": name})).await }
        };
        let committing = {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.commit(&name, "late", &late).await }
        };
        let (merged, committed) = outcomes(&both(merging, committing).await);
        assert_eq!(merged, "200");
        let on_main = repo.tree("main").await;
        let late = [1, 2].map(|number| on_main.contains_key(&format!("{name}.{number}")));
        match committed.as_str() {
            "201" => assert_eq!(late, [true, true]),
            "409 BRANCH_NOT_ACTIVE" => assert_eq!(late, [false, false]),
            other => panic!("{other}"),
        }
    }
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_merge_one_branch() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        branch_with_commit(&repo, &name).await;
        let merge = || {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("merge", &json!({"branch": name})).await }
        };
        let mut outcomes: [String; 2] = outcomes(&both(merge(), merge()).await).into();
        outcomes.sort();
        assert_eq!(outcomes, ["200", "409 BRANCH_NOT_ACTIVE"]);
    }
    assert_eq!(repo.verified_chains().await["main"].len(), ROUNDS, "a branch was merged twice");
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_branches_that_conflict_are_merged() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let path = format!("file{round}");
        let names = [format!("one{round}"), format!("two{round}")];
        for name in &names {
            repo.create_branch(name).await.expect(201);
            repo.commit(name, "mine", &[file(&path, name.as_bytes())]).await.expect(201);
        }
        let merge = |name: &String| {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("merge", &json!({"branch": name})).await }
        };
        let answers = both(merge(&names[0]), merge(&names[1])).await;
        let (winner, loser) = match outcomes(&answers) {
            (one, other) if one == "200" && other == "409 MERGE_CONFLICT" => (&names[0], answers.1),
            (one, other) if one == "409 MERGE_CONFLICT" && other == "200" => (&names[1], answers.0),
            other => panic!("{other:?}"),
        };
        assert_eq!(loser.json()["conflicts"][0]["path"], path);
        assert_eq!(repo.bytes_of("main", &path).await.unwrap(), winner.as_bytes());
    }
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebase_races_a_merge() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        let head = branch_with_commit(&repo, &name).await;
        repo.commit("main", "moved", &[file(&format!("main{round}"), b"moved")]).await.expect(201);
        let merging = {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("merge", &json!({"branch": name, "expected_head": head})).await }
        };
        let rebasing = {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("rebase", &json!({"branch": name, "expected_head": head})).await }
        };
        let (merged, rebased) = outcomes(&both(merging, rebasing).await);
        match (merged.as_str(), rebased.as_str()) {
            ("200", "409 BRANCH_NOT_ACTIVE") => {
                assert!(repo.tree("main").await.contains_key(&format!("{name}.txt")));
            }
            ("409 HEAD_MOVED", "200") => {
                assert!(repo.tree(&name).await.contains_key(&format!("main{round}")));
                assert!(!repo.tree("main").await.contains_key(&format!("{name}.txt")));
            }
            other => panic!("{other:?}"),
        }
    }
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebase_races_a_commit_to_main_and_two_to_the_branch() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        branch_with_commit(&repo, &name).await;
        let main_head = repo.head("main").await;
        let rebasing = {
            let (repo, name) = (repo.clone(), name.clone());
            async move { repo.post("rebase", &json!({"branch": name, "expected_main_head": main_head})).await }
        };
        let commit = |branch: &str, path: String| {
            let (repo, branch) = (repo.clone(), branch.to_owned());
            async move { repo.commit(&branch, "meanwhile", &[file(&path, b"meanwhile")]).await }
        };
        let on_main = commit("main", format!("main{round}"));
        let on_branch = commit(&name, format!("{name}.1"));
        let ((rebased, on_branch), on_main) = tokio::join!(both(rebasing, on_branch), tokio::spawn(on_main));
        let (rebased, on_branch) = outcomes(&(rebased, on_branch));
        on_main.unwrap().expect(201);
        assert_eq!(on_branch, "201");
        assert!(["200", "409 HEAD_MOVED"].contains(&rebased.as_str()), "{rebased}");
        let tree: Vec<String> =
            repo.tree(&name).await.into_keys().filter(|path| path.starts_with(&format!("{name}."))).collect();
        assert_eq!(tree, [format!("{name}.1"), format!("{name}.txt")], "a commit was lost in the rebase");
        repo.post("merge", &json!({"branch": name})).await.expect(200);
    }
    check(&app, &repo).await;
}
