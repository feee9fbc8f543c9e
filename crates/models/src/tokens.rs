//! API tokens and agents on the wire. All of it is additive.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Action, BranchPattern, Identity, PrincipalKind, Role, Timestamp};

/// What a token may be used for; its rights are those that its owner has at the time, cut by this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenScope {
    /// The kinds of routes.
    pub actions: Vec<Action>,
    /// The repos, by full name; absent for whatever the owner may enter, then and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repos: Option<Vec<String>>,
    /// Only branches that match one of these may be written; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<BranchPattern>>,
}

/// An API token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// The id.
    pub id: Uuid,
    /// What the owner calls it.
    pub name: String,
    /// Whose rights it has.
    pub owner: Identity,
    /// What it may be used for.
    #[serde(flatten)]
    pub scope: TokenScope,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was used last, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// The answer of `POST /tokens`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedToken {
    /// The token, to be sent as a bearer. Told once: absent when a request is repeated under its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The same without the secret.
    pub token: Token,
}

/// Body of `POST /tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateTokenRequest {
    /// What to call it.
    pub name: String,
    /// The actions; `read` when absent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// The repos by full name; absent for all of the owner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repos: Option<Vec<String>>,
    /// Patterns of branches that may be written; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// For how many days; 90 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_days: Option<i64>,
}

/// `GET /tokens`, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<Token>,
}

/// An agent: a program that acts under an identity of its own, on behalf of a person, for some hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Agent {
    /// The id.
    pub id: Uuid,
    /// `agent:<name>/<owner>`.
    pub identity: Identity,
    /// The name.
    pub name: String,
    /// On whose behalf it acts, and whose rights it has.
    pub owner: Identity,
    /// What it may do of that.
    #[serde(flatten)]
    pub scope: TokenScope,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was seen last, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// The answer of `POST /agents`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatedAgent {
    /// The agent's token, to be sent as a bearer. Told once: absent when a request is repeated under its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The agent.
    pub agent: Agent,
}

/// Body of `POST /agents`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateAgentRequest {
    /// Its name among the agents of its owner: lower-case letters, digits and `-`.
    pub name: String,
    /// The actions; `read` when absent. Never `admin` or `secrets`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// The repos by full name; absent for all of the owner's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repos: Option<Vec<String>>,
    /// Patterns of branches that it may write; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// For how many hours; 8 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_hours: Option<i64>,
}

/// `GET /agents`, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentList {
    /// The agents.
    pub agents: Vec<Agent>,
}

/// `GET /whoami`: who the caller is, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whoami {
    /// The identity.
    pub identity: Identity,
    /// How it was proved: `development`, `iap`, `id_token`, `session` or `token`.
    pub via: String,
    /// What it is; a server that does not tell knows only persons.
    #[serde(default = "person")]
    pub kind: PrincipalKind,
    /// The person whose rights it has, if it is an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Identity>,
    /// The token that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<PresentedToken>,
}

fn person() -> PrincipalKind {
    PrincipalKind::Person
}

/// The token of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresentedToken {
    /// Its id.
    pub id: Uuid,
    /// What it may be used for.
    #[serde(flatten)]
    pub scope: TokenScope,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What gives somebody their role in a repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Grant {
    /// A role in the repo.
    Role,
    /// Owning the repo's org.
    OrgOwner,
    /// Being a member of the repo's org.
    OrgMember,
    /// Being the global admin, of a repo that has no admin.
    GlobalAdmin,
}

impl Grant {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::OrgOwner => "org_owner",
            Self::OrgMember => "org_member",
            Self::GlobalAdmin => "global_admin",
        }
    }
}

/// What the caller may do in one repo, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Right {
    /// The full name of the repo.
    pub repo: String,
    /// The role.
    pub role: Role,
    /// What gives it.
    pub granted_by: Grant,
    /// What the token that was sent lets be done of what the role allows; absent without a token, which is for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<Action>>,
    /// The only branches that the token lets be written; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<BranchPattern>>,
}

/// `GET /whoami/rights`: by repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RightList {
    /// The rights.
    pub rights: Vec<Right>,
}
