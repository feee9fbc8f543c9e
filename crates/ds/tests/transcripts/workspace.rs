//! A day with a workspace, as seen at the terminal.

use crate::support::{Generation, Stage};
use ds::{Exit, Terminals};

/// What somebody types, and what they see.
async fn type_in(transcript: &mut String, person: &crate::support::Person<'_>, line: &str) {
    let arguments: Vec<&str> = line.split(' ').collect();
    transcript.push_str(&format!("$ ds {line}\n{}", person.ds(&arguments).await.seen()));
}

#[tokio::test]
async fn the_full_workflow() {
    let mut transcripts = Vec::new();
    for generation in [Generation::New, Generation::Old] {
        let stage = Stage::of(generation).await;
        let mut seen = String::new();
        let alice = stage.person("alice");
        type_in(&mut seen, &alice, &format!("init {}/repos/default/default/-/", stage.server.url())).await;
        alice.write("README.md", "# Hello\n");
        for line in ["status", "commit -m first", "status", "checkout -b feature/add-guide"] {
            type_in(&mut seen, &alice, line).await;
        }
        alice.write("docs/guide.md", "guide\n");
        for line in ["commit -m guide", "diff", "checkout main"] {
            type_in(&mut seen, &alice, line).await;
        }
        assert_eq!(alice.files(), ["README.md"]);
        type_in(&mut seen, &alice, "checkout feature/add-guide").await;
        assert_eq!(alice.files(), ["README.md", "docs/guide.md"]);
        let bob = stage.workspace("bob").await;
        assert_eq!(bob.files(), ["README.md"]);
        type_in(&mut seen, &alice, "merge").await;
        assert_eq!((&alice.config()["branch"], alice.state()["files"].as_object().unwrap().len()), (&"main".into(), 2));
        type_in(&mut seen, &bob, "pull").await;
        assert_eq!(bob.files(), ["README.md", "docs/guide.md"]);
        for line in ["pull", "log", "log -n 1", "log README.md", "show 3", "show 3 --patch"] {
            type_in(&mut seen, &bob, line).await;
        }
        transcripts.push(stage.stable(&seen));
    }
    assert_eq!(transcripts[0], transcripts[1], "an old server is no reason to see anything else");
    insta::assert_snapshot!(transcripts[0], @r"
    $ ds init http://SERVER/repos/default/default/-/
    Synced branch 'main' (archive: 0 files)
    Initialized docstore workspace (0 files, sequence 0)
    Remote: http://SERVER
    Author: alice
    $ ds status
    On branch main

    Changes:
      new:      README.md
    $ ds commit -m first
    Committed sequence 1 (1 files)
    $ ds status
    On branch main
    No changes
    $ ds checkout -b feature/add-guide
    Switched to new branch 'feature/add-guide' (base sequence 1)
    $ ds commit -m guide
    Committed sequence 2 (1 files)
    $ ds diff
    Changed files on 'feature/add-guide':
      changed: docs/guide.md
    $ ds checkout main
    Synced branch 'main' (0 downloaded, 1 removed)
    $ ds checkout feature/add-guide
    Synced branch 'feature/add-guide' (1 downloaded, 0 removed)
    $ ds merge
    Merged 'feature/add-guide' into main at sequence 3
    Synced branch 'main' (0 downloaded, 0 removed)
    $ ds pull
    Synced branch 'main' (1 downloaded, 0 removed)
    $ ds pull
    Synced branch 'main' (0 downloaded, 0 removed)
    $ ds log
    seq 3     alice         2026-01-02  merge branch 'feature/add-guide'
    seq 1     alice         2026-01-02  first
    $ ds log -n 1
    seq 3     alice         2026-01-02  merge branch 'feature/add-guide'
    $ ds log README.md
    seq 1     alice         2026-01-02  first
    $ ds show 3
    commit 3
    branch:  main
    author:  alice
    date:    2026-01-02T03:04:05Z
    message: merge branch 'feature/add-guide'

    Files:
      docs/guide.md  (changed)
    $ ds show 3 --patch
    commit 3
    branch:  main
    author:  alice
    date:    2026-01-02T03:04:05Z
    message: merge branch 'feature/add-guide'

    --- /dev/null
    +++ b/docs/guide.md
    @@ -0,0 +1 @@
    +guide
    ");
}

#[tokio::test]
async fn state_files_are_those_of_the_original_client() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("a.txt", "a");
    alice.ok(&["commit", "-m", "m"]).await;
    let config = stage.stable(&alice.read(".ds/config.json"));
    insta::assert_snapshot!(config, @r#"
    {
      "remote": "http://SERVER",
      "repo": "default/default",
      "branch": "main",
      "author": "alice"
    }
    "#);
    let hash = stage.model().lock().unwrap().commits[0].hash.clone().unwrap();
    insta::assert_snapshot!(alice.read(".ds/state.json").replace(&hash, "HASH"), @r#"
    {
      "branch": "main",
      "sequence": 1,
      "files": {
        "a.txt": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
      },
      "commit_hash": "HASH"
    }
    "#);
    assert!(!config.ends_with('\n'));
}

#[tokio::test]
async fn a_workspace_of_the_original_client_is_taken_over() {
    let stage = Stage::new().await;
    stage.model().lock().unwrap().commit_files("main", "m", &[("a.txt", Some("a")), ("b.txt", Some("b"))]);
    let alice = stage.person("alice");
    alice.write("a.txt", "a");
    alice.write(
        ".ds/config.json",
        format!(
            r#"{{"remote":"{}","repo":"","branch":"main","author":"alice","extra":{{"x":1}}}}"#,
            stage.server.url()
        ),
    );
    alice.write(".ds/state.json", r#"{"branch":"main","sequence":0,"files":null,"commit_hash":""}"#);
    alice.write("a.txt", "a");
    assert_eq!(alice.ds(&["pull"]).await.exit, Exit::Conflict);
    // An identical file is no obstacle, but an untracked one is a change, as it always was.
    alice.ok(&["pull", "--merge"]).await;
    assert_eq!(alice.files(), ["a.txt", "b.txt"]);
    alice.ok(&["checkout", "-b", "x"]).await;
    assert_eq!((&alice.config()["extra"]["x"], &alice.config()["branch"]), (&1.into(), &"x".into()));
}

#[tokio::test]
async fn commands_work_from_below_and_with_a_directory() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("docs/a.md", "a");
    alice.write("src/b.rs", "b");
    let below = alice.ds_with(&["commit", "-m", "only a", "a.md"], |context| context.directory.push("docs")).await;
    assert_eq!(below.seen(), "Committed sequence 1 (1 files)\n");
    let elsewhere = stage.person("elsewhere");
    let from_elsewhere = elsewhere.ok(&["-C", alice.folder().to_str().unwrap(), "status"]).await;
    insta::assert_snapshot!(from_elsewhere, @r"
    On branch main

    Changes:
      new:      src/b.rs
    ");
    insta::assert_snapshot!(elsewhere.fails(&["status"]).await, @r"
    error: not a docstore workspace (run 'ds init' first)
    [exit 1]
    ");
    insta::assert_snapshot!(alice.fails(&["commit", "-m", "x", "../other"]).await, @r"
    error: '../other' is not a path inside the workspace /FOLDER/alice
    [exit 2]
    ");
}

#[tokio::test]
async fn every_kind_of_change_is_shown_and_committed() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    for path in ["a", "b", "d/c"] {
        alice.write(path, path);
    }
    alice.ok(&["commit", "-m", "three"]).await;
    alice.write("a", "changed");
    alice.remove("d/c");
    alice.write("new/z", "");
    alice.write("new/a.png", [0x89, b'P', 0xff]);
    insta::assert_snapshot!(alice.ok(&["status"]).await, @r"
    On branch main

    Changes:
      new:      new/a.png
      new:      new/z
      modified: a
      deleted:  d/c
    ");
    insta::assert_snapshot!(alice.ok(&["status", "--json"]).await, @r#"
    {
      "branch": "main",
      "sequence": 1,
      "new": [
        "new/a.png",
        "new/z"
      ],
      "modified": [
        "a"
      ],
      "deleted": [
        "d/c"
      ],
      "unresolved": []
    }
    "#);
    insta::assert_snapshot!(alice.ok(&["diff", "--local"]).await, @r"
    --- a/a
    +++ b/a
    @@ -1 +1 @@
    -a
    \ No newline at end of file
    +changed
    \ No newline at end of file
    --- a/d/c
    +++ /dev/null
    @@ -1 +0,0 @@
    -d/c
    \ No newline at end of file
    Binary files /dev/null and b/new/a.png differ
    --- /dev/null
    +++ b/new/z
    ");
    insta::assert_snapshot!(alice.ok(&["commit", "-m", "all kinds"]).await, @"Committed sequence 2 (4 files)");
    let model = stage.model();
    let model = model.lock().unwrap();
    let changes: Vec<_> = model.commits[1]
        .changes
        .iter()
        .map(|change| (change.path.as_str(), change.content.as_ref().map(|c| c.content_type.as_deref())))
        .collect();
    assert_eq!(
        changes,
        [("a", Some(None)), ("d/c", None), ("new/a.png", Some(Some("image/png"))), ("new/z", Some(None))]
    );
    assert_eq!(model.commits[1].author, "alice");
}

#[tokio::test]
async fn large_files_go_ahead_of_the_commit_and_only_once() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    let large = vec![b'x'; 300 * 1024];
    alice.write("one.bin", &large);
    alice.write("two.bin", &large);
    alice.write("small.txt", "s");
    alice.ok(&["commit", "-m", "large"]).await;
    let uploads = |stage: &Stage| {
        let model = stage.model();
        let requests = model.lock().unwrap().requests.clone();
        requests.iter().filter(|request| request.starts_with("PUT contents/")).count()
    };
    assert_eq!(uploads(&stage), 1);
    alice.write("three.bin", &large);
    alice.ok(&["commit", "-m", "again"]).await;
    assert_eq!(uploads(&stage), 1);
    let bob = stage.workspace("bob").await;
    assert_eq!(std::fs::read(bob.folder().join("three.bin")).unwrap(), large);
}

#[tokio::test]
async fn an_old_server_gets_everything_inside_the_commit() {
    let stage = Stage::of(Generation::Old).await;
    let alice = stage.workspace("alice").await;
    alice.write("large.bin", vec![b'x'; 300 * 1024]);
    alice.write("empty", "");
    alice.ok(&["commit", "-m", "large"]).await;
    let model = stage.model();
    let tree = model.lock().unwrap().tree("main", None).unwrap();
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["empty", "large.bin"]);
}

#[cfg(unix)]
#[tokio::test]
async fn modes_and_links_travel() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("run.sh", "#!/bin/sh\n");
    let executable = |path: &std::path::Path, yes: bool| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(if yes { 0o755 } else { 0o644 })).unwrap();
    };
    executable(&alice.folder().join("run.sh"), true);
    symlink("run.sh", alice.folder().join("link")).unwrap();
    symlink("/nowhere/at/all", alice.folder().join("dangling")).unwrap();
    alice.ok(&["commit", "-m", "modes"]).await;
    let bob = stage.workspace("bob").await;
    assert_eq!(bob.files(), ["dangling -> /nowhere/at/all", "link -> run.sh", "run.sh"]);
    let mode = |person: &crate::support::Person<'_>| {
        std::fs::metadata(person.folder().join("run.sh")).unwrap().permissions().mode() & 0o111
    };
    assert_ne!(mode(&bob), 0);
    assert_eq!(bob.ok(&["status"]).await, "On branch main\nNo changes\n");
    executable(&bob.folder().join("run.sh"), false);
    insta::assert_snapshot!(bob.ok(&["status"]).await, @r"
    On branch main

    Changes:
      modified: run.sh
    ");
    bob.ok(&["commit", "-m", "not executable"]).await;
    insta::assert_snapshot!(alice.ok(&["pull"]).await, @"Synced branch 'main' (0 downloaded, 0 removed)");
    assert_eq!(mode(&alice), 0);
    assert_eq!(alice.ok(&["status"]).await, "On branch main\nNo changes\n");
}

#[cfg(unix)]
#[tokio::test]
async fn modes_of_a_state_that_another_client_moved_are_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("run.sh", "#!/bin/sh\n");
    let path = alice.folder().join("run.sh");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    alice.ok(&["commit", "-m", "executable"]).await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(alice.ok(&["status"]).await.contains("modified: run.sh"));
    let mut state = alice.state();
    state["sequence"] = 7.into();
    alice.write(".ds/state.json", state.to_string());
    assert_eq!(alice.ok(&["status"]).await, "On branch main\nNo changes\n");
}

#[tokio::test]
async fn a_message_comes_from_a_file_standard_input_or_an_editor() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    let message = || stage.model().lock().unwrap().commits.last().unwrap().message.clone();
    alice.write("a", "1");
    alice.write("../message.txt", "from a file\n\nbody\n");
    alice.ok(&["commit", "-F", "../message.txt"]).await;
    assert_eq!(message(), "from a file\n\nbody");
    alice.write("a", "2");
    alice.ds_with(&["commit", "-F", "-"], |context| context.stdin = Box::new(&b"typed\n"[..])).await;
    assert_eq!(message(), "typed");
    alice.write("a", "3");
    let edited = alice
        .ds_with(&["commit"], |context| {
            context.terminals = Terminals { stdin: true, ..Terminals::default() };
            context.environment.insert("EDITOR".into(), "ed".into());
            context.edit = std::sync::Arc::new(|editor, path| {
                assert_eq!(editor, "ed");
                let template = std::fs::read_to_string(path).unwrap();
                assert!(template.contains("#   modified: a\n"), "{template}");
                std::fs::write(path, format!("edited\n{template}"))
            });
        })
        .await;
    assert_eq!((edited.exit, message().as_str()), (Exit::Success, "edited"));
    alice.write("a", "4");
    assert_eq!(alice.ds(&["commit"]).await.exit, Exit::Usage);
    assert_eq!(alice.ds(&["commit", "-m", " "]).await.exit, Exit::Usage);
    insta::assert_snapshot!(alice.ok(&["commit", "-m", "one", "-m", "last wins"]).await, @"Committed sequence 4 (1 files)");
    assert_eq!(message(), "last wins");
    insta::assert_snapshot!(alice.fails(&["commit", "-m", "nothing"]).await, @r"
    error: nothing to commit
    [exit 1]
    ");
}

#[tokio::test]
async fn drafts_and_branch_commands() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("a", "a");
    alice.ok(&["commit", "-m", "a"]).await;
    insta::assert_snapshot!(alice.ok(&["checkout", "-b", "wip", "--draft"]).await, @"Switched to new draft branch 'wip' (base sequence 1)");
    alice.write("b", "b");
    alice.ok(&["commit", "-m", "b"]).await;
    insta::assert_snapshot!(alice.fails(&["merge"]).await, @r"
    error: server error: branch is in draft state
    hint: `ds ready wip` takes the draft mark off
    [exit 3]
    ");
    // A draft is found although lists leave it out.
    insta::assert_snapshot!(alice.ok(&["pull"]).await, @"Synced branch 'wip' (0 downloaded, 0 removed)");
    insta::assert_snapshot!(alice.ok(&["log"]).await, @"seq 2     alice         2026-01-02  b");
    insta::assert_snapshot!(alice.ok(&["log", "--all"]).await, @r"
    seq 2     alice         2026-01-02  b
    seq 1     alice         2026-01-02  a
    ");
    insta::assert_snapshot!(alice.ok(&["branches"]).await, @r"
    BRANCH                         HEAD   BASE   STATUS     DRAFT
    main                           1      0      active
    ");
    insta::assert_snapshot!(alice.ok(&["branch", "list", "--include-draft"]).await, @r"
    BRANCH                         HEAD   BASE   STATUS     DRAFT
    main                           1      0      active
    wip                            2      1      active     yes
    ");
    insta::assert_snapshot!(alice.ok(&["ready"]).await, @"Branch 'wip' marked as ready");
    insta::assert_snapshot!(alice.ok(&["auto-merge", "enable"]).await, @"Auto-merge enabled for branch 'wip'");
    insta::assert_snapshot!(alice.ok(&["auto-merge", "disable", "--branch", "wip"]).await, @"Auto-merge disabled for branch 'wip'");
    insta::assert_snapshot!(alice.fails(&["checkout", "-b", "wip"]).await, @r"
    error: server error: branch already exists
    [exit 3]
    ");
    insta::assert_snapshot!(alice.ok(&["branch", "delete", "wip"]).await, @"Deleted branch 'wip'");
    insta::assert_snapshot!(alice.fails(&["branch", "delete", "wip"]).await, @r"
    error: branch 'wip' is already merged or abandoned
    [exit 3]
    ");
    insta::assert_snapshot!(alice.fails(&["branch", "delete", "wop"]).await, @r"
    error: branch 'wop' not found
    [exit 1]
    ");
    alice.ok(&["checkout", "main"]).await;
    for (command, words) in [
        (vec!["merge"], "cannot merge main into itself"),
        (vec!["rebase"], "cannot rebase main"),
        (vec!["ready"], "no branch checked out (or on main)"),
        (vec!["auto-merge", "enable"], "no branch checked out (or on main)"),
    ] {
        assert_eq!(alice.fails(&command).await, format!("error: {words}\n[exit 1]\n"));
    }
}

#[tokio::test]
async fn a_deletion_is_confirmed_at_a_terminal() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    stage.model().lock().unwrap().add_branch("x", 0, false);
    let answer = async |text: &'static str| {
        alice
            .ds_with(&["branch", "delete", "x"], |context| {
                context.terminals.stdin = true;
                context.stdin = Box::new(text.as_bytes());
            })
            .await
    };
    insta::assert_snapshot!(answer("n\n").await.seen(), @r"
    Delete branch 'x' of default/default? [y/N] error: not confirmed; nothing was changed
    hint: use --yes to skip the question
    [exit 1]
    ");
    assert_eq!(answer("yes\n").await.exit, Exit::Success);
}

#[tokio::test]
async fn a_policy_says_why_and_what_a_dry_run_says_is_true() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("a", "a");
    alice.ok(&["commit", "-m", "a"]).await;
    alice.ok(&["checkout", "-b", "x"]).await;
    alice.write("a", "b");
    alice.ok(&["commit", "-m", "b"]).await;
    insta::assert_snapshot!(alice.ok(&["merge", "--dry-run"]).await, @"'x' can be merged into main");
    assert_eq!(alice.config()["branch"], "x");
    stage.model().lock().unwrap().policies = vec![("review".into(), "needs an approval by bob".into())];
    insta::assert_snapshot!(alice.fails(&["merge"]).await, @r"
    Denied by policy:
      review: needs an approval by bob
    error: merge denied by policy
    [exit 6]
    ");
}

#[tokio::test]
async fn show_prints_the_bytes_of_a_file() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("f", "one");
    alice.ok(&["commit", "-m", "1"]).await;
    alice.write("f", "two");
    alice.ok(&["commit", "-m", "2"]).await;
    assert_eq!(alice.ds(&["show", "1", "f"]).await.stdout_bytes, b"one");
    let at_terminal = alice.ds_with(&["show", "2", "f"], |context| context.terminals.stdout = true).await;
    assert_eq!(at_terminal.stdout_bytes, b"two\n");
    insta::assert_snapshot!(alice.fails(&["show", "1", "g"]).await, @r#"
    error: file "g" not found at sequence 1
    [exit 1]
    "#);
    insta::assert_snapshot!(alice.fails(&["show", "99"]).await, @r"
    error: commit 99 not found
    [exit 1]
    ");
    insta::assert_snapshot!(alice.ok(&["diff", "--range", "1..2", "--stat"]).await, @r"
      f  +1 -1
    1 file changed, 1 line added, 1 removed
    ");
}

#[tokio::test]
async fn mistakes_in_the_command_line_are_told_with_suggestions() {
    let stage = Stage::new().await;
    let alice = stage.person("alice");
    let wrong = alice.ds(&["comit"]).await;
    assert_eq!(wrong.exit, Exit::Usage);
    assert!(wrong.stderr.contains("'commit'"), "{}", wrong.stderr);
    let nothing = alice.ds(&[]).await;
    assert_eq!((nothing.exit, nothing.stdout.as_str()), (Exit::Usage, ""));
    assert!(nothing.stderr.contains("Usage: ds"), "{}", nothing.stderr);
    let version = alice.ds(&["--version"]).await;
    assert_eq!((version.exit, version.stdout), (Exit::Success, format!("ds {}\n", env!("CARGO_PKG_VERSION"))));
    assert!(alice.ok(&["completions", "bash"]).await.contains("_ds()"));
    insta::assert_snapshot!(alice.fails(&["log", "-n", "0"]).await.lines().next().unwrap().to_owned(), @"error: invalid value '0' for '--limit <LIMIT>': 0 is not in 1..=4294967295");
}

#[tokio::test]
async fn smaller_commands() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("a", "a");
    alice.ok(&["commit", "-m", "a"]).await;
    insta::assert_snapshot!(alice.ok(&["config"]).await, @r"
    remote  http://SERVER
    repo    default/default
    branch  main
    author  alice
    ");
    alice.ok(&["config", "author", "alicia"]).await;
    insta::assert_snapshot!(alice.ok(&["whoami"]).await, @"alicia");
    assert_eq!(alice.ds(&["config", "branch", "x"]).await.exit, Exit::Usage);
    insta::assert_snapshot!(alice.ok(&["archive", "-o", "../a.tar"]).await, @"Wrote 'main' at sequence 1 to ../a.tar");
    let mut archive = tar::Archive::new(std::fs::File::open(alice.folder().join("../a.tar")).unwrap());
    let names: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    assert_eq!(names, [std::path::Path::new("a")]);
    alice.write("junk/x", "precious after all");
    insta::assert_snapshot!(alice.ok(&["clean", "-n"]).await, @"junk/x");
    alice.ok(&["clean"]).await;
    assert_eq!(alice.files(), ["a"]);
    alice.ok(&["man", "man"]).await;
    assert!(alice.read("man/ds-commit.1").contains("Send changes to the branch as one commit"));
    let verbose = alice.ds(&["-v", "log"]).await;
    assert_eq!(verbose.stderr, "GET /repos/default/default/-/commits: 200\n");
    let old = Stage::of(Generation::Old).await;
    let bob = old.workspace("bob").await;
    insta::assert_snapshot!(bob.ok(&["whoami"]).await, @r"
    bob
    warning: not signed in to http://SERVER; only a development server takes your word for it
    ");
}

#[tokio::test]
async fn long_output_on_a_terminal_goes_through_a_pager() {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };
    #[derive(Clone, Default)]
    struct Paged(Arc<Mutex<Vec<u8>>>);
    impl Write for Paged {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    alice.write("a", "a");
    alice.ok(&["commit", "-m", "a"]).await;
    let paged = Paged::default();
    let log = async |pager: &'static str, terminal: bool| {
        let started = paged.clone();
        let output = alice
            .ds_with(&["log"], move |context| {
                context.terminals.stdout = terminal;
                context.environment.insert("PAGER".into(), pager.into());
                context.start_pager = Arc::new(move |name| {
                    assert_eq!(name, "more");
                    Ok(Box::new(started.clone()))
                });
            })
            .await;
        (output.stdout, String::from_utf8(std::mem::take(&mut *paged.0.lock().unwrap())).unwrap())
    };
    let line = "seq 1     alice         2026-01-02  a\n".to_owned();
    assert_eq!(log("more", true).await, (String::new(), line.clone()));
    assert_eq!(log("more", false).await, (line.clone(), String::new()));
    assert_eq!(log("cat", true).await, (line, String::new()));
}
