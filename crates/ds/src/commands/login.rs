use clap::Args;

use crate::{Failure, auth::login, session::Session};

/// Sign in to a server, in a browser.
///
/// Machines without a browser set DS_TOKEN instead.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server; that of the workspace by default.
    server_url: Option<String>,
    /// Only print the address to open.
    #[arg(long)]
    no_browser: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let server = server_of(session, arguments.server_url)?;
    login::login(session, &server, !arguments.no_browser).await
}

/// The server that a sign-in is about.
pub(crate) fn server_of(session: &Session<'_>, typed: Option<String>) -> Result<String, Failure> {
    typed
        .or_else(|| session.options.remote.clone())
        .or_else(|| session.workspace().ok().map(|workspace| workspace.config().remote.clone()))
        .or_else(|| session.context.default_remote.clone())
        .map(|server| server.trim_end_matches('/').to_owned())
        .ok_or_else(|| Failure::usage("no server given").hint("ds login https://host"))
}
