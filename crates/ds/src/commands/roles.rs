use clap::{Args, Subcommand};
use docstore_models::Role;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::Table,
    session::Session,
};

/// Show and change who may do what in the repo.
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
    /// List everybody with a role of their own.
    List(JsonOption),
    /// Give somebody a role, in place of the one they have.
    Set {
        /// Who, usually an e-mail address.
        identity: String,
        /// reader, writer, maintainer or admin.
        role: String,
    },
    /// Take somebody's role away.
    Delete {
        /// Who.
        identity: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    match arguments.action.unwrap_or(Action::List(arguments.json)) {
        Action::List(json) => {
            let roles = session.repo(&workspace)?.roles().await?;
            if json.json {
                return session.print_json(&roles);
            }
            let mut table = Table::new("  ", &[("IDENTITY", 30), ("ROLE", 0)]);
            for assignment in &roles {
                table.row(&[assignment.identity.as_str(), assignment.role.as_str()]);
            }
            session.print_table(&table);
        }
        Action::Set { identity, role } => {
            let parsed: Role =
                role.parse().map_err(|_| Failure::usage("role must be one of: reader, writer, maintainer, admin"))?;
            session.repo(&workspace)?.set_role(&identity, parsed).await?;
            session.say(format!("Set role '{parsed}' for '{identity}'"));
        }
        Action::Delete { identity, yes } => {
            let repo = session.repo(&workspace)?;
            session.confirm(&format!("Take the role of '{identity}' in {} away?", repo.name()), yes.yes)?;
            repo.delete_role(&identity).await?;
            session.say(format!("Deleted role for '{identity}'"));
        }
    }
    Ok(())
}
