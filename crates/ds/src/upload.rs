//! Getting changed files to the server: small ones inside the commit, large ones ahead of it, as streams under their hash,
//! and only those that the server does not have.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_client::{ContentBody, RepoClient};
use docstore_models::{FileChangeRequest, FileMode};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Failure,
    failure::About,
    hash::{digest_file, hash_bytes},
    output::Progress,
    workspace::{LocalFile, link_target},
};

/// Files up to this size travel inside the commit.
const INLINE_FILE_BYTES_MAX: u64 = 128 * 1024;
/// All files inside one commit together; the rest goes ahead of it, so that a request stays well below a server's limit.
const INLINE_TOTAL_BYTES_MAX: u64 = 12 * 1024 * 1024;
/// Uploads on their way at once.
const UPLOADS_MAX: usize = 8;

/// What happens to one path.
#[derive(Clone, Debug)]
pub(crate) enum FileChange {
    /// It has this content now.
    Put(LocalFile),
    /// Only its mode is new; the server has the content.
    Mode(LocalFile),
    /// It is gone.
    Delete,
}

/// Changes in the form of a request, and what they make of each path: hash and mode, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) files: Vec<FileChangeRequest>,
    pub(crate) results: BTreeMap<String, Option<(String, FileMode)>>,
}

/// Reads and uploads what has to be, and writes the changes down, ordered by path.
pub(crate) async fn prepare(
    repo: &RepoClient,
    root: &Path,
    changes: BTreeMap<String, FileChange>,
    progress: &Progress,
) -> Result<Prepared, Failure> {
    let mut ahead = Vec::new();
    let mut inline_total = 0;
    for (path, change) in &changes {
        match change {
            FileChange::Put(file) if file.mode != FileMode::Symlink => {
                let size = file.stat.size;
                if size > INLINE_FILE_BYTES_MAX || inline_total + size > INLINE_TOTAL_BYTES_MAX {
                    ahead.push((path.as_str(), file));
                } else {
                    inline_total += size;
                }
            }
            FileChange::Mode(file) => ahead.push((path.as_str(), file)),
            _ => {}
        }
    }
    let sent_ahead = send_ahead(repo, root, &ahead, progress).await?;
    let mut prepared = Prepared::default();
    for (path, change) in &changes {
        let (request, result) = match change {
            FileChange::Delete => (FileChangeRequest { path: path.clone(), ..FileChangeRequest::default() }, None),
            FileChange::Put(file) | FileChange::Mode(file) => match sent_ahead.get(path.as_str()) {
                Some(content_type) => {
                    let request = FileChangeRequest {
                        path: path.clone(),
                        content_hash: Some(file.hash().to_owned()),
                        content_type: content_type.clone(),
                        mode: mode_on_the_wire(file.mode),
                        content: None,
                    };
                    (request, Some((file.hash().to_owned(), file.mode)))
                }
                None => inline(root, path, file.mode)?,
            },
        };
        prepared.files.push(request);
        prepared.results.insert(path.clone(), result);
    }
    Ok(prepared)
}

type Inlined = (FileChangeRequest, Option<(String, FileMode)>);

/// A file inside the commit. What is sent is what is read now, so that is what the new state says.
fn inline(root: &Path, path: &str, mode: FileMode) -> Result<Inlined, Failure> {
    let full = root.join(path);
    let bytes = if mode == FileMode::Symlink {
        fs::read_link(&full).and_then(|target| link_target(&target))
    } else {
        fs::read(&full)
    };
    let bytes = bytes.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Failure::new(format!("'{path}' went away while it was committed; nothing was committed"))
        } else {
            Failure::new(format!("cannot read {}: {error}", full.display()))
        }
    })?;
    let text = mode == FileMode::Symlink || std::str::from_utf8(&bytes).is_ok();
    let request = FileChangeRequest {
        path: path.to_owned(),
        content: Some(STANDARD.encode(&bytes)),
        content_hash: None,
        content_type: content_type(path, text),
        mode: mode_on_the_wire(mode),
    };
    Ok((request, Some((hash_bytes(&bytes), mode))))
}

/// Uploads contents that the server does not have. Answers the media type of each path that can be committed by hash:
/// all of them, or none when the server does not know how.
async fn send_ahead<'p>(
    repo: &RepoClient,
    root: &Path,
    ahead: &[(&'p str, &LocalFile)],
    progress: &Progress,
) -> Result<BTreeMap<&'p str, Option<String>>, Failure> {
    if ahead.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut by_hash: BTreeMap<String, (PathBuf, u64)> = BTreeMap::new();
    for (path, file) in ahead {
        by_hash.entry(file.hash().to_owned()).or_insert_with(|| (root.join(path), file.stat.size));
    }
    let hashes: Vec<String> = by_hash.keys().cloned().collect();
    let missing = match repo.missing_contents(&hashes).await {
        Ok(missing) => missing,
        // To an older server a hash without content would be a deletion.
        Err(error) if error.is_missing_endpoint() => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    stream::iter(missing.iter().filter_map(|hash| by_hash.get(hash).map(|file| (hash, file))))
        .map(|(hash, (path, size))| async move {
            let stored = repo.put_content(hash, *size, ContentBody::File(path.clone())).await?;
            progress.add(1);
            Ok::<_, Failure>(stored)
        })
        .buffer_unordered(UPLOADS_MAX)
        .try_collect::<Vec<_>>()
        .await?;
    let mut types = BTreeMap::new();
    for (path, file) in ahead {
        let text = match file.text {
            Some(text) => text,
            None => {
                let full = root.join(path);
                digest_file(&full).about("read", &full)?.text
            }
        };
        types.insert(*path, content_type(path, text));
    }
    Ok(types)
}

/// Text has no media type on the wire; anything else is what its name suggests (contract, clients §5).
pub(crate) fn content_type(path: &str, text: bool) -> Option<String> {
    (!text).then(|| mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned())
}

pub(crate) fn mode_on_the_wire(mode: FileMode) -> Option<String> {
    (!mode.is_regular()).then(|| mode.as_str().to_owned())
}
