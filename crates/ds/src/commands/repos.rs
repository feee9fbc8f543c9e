use clap::{Args, Subcommand};
use docstore_models::Repo;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::Table,
    remote::instead_of_status,
    session::Session,
};

/// List, create and delete repos.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List all repos.
    List(JsonOption),
    /// Create a repo; you become its admin.
    Create {
        /// OWNER/NAME, or the owner alone.
        #[arg(value_name = "OWNER/NAME")]
        owner: String,
        /// The name, when the owner stands alone.
        name: Option<String>,
    },
    /// Show a repo.
    Get {
        /// OWNER/NAME.
        #[arg(value_name = "OWNER/NAME")]
        name: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Delete a repo and everything in it.
    Delete {
        /// OWNER/NAME.
        #[arg(value_name = "OWNER/NAME")]
        name: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let action = arguments.action.unwrap_or(Action::List(arguments.json));
    if let Action::Create { owner, name } = action {
        let (owner, name) = split_name(owner, name)?;
        let client = session.server()?;
        let repo = client
            .create_repo(&owner, &name)
            .await
            .map_err(|error| instead_of_status(error, 404, || format!("org '{owner}' not found")))?;
        session.say(format!("Created repo '{}'", repo.name));
        return Ok(());
    }
    let client = session.server()?;
    match action {
        Action::List(json) => {
            let repos = client.list_repos().await?;
            if json.json {
                return session.print_json(&repos);
            }
            print_repos(session, &repos);
        }
        Action::Create { .. } => {}
        Action::Get { name, json } => {
            let repo = client
                .get_repo(&name)
                .await
                .map_err(|error| instead_of_status(error, 404, || format!("repo '{name}' not found")))?;
            if json.json {
                return session.print_json(&repo);
            }
            print_repos(session, &[repo]);
        }
        Action::Delete { name, yes } => {
            session
                .confirm(&format!("Delete repo '{name}' on {} and everything in it?", client.base_url()), yes.yes)?;
            client.delete_repo(&name).await?;
            session.say(format!("Deleted repo '{name}'"));
        }
    }
    Ok(())
}

/// `owner name`, or `owner/name` split at its first slash.
fn split_name(owner: String, name: Option<String>) -> Result<(String, String), Failure> {
    let (owner, name) = match name {
        Some(name) => (owner, name),
        None => owner.split_once('/').map(|(o, n)| (o.to_owned(), n.to_owned())).unwrap_or_default(),
    };
    if owner.is_empty() || name.is_empty() {
        return Err(Failure::usage("repo name must be in owner/name format"));
    }
    Ok((owner, name))
}

pub(super) fn print_repos(session: &mut Session<'_>, repos: &[Repo]) {
    let mut table = Table::new("  ", &[("NAME", 30), ("OWNER", 20), ("CREATED BY", 20), ("CREATED AT", 0)]);
    for repo in repos {
        let date = repo.created_at.to_utc().format("%Y-%m-%d").to_string();
        table.row(&[&repo.name, &repo.owner, &repo.created_by, &date]);
    }
    session.print_table(&table);
}
