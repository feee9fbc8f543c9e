//! What makes no sense is refused with a reason, and never breaks anything.

mod anything;
mod bodies;
mod idempotency;
mod parameters;
mod paths;
