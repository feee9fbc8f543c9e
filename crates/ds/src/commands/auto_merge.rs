use clap::{Args, Subcommand};

use crate::{Failure, session::Session};

/// Let a branch merge by itself as soon as it may.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Merge the branch as soon as policies and checks allow it.
    Enable(BranchOption),
    /// Do not merge it by itself.
    Disable(BranchOption),
}

#[derive(Debug, Args)]
struct BranchOption {
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let (BranchOption { branch }, enable) = match arguments.action {
        Action::Enable(option) => (option, true),
        Action::Disable(option) => (option, false),
    };
    let branch = workspace.branch_to_merge(branch.as_deref(), "no branch checked out (or on main)")?;
    let repo = session.repo(&workspace)?;
    if enable {
        repo.enable_auto_merge(&branch).await?;
    } else {
        repo.disable_auto_merge(&branch).await?;
    }
    session.say(format!("Auto-merge {} for branch '{branch}'", if enable { "enabled" } else { "disabled" }));
    Ok(())
}
