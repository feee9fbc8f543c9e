use clap::Args;

use crate::{Failure, auth::CredentialStore, session::Session};

/// Forget the sign-in to a server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server; that of the workspace by default.
    server_url: Option<String>,
    /// Also end all browser sessions of that account. API tokens stay; `ds token revoke` ends those.
    #[arg(long)]
    everywhere: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let server = super::login::server_of(session, arguments.server_url)?;
    let store = CredentialStore::of(session.context)
        .ok_or_else(|| Failure::new("there is no configuration folder: HOME is not set"))?;
    // With the credential that is about to go.
    if arguments.everywhere {
        session.client(&server, None)?.end_sessions(None).await?;
        session.say(format!("Ended all browser sessions at {server}"));
    }
    store.set(&server, None)?;
    session.say(format!("Logged out from {server}"));
    Ok(())
}
