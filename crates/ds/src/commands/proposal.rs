use clap::{Args, Subcommand, ValueEnum};
use docstore_client::{ProposalQuery, RepoClient};
use docstore_models::{CreateProposalRequest, ErrorCode, Issue, Proposal, ProposalState, UpdateProposalRequest};
use serde::Serialize;
use uuid::Uuid;

use super::merge;

use crate::{
    Failure,
    cli::JsonOption,
    output::{Table, cut, printable, printable_lines},
    remote::instead_of_status,
    session::Session,
    words,
};

/// Propose to merge a branch, and list such proposals.
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
    /// Propose to merge a branch.
    Open {
        /// One line that says what it is about.
        #[arg(long)]
        title: String,
        /// The branch to merge; that of the workspace by default.
        #[arg(long)]
        branch: Option<String>,
        /// The branch that it is meant for.
        #[arg(long, default_value = docstore_models::MAIN_BRANCH)]
        base: String,
        #[command(flatten)]
        description: DescriptionOptions,
    },
    /// List proposals, newest first.
    List(ListOptions),
    /// Show a proposal and the issues it is tied to.
    Show {
        /// The id; the open one of the workspace's branch by default.
        id: Option<String>,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Change title or description. Without an option, an editor opens for the description.
    Edit {
        /// The id.
        id: String,
        /// The new title.
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        description: DescriptionOptions,
    },
    /// Merge the branch of a proposal into main, as `ds merge` does.
    Merge {
        /// The id; the open one of the workspace's branch by default.
        id: Option<String>,
        #[command(flatten)]
        options: merge::Options,
    },
    /// Give a proposal up.
    Close {
        /// The id.
        id: String,
    },
    /// Open a closed proposal again.
    Reopen {
        /// The id.
        id: String,
    },
}

#[derive(Debug, Args)]
struct DescriptionOptions {
    /// What it is about, in Markdown; #7 ties it to issue 7.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    description: Option<String>,
    /// Read the description from a file, or from standard input with -.
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<String>,
}

impl DescriptionOptions {
    fn given(self, session: &mut Session<'_>) -> Result<Option<String>, Failure> {
        match self.file {
            Some(file) => words::read(session, &file).map(Some),
            None => Ok(self.description),
        }
    }
}

/// A proposal with what it is tied to, as JSON.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    proposal: &'a Proposal,
    issues: Vec<Issue>,
}

#[derive(Debug, Args)]
struct ListOptions {
    /// Which ones.
    #[arg(long, value_enum, default_value_t = Shown::Open)]
    state: Shown,
    /// Only those of this branch.
    #[arg(long)]
    branch: Option<String>,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shown {
    Open,
    Closed,
    Merged,
    All,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    match arguments.action.unwrap_or(Action::List(arguments.list)) {
        Action::Open { title, branch, base, description } => {
            let branch = branch.unwrap_or_else(|| workspace.branch().to_owned());
            let description = description.given(session)?;
            let request = CreateProposalRequest { branch: branch.clone(), base_branch: Some(base), title, description };
            let opened = repo.create_proposal(&request).await.map_err(|error| {
                let exists = error.code() == Some(ErrorCode::ProposalExists);
                let failure = Failure::from(error);
                if exists { failure.hint(format!("`ds proposal list --branch {branch}` shows it")) } else { failure }
            })?;
            session.say(format!("Proposal opened: {}", opened.id));
        }
        Action::List(options) => list(session, &repo, options).await?,
        Action::Show { id, json } => {
            let proposal = find_or_open(&repo, id.as_deref(), workspace.branch()).await?;
            let issues = repo.proposal_issues(proposal.id).await?;
            let detail = Detail { proposal: &proposal, issues };
            if json.json {
                return session.print_json(&detail);
            }
            show(session, &detail);
        }
        Action::Merge { id, options } => {
            let proposal = find_or_open(&repo, id.as_deref(), workspace.branch()).await?;
            if proposal.state != ProposalState::Open {
                return Err(Failure::conflict(format!("the proposal is {}", proposal.state.as_str())));
            }
            if proposal.base_branch != docstore_models::MAIN_BRANCH {
                let base = printable(&proposal.base_branch).into_owned();
                return Err(Failure::new(format!("it is meant for '{base}', and branches are merged into main only")));
            }
            merge::run(session, merge::Arguments { branch: Some(proposal.branch), options }).await?;
        }
        Action::Edit { id, title, description } => {
            let mut request = UpdateProposalRequest { title, description: description.given(session)? };
            if request == UpdateProposalRequest::default() {
                let before = find(&repo, &id).await?.description.unwrap_or_default();
                request.description = words::revised(session, &workspace, &before)?;
            }
            if request == UpdateProposalRequest::default() {
                return Err(Failure::usage("nothing to change").hint("give --title, --description or -F"));
            }
            repo.update_proposal(parse(&id)?, &request)
                .await
                .map_err(|error| instead_of_status(error, 404, || not_found(&id)))?;
            session.say(format!("Proposal {id} changed"));
        }
        Action::Close { id } => {
            repo.close_proposal(parse(&id)?).await.map_err(|error| instead_of_status(error, 404, || not_found(&id)))?;
            session.say(format!("Proposal {id} closed"));
        }
        Action::Reopen { id } => {
            repo.reopen_proposal(parse(&id)?)
                .await
                .map_err(|error| instead_of_status(error, 404, || not_found(&id)))?;
            session.say(format!("Proposal {id} open again"));
        }
    }
    Ok(())
}

async fn list(session: &mut Session<'_>, repo: &RepoClient, options: ListOptions) -> Result<(), Failure> {
    let (state, word) = match options.state {
        Shown::Open => (Some(ProposalState::Open), "open "),
        Shown::Closed => (Some(ProposalState::Closed), "closed "),
        Shown::Merged => (Some(ProposalState::Merged), "merged "),
        Shown::All => (None, ""),
    };
    let query = ProposalQuery { state, branch: options.branch, ..ProposalQuery::default() };
    let proposals = repo.proposals(&query).await?;
    if options.json.json {
        return session.print_json(&proposals);
    }
    if proposals.is_empty() {
        session.say(format!("No {word}proposals"));
        return Ok(());
    }
    let columns = [("ID", 36), ("BRANCH", 30), ("TITLE", 40), ("AUTHOR", 30), ("STATE", 8), ("CREATED", 0)];
    let mut table = Table::new("  ", &columns);
    for one in &proposals {
        table.row(&[
            &one.id.to_string(),
            &one.branch,
            &cut(&one.title),
            &one.author,
            one.state.as_str(),
            &one.created_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        ]);
    }
    session.print_table(&table);
    Ok(())
}

fn show(session: &mut Session<'_>, Detail { proposal, issues }: &Detail<'_>) {
    session.print(format!("Proposal {}: {}", proposal.id, printable(&proposal.title)));
    session.print(format!("State:   {}", proposal.state.as_str()));
    session.print(format!("Branch:  {} -> {}", printable(&proposal.branch), printable(&proposal.base_branch)));
    session.print(format!("Author:  {}", printable(&proposal.author)));
    session.print(format!("Created: {}", proposal.created_at.to_utc().format("%Y-%m-%dT%H:%M:%SZ")));
    if let Some(description) = &proposal.description {
        session.print(format!("\n{}", printable_lines(description)));
    }
    if !issues.is_empty() {
        session.print(format!("\nIssues ({}):", issues.len()));
        for issue in issues {
            session.print(format!("  #{} {} ({})", issue.number, printable(&issue.title), issue.state.as_str()));
        }
    }
}

/// The proposal of an id, or the open one of a branch.
async fn find_or_open(repo: &RepoClient, id: Option<&str>, branch: &str) -> Result<Proposal, Failure> {
    match id {
        Some(id) => find(repo, id).await,
        None => open_one(repo, branch).await,
    }
}

async fn find(repo: &RepoClient, id: &str) -> Result<Proposal, Failure> {
    repo.proposal(parse(id)?).await.map_err(|error| instead_of_status(error, 404, || not_found(id)))
}

/// The open proposal of a branch.
async fn open_one(repo: &RepoClient, branch: &str) -> Result<Proposal, Failure> {
    let state = Some(ProposalState::Open);
    let query = ProposalQuery { state, branch: Some(branch.to_owned()), ..ProposalQuery::default() };
    repo.proposals(&query).await?.into_iter().next().ok_or_else(|| {
        Failure::new(format!("branch '{}' has no open proposal", printable(branch)))
            .hint("`ds proposal open --title <title>` opens one")
    })
}

fn parse(id: &str) -> Result<Uuid, Failure> {
    Uuid::try_parse(id).map_err(|_| {
        Failure::usage(format!("'{}' is no id of a proposal", printable(id))).hint("`ds proposal list` shows the ids")
    })
}

fn not_found(id: &str) -> String {
    format!("proposal '{}' not found", printable(id))
}
