use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::history::{GitCommit, read_commits};
use crate::{Failure, failure::About, output::printable};

/// What a bundle file begins with.
const BUNDLE_SIGNATURE: &[u8] = b"# v";

/// Which commits of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// All that it reaches, parents first.
    Topological,
    /// The main line alone.
    FirstParent,
}

/// A git repository to read from: a working copy, a bare repository, or a bundle, which is unpacked for the while.
pub(crate) struct Repository {
    location: Vec<OsString>,
    /// What a bundle was unpacked into.
    _unpacked: Option<TempDir>,
}

impl Repository {
    /// Opens what is at the path, without looking for a repository above it.
    pub(crate) fn open(path: &Path, shown: &str) -> Result<Self, Failure> {
        let shown = printable(shown);
        let kind = Kind::of(path)?;
        if kind == Kind::Other {
            return Err(Failure::new(format!("{shown} is not a git repository (no .git directory)")));
        }
        if let Err(error) = Command::new("git").arg("--version").stdout(Stdio::null()).status() {
            return Err(Failure::new(format!("cannot run git: {error}")).hint("install git; it reads the repository"));
        }
        match kind {
            Kind::Worktree => Ok(Self { location: vec!["-C".into(), path.into()], _unpacked: None }),
            Kind::Bare => Ok(Self { location: vec![git_dir(path)], _unpacked: None }),
            Kind::Bundle | Kind::Other => {
                let folder =
                    tempfile::Builder::new().prefix("ds-bundle-").tempdir().about("create", Path::new("a folder"))?;
                let bare = folder.path().join("repository.git");
                let clone =
                    [OsString::from("clone"), "--bare".into(), "--quiet".into(), path.into(), bare.clone().into()];
                run(base_command().args(clone))?;
                Ok(Self { location: vec![git_dir(&bare)], _unpacked: Some(folder) })
            }
        }
    }

    /// A git command on this repository.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = base_command();
        command.args(&self.location).args(arguments);
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<String, Failure> {
        let bytes = run(&mut self.command(arguments))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// The commit that a revision means. Without one: the branch checked out or, where none is (as in a bundle), the only
    /// branch, `main` or `master`. Answers its name as well.
    pub(crate) fn resolve(&self, revision: Option<&str>) -> Result<(String, String), Failure> {
        let commit_of = |revision: &str| {
            self.output(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")])
        };
        if let Some(revision) = revision {
            let commit = commit_of(revision)
                .map_err(|_| Failure::new(format!("git knows no commit '{}'", printable(revision))))?;
            return Ok((commit, revision.to_owned()));
        }
        if let Ok(commit) = commit_of("HEAD") {
            let name = self.output(&["rev-parse", "--abbrev-ref", "HEAD"])?;
            return Ok((commit, name));
        }
        let branches = self.output(&["for-each-ref", "--format=%(refname:short)", "refs/heads"])?;
        let branches: Vec<&str> = branches.lines().collect();
        let chosen = match branches.as_slice() {
            [only] => Some(*only),
            several => ["main", "master"].into_iter().find(|name| several.contains(name)),
        };
        match chosen {
            Some(name) => Ok((commit_of(&format!("refs/heads/{name}"))?, name.to_owned())),
            None if branches.is_empty() => Err(Failure::new("the git repository has no commits")),
            None => {
                Err(Failure::usage(format!("which branch? There are {}", branches.join(", ")))
                    .hint("choose with --rev"))
            }
        }
    }

    /// The object ids of the commits to import, in order.
    pub(crate) fn list(&self, commit: &str, order: Order) -> Result<Vec<String>, Failure> {
        let order = match order {
            Order::Topological => "--topo-order",
            Order::FirstParent => "--first-parent",
        };
        let list = self.output(&["rev-list", order, "--reverse", commit])?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// The tree of a commit, or `None` when the repository does not have it.
    pub(crate) fn tree_of(&self, commit: &str) -> Option<String> {
        self.output(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{commit}^{{tree}}")]).ok()
    }

    /// The id of the tree without files, which depends on the hash that the repository uses.
    pub(crate) fn empty_tree(&self) -> Result<String, Failure> {
        let mut command = self.command(&["hash-object", "-t", "tree", "--stdin"]);
        command.stdin(Stdio::null());
        let bytes = run(&mut command)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// What the commits say, one after the other in the order given.
    pub(crate) fn commits(
        &self,
        ids: Vec<String>,
    ) -> Result<impl Iterator<Item = Result<GitCommit, Failure>> + use<>, Failure> {
        read_commits(self, ids)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Worktree,
    Bare,
    Bundle,
    Other,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, Failure> {
        if path.join(".git").exists() {
            return Ok(Self::Worktree);
        }
        if path.join("HEAD").is_file() && path.join("objects").is_dir() {
            return Ok(Self::Bare);
        }
        if path.is_file() {
            let mut start = [0; BUNDLE_SIGNATURE.len()];
            let mut file = std::fs::File::open(path).about("open", path)?;
            if file.read_exact(&mut start).is_ok() && start == BUNDLE_SIGNATURE {
                return Ok(Self::Bundle);
            }
        }
        Ok(Self::Other)
    }
}

fn git_dir(path: &Path) -> OsString {
    let mut argument = OsString::from("--git-dir=");
    argument.push(PathBuf::from(path));
    argument
}

/// git with nothing of the surroundings that could change what it reads or let it run other programs.
fn base_command() -> Command {
    let mut command = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_EXTERNAL_DIFF"] {
        command.env_remove(variable);
    }
    command
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["--no-replace-objects", "-c", "log.showSignature=false", "-c", "core.fsmonitor=false"])
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let output = command.output().map_err(|error| Failure::new(format!("cannot run git: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    let reason = reason.trim().lines().last().unwrap_or("no reason given").to_owned();
    Err(Failure::new(format!("git failed: {}", printable(&reason))))
}
