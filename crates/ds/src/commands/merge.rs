use clap::Args;
use docstore_client::{Error, PolicyVerdict};
use docstore_models::{Conflict, ErrorCode, MAIN_BRANCH, MergeRequest};

use crate::{Exit, Failure, output::printable, session::Session, sync::SyncOptions};

/// Merge the branch into main and switch to main.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only say whether it would work.
    #[arg(long)]
    dry_run: bool,
    /// Merge whatever the server has on the branch, also what was committed elsewhere since the last sync.
    #[arg(long)]
    latest: bool,
    /// Replace uncommitted changes afterwards; copies are kept in .ds/backup.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    let branch = workspace.branch_other_than_main("cannot merge main into itself")?.to_owned();
    let scan = super::scan(session, &workspace)?;
    // Afterwards would be too late to find that main cannot be brought here.
    if !arguments.dry_run && !arguments.force && !workspace.changes(&scan).is_empty() {
        return Err(super::uncommitted_changes());
    }
    let repo = session.repo(&workspace)?;
    let request = MergeRequest {
        branch: branch.clone(),
        dry_run: arguments.dry_run,
        expected_head: (!arguments.latest).then_some(workspace.state().sequence),
    };
    let merged = match repo.merge(&request).await {
        Ok(merged) => merged,
        Err(error) => return Err(explain(session, &branch, error)),
    };
    if arguments.dry_run {
        session.say(format!("'{branch}' can be merged into main"));
        return Ok(());
    }
    session.say(format!("Merged '{branch}' into main at sequence {}", merged.sequence));
    let options = SyncOptions { force: arguments.force, ..SyncOptions::default() };
    super::checkout::switch_to(session, &mut workspace, MAIN_BRANCH, options)
        .await
        .map_err(|failure| failure.hint("the merge did happen; `ds checkout main` brings its result here"))
}

fn explain(session: &mut Session<'_>, branch: &str, error: Error) -> Failure {
    let Some(refusal) = error.refusal().cloned() else { return error.into() };
    if !refusal.conflicts.is_empty() {
        session.print("Merge conflicts:");
        print_conflicts(session, &refusal.conflicts);
        return Failure::conflict("merge aborted due to conflicts").hint("run `ds rebase` to resolve them");
    }
    if !refusal.policies.is_empty() {
        session.print("Denied by policy:");
        print_policies(session, &refusal.policies);
        let message = refusal.message.unwrap_or_else(|| "merge denied by policy".to_owned());
        return Failure::new(message).exit(Exit::Policy);
    }
    let failure = Failure::from(error);
    match refusal.code {
        Some(ErrorCode::BranchDraft) => failure.hint(format!("`ds ready` takes the draft mark off '{branch}'")),
        Some(ErrorCode::BranchNotActive) => {
            failure.hint("it is merged or deleted already; `ds checkout main` leads on")
        }
        Some(ErrorCode::HeadMoved) => failure.hint("or merge whatever is there with --latest"),
        _ => failure,
    }
}

/// One line per path, with the versions of both sides.
pub(crate) fn print_conflicts(session: &mut Session<'_>, conflicts: &[Conflict]) {
    let version = |id: &str| if id.is_empty() { "deleted".to_owned() } else { printable(id).into_owned() };
    for conflict in conflicts {
        session.print(format!(
            "  {} (main: {}, branch: {})",
            printable(&conflict.path),
            version(&conflict.main_version_id),
            version(&conflict.branch_version_id)
        ));
    }
}

fn print_policies(session: &mut Session<'_>, policies: &[PolicyVerdict]) {
    for policy in policies {
        session.print(format!("  {}: {}", printable(&policy.name), printable(&policy.reason)));
    }
}
