use std::{collections::BTreeMap, path::Path};

use docstore_models::FileMode;
use serde::{Deserialize, Serialize};

use super::{State, read_json, write_json};
use crate::Failure;

/// Which synced files are not plain ones.
///
/// The original client knows no modes. After it has moved the state, what is written here belongs to a tree of the past:
/// then modes are unknown until the next sync, and a difference in mode alone is not a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Modes(Option<BTreeMap<String, FileMode>>);

#[derive(Serialize, Deserialize)]
struct ModesFile {
    branch: String,
    sequence: i64,
    modes: BTreeMap<String, FileMode>,
}

impl Modes {
    /// The modes of a tree; regular files may be left out.
    pub(crate) fn known(modes: impl IntoIterator<Item = (String, FileMode)>) -> Self {
        Self(Some(modes.into_iter().filter(|(_, mode)| !mode.is_regular()).collect()))
    }

    pub(super) fn read(metadata: &Path, state: &State) -> Result<Self, Failure> {
        let file: Option<ModesFile> = read_json(&metadata.join("modes.json"), "modes")?;
        Ok(Self(
            file.filter(|file| file.branch == state.branch && file.sequence == state.sequence).map(|file| file.modes),
        ))
    }

    pub(super) fn write(&self, metadata: &Path, state: &State) -> Result<(), Failure> {
        let path = metadata.join("modes.json");
        match &self.0 {
            Some(modes) => {
                let file = ModesFile { branch: state.branch.clone(), sequence: state.sequence, modes: modes.clone() };
                write_json(&path, &file)
            }
            None => super::remove_if_exists(&path),
        }
    }

    /// The mode of a synced file, if known.
    pub(crate) fn get(&self, path: &str) -> Option<FileMode> {
        self.0.as_ref().map(|modes| modes.get(path).copied().unwrap_or_default())
    }

    /// The same modes after a commit of some paths; `None` stands for a deletion.
    pub(crate) fn with(&self, changed: impl IntoIterator<Item = (String, Option<FileMode>)>) -> Self {
        Self(self.0.clone().map(|mut modes| {
            for (path, mode) in changed {
                match mode {
                    Some(mode) if !mode.is_regular() => modes.insert(path, mode),
                    _ => modes.remove(&path),
                };
            }
            modes
        }))
    }
}
