//! The pure rules of history: the hash chain, what two sides changed, and when that conflicts, what
//! a change is and who has a part in it.
//!
//! Nothing here knows HTTP, SQL or files, so that the server, `ds verify` and the property tests share one definition.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod chain;
mod change;
mod merge;

pub use chain::{ChainFault, ChainInput, ChainVerifier, GENESIS, chain_hash};
pub use change::{ChangedFile, change_digest, co_authors};
pub use merge::{Change, ChangedPath, clashing_paths, conflicts_between};
