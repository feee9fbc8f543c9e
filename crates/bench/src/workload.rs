//! The history that is measured on: made from a seed, so that every run and every server has the same.

use docstore_models::{FileChangeRequest, ImportRequest, ImportedCommit};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::wire::base64;

/// Files in one directory; with 10,000 files there are 100 directories in the root.
const DIRECTORY_FILES: usize = 100;

/// Commits in one import request: some megabytes of JSON.
const BATCH_COMMITS: usize = 1000;

/// Files that each of the first commits creates.
const FIRST_COMMIT_FILES: usize = 100;

/// The path of a file: 50 bytes or so, as in source trees.
pub(crate) fn path(file: usize) -> String {
    format!("packages/{:03}-service/source/module_{:04}.txt", file / DIRECTORY_FILES, file % DIRECTORY_FILES)
}

/// A directory that holds [`DIRECTORY_FILES`] files and nothing else.
pub(crate) fn directory_of_files() -> String {
    "packages/007-service/source".to_owned()
}

/// A directory that holds one directory per [`DIRECTORY_FILES`] files.
pub(crate) fn directory_of_directories() -> String {
    "packages".to_owned()
}

/// Text that no other call gives: 200 to 2,000 bytes of lines.
pub(crate) fn content(random: &mut StdRng) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "branch", "commit", "merge", "tree", "while", "return", "value", "result", "policy", "owner", "review",
        "check", "stream", "event", "page", "row",
    ];
    let length = random.random_range(200..2000);
    let mut text = format!("{:032x}\n", random.random::<u128>()).into_bytes();
    while text.len() < length {
        for _ in 0..8 {
            text.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
            text.push(b' ');
        }
        text.push(b'\n');
    }
    text
}

/// A source of random numbers that gives the same ones for the same seed.
pub(crate) fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A source of random numbers that nobody had before: contents that a repo has already would cost it less.
pub(crate) fn unseeded() -> StdRng {
    StdRng::seed_from_u64(rand::rng().random())
}

/// A change of a file to text that is new.
pub(crate) fn change(path: String, random: &mut StdRng) -> FileChangeRequest {
    FileChangeRequest { path, content: Some(base64(&content(random))), ..FileChangeRequest::default() }
}

/// A history: first all files come, then each commit changes one to three of them.
pub(crate) struct History {
    random: StdRng,
    files: usize,
    made: usize,
}

impl History {
    pub(crate) fn new(files: usize) -> Self {
        Self { random: seeded(1), files, made: 0 }
    }

    /// How many commits were made.
    pub(crate) fn commits(&self) -> usize {
        self.made
    }

    /// The next request, up to a number of commits in all; nothing when they are made.
    pub(crate) fn batch(&mut self, commits: usize) -> Option<ImportRequest> {
        let count = BATCH_COMMITS.min(commits.saturating_sub(self.made));
        if count == 0 {
            return None;
        }
        let commits = (0..count).map(|_| self.commit()).collect();
        Some(ImportRequest { branch: "main".to_owned(), commits, ..ImportRequest::default() })
    }

    fn commit(&mut self) -> ImportedCommit {
        let number = self.made;
        self.made += 1;
        let first = number * FIRST_COMMIT_FILES;
        let files = if first < self.files {
            (first..self.files.min(first + FIRST_COMMIT_FILES))
                .map(|file| change(path(file), &mut self.random))
                .collect()
        } else {
            let count = self.random.random_range(1..=3);
            // Neighbours, as in real changes, and never one file twice.
            let start = self.random.random_range(0..self.files - count);
            (start..start + count).map(|file| change(path(file), &mut self.random)).collect()
        };
        ImportedCommit {
            author: "generator@example.com".to_owned(),
            created_at: None,
            message: format!("change {number}"),
            imported_from: format!("bench:{number}"),
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_history_has_its_files_and_commits_and_is_always_the_same() {
        let all = |mut history: History| {
            let mut commits = Vec::new();
            while let Some(batch) = history.batch(1500) {
                commits.extend(batch.commits);
            }
            commits
        };
        let commits = all(History::new(1000));
        assert_eq!(commits.len(), 1500);
        assert_eq!(commits, all(History::new(1000)));
        let paths: HashSet<&str> =
            commits.iter().flat_map(|commit| &commit.files).map(|file| file.path.as_str()).collect();
        assert_eq!(paths.len(), 1000);
        for commit in &commits {
            let paths: HashSet<&str> = commit.files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths.len(), commit.files.len());
        }
    }
}
