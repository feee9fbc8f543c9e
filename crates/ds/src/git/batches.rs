use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Read,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_models::{FileChangeRequest, FileMode, FilePath};
use tempfile::TempDir;

use super::{
    GitCommit, Repository,
    blobs::Blobs,
    tree_diff::{Now, TreeDiff},
};
use crate::{
    Failure,
    failure::About,
    hash::{digest_reader, hash_bytes},
    upload::{content_type, mode_on_the_wire},
};

/// How much goes into one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Commits.
    pub(crate) commits_max: usize,
    /// Bytes of content inside the commits, before base64. A single commit may have more.
    pub(crate) bytes_max: u64,
    /// Contents larger than this go ahead of the commits, from a file; with `None` nothing does.
    pub(crate) inline_bytes_max: Option<u64>,
}

/// A content that has to be at the server before the commits are.
#[derive(Debug)]
pub(crate) struct LargeContent {
    pub(crate) hash: String,
    pub(crate) size: u64,
    pub(crate) file: PathBuf,
}

/// Commits for one request, with what they change.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) commits: Vec<(GitCommit, Vec<FileChangeRequest>)>,
    pub(crate) large: Vec<LargeContent>,
    /// What was left out, as sentences.
    pub(crate) warnings: Vec<String>,
    bytes: u64,
    number: u64,
    /// Keeps the files of large contents until they are sent; the reader may be through by then.
    _folder: Option<Arc<TempDir>>,
}

/// Which contents the server has, because a batch with them was acknowledged. The reader is ahead of the sender, so this is
/// how far the sender is.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownContents {
    acknowledged: Arc<AtomicU64>,
}

impl KnownContents {
    /// All contents up to this batch are there.
    pub(crate) fn acknowledge(&self, batch: &Batch) {
        self.acknowledged.store(batch.number, Ordering::Release);
    }

    fn has(&self, number: u64) -> bool {
        number <= self.acknowledged.load(Ordering::Acquire)
    }
}

struct SentBlob {
    hash: String,
    text: bool,
    /// The batch that carries the content.
    batch: u64,
}

/// Reads commits and what they change, in portions. Runs git and waits for it: not for an async thread.
pub(crate) struct Batches<I: Iterator> {
    commits: std::iter::Peekable<I>,
    diff: TreeDiff,
    blobs: Blobs,
    tree: String,
    limits: BatchLimits,
    sent: HashMap<String, SentBlob>,
    known: KnownContents,
    folder: Arc<TempDir>,
    number: u64,
    warned: std::collections::HashSet<Vec<u8>>,
}

impl<I: Iterator<Item = Result<GitCommit, Failure>>> Batches<I> {
    /// Starts from a tree, which the branch has already.
    pub(crate) fn new(
        repository: &Repository,
        commits: I,
        tree: String,
        limits: BatchLimits,
        known: KnownContents,
    ) -> Result<Self, Failure> {
        let folder =
            tempfile::Builder::new().prefix("ds-import-").tempdir().about("create", &PathBuf::from("a folder"))?;
        Ok(Self {
            commits: commits.peekable(),
            diff: TreeDiff::start(repository)?,
            blobs: Blobs::start(repository)?,
            tree,
            limits,
            sent: HashMap::new(),
            known,
            folder: Arc::new(folder),
            number: 0,
            warned: std::collections::HashSet::new(),
        })
    }

    fn read_batch(&mut self) -> Result<Batch, Failure> {
        self.number += 1;
        let mut batch = Batch { number: self.number, _folder: Some(self.folder.clone()), ..Batch::default() };
        while batch.commits.len() < self.limits.commits_max && batch.bytes < self.limits.bytes_max {
            let Some(commit) = self.commits.next() else { break };
            let commit = commit?;
            let files = self.changes(&commit, &mut batch)?;
            self.tree.clone_from(&commit.tree);
            batch.commits.push((commit, files));
        }
        Ok(batch)
    }

    fn changes(&mut self, commit: &GitCommit, batch: &mut Batch) -> Result<Vec<FileChangeRequest>, Failure> {
        let changes = self.diff.between(&self.tree, &commit.tree)?;
        // Ordered, and each path once: a path that changes its kind is a deletion and an addition to git.
        let mut files: BTreeMap<String, FileChangeRequest> = BTreeMap::new();
        for change in changes {
            let path = match String::from_utf8(change.path) {
                Ok(path) => path,
                Err(error) => {
                    self.warn(batch, error.as_bytes(), "its name is not UTF-8");
                    continue;
                }
            };
            if let Err(error) = FilePath::parse(path.as_str()) {
                self.warn(batch, path.as_bytes(), &error.to_string());
                continue;
            }
            let deletion = FileChangeRequest { path: path.clone(), ..FileChangeRequest::default() };
            match change.now {
                Now::Nothing { submodule } => {
                    if submodule {
                        self.warn(batch, path.as_bytes(), "it is a submodule");
                    }
                    files.entry(path).or_insert(deletion);
                }
                Now::File { blob, mode } => {
                    let file = self.file(&path, &blob, mode, batch)?;
                    files.insert(path, file);
                }
            }
        }
        Ok(files.into_values().collect())
    }

    fn warn(&mut self, batch: &mut Batch, path: &[u8], why: &str) {
        if self.warned.insert(path.to_vec()) {
            batch.warnings.push(format!("'{}' is left out: {why}", String::from_utf8_lossy(path).escape_debug()));
        }
    }

    fn file(
        &mut self,
        path: &str,
        blob: &str,
        mode: FileMode,
        batch: &mut Batch,
    ) -> Result<FileChangeRequest, Failure> {
        let described = |hash: Option<String>, content: Option<String>, text: bool| FileChangeRequest {
            content_type: content_type(path, text || mode == FileMode::Symlink),
            mode: mode_on_the_wire(mode),
            content_hash: hash,
            content,
            path: path.to_owned(),
        };
        let by_hash = self.limits.inline_bytes_max.is_some();
        if let Some(sent) = self.sent.get(blob)
            && by_hash
            && (self.known.has(sent.batch) || batch.large.iter().any(|large| large.hash == sent.hash))
        {
            return Ok(described(Some(sent.hash.clone()), None, sent.text));
        }
        let inline_max = self.limits.inline_bytes_max.unwrap_or(u64::MAX);
        let (folder, number) = (&self.folder, self.number);
        enum Content {
            Inline(Vec<u8>),
            Large(LargeContent, bool),
        }
        let content = self.blobs.read(blob, |size, reader| {
            if size <= inline_max {
                let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
                reader
                    .read_to_end(&mut bytes)
                    .map_err(|error| Failure::new(format!("cannot read from git: {error}")))?;
                return Ok(Content::Inline(bytes));
            }
            // A name of its own: the same content may still be on its way out of an earlier batch.
            let file = folder.path().join(format!("{number}-{blob}"));
            let output = fs::File::create(&file).about("create", &file)?;
            let digested = digest_reader(Tee { reader, output }).about("write", &file)?;
            Ok(Content::Large(LargeContent { hash: digested.hash, size: digested.size, file }, digested.text))
        })?;
        let (request, hash, text) = match content {
            Content::Inline(bytes) => {
                let (hash, text) = (hash_bytes(&bytes), std::str::from_utf8(&bytes).is_ok());
                batch.bytes += bytes.len() as u64;
                (described(None, Some(STANDARD.encode(&bytes)), text), hash, text)
            }
            Content::Large(large, text) => {
                let hash = large.hash.clone();
                if !batch.large.iter().any(|other| other.hash == hash) {
                    batch.large.push(large);
                }
                (described(Some(hash.clone()), None, text), hash, text)
            }
        };
        self.sent.insert(blob.to_owned(), SentBlob { hash, text, batch: self.number });
        Ok(request)
    }
}

impl<I: Iterator<Item = Result<GitCommit, Failure>>> Iterator for Batches<I> {
    type Item = Result<Batch, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.commits.peek()?;
        Some(self.read_batch())
    }
}

/// Writes down what is read through it.
struct Tee<'r> {
    reader: &'r mut dyn Read,
    output: fs::File,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        std::io::Write::write_all(&mut self.output, &buffer[..count])?;
        Ok(count)
    }
}
