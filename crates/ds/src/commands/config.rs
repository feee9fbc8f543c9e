use clap::{Args, ValueEnum};

use crate::{Failure, cli::JsonOption, output::printable, session::Session, workspace::Config};

/// Show or change the settings of the workspace.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The setting; all by default.
    name: Option<Name>,
    /// Its new value.
    #[arg(requires = "name")]
    value: Option<String>,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The server.
    Remote,
    /// The repo. `ds init` changes it.
    Repo,
    /// The branch that is checked out. `ds checkout` changes it.
    Branch,
    /// Who you are on a development server.
    Author,
}

pub(crate) fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let Some(value) = arguments.value else {
        let workspace = session.workspace()?;
        let config = workspace.config();
        if arguments.json.json {
            return session.print_json(config);
        }
        match arguments.name {
            Some(name) => session.print(printable(get(config, name))),
            None => {
                for name in [Name::Remote, Name::Repo, Name::Branch, Name::Author] {
                    let label = format!("{name:?}").to_lowercase();
                    session.print(format!("{label:<8}{}", printable(get(config, name))));
                }
            }
        }
        return Ok(());
    };
    let mut workspace = session.locked_workspace()?;
    let mut config = workspace.config().clone();
    match arguments.name {
        Some(Name::Author) => config.author.clone_from(&value),
        Some(Name::Remote) => value.trim_end_matches('/').clone_into(&mut config.remote),
        Some(Name::Repo) => return Err(Failure::usage("another repo needs another workspace").hint("ds init --repo")),
        Some(Name::Branch) => return Err(Failure::usage("another branch has other files").hint("ds checkout")),
        None => return Err(Failure::usage("which setting?")),
    }
    let (state, modes, anchors) = (workspace.state().clone(), workspace.modes().clone(), workspace.anchors().clone());
    workspace.save(config, state, modes, anchors)
}

fn get(config: &Config, name: Name) -> &str {
    match name {
        Name::Remote => &config.remote,
        Name::Repo => config.repo(),
        Name::Branch => &config.branch,
        Name::Author => &config.author,
    }
}
