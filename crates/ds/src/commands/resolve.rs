use std::collections::BTreeMap;

use clap::{Args, ValueEnum};

use crate::{
    Failure,
    failure::About,
    session::Session,
    text::has_conflict_markers,
    upload::FileChange,
    workspace::{
        Workspace, read_optional,
        rebase::{PendingRebase, Resolution, side_files},
        remove_if_exists, write_atomically,
    },
};

/// Say that a conflicting file is as it shall be.
///
/// The last conflict resolved completes the rebase. A file that is not there is resolved as deleted.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file.
    path: String,
    /// Take all of one side.
    #[arg(long, value_name = "SIDE")]
    take: Option<Side>,
    /// Accept a file that holds conflict markers.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    /// What main has.
    Main,
    /// What the branch has.
    Branch,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    let path = session.workspace_path(&workspace, &arguments.path)?;
    let pending = PendingRebase::read(&workspace.metadata())?.filter(|pending| pending.paths.contains_key(&path));
    let resolved_already =
        pending.as_ref().is_some_and(|pending| pending.paths.get(&path) == Some(&Resolution::AsItIs));
    if !resolved_already || arguments.take.is_some() {
        require_side_files(&workspace, &path)?;
    }
    if let Some(side) = arguments.take {
        take(&workspace, &path, side)?;
    }
    let full = workspace.root().join(&path);
    let marked = read_optional(&full)?.is_some_and(|bytes| has_conflict_markers(&bytes));
    if marked && !arguments.force {
        return Err(Failure::conflict(format!("'{path}' still holds conflict markers"))
            .hint("edit the file, or use --force if they belong there"));
    }
    let sequence = match pending {
        Some(mut pending) => {
            pending.paths.insert(path.clone(), Resolution::AsItIs);
            pending.write(&workspace.metadata())?;
            let left = pending.open_paths().len();
            if left > 0 {
                session.say(format!("resolved {path}; {left} left"));
                return Ok(());
            }
            super::rebase::finish(session, &mut workspace, &pending).await?
        }
        None => commit_resolution(session, &mut workspace, &path).await?,
    };
    session.say(format!("resolved {path}, committed as sequence {sequence}"));
    Ok(())
}

fn require_side_files(workspace: &Workspace, path: &str) -> Result<(), Failure> {
    match side_files(path).into_iter().find(|side| !workspace.root().join(side).is_file()) {
        Some(missing) => Err(Failure::new(format!("conflict file '{missing}' not found; run 'ds rebase' first"))),
        None => Ok(()),
    }
}

fn take(workspace: &Workspace, path: &str, side: Side) -> Result<(), Failure> {
    let [main, branch] = side_files(path);
    let from = workspace.root().join(if side == Side::Main { main } else { branch });
    let to = workspace.root().join(path);
    let bytes = std::fs::read(&from).about("read", &from)?;
    write_atomically(&to, &bytes).about("write", &to)
}

/// Side files without a waiting rebase come from the original client: the resolution is a commit of its own.
async fn commit_resolution(session: &mut Session<'_>, workspace: &mut Workspace, path: &str) -> Result<i64, Failure> {
    let scan = super::scan(session, workspace)?;
    let change = scan.file(path).map_or(FileChange::Delete, |file| FileChange::Put(file.clone()));
    let changes = BTreeMap::from([(path.to_owned(), change)]);
    let message = format!("resolve conflict in {path}");
    let (response, _) = super::commit::commit(session, workspace, changes, message, None).await?;
    for side in side_files(path) {
        remove_if_exists(&workspace.root().join(side))?;
    }
    Ok(response.sequence)
}
