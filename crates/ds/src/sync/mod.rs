//! Bringing the workspace to a tree of the server.
//!
//! Nothing in the workspace is touched before everything is known: the whole tree is read and checked, local changes that
//! would be lost stop the command, every content is downloaded beside the workspace and matches its hash, and the history
//! is verified. Only then are files removed and renamed into place, from a journal, so that an interruption is finished
//! by the next command instead of leaving half of each tree.

mod apply;
mod download;
mod journal;
mod plan;
mod reconcile;
mod target;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use docstore_client::RepoClient;

pub(crate) use download::{Contents, fetch_contents, verify_contents};
pub(crate) use target::{Target, TreeFile, changed_paths, read_tree};

use crate::{
    Failure,
    failure::About,
    integrity::{self, Trust},
    output::printable,
    session::Session,
    workspace::{Config, Modes, Scan, State, Workspace},
};
use journal::Journal;
use plan::Plan;

/// How to treat what is in the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncOptions {
    /// Local changes may be replaced, after a copy into `.ds/backup/`.
    pub(crate) force: bool,
    /// Local changes stay, merged with what is new.
    pub(crate) keep_changes: bool,
    /// The history need not be verified.
    pub(crate) skip_verify: bool,
    /// Local changes stay as they are, except at or below these paths. For putting files back.
    pub(crate) only: Option<Vec<String>>,
}

/// What a sync did.
#[derive(Debug)]
pub(crate) struct SyncReport {
    /// Whether the files came as one archive of the whole tree.
    pub(crate) whole_archive: bool,
    /// Files written.
    pub(crate) downloaded: usize,
    /// Files removed.
    pub(crate) removed: usize,
    /// Files that were changed here and there, merged, with conflict markers where that was needed.
    pub(crate) merged: usize,
    /// Those of them that have conflict markers.
    pub(crate) conflicted: Vec<String>,
}

impl SyncReport {
    /// The line that the original client prints.
    pub(crate) fn line(&self, branch: &str) -> String {
        if self.whole_archive {
            format!("Synced branch '{branch}' (archive: {} files)", self.downloaded)
        } else {
            format!("Synced branch '{branch}' ({} downloaded, {} removed)", self.downloaded, self.removed)
        }
    }
}

/// Brings the workspace to the head of `config.branch`, which must be `target`'s, and saves config and state.
pub(crate) async fn sync(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    repo: &RepoClient,
    config: Config,
    target: Target,
    scan: &Scan,
    options: SyncOptions,
) -> Result<SyncReport, Failure> {
    for path in &target.protected {
        session.warn(format!("'{path}' is left out: files of .ds and .git folders are not written from a server"));
    }
    for path in target.obliterated.keys() {
        let path = printable(path);
        session.warn(format!(
            "'{path}' is left out: its content was obliterated on the server; committing it by name deletes it"
        ));
    }
    let folder = temporary(workspace)?;
    let staging = tempfile::Builder::new().prefix("sync-").tempdir_in(&folder).about("create a folder in", &folder)?;
    let overrides = if let Some(only) = &options.only {
        reconcile::keep_all_but(only, &workspace.changes(scan))
    } else if options.keep_changes {
        reconcile::reconcile(workspace, repo, &target, scan, staging.path()).await?
    } else {
        reconcile::Overrides::new()
    };
    let plan = Plan::make(workspace.root(), (workspace.state(), workspace.modes()), scan, &target, &overrides)?;
    if !options.force {
        plan.refuse_to_lose_changes()?;
    }

    // The checks that need no download come first.
    let trust =
        integrity::verify_move(session, workspace, repo, &target.branch, target.sequence, options.skip_verify).await?;
    let anchors = match trust {
        Trust::Verified(anchors) => anchors,
        Trust::Broken(fault) => {
            let mut anchors = workspace.anchors().clone();
            let failure = integrity::fault_failure(&fault);
            anchors.fault = Some(fault);
            if workspace.metadata().join("config.json").is_file() {
                workspace.save_anchors(anchors)?;
            }
            return Err(failure);
        }
    };

    let progress = session.progress("Downloading", plan.wanted.len() as u64);
    let whole_archive =
        download::download(repo, &target, &plan.wanted, workspace.state().files.is_empty(), staging.path(), &progress)
            .await?;
    progress.finish();

    let merges = overrides.iter().filter_map(|(path, with)| match with {
        reconcile::Override::Merged { conflicts, .. } => Some((path, *conflicts)),
        reconcile::Override::Keep => None,
    });
    let merged = merges.clone().count();
    let report = SyncReport {
        whole_archive,
        downloaded: if whole_archive { target.files.len() } else { plan.writes() - merged },
        removed: plan.removals(),
        merged,
        conflicted: merges.filter(|(_, conflicts)| *conflicts > 0).map(|(path, _)| path.clone()).collect(),
    };
    let state = State::new(
        &target.branch,
        target.sequence,
        target.files.iter().map(|(path, file)| (path.clone(), file.hash.clone())).collect(),
    );
    let modes = Modes::known(target.files.iter().map(|(path, file)| (path.clone(), file.mode)));
    let journal = Journal::new(staging, plan.operations, config, state, modes, anchors);
    let backups = journal.carry_out(workspace, Some(scan), (session.context.now)())?;
    if let Some(folder) = backups {
        session.warn(format!("replaced local files were kept in {}", folder.display()));
    }
    Ok(report)
}

/// Finishes a sync that was interrupted while it wrote into the workspace. Answers what there is to tell about it.
pub(crate) fn finish_interrupted(workspace: &mut Workspace, now: DateTime<Utc>) -> Result<Option<String>, Failure> {
    let Some(journal) = Journal::read(workspace)? else {
        clear_temporary(workspace);
        return Ok(None);
    };
    let branch = journal.branch().to_owned();
    let backups = journal.carry_out(workspace, None, now)?;
    clear_temporary(workspace);
    let kept = backups.map(|folder| format!("; files that had changed since were kept in {}", folder.display()));
    Ok(Some(format!("finished the interrupted sync of branch '{branch}'{}", kept.unwrap_or_default())))
}

/// The folder for files on their way, on the same file system as the workspace, so that a rename is a rename.
pub(crate) fn temporary(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.metadata().join("tmp");
    std::fs::create_dir_all(&folder).about("create", &folder)?;
    Ok(folder)
}

/// What an interrupted command left behind; the lock is held, so nobody else uses it.
fn clear_temporary(workspace: &Workspace) {
    let _ = std::fs::remove_dir_all(workspace.metadata().join("tmp"));
}
