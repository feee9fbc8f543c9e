use std::fmt;

use docstore_models::{Conflict, ErrorCode, Obliteration, PolicyResult, Requirement};
use serde::Deserialize;

use crate::TokenError;

/// What kind of failure it is, for callers that act on it, such as a command line choosing an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Not signed in, or not allowed.
    Auth,
    /// The state does not allow it: conflicts, a moved head, a taken name.
    Conflict,
    /// A policy does not allow it.
    Policy,
    /// Nothing is there.
    NotFound,
    /// The server could not be reached, or went away; nothing was changed.
    Network,
    /// A write was sent and its answer never came: it may have happened.
    OutcomeUnknown,
    /// Anything else.
    Other,
}

/// The server answered, and the answer is no.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable word, when the server sent one.
    pub code: Option<ErrorCode>,
    /// The sentence, when the server sent one.
    pub message: Option<String>,
    /// The paths that both sides changed.
    pub conflicts: Vec<Conflict>,
    /// The policies that do not allow it.
    pub policies: Vec<PolicyResult>,
    /// What stands in the way of a merge, and what to do about it.
    pub requirements: Vec<Requirement>,
    /// The hashes of contents that the repo does not have.
    pub missing: Vec<String>,
    /// What was obliterated, by whom and why.
    pub obliterated: Vec<Obliteration>,
    /// Where the branch is, when it was expected elsewhere.
    pub head_sequence: Option<i64>,
    /// The id under which the server's log has the request.
    pub request_id: Option<String>,
    /// How long the server asks to wait, in seconds.
    pub retry_after_s: Option<u64>,
}

impl fmt::Display for Refusal {
    /// The words of the original client: `server error: <message>`, or the status when there is no message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "server error: {message}"),
            None => write!(f, "server error (status {})", self.status),
        }
    }
}

/// The body of a refusal, from servers of any age: every key may be absent.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalBody {
    code: Option<ErrorCode>,
    error: Option<String>,
    request_id: Option<String>,
    conflicts: Vec<Conflict>,
    policies: Vec<PolicyResult>,
    requirements: Vec<Requirement>,
    missing: Vec<String>,
    obliterated: Vec<Obliteration>,
    head_sequence: Option<i64>,
}

impl Refusal {
    /// Reads what it can of the body; anything that is not the error envelope leaves only the status.
    pub(crate) fn parse(status: u16, request_id: Option<String>, retry_after_s: Option<u64>, body: &[u8]) -> Self {
        let body: RefusalBody = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            code: body.code,
            message: body.error.filter(|message| !message.is_empty()),
            conflicts: body.conflicts,
            policies: body.policies,
            requirements: body.requirements,
            missing: body.missing,
            obliterated: body.obliterated,
            head_sequence: body.head_sequence,
            request_id: body.request_id.or(request_id),
            retry_after_s,
        }
    }

    fn class(&self) -> ErrorClass {
        if !self.policies.is_empty() || self.code == Some(ErrorCode::PolicyDenied) {
            return ErrorClass::Policy;
        }
        match self.status {
            // A redirect that was not followed is a sign-in page in front of the server.
            401 | 403 | 300..=399 => ErrorClass::Auth,
            404 => ErrorClass::NotFound,
            409 | 412 => ErrorClass::Conflict,
            503 if self.code == Some(ErrorCode::OutcomeUnknown) => ErrorClass::OutcomeUnknown,
            429 | 502..=504 => ErrorClass::Network,
            _ => ErrorClass::Other,
        }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the server is not one.
    #[error("'{url}' is not the address of a server: {reason}")]
    InvalidUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP machinery could not be set up.
    #[error("cannot set up HTTP: {0}")]
    Setup(String),
    /// The server answered, and the answer is no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No token could be had; nothing was sent.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The server could not be reached, or the answer to a read was lost; nothing was changed.
    #[error("cannot reach {server}: {reason}")]
    Network {
        /// The server.
        server: String,
        /// What happened, in one line.
        reason: String,
    },
    /// A write was sent and its answer never came: it may have happened.
    #[error("the answer of {server} was lost ({reason}); the change may have happened")]
    OutcomeUnknown {
        /// The server.
        server: String,
        /// What happened, in one line.
        reason: String,
    },
    /// The answer is not what the endpoint answers with.
    #[error("unexpected answer to {what}: {reason}")]
    UnexpectedAnswer {
        /// Method and path of the request.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Bytes do not have the hash that they should have.
    #[error("content of {what} is damaged: expected SHA-256 {expected}, got {actual}")]
    ContentMismatch {
        /// Which content.
        what: String,
        /// The hash that it should have.
        expected: String,
        /// The hash that it has.
        actual: String,
    },
    /// A local file could not be read.
    #[error("cannot read {what}: {source}")]
    Local {
        /// Which file.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// The kind of failure.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(refusal) => refusal.class(),
            Self::Token(_) => ErrorClass::Auth,
            Self::Network { .. } => ErrorClass::Network,
            Self::OutcomeUnknown { .. } => ErrorClass::OutcomeUnknown,
            Self::InvalidUrl { .. }
            | Self::Setup(_)
            | Self::UnexpectedAnswer { .. }
            | Self::ContentMismatch { .. }
            | Self::Local { .. } => ErrorClass::Other,
        }
    }

    /// What the server said, when it said something.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The HTTP status of the refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.status)
    }

    /// The stable word of the refusal.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.refusal().and_then(|refusal| refusal.code)
    }

    /// Whether a server of the original contract would say this about an endpoint that it does not have: 404 without
    /// saying what is missing, 405, 501, or 403, since it checks the role of unknown endpoints before it looks for them.
    ///
    /// Meant for additive endpoints whose effect can also be had in another way: that way then gives the final word.
    #[must_use]
    pub fn is_missing_endpoint(&self) -> bool {
        self.refusal().is_some_and(|refusal| match refusal.status {
            404 => matches!(refusal.code, None | Some(ErrorCode::NotFound)),
            403 => refusal.policies.is_empty(),
            405 | 501 => true,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Error {
        Error::Refused(Box::new(Refusal::parse(status, None, None, body.as_bytes())))
    }

    #[test]
    fn every_shape_of_refusal_is_understood() {
        let plain = refusal(404, r#"{"code":"BRANCH_NOT_FOUND","error":"branch not found"}"#);
        assert_eq!(plain.to_string(), "server error: branch not found");
        assert_eq!((plain.class(), plain.is_missing_endpoint()), (ErrorClass::NotFound, false));

        let conflicts = refusal(409, r#"{"conflicts":[{"path":"a","main_version_id":"1","branch_version_id":""}]}"#);
        assert_eq!(conflicts.to_string(), "server error (status 409)");
        assert_eq!(conflicts.refusal().unwrap().conflicts[0].path, "a");

        let denied = refusal(403, r#"{"policies":[{"name":"review","pass":false,"reason":"needs a review"}]}"#);
        assert_eq!((denied.class(), denied.is_missing_endpoint()), (ErrorClass::Policy, false));

        let moved = refusal(409, r#"{"code":"HEAD_MOVED","error":"moved","head_sequence":7,"request_id":"r"}"#);
        assert_eq!(moved.refusal().unwrap().head_sequence, Some(7));
        assert_eq!(moved.refusal().unwrap().request_id.as_deref(), Some("r"));

        let newer = refusal(418, r#"{"code":"TEAPOT","error":"short and stout"}"#);
        assert_eq!(newer.code(), Some(ErrorCode::Unknown));

        let text = refusal(502, "<html>bad gateway</html>");
        assert_eq!((text.to_string().as_str(), text.class()), ("server error (status 502)", ErrorClass::Network));
        assert_eq!(refusal(503, r#"{"code":"OUTCOME_UNKNOWN","error":"?"}"#).class(), ErrorClass::OutcomeUnknown);
        assert!(refusal(404, r#"{"code":"NOT_FOUND","error":"not found"}"#).is_missing_endpoint());
    }
}
