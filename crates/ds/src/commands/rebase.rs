use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use docstore_client::{Error, RepoClient};
use docstore_models::{Conflict, ErrorCode, FileMode, MAIN_BRANCH, RebaseRequest, RebaseResponse, shell_argument};

use crate::{
    Failure,
    failure::About,
    output::printable,
    remote::find_branch,
    session::Session,
    sync::{self, Contents, SyncOptions, fetch_contents},
    text::{Labels, TEXT_BYTES_MAX, has_conflict_markers, merge},
    upload::{self, FileChange},
    workspace::{
        Scan, Workspace, read_optional,
        rebase::{PendingRebase, Resolution, side_files},
        remove_if_exists, write_atomically,
    },
};

/// Replay the branch onto the head of main.
///
/// Files that both sides changed are merged line by line. Where both changed the same lines, the file gets conflict
/// markers, and FILE.main and FILE.branch hold the two sides: edit the file, then `ds resolve FILE`. A branch that is not
/// checked out is rebased by the server alone, if nothing conflicts.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    #[arg(conflicts_with_all = ["go_on", "abort"])]
    branch: Option<String>,
    /// Go on after all conflicts are resolved.
    #[arg(long = "continue", conflicts_with = "abort")]
    go_on: bool,
    /// Give up and put the conflicting files back.
    #[arg(long)]
    abort: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = workspace.branch_to_merge(arguments.branch.as_deref(), "cannot rebase main")?;
    if branch != workspace.branch() {
        return rebase_elsewhere(session, &workspace, &branch).await;
    }
    let mut workspace = session.locked_workspace_on(&branch)?;
    let pending = PendingRebase::read(&workspace.metadata())?;
    match (pending, arguments.go_on, arguments.abort) {
        (Some(pending), true, _) => {
            let pending = resolve_edited(&workspace, pending)?;
            finish(session, &mut workspace, &pending).await.map(drop)
        }
        (Some(pending), _, true) => abort(session, &mut workspace, &pending).await,
        (Some(_), false, false) => Err(Failure::conflict("a rebase is waiting for conflicts to be resolved")
            .hint("`ds status` lists them; then `ds rebase --continue`, or `ds rebase --abort`")),
        // Resolving the last conflict has completed it.
        (None, true, _) => {
            session.say("No rebase is waiting.");
            Ok(())
        }
        (None, _, true) => Err(Failure::new("no rebase is waiting")),
        (None, false, false) => start(session, &mut workspace, &branch).await,
    }
}

/// Rebases a branch that is not checked out, of which nothing here knows.
async fn rebase_elsewhere(session: &mut Session<'_>, workspace: &Workspace, branch: &str) -> Result<(), Failure> {
    let request = RebaseRequest { branch: branch.to_owned(), ..RebaseRequest::default() };
    match session.repo(workspace)?.rebase(&request).await {
        Ok(done) => {
            tell(session, branch, &done);
            Ok(())
        }
        Err(error) => match error.refusal() {
            Some(refusal) if !refusal.conflicts.is_empty() => {
                session.print("Conflicts:");
                super::merge::print_conflicts(session, &refusal.conflicts);
                let command = format!("ds checkout {} && ds rebase", shell_argument(branch));
                Err(Failure::conflict("rebase aborted due to conflicts")
                    .hint(format!("run `{command}` to resolve them")))
            }
            _ => Err(error.into()),
        },
    }
}

async fn start(session: &mut Session<'_>, workspace: &mut Workspace, branch: &str) -> Result<(), Failure> {
    let scan = super::scan(session, workspace)?;
    if !workspace.changes(&scan).is_empty() {
        return Err(super::uncommitted_changes());
    }
    let repo = session.repo(workspace)?;
    let head = workspace.state().sequence;
    let request = RebaseRequest { branch: branch.to_owned(), expected_head: Some(head), ..RebaseRequest::default() };
    let error = match repo.rebase(&request).await {
        Ok(done) => return rebased(session, workspace, &repo, branch, &done).await,
        Err(error) => error,
    };
    let conflicts = match error.refusal() {
        Some(refusal) if !refusal.conflicts.is_empty() => refusal.conflicts.clone(),
        _ => return Err(error.into()),
    };
    let pending = lay_out(session, workspace, &repo, branch, &conflicts).await?;
    if pending.open_paths().is_empty() {
        // Every file could be merged; nobody needs to look.
        finish(session, workspace, &pending).await.map(drop)
    } else {
        Err(aborted())
    }
}

fn aborted() -> Failure {
    Failure::conflict("rebase aborted due to conflicts")
        .hint("edit each file and run `ds resolve <path>`; the last one completes the rebase")
        .hint("`ds rebase --abort` puts everything back")
}

/// Merges what can be merged, and writes both sides of what cannot next to the file.
async fn lay_out(
    session: &mut Session<'_>,
    workspace: &Workspace,
    repo: &RepoClient,
    branch: &str,
    conflicts: &[Conflict],
) -> Result<PendingRebase, Failure> {
    let found = find_branch(repo, branch).await?;
    let main = find_branch(repo, MAIN_BRANCH).await?;
    let paths: Vec<String> = conflicts.iter().map(|conflict| conflict.path.clone()).collect();
    for path in &paths {
        docstore_models::FilePath::parse(path.as_str()).map_err(|error| Failure::new(error.to_string()))?;
        for side in side_files(path) {
            if workspace.root().join(&side).symlink_metadata().is_ok() {
                return Err(Failure::conflict(format!("the sides of '{path}' cannot be shown: '{side}' exists"))
                    .hint("move it away and try again"));
            }
        }
    }
    let ours = fetch_contents(repo, branch, found.head_sequence, &paths, TEXT_BYTES_MAX).await?;
    let theirs = fetch_contents(repo, MAIN_BRANCH, main.head_sequence, &paths, TEXT_BYTES_MAX).await?;
    let base = if found.base_sequence > 0 {
        fetch_contents(repo, MAIN_BRANCH, found.base_sequence, &paths, TEXT_BYTES_MAX).await?
    } else {
        Contents::default()
    };
    let gone: BTreeSet<&String> =
        [&ours, &theirs, &base].into_iter().flat_map(|contents| &contents.obliterated).collect();
    for path in gone {
        session.warn(format!("'{}' was obliterated on one side, which counts as empty", printable(path)));
    }
    let mut pending = PendingRebase {
        branch: branch.to_owned(),
        branch_head: found.head_sequence,
        main_head: main.head_sequence,
        paths: BTreeMap::new(),
    };
    // What is waiting is on disk before the first file is, so that nothing of it can be committed by accident.
    pending.paths = paths.iter().map(|path| (path.clone(), Resolution::Open { marked: false })).collect();
    pending.write(&workspace.metadata())?;
    for path in &paths {
        let (ours, theirs) = (ours.of(path), theirs.of(path));
        let is_link = workspace.modes().get(path) == Some(FileMode::Symlink);
        let merged = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if !is_link => {
                let labels = Labels { base: "base", ours: branch, theirs: MAIN_BRANCH };
                merge(&base.of(path).unwrap_or_default(), ours, theirs, &labels)
            }
            _ => None,
        };
        if let Some(merged) = &merged {
            let full = workspace.root().join(path);
            write_keeping_mode(&full, &merged.bytes)?;
        }
        match merged {
            Some(merged) if merged.conflicts == 0 => {
                session.say(format!("merged: {path}"));
                pending.paths.insert(path.clone(), Resolution::AsItIs);
            }
            merged => {
                let [main_side, branch_side] = side_files(path);
                for (side, content) in [(&main_side, theirs), (&branch_side, ours)] {
                    let full = workspace.root().join(side);
                    write_atomically(&full, &content.unwrap_or_default()).about("write", &full)?;
                }
                session.print(format!("conflict: {path} (see {main_side} and {branch_side})"));
                pending.paths.insert(path.clone(), Resolution::Open { marked: merged.is_some() });
            }
        }
    }
    pending.write(&workspace.metadata())?;
    Ok(pending)
}

fn write_keeping_mode(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    let permissions = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| m.permissions());
    write_atomically(path, bytes).about("write", path)?;
    match permissions {
        Some(permissions) => std::fs::set_permissions(path, permissions).about("set the mode of", path),
        None => Ok(()),
    }
}

/// Takes files whose markers are gone as resolved. A file that never had any was perhaps never looked at.
fn resolve_edited(workspace: &Workspace, mut pending: PendingRebase) -> Result<PendingRebase, Failure> {
    for (path, resolution) in &mut pending.paths {
        if *resolution == (Resolution::Open { marked: true }) {
            let bytes = read_optional(&workspace.root().join(path))?;
            if bytes.is_some_and(|bytes| !has_conflict_markers(&bytes)) {
                *resolution = Resolution::AsItIs;
            }
        }
    }
    pending.write(&workspace.metadata())?;
    Ok(pending)
}

/// Sends the rebase with what the conflicting files are now. Answers the new head of the branch.
pub(crate) async fn finish(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    pending: &PendingRebase,
) -> Result<i64, Failure> {
    let open = pending.open_paths();
    if !open.is_empty() {
        return Err(Failure::conflict(format!("not resolved yet: {}", open.join(", ")))
            .hint("edit each file and run `ds resolve <path>`"));
    }
    let scan = super::scan(session, workspace)?;
    let repo = session.repo(workspace)?;
    let progress = session.progress("Uploading", pending.paths.len() as u64);
    let changes = resolutions(pending, &scan);
    let prepared = upload::prepare(&repo, workspace.root(), changes, &progress).await?;
    progress.finish();
    let request = RebaseRequest {
        branch: pending.branch.clone(),
        expected_head: Some(pending.branch_head),
        resolutions: prepared.files,
        expected_main_head: Some(pending.main_head),
    };
    let done = repo.rebase(&request).await.map_err(|error| explain_unfinished(pending, error))?;
    // Only now: a failure above leaves everything as it is, to be tried again.
    remove_side_files(workspace, pending)?;
    PendingRebase::remove(&workspace.metadata())?;
    rebased(session, workspace, &repo, &pending.branch, &done).await?;
    Ok(done.head_sequence)
}

fn resolutions(pending: &PendingRebase, scan: &Scan) -> BTreeMap<String, FileChange> {
    pending
        .paths
        .keys()
        .map(|path| {
            let change = scan.file(path).map_or(FileChange::Delete, |file| FileChange::Put(file.clone()));
            (path.clone(), change)
        })
        .collect()
}

fn explain_unfinished(pending: &PendingRebase, error: Error) -> Failure {
    if error.code() == Some(ErrorCode::HeadMoved) {
        return Failure::conflict("main or the branch moved while the conflicts were resolved")
            .hint("copy your resolved files, then `ds rebase --abort`, `ds pull` and `ds rebase` again");
    }
    let same_again = error
        .refusal()
        .is_some_and(|refusal| refusal.conflicts.iter().any(|conflict| pending.paths.contains_key(&conflict.path)));
    if same_again {
        return Failure::conflict("rebase aborted due to conflicts")
            .hint("this server does not take resolutions; merge by hand on a new branch");
    }
    error.into()
}

async fn abort(session: &mut Session<'_>, workspace: &mut Workspace, pending: &PendingRebase) -> Result<(), Failure> {
    let paths: Vec<String> = pending.paths.keys().cloned().collect();
    super::restore::restore(session, workspace, &paths).await?;
    remove_side_files(workspace, pending)?;
    PendingRebase::remove(&workspace.metadata())?;
    session.say(format!("Rebase of '{}' given up; its files are back", pending.branch));
    Ok(())
}

fn remove_side_files(workspace: &Workspace, pending: &PendingRebase) -> Result<(), Failure> {
    pending.side_files().iter().try_for_each(|side| remove_if_exists(&workspace.root().join(side)))
}

fn tell(session: &mut Session<'_>, branch: &str, done: &RebaseResponse) {
    session.say(format!(
        "Rebased '{branch}' onto main (base: {}, head: {}, {} commits replayed)",
        done.base_sequence, done.head_sequence, done.commits_replayed
    ));
}

/// Tells of the rebase and brings its result here.
async fn rebased(
    session: &mut Session<'_>,
    workspace: &mut Workspace,
    repo: &RepoClient,
    branch: &str,
    done: &RebaseResponse,
) -> Result<(), Failure> {
    tell(session, branch, done);
    let scan = super::scan(session, workspace)?;
    let synced = async {
        let target = sync::read_tree(repo, branch, done.head_sequence).await?;
        let config = workspace.config().clone();
        let options = SyncOptions { keep_changes: true, ..SyncOptions::default() };
        sync::sync(session, workspace, repo, config, target, &scan, options).await
    }
    .await;
    match synced {
        Ok(report) => {
            session.detail(report.line(branch));
            super::pull::report_merges(session, &report)
        }
        Err(failure) => Err(failure.hint("the rebase did happen; run `ds pull` to bring its result here")),
    }
}
