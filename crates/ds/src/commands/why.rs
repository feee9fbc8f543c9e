use clap::Args;

use super::merge::{print_policies, print_requirements};
use crate::{Exit, Failure, cli::JsonOption, session::Session};

/// Show why a branch cannot be merged, who can do something about it, and the command to type.
///
/// Exits with 6 while something is missing.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    branch: Option<String>,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = workspace.branch_to_merge(arguments.branch.as_deref(), "no branch checked out (or on main)")?;
    let repo = session.repo(&workspace)?;
    let why = repo.why(&branch).await?;
    if arguments.json.json {
        session.print_json(&why)?;
    } else {
        let shadow: Vec<_> = why.policies.iter().filter(|policy| policy.shadow && !policy.pass).cloned().collect();
        if why.mergeable {
            session.print(format!("Nothing stands between '{branch}' and main"));
        } else {
            print_requirements(session, &why.requirements);
        }
        if let Some(automatic) = &why.automatic {
            session.print("It does not merge by itself, as these policies deny that:");
            let denying: Vec<_> =
                automatic.policies.iter().filter(|policy| !policy.pass && !policy.shadow).cloned().collect();
            print_policies(session, &denying);
        }
        if !shadow.is_empty() {
            session.print("Would be denied by policies that are only tried out:");
            print_policies(session, &shadow);
        }
    }
    if why.mergeable {
        Ok(())
    } else {
        Err(Failure::new(format!("'{branch}' cannot be merged yet")).exit(Exit::Policy))
    }
}
