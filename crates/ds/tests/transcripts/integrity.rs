//! Trust in the server's history.

use crate::support::{Generation, Person, Stage};

async fn one_commit(stage: &Stage) -> Person<'_> {
    stage.model().lock().unwrap().commit_files("main", "one", &[("a", Some("a"))]);
    stage.workspace("alice").await
}

fn hash_of(stage: &Stage, sequence: i64) -> String {
    let model = stage.model();
    let model = model.lock().unwrap();
    model.commits.iter().find(|commit| commit.sequence == sequence).unwrap().hash.clone().unwrap()
}

#[tokio::test]
async fn the_first_sight_is_trusted_and_what_follows_must_follow() {
    for generation in [Generation::New, Generation::Old] {
        let stage = Stage::of(generation).await;
        let alice = one_commit(&stage).await;
        assert_eq!(alice.state()["commit_hash"], hash_of(&stage, 1));
        stage.model().lock().unwrap().commit_files("main", "two", &[("a", Some("b"))]);
        alice.ok(&["pull"]).await;
        assert_eq!(alice.state()["commit_hash"], hash_of(&stage, 2));
    }
}

#[tokio::test]
async fn a_changed_history_stops_before_any_file_and_stays_until_accepted() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    {
        let model = stage.model();
        let mut model = model.lock().unwrap();
        model.commit_files("main", "two", &[("a", Some("b"))]);
        model.commits[1].message = "forged".into();
    }
    let hash = hash_of(&stage, 2);
    let before = (alice.files(), alice.state());
    let seen = alice.fails(&["pull"]).await;
    assert!(seen.starts_with("error: chain integrity error at sequence 2: expected "), "{seen}");
    assert!(seen.contains(&format!("got {hash}\nhint: nothing in the workspace was touched")), "{seen}");
    assert_eq!((alice.files(), alice.state(), alice.read("a").as_str()), (before.0, before.1, "a"));
    assert_eq!(alice.fails(&["pull"]).await, seen, "the failure stays");
    // What the server says now does not matter any more, until somebody accepts it.
    stage.model().lock().unwrap().commits[1].message = "two".into();
    assert_eq!(alice.fails(&["pull"]).await, seen);
    alice.ok(&["verify", "--accept"]).await;
    alice.ok(&["pull"]).await;
    assert_eq!(alice.read("a"), "b");
}

#[tokio::test]
async fn a_replaced_anchor_and_a_history_that_went_back_are_noticed() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    stage.model().lock().unwrap().commits[0].hash = Some("f".repeat(64));
    stage.model().lock().unwrap().commit_files("main", "two", &[("b", Some("b"))]);
    let seen = alice.fails(&["pull"]).await;
    assert!(seen.contains("chain integrity error at sequence 1: anchor hash changed (stored "), "{seen}");

    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    stage.model().lock().unwrap().commit_files("main", "two", &[("b", Some("b"))]);
    alice.ok(&["pull"]).await;
    {
        let model = stage.model();
        let mut model = model.lock().unwrap();
        model.commits.pop();
        model.branches.get_mut("main").unwrap().head_sequence = 1;
    }
    let seen = alice.fails(&["pull"]).await;
    assert!(seen.contains("chain integrity error at sequence 2: the commit that was seen before is gone"), "{seen}");
    assert_eq!(alice.files(), ["a", "b"]);
}

#[tokio::test]
async fn moving_between_branches_raises_no_false_alarm() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    let bob = stage.workspace("bob").await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("x", "x");
    alice.ok(&["commit", "-m", "x"]).await;
    bob.write("b", "b");
    bob.ok(&["commit", "-m", "b"]).await;
    alice.ok(&["rebase"]).await;
    alice.ok(&["checkout", "main"]).await;
    assert_eq!(alice.state()["commit_hash"], hash_of(&stage, 3));
    alice.ok(&["checkout", "x"]).await;
    assert_eq!(alice.state()["commit_hash"], hash_of(&stage, 4));
    alice.ok(&["merge"]).await;
    bob.ok(&["pull"]).await;
    assert_eq!(bob.state()["commit_hash"], hash_of(&stage, 5));
}

#[tokio::test]
async fn a_purged_and_recreated_branch_is_told_and_trusted_anew() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("x", "x");
    alice.ok(&["commit", "-m", "x"]).await;
    {
        let model = stage.model();
        let mut model = model.lock().unwrap();
        model.commits.retain(|commit| commit.branch != "x");
        model.add_branch("x", 1, false);
        model.commit_files("x", "again", &[("y", Some("y"))]);
    }
    insta::assert_snapshot!(alice.ok(&["pull"]).await, @r"
    Synced branch 'x' (1 downloaded, 1 removed)
    warning: branch 'x' is not the one seen before: it was purged and created again
    ");
}

#[tokio::test]
async fn commits_from_before_the_hashes_are_noted() {
    let stage = Stage::new().await;
    stage.model().lock().unwrap().hashes = false;
    let alice = one_commit(&stage).await;
    assert_eq!(alice.state()["commit_hash"], "");
    stage.model().lock().unwrap().commit_files("main", "two", &[("a", Some("b"))]);
    insta::assert_snapshot!(alice.ok(&["pull"]).await, @r"
    note: sequence 2 predates hash chain feature; nothing to verify yet
    Synced branch 'main' (1 downloaded, 0 removed)
    ");
    stage.model().lock().unwrap().hashes = true;
    stage.model().lock().unwrap().commit_files("main", "three", &[("a", Some("c"))]);
    alice.ok(&["pull"]).await;
    let shown = alice.ok(&["verify"]).await.replace(&hash_of(&stage, 3)[..16], "0123456789abcdef");
    insta::assert_snapshot!(shown, @r"
    seq 1     SKIP  (no commit_hash)  one
    seq 2     SKIP  (no commit_hash)  two
    seq 3     OK    0123456789abcdef  three
    ");
}

#[tokio::test]
async fn skip_verify_moves_on_and_forgets_nothing() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    {
        let model = stage.model();
        let mut model = model.lock().unwrap();
        model.commit_files("main", "two", &[("a", Some("b"))]);
        model.commits[1].message = "forged".into();
    }
    alice.ok(&["pull", "--skip-verify"]).await;
    assert_eq!((&alice.state()["sequence"], &alice.state()["commit_hash"]), (&2.into(), &"".into()));
    let seen = alice.fails(&["pull"]).await;
    assert!(seen.contains("chain integrity error at sequence 2"), "{seen}");
}

#[tokio::test]
async fn verify_shows_every_commit_and_checks_the_content() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("x", "x");
    alice.ok(&["commit", "-m", "on the branch"]).await;
    assert!(alice.ok(&["verify", "--content"]).await.ends_with("Content of 2 files matches\n"));
    alice.ok(&["merge"]).await;
    let shown = alice.ok(&["verify"]).await;
    let shown = shown.replace(&hash_of(&stage, 1)[..16], "HASH-1").replace(&hash_of(&stage, 3)[..16], "HASH-3");
    insta::assert_snapshot!(shown, @r"
    seq 1     OK    HASH-1  one
    seq 3     OK    HASH-3  merge branch 'x'
    ");
    let damaged = stage.model().lock().unwrap().store(b"x");
    stage.model().lock().unwrap().damaged.insert(damaged);
    let seen = alice.fails(&["verify", "--content"]).await;
    assert!(seen.contains("content of x is damaged"), "{seen}");
    stage.model().lock().unwrap().damaged.clear();
    stage.model().lock().unwrap().planted = vec![("planted".into(), "p".into())];
    let seen = alice.fails(&["verify", "--content"]).await;
    assert!(seen.contains("does not follow from the commits, first at 'planted'"), "{seen}");
    stage.model().lock().unwrap().commits[0].message = "forged".into();
    let seen = alice.fails(&["verify"]).await;
    assert!(seen.contains("FAIL  (expected ") && seen.contains("error: chain integrity error at sequence 1"), "{seen}");
}

#[tokio::test]
async fn verify_goes_on_where_it_was() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    alice.ok(&["verify"]).await;
    stage.model().lock().unwrap().commit_files("main", "two", &[("b", Some("b"))]);
    let shown = alice.ok(&["verify", "--resume"]).await.replace(&hash_of(&stage, 2)[..16], "HASH-2");
    insta::assert_snapshot!(shown, @"seq 2     OK    HASH-2  two");
    insta::assert_snapshot!(alice.ok(&["verify", "--resume"]).await, @"No commits to verify.");
    stage.model().lock().unwrap().commits[1].hash = Some("e".repeat(64));
    insta::assert_snapshot!(alice.fails(&["verify", "--resume"]).await, @r"
    No commits to verify.
    error: chain integrity error at sequence 2: the commit that was verified before is another one now
    [exit 1]
    ");
}

#[tokio::test]
async fn the_anchor_of_the_original_client_is_taken_over() {
    let stage = Stage::new().await;
    let alice = one_commit(&stage).await;
    stage.model().lock().unwrap().commit_files("main", "two", &[("a", Some("b"))]);
    stage.model().lock().unwrap().commit_files("main", "three", &[("a", Some("c"))]);
    // The other client has pulled sequence 2 in this workspace and saw another hash than the server has now.
    let mut state = alice.state();
    state["sequence"] = 2.into();
    state["commit_hash"] = "d".repeat(64).into();
    alice.write(".ds/state.json", state.to_string());
    let seen = alice.fails(&["pull"]).await;
    assert!(seen.contains("chain integrity error at sequence 2: anchor hash changed (stored dddd"), "{seen}");
}
