//! Test cases beside the policies: `review.cases.json` beside `review.rego`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Input, Limits, Policy, PreparedInput};

/// The cases of one policy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Each is judged alone.
    pub cases: Vec<Case>,
}

/// A document, and what the policy shall say about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The document; what it leaves out is empty.
    pub input: Input,
    /// The time that `time.now_ns` tells; 1 January 2000 when left out.
    #[serde(default)]
    pub now: Option<DateTime<Utc>>,
    /// Whether the policy shall allow it.
    pub allow: bool,
    /// The reason that it shall give, if that matters.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A case that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFailure {
    /// The case.
    pub name: String,
    /// What was wrong.
    pub message: String,
}

/// Judges all cases, and tells which came out otherwise.
#[must_use]
pub fn run_cases(policy: &Policy, cases: &[Case], limits: &Limits) -> Vec<CaseFailure> {
    cases.iter().filter_map(|case| judge(policy, case, limits).err()).collect()
}

fn judge(policy: &Policy, case: &Case, limits: &Limits) -> Result<(), CaseFailure> {
    let failure = |message: String| CaseFailure { name: case.name.clone(), message };
    let input = PreparedInput::new(&case.input).map_err(|error| failure(error.to_string()))?;
    let now = case.now.or_else(|| DateTime::from_timestamp(946_684_800, 0)).unwrap_or_default();
    let decision = policy.decide(&input, now, limits).map_err(|error| failure(error.to_string()))?;
    match (case.allow, decision.result.pass) {
        (true, false) => return Err(failure(format!("should be allowed, and is denied: {}", decision.result.reason))),
        (false, true) => return Err(failure("should be denied, and is allowed".to_owned())),
        _ => {}
    }
    match &case.reason {
        Some(reason) if *reason != decision.result.reason => {
            Err(failure(format!("the reason should be `{reason}`, and is `{}`", decision.result.reason)))
        }
        _ => Ok(()),
    }
}
