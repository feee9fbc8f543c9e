use clap::Args;
use docstore_client::Error;
use docstore_models::{Conflict, ErrorCode, MAIN_BRANCH, MergeRequest, PolicyResult, Requirement};

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
    /// Merge against policies that allow an admin to, and say why. It is recorded.
    #[arg(long = "override", value_name = "REASON")]
    override_reason: Option<String>,
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
        override_reason: arguments.override_reason,
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
    if let Some(denied) = explain_denial(session, &error) {
        return denied;
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

/// A refusal by policies, with what is missing.
pub(crate) fn explain_denial(session: &mut Session<'_>, error: &Error) -> Option<Failure> {
    let refusal = error.refusal().filter(|refusal| !refusal.policies.is_empty())?;
    session.print("Denied by policy:");
    print_policies(session, &refusal.policies);
    print_requirements(session, &refusal.requirements);
    let message = refusal.message.clone().unwrap_or_else(|| "merge denied by policy".to_owned());
    Some(Failure::new(message).exit(Exit::Policy))
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

/// One paragraph per requirement: what, who, and the command to type.
pub(crate) fn print_requirements(session: &mut Session<'_>, requirements: &[Requirement]) {
    if requirements.is_empty() {
        return;
    }
    session.print("What is missing:");
    for requirement in requirements {
        session.print(format!("  - {}", printable(&requirement.what)));
        if !requirement.who.is_empty() {
            let who: Vec<String> = requirement.who.iter().map(|who| told(who)).collect();
            session.print(format!("    who: {}", who.join(", ")));
        }
        if let Some(command) = &requirement.command {
            session.print(format!("    run: {}", printable(command)));
        }
    }
}

/// `role:maintainer` in words.
fn told(who: &str) -> String {
    match who.strip_prefix("role:") {
        Some(role) => format!("anyone with the role {}", printable(role)),
        None => printable(who).into_owned(),
    }
}

pub(crate) fn print_policies(session: &mut Session<'_>, policies: &[PolicyResult]) {
    for policy in policies {
        session.print(format!("  {}: {}", printable(&policy.name), printable(&policy.reason)));
    }
}
