//! Branches, repos and roles that are taken away from under those who use them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use docstore_test_support::{Answer, TestApp};
use serde_json::json;

use crate::{
    invariants,
    support::{Repo, escaped, file, outcome_of},
};

use super::{ROUNDS, all_at_once, app_and_repo, both, check, outcomes};

/// Writers of every kind in a repo that goes away: whatever they did before counts, and then they hear that it has gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_repo_is_deleted_while_it_is_written_to() {
    let app = TestApp::start().await;
    for round in 0..4 {
        let repo = Repo::create(app.admin(), "doomed").await;
        for committer in 0..6 {
            repo.create_branch(&format!("b{committer}")).await.expect(201);
        }
        let seen = repo.commit("main", "to be released", &[file("f", b"f")]).await.expect(201)["sequence"].clone();
        let writers = (0..16).map(|writer| {
            let repo = repo.clone();
            async move {
                for number in 0.. {
                    let answer = write(&repo, writer, number).await;
                    match outcome_of(&answer).as_str() {
                        "200" | "201" => {}
                        "404 REPO_NOT_FOUND" | "404 BRANCH_NOT_FOUND" => return,
                        other => panic!("writer {writer}, number {number}: {other}: {}", answer.text),
                    }
                }
            }
        });
        let deleting = {
            let repo = repo.clone();
            async move {
                // Not before there is something to delete.
                while repo.head("main").await == seen {}
                let path = format!("/repos/{}", repo.name);
                repo.person.delete(&path).await.expect(204);
            }
        };
        tokio::join!(all_at_once(writers), deleting);
        assert_eq!(outcome_of(&repo.get("tree").await), "404 REPO_NOT_FOUND");
        invariants::check(&app.pool().await, app.blobs()).await;
        let events = "SELECT type FROM event_log WHERE repo_id = (SELECT max(id) FROM repos) ORDER BY id DESC LIMIT 1";
        let last: String = sqlx::query_scalar(events).fetch_one(&app.pool().await).await.unwrap();
        assert_eq!(last, "com.docstore.repo.deleted", "something happened to a deleted repo in round {round}");
    }
}

/// One write of many kinds.
async fn write(repo: &Repo, writer: usize, number: usize) -> Answer {
    let name = format!("of{writer}/{number}");
    match writer {
        0..6 => repo.commit(&format!("b{writer}"), "mine", &[file(&name, name.as_bytes())]).await,
        6..10 => repo.commit("main", "ours", &[file(&name, &name.repeat(1000).into_bytes())]).await,
        10 | 11 => repo.create_branch(&name).await,
        12 => repo.upload(name.as_bytes()).await,
        13 => {
            let role = json!({"role": if number.is_multiple_of(2) { "reader" } else { "writer" }});
            repo.person.put(&repo.path("roles/somebody@example.com"), &role).await
        }
        14 => {
            let name = name.replace('/', "-");
            repo.post("releases", &json!({"name": name})).await
        }
        _ => {
            let path = repo.path(&format!("branch/{}", escaped("b0")));
            repo.person.patch(&path, &json!({"draft": number.is_multiple_of(2)})).await
        }
    }
}

/// Sixteen who commit without a pause do not keep anybody from managing the repo, and hear nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_repo_is_managed_while_sixteen_commit() {
    let (app, repo) = app_and_repo().await;
    let done = Arc::new(AtomicBool::new(false));
    for committer in 0..8 {
        repo.create_branch(&format!("b{committer}")).await.expect(201);
    }
    let committers = (0..16).map(|committer| {
        let (repo, done) = (repo.clone(), Arc::clone(&done));
        async move {
            let branch = if committer < 8 { format!("b{committer}") } else { "main".to_owned() };
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                let path = format!("of{committer}/{number}");
                repo.commit(&branch, "mine", &[file(&path, path.as_bytes())]).await.expect(201);
                number += 1;
            }
        }
    });
    let managing = async {
        for round in 0..8 {
            let name = format!("old{round}");
            repo.create_branch(&name).await.expect(201);
            let big = vec![u8::try_from(round).unwrap(); 10_000];
            repo.commit(&name, "to go", &[file("gone", &big)]).await.expect(201);
            repo.abandon(&name).await.expect(204);
            let update = "UPDATE branches SET created_at = created_at - interval '9 days' WHERE name = $1";
            sqlx::query(update).bind(&name).execute(&app.pool().await).await.unwrap();
            let update = "UPDATE commits SET created_at = created_at - interval '9 days' WHERE message = 'to go'";
            sqlx::query(update).execute(&app.pool().await).await.unwrap();
            repo.give_role("somebody@example.com", "writer").await;
            repo.post("releases", &json!({"name": format!("v{round}")})).await.expect(201);
            let purged = repo.post("purge", &json!({"older_than": "8d"})).await.expect(200);
            assert_eq!((&purged["branches_purged"], &purged["documents_deleted"]), (&json!(1), &json!(1)));
            // The name is free again.
            repo.create_branch(&name).await.expect(201);
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(all_at_once(committers), managing);
    check(&app, &repo).await;
}

/// A purge takes what ended; what somebody does to an ended branch meanwhile comes before or after.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_races_those_who_touch_the_branch() {
    let (app, repo) = app_and_repo().await;
    for round in 0..ROUNDS {
        let name = format!("b{round}");
        repo.create_branch(&name).await.expect(201);
        repo.abandon(&name).await.expect(204);
        let update = "UPDATE branches SET created_at = created_at - interval '9 days' WHERE name = $1";
        sqlx::query(update).bind(&name).execute(&app.pool().await).await.unwrap();
        let purge = || {
            let repo = repo.clone();
            async move { repo.post("purge", &json!({"older_than": "8d"})).await }
        };
        let touch = {
            let (repo, name) = (repo.clone(), name.clone());
            async move {
                let path = repo.path(&format!("branch/{name}"));
                repo.person.patch(&path, &json!({"draft": true})).await
            }
        };
        let (two, (purged, touched)) = tokio::join!(tokio::spawn(purge()), both(purge(), touch));
        assert_eq!((outcome_of(&purged), outcome_of(two.as_ref().unwrap())), ("200".to_owned(), "200".to_owned()));
        let count = |answer: &Answer| answer.json()["branches_purged"].as_i64().unwrap();
        assert_eq!(count(&purged) + count(&two.unwrap()), 1, "two purged one branch");
        assert!(["200", "404 BRANCH_NOT_FOUND"].contains(&outcome_of(&touched).as_str()), "{}", touched.text);
        assert_eq!(outcome_of(&repo.get(&format!("branch/{name}")).await), "404 BRANCH_NOT_FOUND");
    }
    check(&app, &repo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_remove_each_other() {
    // Nobody is global admin, so that nobody could help.
    let app = TestApp::start_with(&[("BOOTSTRAP_ADMIN", "")]).await;
    let people = ["one@example.com", "two@example.com"];
    let first = app.person(people[0]);
    for round in 0..ROUNDS {
        let repo = Repo::create(first.clone(), &format!("r{round}")).await;
        repo.give_role(people[1], "admin").await;
        let sides = people.map(|identity| repo.seen_by(app.person(identity)));
        let path = |identity: &str| repo.path(&format!("roles/{}", escaped(identity)));
        let paths = [path(people[1]), path(people[0])];
        let remove = |side: usize| {
            let (repo, path) = (sides[side].clone(), paths[side].clone());
            async move {
                if side == 0 {
                    repo.person.delete(&path).await
                } else {
                    repo.person.put(&path, &json!({"role": "reader"})).await
                }
            }
        };
        let outcomes = outcomes(&both(remove(0), remove(1)).await);
        match (outcomes.0.as_str(), outcomes.1.as_str()) {
            ("204", "409 CONFLICT" | "403 FORBIDDEN") | ("409 CONFLICT" | "403 FORBIDDEN", "200") => {}
            other => panic!("{other:?}"),
        }
        let roles =
            "SELECT count(*) FROM roles r JOIN repos p ON p.id = r.repo_id WHERE p.name = $1 AND r.role = 'admin'";
        let admins: i64 = sqlx::query_scalar(roles).bind(&repo.name).fetch_one(&app.pool().await).await.unwrap();
        assert_eq!(admins, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_taken_once() {
    let (app, repo) = app_and_repo().await;
    repo.commit("main", "something", &[file("f", b"f")]).await.expect(201);
    for round in 0..4 {
        let kinds = [
            ("/orgs".to_owned(), json!({"name": format!("o{round}")}), "409 ORG_EXISTS"),
            ("/repos".to_owned(), json!({"owner": "default", "name": format!("r{round}")}), "409 REPO_EXISTS"),
            (repo.path("branch"), json!({"name": format!("b{round}")}), "409 BRANCH_EXISTS"),
            (repo.path("releases"), json!({"name": format!("v{round}")}), "409 CONFLICT"),
        ];
        for (path, body, taken) in kinds {
            let outcomes = all_at_once((0..8).map(|_| {
                let (person, path, body) = (app.admin(), path.clone(), body.clone());
                async move { outcome_of(&person.post(&path, &body).await) }
            }))
            .await;
            let count = |wanted: &str| outcomes.iter().filter(|outcome| *outcome == wanted).count();
            assert_eq!((count("201"), count(taken)), (1, 7), "{path}: {outcomes:?}");
        }
    }
    check(&app, &repo).await;
}
