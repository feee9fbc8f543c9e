use clap::Args;
use docstore_models::MAIN_BRANCH;

use crate::{
    Failure,
    remote::find_branch,
    session::Session,
    sync::{self, SyncOptions},
    workspace::{Config, State, Workspace},
};

/// Switch to a branch, or create one with -b.
///
/// An unknown branch changes nothing. Creating a branch carries uncommitted changes along.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The branch.
    branch: String,
    /// Create it, at the head of main.
    #[arg(short = 'b', long = "create")]
    create: bool,
    /// Create it as a draft, which cannot be merged until `ds ready`.
    #[arg(long, requires = "create")]
    draft: bool,
    /// Keep uncommitted changes, merged with what the branch has.
    #[arg(long, conflicts_with = "force")]
    merge: bool,
    /// Replace uncommitted changes; copies are kept in .ds/backup.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    if arguments.create {
        create(session, &mut workspace, &arguments.branch, arguments.draft).await
    } else {
        let options = SyncOptions { force: arguments.force, keep_changes: arguments.merge, ..SyncOptions::default() };
        switch_to(session, &mut workspace, &arguments.branch, options).await
    }
}

/// Brings the workspace to the head of a branch; config and state follow only when everything is in place.
pub(crate) async fn switch_to(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    branch: &str,
    options: SyncOptions,
) -> Result<(), Failure> {
    let scan = super::scan(session, workspace)?;
    let dirty = !workspace.changes(&scan).is_empty();
    if dirty && !options.force && !options.keep_changes {
        return Err(super::uncommitted_changes()
            .hint("or keep them with --merge; --force replaces them and keeps copies in .ds/backup"));
    }
    let repo = session.repo(workspace)?;
    let found = find_branch(&repo, branch).await?;
    let target = sync::read_tree(&repo, branch, found.head_sequence).await?;
    let config = workspace.config().on_branch(branch);
    let report = sync::sync(session, workspace, &repo, config, target, &scan, options).await?;
    session.say(report.line(branch));
    super::pull::report_merges(session, &report)
}

async fn create(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    branch: &str,
    draft: bool,
) -> Result<(), Failure> {
    let repo = session.repo(workspace)?;
    let created = repo.create_branch(branch, draft).await?;
    let config = workspace.config().on_branch(branch);
    // The new branch starts where main is now. When that is what is here, there is nothing to bring.
    let same_tree = workspace.state().branch == MAIN_BRANCH && workspace.state().sequence == created.base_sequence;
    let mut note = None;
    if same_tree {
        let state = State::new(branch, created.base_sequence, workspace.state().files.clone());
        let (modes, anchors) = (workspace.modes().clone(), workspace.anchors().clone());
        workspace.save(config, state, modes, anchors)?;
    } else {
        note = bring_base(session, workspace, config, created.base_sequence).await.err();
    }
    let kind = if draft { "draft branch" } else { "branch" };
    session.say(format!("Switched to new {kind} '{branch}' (base sequence {})", created.base_sequence));
    if let Some(failure) = note {
        session.warn(format!("the files here are not yet those of the branch: {}", failure.message()));
        session.warn("commit nothing before `ds pull --merge` has brought them");
    }
    Ok(())
}

/// Brings the new branch's tree under whatever is uncommitted here. If that fails, the workspace is on the branch all the
/// same, but remembers the sequence its files have, so that the server refuses a commit that would undo what is new.
async fn bring_base(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    config: Config,
    base: i64,
) -> Result<(), Failure> {
    let scan = super::scan(session, workspace)?;
    let repo = session.repo(workspace)?;
    let options = SyncOptions { keep_changes: true, ..SyncOptions::default() };
    let synced = async {
        let target = sync::read_tree(&repo, &config.branch, base).await?;
        sync::sync(session, workspace, &repo, config.clone(), target, &scan, options).await
    }
    .await;
    match synced {
        Ok(report) if report.conflicted.is_empty() => Ok(()),
        Ok(report) => Err(Failure::conflict(format!("conflicts in {}", report.conflicted.join(", ")))),
        Err(failure) => {
            let state = State::new(&config.branch, workspace.state().sequence, workspace.state().files.clone());
            let (modes, anchors) = (workspace.modes().clone(), workspace.anchors().clone());
            workspace.save(config, state, modes, anchors)?;
            Err(failure)
        }
    }
}
