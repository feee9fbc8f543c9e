//! Content too large for a database row: bytes on a local disk or in Google Cloud Storage.
//!
//! # Theory
//!
//! - **A key belongs to one upload.** [`BlobStore::new_key`] gives `<repo id>/<uuid>`, never the same twice, so that
//!   deleting a blob can hurt no other row and deleting twice changes nothing. The hash and the size live in the database
//!   row that names the key; they are the authority against which every read is checked.
//! - **A blob is whole or absent.** [`BlobStore::put`] returns once the bytes are durable. When the client's stream fails,
//!   a limit is passed, the hash differs or the caller gives up, nothing is left under the key. Only a caller that
//!   vanishes in the very last step may leave a whole blob behind that nobody names, which is why it schedules the
//!   blob's deletion before it writes and takes that back in the transaction that names the blob.
//! - **A mismatch is an error, never an answer.** Blobs are stored in frames of 256 KiB, each with a SHA-256 of its plain
//!   bytes (`format.rs` describes how). No byte leaves before its frame was verified, and the last frame
//!   of a whole read leaves only when the hash of the whole matched too. The first frame is verified before
//!   [`BlobStore::get`] returns, so damage of the footer, of the index, of the length or of short content is known before
//!   an answer has begun. A range is verified frame by frame; the frame hashes are themselves under a checksum beside the
//!   hash of the whole. That finds every damage, but not somebody who forges frame, index and checksum on purpose: against
//!   whom only the whole read guards.
//! - **Memory does not grow with the content.** A read holds about two frames, an upload to disk three, an upload to
//!   Google two parts of 4 MiB, and both 36 bytes per frame, which is 144 KiB for 1 GiB.
//!
//! # Limits
//!
//! Every bound is a named constant beside its use, or a variable in [`VARIABLES`]. What a killed
//! process left half written is removed from a local disk by the next [`BlobStore::open`], and lapses after a week in
//! a bucket.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod errors;
mod format;
mod gcs;
mod key;
mod local;
mod observe;
mod read;
mod settings;
mod store;
#[cfg(feature = "test-support")]
pub mod testing;
mod write;

pub use errors::{BoxError, GetError, OpenError, PutError, Unavailable};
pub use key::{BlobKey, NotABlobKey};
pub use observe::describe_metrics;
pub use read::BlobStream;
pub use settings::{Gcs, Local, Settings, Store, VARIABLES};
pub use store::{BlobStore, CONTENT_BYTES_MAX, Stored};
