//! What holds under any sequence of operations, any race and any crash: on a real PostgreSQL, through the real server,
//! and for crashes through the real process. A module per subject; one binary, since each links the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unused_must_use,
    reason = "tests stop at the first surprise"
)]

mod auto_merges;
mod crash;
mod damage;
mod events;
mod invariants;
mod memory;
mod model;
mod obliterations;
mod output;
mod policies;
mod process;
mod races;
mod support;
mod webhooks;
