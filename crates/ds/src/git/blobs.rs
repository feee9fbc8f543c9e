use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use super::Repository;
use crate::Failure;

/// One git process that prints contents, one after the other.
pub(super) struct Blobs {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Blobs {
    pub(super) fn start(repository: &Repository) -> Result<Self, Failure> {
        let mut child = repository
            .command(&["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot run git: {error}")))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => {
                Ok(Self { child, stdin, stdout: BufReader::with_capacity(64 * 1024, stdout) })
            }
            _ => Err(Failure::new("git has no pipes")),
        }
    }

    /// Hands the content of a blob, with its length, to `take`, which must read all of it.
    pub(super) fn read<T>(
        &mut self,
        blob: &str,
        take: impl FnOnce(u64, &mut dyn Read) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let failed = |error: io::Error| Failure::new(format!("cannot read from git: {error}"));
        self.stdin.write_all(format!("{blob}\n").as_bytes()).and_then(|()| self.stdin.flush()).map_err(failed)?;
        let mut line = String::new();
        self.stdout.read_line(&mut line).map_err(failed)?;
        let size = match line.trim_end().split(' ').collect::<Vec<_>>().as_slice() {
            [_, "blob", size] => size.parse::<u64>().ok(),
            _ => None,
        };
        let Some(size) = size else {
            return Err(Failure::new(format!("the git repository is damaged: it has no content {blob}")));
        };
        let mut content = (&mut self.stdout).take(size);
        let taken = take(size, &mut content)?;
        if content.limit() > 0 {
            return Err(Failure::new("git stopped in the middle of a content"));
        }
        let mut newline = [0];
        self.stdout.read_exact(&mut newline).map_err(failed)?;
        Ok(taken)
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
