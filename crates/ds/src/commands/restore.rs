use clap::Args;

use crate::{
    Failure,
    output::counted,
    session::Session,
    sync::{self, SyncOptions},
    workspace::Workspace,
};

/// Put files back as they were at the last sync.
///
/// Copies of what is replaced are kept in .ds/backup. New files stay.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files and directories; . for everything.
    #[arg(required = true)]
    paths: Vec<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    let mut wanted = Vec::new();
    for path in &arguments.paths {
        wanted.push(session.workspace_path(&workspace, path)?);
    }
    let count = restore(session, &mut workspace, &wanted).await?;
    session.say(format!("Restored {}", counted(count, "file", "files")));
    Ok(())
}

/// Puts back what changed at or below the given paths. Answers how many files that were.
pub(crate) async fn restore(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    wanted: &[String],
) -> Result<usize, Failure> {
    let scan = super::scan(session, workspace)?;
    let repo = session.repo(workspace)?;
    let (branch, sequence) = (workspace.state().branch.clone(), workspace.state().sequence);
    let target = sync::read_tree(&repo, &branch, sequence).await?;
    let config = workspace.config().clone();
    let options = SyncOptions { force: true, skip_verify: true, only: Some(wanted.to_vec()), ..SyncOptions::default() };
    let report = sync::sync(session, workspace, &repo, config, target, &scan, options).await?;
    Ok(report.downloaded)
}
