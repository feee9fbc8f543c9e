use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{BranchStatus, Timestamp};

/// What is left of a content whose bytes were taken out of a repo for good. Additive, as is all of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Obliteration {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// SHA-256 of the bytes that there were, lower-case hex.
    pub content_hash: String,
    /// Their length.
    pub size: i64,
    /// Why they are gone.
    pub reason: String,
    /// Who took them away.
    pub obliterated_by: String,
    /// When.
    pub obliterated_at: Timestamp,
}

/// `GET obliterations`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObliterationList {
    /// One page of marks.
    pub obliterations: Vec<Obliteration>,
}

/// Body of `POST obliterations`: either a content by its hash, or that of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObliterateRequest {
    /// SHA-256 of the bytes, lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// The file that has the content now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The branch that the file is on; `main` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The sequence at which the file had the content; the head when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Why. Whoever asks for the file is told.
    pub reason: String,
}

/// Answer of `POST obliterations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObliterateResponse {
    /// The mark that is left.
    pub obliteration: Obliteration,
    /// How many changes of files have no bytes any more.
    pub changes: i64,
    /// On how many paths.
    pub paths: i64,
    /// On how many branches, merged and abandoned ones included.
    pub branches: i64,
}

/// One change of a file that has a content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObliterationPlace {
    /// The commit.
    pub sequence: i64,
    /// The path.
    pub path: String,
    /// The branch of the commit.
    pub branch: String,
    /// How the branch stands.
    pub branch_status: BranchStatus,
    /// Whether the file still is so at the head of that branch.
    pub at_head: bool,
    /// The author of the commit.
    pub author: String,
    /// When it was committed.
    pub created_at: Timestamp,
}

/// `GET obliterations/preview`: what obliterating a content would touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObliterationPreview {
    /// SHA-256 of the bytes, lower-case hex: what `POST obliterations` takes.
    pub content_hash: String,
    /// Their length.
    pub size: i64,
    /// The mark, when the bytes are gone already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obliterated: Option<Obliteration>,
    /// How many changes of files have the content.
    pub changes: i64,
    /// On how many paths.
    pub paths: i64,
    /// On how many branches, merged and abandoned ones included.
    pub branches: i64,
    /// One page of the changes, by commit and path.
    pub places: Vec<ObliterationPlace>,
    /// Pass as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}
