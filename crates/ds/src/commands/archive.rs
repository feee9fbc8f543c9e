use std::{io::Write, path::Path};

use clap::Args;

use crate::{Failure, failure::About, output::counted, remote::find_branch, session::Session};

/// Write a tree of the server to a tar file.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file to write; standard output with -.
    #[arg(short, long, value_name = "FILE")]
    output: String,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// The sequence; the head by default.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    at: Option<i64>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let branch = arguments.branch.unwrap_or_else(|| workspace.branch().to_owned());
    let repo = session.repo(&workspace)?;
    let at = match arguments.at {
        Some(at) => at,
        None => find_branch(&repo, &branch).await?.head_sequence,
    };
    let mut download = repo.archive(&branch, Some(at)).await?;
    if let Some(count) = download.left_out() {
        session.warn(format!("{} left out: obliterated on the server", counted(count, "file", "files")));
    }
    if arguments.output == "-" {
        while let Some(chunk) = download.chunk().await? {
            session.write_out(&chunk);
            if session.output_is_closed() {
                break;
            }
        }
        return Ok(());
    }
    let path = session.directory().join(&arguments.output);
    let folder = path.parent().unwrap_or(Path::new("."));
    // Half an archive must not look like a whole one.
    let mut file = tempfile::NamedTempFile::new_in(folder).about("create a file in", folder)?;
    while let Some(chunk) = download.chunk().await? {
        file.write_all(&chunk).about("write", &path)?;
    }
    file.persist(&path).map_err(|error| error.error).about("write", &path)?;
    session.say(format!("Wrote '{branch}' at sequence {at} to {}", arguments.output));
    Ok(())
}
