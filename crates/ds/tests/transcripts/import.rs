//! Importing git histories.

use std::{path::Path, process::Command};

use crate::support::{Generation, Person, Stage};

/// A git repository made for a test.
struct Git<'a> {
    folder: &'a Path,
    clock: std::cell::Cell<u32>,
}

impl<'a> Git<'a> {
    fn init(folder: &'a Path) -> Self {
        let git = Self { folder, clock: std::cell::Cell::new(0) };
        git.run(&["init", "--quiet", "--initial-branch", "trunk"]);
        git
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.clock.set(self.clock.get() + 1);
        let date = format!("2020-01-01T00:{:02}:00+02:00", self.clock.get() % 60);
        let output = Command::new("git")
            .arg("-C")
            .arg(self.folder)
            .args(["-c", "core.autocrlf=false", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
            .envs([("GIT_AUTHOR_NAME", "Zoë"), ("GIT_AUTHOR_EMAIL", "zoe@example.org")])
            .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@example.org")])
            .envs([("GIT_AUTHOR_DATE", &date), ("GIT_COMMITTER_DATE", &date)])
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn commit(&self, message: &str) {
        self.run(&["add", "--all"]);
        self.run(&["commit", "--quiet", "--allow-empty", "-m", message]);
    }

    /// `mode path` and content of every file of a commit, submodules left out.
    fn tree(&self, commit: &str) -> Vec<(String, Vec<u8>)> {
        let list = self.run(&["ls-tree", "-r", "-z", commit]);
        list.split('\0')
            .filter(|line| !line.is_empty() && !line.starts_with("160000"))
            .map(|line| {
                let (meta, path) = line.split_once('\t').unwrap();
                let mut words = meta.split(' ');
                let (mode, blob) = (words.next().unwrap(), words.nth(1).unwrap());
                let output =
                    Command::new("git").arg("-C").arg(self.folder).args(["cat-file", "blob", blob]).output().unwrap();
                (format!("{mode} {path}"), output.stdout)
            })
            .collect()
    }
}

/// A history with everything in it that is easy to get wrong.
fn rich_history<'a>(folder: &'a Path) -> Git<'a> {
    let git = Git::init(folder);
    git.write("README.md", "hello\n");
    git.write("empty", "");
    git.write("with \"quotes\" and ü.txt", "q\n");
    git.commit("first\n\nwith a body\n\n* and a list");
    git.write("bin/run", "#!/bin/sh\n");
    git.run(&["add", "--all"]);
    git.run(&["update-index", "--chmod=+x", "bin/run"]);
    git.run(&["commit", "--quiet", "-m", "executable"]);
    std::os::unix::fs::symlink("README.md", folder.join("link")).unwrap();
    git.write("image.png", [0x89, b'P', 0xff]);
    git.write("large.bin", vec![0xee; 400 * 1024]);
    git.run(&["add", "link", "image.png", "large.bin"]);
    git.run(&["commit", "--quiet", "-m", "a link and a large file"]);
    git.run(&["reset", "--hard", "--quiet"]);
    git.run(&["checkout", "--quiet", "-b", "side"]);
    git.write("side.txt", "side\n");
    git.write("README.md", "hello from the side\n");
    git.commit("on the side");
    git.run(&["checkout", "--quiet", "trunk"]);
    git.write("main.txt", "main\n");
    std::fs::remove_file(folder.join("empty")).unwrap();
    git.commit("on the main line");
    git.run(&["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    git.write("only-in-the-merge", "m\n");
    git.commit("merge the side");
    // A file becomes a folder, a link becomes a file.
    std::fs::remove_file(folder.join("main.txt")).unwrap();
    git.write("main.txt/inside", "i\n");
    std::fs::remove_file(folder.join("link")).unwrap();
    git.write("link", "no link any more\n");
    git.commit("kinds change");
    git.run(&["commit", "--quiet", "--allow-empty", "-m", "nothing at all"]);
    git
}

/// Every imported commit has git's tree, author, date and message.
fn assert_faithful(stage: &Stage, git: &Git<'_>) -> usize {
    let model = stage.model();
    let model = model.lock().unwrap();
    for commit in &model.commits {
        let id = commit.imported_from.as_deref().unwrap().strip_prefix("git:").unwrap();
        let tree: Vec<_> = model
            .tree("main", Some(commit.sequence))
            .unwrap()
            .into_iter()
            .map(|(path, content)| (format!("{} {path}", content.mode), model.contents[&content.hash].clone()))
            .collect();
        let mut expected = git.tree(id);
        expected.sort_by(|a, b| a.0[7..].cmp(&b.0[7..]));
        assert_eq!(tree, expected, "tree of {id} ({})", commit.message);
        assert_eq!(commit.message, git.run(&["show", "-s", "--format=%B", id]).trim_end());
        assert_eq!(commit.author, git.run(&["show", "-s", "--format=%an <%ae>", id]));
        let date = git.run(&["show", "-s", "--format=%at", id]);
        assert_eq!(commit.created_at.to_utc().timestamp().to_string(), date);
    }
    model.commits.len()
}

async fn import(person: &Person<'_>, arguments: &[&str]) -> String {
    let line: Vec<&str> = std::iter::once("import-git").chain(arguments.iter().copied()).collect();
    person.ok(&line).await
}

#[tokio::test]
async fn every_commit_is_imported_as_it_is_in_git() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let git = rich_history(folder.path());
    let path = folder.path().to_str().unwrap();
    let dry = import(&alice, &[path, "--dry-run"]).await;
    assert_eq!(dry, format!("8 commits of {path} would be imported into 'main'\n"));
    let seen = import(&alice, &[path]).await;
    assert!(seen.starts_with(&format!("Importing 8 commits from {path}...\n1/8 ")), "{seen}");
    assert!(seen.contains(" \"first\" (zoe@example.org)\n"), "{seen}");
    assert!(seen.ends_with("Done. 8 commits imported.\n"), "{seen}");
    assert_eq!(assert_faithful(&stage, &git), 8);
    // The workspace is untouched until a pull, which verifies the imported chain.
    assert!(alice.files().is_empty());
    alice.ok(&["pull"]).await;
    assert!(alice.ok(&["verify", "--content"]).await.ends_with("Content of 9 files matches\n"));
    assert_eq!(import(&alice, &[path]).await, "8 commits are there already\nNo commits to import.\n");
}

#[tokio::test]
async fn an_import_goes_on_where_it_stopped_and_takes_what_is_new() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let git = rich_history(folder.path());
    let path = folder.path().to_str().unwrap();
    // Only up to the middle of the history, on one of its two lines.
    let list = git.run(&["rev-list", "--topo-order", "--reverse", "HEAD"]);
    let middle = list.lines().nth(4).unwrap();
    import(&alice, &[path, "--rev", middle]).await;
    git.write("later", "l\n");
    git.commit("later");
    import(&alice, &[path]).await;
    assert_eq!(assert_faithful(&stage, &git), 9);
    // Somebody commits on top: then the trees would not be git's any more.
    stage.model().lock().unwrap().commit_files("main", "own", &[("own", Some("o"))]);
    git.commit("later still");
    let seen = alice.fails(&["import-git", path]).await;
    assert!(seen.contains("branch 'main' has commits of its own on top of an import"), "{seen}");
    let other = tempfile::tempdir().unwrap();
    Git::init(other.path()).commit("unrelated");
    stage.model().lock().unwrap().commits.pop();
    stage.model().lock().unwrap().branches.get_mut("main").unwrap().head_sequence = 9;
    let seen = alice.fails(&["import-git", other.path().to_str().unwrap()]).await;
    assert!(seen.contains("branch 'main' holds an import of something else"), "{seen}");
}

#[tokio::test]
async fn bundles_bare_repositories_and_the_main_line_alone() {
    let folder = tempfile::tempdir().unwrap();
    let git = rich_history(folder.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let bundle = elsewhere.path().join("history.bundle");
    git.run(&["bundle", "create", "--quiet", bundle.to_str().unwrap(), "trunk", "side"]);
    let bare = elsewhere.path().join("bare.git");
    git.run(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);

    for (path, arguments, count) in
        [(&bare, vec![], 8), (&bundle, vec!["--rev", "trunk"], 8), (&bare, vec!["--first-parent"], 7)]
    {
        let stage = Stage::new().await;
        let alice = stage.workspace("alice").await;
        let line: Vec<&str> = std::iter::once(path.to_str().unwrap()).chain(arguments).collect();
        import(&alice, &line).await;
        assert_eq!(assert_faithful(&stage, &git), count);
    }
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    // The bundle has two branches and says of neither that it is checked out.
    let seen = alice.fails(&["import-git", bundle.to_str().unwrap()]).await;
    assert_eq!(seen, "error: which branch? There are side, trunk\nhint: choose with --rev\n[exit 2]\n");
}

#[tokio::test]
async fn submodules_and_impossible_names_are_left_out_with_a_warning() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let git = Git::init(folder.path());
    git.write("a", "a");
    git.write("new\nline", "n");
    git.commit("odd");
    let id = git.run(&["rev-parse", "HEAD"]);
    git.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{id},sub")]);
    git.run(&["commit", "--quiet", "-m", "a submodule"]);
    let output = alice.ds(&["import-git", folder.path().to_str().unwrap()]).await;
    insta::assert_snapshot!(output.stderr, @r"
    warning: 'new\nline' is left out: file path 'new\nline' holds the control character '\n'
    warning: 'sub' is left out: it is a submodule
    ");
    let tree = stage.model().lock().unwrap().tree("main", None).unwrap();
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn an_old_server_gets_commits_with_the_author_in_the_message() {
    let stage = Stage::of(Generation::Old).await;
    let alice = stage.workspace("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let git = Git::init(folder.path());
    git.write("a", "a");
    git.write("image.png", [0x89, 0xff]);
    git.commit("first");
    std::fs::remove_file(folder.path().join("a")).unwrap();
    git.write("empty", "");
    git.commit("second");
    let path = folder.path().to_str().unwrap();
    let seen = import(&alice, &[path]).await.replace(path, "PATH");
    let seen = seen
        .replace(&git.run(&["rev-parse", "HEAD"])[..7], "2222222")
        .replace(&git.run(&["rev-parse", "HEAD^"])[..7], "1111111");
    insta::assert_snapshot!(seen, @r#"
    Importing 2 commits from PATH...
    1/2 1111111 "first" (zoe@example.org)
    2/2 2222222 "second" (zoe@example.org)
    Done. 2 commits imported.
    "#);
    let model = stage.model();
    let model = model.lock().unwrap();
    let messages: Vec<_> =
        model.commits.iter().map(|commit| (commit.message.as_str(), commit.author.as_str())).collect();
    assert_eq!(
        messages,
        [("[git-author: zoe@example.org] first", "alice"), ("[git-author: zoe@example.org] second", "alice")]
    );
    let tree = model.tree("main", None).unwrap();
    assert_eq!(tree["image.png"].content_type.as_deref(), Some("image/png"));
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["empty", "image.png"]);
}

#[tokio::test]
async fn squash_makes_one_commit() {
    for generation in [Generation::New, Generation::Old] {
        let stage = Stage::of(generation).await;
        let alice = stage.workspace("alice").await;
        let folder = tempfile::tempdir().unwrap();
        let git = rich_history(folder.path());
        let seen = import(&alice, &[folder.path().to_str().unwrap(), "--mode", "squash"]).await;
        assert_eq!(
            seen,
            "Collecting files from HEAD... 9 files\nImporting as single commit...\nDone. 1 commit imported (9 files).\n"
        );
        let model = stage.model();
        let model = model.lock().unwrap();
        let short = &git.run(&["rev-parse", "HEAD"])[..7];
        assert_eq!(
            model.commits.iter().map(|commit| commit.message.as_str()).collect::<Vec<_>>(),
            [format!("[git-import] Squashed import of trunk (9 files, HEAD {short})")]
        );
        assert_eq!(model.tree("main", None).unwrap().len(), git.tree("HEAD").len());
    }
}

#[tokio::test]
async fn a_reason_to_override_policies_goes_with_every_way_to_import() {
    for way in [&[][..], &["--as-commits"], &["--mode", "squash"]] {
        let stage = Stage::new().await;
        let alice = stage.workspace("alice").await;
        let folder = tempfile::tempdir().unwrap();
        let git = Git::init(folder.path());
        git.write("a", "1");
        git.commit("one");
        import(&alice, &[&[folder.path().to_str().unwrap(), "--override", "the old history"], way].concat()).await;
        assert_eq!(stage.model().lock().unwrap().overrides, [Some("the old history".to_owned())], "{way:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_imported_is_told() {
    let stage = Stage::new().await;
    let alice = stage.workspace("alice").await;
    insta::assert_snapshot!(alice.fails(&["import-git", ".", "--mode", "merge"]).await, @r"
    error: mode must be 'replay' or 'squash'
    [exit 2]
    ");
    insta::assert_snapshot!(alice.fails(&["import-git", "."]).await, @r"
    error: . is not a git repository (no .git directory)
    [exit 1]
    ");
    let folder = tempfile::tempdir().unwrap();
    let git = Git::init(folder.path());
    insta::assert_snapshot!(alice.fails(&["import-git", folder.path().to_str().unwrap()]).await, @r"
    error: the git repository has no commits
    [exit 1]
    ");
    git.commit("x");
    insta::assert_snapshot!(alice.fails(&["import-git", folder.path().to_str().unwrap(), "--rev", "nope"]).await, @r"
    error: git knows no commit 'nope'
    [exit 1]
    ");
}
