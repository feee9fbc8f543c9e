use clap::Args;
use docstore_client::RepoClient;
use docstore_models::{CommitSummary, FileHistoryEntry, Timestamp};

use crate::{
    Failure,
    cli::JsonOption,
    integrity::CHAIN_PAGE,
    output::{first_line, printable, printable_lines},
    remote::find_branch,
    session::Session,
};

/// Commits asked for at once.
const PAGE: u32 = 500;

/// Show the commits of the branch, or of one file, newest first.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only commits that changed this file.
    path: Option<String>,
    /// How many to show.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// Go on with the commits of main that the branch starts from.
    #[arg(long, conflicts_with = "path")]
    all: bool,
    /// Show whole messages.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = arguments.branch.unwrap_or_else(|| workspace.branch().to_owned());
    let repo = session.repo(&workspace)?;
    if let Some(typed) = &arguments.path {
        let path = session.workspace_path(&workspace, typed)?;
        let entries = file_history(&repo, &path, &branch, arguments.limit).await?;
        if arguments.json.json {
            return session.print_json(&entries);
        }
        if entries.is_empty() {
            session.say(format!("No history for '{}' on branch '{branch}'", printable(&path)));
        }
        for entry in entries {
            print_line(session, entry.sequence, &entry.author, entry.created_at, &entry.message, arguments.full);
        }
        return Ok(());
    }
    let commits = newest(&repo, &branch, arguments.limit, arguments.all).await?;
    if arguments.json.json {
        return session.print_json(&commits);
    }
    if commits.is_empty() {
        session.say(format!("No commits on branch '{branch}'"));
    }
    for commit in commits {
        print_line(session, commit.sequence, &commit.author, commit.created_at, &commit.message, arguments.full);
    }
    Ok(())
}

fn print_line(session: &mut Session<'_>, sequence: i64, author: &str, at: Timestamp, message: &str, full: bool) {
    let date = at.to_utc().format("%Y-%m-%d");
    let author = printable(author);
    if full {
        session.print(format!("seq {sequence:<4}  {author:<12}  {date}"));
        for line in printable_lines(message).lines() {
            session.print(format!("    {line}"));
        }
    } else {
        session.print(format!("seq {sequence:<4}  {author:<12}  {date}  {}", first_line(message)));
    }
}

async fn file_history(
    repo: &RepoClient,
    path: &str,
    branch: &str,
    limit: u32,
) -> Result<Vec<FileHistoryEntry>, Failure> {
    let mut entries: Vec<FileHistoryEntry> = Vec::new();
    loop {
        let left = limit - u32::try_from(entries.len()).unwrap_or(limit);
        let after = entries.last().map(|entry| entry.sequence);
        let page = repo.file_history(path, branch, left.min(PAGE), after).await?;
        // A page with fewer than asked for need not be the last one: its messages may be long.
        let ended = page.is_empty();
        entries.extend(page);
        if ended || entries.len() >= limit as usize {
            return Ok(entries);
        }
    }
}

/// The newest commits of a branch: from the endpoint for that, or from the chain of a server that has none.
async fn newest(repo: &RepoClient, branch: &str, limit: u32, all: bool) -> Result<Vec<CommitSummary>, Failure> {
    let mut commits: Vec<CommitSummary> = Vec::new();
    let mut before = None;
    while commits.len() < limit as usize {
        let left = limit - u32::try_from(commits.len()).unwrap_or(limit);
        let page = match repo.commits(branch, left.min(PAGE), before).await {
            Ok(page) => page,
            Err(error) if error.is_missing_endpoint() && before.is_none() => {
                return from_chain(repo, branch, limit).await;
            }
            Err(error) if error.status() == Some(404) => {
                find_branch(repo, branch).await?;
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let count = page.commits.len();
        let own = page.commits.into_iter().filter(|commit| all || commit.branch == branch);
        let before_page = commits.len();
        commits.extend(own);
        before = page.next_before;
        // Below the base there is nothing of the branch any more.
        if before.is_none() || commits.len() - before_page < count {
            break;
        }
    }
    commits.truncate(limit as usize);
    Ok(commits)
}

/// Walks the chain backwards in windows, since a server of old answers a range with everything in it.
async fn from_chain(repo: &RepoClient, branch: &str, limit: u32) -> Result<Vec<CommitSummary>, Failure> {
    let found = find_branch(repo, branch).await?;
    let mut commits = Vec::new();
    let mut to = found.head_sequence;
    while to > found.base_sequence && commits.len() < limit as usize {
        let from = (to - i64::from(CHAIN_PAGE) + 1).max(found.base_sequence + 1);
        let entries = repo.chain(from, to, Some(branch), Some(CHAIN_PAGE)).await?;
        commits.extend(entries.into_iter().rev().filter(|entry| entry.branch == branch).map(|entry| CommitSummary {
            sequence: entry.sequence,
            branch: entry.branch,
            message: entry.message,
            author: entry.author,
            created_at: entry.created_at,
            commit_hash: entry.commit_hash,
            file_count: i64::try_from(entry.files.len()).unwrap_or(i64::MAX),
            imported_from: None,
        }));
        to = from - 1;
    }
    commits.truncate(limit as usize);
    Ok(commits)
}
