use std::str::FromStr;

use clap::{Args, ValueEnum};
use docstore_client::RepoClient;
use docstore_models::{CreateCommentRequest, MAIN_BRANCH};
use uuid::Uuid;

use crate::{
    Failure,
    cli::YesOption,
    output::printable,
    remote::{find_branch, instead_of_status},
    session::Session,
    words::BodyOptions,
};

/// Comment on a file of a branch, reply, or end a thread.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["path", "reply", "resolve", "reopen", "delete"]))]
pub(crate) struct Arguments {
    /// The file to comment on.
    #[arg(long)]
    path: Option<String>,
    #[command(flatten)]
    body: BodyOptions,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// The lines: one, or the first and the last.
    #[arg(long, value_name = "N[-M]", conflicts_with_all = ["resolve", "reopen", "delete"])]
    lines: Option<Lines>,
    /// Comment on the file as the branch has it, or as main had it.
    #[arg(long, value_enum, default_value = "new")]
    side: Side,
    /// Reply in the thread of this comment.
    #[arg(long, value_name = "ID")]
    reply: Option<Uuid>,
    /// Resolve the thread of this comment.
    #[arg(long, value_name = "ID")]
    resolve: Option<Uuid>,
    /// Open the thread of this comment again.
    #[arg(long, value_name = "ID")]
    reopen: Option<Uuid>,
    /// Delete this comment; replies to it stay.
    #[arg(long, value_name = "ID")]
    delete: Option<Uuid>,
    #[command(flatten)]
    yes: YesOption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    New,
    Old,
}

/// Lines of a file, counted from 1, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) start: i32,
    pub(crate) end: i32,
}

impl FromStr for Lines {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        match (start.parse(), end.parse()) {
            (Ok(start), Ok(end)) if 1 <= start && start <= end => Ok(Self { start, end }),
            _ => Err(format!("'{}' are no lines: expected 3 or 3-7", printable(text))),
        }
    }
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let not_found = |error, id: Uuid| instead_of_status(error, 404, || format!("comment {id} not found"));
    if let Some(id) = arguments.delete {
        session.confirm(&format!("Delete comment {id}?"), arguments.yes.yes)?;
        repo.delete_comment(id).await.map_err(|error| not_found(error, id))?;
        session.say(format!("Deleted comment {id}"));
        return Ok(());
    }
    for (id, resolved) in [(arguments.resolve, true), (arguments.reopen, false)] {
        if let Some(id) = id {
            let first = repo.resolve_comment(id, resolved).await.map_err(|error| not_found(error, id))?;
            let what = if resolved { "Resolved" } else { "Reopened" };
            session.say(format!("{what} the thread on '{}' (id: {})", printable(&first.path), first.id));
            return Ok(());
        }
    }
    let branch = arguments.branch.as_deref().unwrap_or(workspace.branch()).to_owned();
    let body = arguments.body.written(session, &workspace, "")?;
    let mut request = CreateCommentRequest {
        branch: branch.clone(),
        body,
        start_line: arguments.lines.map(|lines| lines.start),
        end_line: arguments.lines.map(|lines| lines.end),
        side: (arguments.side == Side::Old).then(|| "old".to_owned()),
        in_reply_to: arguments.reply.map(|id| id.to_string()),
        ..CreateCommentRequest::default()
    };
    if let Some(path) = &arguments.path {
        let base = match arguments.side {
            Side::New => None,
            Side::Old => Some(find_branch(&repo, &branch).await?.base_sequence),
        };
        request.path = session.workspace_path(&workspace, path)?;
        request.version_id = version_of(&repo, &branch, base, &request.path).await?.to_string();
    }
    let comment = repo.create_comment(&request).await?;
    session.say(format!("Comment created: id={}, sequence={}", comment.id, comment.sequence));
    Ok(())
}

/// The content of a file at the head of a branch, or on `main` at a base. Its history knows, so nothing is downloaded.
pub(crate) async fn version_of(
    repo: &RepoClient,
    branch: &str,
    base: Option<i64>,
    path: &str,
) -> Result<Uuid, Failure> {
    let (branch, before) = match base {
        Some(base) => (MAIN_BRANCH, Some(base.saturating_add(1))),
        None => (branch, None),
    };
    let not_found =
        || Failure::new(format!("file \"{}\" not found on branch \"{}\"", printable(path), printable(branch)));
    let history = match repo.file_history(path, branch, 1, before).await {
        Err(error) if error.status() == Some(404) => return Err(not_found()),
        history => history?,
    };
    let latest = history.first().ok_or_else(not_found)?;
    latest.version_id.ok_or_else(|| {
        Failure::new(format!("file \"{}\" was deleted on branch \"{}\"", printable(path), printable(branch)))
            .hint("comment on it as it was with --side old")
    })
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn lines_are_one_or_from_to() {
        assert_eq!("3".parse(), Ok(Lines { start: 3, end: 3 }));
        assert_eq!("3-7".parse(), Ok(Lines { start: 3, end: 7 }));
        for bad in ["", "0", "7-3", "-3", "3-", "x", "3-4-5"] {
            assert!(bad.parse::<Lines>().is_err(), "{bad}");
        }
    }
}
