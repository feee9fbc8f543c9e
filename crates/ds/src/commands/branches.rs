use clap::{Args, Subcommand, ValueEnum};
use docstore_client::BranchQuery;
use docstore_models::BranchStatus;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::Table,
    remote::instead_of_status,
    session::Session,
};

/// List branches, or delete one.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List branches.
    List(ListArguments),
    /// Abandon a branch; it stays readable until it is purged.
    Delete {
        /// The branch.
        branch: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

#[derive(Clone, Debug, Args)]
struct ListArguments {
    /// Those in this state.
    #[arg(long, default_value = "active")]
    status: Status,
    /// Only drafts.
    #[arg(long)]
    draft: bool,
    /// Drafts too.
    #[arg(long)]
    include_draft: bool,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Active,
    Merged,
    Abandoned,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        None => list(session, arguments.list).await,
        Some(Action::List(arguments)) => list(session, arguments).await,
        Some(Action::Delete { branch, yes }) => {
            let workspace = session.workspace()?;
            let repo = session.repo(&workspace)?;
            session.confirm(&format!("Delete branch '{branch}' of {}?", repo.name()), yes.yes)?;
            repo.delete_branch(&branch).await.map_err(|error| match error.status() {
                Some(409) => {
                    instead_of_status(error, 409, || format!("branch '{branch}' is already merged or abandoned"))
                }
                _ => instead_of_status(error, 404, || format!("branch '{branch}' not found")),
            })?;
            session.say(format!("Deleted branch '{branch}'"));
            Ok(())
        }
    }
}

async fn list(session: &mut Session<'_>, arguments: ListArguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let status = match arguments.status {
        Status::Active => BranchStatus::Active,
        Status::Merged => BranchStatus::Merged,
        Status::Abandoned => BranchStatus::Abandoned,
    };
    let query =
        BranchQuery { status: Some(status), only_drafts: arguments.draft, include_drafts: arguments.include_draft };
    let branches = repo.branches(&query).await?;
    if arguments.json.json {
        return session.print_json(&branches);
    }
    let columns = [("BRANCH", 30), ("HEAD", 6), ("BASE", 6), ("STATUS", 10), ("DRAFT", 5)];
    let mut table = Table::new(" ", &columns);
    for branch in branches {
        table.row(&[
            &branch.name,
            &branch.head_sequence.to_string(),
            &branch.base_sequence.to_string(),
            branch.status.as_str(),
            if branch.draft { "yes" } else { "" },
        ]);
    }
    session.print_table(&table);
    Ok(())
}
