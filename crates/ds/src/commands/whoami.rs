use clap::Args;
use serde::Serialize;

use crate::{Failure, auth, cli::JsonOption, session::Session};

/// Show who you are to the server. Asks no server.
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

pub(crate) fn run(session: &mut Session<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let server = super::login::server_of(session, None)?;
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
    if arguments.json.json {
        return session.print_json(&identity);
    }
    session.print(&identity.identity);
    if !identity.signed_in {
        session.warn(format!("not signed in to {}; only a development server takes your word for it", identity.server));
    }
    Ok(())
}
