//! The API through its real socket, on a real PostgreSQL; a module per subject. One binary, since each links the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unused_must_use,
    reason = "tests stop at the first surprise"
)]

mod access;
mod bad_input;
mod documents;
mod openapi;
mod support;
mod version_control;
