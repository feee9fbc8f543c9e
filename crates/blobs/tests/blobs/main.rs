//! The store through its public face: one suite on every backend, and what is special about each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod fixtures;
mod gcs;
mod local;
mod metrics;
mod properties;
mod suite;
