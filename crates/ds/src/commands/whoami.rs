use clap::Args;
use docstore_models::{Grant, PresentedToken, Right, TokenScope};
use serde::Serialize;

use super::token::scope_text;
use crate::{
    Failure, auth,
    cli::JsonOption,
    output::{Table, printable},
    session::Session,
};

/// Show who you are to the server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Show what you may do in each repo, and what gives you that.
    #[arg(long)]
    can: bool,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Serialize)]
struct Identity {
    server: String,
    identity: String,
    signed_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<PresentedToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rights: Option<Vec<Right>>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let server = super::login::server_of(session, None)?;
    let author = session.workspace().ok().map(|workspace| workspace.config().author.clone());
    let client = session.client(&server, author.as_deref())?;
    match client.whoami().await {
        Ok(answer) => {
            let rights = if arguments.can { Some(client.rights().await?) } else { None };
            let identity = Identity {
                signed_in: answer.via != "development",
                identity: answer.identity.into(),
                on_behalf_of: answer.on_behalf_of.map(Into::into),
                token: answer.token,
                rights,
                server,
            };
            session.detail(format!(
                "the server at {} takes you for {}, by {}",
                identity.server, identity.identity, answer.via
            ));
            return print(session, &identity, arguments.json);
        }
        Err(error) if error.is_missing_endpoint() => {}
        Err(error) => return Err(error.into()),
    }
    // A server of the original contract does not tell; this is what it will probably make of the request.
    let signed_in = auth::signed_in_as(session.context, &server);
    let identity = Identity {
        signed_in: signed_in.is_some(),
        identity: match signed_in {
            Some(email) => email,
            None => match session.workspace() {
                Ok(workspace) => workspace.config().author.clone(),
                Err(_) => super::init::default_author(session.context),
            },
        },
        server,
        on_behalf_of: None,
        token: None,
        rights: None,
    };
    if !identity.signed_in {
        session.warn(format!("not signed in to {}; only a development server takes your word for it", identity.server));
    }
    print(session, &identity, arguments.json)
}

fn print(session: &mut Session<'_>, identity: &Identity, json: JsonOption) -> Result<(), Failure> {
    if json.json {
        return session.print_json(identity);
    }
    session.print(printable(&identity.identity));
    if let Some(owner) = &identity.on_behalf_of {
        session.print(format!("on behalf of {}", printable(owner)));
    }
    if let Some(token) = &identity.token {
        let until = token.expires_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ");
        session.print(format!("by a token for {}, until {until}", printable(&scope_text(&token.scope))));
    }
    if let Some(rights) = &identity.rights {
        let mut columns = vec![("REPO", 30), ("ROLE", 10)];
        let cut = identity.token.is_some();
        if cut {
            columns.push(("ONLY FOR", 30));
        }
        columns.push(("GIVEN BY", 0));
        let mut table = Table::new("  ", &columns);
        for right in rights {
            let given_by = match right.granted_by {
                Grant::Role => "a role in the repo",
                Grant::OrgOwner => "owning the org",
                Grant::OrgMember => "being a member of the org",
                Grant::GlobalAdmin => "being the global admin, as the repo has no admin",
            };
            let only_for = right.actions.as_ref().map(|actions| {
                let scope = TokenScope { actions: actions.clone(), repos: None, branches: right.branches.clone() };
                scope_text(&scope)
            });
            let mut row = vec![right.repo.as_str(), right.role.as_str()];
            if cut {
                row.push(only_for.as_deref().unwrap_or("?"));
            }
            row.push(given_by);
            table.row(&row);
        }
        session.print_table(&table);
    }
    Ok(())
}
