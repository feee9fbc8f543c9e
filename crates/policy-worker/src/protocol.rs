//! What a server and its workers say to each other: JSON in frames of a length (four bytes, big-endian) and so many bytes.
//!
//! The server asks and the worker answers, one question at a time. A worker that does not know a policy any more asks for
//! its text in between. Decisions are told one by one, so that the server knows at which policy a worker ended.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use docstore_policy::{CompileError, Decision, EvaluationError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The largest frame. The document of a change of a hundred thousand files has a quarter of it, and a policy's text less
/// than a hundredth.
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a policy is known by: its file and the hash of its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key<'a> {
    #[serde(borrow)]
    pub(crate) file: Cow<'a, str>,
    pub(crate) hash: [u8; 32],
}

/// What the server asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question<'a> {
    /// Is this a policy? Is answered by [`Answer::Compiled`].
    Compile {
        #[serde(borrow)]
        key: Key<'a>,
        #[serde(borrow)]
        source: Cow<'a, str>,
        milliseconds: u64,
    },
    /// What do these policies say? Is answered by [`Answer::Missing`] if texts are needed, which a
    /// [`Question::Source`] each brings, and then by an [`Answer::Decided`] for each policy.
    Decide {
        #[serde(borrow)]
        policies: Vec<Key<'a>>,
        #[serde(borrow)]
        input: &'a RawValue,
        now: DateTime<Utc>,
        milliseconds: u64,
    },
    /// The text of a policy that was missing, in the order in which they were asked for.
    Source(#[serde(borrow)] Cow<'a, str>),
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Compiled(Result<Facts, CompileError>),
    /// The places of the policies whose texts are needed.
    Missing(Vec<usize>),
    Decided(Result<Decision, EvaluationError>),
}

/// What is known of a policy once it is compiled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) shadow: bool,
    pub(crate) reads_time: bool,
}
