//! The hash chain of a branch (contract, server §5.5 and clients §7).

use docstore_models::{ChainEntry, Timestamp};
use sha2::{Digest, Sha256};

/// The previous hash of the first commit of a branch.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// All that enters the hash of one commit.
#[derive(Clone, Debug)]
pub struct ChainInput<'a> {
    /// The hash of the commit before it on the same branch, lower-case hex; [`GENESIS`] for the first.
    pub previous: &'a str,
    /// The number of the commit.
    pub sequence: i64,
    /// The full name of the repo.
    pub repo: &'a str,
    /// The name of the branch.
    pub branch: &'a str,
    /// The author.
    pub author: &'a str,
    /// The message, newlines and all.
    pub message: &'a str,
    /// When it was committed.
    pub created_at: Timestamp,
    /// Path and content hash (lower-case hex, `""` for a deletion) of each changed file, in any order.
    pub files: Vec<(&'a str, &'a str)>,
}

/// The hash of a commit, lower-case hex: SHA-256 over the fields, each followed by one newline, then one line
/// `path:hash` per file in bytewise order of the paths.
#[must_use]
pub fn chain_hash(input: &ChainInput<'_>) -> String {
    let mut hasher = Sha256::new();
    let mut line = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update(b"\n");
    };
    line(input.previous);
    line(&input.sequence.to_string());
    line(input.repo);
    line(input.branch);
    line(input.author);
    line(input.message);
    line(&input.created_at.to_string());
    let mut files = input.files.clone();
    files.sort_unstable();
    for (path, hash) in files {
        line(&format!("{path}:{hash}"));
    }
    hex::encode(hasher.finalize())
}

/// What a chain that does not verify looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chain integrity error at sequence {sequence}: expected {expected} got {reported}")]
pub struct ChainFault {
    /// The commit whose hash is wrong.
    pub sequence: i64,
    /// The hash that its fields give.
    pub expected: String,
    /// The hash that the server reports.
    pub reported: String,
}

/// Walks the entries of one branch in ascending order and recomputes every hash.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    repo: String,
    branch: String,
    previous: String,
}

impl ChainVerifier {
    /// Starts before the first commit of the branch.
    #[must_use]
    pub fn from_genesis(repo: impl Into<String>, branch: impl Into<String>) -> Self {
        Self::after(repo, branch, GENESIS)
    }

    /// Starts after a commit whose hash is known and trusted.
    #[must_use]
    pub fn after(repo: impl Into<String>, branch: impl Into<String>, hash: impl Into<String>) -> Self {
        Self { repo: repo.into(), branch: branch.into(), previous: hash.into() }
    }

    /// The hash that the next entry builds on.
    #[must_use]
    pub fn previous(&self) -> &str {
        &self.previous
    }

    /// Checks the next entry. Entries of other branches pass unseen. An entry without a hash restarts the chain, as the
    /// server's does; the answer is then `false`.
    ///
    /// # Errors
    /// When the recomputed hash differs. The verifier goes on from the reported one, so that one fault is one fault.
    pub fn check(&mut self, entry: &ChainEntry) -> Result<bool, ChainFault> {
        if entry.branch != self.branch {
            return Ok(true);
        }
        let Some(reported) = &entry.commit_hash else {
            self.previous = GENESIS.to_owned();
            return Ok(false);
        };
        let expected = chain_hash(&ChainInput {
            previous: &self.previous,
            sequence: entry.sequence,
            repo: &self.repo,
            branch: &entry.branch,
            author: &entry.author,
            message: &entry.message,
            created_at: entry.created_at,
            files: entry.files.iter().map(|file| (file.path.as_str(), file.content_hash.as_str())).collect(),
        });
        self.previous.clone_from(reported);
        if expected == *reported {
            Ok(true)
        } else {
            Err(ChainFault { sequence: entry.sequence, expected, reported: reported.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn golden() -> ChainInput<'static> {
        ChainInput {
            previous: GENESIS,
            sequence: 1,
            repo: "org/repo",
            branch: "main",
            author: "alice@example.com",
            message: "initial commit",
            created_at: "2024-01-15T12:00:00Z".parse().unwrap(),
            files: vec![("README.md", "deadbeef")],
        }
    }

    #[test]
    fn the_golden_value_of_the_contract() {
        assert_eq!(chain_hash(&golden()), "e245acb0715bd67a76e1395fc4b27229835c93e133b51b9e96364f4507e0c06b");
    }

    #[test]
    fn every_field_counts() {
        let base = chain_hash(&golden());
        let variants: [fn(&mut ChainInput<'static>); 8] = [
            |input| input.previous = "1",
            |input| input.sequence = 2,
            |input| input.repo = "org/other",
            |input| input.branch = "x",
            |input| input.author = "bob@example.com",
            |input| input.message = "other",
            |input| input.created_at = "2024-01-15T12:00:00.000001Z".parse().unwrap(),
            |input| input.files = vec![("README.md", "")],
        ];
        for change in variants {
            let mut input = golden();
            change(&mut input);
            assert_ne!(chain_hash(&input), base);
        }
    }

    #[test]
    fn a_changed_entry_is_one_fault() {
        let mut entries = Vec::new();
        let mut previous = GENESIS.to_owned();
        for sequence in 1..=3 {
            let created_at = "2024-01-15T12:00:00Z".parse().unwrap();
            let files = vec![("a", "00")];
            let input = ChainInput {
                previous: &previous,
                sequence,
                repo: "o/r",
                branch: "main",
                author: "a",
                message: "m",
                created_at,
                files,
            };
            previous = chain_hash(&input);
            entries.push(ChainEntry {
                sequence,
                branch: "main".into(),
                author: "a".into(),
                message: "m".into(),
                created_at,
                commit_hash: Some(previous.clone()),
                files: vec![docstore_models::ChainFile { path: "a".into(), content_hash: "00".into() }],
            });
        }
        entries[1].message = "changed".into();
        let mut verifier = ChainVerifier::from_genesis("o/r", "main");
        let faults: Vec<i64> =
            entries.iter().filter_map(|entry| verifier.check(entry).err()).map(|fault| fault.sequence).collect();
        assert_eq!(faults, [2]);
    }

    proptest! {
        #[test]
        fn the_order_of_files_does_not_matter(mut files in proptest::collection::vec(("[a-z/]{1,8}", "[0-9a-f]{4}"), 0..8)) {
            files.sort();
            files.dedup_by(|a, b| a.0 == b.0);
            let forward: Vec<(&str, &str)> = files.iter().map(|(p, h)| (p.as_str(), h.as_str())).collect();
            let mut backward = forward.clone();
            backward.reverse();
            let mut one = golden();
            one.files = Vec::new();
            let hash = |files: Vec<(&str, &str)>| chain_hash(&ChainInput { files, ..one.clone() });
            prop_assert_eq!(hash(forward), hash(backward));
        }
    }
}
