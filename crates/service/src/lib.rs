//! What every service shares: the server loop, limits, logs, metrics, traces and shutdown.
//!
//! A binary reads [`Settings`], starts [`telemetry`], builds its router, wraps it in [`observe`] and hands it to
//! [`serve`] with a [`Shutdown`]. Between the socket and the router stands, for each connection:
//!
//! - a slot under the connection caps ([`Limits::max_connections`], [`Limits::max_connections_per_peer`]);
//! - a byte stream that lets through only what RFC 9112 allows, and that has a deadline for each thing a client can be
//!   slow at: sending a head, sending a body, reading an answer, saying nothing at all;
//! - hyper, which speaks HTTP/1.1 over that stream.
//!
//! Deliberately absent: TLS (the platform's proxy has it), HTTP/2 and protocol upgrades (no service needs them, and
//! each is another framing to be strict about).

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod facts;
mod observe;
mod request_body;
mod responses;
mod server;
mod settings;
mod shutdown;
mod strict;
mod tasks;
pub mod telemetry;
mod wire_json;

pub use facts::{REQUEST_ID_HEADER, RequestFacts};
pub use observe::{Observer, observe};
pub use request_body::{BodyError, check_declared_length, read_body, wipe_body};
pub use responses::{error_response, internal_error};
pub use server::{Listener, Outcome, bind, serve};
pub use settings::{Limits, LogFormat, LogLevel, Settings, VARIABLES};
pub use shutdown::Shutdown;
pub use tasks::Tasks;
pub use telemetry::limit_reached;
pub use wire_json::{Json, SecretJson, wire_json};
