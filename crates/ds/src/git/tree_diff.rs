use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use docstore_models::FileMode;

use super::Repository;
use crate::Failure;

/// A line that is no pair of trees comes back as it is, after all that was asked for before it.
const END_MARK: &str = "end";

/// What became of a path between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeChange {
    /// The path, as git has it.
    pub(super) path: Vec<u8>,
    pub(super) now: Now,
}

/// What is at a path in the newer tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// A file with this content.
    File {
        /// The object id of the content.
        blob: String,
        mode: FileMode,
    },
    /// Nothing, or a submodule.
    Nothing {
        /// Whether it is a submodule.
        submodule: bool,
    },
}

/// One git process that compares trees, pair after pair.
pub(super) struct TreeDiff {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl TreeDiff {
    pub(super) fn start(repository: &Repository) -> Result<Self, Failure> {
        let mut child = repository
            .command(&["diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames", "--full-index", "--no-abbrev"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot run git: {error}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Self { child, stdin, stdout: BufReader::new(stdout) }),
            _ => Err(Failure::new("git has no pipes")),
        }
    }

    /// What changed from one tree to another, deletions before what may need their place.
    pub(super) fn between(&mut self, old: &str, new: &str) -> Result<Vec<TreeChange>, Failure> {
        if old == new {
            return Ok(Vec::new());
        }
        let failed = |error: std::io::Error| Failure::new(format!("cannot read from git: {error}"));
        self.stdin
            .write_all(format!("{old} {new}\n{END_MARK}\n").as_bytes())
            .and_then(|()| self.stdin.flush())
            .map_err(failed)?;
        let mut line = Vec::new();
        self.stdout.read_until(b'\n', &mut line).map_err(failed)?;
        if !line.starts_with(old.as_bytes()) {
            return Err(Failure::new(format!("git cannot compare the trees {old} and {new}")));
        }
        let mut changes = Vec::new();
        loop {
            let start = self.stdout.fill_buf().map_err(failed)?.first().copied();
            if start != Some(b':') {
                line.clear();
                self.stdout.read_until(b'\n', &mut line).map_err(failed)?;
                return match line.strip_suffix(b"\n") {
                    Some(mark) if mark == END_MARK.as_bytes() => Ok(changes),
                    _ => Err(Failure::new("git stopped in the middle of a comparison")),
                };
            }
            let mut raw = Vec::new();
            let mut path = Vec::new();
            self.stdout.read_until(0, &mut raw).and_then(|_| self.stdout.read_until(0, &mut path)).map_err(failed)?;
            path.pop();
            changes
                .push(parse(&raw, path).ok_or_else(|| Failure::new("git printed a comparison that makes no sense"))?);
        }
    }
}

impl Drop for TreeDiff {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `:<old mode> <new mode> <old blob> <new blob> <status>`
fn parse(raw: &[u8], path: Vec<u8>) -> Option<TreeChange> {
    let text = std::str::from_utf8(raw).ok()?.strip_prefix(':')?;
    let mut words = text.split(' ').skip(1);
    let (mode, _, blob) = (words.next()?, words.next()?, words.next()?);
    let file = |mode| Now::File { blob: blob.to_owned(), mode };
    let now = match mode {
        "000000" => Now::Nothing { submodule: false },
        "160000" => Now::Nothing { submodule: true },
        "120000" => file(FileMode::Symlink),
        "100755" => file(FileMode::Executable),
        // Repositories of the first hour also have 100664.
        _ => file(FileMode::Regular),
    };
    Some(TreeChange { path, now })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_understood() {
        let now = |mode: &str| parse(format!(":100644 {mode} aa bb M\0").as_bytes(), b"p".to_vec()).unwrap().now;
        let file = |mode| Now::File { blob: "bb".into(), mode };
        assert_eq!(now("100644"), file(FileMode::Regular));
        assert_eq!(now("100664"), file(FileMode::Regular));
        assert_eq!(now("100755"), file(FileMode::Executable));
        assert_eq!(now("120000"), file(FileMode::Symlink));
        assert_eq!(now("160000"), Now::Nothing { submodule: true });
        assert_eq!(now("000000"), Now::Nothing { submodule: false });
        assert_eq!(parse(b":x", Vec::new()), None);
    }
}
