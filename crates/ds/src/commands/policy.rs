//! Policies: a set to start with, tests beside them, and trying them on what happened.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use docstore_client::VerdictQuery;
use docstore_models::{PolicySource, ReplayRequest, ReplayResponse, VerdictOutcome};
use docstore_policy::{CaseFile, Limits, POLICY_DIRECTORY, Policy, STARTER, is_policy, run_cases};
use serde::Serialize;

use crate::{
    Exit, Failure,
    cli::{JsonOption, YesOption},
    output::{Table, counted, printable},
    session::Session,
    workspace::Workspace,
};

/// Decisions asked for at once.
const PAGE: u32 = 100;

/// Say what may reach main: start with a set of policies, test them, try them on what happened.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write a set of policies to start with, and test cases beside them.
    Init {
        /// Replace files that are there.
        #[arg(long)]
        force: bool,
    },
    /// Compile the policies here and run the test cases beside them. Asks no server.
    ///
    /// The cases of review.rego are in review.cases.json.
    Test {
        /// Only these files.
        files: Vec<PathBuf>,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Try the policies here on past decisions of the server: which would have ended otherwise.
    Replay {
        /// Only these files.
        files: Vec<PathBuf>,
        /// Look at so many decisions at most, newest first.
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        last: u32,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List what policies decided, newest first.
    Verdicts {
        /// Only those about this branch.
        #[arg(long)]
        branch: Option<String>,
        /// Only those that ended so.
        #[arg(long)]
        outcome: Option<Outcome>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        json: JsonOption,
    },
    /// List, set and delete the policies of an org, which judge every repo of it.
    Org(OrgArguments),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outcome {
    Allowed,
    Denied,
    Overridden,
}

impl From<Outcome> for VerdictOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Allowed => Self::Allowed,
            Outcome::Denied => Self::Denied,
            Outcome::Overridden => Self::Overridden,
        }
    }
}

#[derive(Debug, Args)]
struct OrgArguments {
    #[command(subcommand)]
    action: OrgAction,
}

#[derive(Debug, Subcommand)]
enum OrgAction {
    /// List the policies of an org.
    List {
        /// The org.
        org: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Set a policy of an org from a file.
    Set {
        /// The org.
        org: String,
        /// The name of the policy.
        name: String,
        /// The file with the Rego text.
        file: PathBuf,
    },
    /// Delete a policy of an org.
    Delete {
        /// The org.
        org: String,
        /// The name of the policy.
        name: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::Init { force } => init(session, force),
        Action::Test { files, json } => test(session, &files, json),
        Action::Replay { files, last, json } => replay(session, &files, last, json).await,
        Action::Verdicts { branch, outcome, limit, json } => {
            verdicts(session, branch.as_deref(), outcome.map(Into::into), limit, json).await
        }
        Action::Org(arguments) => org(session, arguments.action).await,
    }
}

fn init(session: &mut Session<'_>, force: bool) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let there: Vec<&str> =
        STARTER.iter().map(|file| file.path).filter(|path| workspace.root().join(path).exists()).collect();
    if !force && !there.is_empty() {
        return Err(Failure::new(format!("already there: {}", there.join(", "))).hint("--force replaces them"));
    }
    for file in STARTER {
        let path = workspace.root().join(file.path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, file.text));
        written.map_err(|error| unusable(file.path, &error))?;
        session.print(file.path);
    }
    session.say("Test them with `ds policy test`, then commit them to main");
    Ok(())
}

/// How tests of policies ended, as JSON.
#[derive(Default, Serialize)]
struct TestReport {
    passed: usize,
    failed: Vec<TestFailure>,
}

#[derive(Serialize)]
struct TestFailure {
    /// The policy, or the file with its cases.
    file: String,
    /// The case; none when the policy itself cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<String>,
    message: String,
}

fn test(session: &mut Session<'_>, files: &[PathBuf], json: JsonOption) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let mut report = TestReport::default();
    for PolicySource { file, source } in sources(session, &workspace, files)? {
        let policy = match Policy::compile(&file, &source) {
            Ok(policy) => policy,
            Err(error) => {
                report.failed.push(TestFailure { file, case: None, message: error.to_string() });
                continue;
            }
        };
        let beside = file.strip_suffix(".rego").map(|stem| format!("{stem}.cases.json")).unwrap_or_default();
        let path = workspace.root().join(&beside);
        if !path.exists() {
            session.warn(format!("{file} has no cases; they go into {beside}"));
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| unusable(&beside, &error))?;
        let cases: CaseFile = serde_json::from_str(&text).map_err(|error| unusable(&beside, &error))?;
        let failures = run_cases(&policy, &cases.cases, &Limits::default());
        report.passed += cases.cases.len() - failures.len();
        report.failed.extend(failures.into_iter().map(|failure| TestFailure {
            file: beside.clone(),
            case: Some(failure.name),
            message: failure.message,
        }));
    }
    if json.json {
        session.print_json(&report)?;
    } else {
        for TestFailure { file, case, message } in &report.failed {
            // What cannot be used says itself in which file.
            let place = case.as_ref().map_or_else(String::new, |case| format!("{file}: {}: ", printable(case)));
            session.print(format!("{place}{}", printable(message)));
        }
    }
    let (failed, passed) = (report.failed.len(), report.passed);
    if failed > 0 {
        return Err(Failure::new(format!("{failed} failed, {passed} passed")).exit(Exit::Policy));
    }
    if !json.json {
        session.say(format!("{passed} passed"));
    }
    Ok(())
}

async fn replay(session: &mut Session<'_>, files: &[PathBuf], last: u32, json: JsonOption) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let policies = sources(session, &workspace, files)?;
    let repo = session.repo(&workspace)?;
    let mut whole = ReplayResponse::default();
    loop {
        let left = i64::from(last) - whole.replayed;
        let request =
            ReplayRequest { policies: policies.clone(), limit: Some(left.min(PAGE.into())), after: whole.next };
        let page = repo.replay_policies(&request).await?;
        whole.replayed += page.replayed;
        whole.skipped += page.skipped;
        whole.refused += page.refused;
        whole.allowed += page.allowed;
        whole.changed.extend(page.changed);
        whole.next = page.next;
        if whole.next.is_none() || whole.replayed >= i64::from(last) {
            break;
        }
    }
    if json.json {
        return session.print_json(&whole);
    }
    for changed in &whole.changed {
        let now = if changed.would_pass { "would be allowed" } else { "would be denied" };
        let (branch, actor) = (printable(&changed.branch), printable(&changed.actor));
        let date = changed.created_at.to_utc().format("%Y-%m-%d");
        session.print(format!("{date} {} of {branch} by {actor}: {}, {now}", changed.action, changed.was.as_str()));
        for policy in changed.policies.iter().filter(|policy| !policy.pass) {
            session.print(format!("  {}: {}", printable(&policy.name), printable(&policy.reason)));
        }
    }
    session.say(format!(
        "Of {} {} that went ahead would be denied, {} denied would be allowed",
        counted(whole.replayed, "decision", "decisions"),
        whole.refused,
        counted(whole.allowed, "that was", "that were")
    ));
    if whole.skipped > 0 {
        session.say(format!("Passed over {}, whose documents are not kept", whole.skipped));
    }
    Ok(())
}

async fn verdicts(
    session: &mut Session<'_>,
    branch: Option<&str>,
    outcome: Option<VerdictOutcome>,
    limit: u32,
    json: JsonOption,
) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let verdicts = repo.verdicts(&VerdictQuery { branch, outcome, limit: Some(limit), after: None }).await?;
    if json.json {
        return session.print_json(&verdicts);
    }
    let columns = [("WHEN", 16), ("ACTION", 6), ("BRANCH", 20), ("ACTOR", 24), ("OUTCOME", 10), ("WHY", 0)];
    let mut table = Table::new("  ", &columns);
    for verdict in verdicts {
        let when = verdict.created_at.to_utc().format("%Y-%m-%d %H:%M").to_string();
        let failing = verdict.policies.iter().filter(|policy| !policy.pass && !policy.shadow);
        let reasons: Vec<String> = failing.map(|policy| format!("{}: {}", policy.name, policy.reason)).collect();
        let why = verdict.override_reason.unwrap_or_else(|| reasons.join("; "));
        table.row(&[&when, &verdict.action, &verdict.branch, &verdict.actor, verdict.outcome.as_str(), &why]);
    }
    session.print_table(&table);
    Ok(())
}

async fn org(session: &mut Session<'_>, action: OrgAction) -> Result<(), Failure> {
    let client = session.server()?;
    match action {
        OrgAction::List { org, json } => {
            let policies = client.org_policies(&org).await?;
            if json.json {
                return session.print_json(&policies);
            }
            let mut table = Table::new("  ", &[("NAME", 30), ("SET BY", 24), ("SET AT", 0)]);
            for policy in policies {
                let when = policy.updated_at.to_utc().format("%Y-%m-%d %H:%M").to_string();
                table.row(&[&policy.name, &policy.updated_by, &when]);
            }
            session.print_table(&table);
        }
        OrgAction::Set { org, name, file } => {
            let path = session.directory().join(&file);
            let source = fs::read_to_string(path).map_err(|error| unusable(&file.display().to_string(), &error))?;
            let policy = client.set_org_policy(&org, &name, &source).await?;
            session.say(format!("Policy '{}' judges every repo of {org}", policy.name));
        }
        OrgAction::Delete { org, name, yes } => {
            session.confirm(&format!("Delete policy '{name}' of {org}?"), yes.yes)?;
            client.delete_org_policy(&org, &name).await?;
            session.say(format!("Deleted policy '{name}' of {org}"));
        }
    }
    Ok(())
}

/// The policies of the workspace, or those that were named, by path.
fn sources(session: &Session<'_>, workspace: &Workspace, files: &[PathBuf]) -> Result<Vec<PolicySource>, Failure> {
    let mut paths: Vec<String> = Vec::new();
    for file in files {
        paths.push(session.workspace_path(workspace, &file.display().to_string())?);
    }
    if files.is_empty() {
        find(workspace.root(), Path::new(POLICY_DIRECTORY.trim_end_matches('/')), &mut paths)?;
        paths.sort_unstable();
    }
    if paths.is_empty() {
        return Err(Failure::new(format!("there are no policies in {POLICY_DIRECTORY}"))
            .hint("`ds policy init` writes a set to start with"));
    }
    let read = |file: String| {
        let source = fs::read_to_string(workspace.root().join(&file)).map_err(|error| unusable(&file, &error))?;
        Ok(PolicySource { file, source })
    };
    paths.into_iter().map(read).collect()
}

/// Policies below a directory, by path relative to the root. Links are not followed.
fn find(root: &Path, directory: &Path, found: &mut Vec<String>) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| unusable(&directory.display().to_string(), error);
    let entries = match fs::read_dir(root.join(directory)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed(&error))?;
        let path = directory.join(entry.file_name());
        let kind = entry.file_type().map_err(|error| failed(&error))?;
        if kind.is_dir() {
            find(root, &path, found)?;
        } else if let Some(path) = path.to_str().filter(|path| kind.is_file() && is_policy(path)) {
            found.push(path.to_owned());
        }
    }
    Ok(())
}

fn unusable(file: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{file}: {error}"))
}
