//! One file per command, each with `Arguments` and `run`.

pub(crate) mod agent;
pub(crate) mod archive;
pub(crate) mod audit;
pub(crate) mod auto_merge;
pub(crate) mod branches;
pub(crate) mod check;
pub(crate) mod checkout;
pub(crate) mod checks;
pub(crate) mod clean;
pub(crate) mod comment;
pub(crate) mod comments;
pub(crate) mod commit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod import_git;
pub(crate) mod init;
pub(crate) mod issues;
pub(crate) mod log;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod obliterate;
mod org_members;
pub(crate) mod orgs;
pub(crate) mod policy;
pub(crate) mod proposal;
pub(crate) mod pull;
pub(crate) mod purge;
pub(crate) mod ready;
pub(crate) mod rebase;
pub(crate) mod release;
pub(crate) mod repos;
pub(crate) mod resolve;
pub(crate) mod restore;
pub(crate) mod retry;
pub(crate) mod review;
pub(crate) mod reviews;
pub(crate) mod roles;
pub(crate) mod secrets;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod subscriptions;
pub(crate) mod token;
pub(crate) mod verify;
pub(crate) mod whoami;
pub(crate) mod why;

use crate::{
    Failure,
    cli::Command,
    session::Session,
    workspace::{Scan, Workspace},
};

/// Runs one command.
pub(crate) async fn run(session: &mut Session<'_>, command: Command) -> Result<(), Failure> {
    // Boxed, so that the largest command does not make every call as large as itself.
    match command {
        Command::Init(arguments) => Box::pin(init::run(session, arguments)).await,
        Command::Status(arguments) => Box::pin(status::run(session, arguments)).await,
        Command::Commit(arguments) => Box::pin(commit::run(session, arguments)).await,
        Command::Checkout(arguments) => Box::pin(checkout::run(session, arguments)).await,
        Command::Pull(arguments) => Box::pin(pull::run(session, arguments)).await,
        Command::Merge(arguments) => Box::pin(merge::run(session, arguments)).await,
        Command::Why(arguments) => Box::pin(why::run(session, arguments)).await,
        Command::Context(arguments) => Box::pin(context::run(session, arguments)).await,
        Command::Policy(arguments) => Box::pin(policy::run(session, arguments)).await,
        Command::Rebase(arguments) => Box::pin(rebase::run(session, arguments)).await,
        Command::Resolve(arguments) => Box::pin(resolve::run(session, arguments)).await,
        Command::Restore(arguments) => Box::pin(restore::run(session, arguments)).await,
        Command::Diff(arguments) => Box::pin(diff::run(session, arguments)).await,
        Command::Log(arguments) => Box::pin(log::run(session, arguments)).await,
        Command::Show(arguments) => Box::pin(show::run(session, arguments)).await,
        Command::Verify(arguments) => Box::pin(verify::run(session, arguments)).await,
        Command::Ready(arguments) => Box::pin(ready::run(session, arguments)).await,
        Command::Reviews(arguments) => Box::pin(reviews::run(session, arguments)).await,
        Command::Review(arguments) => Box::pin(review::run(session, arguments)).await,
        Command::Comments(arguments) => Box::pin(comments::run(session, arguments)).await,
        Command::Comment(arguments) => Box::pin(comment::run(session, arguments)).await,
        Command::Checks(arguments) => Box::pin(checks::run(session, arguments)).await,
        Command::Check(arguments) => Box::pin(check::run(session, arguments)).await,
        Command::Retry(arguments) => Box::pin(retry::run(session, arguments)).await,
        Command::AutoMerge(arguments) => Box::pin(auto_merge::run(session, arguments)).await,
        Command::Branches(arguments) => Box::pin(branches::run(session, arguments)).await,
        Command::Purge(arguments) => Box::pin(purge::run(session, arguments)).await,
        Command::Obliterate(arguments) => Box::pin(obliterate::run(session, arguments)).await,
        Command::Proposal(arguments) => Box::pin(proposal::run(session, arguments)).await,
        Command::Issues(arguments) => Box::pin(issues::run(session, arguments)).await,
        Command::Orgs(arguments) => Box::pin(orgs::run(session, arguments)).await,
        Command::Repos(arguments) => Box::pin(repos::run(session, arguments)).await,
        Command::Roles(arguments) => Box::pin(roles::run(session, arguments)).await,
        Command::Release(arguments) => Box::pin(release::run(session, arguments)).await,
        Command::Secrets(arguments) => Box::pin(secrets::run(session, arguments)).await,
        Command::Subscriptions(arguments) => Box::pin(subscriptions::run(session, arguments)).await,
        Command::ImportGit(arguments) => Box::pin(import_git::run(session, arguments)).await,
        Command::Login(arguments) => Box::pin(login::run(session, arguments)).await,
        Command::Logout(arguments) => logout::run(session, arguments).await,
        Command::Whoami(arguments) => Box::pin(whoami::run(session, arguments)).await,
        Command::Token(arguments) => Box::pin(token::run(session, arguments)).await,
        Command::Agent(arguments) => Box::pin(agent::run(session, arguments)).await,
        Command::Audit(arguments) => Box::pin(audit::run(session, arguments)).await,
        Command::Events(arguments) => Box::pin(events::run(session, arguments)).await,
        Command::Archive(arguments) => Box::pin(archive::run(session, arguments)).await,
        Command::Clean(arguments) => clean::run(session, &arguments),
        Command::Config(arguments) => config::run(session, arguments),
        Command::Completions(arguments) => completions::run(session, &arguments),
        Command::Man(arguments) => man::run(session, &arguments),
    }
}

/// Looks at the workspace and passes on what that brought to light.
pub(crate) fn scan(session: &mut Session<'_>, workspace: &Workspace) -> Result<Scan, Failure> {
    let scan = workspace.scan()?;
    pass_on_warnings(session, &scan);
    Ok(scan)
}

/// The same for a command that opens the workspace only to look.
pub(crate) fn open_and_scan(session: &mut Session<'_>) -> Result<(Workspace, Scan), Failure> {
    let (workspace, scan) = Workspace::open_and_scan(&session.directory())?;
    pass_on_warnings(session, &scan);
    Ok((workspace, scan))
}

fn pass_on_warnings(session: &mut Session<'_>, scan: &Scan) {
    for warning in &scan.warnings {
        session.warn(warning);
    }
}

/// The failure of a command that would run over uncommitted changes.
pub(crate) fn uncommitted_changes() -> Failure {
    Failure::conflict("uncommitted changes -- commit or discard first")
}
