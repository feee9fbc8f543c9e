//! Trees as tar archives.
//!
//! The bytes are the same for the same branch and sequence, for ever: presigned checksums depend on it. Regular files
//! only carry mode 0644 as in the contract (server §7); executables 0755 and symbolic links are additive. Owner and time
//! are zero. A file whose bytes were obliterated is left out, and whoever reads the archive is told how many there are: the
//! one thing that ever changes an archive. Names that do not fit a USTAR header get a PAX record before them.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use docstore_database::{
    contents::{ContentBytes, ContentHash, StoredBytes, content_bytes, inline_bytes},
    trees::{self, StoredFile, TreeQuery, behind},
};
use docstore_models::FileMode;
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{Error, Operations, PinnedTree, ReadPoint, Reader, Result, error::Damage, reads::checked};

/// How many files are read from the tree at once.
const BATCH_FILES: usize = 500;

/// Up to how many bytes a content is read with the tree: with as many as are read at once, half of a batch.
const SMALL_BYTES_MAX: i32 = 4 * 1024;

/// How many bytes of small files are held at once, apart from one file that is larger.
const BATCH_BYTES: i64 = 4 * 1024 * 1024;

/// How many batches are on their way at once: while one is written, the database finds the next.
const BATCHES_AHEAD: usize = 2;

/// A tar block.
const BLOCK: usize = 512;

/// The longest target of a symbolic link: Linux' `PATH_MAX`, the NUL at its end not counted.
const LINK_TARGET_BYTES_MAX: u64 = 4095;

/// A file on its way into an archive.
#[derive(Clone, Debug)]
pub struct ArchiveEntry {
    path: String,
    mode: FileMode,
    size: u64,
    content_id: i64,
    hash: ContentHash,
    /// Those that came with the tree.
    bytes: Option<Vec<u8>>,
}

impl ArchiveEntry {
    fn new(file: StoredFile) -> Self {
        let StoredFile { path, hash, size, mode, obliterated: _, content_id, bytes } = file;
        Self { path, mode, size: u64::try_from(size).unwrap_or_default(), content_id, hash, bytes }
    }

    /// Whether this is a symbolic link, should its content turn out to be a possible target.
    fn may_be_link(&self) -> bool {
        self.mode == FileMode::Symlink && (1..=LINK_TARGET_BYTES_MAX).contains(&self.size)
    }
}

impl Operations {
    /// The archive of a whole tree, as a stream. Memory does not grow with the tree. A file that cannot be read, or a
    /// branch that goes away meanwhile, ends the stream in an error: a damaged archive is never a complete answer.
    pub fn archive(&self, tree: PinnedTree) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let operations = self.clone();
        let pages = stream::try_unfold(Some(String::new()), move |from| {
            let operations = operations.clone();
            let tree = tree.clone();
            async move {
                let Some(from) = from else { return Ok::<_, Error>(None) };
                let query = TreeQuery {
                    repo_id: tree.repo_id,
                    branch: &tree.branch,
                    at: Some(tree.at),
                    from: &from,
                    before: None,
                    limit: i64::try_from(BATCH_FILES).ok(),
                    small_bytes_max: SMALL_BYTES_MAX,
                };
                let mut connection = operations.pool().acquire().await?;
                let files: Vec<StoredFile> = trees::tree(&mut *connection, &query).try_collect().await?;
                connection.done();
                let next = if files.len() == BATCH_FILES { files.last().map(|file| behind(&file.path)) } else { None };
                if next.is_none() {
                    // Of a branch that has gone there are no more files either.
                    operations.check_pinned(&tree).await?;
                }
                let there = files.into_iter().filter(|file| !file.obliterated);
                let entries: Vec<ArchiveEntry> = there.map(ArchiveEntry::new).collect();
                Ok(Some((entries, next)))
            }
        });
        self.tar(pages)
    }

    /// The archive of chosen files, as a stream, in bytewise order. Files that do not exist are left out, and so are those
    /// whose bytes were obliterated; answers how many of these there were.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, or too many paths.
    pub async fn archive_paths(
        &self,
        reader: &Reader,
        point: ReadPoint,
        mut paths: Vec<String>,
    ) -> Result<(impl Stream<Item = Result<Bytes>> + Send + 'static, i64)> {
        if paths.len() > self.limits().hashes_max {
            crate::limits::reached("hashes");
            return Err(Error::refused(
                docstore_models::ErrorCode::PayloadTooLarge,
                format!("at most {} paths may be asked for at once", self.limits().hashes_max),
            ));
        }
        self.require_branch(reader, &point.branch).await?;
        paths.sort_unstable();
        paths.dedup();
        let mut files = trees::files(self.pool(), reader.repo_id(), &point.branch, point.at, &paths).await?;
        let all = files.len();
        files.retain(|file| !file.obliterated);
        let left_out = i64::try_from(all - files.len()).unwrap_or(i64::MAX);
        let entries: Vec<ArchiveEntry> = files.into_iter().map(ArchiveEntry::new).collect();
        Ok((self.tar(stream::iter([Ok(entries)])), left_out))
    }

    /// Writes files as tar.
    fn tar(
        &self,
        pages: impl Stream<Item = Result<Vec<ArchiveEntry>>> + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let operations = self.clone();
        pages
            .map_ok(|entries| stream::iter(batches(entries).into_iter().map(Ok)))
            .try_flatten()
            .map_ok(move |batch| {
                let operations = operations.clone();
                async move { operations.tar_batch(batch).await }
            })
            .try_buffered(BATCHES_AHEAD)
            .try_flatten()
            // The end of an archive: two blocks of zeros.
            .chain(stream::iter([Ok(Bytes::from_static(&[0; 2 * BLOCK]))]))
    }

    /// One batch: small files in one piece, a large one as a stream of its own.
    async fn tar_batch(&self, batch: Vec<ArchiveEntry>) -> Result<futures::stream::BoxStream<'static, Result<Bytes>>> {
        // What did not come with the tree; most of it is in the database, and of the rest there is more to know.
        let asked: Vec<i64> =
            batch.iter().filter(|entry| entry.bytes.is_none()).map(|entry| entry.content_id).collect();
        let mut inline: HashMap<i64, Vec<u8>> = HashMap::new();
        let mut contents: HashMap<i64, ContentBytes> = HashMap::new();
        if !asked.is_empty() {
            inline.extend(inline_bytes(self.pool(), &asked).await?);
        }
        let elsewhere: Vec<i64> = asked.into_iter().filter(|id| !inline.contains_key(id)).collect();
        if !elsewhere.is_empty() {
            contents.extend(content_bytes(self.pool(), &elsewhere).await?.into_iter().map(|row| (row.id, row)));
        }
        let mut pieces: Vec<futures::stream::BoxStream<'static, Result<Bytes>>> = Vec::new();
        // Each file has a header, and on average half a block of zeros behind it.
        let bytes = batch.iter().map(|entry| entry.size).sum::<u64>().min(BATCH_BYTES.unsigned_abs());
        let mut small = BytesMut::with_capacity(usize::try_from(bytes).unwrap_or_default() + batch.len() * 2 * BLOCK);
        let mut verified: HashMap<i64, Bytes> = HashMap::new();
        for mut entry in batch {
            if let Some(bytes) = entry.bytes.take() {
                append(&mut small, &entry, &checked(bytes, &entry.hash)?)?;
                continue;
            }
            if let Some(bytes) = verified.get(&entry.content_id) {
                append(&mut small, &entry, bytes)?;
                continue;
            }
            if let Some(bytes) = inline.remove(&entry.content_id) {
                let bytes = checked(bytes, &entry.hash)?;
                append(&mut small, &entry, &bytes)?;
                verified.insert(entry.content_id, bytes);
                continue;
            }
            let content = contents.remove(&entry.content_id).ok_or(Error::Corrupt(Damage::NoRow(entry.content_id)))?;
            match content.bytes {
                // Its row without bytes is damage, which the check of the hash says.
                StoredBytes::Inline(bytes) => append(&mut small, &entry, &checked(bytes, &content.hash)?)?,
                // Between the list and now: the archive breaks off, and another one leaves it out.
                StoredBytes::Obliterated => {
                    let message = "a content was obliterated while it was archived";
                    return Err(Error::refused(docstore_models::ErrorCode::ContentObliterated, message));
                }
                StoredBytes::Blob(ref key) if entry.may_be_link() => {
                    let bytes = self.blob(key, content.hash, entry.size, None).await?;
                    let bytes: Vec<Bytes> = bytes.try_collect().await?;
                    let bytes = Bytes::from(bytes.concat());
                    append(&mut small, &entry, &bytes)?;
                    verified.insert(entry.content_id, bytes);
                }
                StoredBytes::Blob(ref key) => {
                    let bytes = self.blob(key, content.hash, entry.size, None).await?;
                    header(&mut small, &entry, None)?;
                    pieces.push(stream::iter([Ok(small.split().freeze())]).boxed());
                    pieces.push(bytes);
                    pad(&mut small, entry.size);
                    // The same content may come again in this batch.
                    contents.insert(entry.content_id, content);
                }
            }
        }
        pieces.push(stream::iter([Ok(small.freeze())]).boxed());
        Ok(stream::iter(pieces).flatten().boxed())
    }
}

/// Cuts files into batches whose bytes fit into memory.
fn batches(entries: Vec<ArchiveEntry>) -> Vec<Vec<ArchiveEntry>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let size = i64::try_from(entry.size).unwrap_or(i64::MAX);
        if !batch.is_empty() && bytes + size > BATCH_BYTES {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        batch.push(entry);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

fn append(out: &mut BytesMut, entry: &ArchiveEntry, bytes: &[u8]) -> Result<()> {
    // A link that no file system could hold is archived as the file that its content is.
    if entry.may_be_link() && !bytes.contains(&0) {
        // The target is in the header; there are no bytes.
        return header(out, entry, Some(bytes));
    }
    header(out, entry, None)?;
    out.extend_from_slice(bytes);
    pad(out, entry.size);
    Ok(())
}

/// Fills up the last block.
fn pad(out: &mut BytesMut, size: u64) {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over > 0 {
        out.resize(out.len() + BLOCK - over, 0);
    }
}

/// Writes the header of a file or, with a target, of a symbolic link; with a PAX header before it when something does
/// not fit.
fn header(out: &mut BytesMut, entry: &ArchiveEntry, target: Option<&[u8]>) -> Result<()> {
    let internal = |error: std::io::Error| Error::Internal(Box::new(error));
    let size = if target.is_some() { 0 } else { entry.size };
    let mut ustar = new_header(size, if entry.mode == FileMode::Executable { 0o755 } else { 0o644 });
    let mut records = Vec::new();
    if !(entry.path.is_ascii() && ustar.set_path(&entry.path).is_ok()) {
        pax_record(&mut records, "path", entry.path.as_bytes());
        // Readers of PAX take the name from the record; the others get something harmless.
        ustar.set_path("pax_entry").map_err(internal)?;
    }
    // USTAR sizes have eleven octal digits.
    if size >= 0o100_000_000_000 {
        pax_record(&mut records, "size", size.to_string().as_bytes());
    }
    if let Some(target) = target {
        ustar.set_entry_type(tar::EntryType::Symlink);
        if !target.is_ascii() || ustar.set_link_name_literal(target).is_err() {
            pax_record(&mut records, "linkpath", target);
        }
    }
    if !records.is_empty() {
        let mut pax = new_header(records.len() as u64, 0o644);
        pax.set_entry_type(tar::EntryType::XHeader);
        pax.set_path("pax_header").map_err(internal)?;
        pax.set_cksum();
        out.extend_from_slice(pax.as_bytes());
        out.extend_from_slice(&records);
        pad(out, records.len() as u64);
    }
    ustar.set_cksum();
    out.extend_from_slice(ustar.as_bytes());
    Ok(())
}

fn new_header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // The contract shows device numbers as zeros, where the library leaves NULs.
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header
}

/// Adds a record `<length> <key>=<value>\n`, whose length counts itself (POSIX.1-2017, pax).
fn pax_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut digits = 1;
    while (rest + digits).to_string().len() > digits {
        digits += 1;
    }
    out.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}
