use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::FileChangeRequest;

/// Where a branch is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum BranchStatus {
    /// May be committed to.
    Active,
    /// Merged into `main`; stays readable until it is purged.
    Merged,
    /// Deleted without a merge; stays readable until it is purged.
    Abandoned,
}

impl BranchStatus {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Merged => "merged",
            Self::Abandoned => "abandoned",
        }
    }
}

impl FromStr for BranchStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "active" => Ok(Self::Active),
            "merged" => Ok(Self::Merged),
            "abandoned" => Ok(Self::Abandoned),
            _ => Err("invalid 'status' parameter: must be active, merged, or abandoned".to_owned()),
        }
    }
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Branch {
    /// The full name of the repo.
    pub repo: String,
    /// The name.
    pub name: String,
    /// The last commit; equal to the base when there is none.
    pub head_sequence: i64,
    /// The head of `main` when the branch was created or last rebased; 0 for `main`.
    pub base_sequence: i64,
    /// Where it is in its life.
    pub status: BranchStatus,
    /// A draft cannot be merged.
    pub draft: bool,
    /// Merge by itself as soon as that is allowed.
    pub auto_merge: bool,
}

/// Body of `POST branch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateBranchRequest {
    /// The name; may have several segments.
    pub name: String,
    /// Start as a draft.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
}

/// Answer of `POST branch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateBranchResponse {
    /// The name.
    pub name: String,
    /// The head of `main` that it starts from.
    pub base_sequence: i64,
    /// Whether it is a draft; left out when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
}

/// Body of `PATCH branch/{branch}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateBranchRequest {
    /// The new draft flag; absent means false.
    pub draft: bool,
}

/// Answer of `PATCH branch/{branch}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateBranchResponse {
    /// The name.
    pub name: String,
    /// The draft flag.
    pub draft: bool,
}

/// One changed path of a diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiffEntry {
    /// The path.
    pub path: String,
    /// The content; null when the file was deleted.
    pub version_id: Option<Uuid>,
    /// Whether the content has a media type that is not text; left out when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// Whether the bytes were obliterated: there is nothing to be had. Left out when not. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub obliterated: bool,
}

/// A path that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// The content on `main`, or `""` when deleted there.
    pub main_version_id: String,
    /// The content on the branch, or `""` when deleted there.
    pub branch_version_id: String,
}

/// `GET diff`: what each side changed since the branch's base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diff {
    /// Changed on the branch, by path.
    pub branch_changes: Vec<DiffEntry>,
    /// Changed on `main`, by path.
    pub main_changes: Vec<DiffEntry>,
    /// Changed on both to different results, by path; left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// Body of `POST merge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MergeRequest {
    /// The branch to merge into `main`.
    pub branch: String,
    /// Say what would happen; spend no number, emit no event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The branch head that was reviewed; 409 `HEAD_MOVED` when it has moved since. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_head: Option<i64>,
    /// Why an admin merges against policies that allow that. Additive.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
}

/// Answer of `POST merge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MergeResponse {
    /// The merge commit on `main`; the head of `main` when there was nothing to merge or for a dry run.
    pub sequence: i64,
}

/// Body of `POST rebase`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RebaseRequest {
    /// The branch to rebase onto the head of `main`.
    pub branch: String,
    /// The branch head that the caller saw; 409 `HEAD_MOVED` when it has moved since. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_head: Option<i64>,
    /// What conflicting paths shall be after the rebase; committed on top of the replayed commits. Additive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolutions: Vec<FileChangeRequest>,
    /// The head of `main` that the resolutions were made against; 409 `HEAD_MOVED` when it has moved since.
    /// Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_main_head: Option<i64>,
}

/// Answer of `POST rebase`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RebaseResponse {
    /// The head of `main` that the branch now starts from.
    pub base_sequence: i64,
    /// The last commit of the branch.
    pub head_sequence: i64,
    /// How many commits were replayed, resolutions not counted.
    pub commits_replayed: i64,
}
