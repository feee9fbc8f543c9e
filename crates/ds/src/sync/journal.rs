use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{
    apply::{Apply, ApplyError},
    plan::Operation,
};
use crate::{
    Failure,
    failure::About,
    workspace::{
        Anchors, Config, Modes, Scan, Stat, StatCache, State, Workspace, read_json, remove_if_exists, write_json,
    },
};

const FILE_NAME: &str = "sync.json";

/// Everything that is left to do once all contents are here. Written down before the first file is touched, so that
/// whoever finds it can finish.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The folder below `tmp/` with the contents, each named by its hash.
    staging: String,
    operations: Vec<Operation>,
    config: Config,
    state: State,
    modes: Modes,
    anchors: Anchors,
    /// Removes the folder when nothing was touched yet.
    #[serde(skip)]
    guard: Option<TempDir>,
}

impl Journal {
    pub(super) fn new(
        staging: TempDir,
        operations: Vec<Operation>,
        config: Config,
        state: State,
        modes: Modes,
        anchors: Anchors,
    ) -> Self {
        let name = staging.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { staging: name, operations, config, state, modes, anchors, guard: Some(staging) }
    }

    /// The journal of an interrupted sync.
    pub(super) fn read(workspace: &Workspace) -> Result<Option<Self>, Failure> {
        read_json(&workspace.metadata().join(FILE_NAME), "sync journal")
    }

    pub(super) fn branch(&self) -> &str {
        &self.state.branch
    }

    /// Carries it out. `scan` is what the plan was made from; without it, this finishes what another command began, and
    /// every file is looked at again. Answers the folder with copies of files that were in the way, if there were any.
    pub(super) fn carry_out(
        mut self,
        workspace: &mut Workspace,
        scan: Option<&Scan>,
        now: DateTime<Utc>,
    ) -> Result<Option<PathBuf>, Failure> {
        let file = workspace.metadata().join(FILE_NAME);
        let staging = workspace.metadata().join("tmp").join(&self.staging);
        // Files that only appear do no harm when the rest is missing: the next sync takes them as they are.
        let replaces = self.operations.iter().any(|operation| !operation.only_adds());
        if replaces && scan.is_some() {
            write_json(&file, &self)?;
        }
        if replaces && let Some(guard) = self.guard.take() {
            // From here on the next command needs the contents, whatever happens to this one.
            let _ = guard.keep();
        }
        let backup = workspace.metadata().join("backup").join(now.format("%Y%m%dT%H%M%S%.3fZ").to_string());
        let mut apply = Apply::new(workspace.root(), &staging, &backup, scan, &self.operations);
        for operation in &self.operations {
            match apply.operation(operation) {
                Ok(()) => {}
                Err(ApplyError::ContentLost(path)) => {
                    // The machine went down before the contents were on disk. Nothing was replaced by them.
                    remove_if_exists(&file)?;
                    return Err(Failure::new(format!(
                        "an interrupted sync cannot be finished: the content of '{path}' is lost"
                    ))
                    .hint("run `ds pull --force` to sync again; replaced files are kept in .ds/backup"));
                }
                Err(ApplyError::Failed(failure)) if replaces => {
                    return Err(failure.hint("the sync is half done; the next ds command will finish it"));
                }
                Err(ApplyError::Failed(failure)) => return Err(failure),
            }
        }
        let made_backups = apply.made_backups();
        let cache = fresh_cache(workspace.root(), &self.state.files, scan, &self.operations);
        workspace.save(self.config, self.state, self.modes, self.anchors)?;
        // Only an optimisation.
        let _ = cache.write(&workspace.metadata());
        remove_if_exists(&file)?;
        if staging.exists() {
            std::fs::remove_dir_all(&staging).about("remove", &staging)?;
        }
        Ok(made_backups.then_some(backup))
    }
}

/// The cache of the tree just written, so that the next `ds status` reads nothing.
#[expect(clippy::disallowed_methods, reason = "compared with what the file system says, which has the same clock")]
fn fresh_cache(
    root: &Path,
    files: &BTreeMap<String, String>,
    scan: Option<&Scan>,
    operations: &[Operation],
) -> StatCache {
    let written: std::collections::HashSet<&str> = operations.iter().map(Operation::path).collect();
    let now = std::time::SystemTime::now();
    let entries = files.iter().filter_map(|(path, hash)| {
        let scanned = scan.and_then(|scan| scan.file(path)).filter(|_| !written.contains(path.as_str()));
        match scanned {
            Some(local) => {
                (local.hash() == hash && local.is_settled()).then_some((path.as_str(), local.stat, hash.as_str()))
            }
            None if scan.is_some() => {
                let stat = Stat::of(&std::fs::symlink_metadata(root.join(path)).ok()?)?;
                stat.is_settled_at(now).then_some((path.as_str(), stat, hash.as_str()))
            }
            // After an interruption nothing is known for sure.
            None => None,
        }
    });
    StatCache::from_sorted(entries)
}
