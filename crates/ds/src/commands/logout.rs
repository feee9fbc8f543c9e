use clap::Args;

use crate::{Failure, auth::CredentialStore, session::Session};

/// Forget the sign-in to a server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server; that of the workspace by default.
    server_url: Option<String>,
}

pub(crate) fn run(session: &mut Session<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let server = super::login::server_of(session, arguments.server_url.clone())?;
    let store = CredentialStore::of(session.context)
        .ok_or_else(|| Failure::new("there is no configuration folder: HOME is not set"))?;
    store.set(&server, None)?;
    session.say(format!("Logged out from {server}"));
    Ok(())
}
