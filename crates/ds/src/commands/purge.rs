use clap::Args;
use docstore_models::PurgeRequest;

use crate::{Failure, cli::YesOption, remote::instead_of_status, session::Session};

/// Remove old merged and abandoned branches for good.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How old their last commit must be, in days, such as 30d.
    #[arg(long, value_name = "DAYS")]
    older_than: String,
    /// Only count.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    yes: YesOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    if !arguments.dry_run {
        let question = format!("Remove merged and abandoned branches of {} for good?", repo.name());
        session.confirm(&question, arguments.yes.yes)?;
    }
    let request = PurgeRequest { older_than: arguments.older_than, dry_run: arguments.dry_run };
    let done = repo
        .purge(&request)
        .await
        .map_err(|error| instead_of_status(error, 404, || format!("repo '{}' not found", repo.name())))?;
    if arguments.dry_run {
        session.print("[dry-run] nothing was removed");
    }
    for (what, count) in [
        ("branches purged", done.branches_purged),
        ("file commits deleted", done.file_commits_deleted),
        ("commits deleted", done.commits_deleted),
        ("documents deleted", done.documents_deleted),
        ("reviews deleted", done.reviews_deleted),
        ("check runs deleted", done.check_runs_deleted),
    ] {
        session.print(format!("  {:<22}{count}", format!("{what}:")));
    }
    Ok(())
}
