//! Secrets of repos (contract, server §4.13). People write them; only jobs read them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{BranchPattern, Timestamp};

/// What is told of a secret. Never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretMetadata {
    /// The id; stays when the value changes.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The length of the value.
    pub size_bytes: i32,
    /// Only for jobs of branches that one of these patterns matches. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<BranchPattern>>,
    /// Only for these checks. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<String>>,
    /// Who set it first.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Who changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// When a job read it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// `GET secrets`: by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretList {
    /// One page, or all.
    pub secrets: Vec<SecretMetadata>,
}

/// Text that is wiped from memory when it is dropped, and does not print.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct SecretText(String);

impl SecretText {
    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// Body of `PUT secrets/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetSecretRequest {
    /// The value.
    #[serde(skip_serializing_if = "SecretText::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub value: SecretText,
    /// The value in standard base64, if it is no text. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub value_base64: Option<SecretText>,
    /// What it is for; `""` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only for jobs of branches that one of these patterns matches. Absent: as before, and of all branches when it is new;
    /// `["*"]`: of all. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branches: Option<Vec<String>>,
    /// Only for these checks. Absent: as before, and for all when it is new; `["*"]`: for all. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<String>>,
}

/// Body of `POST secrets/reveal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevealRequest {
    /// The names.
    pub names: Vec<String>,
    /// The check that will use them; absent when it is for all checks of the job. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// What `POST secrets/reveal` answers. It is wiped from memory when it is dropped, and does not print.
#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevealResponse {
    /// Values in standard base64, by name.
    pub values: BTreeMap<String, String>,
    /// Names that the repo does not have, and those that are withheld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Why names that the repo has are withheld from this job. Additive.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub withheld: BTreeMap<String, String>,
}

impl Drop for RevealResponse {
    fn drop(&mut self) {
        self.values.values_mut().for_each(Zeroize::zeroize);
    }
}

impl fmt::Debug for RevealResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevealResponse").field("missing", &self.missing).finish_non_exhaustive()
    }
}

/// Body of `POST /secrets/rewrap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RewrapRequest {
    /// The `next_after` of the answer before; absent to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
}

/// What `POST /secrets/rewrap` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RewrapResult {
    /// How many secrets were encrypted anew.
    pub rewrapped: i64,
    /// Secrets that no key opens: by repo and name, or `subscription` and its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// Where to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<Uuid>,
}
