use std::{collections::HashSet, path::PathBuf};

use clap::Args;
use docstore_client::{ContentBody, RepoClient};
use docstore_models::{CommitRequest, ImportRequest, ImportedCommit, MAIN_BRANCH};
use tokio::sync::mpsc;

use crate::{
    Exit, Failure,
    git::{Batch, BatchLimits, Batches, GitCommit, KnownContents, Order, Repository},
    output::{counted, first_line},
    remote::find_branch,
    session::Session,
};

/// What the mark of an imported commit begins with.
const MARK: &str = "git:";
/// Commits of the server's log asked for at once.
const LOG_PAGE: u32 = 500;
/// Batches read ahead of the one that is being sent, which bounds memory.
const BATCHES_AHEAD: usize = 2;
/// Contents up to this size travel inside the commits.
const INLINE_BYTES_MAX: u64 = 256 * 1024;
/// One request: short enough to be acknowledged within a second or two, large enough that the way there and back does not
/// count.
const BATCH: BatchLimits =
    BatchLimits { commits_max: 200, bytes_max: 2 * 1024 * 1024, inline_bytes_max: Some(INLINE_BYTES_MAX) };
/// For a server of the original contract: one commit per request, all of its content inside.
const ONE_COMMIT: BatchLimits = BatchLimits { commits_max: 1, bytes_max: u64::MAX, inline_bytes_max: None };
/// A squashed import inside one request; larger files go ahead of it.
const SQUASHED: BatchLimits =
    BatchLimits { commits_max: 1, bytes_max: u64::MAX, inline_bytes_max: Some(INLINE_BYTES_MAX) };

/// Import the history of a git repository: a working copy, a bare repository or a bundle.
///
/// Authors, dates, whole messages, modes and links are kept, and the tree at every commit is git's. That needs an admin of
/// the repo and a server with an import endpoint; otherwise each commit becomes one of yours, with its author in the
/// message. An import that was interrupted goes on where it stopped. Nothing in the workspace changes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The git repository or bundle.
    path: PathBuf,
    /// replay commits one by one, or squash them into one.
    #[arg(long, default_value = "replay")]
    mode: String,
    /// The branch to import into.
    #[arg(long, default_value = MAIN_BRANCH)]
    branch: String,
    /// The git revision to import; what is checked out by default.
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Import the main line alone, without the commits that merges brought in.
    #[arg(long)]
    first_parent: bool,
    /// Make each commit one of yours, with its author in the message.
    #[arg(long)]
    as_commits: bool,
    /// Import into main against policies that allow an admin to, and say why. It is recorded.
    #[arg(long = "override", value_name = "REASON")]
    override_reason: Option<String>,
    /// Only count.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let squash = match arguments.mode.as_str() {
        "replay" => false,
        "squash" => true,
        _ => return Err(Failure::usage("mode must be 'replay' or 'squash'")),
    };
    let shown = arguments.path.display().to_string();
    let git = Repository::open(&session.directory().join(&arguments.path), &shown)?;
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let (head, revision) = git.resolve(arguments.rev.as_deref())?;
    let branch = arguments.branch.as_str();
    let into = find_branch(&repo, branch).await?;
    if squash {
        return import_squashed(session, &repo, &git, (&head, &revision), &arguments).await;
    }
    let order = if arguments.first_parent { Order::FirstParent } else { Order::Topological };
    let all = git.list(&head, order)?;
    let faithful = !arguments.as_commits && has_log(&repo, branch).await?;
    let mut import = Import {
        branch: branch.to_owned(),
        author: workspace.config().author.clone(),
        override_reason: arguments.override_reason.clone(),
        head_sequence: into.head_sequence,
        done: 0,
        total: all.len(),
    };
    let (left, tree) =
        if faithful { resume(session, &repo, &git, &mut import, all).await? } else { (all, git.empty_tree()?) };
    if arguments.dry_run {
        let commits = counted(left.len(), "commit", "commits");
        session.say(format!("{commits} of {shown} would be imported into '{branch}'"));
        return Ok(());
    }
    if left.is_empty() {
        session.say("No commits to import.");
        return Ok(());
    }
    session.say(format!("Importing {} commits from {shown}...", left.len()));
    let count = left.len();
    import.total = count;
    let limits = if faithful { BATCH } else { ONE_COMMIT };
    let known = KnownContents::default();
    let mut batches = read_ahead(&git, left, tree, limits, known.clone())?;
    let progress = session.progress("Importing", count as u64);
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        for warning in &batch.warnings {
            session.warn(warning);
        }
        if faithful {
            send(&repo, &mut import, &batch).await?;
        } else {
            commit(&repo, &import, &batch).await?;
        }
        known.acknowledge(&batch);
        for (commit, _) in &batch.commits {
            import.done += 1;
            // With a bar on the terminal, one line per commit is for those who ask for more.
            if !session.context.terminals.stderr || session.options.verbose > 0 {
                let line = line(&import, commit);
                session.say(line);
            }
        }
        progress.add(batch.commits.len() as u64);
    }
    progress.finish();
    session.say(format!("Done. {} commits imported.", import.done));
    Ok(())
}

/// Where an import is.
struct Import {
    branch: String,
    author: String,
    override_reason: Option<String>,
    head_sequence: i64,
    done: usize,
    total: usize,
}

fn line(import: &Import, commit: &GitCommit) -> String {
    let subject = first_line(commit.subject());
    format!(
        "{}/{} {} \"{subject}\" ({})",
        import.done,
        import.total,
        commit.short_id(),
        crate::output::printable(&commit.email)
    )
}

/// Whether the server has the endpoints beyond the original contract.
async fn has_log(repo: &RepoClient, branch: &str) -> Result<bool, Failure> {
    match repo.commits(branch, 1, None).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_missing_endpoint() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is still to be imported, and the tree that the branch has.
async fn resume(
    session: &mut Session<'_>,
    repo: &RepoClient,
    git: &Repository,
    import: &mut Import,
    all: Vec<String>,
) -> Result<(Vec<String>, String), Failure> {
    let mut imported = HashSet::new();
    let mut newest: Option<Option<String>> = None;
    let mut before = None;
    loop {
        let page = repo.commits(&import.branch, LOG_PAGE, before).await?;
        for commit in page.commits {
            let mark = commit.imported_from.and_then(|from| from.strip_prefix(MARK).map(str::to_owned));
            newest.get_or_insert_with(|| mark.clone());
            imported.extend(mark);
        }
        before = page.next_before;
        if before.is_none() {
            break;
        }
    }
    match newest.flatten() {
        None if imported.is_empty() => {
            if import.head_sequence > 0 {
                session.warn(format!(
                    "branch '{}' is not empty: the imported trees will also hold the files that are there",
                    import.branch
                ));
            }
            Ok((all, git.empty_tree()?))
        }
        None => Err(Failure::new(format!("branch '{}' has commits of its own on top of an import", import.branch))
            .exit(Exit::Conflict)
            .hint("import what is new into a branch or repo of its own")),
        Some(last) => {
            let tree = git.tree_of(&last).filter(|_| all.contains(&last)).ok_or_else(|| {
                Failure::new(format!("branch '{}' holds an import of something else, up to {last}", import.branch))
                    .exit(Exit::Conflict)
            })?;
            let left: Vec<String> = all.into_iter().filter(|id| !imported.contains(id)).collect();
            session.say(format!("{} already", counted(imported.len(), "commit is there", "commits are there")));
            Ok((left, tree))
        }
    }
}

type Reading = mpsc::Receiver<Result<Batch, Failure>>;

/// Reads git on a thread of its own while batches are sent.
fn read_ahead(
    git: &Repository,
    ids: Vec<String>,
    tree: String,
    limits: BatchLimits,
    known: KnownContents,
) -> Result<Reading, Failure> {
    let commits = git.commits(ids)?;
    let batches = Batches::new(git, commits, tree, limits, known)?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::task::spawn_blocking(move || {
        for batch in batches {
            let failed = batch.is_err();
            // A closed channel means that the import was given up.
            if sender.blocking_send(batch).is_err() || failed {
                break;
            }
        }
    });
    Ok(receiver)
}

async fn upload_large(repo: &RepoClient, batch: &Batch) -> Result<(), Failure> {
    if batch.large.is_empty() {
        return Ok(());
    }
    let hashes: Vec<String> = batch.large.iter().map(|large| large.hash.clone()).collect();
    let missing: HashSet<String> = repo.missing_contents(&hashes).await?.into_iter().collect();
    for large in &batch.large {
        if missing.contains(&large.hash) {
            repo.put_content(&large.hash, large.size, ContentBody::File(large.file.clone())).await?;
        }
        // What is uploaded is not needed here any more.
        let _ = std::fs::remove_file(&large.file);
    }
    Ok(())
}

/// The faithful way: a batch in one request, all of it or nothing.
async fn send(repo: &RepoClient, import: &mut Import, batch: &Batch) -> Result<(), Failure> {
    upload_large(repo, batch).await?;
    let commits = batch
        .commits
        .iter()
        .map(|(commit, files)| ImportedCommit {
            author: commit.author(),
            created_at: commit.authored_at,
            message: message_of(commit).to_owned(),
            imported_from: format!("{MARK}{}", commit.id),
            files: files.clone(),
        })
        .collect();
    let request = ImportRequest {
        branch: import.branch.clone(),
        commits,
        expected_head: Some(import.head_sequence),
        override_reason: import.override_reason.clone(),
    };
    let done = repo.import(&request).await.map_err(|error| {
        let failure = Failure::from(error);
        match failure.exit_code() {
            Exit::Auth => failure.hint("an import needs an admin of the repo; --as-commits makes the commits your own"),
            _ => failure.hint("run the same command again to go on where this one stopped"),
        }
    })?;
    import.head_sequence = done.head_sequence;
    Ok(())
}

/// A commit must have a message; git's need not.
fn message_of(commit: &GitCommit) -> &str {
    if commit.message.trim().is_empty() { "(no message)" } else { &commit.message }
}

/// The way of the original contract: one commit after the other, as oneself. Commits without changes are left out.
async fn commit(repo: &RepoClient, import: &Import, batch: &Batch) -> Result<(), Failure> {
    for (commit, files) in batch.commits.iter().filter(|(_, files)| !files.is_empty()) {
        let message = format!("[git-author: {}] {}", commit.email, message_of(commit));
        let request = CommitRequest {
            branch: import.branch.clone(),
            message,
            files: files.clone(),
            expected_head: None,
            override_reason: import.override_reason.clone(),
        };
        repo.commit_as(&request, &import.author).await.map_err(|error| {
            let mut failure = Failure::from(error);
            failure.rename(format!("commit failed for {}: {}", commit.short_id(), failure.message()));
            failure
        })?;
    }
    Ok(())
}

async fn import_squashed(
    session: &mut Session<'_>,
    repo: &RepoClient,
    git: &Repository,
    (head, revision): (&str, &str),
    arguments: &Arguments,
) -> Result<(), Failure> {
    let branch = arguments.branch.as_str();
    let new_server = has_log(repo, branch).await?;
    let limits = if new_server { SQUASHED } else { ONE_COMMIT };
    let mut batches = read_ahead(git, vec![head.to_owned()], git.empty_tree()?, limits, KnownContents::default())?;
    let Some(batch) = batches.recv().await else { return Err(Failure::new("git has no such commit")) };
    let batch = batch?;
    for warning in &batch.warnings {
        session.warn(warning);
    }
    let Some((commit, files)) = batch.commits.first() else { return Err(Failure::new("git has no such commit")) };
    let count = files.len();
    session.say(format!("Collecting files from HEAD... {count} files"));
    if arguments.dry_run {
        return Ok(());
    }
    session.say("Importing as single commit...");
    upload_large(repo, &batch).await?;
    let message = format!("[git-import] Squashed import of {revision} ({count} files, HEAD {})", commit.short_id());
    let request = CommitRequest {
        branch: branch.to_owned(),
        message,
        files: files.clone(),
        expected_head: None,
        override_reason: arguments.override_reason.clone(),
    };
    let author = session.workspace()?.config().author.clone();
    repo.commit_as(&request, &author).await?;
    session.say(format!("Done. 1 commit imported ({count} files)."));
    Ok(())
}
