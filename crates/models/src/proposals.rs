use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Where a proposal is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ProposalState {
    /// Waits for its branch to be merged. A branch has at most one of them.
    Open,
    /// Given up; may be opened again.
    Closed,
    /// Its branch was merged; this is the end.
    Merged,
}

impl ProposalState {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Merged => "merged",
        }
    }
}

impl FromStr for ProposalState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            "merged" => Ok(Self::Merged),
            _ => Err("invalid state; must be open, closed, or merged".to_owned()),
        }
    }
}

/// The wish to have a branch merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proposal {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// The branch to merge.
    pub branch: String,
    /// What it is meant for; merges go to `main` all the same.
    pub base_branch: String,
    /// One line.
    pub title: String,
    /// What it is about, in Markdown. `#7` in it ties it to issue 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who opened it.
    pub author: String,
    /// Where it is in its life.
    pub state: ProposalState,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Body of `POST proposals`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateProposalRequest {
    /// The branch to merge.
    pub branch: String,
    /// What it is meant for; absent or empty means `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// One line.
    pub title: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Answer of `POST proposals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateProposalResponse {
    /// The id of the new proposal.
    pub id: Uuid,
}

/// Body of `PATCH proposals/{id}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateProposalRequest {
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new description; an empty one takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
