use clap::Args;
use docstore_client::Error;
use docstore_models::{
    Conflict, ErrorCode, MAIN_BRANCH, MergeRequest, PolicyResult, Requirement, RequirementKind, shell_argument,
};

use crate::{Exit, Failure, output::printable, session::Session, sync::SyncOptions, workspace::Workspace};

/// Merge the branch into main and switch to main.
///
/// A branch that is not checked out is merged as the server has it, and nothing here changes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    pub(crate) branch: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// How to merge.
#[derive(Debug, Args)]
pub(crate) struct Options {
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
    let workspace = session.workspace()?;
    let branch = workspace.branch_to_merge(arguments.branch.as_deref(), "cannot merge main into itself")?;
    let request = MergeRequest {
        branch,
        dry_run: arguments.options.dry_run,
        expected_head: None,
        override_reason: arguments.options.override_reason.clone(),
    };
    if request.branch == workspace.branch() {
        return merge_here(session, request, &arguments.options).await;
    }
    merge(session, &workspace, &request).await?;
    if !request.dry_run && workspace.branch() == MAIN_BRANCH {
        session.say("`ds pull` brings it here");
    }
    Ok(())
}

/// Merges the branch that is checked out, and goes on with main.
async fn merge_here(session: &mut Session<'_>, mut request: MergeRequest, options: &Options) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace_on(&request.branch)?;
    let scan = super::scan(session, &workspace)?;
    // Afterwards would be too late to find that main cannot be brought here.
    if !options.dry_run && !options.force && !workspace.changes(&scan).is_empty() {
        return Err(super::uncommitted_changes());
    }
    request.expected_head = (!options.latest).then_some(workspace.state().sequence);
    merge(session, &workspace, &request).await?;
    if options.dry_run {
        return Ok(());
    }
    let sync = SyncOptions { force: options.force, ..SyncOptions::default() };
    super::checkout::switch_to(session, &mut workspace, MAIN_BRANCH, sync)
        .await
        .map_err(|failure| failure.hint("the merge did happen; `ds checkout main` brings its result here"))
}

/// Merges at the server, or asks whether it would, and tells the outcome.
async fn merge(session: &mut Session<'_>, workspace: &Workspace, request: &MergeRequest) -> Result<(), Failure> {
    let repo = session.repo(workspace)?;
    let branch = &request.branch;
    match repo.merge(request).await {
        Ok(_) if request.dry_run => session.say(format!("'{branch}' can be merged into main")),
        Ok(merged) => session.say(format!("Merged '{branch}' into main at sequence {}", merged.sequence)),
        Err(error) => return Err(explain(session, workspace, branch, error)),
    }
    Ok(())
}

fn explain(session: &mut Session<'_>, workspace: &Workspace, branch: &str, error: Error) -> Failure {
    let Some(refusal) = error.refusal().cloned() else { return error.into() };
    if let Some(denied) = explain_denial(session, &error) {
        return denied;
    }
    let conflicts = !refusal.conflicts.is_empty();
    if conflicts {
        session.print("Merge conflicts:");
        print_conflicts(session, &refusal.conflicts);
    }
    // What was said is not said again.
    let said = |asked: &Requirement| conflicts && asked.kind == RequirementKind::Conflict;
    let others: Vec<Requirement> = refusal.requirements.into_iter().filter(|asked| !said(asked)).collect();
    print_requirements(session, &others);
    if conflicts {
        let here = workspace.branch() == branch;
        let command =
            if here { "ds rebase".to_owned() } else { format!("ds checkout {} && ds rebase", shell_argument(branch)) };
        return Failure::conflict("merge aborted due to conflicts").hint(format!("run `{command}` to resolve them"));
    }
    let failure = Failure::from(error);
    match refusal.code {
        Some(ErrorCode::BranchDraft) if others.is_empty() => {
            failure.hint(format!("`ds ready {}` takes the draft mark off", shell_argument(branch)))
        }
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
