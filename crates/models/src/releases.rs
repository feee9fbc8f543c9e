use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// An immutable name for a sequence of a repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Release {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// The name, such as `v1.2.3`.
    pub name: String,
    /// The sequence that it names.
    pub sequence: i64,
    /// Notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Who created it.
    pub created_by: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// `GET releases`: newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseList {
    /// One page of releases.
    pub releases: Vec<Release>,
}

/// Body of `POST releases`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateReleaseRequest {
    /// The name; anything that is not a plain number.
    pub name: String,
    /// The sequence to name; absent or 0 means the head of `main`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// Notes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}
