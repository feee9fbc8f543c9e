//! Version control in memory, as the contract has it (server §5), for one repo.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_history::{ChainInput, GENESIS, chain_hash};
use docstore_models::{
    Branch, BranchStatus, ChainEntry, ChainFile, Conflict, FileChangeRequest, FileMode, Timestamp, TreeEntry,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Which endpoints and fields the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Those of the original contract.
    Old,
    /// Also the additive ones.
    New,
}

#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) content: Option<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) hash: String,
    pub(crate) mode: FileMode,
    pub(crate) content_type: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) sequence: i64,
    pub(crate) branch: String,
    pub(crate) author: String,
    pub(crate) message: String,
    pub(crate) created_at: Timestamp,
    pub(crate) changes: Vec<Change>,
    pub(crate) hash: Option<String>,
    pub(crate) imported_from: Option<String>,
}

/// What a request is refused with: status, code, message, and further fields.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) u16, pub(crate) &'static str, pub(crate) String, pub(crate) serde_json::Value);

pub(crate) fn refused(status: u16, code: &'static str, message: &str) -> Refused {
    Refused(status, code, message.to_owned(), serde_json::json!({}))
}

type Result<T> = std::result::Result<T, Refused>;

/// One repo.
pub(crate) struct Model {
    pub(crate) repo: String,
    pub(crate) branches: BTreeMap<String, Branch>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) contents: BTreeMap<String, Vec<u8>>,
    pub(crate) next_sequence: i64,
    /// What a merge is refused with.
    pub(crate) policies: Vec<(String, String)>,
    /// Hashes of which the server sends other bytes.
    pub(crate) damaged: BTreeSet<String>,
    /// Tree entries that no commit made, for a server that means harm.
    pub(crate) planted: Vec<(String, String)>,
    /// Whether commits get a hash.
    pub(crate) hashes: bool,
    /// What the server was asked, method and path.
    pub(crate) requests: Vec<String>,
    /// Why commits and imports go against policies, one for each request.
    pub(crate) overrides: Vec<Option<String>>,
    /// Requests of which the answer is lost after the work is done, by what their line begins with.
    pub(crate) lose_answers: Vec<String>,
    pub(crate) answers: BTreeMap<String, (u16, String)>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let repo = "default/default".to_owned();
        let mut model = Self {
            repo,
            branches: BTreeMap::new(),
            commits: Vec::new(),
            contents: BTreeMap::new(),
            next_sequence: 1,
            policies: Vec::new(),
            damaged: BTreeSet::new(),
            planted: Vec::new(),
            hashes: true,
            requests: Vec::new(),
            overrides: Vec::new(),
            lose_answers: Vec::new(),
            answers: BTreeMap::new(),
        };
        model.add_branch("main", 0, false);
        model
    }

    pub(crate) fn add_branch(&mut self, name: &str, base: i64, draft: bool) {
        let branch = Branch {
            repo: self.repo.clone(),
            name: name.to_owned(),
            head_sequence: base,
            base_sequence: base,
            status: BranchStatus::Active,
            draft,
            auto_merge: false,
        };
        self.branches.insert(name.to_owned(), branch);
    }

    pub(crate) fn branch(&self, name: &str) -> Result<Branch> {
        self.branches.get(name).cloned().ok_or_else(|| refused(404, "BRANCH_NOT_FOUND", "branch not found"))
    }

    pub(crate) fn head(&self, name: &str) -> i64 {
        self.branches[name].head_sequence
    }

    pub(crate) fn store(&mut self, bytes: &[u8]) -> String {
        let hash = hex::encode(Sha256::digest(bytes));
        self.contents.insert(hash.clone(), bytes.to_vec());
        hash
    }

    /// Commits as somebody else would, past all requests. `None` deletes.
    pub(crate) fn commit_files(&mut self, branch: &str, message: &str, files: &[(&str, Option<&str>)]) -> i64 {
        let changes = files
            .iter()
            .map(|(path, text)| Change {
                path: (*path).to_owned(),
                content: text.map(|text| Content {
                    hash: self.store(text.as_bytes()),
                    mode: FileMode::Regular,
                    content_type: None,
                }),
            })
            .collect();
        self.append(branch, "somebody", message, changes, None, None)
    }

    pub(crate) fn append(
        &mut self,
        branch: &str,
        author: &str,
        message: &str,
        changes: Vec<Change>,
        at: Option<Timestamp>,
        imported_from: Option<String>,
    ) -> i64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let created_at = at.unwrap_or_else(|| "2026-01-02T03:04:05.678Z".parse().unwrap());
        let previous = self.commits.iter().rev().find(|commit| commit.branch == branch);
        let previous = previous.and_then(|commit| commit.hash.clone()).unwrap_or_else(|| GENESIS.to_owned());
        let hash = self.hashes.then(|| {
            let files = changes
                .iter()
                .map(|change| {
                    (change.path.as_str(), change.content.as_ref().map_or("", |content| content.hash.as_str()))
                })
                .collect();
            let repo = self.repo.clone();
            chain_hash(&ChainInput {
                previous: &previous,
                sequence,
                repo: &repo,
                branch,
                author,
                message,
                created_at,
                files,
            })
        });
        self.commits.push(Commit {
            sequence,
            branch: branch.to_owned(),
            author: author.to_owned(),
            message: message.to_owned(),
            created_at,
            changes,
            hash,
            imported_from,
        });
        self.branches.get_mut(branch).unwrap().head_sequence = sequence;
        sequence
    }

    pub(crate) fn changes(&mut self, files: &[FileChangeRequest], generation: Generation) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut missing = Vec::new();
        for file in files {
            let content = match (&file.content, &file.content_hash) {
                (Some(text), _) => Some(self.store(&STANDARD.decode(text).unwrap())),
                (None, Some(hash)) if generation == Generation::New => {
                    if !self.contents.contains_key(hash) {
                        missing.push(hash.clone());
                    }
                    Some(hash.clone())
                }
                _ => None,
            };
            let mode = match (&file.mode, generation) {
                (Some(mode), Generation::New) => mode.parse().unwrap(),
                _ => FileMode::Regular,
            };
            let content_type = file.content_type.clone();
            changes.push(Change {
                path: file.path.clone(),
                content: content.map(|hash| Content { hash, mode, content_type }),
            });
        }
        if missing.is_empty() {
            return Ok(changes);
        }
        let more = serde_json::json!({ "missing": missing });
        Err(Refused(409, "CONTENT_MISSING", "contents are missing".into(), more))
    }

    pub(crate) fn check_head(&self, branch: &str, expected: Option<i64>) -> Result<()> {
        let head = self.branch(branch)?.head_sequence;
        match expected {
            Some(expected) if expected != head => {
                let more = serde_json::json!({ "head_sequence": head });
                Err(Refused(409, "HEAD_MOVED", format!("branch is at sequence {head}, not {expected}"), more))
            }
            _ => Ok(()),
        }
    }

    /// The tree of a branch at a sequence; 0 is empty.
    pub(crate) fn tree(&self, branch: &str, at: Option<i64>) -> Result<BTreeMap<String, Content>> {
        let found = self.branch(branch)?;
        let mut tree = BTreeMap::new();
        for commit in &self.commits {
            let visible =
                commit.branch == branch || (commit.branch == "main" && commit.sequence <= found.base_sequence);
            if !visible || at.is_some_and(|at| commit.sequence > at) {
                continue;
            }
            // In order, so that per path the latest counts.
            for change in &commit.changes {
                match &change.content {
                    Some(content) => tree.insert(change.path.clone(), content.clone()),
                    None => tree.remove(&change.path),
                };
            }
        }
        for (path, text) in &self.planted {
            let hash = hex::encode(Sha256::digest(text.as_bytes()));
            tree.insert(path.clone(), Content { hash, mode: FileMode::Regular, content_type: None });
        }
        Ok(tree)
    }

    /// The bytes that the server sends for a content, which may be other ones than it should.
    pub(crate) fn bytes(&self, hash: &str) -> Vec<u8> {
        if self.damaged.contains(hash) {
            return b"damaged".to_vec();
        }
        let planted = self.planted.iter().find(|(_, text)| hex::encode(Sha256::digest(text.as_bytes())) == hash);
        planted
            .map(|(_, text)| text.clone().into_bytes())
            .or_else(|| self.contents.get(hash).cloned())
            .unwrap_or_default()
    }

    pub(crate) fn entries(&self, branch: &str, at: Option<i64>) -> Result<Vec<TreeEntry>> {
        let tree = self.tree(branch, at)?;
        Ok(tree
            .into_iter()
            .map(|(path, content)| TreeEntry {
                obliterated: false,
                path,
                version_id: version_id(&content.hash),
                size: self.contents.get(&content.hash).map_or(0, |bytes| bytes.len() as i64),
                content_hash: content.hash,
                mode: content.mode,
            })
            .collect())
    }

    /// Latest change per path on a branch since a point.
    pub(crate) fn changed_since(&self, branch: &str, since: i64) -> BTreeMap<String, Option<Content>> {
        let commits = self.commits.iter().filter(|commit| commit.branch == branch && commit.sequence > since);
        commits.flat_map(|commit| &commit.changes).map(|change| (change.path.clone(), change.content.clone())).collect()
    }

    pub(crate) fn conflicts(&self, branch: &str) -> Result<Vec<Conflict>> {
        let base = self.branch(branch)?.base_sequence;
        let ours = self.changed_since(branch, base);
        let theirs = self.changed_since("main", base);
        let id = |content: &Option<Content>| {
            content.as_ref().map(|content| version_id(&content.hash).to_string()).unwrap_or_default()
        };
        Ok(ours
            .iter()
            .filter_map(|(path, ours)| theirs.get(path).map(|theirs| (path, ours, theirs)))
            .filter(|(_, ours, theirs)| ours != theirs)
            .map(|(path, ours, theirs)| Conflict {
                path: path.clone(),
                main_version_id: id(theirs),
                branch_version_id: id(ours),
            })
            .collect())
    }

    pub(crate) fn chain(&self, from: i64, to: i64) -> Vec<ChainEntry> {
        let commits = self.commits.iter().filter(|commit| (from..=to).contains(&commit.sequence));
        commits
            .map(|commit| ChainEntry {
                sequence: commit.sequence,
                branch: commit.branch.clone(),
                author: commit.author.clone(),
                message: commit.message.clone(),
                created_at: commit.created_at,
                commit_hash: commit.hash.clone(),
                files: commit
                    .changes
                    .iter()
                    .map(|change| ChainFile {
                        path: change.path.clone(),
                        content_hash: change.content.as_ref().map(|content| content.hash.clone()).unwrap_or_default(),
                    })
                    .collect(),
            })
            .collect()
    }
}

pub(crate) fn version_id(hash: &str) -> Uuid {
    Uuid::from_slice(&hex::decode(hash).unwrap()[..16]).unwrap()
}
