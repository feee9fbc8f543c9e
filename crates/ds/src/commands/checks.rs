use clap::{Args, Subcommand};
use docstore_client::CheckQuery;
use docstore_models::CheckState;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, printable},
    remote::{find_branch, instead_of_status},
    session::Session,
};

/// Show how the checks of a branch stand, or say which are required.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// Every attempt, not only the latest of each check.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the checks that commits have to have.
    Required(JsonOption),
    /// Require a check of every commit.
    Require(Requirement),
    /// No longer require a check.
    Release {
        #[command(flatten)]
        requirement: Requirement,
        #[command(flatten)]
        yes: YesOption,
    },
}

#[derive(Debug, Args)]
struct Requirement {
    /// The name of the check.
    name: String,
    /// Only of commits to these branches; * stands for anything.
    #[arg(long, value_name = "PATTERN")]
    branches: Option<String>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        None => list(session, arguments).await,
        Some(action) => requirements(session, action).await,
    }
}

async fn list(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let name = arguments.branch.as_deref().unwrap_or(workspace.branch());
    let query = CheckQuery { history: arguments.all, ..CheckQuery::default() };
    let checks = repo.checks(name, &query).await?;
    if arguments.json.json {
        return session.print_json(&checks);
    }
    if checks.is_empty() {
        session.say(format!("No check runs for branch '{name}'"));
        return Ok(());
    }
    let head = find_branch(&repo, name).await?.head_sequence;
    let columns = [("ID", 8), ("CHECK NAME", 20), ("SEQ", 4), ("STATUS", 10), ("REPORTER", 0)];
    // Lines of their own come between the rows.
    let header = Table::new("  ", &columns);
    session.print_table(&header);
    for check in checks {
        let stale = if check.sequence < head { "  [stale]" } else { "" };
        let id = check.id.to_string();
        let status = match check.state {
            Some(CheckState::Expected) => "expected",
            Some(CheckState::NotApplicable) => "not needed",
            _ => check.status.as_str(),
        };
        let mut row = Table::new("  ", &columns);
        row.row(&[
            id.get(..8).unwrap_or_default(),
            &check.check_name,
            &check.sequence.to_string(),
            status,
            &format!("{}{stale}", check.reporter),
        ]);
        for line in row.lines().iter().skip(1) {
            session.print(line);
        }
        for (what, text) in [("log", &check.log_url), ("reason", &check.reason)] {
            if let Some(text) = text {
                session.print(format!("          {what}: {}", printable(text)));
            }
        }
    }
    Ok(())
}

async fn requirements(session: &mut Session<'_>, action: Action) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    match action {
        Action::Required(json) => {
            let required = repo.required_checks().await?;
            if json.json {
                return session.print_json(&required);
            }
            if required.is_empty() {
                session.say("No required checks");
                return Ok(());
            }
            let mut table = Table::new("  ", &[("CHECK NAME", 20), ("BRANCHES", 20), ("REQUIRED BY", 0)]);
            for check in required {
                table.row(&[&check.check_name, &check.branch_pattern, &check.created_by]);
            }
            session.print_table(&table);
        }
        Action::Require(Requirement { name, branches }) => {
            let required = repo.require_check(&name, branches.as_deref()).await?;
            let (name, branches) = (printable(&required.check_name), printable(&required.branch_pattern));
            session.say(format!("Check '{name}' is required on branches '{branches}'"));
        }
        Action::Release { requirement: Requirement { name, branches }, yes } => {
            let pattern = branches.as_deref().unwrap_or("*");
            session.confirm(&format!("No longer require check '{name}' on branches '{pattern}'?"), yes.yes)?;
            let not_found = || format!("check '{name}' is not required on branches '{pattern}'");
            repo.delete_required_check(&name, branches.as_deref())
                .await
                .map_err(|error| instead_of_status(error, 404, not_found))?;
            session.say(format!("Check '{name}' is no longer required on branches '{pattern}'"));
        }
    }
    Ok(())
}
