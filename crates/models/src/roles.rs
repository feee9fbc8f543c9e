use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Identity;

/// What somebody may do in a repo, weakest first, so that `>=` asks "at least".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Role {
    /// Reads everything but roles.
    Reader,
    /// Commits to branches other than `main`.
    Writer,
    /// Creates, merges and rebases branches, commits to `main`, cuts releases.
    Maintainer,
    /// Grants roles, deletes.
    Admin,
}

impl Role {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "maintainer" => Ok(Self::Maintainer),
            "admin" => Ok(Self::Admin),
            _ => Err("invalid role; must be reader, writer, maintainer, or admin".to_owned()),
        }
    }
}

/// What somebody is in an org.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OrgRole {
    /// Reads the org's repos and creates new ones.
    Member,
    /// Administers the org and all its repos.
    Owner,
}

impl OrgRole {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    /// The repo role that goes with the membership (contract, server §3.4).
    #[must_use]
    pub fn repo_role(self) -> Role {
        match self {
            Self::Member => Role::Reader,
            Self::Owner => Role::Admin,
        }
    }
}

impl FromStr for OrgRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "member" => Ok(Self::Member),
            "owner" => Ok(Self::Owner),
            _ => Err("invalid role; must be 'owner' or 'member'".to_owned()),
        }
    }
}

/// One explicit role in a repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleAssignment {
    /// Who has the role.
    pub identity: Identity,
    /// The role.
    pub role: Role,
}

/// `GET roles`: the explicit roles of a repo, by identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleList {
    /// The rows, ordered bytewise by identity.
    pub roles: Vec<RoleAssignment>,
}

/// Body of `PUT roles/{identity}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRoleRequest {
    /// `reader`, `writer`, `maintainer` or `admin`.
    pub role: String,
}
