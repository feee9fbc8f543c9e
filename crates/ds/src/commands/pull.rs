use clap::Args;
use docstore_models::BranchStatus;

use crate::{
    Failure,
    output::counted,
    remote::find_branch,
    session::Session,
    sync::{self, SyncOptions, SyncReport},
};

/// Bring the workspace to the head of its branch.
///
/// The history is verified before any file is touched.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Do not verify the history this time.
    #[arg(long)]
    skip_verify: bool,
    /// Keep uncommitted changes, merged with what is new.
    #[arg(long, conflicts_with = "force")]
    merge: bool,
    /// Replace uncommitted changes; copies are kept in .ds/backup.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    let scan = super::scan(session, &workspace)?;
    let dirty = !workspace.changes(&scan).is_empty();
    if dirty && !arguments.force && !arguments.merge {
        return Err(super::uncommitted_changes()
            .hint("or keep them with --merge; --force replaces them and keeps copies in .ds/backup"));
    }
    let repo = session.repo(&workspace)?;
    let branch = find_branch(&repo, workspace.branch()).await?;
    let target = sync::read_tree(&repo, &branch.name, branch.head_sequence).await?;
    let options = SyncOptions {
        force: arguments.force,
        keep_changes: arguments.merge,
        skip_verify: arguments.skip_verify,
        only: None,
    };
    let config = workspace.config().clone();
    let report = sync::sync(session, &mut workspace, &repo, config, target, &scan, options).await?;
    session.say(report.line(&branch.name));
    if branch.status != BranchStatus::Active {
        session.warn(format!("branch '{}' is {}; `ds checkout main` leads on", branch.name, branch.status.as_str()));
    }
    report_merges(session, &report)
}

/// Tells of files that were merged; conflict markers make the command fail, after everything is in place.
pub(crate) fn report_merges(session: &mut Session<'_>, report: &SyncReport) -> Result<(), Failure> {
    if report.merged > 0 {
        let files = counted(report.merged, "file that was", "files that were");
        session.say(format!("Merged {files} changed here too"));
    }
    if report.conflicted.is_empty() {
        return Ok(());
    }
    session.say("Conflicts:");
    for path in &report.conflicted {
        session.say(format!("  {path}"));
    }
    Err(Failure::conflict("some files have conflict markers").hint("edit them, then commit"))
}
