//! The DocStore command line as a library: [`run`] is one call of `ds`.
//!
//! Nothing here prints or reads the environment but through the [`Context`] it is given. Each command is a file in
//! `commands`; the doc comments of its arguments are its help. What they share: the workspace on disk (`workspace`),
//! bringing it to a tree of the server (`sync`), getting files there (`upload`), and trust in the server's history
//! (`integrity`).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod auth;
mod cli;
mod commands;
mod context;
mod exit;
mod failure;
mod git;
mod hash;
mod integrity;
mod output;
mod remote;
mod session;
mod suggest;
mod sync;
mod text;
mod upload;
mod words;
mod workspace;

use std::{ffi::OsString, io::Write};

use clap::{CommandFactory, FromArgMatches};

pub use context::{Captured, Context, Edit, OpenBrowser, StartPager, Terminals};
pub use exit::Exit;
pub use failure::Failure;

use cli::Cli;
use session::Session;

/// Runs one command line, the program's name first, and says what to exit with.
pub async fn run(context: &mut Context, arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return report_usage(context, &error),
    };
    let terminal = if cli.command.is_worth_paging() { page(context) } else { None };
    let mut session = Session::new(context, cli.global);
    let done = commands::run(&mut session, cli.command).await;
    let written = session.finish_output();
    if let Some(terminal) = terminal {
        // Waits for the reader, so that what follows does not end up in between.
        session.context.stdout = terminal;
    }
    session.report_requests();
    match done.and(written) {
        Ok(()) => Exit::Success,
        Err(failure) => {
            session.report(&failure);
            failure.exit_code()
        }
    }
}

/// Whether `ds` understands a command line, the program's name first: for tests of what the server tells people to type.
///
/// # Errors
/// What is wrong with it.
pub fn check_usage(arguments: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    Cli::command().try_get_matches_from(arguments).map(drop).map_err(|error| error.to_string())
}

/// Puts a pager in front of the terminal, if there is one and the user has nothing against it. Answers the terminal.
fn page(context: &mut Context) -> Option<Box<dyn Write + Send>> {
    if !context.terminals.stdout {
        return None;
    }
    let names = ["DS_PAGER", "PAGER"];
    let chosen = names.into_iter().find_map(|name| context.environment.get(name)).map_or("less", String::as_str);
    if chosen.is_empty() || chosen == "cat" {
        return None;
    }
    // Without a pager, the terminal itself will do.
    let pager = (context.start_pager)(chosen).ok()?;
    Some(std::mem::replace(&mut context.stdout, pager))
}

/// Help and version are data; a mistake in the command line is talk.
fn report_usage(context: &mut Context, error: &clap::Error) -> Exit {
    let to_stderr = error.use_stderr();
    let colour = context.variable("NO_COLOR").is_none()
        && if to_stderr { context.terminals.stderr } else { context.terminals.stdout };
    let text = if colour { error.render().ansi().to_string() } else { error.render().to_string() };
    let stream = if to_stderr { &mut context.stderr } else { &mut context.stdout };
    // Nobody can be told that telling failed.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    if to_stderr { Exit::Usage } else { Exit::Success }
}
