use std::collections::HashMap;

use clap::Args;
use docstore_models::ReviewComment;
use uuid::Uuid;

use crate::{
    Failure,
    cli::JsonOption,
    output::{Table, first_line},
    session::Session,
};

/// List the comments on a branch, thread by thread.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those on this file.
    #[arg(long)]
    path: Option<String>,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// Only threads that are not resolved.
    #[arg(long)]
    unresolved: bool,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let branch = arguments.branch.as_deref().unwrap_or(workspace.branch());
    let path = arguments.path.as_deref().map(|path| session.workspace_path(&workspace, path)).transpose()?;
    let comments = by_thread(repo.comments(branch, path.as_deref()).await?, arguments.unresolved);
    if arguments.json.json {
        return session.print_json(&comments);
    }
    if comments.is_empty() {
        session.say(format!("No comments for branch '{branch}'"));
        return Ok(());
    }
    let columns = [("ID", 36), ("PATH", 40), ("SEQ", 4), ("AUTHOR", 20), ("BODY", 0)];
    let mut table = Table::new("  ", &columns);
    for comment in &comments {
        let mark = if comment.resolved_at.is_some() { "  [resolved]" } else { "" };
        let indent = if comment.in_reply_to.is_some() { "  " } else { "" };
        table.row(&[
            &comment.id.to_string(),
            &place(comment),
            &comment.sequence.to_string(),
            &comment.author,
            &format!("{indent}{}{mark}", first_line(&comment.body)),
        ]);
    }
    session.print_table(&table);
    Ok(())
}

/// The file and the lines that a comment is about.
fn place(comment: &ReviewComment) -> String {
    match (comment.start_line, comment.end_line) {
        (Some(start), Some(end)) if start != end => format!("{}:{start}-{end}", comment.path),
        (Some(start), _) => format!("{}:{start}", comment.path),
        _ => comment.path.clone(),
    }
}

/// Each thread in one piece, the oldest first.
fn by_thread(comments: Vec<ReviewComment>, unresolved: bool) -> Vec<ReviewComment> {
    let mut replies: HashMap<Uuid, Vec<ReviewComment>> = HashMap::new();
    let mut firsts = Vec::new();
    for comment in comments {
        match comment.in_reply_to {
            Some(thread) => replies.entry(thread).or_default().push(comment),
            None => firsts.push(comment),
        }
    }
    let mut threads = Vec::new();
    for first in firsts {
        let rest = replies.remove(&first.id).unwrap_or_default();
        if !(unresolved && first.resolved_at.is_some()) {
            threads.push(first);
            threads.extend(rest);
        }
    }
    threads
}
