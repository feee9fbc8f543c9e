//! Policies: their verdicts, and what is missing for a merge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Branch, ChainEntry, CheckRun, Diff, Issue, Proposal, Review, Timestamp};

/// What one policy says about a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PolicyResult {
    /// The last segment of the policy's package.
    pub name: String,
    /// Whether it allows the change.
    #[serde(default)]
    pub pass: bool,
    /// Why not; `""` when it passes.
    #[serde(default)]
    pub reason: String,
    /// The policy's file on `main`. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// It belongs to the org, so the repo cannot change it. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub org: bool,
    /// It is only tried out: it refuses nothing. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// An admin may merge against it, with a reason. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overridable: bool,
}

/// What kind of thing is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RequirementKind {
    /// The branch is merged or abandoned.
    Status,
    /// The branch is a draft.
    Draft,
    /// The caller's role is too low.
    Role,
    /// Branch and `main` changed the same paths.
    Conflict,
    /// A policy says no.
    Policy,
    /// A check failed or has not reported.
    Check,
    /// A review is missing, stale or against it.
    Review,
    /// A kind that this build does not know.
    #[serde(other)]
    Unknown,
}

/// One thing that stands between a branch and `main`, who can do something about it, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Requirement {
    /// What kind of thing it is.
    pub kind: RequirementKind,
    /// What is missing, as a sentence.
    pub what: String,
    /// Who can do something about it: identities, or `role:<role>` for everyone with at least that role. Empty when it
    /// is not known.
    pub who: Vec<String>,
    /// The command to type, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The policy that asks for it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// `GET branch/{branch}/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MergeStatus {
    /// Whether every policy passes for the caller.
    pub mergeable: bool,
    /// What each policy says, passing ones included.
    pub policies: Vec<PolicyResult>,
    /// Whether the branch merges by itself as soon as that is allowed.
    pub auto_merge: bool,
}

/// `GET branch/{branch}/why`: why the caller cannot merge the branch, and what to do about it. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// The branch.
    pub branch: String,
    /// Its head, which the answer is about.
    pub head_sequence: i64,
    /// Whether a merge by the caller would happen now.
    pub mergeable: bool,
    /// What is missing; empty when it is mergeable.
    pub requirements: Vec<Requirement>,
    /// What each policy says, passing ones and those in shadow included.
    pub policies: Vec<PolicyResult>,
    /// Why the branch does not merge by itself though it shall: what the policies said of this head when it was last looked
    /// at. They may ask more of an automatic merge than of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Verdict>,
}

/// How a verdict ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum VerdictOutcome {
    /// Every policy passed.
    Allowed,
    /// A policy refused it.
    Denied,
    /// A policy refused it, and an admin went ahead with a reason.
    Overridden,
}

impl VerdictOutcome {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Overridden => "overridden",
        }
    }
}

impl std::str::FromStr for VerdictOutcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "allowed" => Ok(Self::Allowed),
            "denied" => Ok(Self::Denied),
            "overridden" => Ok(Self::Overridden),
            _ => Err("invalid 'outcome' parameter: must be allowed, denied, or overridden".to_owned()),
        }
    }
}

/// What the policies said when something was about to move `main`. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// `merge`, `commit` or `import`.
    pub action: String,
    /// The branch that it was about.
    pub branch: String,
    /// Who tried.
    pub actor: String,
    /// On whose behalf, for automatic merges and agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// How it ended.
    pub outcome: VerdictOutcome,
    /// The head of the branch that was judged.
    pub head_sequence: i64,
    /// The commit on `main` that came of it; none when it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// Why an admin went ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
    /// What each policy said.
    pub policies: Vec<PolicyResult>,
    /// When.
    pub created_at: Timestamp,
}

/// `GET policies/verdicts`: newest first. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VerdictList {
    /// One page.
    pub verdicts: Vec<Verdict>,
}

/// A policy as text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PolicySource {
    /// Where it is or would be, for messages; a name that ends in `.rego`.
    pub file: String,
    /// The Rego text.
    pub source: String,
}

/// Body of `POST policies/replay`: policies to run over the stored inputs of past decisions. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplayRequest {
    /// The policies to try.
    pub policies: Vec<PolicySource>,
    /// How many past decisions at most, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Only decisions before this one: the cursor of the previous answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
}

/// A past decision as the policies of a replay see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplayedVerdict {
    /// The id of the stored verdict.
    pub id: Uuid,
    /// `merge`, `commit` or `import`.
    pub action: String,
    /// The branch that it was about.
    pub branch: String,
    /// Who tried.
    pub actor: String,
    /// How it ended then.
    pub was: VerdictOutcome,
    /// Whether the policies of the replay would have allowed it.
    pub would_pass: bool,
    /// What each of them says.
    pub policies: Vec<PolicyResult>,
    /// When it was decided.
    pub created_at: Timestamp,
}

/// Answer of `POST policies/replay`. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReplayResponse {
    /// How many decisions were looked at.
    pub replayed: i64,
    /// How many were passed over because their documents are not kept: they were too large, or held what was obliterated.
    #[serde(default)]
    pub skipped: i64,
    /// How many that were carried out then would be refused now.
    pub refused: i64,
    /// How many that were refused then would be allowed now.
    pub allowed: i64,
    /// Those whose outcome would be another.
    pub changed: Vec<ReplayedVerdict>,
    /// Pass it as `after` to go on; absent when there is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
}

/// A policy of an org: it judges every repo of the org, and no repo can change it. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgPolicy {
    /// The name, by which it is set and deleted.
    pub name: String,
    /// The Rego text.
    pub source: String,
    /// Who set it last.
    pub updated_by: String,
    /// When.
    pub updated_at: Timestamp,
}

/// `GET orgs/{org}/policies`, by name. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgPolicyList {
    /// All policies of the org.
    pub policies: Vec<OrgPolicy>,
}

/// Body of `PUT orgs/{org}/policies/{name}`. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetOrgPolicyRequest {
    /// The Rego text.
    pub source: String,
}

/// `GET branch/{branch}/agent-context`: everything about a branch at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentContext {
    /// The branch.
    pub branch: Branch,
    /// What it and `main` changed.
    pub diff: Diff,
    /// The reviews of its head, newest first.
    pub reviews: Vec<Review>,
    /// The latest attempts of the checks at its head, by name.
    pub check_runs: Vec<CheckRun>,
    /// Its open proposals.
    pub proposals: Vec<Proposal>,
    /// Issues that refer to the first of them.
    pub linked_issues: Vec<Issue>,
    /// The owners of each changed path; null when nobody owns it. Empty while there are no policies.
    pub file_ownership: BTreeMap<String, Option<Vec<String>>>,
    /// Its commits, as far as they are among the last fifty numbers.
    pub recent_commits: Vec<ChainEntry>,
    /// What each policy says, passing ones included.
    pub policies: Vec<PolicyResult>,
    /// Whether every policy passes for the caller.
    pub mergeable: bool,
    /// What stands between the branch and `main`, who can do something about it, and how. Additive.
    pub requirements: Vec<Requirement>,
}
