//! Changes of files on their way into a commit: checked, their contents stored, their hash chained.

use std::collections::{BTreeSet, HashMap, HashSet};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use docstore_blobs::BlobKey;
use docstore_database::{
    append::{Appended, BranchAppend, Brought, ChangedContent, Footing, NewChange, NewCommit, append_commits},
    branches::{LockedBranch, SeenBranch},
    commits::files_in_the_way,
    contents::{
        ContentHash, ContentRow, FoundContents, NewBytes, NewContent, find_contents, hasten_blob_deletions,
        schedule_blob_deletion, store_contents,
    },
    obliterations::obliterations_of,
};
use docstore_history::{ChainInput, GENESIS, chain_hash, clashing_paths};
use docstore_models::{ErrorCode, FileChangeRequest, FileMode, FilePath, MAX_PATH_BYTES, Timestamp};
use futures::stream;
use sha2::{Digest, Sha256};

use crate::{Error, Operations, Result, limits::reached, write::Write};

/// How long a blob may exist before something names it. Longer than any commit takes; shorter than anybody minds.
pub(crate) const UNNAMED_BLOB_HOURS: i32 = 24;

/// The most bytes of contents that one statement takes along, unless a single content has more: a statement that is sent has
/// several times its parameters in memory.
///
/// When a request brings more than that, the repo is first asked what it has already, so that known bytes are not sent to the
/// database again. For less, one more question costs more than it saves.
const STATEMENT_CONTENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Above so many bytes hashing is moved off the threads that serve requests: 1 MiB takes about a millisecond.
const HASH_ELSEWHERE_BYTES: usize = 1024 * 1024;

/// The longest media type, in bytes. Real ones stay below 128 (RFC 6838 section 4.2).
const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// The standard alphabet; padding is required, as the contract says.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The new bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedBytes {
    /// They came with the request.
    Inline(Vec<u8>),
    /// The repo has them already, under this hash.
    Stored(ContentHash),
    /// There are none: the file is deleted.
    Deleted,
}

/// A change of one file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The path.
    pub path: FilePath,
    /// The new bytes.
    pub bytes: ChangedBytes,
    /// The media type, stored as sent.
    pub content_type: Option<String>,
    /// The mode.
    pub mode: FileMode,
}

impl FileChange {
    /// Checks a change as it came in.
    ///
    /// # Errors
    /// A path, base64, hash, media type or mode that cannot be used.
    pub fn from_request(request: FileChangeRequest) -> Result<Self> {
        if request.path.is_empty() {
            return Err(Error::bad_request("file path is required"));
        }
        if request.path.len() > MAX_PATH_BYTES {
            reached("path_bytes");
        }
        let path = FilePath::parse(request.path)?;
        let mode = match request.mode.as_deref() {
            None | Some("") => FileMode::Regular,
            Some(text) => text.parse().map_err(|why| Error::bad_request(format!("file '{path}': {why}")))?,
        };
        let content_type = request.content_type.filter(|text| !text.is_empty());
        if let Some(text) = &content_type
            && (text.len() > CONTENT_TYPE_BYTES_MAX || text.chars().any(char::is_control))
        {
            return Err(Error::bad_request(format!("file '{path}': content_type is not a media type")));
        }
        let bytes = match (request.content, request.content_hash) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_request(format!("file '{path}': give either content or content_hash")));
            }
            (Some(text), None) => {
                ChangedBytes::Inline(decode_base64(text).ok_or_else(|| Error::bad_request("invalid request body"))?)
            }
            (None, Some(text)) => ChangedBytes::Stored(parse_hash(&text)?),
            (None, None) => ChangedBytes::Deleted,
        };
        Ok(Self { path, bytes, content_type, mode })
    }
}

/// Decodes standard base64. Line breaks inside are skipped, as Go's decoder does.
fn decode_base64(text: String) -> Option<Vec<u8>> {
    let is_broken = memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_some();
    let text = if is_broken { text.replace(['\r', '\n'], "") } else { text };
    BASE64.decode(text).ok()
}

/// Reads a SHA-256 in lower-case hex.
pub(crate) fn parse_hash(text: &str) -> Result<ContentHash> {
    let mut hash = ContentHash::default();
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut hash) {
        Ok(()) if lower => Ok(hash),
        _ => Err(Error::bad_request("a content hash must be 64 lower-case hexadecimal digits")),
    }
}

/// A change whose content has a name.
#[derive(Clone, Debug)]
pub(crate) struct PlannedChange {
    pub(crate) path: String,
    pub(crate) hash: Option<ContentHash>,
    pub(crate) content_type: Option<String>,
    pub(crate) mode: FileMode,
}

/// Changes whose contents are ready to be stored in the transaction of the commit.
#[derive(Default)]
pub(crate) struct Plan {
    /// What is to be stored.
    new_contents: Vec<NewContent>,
    /// What the repo has.
    known: HashMap<ContentHash, ContentRow>,
    /// What was known before the repo was held, and may have been obliterated since.
    looked_up: Vec<ContentHash>,
    /// What the request only named.
    named: Vec<ContentHash>,
}

impl Plan {
    /// That of one commit whose contents all came with the request and go into the database.
    pub(crate) fn of_small(brought_by: &str, files: Vec<FileChange>) -> (Vec<PlannedChange>, Self) {
        let Hashed { mut planned, new, named: _ } = hash(vec![files]);
        let new_contents = new.into_iter().map(|(hash, bytes)| NewContent {
            hash,
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            bytes: NewBytes::Inline(bytes),
            created_by: brought_by.to_owned(),
        });
        (planned.pop().unwrap_or_default(), Self { new_contents: new_contents.collect(), ..Self::default() })
    }

    /// The stored content of a change; none for a deletion.
    pub(crate) fn content(&self, change: &PlannedChange) -> Option<&ContentRow> {
        change.hash.as_ref().and_then(|hash| self.known.get(hash))
    }

    /// What is to be stored.
    pub(crate) fn new_contents(&self) -> &[NewContent] {
        &self.new_contents
    }

    /// The length of what is to be stored; nothing when some of it is in the blob store.
    pub(crate) fn inline_bytes(&self) -> Option<usize> {
        self.new_contents.iter().try_fold(0, |sum, content| match &content.bytes {
            NewBytes::Inline(bytes) => Some(sum + bytes.len()),
            NewBytes::Blob(_) => None,
        })
    }

    /// The bytes of what is to be stored, without those in the blob store.
    fn new_bytes(&self) -> usize {
        self.new_contents.iter().map(NewContent::inline_bytes).sum()
    }

    /// Takes as much of what is to be stored as one statement may have, from the front.
    fn take_for_a_statement(&mut self) -> Vec<NewContent> {
        let mut bytes = 0;
        let fitting = self.new_contents.iter().take_while(|content| {
            bytes += content.inline_bytes();
            bytes <= STATEMENT_CONTENT_BYTES_MAX
        });
        let count = fitting.count().max(1).min(self.new_contents.len());
        self.new_contents.drain(..count).collect()
    }

    /// The row of a change.
    pub(crate) fn row(&self, change: &PlannedChange) -> NewChange {
        NewChange {
            path: change.path.clone(),
            content: match (change.hash, self.content(change)) {
                (None, _) => ChangedContent::Deleted,
                (Some(_), Some(stored)) => ChangedContent::Stored(stored.id),
                (Some(hash), None) => ChangedContent::New(hash),
            },
            mode: change.mode.to_i32(),
            content_type: change.content_type.clone(),
        }
    }
}

impl Operations {
    /// Checks the paths of one commit against each other.
    pub(crate) fn check_changes(&self, changes: &[FileChange]) -> Result<()> {
        if changes.len() > self.limits().commit_files_max {
            reached("commit_files");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("a commit may change at most {} files", self.limits().commit_files_max),
            ));
        }
        let mut seen = HashSet::with_capacity(changes.len());
        let mut created = BTreeSet::new();
        for change in changes {
            if change.path.as_str().len() > self.limits().path_bytes_max {
                reached("path_bytes");
                return Err(Error::bad_request(format!(
                    "a file path is longer than {} bytes",
                    self.limits().path_bytes_max
                )));
            }
            if !seen.insert(change.path.as_str()) {
                return Err(Error::bad_request(format!("file path '{}' is given twice", change.path)));
            }
            if matches!(&change.bytes, ChangedBytes::Inline(bytes) if bytes.len() as u64 > self.limits().content_bytes_max)
            {
                return Err(docstore_blobs::PutError::TooLarge { limit_bytes: self.limits().content_bytes_max }.into());
            }
            if change.bytes != ChangedBytes::Deleted {
                created.insert(change.path.as_str());
            }
        }
        let created: Vec<&str> = created.into_iter().collect();
        match clashing_paths(&created).first() {
            None => Ok(()),
            Some((file, below)) => {
                Err(Error::bad_request(format!("'{file}' cannot be a file and the directory of '{below}' at once")))
            }
        }
    }

    /// Makes contents ready: hashes what came, asks what is known, and moves large bytes to the blob store. Nothing of
    /// it is visible before the transaction of the commit names it.
    pub(crate) async fn plan(
        &self,
        repo_id: i64,
        brought_by: &str,
        batches: Vec<Vec<FileChange>>,
    ) -> Result<(Vec<Vec<PlannedChange>>, Plan)> {
        let inline_bytes: usize = batches
            .iter()
            .flatten()
            .map(|change| if let ChangedBytes::Inline(bytes) = &change.bytes { bytes.len() } else { 0 })
            .sum();
        let Hashed { planned, mut new, named } = if inline_bytes > HASH_ELSEWHERE_BYTES {
            tokio::task::spawn_blocking(move || hash(batches))
                .await
                .map_err(|error| Error::Internal(Box::new(error)))?
        } else {
            hash(batches)
        };
        let mut plan = Plan { named: named.iter().copied().collect(), ..Plan::default() };
        // What goes to the blob store is looked up first as well: what was obliterated is not written anywhere again.
        let has_blobs = new.values().any(|bytes| self.blobs().is_external(bytes.len() as u64));
        if !named.is_empty() || has_blobs || inline_bytes > STATEMENT_CONTENT_BYTES_MAX {
            let asked: Vec<ContentHash> = named.iter().chain(new.keys()).copied().collect();
            let FoundContents { known, obliterated } = find_contents(self.pool(), repo_id, &asked).await?;
            if !obliterated.is_empty() {
                return Err(self
                    .content_refused(repo_id, &obliterated, paths_of(planned.iter().flatten(), &obliterated))
                    .await);
            }
            // Where the look was for the obliterated alone, bytes that came are stored as they are: what is known now may be
            // cleared away before the commit names it.
            if !named.is_empty() || inline_bytes > STATEMENT_CONTENT_BYTES_MAX {
                for row in known {
                    new.remove(&row.hash);
                    plan.looked_up.push(row.hash);
                    plan.known.insert(row.hash, row);
                }
            }
            let mut missing: Vec<String> = named
                .iter()
                .filter(|hash| !plan.known.contains_key(*hash) && !new.contains_key(*hash))
                .map(hex::encode)
                .collect();
            // The same request is told the same.
            missing.sort_unstable();
            if !missing.is_empty() {
                return Err(Error::ContentMissing(missing));
            }
        }
        for (hash, bytes) in new {
            let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            let bytes = if self.blobs().is_external(bytes.len() as u64) {
                let key = self.put_blob(repo_id, hash, Bytes::from(bytes)).await?;
                NewBytes::Blob(key.as_str().to_owned())
            } else {
                NewBytes::Inline(bytes)
            };
            plan.new_contents.push(NewContent { hash, size, bytes, created_by: brought_by.to_owned() });
        }
        Ok((planned, plan))
    }

    /// Stores what is new of a plan before it is appended, for whoever has to read it first. The repo is held.
    ///
    /// # Errors
    /// `CONTENT_REFUSED` for what was obliterated.
    pub(crate) async fn store_early(
        &self,
        write: &mut Write,
        plan: &mut Plan,
        repo_id: i64,
        planned: &[PlannedChange],
    ) -> Result<()> {
        self.store_while(write, plan, repo_id, planned, |plan| !plan.new_contents.is_empty()).await
    }

    /// Stores what is new of a plan as far as it is too much for the statement that appends. The repo is held, and the rows of
    /// the commits are made afterwards: they name what is stored.
    ///
    /// # Errors
    /// `CONTENT_REFUSED` for what was obliterated.
    pub(crate) async fn store_ahead(
        &self,
        write: &mut Write,
        plan: &mut Plan,
        repo_id: i64,
        planned: &[PlannedChange],
    ) -> Result<()> {
        self.store_while(write, plan, repo_id, planned, |plan| plan.new_bytes() > STATEMENT_CONTENT_BYTES_MAX).await
    }

    /// Stores what is new of a plan, as much as one statement may take at a time, while there is too much of it.
    async fn store_while(
        &self,
        write: &mut Write,
        plan: &mut Plan,
        repo_id: i64,
        planned: &[PlannedChange],
        is_too_much: impl Fn(&Plan) -> bool,
    ) -> Result<()> {
        self.check_looked_up(write, plan, repo_id, planned).await?;
        // In the order in which each statement stores its part: who stores the same ones at the same time waits, but never in
        // a circle.
        plan.new_contents.sort_unstable_by_key(|content| content.hash);
        while is_too_much(plan) {
            let new_contents = plan.take_for_a_statement();
            let stored = store_contents(&mut write.transaction, repo_id, &new_contents).await?;
            self.take_stored(write, plan, repo_id, new_contents, stored, planned).await?;
        }
        Ok(())
    }

    /// Refuses what was looked up before the repo was held and has been obliterated since.
    async fn check_looked_up(
        &self,
        write: &mut Write,
        plan: &mut Plan,
        repo_id: i64,
        planned: &[PlannedChange],
    ) -> Result<()> {
        let looked_up = std::mem::take(&mut plan.looked_up);
        if looked_up.is_empty() {
            return Ok(());
        }
        let marks = obliterations_of(&mut *write.transaction, repo_id, &looked_up).await?;
        if marks.is_empty() {
            return Ok(());
        }
        let gone: Vec<ContentHash> = marks.iter().flat_map(|mark| parse_hash(&mark.content_hash)).collect();
        Err(Error::ContentRefused { paths: paths_of(planned.iter(), &gone), obliterated: marks })
    }

    /// Takes over what was stored of a plan; what was not stored was obliterated.
    async fn take_stored(
        &self,
        write: &mut Write,
        plan: &mut Plan,
        repo_id: i64,
        new_contents: Vec<NewContent>,
        stored: Vec<ContentRow>,
        planned: &[PlannedChange],
    ) -> Result<()> {
        plan.known.extend(stored.into_iter().map(|row| (row.hash, row)));
        let refused: Vec<NewContent> =
            new_contents.into_iter().filter(|content| !plan.known.contains_key(&content.hash)).collect();
        if refused.is_empty() {
            return Ok(());
        }
        let hashes: Vec<ContentHash> = refused.iter().map(|content| content.hash).collect();
        write.transaction.roll_back();
        Err(self.refuse_new(repo_id, &refused, paths_of(planned.iter(), &hashes)).await)
    }

    /// Refuses contents that were obliterated after their bytes had been taken in. Blobs that were written for them go at
    /// once: they must not lie about for the day that others have.
    pub(crate) async fn refuse_new(&self, repo_id: i64, refused: &[NewContent], paths: Vec<String>) -> Error {
        let blobs = refused.iter().filter_map(|content| match &content.bytes {
            NewBytes::Blob(key) => Some(key.clone()),
            NewBytes::Inline(_) => None,
        });
        let blobs: Vec<String> = blobs.collect();
        if !blobs.is_empty()
            && let Err(error) = hasten_blob_deletions(self.pool(), &blobs).await
        {
            return error.into();
        }
        let hashes: Vec<ContentHash> = refused.iter().map(|content| content.hash).collect();
        self.content_refused(repo_id, &hashes, paths).await
    }

    /// Appends commits of a plan to a locked branch, and stores their contents; afterwards every content of the plan can be
    /// looked up. `planned` is what they make of each path, when that may be refused because a path would be a file and a
    /// directory at once.
    ///
    /// # Errors
    /// `CONTENT_REFUSED` for what was obliterated; `CONTENT_MISSING` with the contents to upload again, when some that the
    /// request only names were cleared away after they were looked up; a conflict with a file in the way.
    pub(crate) async fn append(
        &self,
        write: &mut Write,
        locked: &LockedBranch,
        footing: Footing,
        commits: &[NewCommit],
        plan: &mut Plan,
        planned: &[PlannedChange],
    ) -> Result<()> {
        self.check_looked_up(write, plan, locked.repo_id, planned).await?;
        let created = created_paths(planned);
        let new_contents = std::mem::take(&mut plan.new_contents);
        let append = BranchAppend { branch: locked, footing, commits, created: &created };
        let brought =
            Brought { contents: &new_contents.iter().collect::<Vec<_>>(), events: &std::mem::take(&mut write.events) };
        let appended = append_commits(&mut write.transaction, locked.repo_id, &[append], brought).await;
        let Appended { contents, crowded } = match appended {
            Err(error) if error.is_constraint("file_changes_content_id_fkey") => {
                write.transaction.roll_back();
                let there: HashSet<ContentHash> = find_contents(self.pool(), locked.repo_id, &plan.named)
                    .await?
                    .known
                    .into_iter()
                    .map(|row| row.hash)
                    .collect();
                let gone: Vec<String> =
                    plan.named.iter().filter(|hash| !there.contains(*hash)).map(hex::encode).collect();
                return Err(if gone.is_empty() { error.into() } else { Error::ContentMissing(gone) });
            }
            appended => appended?,
        };
        self.take_stored(write, plan, locked.repo_id, new_contents, contents, planned).await?;
        if !crowded {
            return Ok(());
        }
        // What was in the way before and is deleted by the same commits is so no more.
        let found = files_in_the_way(&mut *write.transaction, &locked.branch, locked.repo_id, &created, &[]).await?;
        match found.first() {
            None => Ok(()),
            Some((path, in_the_way)) => Err(Error::refused(
                ErrorCode::Conflict,
                format!("'{path}' cannot be created: '{in_the_way}' is in its way on branch '{}'", locked.branch.name),
            )),
        }
    }

    /// A key for a blob whose deletion is scheduled before its first byte is written: if nothing names it, it goes.
    pub(crate) async fn scheduled_key(&self, repo_id: i64) -> Result<BlobKey> {
        let key = self.blobs().new_key(repo_id);
        schedule_blob_deletion(self.pool(), key.as_str(), UNNAMED_BLOB_HOURS).await?;
        Ok(key)
    }

    async fn put_blob(&self, repo_id: i64, hash: ContentHash, bytes: Bytes) -> Result<BlobKey> {
        let key = self.scheduled_key(repo_id).await?;
        let limit = self.limits().content_bytes_max;
        let stream = stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        self.blobs().put(&key, stream, limit, Some(hash)).await?;
        Ok(key)
    }
}

/// The paths at which there is a file after the changes.
pub(crate) fn created_paths(planned: &[PlannedChange]) -> Vec<&str> {
    planned.iter().filter(|change| change.hash.is_some()).map(|change| change.path.as_str()).collect()
}

/// The paths of changes that have one of the contents, in the order given, each once.
fn paths_of<'a>(planned: impl Iterator<Item = &'a PlannedChange>, hashes: &[ContentHash]) -> Vec<String> {
    let mut seen = HashSet::new();
    let named = planned.filter(|change| change.hash.is_some_and(|hash| hashes.contains(&hash)));
    named.map(|change| change.path.clone()).filter(|path| seen.insert(path.clone())).collect()
}

struct Hashed {
    planned: Vec<Vec<PlannedChange>>,
    /// Bytes that came, by hash.
    new: HashMap<ContentHash, Vec<u8>>,
    /// Hashes that the request only names.
    named: HashSet<ContentHash>,
}

fn hash(batches: Vec<Vec<FileChange>>) -> Hashed {
    let mut new = HashMap::new();
    let mut named = HashSet::new();
    let mut plan = |change: FileChange| {
        let hash = match change.bytes {
            ChangedBytes::Inline(bytes) => {
                let hash: ContentHash = Sha256::digest(&bytes).into();
                new.insert(hash, bytes);
                Some(hash)
            }
            ChangedBytes::Stored(hash) => {
                named.insert(hash);
                Some(hash)
            }
            ChangedBytes::Deleted => None,
        };
        PlannedChange {
            path: change.path.into(),
            hash,
            content_type: change.content_type.filter(|_| hash.is_some()),
            mode: change.mode,
        }
    };
    let planned = batches.into_iter().map(|batch| batch.into_iter().map(&mut plan).collect()).collect();
    Hashed { planned, new, named }
}

/// Builds the commits of one branch one after the other, each chained to the one before.
pub(crate) struct ChainBuilder<'a> {
    repo: &'a str,
    branch: &'a str,
    previous: String,
    commits: Vec<NewCommit>,
}

/// Commits chained to the head of a branch.
pub(crate) struct NewCommits {
    pub(crate) commits: Vec<NewCommit>,
    /// The hash of the last one, in hex.
    pub(crate) head_hash: String,
}

/// What a commit is, apart from its files.
pub(crate) struct CommitHead {
    pub(crate) sequence: i64,
    pub(crate) author: String,
    pub(crate) message: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) replayed_from: Option<i64>,
    pub(crate) imported_from: Option<String>,
    /// Who brings it, when the author is somebody else.
    pub(crate) pushed_by: Option<String>,
}

impl<'a> ChainBuilder<'a> {
    pub(crate) fn new(repo: &'a str, seen: &'a SeenBranch) -> Self {
        let previous = seen.branch.head_hash.as_ref().map_or_else(|| GENESIS.to_owned(), hex::encode);
        Self { repo, branch: &seen.branch.name, previous, commits: Vec::new() }
    }

    /// Adds a commit; `hashes` are the content hashes of its changes in the same order, none for deletions.
    pub(crate) fn push(&mut self, head: CommitHead, changes: Vec<NewChange>, hashes: &[Option<String>]) {
        let created_at = Timestamp::from(as_stored(head.created_at));
        self.previous = chain_hash(&ChainInput {
            previous: &self.previous,
            sequence: head.sequence,
            repo: self.repo,
            branch: self.branch,
            author: &head.author,
            message: &head.message,
            created_at,
            files: changes
                .iter()
                .zip(hashes)
                .map(|(change, hash)| (change.path.as_str(), hash.as_deref().unwrap_or_default()))
                .collect(),
        });
        self.commits.push(NewCommit {
            sequence: head.sequence,
            message: head.message,
            author: head.author,
            created_at: created_at.to_utc(),
            commit_hash: hex::decode(&self.previous).unwrap_or_default(),
            replayed_from: head.replayed_from,
            imported_from: head.imported_from,
            pushed_by: head.pushed_by,
            changes,
        });
    }

    /// The hash of the last commit, in hex.
    pub(crate) fn head_hash(&self) -> &str {
        &self.previous
    }

    /// The commits, and the hash of the last one.
    pub(crate) fn finish(self) -> NewCommits {
        NewCommits { commits: self.commits, head_hash: self.previous }
    }
}

/// A moment as PostgreSQL keeps it. It knows no leap seconds: the 60th is the first of the next minute.
fn as_stored(moment: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(moment.timestamp_micros()).unwrap_or(moment)
}

/// Refuses when a branch is not where the request expected it.
pub(crate) fn expect_head(locked: &LockedBranch, expected: Option<i64>) -> Result<()> {
    match expected {
        Some(expected) if expected != locked.branch.head_sequence => {
            Err(Error::HeadMoved { branch: locked.branch.name.clone(), head_sequence: locked.branch.head_sequence })
        }
        _ => Ok(()),
    }
}

/// The longest title in bytes: it is one line of a list.
const TITLE_BYTES_MAX: usize = 1024;

/// Refuses a title that cannot be stored.
pub(crate) fn check_title(title: &str) -> Result<()> {
    check_text("title", title, TITLE_BYTES_MAX)
}

/// Refuses a text that is too long, or that PostgreSQL cannot store.
pub(crate) fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() > bytes_max {
        reached(match what {
            "imported_from" => "imported_from_bytes",
            "title" => "title_bytes",
            _ => "message_bytes",
        });
        return Err(Error::refused(ErrorCode::PayloadTooLarge, format!("{what} is longer than {bytes_max} bytes")));
    }
    if text.contains('\0') {
        return Err(Error::bad_request(format!("{what} holds a NUL character")));
    }
    Ok(())
}
