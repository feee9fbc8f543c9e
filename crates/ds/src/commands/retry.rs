use clap::Args;
use docstore_models::RetryChecksRequest;

use crate::{Failure, remote::find_branch, session::Session};

/// Try checks again that failed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// Only this check; may be given several times.
    #[arg(long, value_name = "NAME")]
    check: Vec<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let name = arguments.branch.as_deref().unwrap_or(workspace.branch());
    let branch = find_branch(&repo, name).await?;
    let request = RetryChecksRequest {
        branch: branch.name.clone(),
        sequence: Some(branch.head_sequence),
        checks: (!arguments.check.is_empty()).then(|| arguments.check.clone()),
    };
    let retried = repo.retry_checks(&request).await?;
    let which = match arguments.check.as_slice() {
        [] => "all failed checks".to_owned(),
        names => format!("checks [{}]", names.join(" ")),
    };
    session.say(format!(
        "Retrying {which} on branch '{}' at sequence {} (attempt {})",
        branch.name, branch.head_sequence, retried.attempt
    ));
    Ok(())
}
