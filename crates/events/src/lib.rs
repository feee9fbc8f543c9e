//! The event log at work: giving out positions, reading once per process, feeding every stream from memory.
//!
//! # Theory
//!
//! A change writes its events in its own transaction, without a position. Three loops per process do the rest:
//!
//! - The **sequencer** gives positions to events that are committed, one transaction at a time over all processes
//!   (`docstore_database::event_log` holds the invariant: a reader that has seen position n never misses a lower one).
//!   It is woken by the commits of its own process through [`Wake`], and looks every few seconds for events whose
//!   process died before it got to them. Its transaction is the only one that notifies.
//! - The **reader** reads what comes after the last position it has seen, in pages until there is no more, and appends
//!   it to a ring in memory. The **listener** and the own sequencer tell it when; a slow poll is the guarantee when a
//!   notification was lost.
//! - **Retention** deletes old rows every hour.
//!
//! Streams take from the ring. It keeps, per repo that somebody watches, the events of that repo, so that an event wakes
//! those whom it concerns and an idle stream costs nothing, even when the whole ring has turned over meanwhile. What is
//! older than the ring is replayed from the database in pages. A stream whose reader is slow falls out of the ring and
//! into a replay: it neither grows nor skips.
//!
//! # Limits
//!
//! Bounds are variables in [`VARIABLES`] or named constants beside their use. Positions are as durable as commits: when a
//! database is replaced by an older copy of itself, the servers have to be started again, and positions that clients
//! remember from after the copy mean nothing.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod event;
mod health;
mod hub;
mod loops;
mod observe;
mod reader;
mod request;
mod retention;
mod ring;
mod sequencer;
mod settings;
mod sse;
mod stream;

pub use event::Event;
pub use hub::{EventHub, Filter, Scope, Start, SubscribeError};
pub use loops::Events;
pub use observe::describe_metrics;
pub use request::{BadPosition, parse_start, parse_types};
pub use sequencer::Wake;
pub use settings::{Settings, VARIABLES};
pub use sse::{KEEPALIVE, KEEPALIVE_INTERVAL, SSE_HEADERS, sse_body};
pub use stream::EventStream;
