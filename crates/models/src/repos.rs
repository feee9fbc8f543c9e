use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Repo {
    /// The full name, such as `acme/team/app`.
    pub name: String,
    /// The org: the first segment of the name.
    pub owner: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
}

/// `GET /repos` and `GET /orgs/{org}/repos`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepoList {
    /// The repos, by name.
    pub repos: Vec<Repo>,
}

/// Body of `POST /repos`. The creator is the authenticated identity, whatever the body says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateRepoRequest {
    /// The org.
    pub owner: String,
    /// The rest of the full name; may have several segments.
    pub name: String,
}

/// Body of `POST purge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PurgeRequest {
    /// The age of the branches to purge, as `<n>d` with n days, n at least 1.
    pub older_than: String,
    /// Count only, change nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Answer of `POST purge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PurgeResponse {
    /// Merged or abandoned branches that went.
    pub branches_purged: i64,
    /// Rows of file changes that went.
    pub file_commits_deleted: i64,
    /// Commits that went.
    pub commits_deleted: i64,
    /// Contents that nothing pointed at any more.
    pub documents_deleted: i64,
    /// Reviews that went with the branches.
    pub reviews_deleted: i64,
    /// Check runs that went with the branches.
    pub check_runs_deleted: i64,
}
