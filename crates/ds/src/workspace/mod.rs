//! The workspace on disk: what `.ds/` holds and how it is read and replaced.
//!
//! `config.json` and `state.json` are those of the original client, field for field, so that both can work in one
//! workspace. What it does not know lives in files of its own beside them, each of which says which state it belongs
//! to, so that one that the other client left behind is noticed and not believed:
//!
//! | File | Holds |
//! | --- | --- |
//! | `config.json` | server, repo, branch, author |
//! | `state.json` | branch, sequence, hash of every file as last synced, chain anchor |
//! | `modes.json` | which synced files are executable or links |
//! | `anchors.json` | trusted chain hash of every branch visited; a failed check that nobody acknowledged |
//! | `verified.json` | how far `ds verify` has been |
//! | `rebase.json` | a rebase that waits for conflicts to be resolved |
//! | `stat-cache` | hashes of files by size, times and inode |
//! | `sync.json`, `tmp/` | a sync that is being written into the workspace |
//! | `backup/` | local files that `--force` replaced |
//! | `lock` | held by the command that changes the workspace |

mod anchors;
mod directory;
mod files;
mod lock;
mod modes;
mod paths;
pub(crate) mod rebase;
mod scan;
mod stat_cache;
mod walk;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

pub(crate) use anchors::{Anchor, Anchors, Fault};
pub(crate) use files::{read_json, read_optional, remove_if_exists, write_atomically, write_json};
pub(crate) use modes::Modes;
pub(crate) use paths::{NOT_VERSIONED, is_protected};
pub(crate) use scan::{Changes, LocalFile, Scan, link_target};
use scan::{scan, threads};
pub(crate) use stat_cache::{Stat, StatCache};
use walk::{Walked, walk};

use crate::{Failure, failure::About};
pub(crate) use lock::Lock;

/// The folder with everything that is not content.
pub(crate) const METADATA_DIRECTORY: &str = ".ds";
/// The repo of a config that names none.
pub(crate) const DEFAULT_REPO: &str = docstore_models::DEFAULT_REPO;

/// `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Scheme and host, and a path in front of `/repos/` if there is one; no slash at the end.
    pub(crate) remote: String,
    /// The full name of the repo; see [`Config::repo`].
    repo: String,
    /// The branch that is checked out.
    pub(crate) branch: String,
    /// Sent as identity; only a development server reads it.
    pub(crate) author: String,
    /// What another version of `ds` keeps here.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Config {
    pub(crate) fn new(remote: String, repo: String, branch: String, author: String) -> Self {
        Self { remote, repo, branch, author, other: Map::new() }
    }

    /// The same with another branch checked out.
    pub(crate) fn on_branch(&self, branch: &str) -> Self {
        Self { branch: branch.to_owned(), ..self.clone() }
    }

    /// The full name of the repo.
    pub(crate) fn repo(&self) -> &str {
        if self.repo.is_empty() { DEFAULT_REPO } else { &self.repo }
    }
}

/// `state.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The branch of the last sync.
    pub(crate) branch: String,
    /// The head of the branch at the last sync or own commit.
    pub(crate) sequence: i64,
    /// Hash of every file as last synced.
    #[serde(deserialize_with = "files")]
    pub(crate) files: BTreeMap<String, String>,
    /// The chain hash of `sequence` on `branch`; empty when not anchored.
    pub(crate) commit_hash: String,
    /// What another version of `ds` keeps here.
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl State {
    /// A state; its chain anchor follows when it is saved.
    pub(crate) fn new(branch: &str, sequence: i64, files: BTreeMap<String, String>) -> Self {
        Self { branch: branch.to_owned(), sequence, files, ..Self::default() }
    }
}

/// The files of a state; `null` is none. They are written in order, and from a sorted list a map is built at once.
fn files<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Files;

    impl<'de> Visitor<'de> for Files {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a map from paths to hashes")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut files = Vec::new();
            while let Some(file) = map.next_entry()? {
                files.push(file);
            }
            Ok(files.into_iter().collect())
        }
    }

    deserializer.deserialize_any(Files)
}

/// A workspace that was found and read.
pub(crate) struct Workspace {
    root: PathBuf,
    config: Config,
    /// Whether `config` is what `config.json` says.
    config_is_saved: bool,
    state: State,
    modes: Modes,
    anchors: Anchors,
    /// Held until the workspace is dropped; only by commands that change it.
    _lock: Option<Lock>,
}

impl Workspace {
    /// The workspace in this directory or the nearest one above.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        Self::read(Self::find(directory)?)
    }

    /// The same for a command that changes it: fails when another command is changing it.
    pub(crate) fn open_locked(directory: &Path) -> Result<Self, Failure> {
        let root = Self::find(directory)?;
        let lock = Lock::take(&root.join(METADATA_DIRECTORY))?;
        Ok(Self { _lock: Some(lock), ..Self::read(root)? })
    }

    fn find(directory: &Path) -> Result<&Path, Failure> {
        directory
            .ancestors()
            .find(|above| above.join(METADATA_DIRECTORY).join("config.json").is_file())
            .ok_or_else(|| Failure::new("not a docstore workspace (run 'ds init' first)"))
    }

    fn read(root: &Path) -> Result<Self, Failure> {
        let metadata = root.join(METADATA_DIRECTORY);
        let config: Config = read_json(&metadata.join("config.json"), "config")?.unwrap_or_default();
        let state: State = read_json(&metadata.join("state.json"), "state")?.unwrap_or_default();
        let modes = Modes::read(&metadata, &state)?;
        let anchors = Anchors::read(&metadata, &state)?;
        Ok(Self { root: root.to_owned(), config, config_is_saved: true, state, modes, anchors, _lock: None })
    }

    /// A workspace that is about to be made, or made anew; nothing is written before [`Workspace::save`] but the
    /// metadata folder and its lock.
    ///
    /// A state that is there already is kept in mind, so that files of an earlier sync are known to be replaceable.
    pub(crate) fn create(root: &Path, config: Config) -> Result<Self, Failure> {
        let metadata = root.join(METADATA_DIRECTORY);
        std::fs::create_dir_all(&metadata).about("create", &metadata)?;
        let lock = Lock::take(&metadata)?;
        let mut workspace = Self::read(root)?;
        if workspace.config.remote != config.remote || workspace.config.repo() != config.repo() {
            // What was synced from another repo is nobody's to replace, and what was trusted of it says nothing here.
            workspace.state = State::default();
            workspace.modes = Modes::default();
            workspace.anchors = Anchors::default();
        }
        workspace.config = config;
        workspace.config_is_saved = false;
        workspace._lock = Some(lock);
        Ok(workspace)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.root.join(METADATA_DIRECTORY)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    pub(crate) fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// The branch that is checked out.
    pub(crate) fn branch(&self) -> &str {
        &self.config.branch
    }

    /// The branch that is checked out, which must not be `main`.
    pub(crate) fn branch_other_than_main(&self, otherwise: &str) -> Result<&str, Failure> {
        match self.branch() {
            docstore_models::MAIN_BRANCH | "" => Err(Failure::new(otherwise)),
            branch => Ok(branch),
        }
    }

    /// The branch that was typed, or else the one that is checked out, which must not be `main` either.
    pub(crate) fn branch_to_merge(&self, typed: Option<&str>, otherwise: &str) -> Result<String, Failure> {
        match typed {
            Some(docstore_models::MAIN_BRANCH) => Err(Failure::new("main is what branches are merged into")),
            Some(branch) => Ok(branch.to_owned()),
            None => self.branch_other_than_main(otherwise).map(str::to_owned),
        }
    }

    /// Replaces config, state, modes and anchors, in the order in which a crash in between does no harm: modes and
    /// anchors are believed only together with their state.
    pub(crate) fn save(
        &mut self,
        config: Config,
        mut state: State,
        modes: Modes,
        anchors: Anchors,
    ) -> Result<(), Failure> {
        state.commit_hash = anchors.hash_at(&state.branch, state.sequence).unwrap_or_default().to_owned();
        state.other = self.state.other.clone();
        let metadata = self.metadata();
        if config != self.config || !self.config_is_saved {
            write_json(&metadata.join("config.json"), &config)?;
            self.config = config;
            self.config_is_saved = true;
        }
        anchors.write(&metadata)?;
        self.anchors = anchors;
        modes.write(&metadata, &state)?;
        self.modes = modes;
        write_json(&metadata.join("state.json"), &state)?;
        self.state = state;
        Ok(())
    }

    /// Replaces the anchors alone.
    pub(crate) fn save_anchors(&mut self, anchors: Anchors) -> Result<(), Failure> {
        let (config, state, modes) = (self.config.clone(), self.state.clone(), self.modes.clone());
        self.save(config, state, modes, anchors)
    }

    /// Hashes what is in the workspace, as far as the cache does not know it, and brings the cache up to date.
    pub(crate) fn scan(&self) -> Result<Scan, Failure> {
        let (walked, cache) = walk(&self.root, threads(), || StatCache::read(&self.metadata()))?;
        self.scan_walked(walked, &cache)
    }

    /// Opens the workspace and scans it. Quicker than one after the other: other threads look at the files while this one
    /// reads what is known of them.
    pub(crate) fn open_and_scan(directory: &Path) -> Result<(Self, Scan), Failure> {
        let root = Self::find(directory)?;
        let read = || (Self::read(root), StatCache::read(&root.join(METADATA_DIRECTORY)));
        let (walked, (workspace, cache)) = walk(root, threads(), read)?;
        let workspace = workspace?;
        let scan = workspace.scan_walked(walked, &cache)?;
        Ok((workspace, scan))
    }

    fn scan_walked(&self, walked: Walked, cache: &StatCache) -> Result<Scan, Failure> {
        let metadata = self.metadata();
        let pending = rebase::PendingRebase::read(&metadata)?;
        let side_files = pending.map(|pending| pending.side_files()).unwrap_or_default();
        let scan = scan(&self.root, walked, &self.state.files, &side_files, cache)?;
        if scan.hashed > 0 || scan.len() != cache.len() {
            // Only an optimisation: a command that merely looks does not wait for one that writes.
            let _ = scan.to_cache().write(&metadata);
        }
        Ok(scan)
    }

    /// What changed since the last sync.
    pub(crate) fn changes(&self, scan: &Scan) -> Changes {
        Changes::between(&self.state.files, &self.modes, scan)
    }

    /// A typed path, relative to `directory`, as a path of the workspace with forward slashes; `""` is the root.
    pub(crate) fn relative_path(&self, directory: &Path, typed: &Path) -> Option<String> {
        paths::relative(&self.root, directory, typed)
    }
}
