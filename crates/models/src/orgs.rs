use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Identity, OrgRole, Timestamp};

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

/// Somebody in an org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgMember {
    /// The name of the org.
    pub org: String,
    /// Who it is; also the paging cursor.
    pub identity: Identity,
    /// What they are in it.
    pub role: OrgRole,
    /// Who added or invited them.
    pub invited_by: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// `GET /orgs/{org}/members`: by identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgMemberList {
    /// All, or one page.
    pub members: Vec<OrgMember>,
}

/// Body of `POST /orgs/{org}/members/{identity}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetMemberRequest {
    /// `owner` or `member`.
    pub role: String,
}

/// An invitation into an org. Its token is in no list: the server keeps only a hash of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgInvite {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The name of the org.
    pub org: String,
    /// Whom it is for; compared without regard to case.
    pub email: String,
    /// What it makes of them.
    pub role: OrgRole,
    /// Who invited.
    pub invited_by: String,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
    /// When it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// `GET /orgs/{org}/invites`: those that can be accepted, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrgInviteList {
    /// All, or one page.
    pub invites: Vec<OrgInvite>,
}

/// Body of `POST /orgs/{org}/invites`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateInviteRequest {
    /// Whom to invite.
    pub email: String,
    /// `owner` or `member`.
    pub role: String,
}

/// Answer of `POST /orgs/{org}/invites`: the only time that the token is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateInviteResponse {
    /// The id, for revoking it.
    pub id: Uuid,
    /// What the invited person accepts it with.
    pub token: String,
}

impl fmt::Debug for CreateInviteResponse {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateInviteResponse").field("id", &self.id).finish_non_exhaustive()
    }
}
