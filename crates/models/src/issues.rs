use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Whether an issue is still to be dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum IssueState {
    /// It is.
    Open,
    /// It is not; may be opened again.
    Closed,
}

impl IssueState {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for IssueState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err("invalid state; must be open, closed, or all".to_owned()),
        }
    }
}

/// Why an issue was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CloseReason {
    /// It is done.
    Completed,
    /// It will not be done.
    NotPlanned,
    /// Another issue says the same.
    Duplicate,
}

impl CloseReason {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotPlanned => "not_planned",
            Self::Duplicate => "duplicate",
        }
    }
}

impl FromStr for CloseReason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "completed" => Ok(Self::Completed),
            "not_planned" => Ok(Self::NotPlanned),
            "duplicate" => Ok(Self::Duplicate),
            _ => Err("invalid close reason".to_owned()),
        }
    }
}

/// What an issue can be tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RefType {
    /// A proposal, by its id.
    Proposal,
    /// A commit, by its sequence.
    Commit,
}

impl RefType {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Commit => "commit",
        }
    }
}

impl FromStr for RefType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "proposal" => Ok(Self::Proposal),
            "commit" => Ok(Self::Commit),
            _ => Err("invalid ref_type; must be proposal or commit".to_owned()),
        }
    }
}

/// Something to be dealt with in a repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Issue {
    /// The id.
    pub id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// The number in the repo, from 1 without gaps; also the paging cursor.
    pub number: i64,
    /// One line.
    pub title: String,
    /// What it is about, in Markdown. `proposal:<id>` and `commit:<sequence>` in it tie it to those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Who opened it.
    pub author: String,
    /// Whether it is still to be dealt with.
    pub state: IssueState,
    /// Why it was closed, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_reason: Option<CloseReason>,
    /// Who closed it, while it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<String>,
    /// The labels, in the order in which they were given.
    pub labels: Vec<String>,
    /// When it was closed, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A list of issues: newest first in `GET issues`, else by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueList {
    /// All, or one page.
    pub issues: Vec<Issue>,
}

/// Body of `POST issues`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateIssueRequest {
    /// One line.
    pub title: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Labels; one given twice counts once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Answer of `POST issues`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateIssueResponse {
    /// The id of the new issue.
    pub id: Uuid,
    /// Its number.
    pub number: i64,
}

/// Body of `PATCH issues/{n}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateIssueRequest {
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new body; an empty one takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The new labels, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
}

/// Body of `POST issues/{n}/close`; may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CloseIssueRequest {
    /// `completed`, `not_planned` or `duplicate`; absent or empty means `completed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A comment on an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueComment {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The issue.
    pub issue_id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// The text, in Markdown.
    pub body: String,
    /// Who wrote it.
    pub author: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last edited, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
}

/// `GET issues/{n}/comments`: oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueCommentList {
    /// All, or one page.
    pub comments: Vec<IssueComment>,
}

/// Body of `POST issues/{n}/comments` and `PATCH issues/{n}/comments/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueCommentRequest {
    /// The text.
    pub body: String,
}

/// Answer of `POST issues/{n}/comments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueCommentResponse {
    /// The id of the new comment.
    pub id: Uuid,
}

/// What an issue is tied to. Whether it exists is not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueRef {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The issue.
    pub issue_id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// What kind of thing it is tied to.
    pub ref_type: RefType,
    /// The id of a proposal or the sequence of a commit.
    pub ref_id: String,
    /// When it was tied.
    pub created_at: Timestamp,
}

/// `GET issues/{n}/refs`: oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssueRefList {
    /// All, or one page.
    pub refs: Vec<IssueRef>,
}

/// Body of `POST issues/{n}/refs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddIssueRefRequest {
    /// `proposal` or `commit`.
    pub ref_type: String,
    /// The id of the proposal or the sequence of the commit.
    pub ref_id: String,
}

/// Answer of `POST issues/{n}/refs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AddIssueRefResponse {
    /// The id of the new ref.
    pub id: Uuid,
}
