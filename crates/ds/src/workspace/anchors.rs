use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{State, read_json, write_json};
use crate::Failure;

/// A commit whose chain hash is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Anchor {
    pub(crate) sequence: i64,
    pub(crate) hash: String,
}

/// A check that failed. It stays until somebody says that the server's history is to be trusted all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) branch: String,
    pub(crate) message: String,
}

/// What is trusted of the chains of the repo: one anchor per branch, so that moving between branches loses none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Anchors {
    branches: BTreeMap<String, Anchor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<Fault>,
}

impl Anchors {
    /// Reads the anchors. The original client keeps one, in the state; it wins where it is newer.
    pub(super) fn read(metadata: &Path, state: &State) -> Result<Self, Failure> {
        let mut anchors: Self = read_json(&metadata.join("anchors.json"), "anchors")?.unwrap_or_default();
        let newer = anchors.get(&state.branch).is_none_or(|anchor| anchor.sequence < state.sequence);
        if !state.commit_hash.is_empty() && newer {
            anchors.set(&state.branch, Anchor { sequence: state.sequence, hash: state.commit_hash.clone() });
        }
        Ok(anchors)
    }

    pub(super) fn write(&self, metadata: &Path) -> Result<(), Failure> {
        write_json(&metadata.join("anchors.json"), self)
    }

    pub(crate) fn get(&self, branch: &str) -> Option<&Anchor> {
        self.branches.get(branch)
    }

    pub(crate) fn set(&mut self, branch: &str, anchor: Anchor) {
        self.branches.insert(branch.to_owned(), anchor);
    }

    pub(crate) fn forget(&mut self, branch: &str) {
        self.branches.remove(branch);
    }

    /// The trusted hash of exactly this commit.
    pub(crate) fn hash_at(&self, branch: &str, sequence: i64) -> Option<&str> {
        self.get(branch).filter(|anchor| anchor.sequence == sequence).map(|anchor| anchor.hash.as_str())
    }
}
