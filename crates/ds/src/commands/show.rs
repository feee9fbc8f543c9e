use clap::Args;
use docstore_client::{Download, RepoClient, TreeQuery};

use crate::{
    Failure,
    cli::JsonOption,
    output::{printable, printable_lines},
    remote::instead_of_status,
    session::Session,
};

/// Show one commit, or a file as it was at one.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The sequence of the commit.
    sequence: i64,
    /// Print this file as it was at the commit.
    #[arg(conflicts_with = "json")]
    path: Option<String>,
    /// Show what the commit changed, line by line.
    #[arg(short, long, conflicts_with_all = ["path", "json"])]
    patch: bool,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let sequence = arguments.sequence;
    if let Some(typed) = &arguments.path {
        let path = session.workspace_path(&workspace, typed)?;
        let mut download = open_file(&repo, workspace.branch(), &path, sequence).await?;
        let mut last = None;
        while let Some(chunk) = download.chunk().await? {
            session.write_out(&chunk);
            last = chunk.last().copied().or(last);
            if session.output_is_closed() {
                return Ok(());
            }
        }
        // Only for the eyes: redirected, the bytes are those of the file.
        if session.context.terminals.stdout && last.is_some_and(|byte| byte != b'\n') {
            session.write_out(b"\n");
        }
        return Ok(());
    }
    let commit = repo
        .commit_detail(sequence)
        .await
        .map_err(|error| instead_of_status(error, 404, || format!("commit {sequence} not found")))?;
    if arguments.json.json {
        return session.print_json(&commit);
    }
    session.print(format!("commit {}", commit.sequence));
    session.print(format!("branch:  {}", printable(&commit.branch)));
    session.print(format!("author:  {}", printable(&commit.author)));
    session.print(format!("date:    {}", commit.created_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ")));
    session.print(format!("message: {}", printable_lines(&commit.message)));
    if let Some(origin) = &commit.imported_from {
        session.print(format!("imported from: {}", printable(origin)));
    }
    session.print("");
    if arguments.patch {
        let paths: Vec<String> = commit.files.iter().map(|file| file.path.clone()).collect();
        let side = |sequence| super::diff::Side::Server { branch: commit.branch.clone(), sequence };
        return super::diff::print_patch(
            session,
            &workspace,
            &repo,
            &paths,
            (&side(sequence - 1), &side(sequence)),
            false,
        )
        .await;
    }
    session.print("Files:");
    for file in &commit.files {
        let what = if file.version_id.is_some() { "changed" } else { "deleted" };
        session.print(format!("  {}  ({what})", printable(&file.path)));
    }
    Ok(())
}

/// The file on the branch that is checked out or, when the commit is another branch's, there.
async fn open_file(repo: &RepoClient, branch: &str, path: &str, sequence: i64) -> Result<Download, Failure> {
    let not_found = || format!("file \"{}\" not found at sequence {sequence}", printable(path));
    let error = match repo.file_raw(path, &TreeQuery::of_branch(branch).at_sequence(sequence)).await {
        Ok(download) => return Ok(download),
        Err(error) => error,
    };
    if error.status() == Some(404)
        && let Ok(commit) = repo.commit_detail(sequence).await
        && commit.branch != branch
    {
        let query = TreeQuery::of_branch(commit.branch).at_sequence(sequence);
        return repo.file_raw(path, &query).await.map_err(|error| instead_of_status(error, 404, not_found));
    }
    Err(instead_of_status(error, 404, not_found))
}
