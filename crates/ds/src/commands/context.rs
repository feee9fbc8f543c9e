use clap::Args;

use crate::{Failure, session::Session};

/// Print everything about a branch at once, as JSON: for a program, or an agent, that is about to work on it.
///
/// The branch, its diff, reviews, checks, proposals, the issues they are tied to, recent commits, what policies say, who owns
/// the changed files, and what is missing for a merge.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    branch: Option<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let context = repo.agent_context(arguments.branch.as_deref().unwrap_or(workspace.branch())).await?;
    session.print_json(&context)
}
