use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// An org: the owner of repos and the first segment of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Org {
    /// The name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it; `system` for the org that a new database holds.
    pub created_by: String,
}

/// `GET /orgs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgList {
    /// The orgs, by name.
    pub orgs: Vec<Org>,
}

/// Body of `POST /orgs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateOrgRequest {
    /// The name of the new org: one segment.
    pub name: String,
}
