use std::{io::Read, sync::Arc};

use clap::Args;
use docstore_client::{Client, StaticToken};

use crate::{
    Failure,
    auth::{Credential, CredentialStore, login},
    session::Session,
};

/// Sign in to a server, in a browser.
///
/// Machines without a browser set DS_TOKEN instead, or keep a token with --token.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server; that of the workspace by default.
    server_url: Option<String>,
    /// Only print the address to open.
    #[arg(long)]
    no_browser: bool,
    /// Keep an API token, read from standard input, instead of signing in.
    #[arg(long, conflicts_with = "no_browser")]
    token: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let server = server_of(session, arguments.server_url)?;
    if arguments.token {
        return keep_token(session, &server).await;
    }
    login::login(session, &server, !arguments.no_browser).await
}

/// More than any token has; what is longer is something else.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Keeps a token for a server, once the server has said whom it stands for. From standard input, since arguments are seen by
/// everybody on the machine and stay in the shell's history.
async fn keep_token(session: &mut Session<'_>, server: &str) -> Result<(), Failure> {
    let mut text = String::new();
    let read = session.context.stdin.as_mut().take(TOKEN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("cannot read the token: {error}")))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::usage("no token on standard input").hint("ds login --token < token.txt"));
    }
    let store = CredentialStore::of(session.context)
        .ok_or_else(|| Failure::new("there is no configuration folder: HOME is not set"))?;
    let client = Client::builder(server)
        .user_agent(concat!("ds/", env!("CARGO_PKG_VERSION")))
        .retries(session.context.retries)
        .tokens(Arc::new(StaticToken::new(token.to_owned())))
        .build()?;
    let answer = client.whoami().await?;
    if answer.via == "development" {
        return Err(Failure::new("that is no API token: the development server did not look at it"));
    }
    store.set(server, Some(Credential::of_token(token)))?;
    session.say(format!("Logged in as {}", answer.identity));
    Ok(())
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
