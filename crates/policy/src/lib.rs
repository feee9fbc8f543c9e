//! What may reach `main`: policies in Rego, OWNERS files, and the document that policies judge by.
//!
//! This crate is pure. It reads no files, no database and no clock: whoever calls it hands in the text of a policy, the
//! document and the time, and so the server, `ds policy test` and a replay over old documents all decide alike.
//!
//! # One policy
//!
//! [`Policy::compile`] takes the text of one file. It is refused at this door, with file and line, when it does not
//! parse, is not a package `docstore.<name>`, has no rule `allow`, imports another policy, or calls what would make its
//! answer depend on anything but the document: the network, chance, or the environment. So is what could never work: a
//! rule or function that is not there, a call with the wrong number of arguments, a regular expression that the engine does
//! not take. `time.now_ns` is allowed, and tells the time that the evaluation was given.
//!
//! [`Policy::decide`] runs it. The engine (regorus, hidden behind this crate's types) compiles Rego to a byte code of its
//! own, and counts each instruction: a loop that does not end is stopped by that count, the same on a fast and a slow
//! machine, and a clock stops it if instructions are slow. What could allocate without limit in a single instruction
//! (`replace`, `sprintf`, `numbers.range`, …) goes through `guard.rs`, which looks at the sizes first.
//!
//! What the engine cannot interrupt is what happens inside one instruction: comparing two values that share their parts so
//! often that they are astronomically large when spelled out, squaring a number that fills memory, searching a text of
//! megabytes. Nor does anything stop its parser, which tries nested brackets in all ways. No policy does that by accident.
//! Whoever runs policies of people they do not know does so in a process that can be killed (`docstore-policy-worker`),
//! on a thread with [`STACK_BYTES`] of stack.
//!
//! # The library
//!
//! `import data.docstore.lib` gives each policy the functions of `lib.rego`: who approved, whose approval is missing,
//! which checks failed. They are compiled into each policy that imports them.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod cases;
mod check;
mod decide;
mod door;
mod guard;
mod input;
mod library;
mod owners;
mod patterns;
mod starter;

pub use cases::{Case, CaseFailure, CaseFile, run_cases};
pub use decide::{Decision, EvaluationError, Limits, PreparedInput, STACK_BYTES};
pub use door::{CompileError, POLICY_BYTES_MAX, Policy};
pub use input::{
    CarriedReview, Input, InputCheckRun, InputOverride, InputPrincipal, InputProposal, InputReview, NO_ROLE,
};
pub use owners::{OWNERS_FILE, OwnersTree, is_owners_file, owners_candidates, parse_owners};
pub use starter::{STARTER, StarterFile};

/// Where policies are on `main`.
pub const POLICY_DIRECTORY: &str = ".docstore/policy/";

/// Where policies are that are only tried out.
pub const SHADOW_DIRECTORY: &str = ".docstore/policy/shadow/";

/// Whether a path is one of a policy.
#[must_use]
pub fn is_policy(path: &str) -> bool {
    path.strip_prefix(POLICY_DIRECTORY).is_some_and(|rest| rest.ends_with(".rego"))
}
