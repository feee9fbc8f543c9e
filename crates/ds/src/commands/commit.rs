use std::collections::BTreeMap;

use clap::Args;
use docstore_models::{CommitRequest, CommitResponse, ErrorCode};

use crate::{
    Failure,
    session::Session,
    sync::fetch_contents,
    text::TEXT_BYTES_MAX,
    upload::{self, FileChange, Prepared},
    words,
    workspace::{Anchor, Changes, Scan, State, Workspace},
};

/// Send changes to the branch as one commit.
///
/// Without -m or -F, an editor opens for the message.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The message.
    #[arg(short, long, overrides_with = "message", conflicts_with = "file")]
    message: Option<String>,
    /// Read the message from a file, or from standard input with -.
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<String>,
    /// Commit to main against policies that allow an admin to, and say why. It is recorded.
    #[arg(long = "override", value_name = "REASON")]
    override_reason: Option<String>,
    /// Commit only changes of these files and directories. One that is not here because its content was obliterated is deleted.
    paths: Vec<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let mut workspace = session.locked_workspace()?;
    let scan = super::scan(session, &workspace)?;
    let mut changes = workspace.changes(&scan);
    if !arguments.paths.is_empty() {
        let mut wanted = Vec::new();
        for path in &arguments.paths {
            wanted.push(session.workspace_path(&workspace, path)?);
        }
        let unchanged = restrict(&mut changes, &wanted);
        check_obliterated(session, &workspace, &scan, &unchanged).await?;
        changes.deleted.extend(unchanged);
    }
    if changes.is_empty() {
        return Err(Failure::new("nothing to commit"));
    }
    let message = message(session, &workspace, arguments.message, arguments.file.as_deref(), &changes)?;
    let changes = file_changes(&workspace, &scan, &changes);
    let (response, count) = commit(session, &mut workspace, changes, message, arguments.override_reason).await?;
    session.say(format!("Committed sequence {} ({count} files)", response.sequence));
    Ok(())
}

/// Keeps the changes below the given paths. Answers those paths at which nothing changed.
fn restrict(changes: &mut Changes, wanted: &[String]) -> Vec<String> {
    let is_below = |path: &str, above: &str| {
        above.is_empty() || path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
    };
    let mut unchanged = wanted.to_vec();
    unchanged.retain(|above| {
        let mut changed = [&changes.new, &changes.modified, &changes.deleted].into_iter().flatten();
        !changed.any(|path| is_below(path, above))
    });
    for list in [&mut changes.new, &mut changes.modified, &mut changes.deleted] {
        list.retain(|path| wanted.iter().any(|above| is_below(path, above)));
    }
    unchanged.sort_unstable();
    unchanged.dedup();
    unchanged
}

/// A path at which nothing changed must be a file that workspaces leave out, because its content was obliterated.
async fn check_obliterated(
    session: &mut Session<'_>,
    workspace: &Workspace,
    scan: &Scan,
    paths: &[String],
) -> Result<(), Failure> {
    let nothing = |path: &String| match path.as_str() {
        "" => Failure::new("nothing to commit"),
        path => Failure::new(format!("nothing changed at '{path}'")),
    };
    if let Some(path) = paths.iter().find(|path| path.is_empty() || scan.file(path).is_some()) {
        return Err(nothing(path));
    }
    if paths.is_empty() {
        return Ok(());
    }
    let (repo, state) = (session.repo(workspace)?, workspace.state());
    let there = fetch_contents(&repo, &state.branch, state.sequence, paths, TEXT_BYTES_MAX).await?;
    paths.iter().find(|path| !there.obliterated.contains(*path)).map_or(Ok(()), |path| Err(nothing(path)))
}

pub(crate) fn file_changes(workspace: &Workspace, scan: &Scan, changes: &Changes) -> BTreeMap<String, FileChange> {
    let mut all = BTreeMap::new();
    for path in changes.new.iter().chain(&changes.modified) {
        if let Some(file) = scan.file(path) {
            let same_content = workspace.state().files.get(path).is_some_and(|hash| hash == file.hash());
            let change = if same_content { FileChange::Mode(file.clone()) } else { FileChange::Put(file.clone()) };
            all.insert(path.clone(), change);
        }
    }
    all.extend(changes.deleted.iter().map(|path| (path.clone(), FileChange::Delete)));
    all
}

/// Commits, and moves the workspace's state along. Answers how many files the commit has.
pub(crate) async fn commit(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    changes: BTreeMap<String, FileChange>,
    message: String,
    override_reason: Option<String>,
) -> Result<(CommitResponse, usize), Failure> {
    let repo = session.repo(workspace)?;
    let branch = workspace.branch().to_owned();
    let progress = session.progress("Uploading", changes.len() as u64);
    let Prepared { files, results } = upload::prepare(&repo, workspace.root(), changes, &progress).await?;
    progress.finish();
    let count = files.len();
    let expected = workspace.state().sequence;
    let request =
        CommitRequest { branch: branch.clone(), message, files, expected_head: Some(expected), override_reason };
    // The original server takes the author from here when it trusts nobody; ours takes the authenticated one.
    let response = repo.commit_as(&request, &workspace.config().author).await.map_err(|error| {
        if let Some(denied) = super::merge::explain_denial(session, &error) {
            return denied;
        }
        let moved = error.refusal().filter(|refusal| refusal.code == Some(ErrorCode::HeadMoved));
        let Some(head) = moved.map(|refusal| refusal.head_sequence) else { return Failure::from(error) };
        let place = head.map(|head| format!(" to sequence {head}")).unwrap_or_default();
        Failure::conflict(format!("branch '{branch}' moved{place} since the workspace was synced at {expected}"))
            .hint("run `ds pull --merge` to bring it under your changes, then commit again")
    })?;

    let mut files = workspace.state().files.clone();
    for (path, result) in &results {
        match result {
            Some((hash, _)) => files.insert(path.clone(), hash.clone()),
            None => files.remove(path),
        };
    }
    let modes = workspace.modes().with(results.into_iter().map(|(path, result)| (path, result.map(|(_, mode)| mode))));
    let mut anchors = workspace.anchors().clone();
    match &response.commit_hash {
        Some(hash) => anchors.set(&branch, Anchor { sequence: response.sequence, hash: hash.clone() }),
        None => session.say("warning: the server sent no commit hash; the chain is not anchored here"),
    }
    let state = State::new(&branch, response.sequence, files);
    let config = workspace.config().clone();
    workspace
        .save(config, state, modes, anchors)
        .map_err(|failure| failure.hint(format!("the commit did happen, as sequence {}", response.sequence)))?;
    Ok((response, count))
}

/// The message: given, from a file, or from an editor.
fn message(
    session: &mut Session<'_>,
    workspace: &Workspace,
    given: Option<String>,
    file: Option<&str>,
    changes: &Changes,
) -> Result<String, Failure> {
    let usage = || Failure::usage("a commit needs a message").hint("ds commit -m \"what and why\"");
    let message = match (given, file) {
        (Some(message), _) => message,
        (None, Some(file)) => words::read(session, file)?,
        (None, None) if session.context.terminals.stdin => edit(session, workspace, changes)?,
        (None, None) => return Err(usage()),
    };
    if message.trim().is_empty() { Err(usage()) } else { Ok(message) }
}

/// Lets the user write the message; lines that begin with `#` do not count.
fn edit(session: &mut Session<'_>, workspace: &Workspace, changes: &Changes) -> Result<String, Failure> {
    let path = workspace.metadata().join("COMMIT_MESSAGE");
    let mut template = format!(
        "\n# The message of the commit to '{}'. Lines that begin with # are left out;\n# without any other line, nothing is committed.\n#\n",
        workspace.branch()
    );
    for (label, paths) in [("new:", &changes.new), ("modified:", &changes.modified), ("deleted:", &changes.deleted)] {
        for path in paths {
            template.push_str(&format!("#   {label:<10}{path}\n"));
        }
    }
    let text = words::edit(session, &path, &template)?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    Ok(lines.join("\n").trim().to_owned())
}
