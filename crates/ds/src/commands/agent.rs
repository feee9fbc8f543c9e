use clap::{Args, Subcommand};
use docstore_client::Client;
use docstore_models::CreateAgentRequest;
use uuid::Uuid;

use super::token::{ScopeOptions, scope_text, state, tell_secret};
use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::Table,
    remote::instead_of_status,
    session::Session,
};

/// Make, list and revoke agents: programs that act under a name of their own, on your behalf, for some hours.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an agent and print its token. It is shown this once.
    Create {
        /// Its name among your agents: lower-case letters, digits and '-'.
        name: String,
        #[command(flatten)]
        scope: ScopeOptions,
        /// For how many hours; 8 by default.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        hours: Option<i64>,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List your agents.
    List {
        /// Those of everybody, for the global admin.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Revoke an agent. What it did stays.
    Revoke {
        /// Its name, or its id.
        agent: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let client = session.server()?;
    match arguments.action {
        Action::Create { name, scope, hours, json } => {
            let request = CreateAgentRequest {
                name,
                repos: scope.repos(),
                branches: scope.branches(),
                actions: scope.actions,
                expires_in_hours: hours,
            };
            let created = client.create_agent(&request).await?;
            if json.json {
                return session.print_json(&created);
            }
            let agent = &created.agent;
            session.say(format!(
                "Created {} for {}, until {}",
                agent.identity,
                scope_text(&agent.scope),
                agent.expires_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ")
            ));
            tell_secret(session, created.secret.as_deref(), &format!("ds agent revoke {}", agent.name))?;
        }
        Action::List { all, json } => {
            let agents = client.agents(all).await?;
            if json.json {
                return session.print_json(&agents);
            }
            let mut table = Table::new("  ", &[("ID", 36), ("AGENT", 40), ("STATE", 18), ("SCOPE", 0)]);
            for agent in agents {
                let state = state(session, agent.expires_at, agent.revoked_at);
                table.row(&[&agent.id.to_string(), agent.identity.as_str(), &state, &scope_text(&agent.scope)]);
            }
            session.print_table(&table);
        }
        Action::Revoke { agent, yes } => {
            let id = find(&client, &agent).await?;
            session.confirm(&format!("Revoke agent '{agent}'?"), yes.yes)?;
            client
                .revoke_agent(id)
                .await
                .map_err(|error| instead_of_status(error, 404, || format!("agent '{agent}' not found")))?;
            session.say(format!("Revoked agent '{agent}'"));
        }
    }
    Ok(())
}

async fn find(client: &Client, wanted: &str) -> Result<Uuid, Failure> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let agents = client.agents(false).await?;
    // At most one of a name is not revoked.
    let found = agents.into_iter().find(|agent| agent.name == wanted && agent.revoked_at.is_none());
    found.map(|agent| agent.id).ok_or_else(|| Failure::new(format!("agent '{wanted}' not found")))
}
