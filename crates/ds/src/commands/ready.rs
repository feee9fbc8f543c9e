use clap::Args;

use crate::{Failure, session::Session};

/// Take the draft mark off the branch, so that it can be merged.
#[derive(Debug, Args)]
pub(crate) struct Arguments {}

pub(crate) async fn run(session: &mut Session<'_>, Arguments {}: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = workspace.branch_other_than_main("no branch checked out (or on main)")?;
    let repo = session.repo(&workspace)?;
    repo.set_branch_draft(branch, false).await?;
    session.say(format!("Branch '{branch}' marked as ready"));
    Ok(())
}
