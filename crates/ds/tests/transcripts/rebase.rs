//! Rebasing, and getting out of conflicts.

use crate::support::{Generation, Person, Stage};

/// `f` is changed on the branch and on main.
async fn diverged<'s>(stage: &'s Stage, base: &str, branch: &str, main: &str) -> Person<'s> {
    stage.model().lock().unwrap().commit_files("main", "base", &[("f", Some(base)), ("g", Some("g\n"))]);
    let alice = stage.workspace("alice").await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("f", branch);
    alice.ok(&["commit", "-m", "on the branch"]).await;
    stage.model().lock().unwrap().commit_files("main", "on main", &[("f", Some(main)), ("h", Some("h\n"))]);
    alice
}

#[tokio::test]
async fn a_rebase_without_conflicts_brings_its_result() {
    let stage = Stage::new().await;
    stage.model().lock().unwrap().commit_files("main", "base", &[("f", Some("f\n"))]);
    let alice = stage.workspace("alice").await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("own", "own\n");
    alice.ok(&["commit", "-m", "own"]).await;
    stage.model().lock().unwrap().commit_files("main", "on main", &[("h", Some("h\n"))]);
    insta::assert_snapshot!(alice.ok(&["rebase"]).await, @"Rebased 'x' onto main (base: 3, head: 4, 1 commits replayed)");
    assert_eq!((alice.files(), &alice.state()["sequence"]), (vec!["f".into(), "h".into(), "own".into()], &4.into()));
    alice.ok(&["merge"]).await;
    assert_eq!(alice.files(), ["f", "h", "own"]);
}

#[tokio::test]
async fn edits_of_different_lines_need_nobody() {
    let stage = Stage::new().await;
    let alice = diverged(&stage, "1\n2\n3\n4\n5\n", "one\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n").await;
    insta::assert_snapshot!(alice.ok(&["rebase"]).await, @r"
    merged: f
    Rebased 'x' onto main (base: 3, head: 5, 1 commits replayed)
    ");
    assert_eq!(alice.read("f"), "one\n2\n3\n4\nfive\n");
    assert_eq!(alice.ok(&["status"]).await, "On branch x\nNo changes\n");
    alice.ok(&["merge"]).await;
    assert_eq!(alice.read("f"), "one\n2\n3\n4\nfive\n");
}

#[tokio::test]
async fn resolving_the_last_conflict_completes_the_rebase() {
    let stage = Stage::new().await;
    let alice = diverged(&stage, "base\n", "branch\n", "main\n").await;
    insta::assert_snapshot!(alice.fails(&["rebase"]).await, @r"
    conflict: f (see f.main and f.branch)
    error: rebase aborted due to conflicts
    hint: edit each file and run `ds resolve <path>`; the last one completes the rebase
    hint: `ds rebase --abort` puts everything back
    [exit 3]
    ");
    assert_eq!((alice.read("f.main").as_str(), alice.read("f.branch").as_str()), ("main\n", "branch\n"));
    assert_eq!(alice.read("f"), "<<<<<<< x\nbranch\n=======\nmain\n>>>>>>> main\n");
    insta::assert_snapshot!(alice.ok(&["status"]).await, @r"
    On branch x

    Changes:
      modified: f
    warning: the rebase of 'x' waits for f: edit, then `ds resolve <path>`; or `ds rebase --abort`
    ");
    insta::assert_snapshot!(alice.fails(&["resolve", "f"]).await, @r"
    error: 'f' still holds conflict markers
    hint: edit the file, or use --force if they belong there
    [exit 3]
    ");
    insta::assert_snapshot!(alice.fails(&["rebase", "--continue"]).await, @r"
    error: not resolved yet: f
    hint: edit each file and run `ds resolve <path>`
    [exit 3]
    ");
    alice.write("f", "both\n");
    insta::assert_snapshot!(alice.ok(&["resolve", "f"]).await, @r"
    Rebased 'x' onto main (base: 3, head: 5, 1 commits replayed)
    resolved f, committed as sequence 5
    ");
    assert_eq!(alice.files(), ["f", "g", "h"]);
    assert_eq!(alice.ok(&["status"]).await, "On branch x\nNo changes\n");
    insta::assert_snapshot!(alice.ok(&["merge"]).await, @r"
    Merged 'x' into main at sequence 6
    Synced branch 'main' (0 downloaded, 0 removed)
    ");
    assert_eq!(alice.read("f"), "both\n");
}

#[tokio::test]
async fn continue_takes_edited_files_as_resolved_and_sides_can_be_taken() {
    let stage = Stage::new().await;
    let alice = diverged(&stage, "base\n", "branch\n", "main\n").await;
    alice.write("g", "branch g\n");
    alice.ok(&["commit", "-m", "g too"]).await;
    stage.model().lock().unwrap().commit_files("main", "deleted", &[("g", None)]);
    let seen = alice.fails(&["rebase"]).await;
    assert!(seen.contains("conflict: f (") && seen.contains("conflict: g ("), "{seen}");
    // Deleted on main: nothing to mark, so the file is as it was and its side is empty.
    assert_eq!((alice.read("g").as_str(), alice.read("g.main").as_str()), ("branch g\n", ""));
    alice.write("f", "edited\n");
    insta::assert_snapshot!(alice.fails(&["rebase", "--continue"]).await, @r"
    error: not resolved yet: g
    hint: edit each file and run `ds resolve <path>`
    [exit 3]
    ");
    alice.remove("g");
    alice.ok(&["resolve", "g"]).await;
    assert_eq!((alice.files(), alice.read("f").as_str()), (vec!["f".into(), "h".into()], "edited\n"));

    let stage = Stage::new().await;
    let alice = diverged(&stage, "base\n", "branch\n", "main\n").await;
    alice.fails(&["rebase"]).await;
    alice.ok(&["resolve", "f", "--take", "main"]).await;
    assert_eq!(alice.read("f"), "main\n");
}

#[tokio::test]
async fn side_files_are_never_committed_and_abort_puts_everything_back() {
    let stage = Stage::new().await;
    let alice = diverged(&stage, "base\n", "branch\n", "main\n").await;
    alice.fails(&["rebase"]).await;
    alice.write("other", "x");
    alice.ok(&["commit", "-m", "meanwhile", "other"]).await;
    assert!(!stage.model().lock().unwrap().tree("x", None).unwrap().contains_key("f.main"));
    insta::assert_snapshot!(alice.ds(&["rebase", "--abort"]).await.stdout, @"Rebase of 'x' given up; its files are back");
    assert_eq!((alice.files(), alice.read("f").as_str()), (vec!["f".into(), "g".into(), "other".into()], "branch\n"));
    assert_eq!(alice.ok(&["status"]).await, "On branch x\nNo changes\n");
    insta::assert_snapshot!(alice.fails(&["rebase", "--abort"]).await, @r"
    error: no rebase is waiting
    [exit 1]
    ");
}

#[tokio::test]
async fn main_moving_meanwhile_is_noticed() {
    let stage = Stage::new().await;
    let alice = diverged(&stage, "base\n", "branch\n", "main\n").await;
    alice.fails(&["rebase"]).await;
    stage.model().lock().unwrap().commit_files("main", "again", &[("f", Some("main again\n"))]);
    alice.write("f", "both\n");
    insta::assert_snapshot!(alice.fails(&["resolve", "f"]).await, @r"
    error: main or the branch moved while the conflicts were resolved
    hint: copy your resolved files, then `ds rebase --abort`, `ds pull` and `ds rebase` again
    [exit 3]
    ");
    assert_eq!(alice.read("f"), "both\n");
}

#[tokio::test]
async fn an_old_server_is_resolved_the_old_way() {
    let stage = Stage::of(Generation::Old).await;
    let alice = diverged(&stage, "base\n", "branch\n", "main\n").await;
    alice.fails(&["rebase"]).await;
    alice.write("f", "both\n");
    insta::assert_snapshot!(alice.fails(&["resolve", "f"]).await, @r"
    error: rebase aborted due to conflicts
    hint: this server does not take resolutions; merge by hand on a new branch
    [exit 3]
    ");
    // Side files of the original client, without a rebase of this one.
    alice.ds(&["rebase", "--abort"]).await;
    insta::assert_snapshot!(alice.fails(&["resolve", "f"]).await, @r"
    error: conflict file 'f.main' not found; run 'ds rebase' first
    [exit 1]
    ");
    alice.write("f.main", "main\n");
    alice.write("f.branch", "branch\n");
    alice.write("f", "both\n");
    insta::assert_snapshot!(alice.ok(&["resolve", "f"]).await, @"resolved f, committed as sequence 4");
    assert_eq!(stage.model().lock().unwrap().commits.last().unwrap().message, "resolve conflict in f");
    assert_eq!(alice.files(), ["f", "g"]);
}
