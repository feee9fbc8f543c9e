use std::fs;

use clap::Args;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    failure::About,
    output::{counted, printable},
    session::Session,
};

/// Move files that are not versioned out of the way, into .ds/backup.
///
/// Files that .dsignore leaves out stay.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only list them.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    yes: YesOption,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) fn run(session: &mut Session<'_>, arguments: &Arguments) -> Result<(), Failure> {
    let workspace = session.locked_workspace()?;
    let scan = super::scan(session, &workspace)?;
    let new = workspace.changes(&scan).new;
    if arguments.json.json {
        session.print_json(&new)?;
    } else {
        for path in &new {
            session.print(printable(path));
        }
    }
    if new.is_empty() || arguments.dry_run {
        return Ok(());
    }
    session.confirm(
        &format!(
            "Move {} to .ds/backup?",
            if new.len() == 1 { "this file".to_owned() } else { format!("these {} files", new.len()) }
        ),
        arguments.yes.yes,
    )?;
    let time = (session.context.now)().format("%Y%m%dT%H%M%S%.3fZ").to_string();
    let backup = workspace.metadata().join("backup").join(time);
    for path in &new {
        let (from, to) = (workspace.root().join(path), backup.join(path));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).about("create", folder)?;
        }
        fs::rename(&from, &to).about("move away", &from)?;
        // Folders that are empty now go too.
        for folder in from.ancestors().skip(1).take_while(|folder| *folder != workspace.root()) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    if !arguments.json.json {
        session.say(format!("Moved {} to {}", counted(new.len(), "file", "files"), backup.display()));
    }
    Ok(())
}
