use clap::Args;
use docstore_models::ReportCheckRequest;
use serde_json::Value;

use crate::{Failure, session::Session};

/// Say how a check of a commit stands.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The name of the check.
    #[arg(long)]
    name: String,
    /// passed, failed, pending, or not-applicable.
    #[arg(long)]
    status: String,
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// Where the log is.
    #[arg(long, value_name = "URL")]
    log_url: Option<String>,
    /// A commit of the branch; its head by default.
    #[arg(long)]
    sequence: Option<i64>,
    /// Which attempt.
    #[arg(long, value_name = "N")]
    attempt: Option<i16>,
    /// More about the run, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    metadata: Option<Value>,
    /// Why it ended like that; not-applicable needs one.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("it is no object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let status = arguments.status.replace('-', "_");
    if !matches!(status.as_str(), "passed" | "failed" | "pending" | "not_applicable") {
        return Err(Failure::new("status must be 'passed', 'failed' or 'pending'").hint("or 'not-applicable'"));
    }
    let repo = session.repo(&workspace)?;
    let request = ReportCheckRequest {
        branch: arguments.branch.unwrap_or_else(|| workspace.branch().to_owned()),
        check_name: arguments.name.clone(),
        status,
        log_url: arguments.log_url,
        sequence: arguments.sequence,
        attempt: arguments.attempt,
        metadata: arguments.metadata,
        reason: arguments.reason,
    };
    let run = repo.report_check(&request).await?;
    session.say(format!(
        "Check run submitted: {}={} (id: {}, sequence: {})",
        arguments.name, arguments.status, run.id, run.sequence
    ));
    Ok(())
}
