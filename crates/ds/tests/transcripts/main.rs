//! `ds` as somebody at a terminal sees it, against a server in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod data_loss;
mod import;
mod integrity;
mod login;
mod policies;
mod rebase;
mod reviews;
mod secrets;
mod subscriptions;
mod support;
mod workspace;
