//! Workers as processes: what stops them, what they have, and who waits for whom.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod confinement;
mod endings;
mod fairness;
mod forgetting;
mod support;
