//! Fetching contents into the staging folder: as one archive of the tree, as archives of chosen paths, or, from servers
//! without either, file by file. Whatever the way, a content is there only under the hash that its bytes have.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes};
use docstore_client::{Download, Error, RepoClient, TreeQuery};
use docstore_models::{ArchivePathsRequest, ErrorCode, FileContent, FilePath};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWriteExt, sync::mpsc};

use super::{Target, TreeFile};
use crate::{Failure, failure::About, hash::hash_bytes, output::Progress};

/// Paths asked for in one archive of chosen paths.
const ARCHIVE_PATHS_MAX: usize = 5_000;
/// The length of all of them together: a server takes a request of 1 MiB, and a name in JSON may take twice its length.
const ARCHIVE_PATH_BYTES_MAX: usize = 400 * 1024;
/// Single files on their way at once, for servers without archives.
const FILE_REQUESTS_MAX: usize = 8;
/// Files up to this size are handed to a writer whole; larger ones are written as they come.
const SMALL_FILE_BYTES: u64 = 256 * 1024;
/// Small files that wait for a writer, which bounds memory to 16 MiB.
const WAITING_FILES_MAX: usize = 64;
/// Pieces of an archive that wait to be taken apart.
const WAITING_CHUNKS_MAX: usize = 32;
/// Threads that hash and write. The work is mostly the file system's.
const WRITERS: usize = 2;
/// A JSON answer in place of raw bytes is read up to this size; the file in it is held in memory.
const JSON_FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

type Wanted = BTreeMap<String, (String, TreeFile)>;

/// Puts every wanted content into `staging`, named by its hash. Answers whether it came as the archive of the tree.
pub(super) async fn download(
    repo: &RepoClient,
    target: &Target,
    wanted: &Wanted,
    first_sync: bool,
    staging: &Path,
    progress: &Progress,
) -> Result<bool, Failure> {
    let mut missing: HashMap<String, (String, u64)> =
        wanted.iter().map(|(hash, (path, file))| (path.clone(), (hash.clone(), file.size))).collect();
    // Without sequence there is no tree, hence nothing to fetch.
    if missing.is_empty() {
        return Ok(first_sync);
    }
    let mut whole = false;
    if first_sync {
        match repo.archive(&target.branch, Some(target.sequence)).await {
            Ok(archive) => {
                whole = true;
                unpack(archive, &mut missing, staging, progress).await?;
            }
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    } else {
        let mut paths: Vec<String> = missing.keys().cloned().collect();
        paths.sort_unstable();
        while !paths.is_empty() {
            let mut bytes = 0;
            let fitting = paths.iter().take_while(|path| {
                bytes += path.len();
                bytes <= ARCHIVE_PATH_BYTES_MAX
            });
            let count = fitting.count().clamp(1, ARCHIVE_PATHS_MAX);
            let request = ArchivePathsRequest {
                branch: target.branch.clone(),
                at: Some(target.sequence),
                paths: paths.drain(..count).collect(),
            };
            match repo.archive_paths(&request).await {
                Ok(archive) => unpack(archive, &mut missing, staging, progress).await?,
                Err(error) if error.is_missing_endpoint() => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    let query = TreeQuery::of_branch(&target.branch).at_sequence(target.sequence);
    stream::iter(missing)
        .map(|(path, (hash, _))| {
            let query = &query;
            async move {
                fetch_one(repo, &path, &hash, query, staging).await?;
                progress.add(1);
                Ok::<_, Failure>(())
            }
        })
        .buffer_unordered(FILE_REQUESTS_MAX)
        .try_collect::<()>()
        .await?;
    Ok(whole)
}

/// Contents for showing them.
#[derive(Default)]
pub(crate) struct Contents {
    /// Each by its path; `None` for files that are not there, and for those that were obliterated.
    pub(crate) files: BTreeMap<String, Option<Bytes>>,
    /// Whose bytes are gone for good.
    pub(crate) obliterated: BTreeSet<String>,
}

impl Contents {
    pub(crate) fn of(&self, path: &str) -> Option<Bytes> {
        self.files.get(path).cloned().flatten()
    }
}

/// The contents of files at a point, whole, for showing them.
pub(crate) async fn fetch_contents(
    repo: &RepoClient,
    branch: &str,
    sequence: i64,
    paths: &[String],
    bytes_max: usize,
) -> Result<Contents, Failure> {
    let query = TreeQuery::of_branch(branch).at_sequence(sequence);
    let fetched: Vec<(String, Option<Bytes>, bool)> = stream::iter(paths)
        .map(|path| {
            let query = &query;
            async move {
                match repo.file_raw(path, query).await {
                    Ok(download) => Ok((path.clone(), Some(download.bytes(bytes_max).await?), false)),
                    Err(error) if error.code() == Some(ErrorCode::ContentObliterated) => Ok((path.clone(), None, true)),
                    Err(error) if error.status() == Some(404) => Ok((path.clone(), None, false)),
                    Err(error) => Err(Failure::from(error)),
                }
            }
        })
        .buffer_unordered(FILE_REQUESTS_MAX)
        .try_collect()
        .await?;
    let mut contents = Contents::default();
    for (path, content, obliterated) in fetched {
        if obliterated {
            contents.obliterated.insert(path.clone());
        }
        contents.files.insert(path, content);
    }
    Ok(contents)
}

/// Downloads every file of a tree that was not obliterated and compares its bytes with its hash, keeping nothing. Answers
/// how many there were, and how many there are no more.
pub(crate) async fn verify_contents(
    repo: &RepoClient,
    branch: &str,
    sequence: i64,
    progress: &Progress,
) -> Result<(usize, usize), Failure> {
    if sequence == 0 {
        return Ok((0, 0));
    }
    let query = TreeQuery::of_branch(branch).at_sequence(sequence);
    let mut entries = repo.tree(&query).await?;
    let all = entries.len();
    entries.retain(|entry| !entry.obliterated);
    stream::iter(&entries)
        .map(|entry| {
            let query = &query;
            async move {
                let mut download = repo.file_raw(&entry.path, query).await?.verifying(&entry.content_hash);
                while download.chunk().await?.is_some() {}
                progress.add(1);
                Ok::<_, Failure>(())
            }
        })
        .buffer_unordered(FILE_REQUESTS_MAX)
        .try_collect::<()>()
        .await?;
    Ok((entries.len(), all - entries.len()))
}

/// Fetches one file by itself.
async fn fetch_one(
    repo: &RepoClient,
    path: &str,
    hash: &str,
    query: &TreeQuery,
    staging: &Path,
) -> Result<(), Failure> {
    let mut download = repo.file_raw(path, query).await?;
    let may_be_json = download.content_type().is_some_and(|kind| kind.starts_with("application/json"));
    let staged = staging.join(hash);
    let mut file = tokio::fs::File::create(&staged).await.about("create", &staged)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = download.chunk().await? {
        hasher.update(&chunk);
        size += chunk.len() as u64;
        file.write_all(&chunk).await.about("write", &staged)?;
    }
    file.flush().await.about("write", &staged)?;
    drop(file);
    let actual = hex::encode(hasher.finalize());
    if actual == hash {
        return Ok(());
    }
    // A server that knows only the JSON form answers with that, whatever it is asked for.
    if may_be_json && size <= JSON_FILE_BYTES_MAX {
        let text = fs::read(&staged).about("read", &staged)?;
        if let Ok(content) = serde_json::from_slice::<FileContent>(&text)
            && let Ok(bytes) = STANDARD.decode(content.content)
            && hash_bytes(&bytes) == hash
        {
            return fs::write(&staged, bytes).about("write", &staged);
        }
    }
    Err(Error::ContentMismatch { what: path.to_owned(), expected: hash.to_owned(), actual }.into())
}

/// Takes an archive apart on a thread of its own and stages what is missing.
async fn unpack(
    mut archive: Download,
    missing: &mut HashMap<String, (String, u64)>,
    staging: &Path,
    progress: &Progress,
) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::channel(WAITING_CHUNKS_MAX);
    let feed = async move {
        loop {
            let (chunk, end) = match archive.chunk().await {
                Ok(Some(chunk)) => (Ok(chunk), false),
                Ok(None) => break,
                Err(error) => (Err(error), true),
            };
            // A closed channel means that the other side has given up and says why itself.
            if sender.send(chunk).await.is_err() || end {
                break;
            }
        }
    };
    let wanted = std::mem::take(missing);
    let (staging, progress) = (staging.to_owned(), progress.clone());
    let work = tokio::task::spawn_blocking(move || unpack_blocking(receiver, wanted, &staging, &progress));
    let (worked, ()) = tokio::join!(work, feed);
    *missing = worked.map_err(|_| Failure::new("the thread that reads the archive broke down"))??;
    Ok(())
}

type Chunk = Result<Bytes, Error>;

fn unpack_blocking(
    receiver: mpsc::Receiver<Chunk>,
    mut wanted: HashMap<String, (String, u64)>,
    staging: &Path,
    progress: &Progress,
) -> Result<HashMap<String, (String, u64)>, Failure> {
    let broken = Arc::new(Mutex::new(None));
    let reader = ChunkReader { receiver, current: Bytes::new(), broken: broken.clone() };
    let (jobs, waiting) = std_mpsc::sync_channel::<(String, String, Vec<u8>)>(WAITING_FILES_MAX);
    let waiting = Mutex::new(waiting);
    // A writer that has failed goes on taking files, so that nobody waits for it, and tells the reader to stop.
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                scope.spawn(|| -> Result<(), Failure> {
                    let mut result = Ok(());
                    loop {
                        let job = waiting.lock().ok().and_then(|waiting| waiting.recv().ok());
                        let Some((path, hash, bytes)) = job else { return result };
                        if result.is_ok() {
                            result = write_small(staging, path, hash, &bytes);
                            stop.fetch_or(result.is_err(), Ordering::Relaxed);
                            progress.add(1);
                        }
                    }
                })
            })
            .collect();
        let read = read_entries(reader, &mut wanted, staging, progress, &jobs, &stop);
        drop(jobs);
        let mut result = read;
        for writer in writers {
            let written = writer.join().unwrap_or_else(|_| Err(Failure::new("a writing thread broke down")));
            // The reader only notices that nobody takes its files; the writer knows why.
            if written.is_err() {
                result = written;
            }
        }
        result
    });
    if let Some(error) = broken.lock().ok().and_then(|mut broken| broken.take()) {
        return Err(error.into());
    }
    result.map(|()| wanted)
}

fn read_entries(
    reader: ChunkReader,
    wanted: &mut HashMap<String, (String, u64)>,
    staging: &Path,
    progress: &Progress,
    jobs: &std_mpsc::SyncSender<(String, String, Vec<u8>)>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let damaged = |error: io::Error| Failure::new(format!("the server's archive is damaged: {error}"));
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new("the writers have stopped"));
        }
        let kind = entry.header().entry_type();
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| Failure::new("the server's archive holds a name that is not UTF-8"))?;
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        FilePath::parse(name.as_str())
            .map_err(|error| Failure::new(format!("the server's archive cannot be unpacked: {error}")))?;
        if !kind.is_file() && !kind.is_symlink() {
            return Err(Failure::new(format!(
                "the server's archive holds '{name}', which is neither a file nor a link"
            )));
        }
        let Some((hash, size)) = wanted.remove(&name) else { continue };
        if kind.is_symlink() {
            let link = entry.link_name_bytes().map(Cow::into_owned).unwrap_or_default();
            jobs.send((name, hash, link)).map_err(|_| Failure::new("the writers have stopped"))?;
            continue;
        }
        if size > 0 && entry.size() != size {
            let actual = entry.size();
            return Err(Failure::new(format!("content of {name} is damaged: expected {size} bytes, got {actual}")));
        }
        if entry.size() <= SMALL_FILE_BYTES {
            let mut bytes = Vec::with_capacity(usize::try_from(entry.size()).unwrap_or_default());
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            jobs.send((name, hash, bytes)).map_err(|_| Failure::new("the writers have stopped"))?;
        } else {
            copy_large(&mut entry, &name, &hash, staging)?;
            progress.add(1);
        }
    }
    Ok(())
}

fn write_small(staging: &Path, path: String, hash: String, bytes: &[u8]) -> Result<(), Failure> {
    let actual = hash_bytes(bytes);
    if actual != hash {
        return Err(Error::ContentMismatch { what: path, expected: hash, actual }.into());
    }
    let staged = staging.join(hash);
    fs::write(&staged, bytes).about("write", &staged)
}

fn copy_large(source: &mut impl Read, name: &str, hash: &str, staging: &Path) -> Result<(), Failure> {
    let staged = staging.join(hash);
    let mut file = File::create(&staged).about("create", &staged)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = source
            .read(&mut buffer)
            .map_err(|error| Failure::new(format!("the server's archive is damaged: {error}")))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).about("write", &staged)?;
    }
    let actual = hex::encode(hasher.finalize());
    if actual == hash {
        Ok(())
    } else {
        Err(Error::ContentMismatch { what: name.to_owned(), expected: hash.to_owned(), actual }.into())
    }
}

/// A reader of what arrives on a channel, for code that reads and waits.
struct ChunkReader {
    receiver: mpsc::Receiver<Chunk>,
    current: Bytes,
    /// Keeps the typed error, since a reader can pass on only its text.
    broken: Arc<Mutex<Option<Error>>>,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => {
                    let text = error.to_string();
                    if let Ok(mut broken) = self.broken.lock() {
                        *broken = Some(error);
                    }
                    return Err(io::Error::other(text));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current[..count]);
        self.current.advance(count);
        Ok(count)
    }
}
