use clap::{Args, Subcommand};
use docstore_client::Client;
use docstore_models::{BranchPattern, CreateTokenRequest, Token, TokenScope};
use uuid::Uuid;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::Table,
    remote::instead_of_status,
    session::Session,
};

/// Make, list and revoke API tokens.
///
/// A token is you for what its scope holds, and never more than you are at the time. Programs send it as DS_TOKEN.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print it. It is shown this once.
    Create {
        /// What to call it.
        name: String,
        #[command(flatten)]
        scope: ScopeOptions,
        /// For how many days; 90 by default.
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
        days: Option<i64>,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List your tokens.
    List {
        /// Those of everybody, for the global admin.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Revoke a token: it opens nothing from then on.
    Revoke {
        /// Its id, or its name if only one has it.
        token: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

/// What a token or an agent may do.
#[derive(Debug, Args)]
pub(crate) struct ScopeOptions {
    /// What it may do: read, contents, merge, proposals, reviews, checks, issues, releases, webhooks, secrets, ci, admin;
    /// read by default.
    #[arg(long = "allow", value_name = "ACTION", value_delimiter = ',')]
    pub(crate) actions: Vec<String>,
    /// Only in this repo; again for more. All of yours by default.
    #[arg(long = "repo", value_name = "OWNER/REPO")]
    repos: Vec<String>,
    /// Only for writing branches like this, such as 'bot/*'; again for more.
    #[arg(long = "branch", value_name = "PATTERN")]
    branches: Vec<String>,
}

impl ScopeOptions {
    pub(crate) fn repos(&self) -> Option<Vec<String>> {
        (!self.repos.is_empty()).then(|| self.repos.clone())
    }

    pub(crate) fn branches(&self) -> Option<Vec<String>> {
        (!self.branches.is_empty()).then(|| self.branches.clone())
    }
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let client = session.server()?;
    match arguments.action {
        Action::Create { name, scope, days, json } => {
            let request = CreateTokenRequest {
                name,
                repos: scope.repos(),
                branches: scope.branches(),
                actions: scope.actions,
                expires_in_days: days,
            };
            let created = client.create_token(&request).await?;
            if json.json {
                return session.print_json(&created);
            }
            let token = &created.token;
            session.say(format!(
                "Created token '{}' for {}, until {}",
                token.name,
                scope_text(&token.scope),
                day(token.expires_at)
            ));
            tell_secret(session, created.secret.as_deref(), &format!("ds token revoke {}", token.id))?;
        }
        Action::List { all, json } => {
            let tokens = client.tokens(all).await?;
            if json.json {
                return session.print_json(&tokens);
            }
            let columns = [("ID", 36), ("NAME", 20), ("OWNER", 20), ("STATE", 18), ("LAST USED", 10), ("SCOPE", 0)];
            let mut table = Table::new("  ", &columns);
            for token in tokens {
                let state = state(session, token.expires_at, token.revoked_at);
                let used = token.last_used_at.map_or_else(|| "never".to_owned(), day);
                let scope = scope_text(&token.scope);
                table.row(&[&token.id.to_string(), &token.name, token.owner.as_str(), &state, &used, &scope]);
            }
            session.print_table(&table);
        }
        Action::Revoke { token, yes } => {
            let id = find(&client, &token).await?;
            session.confirm(&format!("Revoke token '{token}'?"), yes.yes)?;
            client
                .revoke_token(id)
                .await
                .map_err(|error| instead_of_status(error, 404, || format!("token '{token}' not found")))?;
            session.say(format!("Revoked token '{token}'"));
        }
    }
    Ok(())
}

/// Prints a secret on a line of its own; with `--quiet` nothing else is printed, so `TOKEN=$(ds -q token create …)` works.
pub(crate) fn tell_secret(session: &mut Session<'_>, secret: Option<&str>, revoke: &str) -> Result<(), Failure> {
    match secret {
        Some(secret) => {
            session.print(secret);
            session.say("Keep it now: it is not shown again.");
            Ok(())
        }
        // The answer to the first try was lost, and the second one does not have it.
        None => Err(Failure::new("it was created, but its secret was lost on the way").hint(revoke)),
    }
}

/// A scope in a few words.
pub(crate) fn scope_text(scope: &TokenScope) -> String {
    let actions: Vec<&str> = scope.actions.iter().map(|action| action.as_str()).collect();
    let mut text = actions.join(",");
    if let Some(repos) = &scope.repos {
        text.push_str(&format!(" in {}", repos.join(", ")));
    }
    if let Some(branches) = &scope.branches {
        let branches: Vec<&str> = branches.iter().map(BranchPattern::as_str).collect();
        text.push_str(&format!(" on {}", branches.join(", ")));
    }
    text
}

/// Whether something is good, and until or since when.
pub(crate) fn state(
    session: &Session<'_>,
    expires_at: docstore_models::Timestamp,
    revoked_at: Option<docstore_models::Timestamp>,
) -> String {
    match revoked_at {
        Some(revoked_at) => format!("revoked {}", day(revoked_at)),
        None if expires_at.to_utc() <= (session.context.now)() => format!("expired {}", day(expires_at)),
        None => format!("until {}", day(expires_at)),
    }
}

fn day(moment: docstore_models::Timestamp) -> String {
    moment.to_utc().format("%Y-%m-%d").to_string()
}

async fn find(client: &Client, wanted: &str) -> Result<Uuid, Failure> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let tokens = client.tokens(false).await?;
    let named: Vec<&Token> = tokens.iter().filter(|token| token.name == wanted && token.revoked_at.is_none()).collect();
    match named.as_slice() {
        [] => Err(Failure::new(format!("token '{wanted}' not found"))),
        [token] => Ok(token.id),
        _ => {
            Err(Failure::new(format!("several tokens are called '{wanted}'")).hint("ds token list, then revoke by id"))
        }
    }
}
