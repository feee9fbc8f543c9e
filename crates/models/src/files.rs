use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{FileMode, Timestamp};

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TreeEntry {
    /// The path.
    pub path: String,
    /// The id of the content: equal bytes in one repo have one id.
    pub version_id: Uuid,
    /// SHA-256 of the bytes, lower-case hex.
    pub content_hash: String,
    /// The length in bytes. Additive.
    #[serde(default)]
    pub size: i64,
    /// The mode; left out for a regular file. Additive.
    #[serde(default, skip_serializing_if = "FileMode::is_regular")]
    pub mode: FileMode,
    /// Whether the bytes were obliterated: there is nothing to be had. Left out when not. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub obliterated: bool,
}

/// One child of a directory, as `GET tree?dir=` lists it. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DirectoryEntry {
    /// A file directly in the directory.
    File(TreeEntry),
    /// A directory directly in the directory.
    Directory {
        /// The path, without a slash at the end.
        path: String,
    },
}

impl DirectoryEntry {
    /// The path of the child.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::File(file) => &file.path,
            Self::Directory { path } => path,
        }
    }
}

/// `GET file/{path}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileContent {
    /// The path.
    pub path: String,
    /// The id of the content.
    pub version_id: Uuid,
    /// SHA-256 of the bytes, lower-case hex.
    pub content_hash: String,
    /// The bytes as standard base64 with padding; `""` when the file is empty.
    pub content: String,
    /// The media type that came with the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The mode; left out for a regular file. Additive.
    #[serde(default, skip_serializing_if = "FileMode::is_regular")]
    pub mode: FileMode,
}

/// One change in the history of a file, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileHistoryEntry {
    /// The commit; also the paging cursor (exclusive).
    pub sequence: i64,
    /// The content after the change; null when the change deleted the file.
    pub version_id: Option<Uuid>,
    /// The message of the commit.
    pub message: String,
    /// The author of the commit.
    pub author: String,
    /// When it was committed.
    pub created_at: Timestamp,
    /// Whether the bytes were obliterated: there is nothing to be had. Left out when not. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub obliterated: bool,
}

/// One file in a commit request. Exactly one of `content` and `content_hash` gives the new bytes; neither deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileChangeRequest {
    /// The path.
    pub path: String,
    /// The bytes as standard base64; `""` is an empty file, absent or null deletes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// SHA-256 of bytes that the repo has already, lower-case hex. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// The media type; stored as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `100644` (when absent), `100755` or `120000`. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// Body of `POST commit`. An `author` in the body is ignored: the author is the authenticated identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitRequest {
    /// The branch to commit to.
    pub branch: String,
    /// The message.
    pub message: String,
    /// The changes; each path once.
    pub files: Vec<FileChangeRequest>,
    /// The head that the author saw. When the branch has moved since, the commit is refused with 409
    /// `HEAD_MOVED`. Additive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_head: Option<i64>,
    /// Why an admin commits to `main` against policies that allow that. Additive.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
}

/// One file of a commit's answer, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommittedFile {
    /// The path.
    pub path: String,
    /// The content; null when the commit deleted the file.
    pub version_id: Option<Uuid>,
}

/// Answer of `POST commit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitResponse {
    /// The number of the new commit.
    pub sequence: i64,
    /// The files, in the order of the request.
    pub files: Vec<CommittedFile>,
    /// The hash of the commit in its branch's chain. Go servers of old may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<String>,
}

/// One file of `GET commit/{n}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitFile {
    /// The id of this change of this file.
    pub commit_id: Uuid,
    /// The path.
    pub path: String,
    /// The content; null when the commit deleted the file.
    pub version_id: Option<Uuid>,
    /// SHA-256 of the content; left out when the commit deleted the file. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// The mode; left out for a regular file. Additive.
    #[serde(default, skip_serializing_if = "FileMode::is_regular")]
    pub mode: FileMode,
    /// Whether the bytes were obliterated: there is nothing to be had. Left out when not. Additive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub obliterated: bool,
}

/// `GET commit/{n}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitDetail {
    /// The number.
    pub sequence: i64,
    /// The branch.
    pub branch: String,
    /// The message.
    pub message: String,
    /// The author.
    pub author: String,
    /// When it was committed.
    pub created_at: Timestamp,
    /// The changed files, by path.
    pub files: Vec<CommitFile>,
    /// The hash of the commit in its branch's chain. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<String>,
    /// The commit before it on the branch, or the point of `main` that the branch started from. Additive.
    #[serde(default)]
    pub parent_sequence: i64,
    /// Where an imported commit came from, such as `git:<object id>`. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<String>,
    /// Who brought the commit, when the author is somebody else. Additive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_by: Option<String>,
}

/// One commit of `GET commits`. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitSummary {
    /// The number; also the paging cursor (exclusive).
    pub sequence: i64,
    /// The branch it was committed to.
    pub branch: String,
    /// The message.
    pub message: String,
    /// The author.
    pub author: String,
    /// When it was committed.
    pub created_at: Timestamp,
    /// The hash of the commit in its branch's chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<String>,
    /// How many files it changed.
    pub file_count: i64,
    /// Where an imported commit came from, such as `git:<object id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported_from: Option<String>,
}

/// `GET commits`: the current commits of a branch, newest first. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitList {
    /// One page of commits.
    pub commits: Vec<CommitSummary>,
    /// Pass as `before` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<i64>,
}

/// One file of a chain entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainFile {
    /// The path.
    pub path: String,
    /// SHA-256 of the content, or `""` when the commit deleted the file.
    pub content_hash: String,
}

/// One commit of `GET chain`, with all that enters its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainEntry {
    /// The number.
    pub sequence: i64,
    /// The branch.
    pub branch: String,
    /// The author.
    pub author: String,
    /// The message.
    pub message: String,
    /// When it was committed, exactly as hashed.
    pub created_at: Timestamp,
    /// The hash; null for a commit from before hashes.
    pub commit_hash: Option<String>,
    /// The changed files, by path.
    pub files: Vec<ChainFile>,
}

/// Body of `POST contents/missing`. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissingContentsRequest {
    /// SHA-256 hashes, lower-case hex.
    pub hashes: Vec<String>,
}

/// Answer of `POST contents/missing`. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissingContentsResponse {
    /// Those of the request that the repo does not have, in the order of the request, each once.
    pub missing: Vec<String>,
}

/// Answer of `PUT contents/{hash}`. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredContent {
    /// SHA-256 of the bytes, lower-case hex.
    pub content_hash: String,
    /// The length in bytes.
    pub size: i64,
    /// The id of the content.
    pub version_id: Uuid,
}

/// Body of `POST archive`: a tar of chosen paths. Additive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchivePathsRequest {
    /// The branch; `main` when absent.
    pub branch: String,
    /// The sequence to read at; the head when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// The files wanted; those that do not exist are left out of the tar.
    pub paths: Vec<String>,
}

/// Answer of `POST archive/presign`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PresignResponse {
    /// `sha256:<hex>` of the whole tar.
    pub checksum: String,
    /// Where anyone may fetch it until it expires.
    pub url: String,
}

/// One commit of an import. Additive; admins only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportedCommit {
    /// The author to record.
    pub author: String,
    /// When it was authored: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// The full message.
    pub message: String,
    /// Where it came from, such as `git:<object id>`. Required: it is the mark of an imported commit.
    pub imported_from: String,
    /// The changes; each path once. May be empty, as a commit without changes is in git.
    pub files: Vec<FileChangeRequest>,
}

/// Body of `POST import`: commits in order, applied in one transaction. Additive; admins only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportRequest {
    /// The branch to import into.
    pub branch: String,
    /// The commits, oldest first.
    pub commits: Vec<ImportedCommit>,
    /// The head that the importer saw, so that a resumed import cannot apply a batch twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_head: Option<i64>,
    /// Why an admin imports to `main` against policies that allow that.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_reason: Option<String>,
}

/// Answer of `POST import`. Additive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportResponse {
    /// The number of each new commit, in the order of the request.
    pub sequences: Vec<i64>,
    /// The head of the branch afterwards.
    pub head_sequence: i64,
    /// The hash of the last commit.
    pub commit_hash: String,
}
