//! Reading: trees, files, commits, chains.

use std::ops::Range;

use bytes::Bytes;
use docstore_auth::Caller;
use docstore_blobs::{BlobKey, Stored};
use docstore_database::{
    access::{RepoFacts, facts_and_file},
    commits,
    contents::{ContentHash, StoredBytes},
    lists::PageBounds,
    obliterations, releases,
    trees::{self, DirectoryRow, FileRow, Page, PageQuery, TreeRow},
};
use docstore_models::{
    ChainEntry, CommitDetail, CommitList, DirectoryEntry, ErrorCode, FileHistoryEntry, FileMode, MAIN_BRANCH, TreeEntry,
};
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Error, Operations, Reader, Result, error::Damage, limits::reached, lists::LIST_PAGE_BYTES};

/// A point of a branch to read at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPoint {
    /// The branch.
    pub branch: String,
    /// The sequence; the head when absent.
    pub at: Option<i64>,
}

/// One tree, for ever: see [`Operations::pin`].
#[derive(Clone, Debug)]
pub struct PinnedTree {
    /// Identifies the tree: equal tags mean equal trees.
    pub tag: String,
    /// Whether the point that was asked for can never mean another tree: the branch has reached it.
    pub settled: bool,
    pub(crate) repo_id: i64,
    pub(crate) branch_id: i64,
    /// How many files its archive leaves out, because their bytes were obliterated.
    pub left_out: i64,
    pub(crate) branch: String,
    pub(crate) at: i64,
}

/// One page of a tree or of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePage<Entry> {
    /// What is on the page.
    pub entries: Vec<Entry>,
    /// Whether the answer can never change: it is for a sequence that the branch has passed.
    pub settled: bool,
}

/// The bytes of a content, each portion verified before it comes. After an error there are no more.
pub type ContentStream = BoxStream<'static, Result<Bytes>>;

/// The bytes of a file.
pub enum FileBytes {
    /// All of them, checked against their hash.
    Whole(Bytes),
    /// A stream that checks them on the way and ends in an error when they are damaged.
    Stream(ContentStream),
}

/// A file that was found.
pub struct FileRead {
    /// The content.
    pub version_id: Uuid,
    /// SHA-256 of the bytes, lower-case hex.
    pub content_hash: String,
    /// The length in bytes.
    pub size: u64,
    /// The media type that came with the commit.
    pub content_type: Option<String>,
    /// The mode.
    pub mode: FileMode,
    /// Whether the answer can never change: it is for a sequence that the branch has passed.
    pub settled: bool,
    stored: StoredBytes,
    hash: [u8; 32],
    repo_id: i64,
}

impl FileRead {
    pub(crate) fn new(repo_id: i64, row: FileRow) -> Self {
        Self {
            version_id: row.version_id,
            content_hash: hex::encode(row.hash),
            size: u64::try_from(row.size).unwrap_or_default(),
            content_type: row.content_type,
            mode: row.mode,
            settled: row.settled,
            stored: row.bytes,
            hash: row.hash,
            repo_id,
        }
    }

    /// Whether its bytes were taken out of the repo for good.
    pub(crate) fn is_obliterated(&self) -> bool {
        self.stored == StoredBytes::Obliterated
    }
}

pub(crate) fn file_not_found() -> Error {
    Error::refused(ErrorCode::NotFound, "file not found")
}

impl Operations {
    /// Reads an `at` parameter: a sequence, or the name of a release.
    ///
    /// # Errors
    /// When it is neither.
    pub async fn resolve_at(&self, reader: &Reader, at: &str) -> Result<i64> {
        if let Ok(sequence) = at.parse() {
            return Ok(sequence);
        }
        let release = releases::release(self.pool(), reader.repo_id(), reader.repo(), at).await?;
        release
            .map(|release| release.sequence)
            .ok_or_else(|| Error::bad_request("invalid 'at' parameter: not a sequence number or release name"))
    }

    /// The tree at a point, which stays the same tree while the branch moves on.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`.
    pub async fn pin(&self, reader: &Reader, point: &ReadPoint) -> Result<PinnedTree> {
        self.pin_in(reader.repo_id(), point).await
    }

    pub(crate) async fn pin_in(&self, repo_id: i64, point: &ReadPoint) -> Result<PinnedTree> {
        let found = trees::tree_point(self.pool(), repo_id, &point.branch, point.at)
            .await?
            .ok_or_else(Error::branch_not_found)?;
        let left_out = obliterations::count_left_out(self.pool(), repo_id, &point.branch, point.at).await?;
        let mut text =
            format!("{}:{}:{}:{}", found.branch_id, found.base_sequence, found.floor_sequence, found.upto_sequence);
        // The one thing that changes a tree is that bytes of it go; their number only rises.
        if left_out > 0 {
            text.push_str(&format!(":{left_out}"));
        }
        Ok(PinnedTree {
            tag: hex::encode(Sha256::digest(text)),
            settled: point.at.is_some_and(|at| at <= found.head_sequence),
            repo_id,
            branch_id: found.branch_id,
            left_out,
            branch: point.branch.clone(),
            // Beyond the head there is nothing yet, but there may be soon.
            at: point.at.unwrap_or(found.head_sequence).min(found.head_sequence),
        })
    }

    /// Refuses when the branch of a pinned tree has gone, or when its name has passed to another one.
    pub(crate) async fn check_pinned(&self, tree: &PinnedTree) -> Result<()> {
        let found = trees::tree_point(self.pool(), tree.repo_id, &tree.branch, Some(tree.at)).await?;
        match found {
            Some(found) if found.branch_id == tree.branch_id => Ok(()),
            _ => Err(Error::branch_not_found()),
        }
    }

    /// One page of a tree, in bytewise order of the paths, for whoever may read the repo: the right to it and the page in
    /// one round trip.
    ///
    /// # Errors
    /// As [`Operations::access`]; then `BRANCH_NOT_FOUND`.
    pub async fn tree_page(
        &self,
        caller: &Caller,
        repo: &str,
        point: &ReadPoint,
        after: &str,
        limit: Option<i64>,
    ) -> Result<TreePage<TreeEntry>> {
        let query = self.page_query(caller, repo, point, after, limit);
        let found = trees::repo_facts_and_tree_page(self.pool(), &query).await?;
        self.judged_page(caller, repo, point, found, tree_entry)
    }

    /// The same with the children of a directory; `""` is the root. The cost is that of the children, however much is below
    /// them.
    ///
    /// # Errors
    /// As [`Operations::tree_page`].
    pub async fn directory(
        &self,
        caller: &Caller,
        repo: &str,
        point: &ReadPoint,
        directory: &str,
        after: &str,
        limit: Option<i64>,
    ) -> Result<TreePage<DirectoryEntry>> {
        let query = self.page_query(caller, repo, point, after, limit);
        let found = trees::repo_facts_and_directory_page(self.pool(), &query, directory.trim_matches('/')).await?;
        self.judged_page(caller, repo, point, found, |row| match row {
            DirectoryRow::File(file) => DirectoryEntry::File(tree_entry(file)),
            DirectoryRow::Directory(path) => DirectoryEntry::Directory { path },
        })
    }

    fn page_query<'a>(
        &self,
        caller: &'a Caller,
        repo: &'a str,
        point: &'a ReadPoint,
        after: &'a str,
        limit: Option<i64>,
    ) -> PageQuery<'a> {
        PageQuery {
            repo,
            identity: caller.rights_of().as_str(),
            branch: &point.branch,
            at: point.at,
            after,
            limit: self.limits().page(limit, 100),
        }
    }

    fn judged_page<Row, Entry>(
        &self,
        caller: &Caller,
        repo: &str,
        point: &ReadPoint,
        found: Option<(RepoFacts, Option<Page<Row>>)>,
        entry: impl Fn(Row) -> Entry,
    ) -> Result<TreePage<Entry>> {
        let (facts, page) = found.map_or((None, None), |(facts, page)| (Some(facts), page));
        let _reader: Reader = self.judge(caller, repo, facts)?.try_into()?;
        let page = page.ok_or_else(Error::branch_not_found)?;
        Ok(TreePage {
            settled: point.at.is_some_and(|at| at <= page.head_sequence),
            entries: page.entries.into_iter().map(entry).collect(),
        })
    }

    pub(crate) async fn require_branch(&self, reader: &Reader, branch: &str) -> Result<()> {
        trees::tree_point(self.pool(), reader.repo_id(), branch, None)
            .await?
            .map(|_| ())
            .ok_or_else(Error::branch_not_found)
    }

    /// Finds a file; its bytes are read by [`Operations::file_bytes`].
    ///
    /// # Errors
    /// `NOT_FOUND` when the branch, or the file there, does not exist; `CONTENT_OBLITERATED`.
    pub async fn file(&self, reader: &Reader, point: &ReadPoint, path: &str) -> Result<FileRead> {
        let row = trees::file(self.pool(), reader.repo_id(), &point.branch, point.at, path).await?;
        self.readable(reader.repo_id(), row).await
    }

    /// Finds a file at the head of a branch for whoever may read the repo: the right to it and the file in one round trip.
    ///
    /// # Errors
    /// As [`Operations::access`]; then those of [`Operations::file`].
    pub async fn file_at_head(&self, caller: &Caller, repo: &str, branch: &str, path: &str) -> Result<FileRead> {
        let found = if branch == MAIN_BRANCH {
            self.facts_and_main_file(caller, repo, path).await?
        } else {
            facts_and_file(self.pool(), repo, caller.rights_of().as_str(), branch, path).await?
        };
        let (facts, file) = found.map_or((None, None), |(facts, file)| (Some(facts), file));
        let reader: Reader = self.judge(caller, repo, facts)?.try_into()?;
        self.readable(reader.repo_id(), file).await
    }

    /// A file whose bytes can be read.
    async fn readable(&self, repo_id: i64, row: Option<FileRow>) -> Result<FileRead> {
        let file = FileRead::new(repo_id, row.ok_or_else(file_not_found)?);
        if file.is_obliterated() {
            return Err(self.gone(repo_id, file.hash).await);
        }
        Ok(file)
    }

    /// Why a file has no bytes: the mark says. If there is none, they are lost.
    async fn gone(&self, repo_id: i64, hash: [u8; 32]) -> Error {
        match self.obliterated(repo_id, hash).await {
            Ok(Some(obliterated)) => obliterated,
            Ok(None) => Error::Corrupt(Damage::Bytes(hash)),
            Err(error) => error,
        }
    }

    /// The bytes of a file, all or a range, checked against their hash.
    ///
    /// # Errors
    /// `CONTENT_CORRUPT` when they do not match it; they are then not given. `CONTENT_OBLITERATED`.
    pub async fn file_bytes(&self, file: FileRead, range: Option<Range<u64>>) -> Result<FileBytes> {
        match file.stored {
            StoredBytes::Inline(bytes) => {
                let bytes = checked(bytes, &file.hash)?;
                Ok(FileBytes::Whole(match range {
                    None => bytes,
                    Some(range) => {
                        let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(bytes.len());
                        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
                        bytes.slice(start..end)
                    }
                }))
            }
            StoredBytes::Blob(key) => {
                match self.blob(&key, file.hash, file.size, range).await {
                    Ok(bytes) => Ok(FileBytes::Stream(bytes)),
                    // Obliterated after its row was read; if not, it is lost.
                    Err(lost) => Err(self.obliterated(file.repo_id, file.hash).await?.unwrap_or(lost)),
                }
            }
            StoredBytes::Obliterated => Err(self.gone(file.repo_id, file.hash).await),
        }
    }

    /// The bytes of a content in the blob store, all or a range. An error names the blob.
    pub(crate) async fn blob(
        &self,
        key: &str,
        hash: ContentHash,
        size: u64,
        range: Option<Range<u64>>,
    ) -> Result<ContentStream> {
        let key = parse_key(key)?;
        match self.blobs().get(&key, &Stored { sha256: hash, size }, range).await {
            Ok(bytes) => Ok(bytes.map_err(move |error| Error::of_blob(error, &key, &hash)).boxed()),
            Err(error) => Err(Error::of_blob(error, &key, &hash)),
        }
    }

    /// A page of the history of a file, newest first: so many entries, or fewer when their messages are long.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`.
    pub async fn file_history(
        &self,
        reader: &Reader,
        branch: &str,
        path: &str,
        before: Option<i64>,
        limit: Option<i64>,
    ) -> Result<Vec<FileHistoryEntry>> {
        let page = PageBounds { rows: self.limits().page(limit, 100), bytes: LIST_PAGE_BYTES };
        let rows = commits::file_history(self.pool(), reader.repo_id(), branch, path, before, page).await?;
        if rows.is_empty() {
            self.require_branch(reader, branch).await?;
        }
        Ok(rows)
    }

    /// One commit.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn commit_detail(&self, reader: &Reader, sequence: i64) -> Result<CommitDetail> {
        let mut connection = self.pool().acquire().await?;
        let commit = commits::commit(&mut connection, reader.repo_id(), sequence).await?;
        connection.done();
        commit.ok_or_else(|| Error::refused(ErrorCode::NotFound, "commit not found"))
    }

    /// One page of the commits that lead to the head of a branch, newest first: so many, or fewer when their messages are long.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`.
    pub async fn log(
        &self,
        reader: &Reader,
        branch: &str,
        before: Option<i64>,
        limit: Option<i64>,
    ) -> Result<CommitList> {
        let limit = self.limits().page(limit, 100);
        // One row more than asked for tells whether there is a next page; there may be one behind so many bytes.
        let bounds = PageBounds { rows: limit + 1, bytes: LIST_PAGE_BYTES };
        let mut rows = commits::log(self.pool(), reader.repo_id(), branch, before, bounds).await?;
        if rows.is_empty() {
            self.require_branch(reader, branch).await?;
        }
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let bytes: usize = rows.iter().map(|row| row.message.len()).sum();
        let more = rows.len() > page || i64::try_from(bytes).is_ok_and(|bytes| bytes >= LIST_PAGE_BYTES);
        rows.truncate(page);
        let next_before = if more { rows.last().map(|row| row.sequence) } else { None };
        Ok(CommitList { commits: rows, next_before })
    }

    /// The commits between two numbers, both included, as a stream.
    ///
    /// # Errors
    /// When the bounds are the wrong way round.
    pub fn chain(
        &self,
        reader: &Reader,
        branch: Option<&str>,
        from: i64,
        to: i64,
        limit: Option<i64>,
    ) -> Result<impl Stream<Item = Result<ChainEntry>> + Send + 'static> {
        if from > to {
            return Err(Error::bad_request("'from' must be <= 'to'"));
        }
        let rows_max = self.limits().chain_rows_max;
        let is_cut = limit.is_none_or(|limit| limit > rows_max);
        let limit = limit.unwrap_or(rows_max).min(rows_max);
        let (pool, repo_id, branch) = (self.pool().clone(), reader.repo_id(), branch.map(str::to_owned));
        // In pages, so that a slow reader holds no connection.
        let pages = stream::try_unfold(Some((None, from, limit)), move |state| {
            let (pool, branch) = (pool.clone(), branch.clone());
            async move {
                let Some((mut heads, from, left)) = state else { return Ok::<_, Error>(None) };
                let page = PageBounds { rows: left.min(CHAIN_PAGE_ROWS), bytes: LIST_PAGE_BYTES };
                let entries = match branch.as_deref() {
                    Some(branch) => commits::chain_of_branch(&pool, repo_id, branch, from, to, page).await?,
                    None => {
                        let heads = match &mut heads {
                            Some(heads) => heads,
                            none => none.insert(commits::heads(&pool, repo_id).await?),
                        };
                        commits::chain(&pool, repo_id, heads, from, to, page).await?
                    }
                };
                let count = i64::try_from(entries.len()).unwrap_or(page.rows);
                let is_full = count == page.rows || entries.iter().map(commits::chain_bytes).sum::<i64>() >= page.bytes;
                if is_cut && count == left {
                    reached("chain_rows");
                }
                let next = entries
                    .last()
                    .filter(|_| is_full && left > count)
                    .map(|last| (heads, last.sequence + 1, left - count));
                Ok(Some((stream::iter(entries.into_iter().map(Ok)), next)))
            }
        });
        Ok(pages.try_flatten())
    }
}

/// How many entries of a chain are read at once: their short parts take about 500 bytes each.
const CHAIN_PAGE_ROWS: i64 = 500;

/// The bytes, if they have the hash.
pub(crate) fn checked(bytes: Vec<u8>, hash: &ContentHash) -> Result<Bytes> {
    if Sha256::digest(&bytes).as_slice() == hash { Ok(bytes.into()) } else { Err(Error::Corrupt(Damage::Bytes(*hash))) }
}

pub(crate) fn parse_key(key: &str) -> Result<BlobKey> {
    key.parse().map_err(|error: docstore_blobs::NotABlobKey| Error::Internal(Box::new(error)))
}

/// `hex::encode` without its detour over characters: a page has thousands of hashes.
fn hash_text(hash: &ContentHash) -> String {
    let mut digits = [0; 2 * size_of::<ContentHash>()];
    let encoded = hex::encode_to_slice(hash, &mut digits).ok();
    encoded.and_then(|()| String::from_utf8(digits.to_vec()).ok()).unwrap_or_default()
}

fn tree_entry(row: TreeRow) -> TreeEntry {
    TreeEntry {
        path: row.path,
        version_id: row.version_id,
        content_hash: hash_text(&row.hash),
        size: row.size,
        mode: row.mode,
        obliterated: row.obliterated,
    }
}
