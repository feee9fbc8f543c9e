//! The vocabulary of DocStore: validated names, roles, and the request and response types of the wire.
//!
//! This crate does no I/O and knows neither HTTP nor SQL, so that the server, the `ds` command line and any
//! other client can share it. Field names and JSON shapes follow the wire contract; what is additive says so.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod audit;
mod branches;
mod checks;
mod errors;
mod event_types;
mod events;
mod files;
mod identity;
mod issues;
mod mode;
mod names;
mod obliterations;
mod orgs;
mod policies;
mod principals;
mod proposals;
mod releases;
mod repos;
mod reviews;
mod roles;
mod scopes;
mod secrets;
mod shell;
mod subscriptions;
mod time;
mod tokens;

pub use audit::*;
pub use branches::*;
pub use checks::*;
pub use errors::*;
pub use event_types::*;
pub use events::*;
pub use files::*;
pub use identity::{Identity, MAX_IDENTITY_BYTES};
pub use issues::*;
pub use mode::FileMode;
pub use names::*;
pub use obliterations::*;
pub use orgs::*;
pub use policies::*;
pub use principals::*;
pub use proposals::*;
pub use releases::*;
pub use repos::*;
pub use reviews::*;
pub use roles::{OrgRole, Role, RoleAssignment, RoleList, SetRoleRequest};
pub use scopes::{Action, BranchPattern};
pub use secrets::*;
pub use shell::*;
pub use subscriptions::*;
pub use time::Timestamp;
pub use tokens::*;

/// The branch that every repo has, that releases are cut from and that merges move.
pub const MAIN_BRANCH: &str = "main";

/// The repo that a new database holds, so that a first client needs no set-up.
pub const DEFAULT_REPO: &str = "default/default";

/// The fewest rows to which the pages of a server can be limited: a page with fewer, of which more were asked for, is the
/// last one.
pub const PAGE_ROWS_LEAST: usize = 100;
