//! The DocStore server: the HTTP API over the operations.
//!
//! From URL to SQL in three steps, with one name all the way: a line in `router`, a handler in `handlers`, an operation
//! in `docstore-operations`, a query in `docstore-database`.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod api;
mod arguments;
mod error;
mod extract;
mod handlers;
mod healthcheck;
mod lenient;
mod own_host;
mod paths;
mod respond;
mod router;
mod sdk;
mod server;
mod settings;
mod state;
mod streams;

pub use arguments::Arguments;
pub use docstore_policy_worker as policy_worker;
pub use healthcheck::{NotReady, healthcheck};
pub use server::{Server, StartError};
pub use settings::{HttpLimits, Settings, VARIABLES, all_variables};

/// The OpenAPI document of the server, as JSON.
#[must_use]
pub fn openapi_json() -> &'static str {
    api::document_json()
}
