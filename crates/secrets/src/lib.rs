//! Envelope encryption: what the database holds, nobody can read without a key that is somewhere else.
//!
//! # Theory
//!
//! Each value is sealed with a data key of its own (AES-256-GCM), and the data key is sealed by a key that never is in the
//! database: one in Cloud KMS, or one in a local file ([`Keeper`]). Who has the database alone has nothing.
//!
//! Whoever can write to the database could still move a sealed value to another row, and have it revealed there. So what is
//! sealed is bound to its place: repo and name, or subscription and row, go into the associated data of both seals ([`Binding`]),
//! and a value that was moved does not open.
//!
//! # Layouts
//!
//! | Layout | Value | Data key |
//! | --- | --- | --- |
//! | [`Layout::Unbound`] | AES-256-GCM(data key, nonce), no associated data | KMS `Encrypt` without associated data; or, with a local key, 12 bytes of nonce before AES-256-GCM |
//! | [`Layout::Bound`] | the same with the binding as associated data | the same with the binding as associated data |
//!
//! The first is the contract's (ci §8.2) and can be read; only the second is written. Tags of 16 bytes are at the end.
//!
//! # Keys
//!
//! One key seals; it and any number of old ones open, each only what carries its name. [`Keeper::is_current`] tells what
//! ought to be sealed again.
//!
//! Data keys and opened values are wiped from memory when they are dropped. Nothing here prints them.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod aead;
mod keeper;
mod kms;
mod local;
mod settings;

pub use aead::{Binding, Layout};
pub use keeper::{CannotOpen, CannotSeal, Keeper, OpenError, Sealed};
pub use settings::{KeyPlace, Settings, VARIABLES};
pub use zeroize::Zeroizing;
