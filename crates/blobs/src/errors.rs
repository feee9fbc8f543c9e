//! What can go wrong, told apart by what the caller can do about it.

use std::path::PathBuf;

/// A cause of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The disk or the bucket did not do what was asked, after the retries that the settings allow. Trying later may help.
#[derive(Debug, thiserror::Error)]
#[error("the blob store failed {doing}")]
pub struct Unavailable {
    /// What was being done, such as `reading a blob`.
    pub doing: &'static str,
    /// Why it failed. For the log, not for clients.
    #[source]
    pub source: BoxError,
}

impl Unavailable {
    pub(crate) fn new(doing: &'static str, source: impl Into<BoxError>) -> Self {
        Self { doing, source: source.into() }
    }
}

/// Why a blob could not be stored. Nothing is left under its key.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The content is longer than the caller allows.
    #[error("the content is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The longest content that would have been taken, in bytes.
        limit_bytes: u64,
    },
    /// The content is not the one that was announced.
    #[error("the content does not have the announced SHA-256")]
    HashMismatch {
        /// The SHA-256 of what came.
        actual: [u8; 32],
    },
    /// The stream that was to be stored ended with an error.
    #[error("the content could not be received")]
    Source(#[source] BoxError),
    /// The store failed, or had no place for another upload.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl PutError {
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::HashMismatch { .. } => "hash_mismatch",
            Self::Source(_) => "source",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// Why a blob could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// Nothing is stored under the key.
    #[error("no blob is stored under this key")]
    NotFound,
    /// What is stored is not what was put, or not what the caller expects under this key.
    #[error("the stored blob is damaged: {0}")]
    Corrupt(&'static str),
    /// The store failed.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl GetError {
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Corrupt(_) => "corrupt",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// Why a store could not be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The local directory cannot be created or used.
    #[error("the blob directory {} cannot be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The client for Google Cloud Storage cannot be made, mostly because of its credentials.
    #[error("the client for Google Cloud Storage cannot be made")]
    Client(#[source] BoxError),
}
