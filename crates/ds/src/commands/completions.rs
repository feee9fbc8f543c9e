use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Failure, cli::Cli, session::Session};

/// Print a completion script for a shell.
///
/// For bash: ds completions bash > ~/.local/share/bash-completion/completions/ds
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(session: &mut Session<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "ds", &mut script);
    session.write_out(&script);
    Ok(())
}
