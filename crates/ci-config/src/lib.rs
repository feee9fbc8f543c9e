//! What a repo's `.docstore/ci.yaml` says (contract, ci §5). So far as the server needs it: which checks use which secrets.
//!
//! The file is written by whoever may write to the repo, so reading it is bounded by the parser's budget: aliases, depth and
//! nodes have an end.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod secrets;

pub use secrets::{CheckSecrets, InvalidConfig, SecretUse, check_secrets, is_reserved_secret_name, is_secret_name};

/// Where the file is.
pub const CI_CONFIG_PATH: &str = ".docstore/ci.yaml";
