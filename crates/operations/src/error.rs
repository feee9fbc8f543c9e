use std::sync::Arc;

use docstore_blobs::{BlobKey, GetError, PutError};
use docstore_database::{CommitError, contents::ContentHash};
use docstore_models::{Conflict, ErrorCode, InvalidName, Obliteration, Requirement};

use crate::{gate::Denial, limits::reached};

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not happen. Everything but [`Error::Internal`] and [`Error::OutcomeUnknown`] is a refusal that
/// changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be met, for a reason that the caller can understand.
    #[error("{message}")]
    Refused {
        /// The stable word.
        code: ErrorCode,
        /// The sentence.
        message: String,
    },
    /// Both sides changed the same paths.
    #[error("the branch conflicts with main")]
    Conflicts(Vec<Conflict>),
    /// Policies do not allow it.
    #[error("{0}")]
    PolicyDenied(Box<Denial>),
    /// A refusal with what stands between the branch and `main`.
    #[error("{0}")]
    Explained(Box<Error>, Vec<Requirement>),
    /// A policy on `main` came to no decision.
    #[error("policy evaluation error: {0}")]
    PolicyFailed(String),
    /// The branch is not where the request expected it.
    #[error("branch '{branch}' has moved to {head_sequence}; fetch it and try again")]
    HeadMoved {
        /// The branch.
        branch: String,
        /// Where it is.
        head_sequence: i64,
    },
    /// The commit names contents that the repo does not have.
    #[error("the repo does not have {} of the contents; upload them first", .0.len())]
    ContentMissing(Vec<String>),
    /// The bytes were taken out of the repo for good.
    #[error("the content was obliterated on {} by {}: {}", .0.obliterated_at, .0.obliterated_by, .0.reason)]
    ContentObliterated(Box<Obliteration>),
    /// The repo takes these bytes no more.
    #[error("{}", refused_contents(paths, obliterated))]
    ContentRefused {
        /// The files that have them, as far as they are known.
        paths: Vec<String>,
        /// The marks of the contents.
        obliterated: Vec<Obliteration>,
    },
    /// Something that we depend on is away; nothing was changed.
    #[error("{0} is not available; nothing was changed, try again")]
    Unavailable(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database went away in the middle of a commit.
    #[error("the database went away while the change was committed: it may have happened or not")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored bytes do not match their hash.
    #[error("the stored content is damaged")]
    Corrupt(#[source] Damage),
    /// A defect.
    #[error("internal server error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which content is damaged, and how. For the log, not for clients: who repairs it has to find it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The row of a content that a file names is gone.
    #[error("content {0} is not in the database, though a file names it")]
    NoRow(i64),
    /// Bytes in the database are other ones.
    #[error("the bytes of content {} in the database do not have this hash", hex::encode(.0))]
    Bytes(ContentHash),
    /// A blob is gone, or holds something else.
    #[error("blob {key}, which holds content {}: {why}", hex::encode(hash))]
    Blob {
        /// Which blob.
        key: BlobKey,
        /// What it should hold.
        hash: ContentHash,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Error {
    /// A blob that cannot be read.
    pub(crate) fn of_blob(error: GetError, key: &BlobKey, hash: &ContentHash) -> Self {
        let why = match error {
            GetError::NotFound => "it is not in the blob store",
            GetError::Corrupt(why) => why,
            GetError::Unavailable(error) => return error.into(),
        };
        Self::Corrupt(Damage::Blob { key: key.clone(), hash: *hash, why })
    }

    /// A failure of the database that several requests share.
    pub(crate) fn of_shared(error: &Arc<docstore_database::Error>) -> Self {
        if let Some(limit) = error.limit() {
            reached(limit);
        }
        let cause = Box::new(Arc::clone(error));
        match &**error {
            error if error.is_transient() => Self::Unavailable("the database", cause),
            // A collector deleted the content between the look-up and the commit.
            docstore_database::Error::Constraint { constraint, .. } if constraint == "file_changes_content_id_fkey" => {
                Self::Unavailable("one of the contents", cause)
            }
            docstore_database::Error::TimedOut(_) => Self::Unavailable("the database", cause),
            _ => Self::Internal(cause),
        }
    }

    /// A refusal.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// A request that makes no sense as it is.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::refused(ErrorCode::BadRequest, message)
    }

    /// The caller may not do this, or may not know whether it exists.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::refused(ErrorCode::Forbidden, "forbidden")
    }

    /// The branch does not exist.
    #[must_use]
    pub fn branch_not_found() -> Self {
        Self::refused(ErrorCode::BranchNotFound, "branch not found")
    }

    /// A page cannot start behind something that is not in the list.
    #[must_use]
    pub fn invalid_cursor() -> Self {
        Self::bad_request("invalid pagination cursor")
    }

    /// `IDEMPOTENCY_KEY_REUSED`.
    pub(crate) fn key_reused() -> Self {
        let message = "the idempotency key was used before for another request; choose a new key";
        Self::refused(ErrorCode::IdempotencyKeyReused, message)
    }

    /// The stable word.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Conflicts(_) => ErrorCode::MergeConflict,
            Self::PolicyDenied(_) => ErrorCode::PolicyDenied,
            Self::Explained(error, _) => error.code(),
            Self::PolicyFailed(_) => ErrorCode::PolicyFailed,
            Self::HeadMoved { .. } => ErrorCode::HeadMoved,
            Self::ContentMissing(_) => ErrorCode::ContentMissing,
            Self::ContentObliterated(_) => ErrorCode::ContentObliterated,
            Self::ContentRefused { .. } => ErrorCode::ContentRefused,
            Self::Unavailable(..) => ErrorCode::ServiceUnavailable,
            Self::OutcomeUnknown(_) => ErrorCode::OutcomeUnknown,
            Self::Corrupt(_) => ErrorCode::ContentCorrupt,
            Self::Internal(_) => ErrorCode::InternalError,
        }
    }
}

/// How many paths a sentence names.
const PATHS_NAMED_MAX: usize = 5;

/// Says which files cannot come to the repo again, and why.
fn refused_contents(paths: &[String], obliterated: &[Obliteration]) -> String {
    let mut text = match paths {
        [] => "the content was".to_owned(),
        [path] => format!("the content of '{path}' was"),
        [first, ..] if paths.len() > PATHS_NAMED_MAX => {
            format!("the contents of '{first}' and {} more files were", paths.len() - 1)
        }
        _ => format!("the contents of '{}' were", paths.join("', '")),
    };
    text.push_str(" obliterated in this repo, which takes the same bytes no more");
    for mark in obliterated.iter().take(PATHS_NAMED_MAX) {
        text.push_str(&format!("; on {} by {}: {}", mark.obliterated_at, mark.obliterated_by, mark.reason));
    }
    text
}

impl From<docstore_database::Error> for Error {
    fn from(error: docstore_database::Error) -> Self {
        Self::of_shared(&Arc::new(error))
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(error) => error.into(),
            CommitError::Unknown(error) => Self::OutcomeUnknown(Box::new(error)),
        }
    }
}

impl From<InvalidName> for Error {
    fn from(error: InvalidName) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<docstore_blobs::Unavailable> for Error {
    fn from(error: docstore_blobs::Unavailable) -> Self {
        Self::Unavailable("the blob store", Box::new(error))
    }
}

impl From<PutError> for Error {
    fn from(error: PutError) -> Self {
        match error {
            PutError::TooLarge { limit_bytes } => {
                reached("content_bytes");
                Self::refused(
                    ErrorCode::PayloadTooLarge,
                    format!("the content is longer than the limit of {limit_bytes} bytes"),
                )
            }
            PutError::HashMismatch { actual } => Self::bad_request(format!(
                "the content does not have the announced hash: it is {}",
                hex::encode(actual)
            )),
            PutError::Source(cause) => Self::bad_request(format!("the content could not be received: {cause}")),
            PutError::Unavailable(error) => error.into(),
        }
    }
}
