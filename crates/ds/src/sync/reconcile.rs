//! Bringing a new tree under uncommitted changes.
//!
//! A file changed only here stays as it is. A file changed here and on the server is merged line by line, with the last
//! synced version as the base; where both changed the same lines, the file gets conflict markers and a copy of what it was
//! goes to the backup folder. What cannot be merged, such as a binary file or a deletion, stops the command.

use std::{collections::BTreeMap, fs, path::Path};

use docstore_client::RepoClient;
use docstore_models::FileMode;

use super::{Target, download::fetch_contents};
use crate::{
    Exit, Failure,
    failure::About,
    hash::hash_bytes,
    text::{Labels, TEXT_BYTES_MAX, merge},
    workspace::{Changes, Scan, Workspace},
};

/// What becomes of a locally changed path instead of the server's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Override {
    /// It stays as it is.
    Keep,
    /// The merge, staged under its hash.
    Merged { hash: String, conflicts: usize },
}

pub(super) type Overrides = BTreeMap<String, Override>;

/// Keeps every change that is not at or below one of the paths.
pub(super) fn keep_all_but(paths: &[String], changes: &Changes) -> Overrides {
    let is_below = |path: &str, above: &str| {
        above.is_empty() || path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
    };
    let all = changes.new.iter().chain(&changes.modified).chain(&changes.deleted);
    all.filter(|path| !paths.iter().any(|above| is_below(path, above)))
        .map(|path| (path.clone(), Override::Keep))
        .collect()
}

pub(super) async fn reconcile(
    workspace: &Workspace,
    repo: &RepoClient,
    target: &Target,
    scan: &Scan,
    staging: &Path,
) -> Result<Overrides, Failure> {
    let changes = workspace.changes(scan);
    let state = workspace.state();
    let mut overrides = Overrides::new();
    let mut both = Vec::new();
    let mut unmergeable = Vec::new();
    for path in changes.new.iter().chain(&changes.modified).chain(&changes.deleted) {
        let theirs = target.files.get(path);
        let base = state.files.get(path);
        let ours = scan.file(path);
        let same_mode = theirs.is_none_or(|file| workspace.modes().get(path).is_none_or(|mode| mode == file.mode));
        if theirs.map(|file| &file.hash) == base && same_mode {
            overrides.insert(path.clone(), Override::Keep);
        } else if theirs.map(|file| (file.hash.as_str(), file.mode)) == ours.map(|file| (file.hash(), file.mode)) {
            // Both made the same change.
        } else if let (Some(theirs), Some(ours)) = (theirs, ours)
            && theirs.mode != FileMode::Symlink
            && ours.mode != FileMode::Symlink
        {
            both.push(path.clone());
        } else {
            unmergeable.push(path.clone());
        }
    }
    if !both.is_empty() {
        // Without a base there is nothing to fetch, and to an older server 0 would be the head.
        let with_base: Vec<String> = both.iter().filter(|path| state.files.contains_key(*path)).cloned().collect();
        let bases = fetch_contents(repo, &state.branch, state.sequence, &with_base, TEXT_BYTES_MAX).await?;
        let theirs = fetch_contents(repo, &target.branch, target.sequence, &both, TEXT_BYTES_MAX).await?;
        for path in both {
            let full = workspace.root().join(&path);
            let ours = fs::read(&full).about("read", &full)?;
            let base = bases.of(&path).unwrap_or_default();
            let theirs = theirs.of(&path).unwrap_or_default();
            let labels = Labels { base: "last synced", ours: "your changes", theirs: &target.branch };
            match merge(&base, &ours, &theirs, &labels) {
                Some(merged) => {
                    let hash = hash_bytes(&merged.bytes);
                    let staged = staging.join(&hash);
                    fs::write(&staged, &merged.bytes).about("write", &staged)?;
                    overrides.insert(path, Override::Merged { hash, conflicts: merged.conflicts });
                }
                None => unmergeable.push(path),
            }
        }
    }
    if unmergeable.is_empty() {
        return Ok(overrides);
    }
    let mut message = "changed here and on the server, and cannot be merged:".to_owned();
    for path in unmergeable {
        message.push_str("\n  ");
        message.push_str(&path);
    }
    Err(Failure::new(message)
        .exit(Exit::Conflict)
        .hint("copy these files elsewhere, discard the changes, then try again"))
}
