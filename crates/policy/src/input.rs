//! The document that policies judge by (contract, server §6). Keys after `proposal` are additive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The input document. Missing keys read as empty, so that a test case names only what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    /// Who does it; `auto-merge` when it happens by itself.
    pub actor: String,
    /// The actor's role, as one element; empty when they have none.
    pub actor_roles: Vec<String>,
    /// `merge`; `commit` or `import` when `main` is moved directly.
    pub action: String,
    /// The repo's full name.
    pub repo: String,
    /// The branch; `main` for what moves it directly.
    pub branch: String,
    /// Whether the branch is a draft.
    pub draft: bool,
    /// What the branch changed since its base; null when nothing.
    pub changed_paths: Option<Vec<String>>,
    /// Reviews of the head, newest first.
    pub reviews: Vec<InputReview>,
    /// Check runs of the head, the latest attempt of each.
    pub check_runs: Vec<InputCheckRun>,
    /// The owners of each changed path; null when nobody owns it.
    pub owners: BTreeMap<String, Option<Vec<String>>>,
    /// The head of the branch.
    pub head_sequence: i64,
    /// The head of `main` that the branch starts from.
    pub base_sequence: i64,
    /// The branch's open proposal.
    pub proposal: Option<InputProposal>,
    /// Earlier reviews by people who have not reviewed the head, the latest of each.
    pub carried_reviews: Vec<CarriedReview>,
    /// Who wrote the change: the authors of the branch's commits, also of those that a rebase replayed.
    pub authors: Vec<String>,
    /// Who the commits name as co-authors.
    pub co_authors: Vec<String>,
    /// Who moved the branch last, by a commit or a rebase.
    pub last_pusher: Option<String>,
    /// What the actor is: `person`, `agent`, `job` or `system`.
    pub actor_kind: String,
    /// The person for whom an agent acts, or who asked for the automatic merge.
    pub actor_on_behalf_of: Option<String>,
    /// What the people and agents of this document are, by identity.
    pub principals: BTreeMap<String, InputPrincipal>,
    /// The override that was asked for, if one was.
    pub overrides: Vec<InputOverride>,
}

/// A review of the head; what the reviewer is stands under `principals`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputReview {
    /// Who.
    pub reviewer: String,
    /// `approved`, `rejected` or `dismissed`.
    pub status: String,
    /// The head that it is about.
    pub sequence: i64,
}

/// A review of an earlier head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CarriedReview {
    /// Who.
    pub reviewer: String,
    /// `approved`, `rejected` or `dismissed`.
    pub status: String,
    /// The head that it is about.
    pub sequence: i64,
    /// Whether the change is byte for byte the one that was reviewed.
    pub identical: bool,
    /// Paths of the change that `main` changed between the reviewed base and the present one.
    pub moved_paths: Vec<String>,
}

/// A check run of the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputCheckRun {
    /// Which check.
    pub check_name: String,
    /// `pending`, `passed` or `failed`.
    pub status: String,
    /// The head that it ran on.
    pub sequence: i64,
    /// The same more exactly: also `expected` and `not_applicable`. Additive.
    pub state: String,
    /// Who said so; what that is stands under `principals`. Additive.
    pub reporter: String,
}

/// The open proposal of a branch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputProposal {
    /// Its id.
    pub id: String,
    /// Where it wants to go.
    pub base_branch: String,
    /// Its title.
    pub title: String,
    /// `open`.
    pub state: String,
}

/// What an identity is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputPrincipal {
    /// `person`, `agent`, `job` or `system`.
    pub kind: String,
    /// The person who owns the agent.
    pub on_behalf_of: Option<String>,
    /// The role in the repo as it is now, of an agent that of its owner: `reader` to `admin`, or [`NO_ROLE`]. Absent where it
    /// is not known: in documents of before it was told, and in test cases that are about something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// The role of whoever has none.
pub const NO_ROLE: &str = "none";

/// An override that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InputOverride {
    /// Who asks for it.
    pub actor: String,
    /// Why.
    pub reason: String,
}
