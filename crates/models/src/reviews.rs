use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{PrincipalKind, Timestamp};

/// The most comments that are sent with one review: each is an event of its own.
pub const REVIEW_COMMENTS_MAX: usize = 200;

/// What a reviewer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ReviewStatus {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// What the reviewer said before no longer counts.
    Dismissed,
}

impl ReviewStatus {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Dismissed => "dismissed",
        }
    }
}

impl fmt::Display for ReviewStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReviewStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "approved" => Ok(Self::Approved),
            "rejected" => Ok(Self::Rejected),
            "dismissed" => Ok(Self::Dismissed),
            _ => Err("invalid status; must be approved, rejected, or dismissed".to_owned()),
        }
    }
}

/// A review of a branch as it was at a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Review {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The full name of the repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// Who reviewed.
    pub reviewer: String,
    /// The head of the branch that was reviewed.
    pub sequence: i64,
    /// What the reviewer said.
    pub status: ReviewStatus,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// The base of the branch that was reviewed. Additive.
    #[serde(default)]
    pub base_sequence: i64,
    /// SHA-256 of what the branch changed, in hex: two reviews with the same one saw the same change. Absent on `main`.
    /// Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_digest: Option<String>,
    /// What the reviewer is. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer_kind: Option<PrincipalKind>,
    /// The person for whom an agent reviewed. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// The side of a diff that a comment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum CommentSide {
    /// As it was on `main`.
    Old,
    /// As the branch has it.
    New,
}

impl CommentSide {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl FromStr for CommentSide {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "old" => Ok(Self::Old),
            "new" => Ok(Self::New),
            _ => Err("invalid side; must be old or new".to_owned()),
        }
    }
}

/// A comment on a file of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReviewComment {
    /// The id; also the paging cursor.
    pub id: Uuid,
    /// The review that it came with or belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_id: Option<Uuid>,
    /// The branch.
    pub branch: String,
    /// The file.
    pub path: String,
    /// The content that was commented on.
    pub version_id: Uuid,
    /// The comment.
    pub body: String,
    /// Who commented.
    pub author: String,
    /// The head of the branch at that time.
    pub sequence: i64,
    /// When.
    pub created_at: Timestamp,
    /// What the author is. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_kind: Option<PrincipalKind>,
    /// The first line that it is about, counted from 1; absent: the whole file. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_line: Option<i32>,
    /// The last line that it is about. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<i32>,
    /// The side of the diff; absent: `new`. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<CommentSide>,
    /// The first comment of the thread that this one replies in. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Uuid>,
    /// When the thread that this comment began was resolved. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// Who resolved it. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
}

/// Body of `POST review`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateReviewRequest {
    /// The branch.
    pub branch: String,
    /// `approved`, `rejected` or `dismissed`.
    pub status: String,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The head that was read; 409 `HEAD_MOVED` when it has moved since. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_head: Option<i64>,
    /// Comments that are sent together with the review, at most 200. Additive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<CommentDraft>,
}

/// Answer of `POST review`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateReviewResponse {
    /// The review.
    pub id: Uuid,
    /// The head of the branch that it is about.
    pub sequence: i64,
    /// The comments that came with it, in the order of the request. Additive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comment_ids: Vec<Uuid>,
}

/// A comment to make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommentDraft {
    /// The file. A reply has that of its thread.
    pub path: String,
    /// The content that is commented on: one that the path has or had, on the branch or on `main`. A reply has that of its
    /// thread.
    pub version_id: String,
    /// The comment.
    pub body: String,
    /// The first line that it is about, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_line: Option<i32>,
    /// The last line that it is about; the first one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<i32>,
    /// `new`, the branch's content, or `old`, that of `main`; `new` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// Any comment of the thread to reply in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
}

/// Body of `POST comment`. Lines, side and `in_reply_to` are additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateCommentRequest {
    /// The branch.
    pub branch: String,
    /// As in [`CommentDraft`].
    pub path: String,
    /// As in [`CommentDraft`].
    pub version_id: String,
    /// As in [`CommentDraft`].
    pub body: String,
    /// A review of the branch that it belongs to; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_id: Option<String>,
    /// As in [`CommentDraft`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_line: Option<i32>,
    /// As in [`CommentDraft`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<i32>,
    /// As in [`CommentDraft`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// As in [`CommentDraft`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
}

impl CreateCommentRequest {
    /// The comment without the branch and the review.
    #[must_use]
    pub fn draft(&self) -> CommentDraft {
        CommentDraft {
            path: self.path.clone(),
            version_id: self.version_id.clone(),
            body: self.body.clone(),
            start_line: self.start_line,
            end_line: self.end_line,
            side: self.side.clone(),
            in_reply_to: self.in_reply_to.clone(),
        }
    }
}

/// Answer of `POST comment`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateCommentResponse {
    /// The comment.
    pub id: Uuid,
    /// The head of the branch.
    pub sequence: i64,
}

/// Body of `PATCH comment/{id}`. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateCommentRequest {
    /// Whether the thread of the comment is resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
}
