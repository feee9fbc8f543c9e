//! Sending one webhook.
//!
//! # Theory
//!
//! Whoever may subscribe chooses a URL that the server then calls, from inside the operator's network. So what is called is
//! checked where it counts:
//!
//! - **Names** are resolved by a resolver of ours, and only addresses that pass are handed to the connection ([`Addresses`]).
//!   There is no second look-up in between, so a name that changes its address gains nothing.
//! - **Literal addresses** never reach a resolver; they are checked in the parsed URL, which has brought decimal, octal and
//!   hexadecimal spellings into one form.
//! - **Redirects** are not followed: a 3xx is a failure like any other status outside 2xx.
//! - **Proxies** of the environment are not used: they would connect on our behalf, unchecked.
//!
//! A receiver may hang, trickle, reset, or send without end: the whole call has one deadline, and of the answer only the head
//! is read. TLS is verified like everywhere.
//!
//! # Signatures
//!
//! `X-DocStore-Signature: sha256=<hex>` is HMAC-SHA-256 over the exact bytes of the body, with the secret's UTF-8 bytes as the
//! key (contract, server §8.5). Beside it stand the headers of Standard Webhooks, whose signature also covers id and time;
//! a secret that begins with `whsec_` is base64 there, as that specification says. During a rotation
//! `webhook-signature` holds two signatures, the new one first, and `X-DocStore-Signature-Previous` is made with the old
//! secret.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod addresses;
mod sender;
mod settings;
mod signature;

pub use addresses::{Addresses, Lookup, NotAllowed};
pub use sender::{CannotSetUp, Message, Place, Sender, Sent};
pub use settings::{Settings, VARIABLES};
pub use signature::{HEADER_PREFIX, Signatures, wire_signature};
