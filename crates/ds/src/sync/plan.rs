use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use docstore_models::FileMode;
use serde::{Deserialize, Serialize};

use super::{
    Target, TreeFile,
    reconcile::{Override, Overrides},
};
use crate::{
    Failure,
    failure::About,
    workspace::{Modes, Scan, State},
};

/// Paths listed in an error; more are counted.
const LISTED_PATHS_MAX: usize = 20;

/// What was at a path when the plan was made: hash and mode, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before(pub(super) Option<(String, FileMode)>);

/// One step of writing a tree into the workspace. With `keep`, what is there goes to the backup folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Remove {
        path: String,
        before: Before,
        keep: bool,
    },
    Write {
        path: String,
        hash: String,
        mode: FileMode,
        before: Before,
        keep: bool,
    },
    /// The content is right already.
    Mode {
        path: String,
        mode: FileMode,
    },
}

impl Operation {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Remove { path, .. } | Self::Write { path, .. } | Self::Mode { path, .. } => path,
        }
    }

    /// Whether it leaves everything that is there as it is.
    pub(super) fn only_adds(&self) -> bool {
        matches!(self, Self::Write { before: Before(None), keep: false, .. })
    }
}

/// What has to happen to bring the workspace to a tree.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Removals first, so that a folder can become a file.
    pub(super) operations: Vec<Operation>,
    /// The contents to download, by hash, each with one path that has it.
    pub(super) wanted: BTreeMap<String, (String, TreeFile)>,
    /// Local files that are not as synced and that would be replaced or removed.
    losses: BTreeSet<String>,
}

impl Plan {
    pub(super) fn make(
        root: &Path,
        (state, modes): (&State, &Modes),
        scan: &Scan,
        target: &Target,
        overrides: &Overrides,
    ) -> Result<Self, Failure> {
        let mut plan = Self::default();
        for (path, synced_hash) in &state.files {
            if target.files.contains_key(path) || overrides.contains_key(path) {
                continue;
            }
            if let Some(local) = scan.file(path) {
                let keep = local.hash() != synced_hash;
                if keep {
                    plan.losses.insert(path.clone());
                }
                let before = Before(Some((local.hash().to_owned(), local.mode)));
                plan.operations.push(Operation::Remove { path: path.clone(), before, keep });
            }
        }
        let removed: BTreeSet<String> = plan.operations.iter().map(|operation| operation.path().to_owned()).collect();
        let mut checked_parents = BTreeSet::new();
        for (path, file) in &target.files {
            let local = scan.file(path);
            match overrides.get(path) {
                None => {}
                Some(Override::Keep) => continue,
                Some(Override::Merged { hash, conflicts }) => {
                    plan.operations.push(Operation::Write {
                        path: path.clone(),
                        hash: hash.clone(),
                        mode: file.mode,
                        before: Before(local.map(|local| (local.hash().to_owned(), local.mode))),
                        keep: *conflicts > 0,
                    });
                    continue;
                }
            }
            if let Some(local) = local
                && local.hash() == file.hash
                && (local.mode == FileMode::Symlink) == (file.mode == FileMode::Symlink)
            {
                if local.mode != file.mode && cfg!(unix) {
                    plan.operations.push(Operation::Mode { path: path.clone(), mode: file.mode });
                }
                continue;
            }
            match local {
                Some(local) => {
                    let as_synced = state.files.get(path).is_some_and(|hash| hash == local.hash())
                        && modes
                            .get(path)
                            .is_none_or(|mode| (mode == FileMode::Symlink) == (local.mode == FileMode::Symlink));
                    if !as_synced {
                        plan.losses.insert(path.clone());
                    }
                }
                None => plan.look_for_obstacles(root, path, &removed, &mut checked_parents)?,
            }
            plan.operations.push(Operation::Write {
                path: path.clone(),
                hash: file.hash.clone(),
                mode: file.mode,
                before: Before(local.map(|local| (local.hash().to_owned(), local.mode))),
                keep: plan.losses.contains(path),
            });
            plan.wanted.entry(file.hash.clone()).or_insert_with(|| (path.clone(), file.clone()));
        }
        Ok(plan)
    }

    /// Finds what the scan left out but a new file would need out of its way: ignored files, folders, links.
    fn look_for_obstacles(
        &mut self,
        root: &Path,
        path: &str,
        removed: &BTreeSet<String>,
        checked_parents: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if !checked_parents.insert(parent.to_owned()) {
                continue;
            }
            if let Some(kind) = kind_of(&root.join(parent))?
                && !kind.is_dir()
                && !removed.contains(parent)
            {
                self.losses.insert(parent.to_owned());
            }
        }
        match kind_of(&root.join(path))? {
            Some(kind) if kind.is_dir() => self.look_into(root, path, removed),
            Some(_) => {
                self.losses.insert(path.to_owned());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A folder is where a file has to be: everything in it must be going away.
    fn look_into(&mut self, root: &Path, folder: &str, removed: &BTreeSet<String>) -> Result<(), Failure> {
        let path = root.join(folder);
        for entry in fs::read_dir(&path).about("list", &path)? {
            let entry = entry.about("list", &path)?;
            let name = entry.file_name();
            let below = format!("{folder}/{}", name.to_string_lossy());
            if entry.file_type().about("look at", &path)?.is_dir() {
                self.look_into(root, &below, removed)?;
            } else if !removed.contains(&below) {
                self.losses.insert(below);
            }
        }
        Ok(())
    }

    pub(super) fn refuse_to_lose_changes(&self) -> Result<(), Failure> {
        if self.losses.is_empty() {
            return Ok(());
        }
        let mut message = "local files would be overwritten or removed:".to_owned();
        for path in self.losses.iter().take(LISTED_PATHS_MAX) {
            message.push_str("\n  ");
            message.push_str(path);
        }
        if self.losses.len() > LISTED_PATHS_MAX {
            message.push_str(&format!("\n  and {} more", self.losses.len() - LISTED_PATHS_MAX));
        }
        Err(Failure::conflict(message)
            .hint("move them away, or use --force to replace them; copies are then kept in .ds/backup"))
    }

    pub(super) fn writes(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation, Operation::Write { .. })).count()
    }

    pub(super) fn removals(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation, Operation::Remove { .. })).count()
    }
}

fn kind_of(path: &Path) -> Result<Option<fs::FileType>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).about("look at", path),
    }
}
