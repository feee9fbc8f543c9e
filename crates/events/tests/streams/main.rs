//! Streams against a real database, with real concurrency.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod bounds;
mod filters;
mod order;
mod recovery;
mod support;
