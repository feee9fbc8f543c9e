use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The longest name of a check, in bytes.
pub const MAX_CHECK_NAME_BYTES: usize = 255;

/// How a check stands, in the three words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckStatus {
    /// Not ended yet.
    Pending,
    /// Ended well.
    Passed,
    /// Ended badly.
    Failed,
}

impl CheckStatus {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a check stands, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CheckState {
    /// Required, and nobody has begun it. To clients of the contract: pending.
    Expected,
    /// Begun.
    Pending,
    /// Ended well.
    Passed,
    /// Ended badly.
    Failed,
    /// Not needed for this commit, for a reason that is given. To clients of the contract: passed.
    NotApplicable,
}

impl CheckState {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Pending => "pending",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotApplicable => "not_applicable",
        }
    }

    /// The same in the words of the contract.
    #[must_use]
    pub fn status(self) -> CheckStatus {
        match self {
            Self::Expected | Self::Pending => CheckStatus::Pending,
            Self::Passed | Self::NotApplicable => CheckStatus::Passed,
            Self::Failed => CheckStatus::Failed,
        }
    }

    /// The state, where [`CheckState::status`] says less.
    #[must_use]
    pub fn beyond_status(self) -> Option<Self> {
        matches!(self, Self::Expected | Self::NotApplicable).then_some(self)
    }
}

impl FromStr for CheckState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "expected" => Ok(Self::Expected),
            "pending" => Ok(Self::Pending),
            "passed" => Ok(Self::Passed),
            "failed" => Ok(Self::Failed),
            "not_applicable" => Ok(Self::NotApplicable),
            _ => Err("invalid status; must be pending, passed, failed, or not_applicable".to_owned()),
        }
    }
}

/// One attempt of a check at a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckRun {
    /// The id; also the paging cursor of the history.
    pub id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub sequence: i64,
    /// The name; also the paging cursor of the latest runs.
    pub check_name: String,
    /// How it stands.
    pub status: CheckStatus,
    /// Who said so last.
    pub reporter: String,
    /// Where its log is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_url: Option<String>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// Which attempt, from 1.
    pub attempt: i16,
    /// What the reporter wants to be kept with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// `expected` (with the status `pending`) or `not_applicable` (with the status `passed`); absent otherwise. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CheckState>,
    /// Why it ended like that. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was last heard of. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// Body of `POST check`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportCheckRequest {
    /// The branch.
    pub branch: String,
    /// The name.
    pub check_name: String,
    /// `pending`, `passed` or `failed`; or, additive, `not_applicable`, which needs a reason.
    pub status: String,
    /// Where the log is; absent keeps what was reported before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_url: Option<String>,
    /// A commit of the branch; absent or 0: its head, and with a request token the commit of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// Which attempt; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i16>,
    /// Anything to be kept with it; absent keeps what was reported before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// Why it ended like that. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer of `POST check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportCheckResponse {
    /// The check run.
    pub id: Uuid,
    /// The commit.
    pub sequence: i64,
    /// As in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_url: Option<String>,
}

/// Body of `POST checks/retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetryChecksRequest {
    /// The branch.
    pub branch: String,
    /// A commit of the branch; absent or 0: its head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// The checks; all that failed when absent or empty.
    pub checks: Option<Vec<String>>,
}

/// Answer of `POST checks/retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetryChecksResponse {
    /// The number of the new attempt.
    pub attempt: i16,
    /// The checks that are tried again: those asked for that failed, by name. Additive.
    #[serde(default)]
    pub checks: Vec<String>,
}

/// A check that every commit to some branches has to have. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequiredCheck {
    /// The name of the check.
    pub check_name: String,
    /// The branches: a name in which `*` stands for any run of characters.
    pub branch_pattern: String,
    /// Who required it.
    pub created_by: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// `GET required-checks`. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequiredCheckList {
    /// By pattern and name.
    pub required_checks: Vec<RequiredCheck>,
}

/// Body of `PUT required-checks`. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequireCheckRequest {
    /// The name of the check.
    pub check_name: String,
    /// The branches; `*`, all of them, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch_pattern: Option<String>,
}
