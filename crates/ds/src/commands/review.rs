use clap::Args;
use docstore_client::RepoClient;
use docstore_models::{CommentDraft, CreateReviewRequest, ErrorCode, ReviewStatus};
use serde::Deserialize;

use super::comment::{Lines, version_of};
use crate::{
    Failure,
    remote::find_branch,
    session::Session,
    words::{self, BodyOptions},
    workspace::Workspace,
};

/// Say yes or no to a branch.
///
/// A review is of the branch as it is in the workspace: if somebody moved it since, nothing is said about what you did not
/// read. For a branch that is not checked out, --at says what you read.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// approved, rejected, or dismissed: what you said before no longer counts.
    #[arg(long)]
    status: String,
    #[command(flatten)]
    body: BodyOptions,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// The sequence that you read.
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "latest")]
    at: Option<i64>,
    /// Review whatever the server has.
    #[arg(long)]
    latest: bool,
    /// Send comments with it: a JSON file, or - for standard input, with a list of objects that have `path`, `body` and, if
    /// you like, `lines` ("3" or "3-7"), `side` ("old" or "new") and `reply` (the id of a comment).
    #[arg(long, value_name = "FILE")]
    comments: Option<String>,
}

/// A comment of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    #[serde(default)]
    path: String,
    body: String,
    lines: Option<String>,
    side: Option<String>,
    reply: Option<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let status: ReviewStatus = arguments
        .status
        .parse()
        .map_err(|_| Failure::new("status must be 'approved' or 'rejected'").hint("or 'dismissed'"))?;
    let drafts = match &arguments.comments {
        Some(file) => read_drafts(&words::read(session, file)?)?,
        None => Vec::new(),
    };
    let body = arguments.body.given(session)?;
    let repo = session.repo(&workspace)?;
    let branch = arguments.branch.as_deref().unwrap_or(workspace.branch()).to_owned();
    let comments = resolve(session, &workspace, &repo, &branch, drafts).await?;
    let request = CreateReviewRequest {
        branch: branch.clone(),
        status: status.as_str().to_owned(),
        body,
        expected_head: match (arguments.latest, arguments.at) {
            (true, _) => None,
            (false, Some(at)) => Some(at),
            (false, None) => (branch == workspace.branch()).then_some(workspace.state().sequence),
        },
        comments,
    };
    let review = repo.create_review(&request).await.map_err(|error| {
        let moved = error.code() == Some(ErrorCode::HeadMoved);
        let failure = Failure::from(error);
        if moved { failure.hint("or review whatever is there with --latest") } else { failure }
    })?;
    session.say(format!("Review submitted: {status} (id: {}, sequence: {})", review.id, review.sequence));
    for id in &review.comment_ids {
        session.say(format!("Comment created: id={id}, sequence={}", review.sequence));
    }
    Ok(())
}

fn read_drafts(text: &str) -> Result<Vec<Draft>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(format!("the comments cannot be read: {error}"))
            .hint(r#"expected [{"path": "src/a.rs", "lines": "3-7", "body": "why?"}, …]"#)
    })
}

/// Finds the contents that comments are about.
async fn resolve(
    session: &mut Session<'_>,
    workspace: &Workspace,
    repo: &RepoClient,
    branch: &str,
    drafts: Vec<Draft>,
) -> Result<Vec<CommentDraft>, Failure> {
    let mut comments = Vec::new();
    let mut base = None;
    for draft in drafts {
        let lines = draft.lines.as_deref().map(str::parse::<Lines>).transpose().map_err(Failure::new)?;
        let mut comment = CommentDraft {
            body: draft.body,
            start_line: lines.map(|lines| lines.start),
            end_line: lines.map(|lines| lines.end),
            side: draft.side,
            in_reply_to: draft.reply,
            ..CommentDraft::default()
        };
        if comment.in_reply_to.is_none() {
            let old = comment.side.as_deref() == Some("old");
            if old && base.is_none() {
                base = Some(find_branch(repo, branch).await?.base_sequence);
            }
            comment.path = session.workspace_path(workspace, &draft.path)?;
            let base = base.filter(|_| old);
            comment.version_id = version_of(repo, branch, base, &comment.path).await?.to_string();
        }
        comments.push(comment);
    }
    Ok(comments)
}
