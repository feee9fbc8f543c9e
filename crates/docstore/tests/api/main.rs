//! The API through its real socket, on a real PostgreSQL; a module per subject. One binary, since each links the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unused_must_use,
    reason = "tests stop at the first surprise"
)]

mod access;
mod agent_context;
mod agents;
mod archives;
mod audit;
mod auto_merges;
mod bad_input;
mod branches;
mod checks;
mod clients;
mod commits;
mod decisions;
mod deletion;
mod deliveries;
mod documents;
mod events;
mod files;
mod issues;
mod limits;
mod logins;
mod merges;
mod obliterations;
mod openapi;
mod org_members;
mod orgs;
mod overrides;
mod owners;
mod policies;
mod proposals;
mod purges;
mod releases;
mod repos;
mod reviews;
mod roles;
mod secrets;
mod subscriptions;
mod support;
mod terminals;
mod tokens;
mod trees;
mod version_control;
mod webhooks;
