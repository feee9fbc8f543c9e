//! Nothing of the user's is lost, whatever the server says and whenever the power goes.

use std::fs;

use crate::support::{Generation, Person, Stage};
use ds::Exit;

fn backups(person: &Person<'_>) -> Vec<(String, String)> {
    let folder = person.folder().join(".ds/backup");
    let mut found = Vec::new();
    let Ok(times) = fs::read_dir(&folder) else { return found };
    for time in times {
        let mut open = vec![time.unwrap().path()];
        let root = open[0].clone();
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

async fn two_files(stage: &Stage) -> Person<'_> {
    stage.model().lock().unwrap().commit_files("main", "two", &[("a", Some("a")), ("d/b", Some("b"))]);
    stage.workspace("alice").await
}

#[tokio::test]
async fn an_unknown_branch_changes_nothing_and_is_guessed() {
    for generation in [Generation::New, Generation::Old] {
        let stage = Stage::of(generation).await;
        let alice = two_files(&stage).await;
        stage.model().lock().unwrap().add_branch("feature/login", 1, true);
        let before = (alice.files(), alice.config(), alice.state());
        let seen = alice.fails(&["checkout", "feature/logni"]).await;
        let expected = "error: branch \"feature/logni\" not found\nhint: did you mean feature/login?\n[exit 1]\n";
        assert_eq!(seen, expected);
        assert_eq!((alice.files(), alice.config(), alice.state()), before);
    }
}

#[tokio::test]
async fn uncommitted_changes_stop_pull_checkout_merge_and_rebase() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("untracked", "mine");
    for command in [vec!["pull"], vec!["checkout", "main"], vec!["merge"], vec!["rebase"]] {
        let output = alice.ds(&command).await;
        assert_eq!(output.exit, Exit::Conflict, "{command:?}");
        assert!(output.stderr.contains("uncommitted changes"), "{}", output.stderr);
    }
    assert_eq!(alice.config()["branch"], "x");
    assert!(!stage.model().lock().unwrap().requests.iter().any(|request| request == "POST merge"));
}

#[tokio::test]
async fn init_does_not_overwrite_what_differs() {
    let stage = Stage::new().await;
    stage.model().lock().unwrap().commit_files("main", "m", &[("a", Some("theirs")), ("b", Some("same"))]);
    let alice = stage.person("alice");
    alice.write("a", "mine");
    alice.write("b", "same");
    let url = stage.server.url();
    insta::assert_snapshot!(alice.fails(&["init", &url]).await, @r"
    error: local files would be overwritten or removed:
      a
    hint: move them away, or use --force to replace them; copies are then kept in .ds/backup
    [exit 3]
    ");
    assert!(!alice.exists(".ds"), "a workspace that never was leaves nothing behind");
    assert_eq!(alice.read("a"), "mine");
    alice.ok(&["init", &url, "--force"]).await;
    assert_eq!((alice.read("a").as_str(), backups(&alice)), ("theirs", vec![("a".to_owned(), "mine".to_owned())]));
}

#[tokio::test]
async fn a_failed_init_leaves_nothing() {
    let stage = Stage::new().await;
    let alice = stage.person("alice");
    let output = alice.ds(&["init", &stage.server.url(), "--repo", "no/where"]).await;
    insta::assert_snapshot!(output.seen(), @r"
    error: server error: repo not found
    hint: there is no repo 'no/where' on http://SERVER: `ds repos` lists those there are
    [exit 1]
    ");
    assert!(!alice.exists(".ds"));
}

#[tokio::test]
async fn forced_changes_are_kept_as_copies() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    stage.model().lock().unwrap().commit_files("main", "more", &[("a", Some("a2")), ("d/b", None), ("new", Some("n"))]);
    alice.write("a", "edited");
    alice.write("d/b", "edited too");
    alice.write("new", "mine");
    alice.write("unrelated", "stays");
    let output = alice.ds(&["pull", "--force"]).await;
    assert_eq!(output.exit, Exit::Success, "{}", output.seen());
    assert_eq!(alice.files(), ["a", "new", "unrelated"]);
    assert_eq!((alice.read("a").as_str(), alice.read("new").as_str()), ("a2", "n"));
    let kept = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(backups(&alice), [kept("a", "edited"), kept("d/b", "edited too"), kept("new", "mine")]);
}

#[tokio::test]
async fn ignored_files_and_folders_in_the_way_stop_a_pull() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    alice.write(".dsignore", "out*\n");
    alice.ok(&["commit", "-m", "ignore"]).await;
    alice.write("out.log", "precious");
    alice.write("outdir/x", "precious too");
    stage.model().lock().unwrap().commit_files("main", "m", &[("out.log", Some("l")), ("outdir", Some("file"))]);
    insta::assert_snapshot!(alice.fails(&["pull"]).await, @r"
    error: local files would be overwritten or removed:
      out.log
      outdir/x
    hint: move them away, or use --force to replace them; copies are then kept in .ds/backup
    [exit 3]
    ");
    assert_eq!((alice.read("out.log").as_str(), alice.read("outdir/x").as_str()), ("precious", "precious too"));
}

#[tokio::test]
async fn empty_files_stay() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("empty", "");
    alice.ok(&["commit", "-m", "empty"]).await;
    alice.ok(&["pull"]).await;
    assert_eq!(alice.files(), ["empty"]);
    assert_eq!(stage.workspace("bob").await.files(), ["empty"]);
}

#[tokio::test]
async fn damaged_content_never_reaches_the_workspace() {
    for generation in [Generation::New, Generation::Old] {
        let stage = Stage::of(generation).await;
        let alice = two_files(&stage).await;
        let bob = stage.person("bob");
        {
            let model = stage.model();
            let mut model = model.lock().unwrap();
            model.commit_files("main", "m", &[("a", Some("a2")), ("d/b", None), ("c", Some("c"))]);
            let hash = model.store(b"a2");
            model.damaged.insert(hash);
        }
        let before = (alice.files(), alice.state());
        let output = alice.ds(&["pull"]).await;
        assert_eq!(output.exit, Exit::Failure);
        assert!(output.stderr.contains("content of a is damaged"), "{}", output.stderr);
        assert_eq!((alice.files(), alice.state()), before);
        let output = bob.ds(&["init", &stage.server.url()]).await;
        assert!(output.stderr.contains("damaged") || output.stderr.contains("wrong length"), "{}", output.stderr);
        assert!(bob.files().is_empty());
    }
}

#[tokio::test]
async fn paths_from_the_server_cannot_leave_the_workspace() {
    for path in ["../escaped", "/tmp/escaped", "d/../../escaped"] {
        let stage = Stage::new().await;
        let alice = two_files(&stage).await;
        {
            let model = stage.model();
            let mut model = model.lock().unwrap();
            model.commit_files("main", "m", &[("a", Some("a2"))]);
            model.planted = vec![(path.to_owned(), "evil".to_owned())];
        }
        let output = alice.ds(&["pull"]).await;
        assert_eq!(output.exit, Exit::Failure, "{path}");
        assert!(output.stderr.contains("the server's tree cannot be written here"), "{}", output.stderr);
        assert!(!alice.exists("../escaped") && alice.read("a") == "a");
    }
}

#[tokio::test]
async fn metadata_cannot_be_written_from_the_server() {
    let stage = Stage::new().await;
    {
        let model = stage.model();
        let mut model = model.lock().unwrap();
        model.commit_files("main", "m", &[("a", Some("a")), (".git/hooks/post-checkout", Some("evil"))]);
        model.commit_files("main", "m", &[(".ds/config.json", Some("{}"))]);
    }
    let alice = stage.person("alice");
    let output = alice.ds(&["init", &stage.server.url()]).await;
    assert_eq!(output.exit, Exit::Success, "{}", output.seen());
    insta::assert_snapshot!(output.stderr, @r"
    warning: '.ds/config.json' is left out: files of .ds and .git folders are not written from a server
    warning: '.git/hooks/post-checkout' is left out: files of .ds and .git folders are not written from a server
    ");
    assert_eq!(alice.files(), ["a"]);
    assert_eq!(alice.ok(&["status"]).await, "On branch main\nNo changes\n");
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    fs::create_dir(alice.folder().join("../outside")).unwrap();
    alice.write("kept", "k");
    std::os::unix::fs::symlink("../outside", alice.folder().join("d")).unwrap();
    alice.ok(&["commit", "-m", "a link"]).await;
    // Elsewhere the link becomes a folder with a file.
    stage.model().lock().unwrap().commit_files("main", "m", &[("d", None), ("d/x", Some("x"))]);
    alice.ok(&["pull"]).await;
    assert_eq!(alice.files(), ["d/x", "kept"]);
    assert!(!alice.exists("../outside/x"));
    // An untracked link in the way stops the command.
    let bob = stage.person("bob");
    std::os::unix::fs::symlink("../outside", bob.folder().join("d")).unwrap();
    let output = bob.ds(&["init", &stage.server.url()]).await;
    assert_eq!(output.exit, Exit::Conflict, "{}", output.seen());
    assert!(!bob.exists("../outside/x"));
}

#[tokio::test]
async fn folders_become_files_and_back() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    stage.model().lock().unwrap().commit_files(
        "main",
        "m",
        &[("d/b", None), ("d", Some("file")), ("a", None), ("a/x", Some("x"))],
    );
    alice.ok(&["pull"]).await;
    assert_eq!(alice.files(), ["a/x", "d"]);
    stage.model().lock().unwrap().commit_files(
        "main",
        "m",
        &[("d/b", Some("b")), ("d", None), ("a", Some("a")), ("a/x", None)],
    );
    alice.ok(&["pull"]).await;
    assert_eq!(alice.files(), ["a", "d/b"]);
}

#[tokio::test]
async fn two_workspaces_do_not_overwrite_each_other() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    let bob = stage.workspace("bob").await;
    alice.write("a", "alice\n");
    alice.ok(&["commit", "-m", "alice was here"]).await;
    bob.write("d/b", "bob\n");
    insta::assert_snapshot!(bob.fails(&["commit", "-m", "bob was here"]).await, @r"
    error: branch 'main' moved to sequence 2 since the workspace was synced at 1
    hint: run `ds pull --merge` to bring it under your changes, then commit again
    [exit 3]
    ");
    insta::assert_snapshot!(bob.ok(&["pull", "--merge"]).await, @"Synced branch 'main' (1 downloaded, 0 removed)");
    assert_eq!((bob.read("a").as_str(), bob.read("d/b").as_str()), ("alice\n", "bob\n"));
    bob.ok(&["commit", "-m", "bob was here"]).await;
}

#[tokio::test]
async fn pull_merge_merges_lines_and_marks_what_it_cannot() {
    let stage = Stage::new().await;
    let model = stage.model();
    model.lock().unwrap().commit_files(
        "main",
        "m",
        &[("f", Some("1\n2\n3\n4\n5\n")), ("g", Some("g\n")), ("gone", Some("x"))],
    );
    let alice = stage.workspace("alice").await;
    model.lock().unwrap().commit_files("main", "m", &[("f", Some("one\n2\n3\n4\n5\n")), ("g", Some("theirs\n"))]);
    alice.write("f", "1\n2\n3\n4\nfive\n");
    alice.write("g", "mine\n");
    alice.remove("gone");
    insta::assert_snapshot!(alice.fails(&["pull", "--merge"]).await, @r"
    Synced branch 'main' (0 downloaded, 0 removed)
    Merged 2 files that were changed here too
    Conflicts:
      g
    warning: replaced local files were kept in /FOLDER/alice/.ds/backup/TIME
    error: some files have conflict markers
    hint: edit them, then commit
    [exit 3]
    ");
    assert_eq!(alice.read("f"), "one\n2\n3\n4\nfive\n");
    assert_eq!(alice.read("g"), "<<<<<<< your changes\nmine\n=======\ntheirs\n>>>>>>> main\n");
    assert_eq!(backups(&alice), [("g".to_owned(), "mine\n".to_owned())]);
    assert!(!alice.exists("gone"));
    insta::assert_snapshot!(alice.ok(&["status"]).await, @r"
    On branch main

    Changes:
      modified: f
      modified: g
      deleted:  gone
    ");
    model.lock().unwrap().commit_files("main", "m", &[("gone", Some("changed there"))]);
    insta::assert_snapshot!(alice.fails(&["pull", "--merge"]).await, @r"
    error: changed here and on the server, and cannot be merged:
      gone
    hint: copy these files elsewhere, discard the changes, then try again
    [exit 3]
    ");
}

#[tokio::test]
async fn a_new_branch_from_an_old_base_undoes_nothing() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    stage.model().lock().unwrap().commit_files("main", "m", &[("a", Some("newer")), ("d/b", Some("b\nmore\n"))]);
    alice.write("d/b", "mine\n");
    // The base is newer than what is here: it is brought under the change.
    let output = alice.ds(&["checkout", "-b", "x"]).await;
    assert_eq!(output.exit, Exit::Success);
    assert!(output.stdout.starts_with("Switched to new branch 'x' (base sequence 2)\n"), "{}", output.seen());
    assert_eq!(alice.read("a"), "newer");
    assert!(alice.read("d/b").contains("<<<<<<<"), "{}", alice.read("d/b"));
}

#[tokio::test]
async fn an_interrupted_sync_is_finished() {
    let stage = Stage::new().await;
    stage.model().lock().unwrap().commit_files(
        "main",
        "one",
        &[("a", Some("a1")), ("b", Some("b1")), ("y", Some("y1")), ("z", Some("z1")), ("gone", Some("g"))],
    );
    let alice = stage.workspace("alice").await;
    stage.model().lock().unwrap().commit_files(
        "main",
        "two",
        &[
            ("a", Some("a2")),
            ("b", Some("b2")),
            ("y", Some("y2")),
            ("z", Some("z2")),
            ("gone", None),
            ("new", Some("n")),
        ],
    );
    // The edited file has to go to the backup folder, which cannot be made: this stops the sync halfway.
    alice.write("y", "edited");
    alice.write(".ds/backup", "not a folder");
    let before = alice.state();
    let output = alice.ds(&["pull", "--force"]).await;
    assert_eq!(output.exit, Exit::Failure);
    assert!(output.stderr.contains("the next ds command will finish it"), "{}", output.stderr);
    let read = |path: &str| alice.read(path);
    assert_eq!(
        (read("a"), read("y"), read("z"), alice.exists("gone")),
        ("a2".into(), "edited".into(), "z1".into(), false)
    );
    assert_eq!(alice.state(), before);
    // Meanwhile somebody works on, on a file that is in place already and on one that is not.
    alice.remove(".ds/backup");
    alice.write("b", "edited after");
    alice.write("z", "edited before");
    let output = alice.ds(&["pull", "--merge"]).await;
    assert_eq!(output.exit, Exit::Success, "{}", output.seen());
    insta::assert_snapshot!(output.stderr, @"warning: finished the interrupted sync of branch 'main'; files that had changed since were kept in /FOLDER/alice/.ds/backup/TIME");
    let texts: Vec<_> = ["a", "b", "new", "y", "z"].into_iter().map(read).collect();
    assert_eq!(texts, ["a2", "edited after", "n", "y2", "z2"]);
    let kept = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(backups(&alice), [kept("y", "edited"), kept("z", "edited before")]);
    assert_eq!((alice.state()["sequence"].as_i64(), alice.exists(".ds/sync.json")), (Some(2), false));
}

#[tokio::test]
async fn a_file_edited_before_its_removal_is_kept() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    stage.model().lock().unwrap().commit_files("main", "two", &[("a", None), ("d/b", None)]);
    // The first removal fails, since the edited file has nowhere to go.
    alice.write("a", "edited");
    alice.write(".ds/backup", "not a folder");
    alice.fails(&["pull", "--force"]).await;
    alice.remove(".ds/backup");
    alice.write("d/b", "edited since");
    alice.ok(&["pull"]).await;
    let kept = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(backups(&alice), [kept("a", "edited"), kept("d/b", "edited since")]);
    assert!(alice.files().is_empty());
}

#[tokio::test]
async fn a_sync_whose_contents_were_lost_is_given_up() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    stage.model().lock().unwrap().commit_files("main", "two", &[("a", Some("a2")), ("d/b", Some("b2"))]);
    alice.write("a", "edited");
    alice.write(".ds/backup", "not a folder");
    alice.fails(&["pull", "--force"]).await;
    alice.remove(".ds/backup");
    fs::remove_dir_all(alice.folder().join(".ds/tmp")).unwrap();
    insta::assert_snapshot!(alice.fails(&["pull"]).await, @r"
    error: an interrupted sync cannot be finished: the content of 'a' is lost
    hint: run `ds pull --force` to sync again; replaced files are kept in .ds/backup
    [exit 1]
    ");
    alice.ok(&["pull", "--force"]).await;
    assert_eq!((alice.read("a").as_str(), alice.read("d/b").as_str()), ("a2", "b2"));
}

#[tokio::test]
async fn a_lost_answer_does_not_commit_twice() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    alice.write("a", "changed");
    stage.model().lock().unwrap().lose_answers.push("POST commit".to_owned());
    insta::assert_snapshot!(alice.ok(&["commit", "-m", "once"]).await, @"Committed sequence 2 (1 files)");
    assert_eq!(stage.model().lock().unwrap().commits.len(), 2);
}

#[tokio::test]
async fn restore_puts_files_back_and_keeps_copies() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    alice.write("a", "edited");
    alice.remove("d/b");
    alice.write("new", "stays");
    insta::assert_snapshot!(alice.ds(&["restore", "a"]).await.stdout, @"Restored 1 file");
    assert_eq!((alice.read("a").as_str(), alice.exists("d/b")), ("a", false));
    alice.ok(&["restore", "."]).await;
    assert_eq!(alice.files(), ["a", "d/b", "new"]);
    assert_eq!(backups(&alice), [("a".to_owned(), "edited".to_owned())]);
    assert_eq!(alice.state()["sequence"], 1);
}

#[tokio::test]
async fn one_command_at_a_time_changes_a_workspace() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    let lock = fs::File::options().write(true).open(alice.folder().join(".ds/lock")).unwrap();
    lock.lock().unwrap();
    insta::assert_snapshot!(alice.fails(&["pull"]).await, @r"
    error: another ds command is changing this workspace; try again when it is done
    [exit 3]
    ");
    alice.ok(&["status"]).await;
    drop(lock);
    alice.ok(&["pull"]).await;
}

#[tokio::test]
async fn init_of_another_repo_leaves_the_files_of_the_first() {
    let stage = Stage::new().await;
    let alice = two_files(&stage).await;
    {
        let model = stage.model();
        let mut model = model.lock().unwrap();
        model.repo = "other/repo".into();
        model.commit_files("main", "m", &[("a", None), ("d/b", None), ("c", Some("c"))]);
    }
    alice.ok(&["init", &stage.server.url(), "--repo", "other/repo"]).await;
    assert_eq!(alice.files(), ["a", "c", "d/b"]);
    // Of the same repo, what was synced may go.
    stage.model().lock().unwrap().commit_files("main", "m", &[("c", None), ("e", Some("e"))]);
    alice.ok(&["init", &stage.server.url(), "--repo", "other/repo"]).await;
    assert_eq!(alice.files(), ["a", "d/b", "e"]);
}
