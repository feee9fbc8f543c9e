use clap::Args;

use crate::{Failure, session::Session};

/// Take the draft mark off the branch, so that it can be merged.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    branch: Option<String>,
    /// Make it a draft again, which cannot be merged.
    #[arg(long)]
    draft: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = workspace.branch_to_merge(arguments.branch.as_deref(), "no branch checked out (or on main)")?;
    let repo = session.repo(&workspace)?;
    repo.set_branch_draft(&branch, arguments.draft).await?;
    let what = if arguments.draft { "a draft" } else { "ready" };
    session.say(format!("Branch '{branch}' marked as {what}"));
    Ok(())
}
