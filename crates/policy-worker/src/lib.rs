//! Policies evaluated in processes that can be killed.
//!
//! Policies are programs by people whom nobody here knows. The engine counts their instructions and looks at the clock
//! between them (`docstore_policy`), and that stops nearly everything. It stops nothing *inside* an instruction: comparing
//! two values that share parts can take longer than the universe, and a single value can fill all memory. A thread cannot
//! be stopped from outside, and memory is not counted per thread. A process can, and is.
//!
//! # How
//!
//! A server starts its own executable again as a **worker** ([`is_asked_for`], [`run`]), at most so many at once, and keeps a
//! few of them. They talk JSON over a pair of sockets (`protocol.rs`). A worker keeps what it has compiled, by file and
//! hash of the text, and asks for texts that it does not have; so a policy is compiled once per worker, and a decision
//! costs one question and its answers.
//!
//! Before its first question a worker takes from itself what policies need not have (`confine.rs`): memory above a bound,
//! files, sockets, children, privileges. It was started without environment and without descriptors but for the socket. The
//! processor is granted job by job.
//!
//! [`Evaluator`] kills a worker that is too late, finds out why one ended, and goes on with the next policy in a new one. It
//! always fails closed: a policy that was stopped came to no decision. When the server ends, also by `kill -9`, the sockets
//! close and each worker ends at once. (A death signal from the parent is not asked for: on Linux it comes when the
//! *thread* ends that started the process, and threads of a runtime come and go.)
//!
//! # Fairness
//!
//! A tenant has at most a quarter of the workers at a time, waiting is bounded, and a policy that cost a worker is not run
//! again for half a minute. A worker serves many tenants, one at a time: what keeps them apart in it is the engine, which
//! is memory-safe and starts each evaluation from nothing.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod confine;
mod evaluator;
mod observe;
mod process;
mod protocol;
mod turns;
mod worker;

pub use evaluator::{Bounds, CheckedPolicy, Decided, Document, Evaluator, Failure};
pub use observe::describe_metrics;
pub use process::{Program, is_asked_for};
pub use turns::Tenant;
pub use worker::run;
