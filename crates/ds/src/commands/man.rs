use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory};

use crate::{Failure, cli::Cli, failure::About, session::Session};

/// Write manual pages into a folder: ds.1, and one for each command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder, such as ~/.local/share/man/man1.
    folder: PathBuf,
}

pub(crate) fn run(session: &mut Session<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let folder = session.directory().join(&arguments.folder);
    fs::create_dir_all(&folder).about("create", &folder)?;
    clap_mangen::generate_to(Cli::command(), &folder).about("write into", &folder)?;
    session.say(format!("Wrote manual pages to {}", folder.display()));
    Ok(())
}
