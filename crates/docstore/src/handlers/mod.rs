//! The handlers: take the request apart, call one operation, shape the answer. A file per resource.

pub(crate) mod branches;
pub(crate) mod checks;
pub(crate) mod commits;
pub(crate) mod contents;
pub(crate) mod discovery;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod issue_comments;
pub(crate) mod issues;
pub(crate) mod login;
pub(crate) mod merge;
pub(crate) mod obliterations;
pub(crate) mod org_members;
pub(crate) mod orgs;
pub(crate) mod policies;
pub(crate) mod proposals;
pub(crate) mod releases;
pub(crate) mod repos;
pub(crate) mod reviews;
pub(crate) mod roles;
pub(crate) mod secrets;
pub(crate) mod sessions;
pub(crate) mod subscriptions;
pub(crate) mod tokens;
pub(crate) mod tree;
pub(crate) mod whoami;
