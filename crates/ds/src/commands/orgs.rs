use clap::{Args, Subcommand};

use super::org_members::{self, InviteAction, MemberAction};
use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, printable},
    remote::instead_of_status,
    session::Session,
};

/// List, create and delete orgs, and say who is in them.
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
    /// List all orgs.
    List(JsonOption),
    /// Create an org; you become its owner.
    Create {
        /// The name: one segment.
        name: String,
    },
    /// Show an org.
    Get {
        /// The name.
        name: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Delete an org without repos.
    Delete {
        /// The name.
        name: String,
        #[command(flatten)]
        yes: YesOption,
    },
    /// List, add and remove the members of an org.
    #[command(alias = "member")]
    Members {
        #[command(subcommand)]
        action: MemberAction,
    },
    /// Invite people into an org, and accept invitations.
    #[command(alias = "invite")]
    Invites {
        #[command(subcommand)]
        action: InviteAction,
    },
    /// List the repos of an org.
    Repos {
        /// The name.
        name: String,
        #[command(flatten)]
        json: JsonOption,
    },
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let client = session.server()?;
    match arguments.action.unwrap_or(Action::List(arguments.json)) {
        Action::List(json) => {
            let orgs = client.list_orgs().await?;
            if json.json {
                return session.print_json(&orgs);
            }
            let mut table = Table::new("  ", &[("NAME", 30), ("CREATED BY", 20), ("CREATED AT", 0)]);
            for org in orgs {
                let date = org.created_at.to_utc().format("%Y-%m-%d").to_string();
                table.row(&[&org.name, &org.created_by, &date]);
            }
            session.print_table(&table);
        }
        Action::Create { name } => {
            client.create_org(&name).await?;
            session.say(format!("Created org '{name}'"));
        }
        Action::Get { name, json } => {
            let org = client
                .get_org(&name)
                .await
                .map_err(|error| instead_of_status(error, 404, || format!("org '{name}' not found")))?;
            if json.json {
                return session.print_json(&org);
            }
            session.print(format!("Name:       {}", printable(&org.name)));
            session.print(format!("Created by: {}", printable(&org.created_by)));
            session.print(format!("Created at: {}", org.created_at.to_utc().format("%Y-%m-%d")));
        }
        Action::Delete { name, yes } => {
            session.confirm(&format!("Delete org '{name}' on {}?", client.base_url()), yes.yes)?;
            client
                .delete_org(&name)
                .await
                .map_err(|error| instead_of_status(error, 409, || format!("org '{name}' still has repos")))?;
            session.say(format!("Deleted org '{name}'"));
        }
        Action::Members { action } => org_members::members(session, &client, action).await?,
        Action::Invites { action } => org_members::invites(session, &client, action).await?,
        Action::Repos { name, json } => {
            let repos = client.list_org_repos(&name).await?;
            if json.json {
                return session.print_json(&repos);
            }
            super::repos::print_repos(session, &repos);
        }
    }
    Ok(())
}
