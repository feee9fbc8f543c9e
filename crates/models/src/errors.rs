use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Conflict, Obliteration, PolicyResult, Requirement};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// What went wrong, as a stable word for programs. This is the one table of code, status and meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
            /// A code that this build does not know.
            #[serde(other)]
            Unknown,
        }

        impl ErrorCode {
            /// Every code that a server of this build sends.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown => "UNKNOWN",
                }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Unknown => 500,
                }
            }
        }
    };
}

error_codes! {
    /// The request makes no sense as it is.
    BadRequest = "BAD_REQUEST", 400;
    /// No credential, or one that does not verify.
    Unauthorized = "UNAUTHORIZED", 401;
    /// The caller may not do this, or may not know whether it exists.
    Forbidden = "FORBIDDEN", 403;
    /// A policy does not allow the merge; the body lists which.
    PolicyDenied = "POLICY_DENIED", 403;
    /// Nothing is there.
    NotFound = "NOT_FOUND", 404;
    /// The repo does not exist.
    RepoNotFound = "REPO_NOT_FOUND", 404;
    /// The branch does not exist.
    BranchNotFound = "BRANCH_NOT_FOUND", 404;
    /// The org does not exist.
    OrgNotFound = "ORG_NOT_FOUND", 404;
    /// The invitation does not exist.
    InviteNotFound = "INVITE_NOT_FOUND", 404;
    /// The proposal does not exist.
    ProposalNotFound = "PROPOSAL_NOT_FOUND", 404;
    /// The issue does not exist.
    IssueNotFound = "ISSUE_NOT_FOUND", 404;
    /// The comment does not exist.
    CommentNotFound = "COMMENT_NOT_FOUND", 404;
    /// The release does not exist.
    ReleaseNotFound = "RELEASE_NOT_FOUND", 404;
    /// The subscription does not exist.
    SubscriptionNotFound = "SUBSCRIPTION_NOT_FOUND", 404;
    /// The path exists, the method does not; `Allow` lists those that do.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405;
    /// The client was too slow in sending its request.
    RequestTimeout = "REQUEST_TIMEOUT", 408;
    /// The state does not allow it.
    Conflict = "CONFLICT", 409;
    /// Both sides changed the same paths; the body lists them.
    MergeConflict = "MERGE_CONFLICT", 409;
    /// The branch is not at the head that the request expected.
    HeadMoved = "HEAD_MOVED", 409;
    /// The name is taken, also by a merged or abandoned branch.
    BranchExists = "BRANCH_EXISTS", 409;
    /// The name is taken.
    RepoExists = "REPO_EXISTS", 409;
    /// The name is taken.
    OrgExists = "ORG_EXISTS", 409;
    /// The branch has an open proposal.
    ProposalExists = "PROPOSAL_EXISTS", 409;
    /// The branch is merged or abandoned.
    BranchNotActive = "BRANCH_NOT_ACTIVE", 409;
    /// The branch is a draft.
    BranchDraft = "BRANCH_DRAFT", 409;
    /// The commit names contents that the repo does not have; upload them first.
    ContentMissing = "CONTENT_MISSING", 409;
    /// The idempotency key was used before for another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 409;
    /// The repo takes these bytes no more: they were obliterated. The body has the marks.
    ContentRefused = "CONTENT_REFUSED", 409;
    /// It was there and is gone.
    Gone = "GONE", 410;
    /// The bytes were taken out of the repo for good; the body has the mark that is left.
    ContentObliterated = "CONTENT_OBLITERATED", 410;
    /// The `If-Match` tag is not the current one.
    PreconditionFailed = "PRECONDITION_FAILED", 412;
    /// What would come to `main` has a policy that cannot be used; the sentence has file and line.
    PolicyInvalid = "POLICY_INVALID", 409;
    /// The body, or something in it, is larger than the limit.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413;
    /// The request target is longer than the limit.
    UriTooLong = "URI_TOO_LONG", 414;
    /// The requested range of bytes is outside the content.
    RangeNotSatisfiable = "RANGE_NOT_SATISFIABLE", 416;
    /// Too many at once from one caller.
    TooManyRequests = "TOO_MANY_REQUESTS", 429;
    /// A defect of the server; the log has the details under the request id.
    InternalError = "INTERNAL_ERROR", 500;
    /// A policy on `main` came to no decision: it cannot be used, or it was stopped.
    PolicyFailed = "POLICY_FAILED", 500;
    /// Stored bytes do not match their hash; they are not served.
    ContentCorrupt = "CONTENT_CORRUPT", 500;
    /// Something that the server depends on is away; nothing was changed, try again.
    ServiceUnavailable = "SERVICE_UNAVAILABLE", 503;
    /// The database went away in the middle of a commit: it may have happened. Send the same request again with
    /// the same idempotency key to find out.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 503;
}

// By hand: a derive would not see the words, which come out of the macro above.
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ErrorCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("What went wrong, as a stable word for programs."))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ErrorCode {}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The stable word for programs.
    pub code: ErrorCode,
    /// The sentence for people.
    pub error: String,
    /// The id under which the server's log has the request. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The paths that both sides changed; only with `MERGE_CONFLICT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// The policies that do not allow it; only with `POLICY_DENIED`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyResult>,
    /// What stands between the branch and `main`, and what to do about it; only for refused merges, commits to `main` and
    /// imports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<Requirement>,
    /// The hashes to upload; only with `CONTENT_MISSING`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What was obliterated, by whom and why; only with `CONTENT_OBLITERATED` and `CONTENT_REFUSED`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obliterated: Vec<Obliteration>,
    /// Where the branch is; only with `HEAD_MOVED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_sequence: Option<i64>,
}
