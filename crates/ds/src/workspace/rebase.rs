use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{read_json, remove_if_exists, write_json};
use crate::Failure;

/// Where a conflicting path stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Resolution {
    /// Nobody has said yet.
    Open {
        /// Whether the file was given conflict markers.
        marked: bool,
    },
    /// It shall be as it is in the workspace, which may mean that it shall not be there.
    AsItIs,
}

/// `rebase.json`: a rebase that waits for conflicts to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingRebase {
    /// The branch that is rebased.
    pub(crate) branch: String,
    /// The branch head that the conflicts were found at.
    pub(crate) branch_head: i64,
    /// The head of `main` that the conflicts were found at.
    pub(crate) main_head: i64,
    /// Every conflicting path.
    pub(crate) paths: BTreeMap<String, Resolution>,
}

impl PendingRebase {
    pub(crate) fn read(metadata: &Path) -> Result<Option<Self>, Failure> {
        read_json(&metadata.join("rebase.json"), "rebase state")
    }

    pub(crate) fn write(&self, metadata: &Path) -> Result<(), Failure> {
        write_json(&metadata.join("rebase.json"), self)
    }

    pub(crate) fn remove(metadata: &Path) -> Result<(), Failure> {
        remove_if_exists(&metadata.join("rebase.json"))
    }

    /// The files that show the two sides; they are not part of the workspace.
    pub(crate) fn side_files(&self) -> BTreeSet<String> {
        self.paths.keys().flat_map(|path| side_files(path)).collect()
    }

    /// The paths that nobody has resolved yet.
    pub(crate) fn open_paths(&self) -> Vec<&str> {
        self.paths
            .iter()
            .filter(|(_, resolution)| matches!(resolution, Resolution::Open { .. }))
            .map(|(path, _)| path.as_str())
            .collect()
    }
}

/// The files beside a conflicting path that show what `main` and the branch have (contract, clients §6.8).
pub(crate) fn side_files(path: &str) -> [String; 2] {
    [format!("{path}.main"), format!("{path}.branch")]
}
