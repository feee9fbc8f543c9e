use clap::Args;
use serde::Serialize;

use crate::{Failure, auth, cli::JsonOption, output::printable, session::Session};

/// Show who you are to the server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Serialize)]
struct Identity {
    server: String,
    identity: String,
    signed_in: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let server = super::login::server_of(session, None)?;
    let author = session.workspace().ok().map(|workspace| workspace.config().author.clone());
    let client = session.client(&server, author.as_deref())?;
    match client.whoami().await {
        Ok(answer) => {
            let identity = Identity { signed_in: answer.via != "development", identity: answer.identity, server };
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
    Ok(())
}
