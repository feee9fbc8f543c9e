use clap::{Args, Subcommand, ValueEnum};
use docstore_client::{IssueQuery, RepoClient};
use docstore_models::{
    CloseIssueRequest, CloseReason, CreateIssueRequest, Issue, IssueComment, IssueRef, IssueState, RefType,
    UpdateIssueRequest,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, cut, printable, printable_lines},
    remote::instead_of_status,
    session::Session,
    words::{self, BodyOptions},
    workspace::Workspace,
};

/// List, open and close issues, and comment on them.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: ListOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List issues, newest first.
    List(ListOptions),
    /// Open an issue.
    Create {
        /// One line that says what it is about.
        #[arg(long)]
        title: String,
        #[command(flatten)]
        body: BodyOptions,
        /// A label; may be given several times.
        #[arg(long = "label", value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// Show an issue with its comments and what it is tied to.
    Show {
        /// Its number.
        number: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Change title, body or labels. Without an option, an editor opens for the body.
    Edit {
        /// Its number.
        number: String,
        /// The new title.
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        body: BodyOptions,
        /// A label, in place of all there are; may be given several times.
        #[arg(long = "label", value_name = "LABEL", conflicts_with = "no_labels")]
        labels: Vec<String>,
        /// Take all labels away.
        #[arg(long)]
        no_labels: bool,
    },
    /// Close an issue.
    Close {
        /// Its number.
        number: String,
        /// Why.
        #[arg(long, value_enum, default_value_t = Reason::Completed)]
        reason: Reason,
    },
    /// Open a closed issue again.
    Reopen {
        /// Its number.
        number: String,
    },
    /// Comment on issues.
    Comment {
        #[command(subcommand)]
        action: CommentAction,
    },
    /// Show what an issue is tied to.
    Refs {
        /// Its number.
        number: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Tie an issue to a proposal or a commit.
    Tie {
        /// Its number.
        number: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum CommentAction {
    /// List the comments on an issue, oldest first.
    List {
        /// The number of the issue.
        number: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Add a comment.
    Add {
        /// The number of the issue.
        number: String,
        #[command(flatten)]
        body: BodyOptions,
    },
    /// Replace the text of a comment.
    Edit {
        /// The number of the issue.
        number: String,
        /// The id of the comment, as `ds issues show` shows it.
        id: String,
        #[command(flatten)]
        body: BodyOptions,
    },
    /// Delete a comment.
    Delete {
        /// The number of the issue.
        number: String,
        /// The id of the comment, as `ds issues show` shows it.
        id: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// The id of a proposal.
    #[arg(long, value_name = "ID")]
    proposal: Option<String>,
    /// The sequence of a commit.
    #[arg(long, value_name = "SEQUENCE")]
    commit: Option<String>,
}

#[derive(Debug, Args)]
struct ListOptions {
    /// Which ones.
    #[arg(long, value_enum, default_value_t = Shown::Open)]
    state: Shown,
    /// Only those that somebody opened.
    #[arg(long, value_name = "IDENTITY")]
    author: Option<String>,
    /// Only those that have this label.
    #[arg(long)]
    label: Option<String>,
    /// Those that are tied to this commit, open or not.
    #[arg(long, value_name = "SEQUENCE", conflicts_with_all = ["state", "author", "label"])]
    commit: Option<i64>,
    #[command(flatten)]
    json: JsonOption,
}

/// An issue with what goes with it, as JSON.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    issue: &'a Issue,
    comments: Vec<IssueComment>,
    refs: Vec<IssueRef>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shown {
    Open,
    Closed,
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reason {
    Completed,
    #[value(name = "not_planned", alias = "not-planned")]
    NotPlanned,
    Duplicate,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    match arguments.action.unwrap_or(Action::List(arguments.list)) {
        Action::List(options) => list(session, &repo, options).await?,
        Action::Create { title, body, labels } => {
            let body = body.given(session)?;
            let created = repo.create_issue(&CreateIssueRequest { title, body, labels }).await?;
            session.say(format!("Created issue #{}", created.number));
        }
        Action::Show { number, json } => {
            let issue = find(&repo, parse(&number)?).await?;
            let (comments, refs) = (repo.issue_comments(issue.number).await?, repo.issue_refs(issue.number).await?);
            let detail = Detail { issue: &issue, comments, refs };
            if json.json {
                return session.print_json(&detail);
            }
            show(session, detail);
        }
        Action::Edit { number, title, body, labels, no_labels } => {
            let number = parse(&number)?;
            let body = body.given(session)?;
            let labels = (no_labels || !labels.is_empty()).then_some(labels);
            let mut request = UpdateIssueRequest { title, body, labels };
            if request == UpdateIssueRequest::default() {
                let before = find(&repo, number).await?.body.unwrap_or_default();
                request.body = words::revised(session, &workspace, &before)?;
            }
            if request == UpdateIssueRequest::default() {
                return Err(
                    Failure::usage("nothing to change").hint("give --title, --body, -F, --label or --no-labels")
                );
            }
            repo.update_issue(number, &request).await.map_err(|error| not_found(error, number))?;
            session.say(format!("Changed issue #{number}"));
        }
        Action::Close { number, reason } => {
            let number = parse(&number)?;
            let reason = match reason {
                Reason::Completed => CloseReason::Completed,
                Reason::NotPlanned => CloseReason::NotPlanned,
                Reason::Duplicate => CloseReason::Duplicate,
            };
            let request = CloseIssueRequest { reason: Some(reason.as_str().to_owned()) };
            repo.close_issue(number, &request).await.map_err(|error| not_found(error, number))?;
            session.say(format!("Closed issue #{number}"));
        }
        Action::Reopen { number } => {
            let number = parse(&number)?;
            repo.reopen_issue(number).await.map_err(|error| not_found(error, number))?;
            session.say(format!("Reopened issue #{number}"));
        }
        Action::Comment { action } => comment(session, &workspace, &repo, action).await?,
        Action::Refs { number, json } => refs(session, &repo, parse(&number)?, json).await?,
        Action::Tie { number, target } => {
            let number = parse(&number)?;
            let (ref_type, id) = match (target.proposal, target.commit) {
                (Some(id), _) => (RefType::Proposal, id),
                (None, commit) => (RefType::Commit, commit.unwrap_or_default()),
            };
            repo.create_issue_ref(number, ref_type, &id).await.map_err(|error| not_found(error, number))?;
            session.say(format!("Tied {} {} to issue #{number}", ref_type.as_str(), printable(&id)));
        }
    }
    Ok(())
}

async fn list(session: &mut Session<'_>, repo: &RepoClient, options: ListOptions) -> Result<(), Failure> {
    let (state, word) = match options.state {
        Shown::Open => (Some(IssueState::Open), "open "),
        Shown::Closed => (Some(IssueState::Closed), "closed "),
        Shown::All => (None, ""),
    };
    let query = IssueQuery {
        state,
        all: state.is_none(),
        author: options.author,
        label: options.label,
        ..IssueQuery::default()
    };
    let issues = match options.commit {
        Some(sequence) => repo.commit_issues(sequence).await.map_err(|error| no_commit(error, sequence))?,
        None => repo.issues(&query).await?,
    };
    if options.json.json {
        return session.print_json(&issues);
    }
    if issues.is_empty() {
        match options.commit {
            Some(sequence) => session.say(format!("No issues for commit {sequence}")),
            None => session.say(format!("No {word}issues")),
        }
        return Ok(());
    }
    let columns = [("NUMBER", 6), ("TITLE", 40), ("AUTHOR", 30), ("STATE", 8), ("CREATED", 0)];
    let mut table = Table::new("  ", &columns);
    for issue in &issues {
        table.row(&[
            &issue.number.to_string(),
            &cut(&issue.title),
            &issue.author,
            issue.state.as_str(),
            &issue.created_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ]);
    }
    session.print_table(&table);
    Ok(())
}

fn show(session: &mut Session<'_>, Detail { issue, comments, refs }: Detail<'_>) {
    session.print(format!("Issue #{}: {}", issue.number, printable(&issue.title)));
    session.print(format!("State:   {}", issue.state.as_str()));
    session.print(format!("Author:  {}", printable(&issue.author)));
    session.print(format!("Created: {}", issue.created_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ")));
    if let Some(closed_at) = issue.closed_at {
        let reason = issue.close_reason.map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
        session.print(format!("Closed:  {}{reason}", closed_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ")));
    }
    if !issue.labels.is_empty() {
        session.print(format!("Labels:  {}", printable(&issue.labels.join(", "))));
    }
    if let Some(body) = &issue.body {
        session.print(format!("\n{}", printable_lines(body)));
    }
    if !comments.is_empty() {
        session.print(format!("\nComments ({}):", comments.len()));
        show_comments(session, &comments);
    }
    if !refs.is_empty() {
        session.print(format!("\nRefs ({}):", refs.len()));
        for one in refs {
            session.print(format!("  {}: {}", one.ref_type.as_str(), printable(&one.ref_id)));
        }
    }
}

fn show_comments(session: &mut Session<'_>, comments: &[IssueComment]) {
    for comment in comments {
        let date = comment.created_at.to_utc().format("%Y-%m-%d");
        let author = printable(&comment.author);
        let body = printable_lines(&comment.body).replace('\n', "\n    ");
        session.print(format!("  [{date}] {author}: {body}"));
        session.print(format!("    id: {}", comment.id));
    }
}

async fn comment(
    session: &mut Session<'_>,
    workspace: &Workspace,
    repo: &RepoClient,
    action: CommentAction,
) -> Result<(), Failure> {
    match action {
        CommentAction::List { number, json } => {
            let number = parse(&number)?;
            let comments = repo.issue_comments(number).await.map_err(|error| not_found(error, number))?;
            if json.json {
                return session.print_json(&comments);
            }
            if comments.is_empty() {
                // Of an issue that is not there, there is an empty list as well.
                find(repo, number).await?;
                session.say(format!("No comments on issue #{number}"));
            }
            show_comments(session, &comments);
        }
        CommentAction::Add { number, body } => {
            let number = parse(&number)?;
            let body = body.written(session, workspace, "")?;
            let created = repo.create_issue_comment(number, &body).await.map_err(|error| not_found(error, number))?;
            session.say(format!("Added comment {}", created.id));
        }
        CommentAction::Edit { number, id, body } => {
            let (number, id) = (parse(&number)?, comment_id(&id)?);
            let comments = repo.issue_comments(number).await?;
            let before = comments.iter().find(|comment| comment.id == id).map(|comment| comment.body.as_str());
            let body = body.written(session, workspace, before.unwrap_or_default())?;
            repo.update_issue_comment(number, id, &body).await.map_err(|error| no_comment(error, number, id))?;
            session.say(format!("Updated comment {id}"));
        }
        CommentAction::Delete { number, id, yes } => {
            let (number, id) = (parse(&number)?, comment_id(&id)?);
            session.confirm(&format!("Delete comment {id} on issue #{number}?"), yes.yes)?;
            repo.delete_issue_comment(number, id).await.map_err(|error| no_comment(error, number, id))?;
            session.say(format!("Deleted comment {id}"));
        }
    }
    Ok(())
}

async fn refs(session: &mut Session<'_>, repo: &RepoClient, number: i64, json: JsonOption) -> Result<(), Failure> {
    let refs = repo.issue_refs(number).await?;
    if json.json {
        return session.print_json(&refs);
    }
    if refs.is_empty() {
        session.say(format!("No refs for issue #{number}"));
        return Ok(());
    }
    let mut table = Table::new("  ", &[("TYPE", 10), ("REF_ID", 36), ("CREATED", 0)]);
    for one in &refs {
        let created = one.created_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        table.row(&[one.ref_type.as_str(), &one.ref_id, &created]);
    }
    session.print_table(&table);
    Ok(())
}

async fn find(repo: &RepoClient, number: i64) -> Result<Issue, Failure> {
    repo.issue(number).await.map_err(|error| not_found(error, number))
}

fn parse(number: &str) -> Result<i64, Failure> {
    number
        .strip_prefix('#')
        .unwrap_or(number)
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| Failure::usage(format!("invalid issue number: {}", printable(number))))
}

fn comment_id(id: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(id).map_err(|_| Failure::usage(format!("'{}' is no id of a comment", printable(id))))
}

fn not_found(error: docstore_client::Error, number: i64) -> Failure {
    instead_of_status(error, 404, || format!("issue #{number} not found"))
}

fn no_commit(error: docstore_client::Error, sequence: i64) -> Failure {
    instead_of_status(error, 404, || format!("commit {sequence} not found"))
}

fn no_comment(error: docstore_client::Error, number: i64, id: Uuid) -> Failure {
    instead_of_status(error, 404, || format!("issue #{number} has no comment {id}"))
}
