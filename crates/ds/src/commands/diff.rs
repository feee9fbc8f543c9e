use bytes::Bytes;
use clap::Args;
use docstore_client::RepoClient;
use docstore_models::{Diff, DiffEntry, MAIN_BRANCH};
use serde::Serialize;

use crate::{
    Failure,
    cli::JsonOption,
    failure::About,
    output::{counted, printable},
    remote::find_branch,
    session::Session,
    sync::{Contents, changed_paths, fetch_contents, read_tree},
    text::{LineCounts, TEXT_BYTES_MAX, count_lines, is_text, unified_diff},
    workspace::{Workspace, link_target},
};

/// Files fetched before their differences are printed; bounds memory.
const FILES_AT_ONCE: usize = 64;

/// Show what the branch changed, or what changed here.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// Show lines instead of names.
    #[arg(short, long, conflicts_with = "json")]
    patch: bool,
    /// Count lines.
    #[arg(long, conflicts_with_all = ["patch", "json"])]
    stat: bool,
    /// Compare the files here with the last sync.
    #[arg(short, long, conflicts_with_all = ["branch", "json"])]
    local: bool,
    /// Compare two sequences of the branch, such as 12..15.
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["local", "json"])]
    range: Option<String>,
    #[command(flatten)]
    json: JsonOption,
}

/// One side of a comparison.
#[derive(Clone, Debug)]
pub(crate) enum Side {
    /// A branch at a sequence.
    Server { branch: String, sequence: i64 },
    /// The files here.
    Local,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = arguments.branch.clone().unwrap_or_else(|| workspace.branch().to_owned());
    let counting = arguments.stat;
    if arguments.local {
        let scan = super::scan(session, &workspace)?;
        let changes = workspace.changes(&scan);
        let mut paths: Vec<String> = [changes.new, changes.modified, changes.deleted].concat();
        paths.sort_unstable();
        let repo = session.repo(&workspace)?;
        let state = workspace.state();
        let old = Side::Server { branch: state.branch.clone(), sequence: state.sequence };
        return print_patch(session, &workspace, &repo, &paths, (&old, &Side::Local), counting).await;
    }
    let repo = session.repo(&workspace)?;
    if let Some(range) = &arguments.range {
        let (from, to) = parse_range(range)?;
        let (old_tree, new_tree) = (read_tree(&repo, &branch, from).await?, read_tree(&repo, &branch, to).await?);
        let paths = changed_paths(&old_tree, &new_tree);
        let side = |sequence| Side::Server { branch: branch.clone(), sequence };
        return print_patch(session, &workspace, &repo, &paths, (&side(from), &side(to)), counting).await;
    }
    let diff = repo.diff(&branch).await?;
    if arguments.json.json {
        return session.print_json(&Listing::from(&diff));
    }
    if arguments.patch || arguments.stat {
        let found = find_branch(&repo, &branch).await?;
        let paths: Vec<String> = diff.branch_changes.iter().map(|entry| entry.path.clone()).collect();
        let old = Side::Server { branch: MAIN_BRANCH.to_owned(), sequence: found.base_sequence };
        let new = Side::Server { branch, sequence: found.head_sequence };
        return print_patch(session, &workspace, &repo, &paths, (&old, &new), counting).await;
    }
    print_names(session, &branch, &diff);
    Ok(())
}

#[derive(Serialize)]
struct Listing<'a> {
    branch_changes: &'a [DiffEntry],
    main_changes: &'a [DiffEntry],
    conflicts: &'a [docstore_models::Conflict],
}

impl<'a> From<&'a Diff> for Listing<'a> {
    fn from(diff: &'a Diff) -> Self {
        Self { branch_changes: &diff.branch_changes, main_changes: &diff.main_changes, conflicts: &diff.conflicts }
    }
}

fn parse_range(text: &str) -> Result<(i64, i64), Failure> {
    text.split_once("..")
        .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
        .filter(|(from, to)| (0..=*to).contains(from))
        .ok_or_else(|| Failure::usage(format!("'{}' is not a range such as 12..15", printable(text))))
}

fn print_names(session: &mut Session<'_>, branch: &str, diff: &Diff) {
    if diff.branch_changes.is_empty() {
        session.print(format!("No changes on branch '{branch}'"));
    } else {
        session.print(format!("Changed files on '{branch}':"));
        print_entries(session, &diff.branch_changes);
    }
    if !diff.main_changes.is_empty() {
        session.print("");
        session.print("Changed files on main:");
        print_entries(session, &diff.main_changes);
    }
    if !diff.conflicts.is_empty() {
        session.print("");
        session.print("Conflicts:");
        super::merge::print_conflicts(session, &diff.conflicts);
    }
}

fn print_entries(session: &mut Session<'_>, entries: &[DiffEntry]) {
    for entry in entries {
        let path = printable(&entry.path);
        match (entry.version_id, entry.binary) {
            (None, _) => session.print(format!("  deleted: {path}")),
            (Some(_), true) => session.print(format!("  changed: {path} [binary]")),
            (Some(_), false) => session.print(format!("  changed: {path}")),
        }
    }
}

/// Prints how the files differ between two sides, line by line or in numbers.
pub(crate) async fn print_patch(
    session: &mut Session<'_>,
    workspace: &Workspace,
    repo: &RepoClient,
    paths: &[String],
    (old, new): (&Side, &Side),
    counting: bool,
) -> Result<(), Failure> {
    let colour = session.has_colour();
    let mut total = LineCounts::default();
    let mut files = 0;
    for paths in paths.chunks(FILES_AT_ONCE) {
        let old_contents = contents(workspace, repo, old, paths).await?;
        let new_contents = contents(workspace, repo, new, paths).await?;
        for path in paths {
            if old_contents.obliterated.contains(path) || new_contents.obliterated.contains(path) {
                files += 1;
                session.print(format!("  {}: not shown, its content was obliterated", printable(path)));
                continue;
            }
            let (before, after) = (old_contents.of(path), new_contents.of(path));
            if before == after || session.output_is_closed() {
                continue;
            }
            files += 1;
            if counting {
                let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
                if is_text(&before) && is_text(&after) {
                    let counts = count_lines(&before, &after);
                    total.added += counts.added;
                    total.removed += counts.removed;
                    session.print(format!("  {}  +{} -{}", printable(path), counts.added, counts.removed));
                } else {
                    session.print(format!("  {}  binary, {} -> {} bytes", printable(path), before.len(), after.len()));
                }
            } else {
                let patch = unified_diff(&printable(path), before.as_deref(), after.as_deref(), colour);
                session.write_out(&patch);
            }
        }
    }
    if counting {
        let (files, lines) = (counted(files, "file", "files"), counted(total.added, "line", "lines"));
        session.print(format!("{files} changed, {lines} added, {} removed", total.removed));
    }
    Ok(())
}

async fn contents(
    workspace: &Workspace,
    repo: &RepoClient,
    side: &Side,
    paths: &[String],
) -> Result<Contents, Failure> {
    match side {
        // Nothing was ever committed; to an older server 0 would be the head.
        Side::Server { sequence: 0, .. } => Ok(Contents::default()),
        Side::Server { branch, sequence } => fetch_contents(repo, branch, *sequence, paths, TEXT_BYTES_MAX).await,
        Side::Local => {
            let read = |path: &String| Ok((path.clone(), local_content(workspace, path)?));
            let files = paths.iter().map(read).collect::<Result<_, Failure>>()?;
            Ok(Contents { files, ..Contents::default() })
        }
    }
}

fn local_content(workspace: &Workspace, path: &str) -> Result<Option<Bytes>, Failure> {
    let full = workspace.root().join(path);
    let bytes = match std::fs::symlink_metadata(&full) {
        Err(_) => return Ok(None),
        Ok(metadata) if metadata.file_type().is_symlink() => {
            std::fs::read_link(&full).and_then(|target| link_target(&target))
        }
        Ok(metadata) if metadata.len() > TEXT_BYTES_MAX as u64 => {
            return Err(Failure::new(format!("'{path}' is too large to be shown")));
        }
        Ok(_) => std::fs::read(&full),
    };
    bytes.map(|bytes| Some(bytes.into())).about("read", &full)
}
