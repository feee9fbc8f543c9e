//! The pool, the migrations and every query of DocStore.
//!
//! All SQL is here, one named function per query, a file per subject. Functions take an executor, so that operations
//! can put several into one transaction; none of them opens a transaction or decides who may do what.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod connections;
mod error;
mod pool;

pub mod access;
pub mod agents;
pub mod append;
pub mod archives;
pub mod auto_merge;
pub mod branch_changes;
pub mod branches;
pub mod checks;
pub mod commits;
pub mod contents;
pub mod counts;
pub mod deliveries;
pub mod delivery_turns;
pub mod event_log;
pub mod idempotency;
pub mod issue_comments;
pub mod issue_refs;
pub mod issues;
pub mod jobs;
pub mod lists;
pub mod obliterations;
pub mod org_invites;
pub mod org_members;
pub mod orgs;
pub mod outbox;
pub mod policies;
pub mod proposals;
pub mod purge;
pub mod releases;
pub mod repos;
pub mod required_checks;
pub mod review_comments;
pub mod review_facts;
pub mod reviews;
pub mod roles;
pub mod secrets;
pub mod sessions;
pub mod signing_secrets;
pub mod subscriptions;
#[cfg(feature = "test-support")]
pub mod testing;
pub mod tokens;
pub mod trees;
pub mod verdicts;

pub use connections::{Connection, Pool, Transaction, begin, begin_snapshot, commit};
pub use error::{CommitError, Error, Result};
pub use pool::{MigrateError, Settings, VARIABLES, connect, migrate, migrator, ping};
