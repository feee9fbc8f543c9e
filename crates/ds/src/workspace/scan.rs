//! What is in the workspace.
//!
//! Every file and link below the root counts, except `.ds` and `.git` folders, litter of systems and editors, and what a
//! `.dsignore` file (the syntax of `.gitignore`) leaves out. A file that is versioned already counts even when a rule
//! leaves it out: a rule must not turn a file into a deletion. Links are never followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use docstore_models::{FileMode, FilePath};
use ignore::{DirEntry, WalkBuilder, WalkState};

use super::{Modes, NOT_VERSIONED, Stat, StatCache};
use crate::{
    Failure,
    failure::About,
    hash::{digest_file, hash_bytes},
};

/// More threads than this do not walk or hash faster on ordinary disks.
const THREADS_MAX: usize = 8;
/// The file with patterns to leave out; may be in any folder.
const IGNORE_FILE: &str = ".dsignore";
/// Litter that nobody means to version.
const LITTER: [&str; 2] = [".DS_Store", "Thumbs.db"];

/// One file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalFile {
    pub(crate) hash: String,
    pub(crate) mode: FileMode,
    pub(crate) stat: Stat,
    /// Whether it is text; unknown when the hash came from the cache.
    pub(crate) text: Option<bool>,
    /// Whether the hash may go into the cache.
    settled: bool,
}

impl LocalFile {
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }
}

/// All files of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) files: BTreeMap<String, LocalFile>,
    /// What was left out although nobody asked for that, as sentences.
    pub(crate) warnings: Vec<String>,
    /// How many files had to be read.
    pub(crate) hashed: usize,
}

impl Scan {
    pub(super) fn to_cache(&self) -> StatCache {
        let settled = self.files.iter().filter(|(_, file)| file.settled);
        StatCache::from_sorted(settled.map(|(path, file)| (path.as_str(), file.stat, file.hash.as_str())))
    }
}

/// Walks the workspace and hashes what the cache does not know.
pub(crate) fn scan(
    root: &Path,
    tracked: &BTreeMap<String, String>,
    side_files: &BTreeSet<String>,
    cache: &StatCache,
) -> Result<Scan, Failure> {
    let (mut found, mut warnings) = walk(root)?;
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|a, b| a.0 == b.0);
    if !side_files.is_empty() {
        found.retain(|(path, _)| !side_files.contains(path));
    }
    let mut found_ignored = Vec::new();
    for path in missing_from(tracked.keys(), found.iter().map(|(path, _)| path)) {
        if FilePath::parse(path.as_str()).is_ok()
            && !has_linked_parent(root, path)
            && let Some(stat) = stat_of(&root.join(path))?
        {
            found_ignored.push((path.clone(), stat));
        }
    }
    if !found_ignored.is_empty() {
        found.extend(found_ignored);
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    }

    let mut known = Vec::with_capacity(found.len());
    let mut unknown = Vec::new();
    let mut hashes = cache.hashes();
    for (path, stat) in found {
        match hashes.next_of(&path, &stat) {
            Some(hash) => known.push((path, LocalFile { hash, mode: stat.mode, stat, text: None, settled: true })),
            None => unknown.push((path, stat)),
        }
    }
    // From a sorted list a map is built at once.
    let mut files: BTreeMap<String, LocalFile> = known.into_iter().collect();
    let hashed = unknown.len();
    for (path, file) in hash_all(root, &unknown)? {
        match file {
            Some(file) => {
                files.insert(path, file);
            }
            None => warnings.push(format!("'{path}' went away while it was looked at")),
        }
    }
    Ok(Scan { files, warnings, hashed })
}

/// What is in the first and not in the second of two sorted lists: each is gone through once.
fn missing_from<'a>(
    all: impl Iterator<Item = &'a String>,
    there: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = &'a String> {
    let mut there = there.peekable();
    all.filter(move |one| {
        while there.next_if(|other| other < one).is_some() {}
        there.peek() != Some(one)
    })
}

type Found = Vec<(String, Stat)>;

fn walk(root: &Path) -> Result<(Found, Vec<String>), Failure> {
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .follow_links(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .threads(threads())
        .filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry));
    let found = Mutex::new(Vec::new());
    let warnings = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    builder.build_parallel().run(|| {
        let mut batch = Batch { found: Vec::new(), all: &found };
        let (warnings, failure) = (&warnings, &failure);
        Box::new(move |entry| {
            let result = entry.map_err(|error| Failure::new(format!("cannot scan the workspace: {error}")));
            match result.and_then(|entry| look_at(root, &entry)) {
                Ok(Look::Nothing) => WalkState::Continue,
                Ok(Look::File(path, stat)) => {
                    batch.found.push((path, stat));
                    WalkState::Continue
                }
                Ok(Look::Odd(warning)) => {
                    push(warnings, warning);
                    WalkState::Continue
                }
                Err(error) => {
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                    WalkState::Quit
                }
            }
        })
    });
    if let Some(failure) = failure.into_inner().unwrap_or_default() {
        return Err(failure);
    }
    let mut warnings = warnings.into_inner().unwrap_or_default();
    warnings.sort();
    Ok((found.into_inner().unwrap_or_default(), warnings))
}

/// What one thread has found; handed over when the thread is done.
struct Batch<'a> {
    found: Found,
    all: &'a Mutex<Found>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Ok(mut all) = self.all.lock() {
            all.append(&mut self.found);
        }
    }
}

fn push<T>(all: &Mutex<Vec<T>>, one: T) {
    if let Ok(mut all) = all.lock() {
        all.push(one);
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

fn is_left_out(entry: &DirEntry) -> bool {
    let Some(name) = entry.file_name().to_str() else { return false };
    let is_swap_file = || {
        let Some((stem, extension)) = name.rsplit_once('.') else { return false };
        stem.len() > 1 && stem.starts_with('.') && extension.len() == 3 && extension.starts_with("sw")
    };
    NOT_VERSIONED.iter().any(|other| name.eq_ignore_ascii_case(other)) || LITTER.contains(&name) || is_swap_file()
}

enum Look {
    Nothing,
    File(String, Stat),
    Odd(String),
}

fn look_at(root: &Path, entry: &DirEntry) -> Result<Look, Failure> {
    // A `.dsignore` with a pattern that makes no sense would otherwise go unnoticed.
    if let Some(error) = entry.error() {
        return Ok(Look::Odd(format!("ignore rules: {error}")));
    }
    let Some(kind) = entry.file_type() else { return Ok(Look::Nothing) };
    if kind.is_dir() {
        return Ok(Look::Nothing);
    }
    let path = entry.path();
    let Some(relative) = below(root, path) else {
        return Ok(Look::Odd(format!("'{}' is left out: its name is not UTF-8", path.display())));
    };
    #[cfg(windows)]
    let relative = &relative.replace('\\', "/");
    if let Err(error) = FilePath::parse(relative) {
        return Ok(Look::Odd(format!("left out: {error}")));
    }
    match stat_of(path)? {
        Some(stat) => Ok(Look::File(relative.to_owned(), stat)),
        None if kind.is_file() || kind.is_symlink() => Ok(Look::Nothing),
        None => Ok(Look::Odd(format!("'{relative}' is left out: it is neither a file nor a link"))),
    }
}

/// The rest of a path that begins with the root, as the walk makes them: compared as bytes, not segment by segment.
fn below<'a>(root: &Path, path: &'a Path) -> Option<&'a str> {
    let rest = path.as_os_str().as_encoded_bytes().strip_prefix(root.as_os_str().as_encoded_bytes())?;
    std::str::from_utf8(rest.strip_prefix(std::path::MAIN_SEPARATOR_STR.as_bytes()).unwrap_or(rest)).ok()
}

/// `None` when there is no file or link.
fn stat_of(path: &Path) -> Result<Option<Stat>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Stat::of(&metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).about("look at", path),
    }
}

/// Whether the way to the path leads through a link, so that what is there is not part of the workspace.
fn has_linked_parent(root: &Path, path: &str) -> bool {
    let mut parent = root.to_owned();
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    segments.into_iter().any(|segment| {
        parent.push(segment);
        fs::symlink_metadata(&parent).is_ok_and(|metadata| metadata.file_type().is_symlink())
    })
}

type Hashed = Vec<(String, Option<LocalFile>)>;

/// Hashes in parallel; `None` for a file that went away.
fn hash_all(root: &Path, unknown: &[(String, Stat)]) -> Result<Hashed, Failure> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Hashed, Failure> {
        let mut done = Vec::new();
        while let Some((path, stat)) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((path.clone(), hash_one(&root.join(path), *stat)?));
        }
        Ok(done)
    };
    if unknown.len() < 16 {
        return work();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(unknown.len());
        for worker in workers {
            let done = worker.join().map_err(|_| Failure::new("a hashing thread broke down"))?;
            all.extend(done?);
        }
        Ok(all)
    })
}

#[expect(clippy::disallowed_methods, reason = "compared with what the file system says, which has the same clock")]
fn hash_one(path: &Path, seen: Stat) -> Result<Option<LocalFile>, Failure> {
    let started = SystemTime::now();
    let hash = if seen.mode == FileMode::Symlink {
        fs::read_link(path).and_then(|target| link_target(&target)).map(|target| (hash_bytes(&target), true))
    } else {
        digest_file(path).map(|digested| (digested.hash, digested.text))
    };
    let (hash, text) = match hash {
        Ok(hash) => hash,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).about("read", path),
    };
    // What was read is what the state before and after describes only if nothing happened in between.
    let settled = stat_of(path)?.is_some_and(|after| after == seen) && seen.is_settled_at(started);
    Ok(Some(LocalFile { hash, mode: seen.mode, stat: seen, text: Some(text), settled }))
}

/// The bytes that a link is versioned as.
pub(crate) fn link_target(target: &Path) -> io::Result<Vec<u8>> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(target.as_os_str().as_bytes().to_vec())
    }
    #[cfg(not(unix))]
    {
        let text = target.to_str().ok_or_else(|| io::Error::other("the target of the link is not UTF-8"))?;
        Ok(text.replace('\\', "/").into_bytes())
    }
}

/// What changed since the last sync, each list ordered by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) new: Vec<String>,
    pub(crate) modified: Vec<String>,
    pub(crate) deleted: Vec<String>,
}

impl Changes {
    pub(super) fn between(tracked: &BTreeMap<String, String>, modes: &Modes, scan: &Scan) -> Self {
        let mut changes = Self::default();
        let mut before = tracked.iter().peekable();
        for (path, file) in &scan.files {
            while before.next_if(|(other, _)| *other < path).is_some() {}
            match before.next_if(|(other, _)| *other == path) {
                None => changes.new.push(path.clone()),
                Some((_, hash))
                    if *hash != file.hash || modes.get(path).is_some_and(|mode| !same_mode(mode, file.mode)) =>
                {
                    changes.modified.push(path.clone());
                }
                Some(_) => {}
            }
        }
        changes.deleted = missing_from(tracked.keys(), scan.files.keys()).cloned().collect();
        changes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.modified.is_empty() && self.deleted.is_empty()
    }
}

/// Where the file system knows no executable bit, its absence says nothing.
pub(crate) fn same_mode(versioned: FileMode, local: FileMode) -> bool {
    versioned == local || (!cfg!(unix) && versioned == FileMode::Executable && local == FileMode::Regular)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn paths(scan: &Scan) -> Vec<&str> {
        scan.files.keys().map(String::as_str).collect()
    }

    fn plain_scan(root: &Path, tracked: &[&str]) -> Scan {
        let tracked = tracked.iter().map(|path| ((*path).to_owned(), String::new())).collect();
        scan(root, &tracked, &BTreeSet::new(), &StatCache::default()).unwrap()
    }

    #[test]
    fn metadata_litter_and_ignored_files_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            ".ds/config.json",
            ".dsfoo",
            ".ds-notes/x",
            ".git/HEAD",
            "sub/.git/HEAD",
            ".gitignore",
            ".DS_Store",
            "sub/.notes.txt.swp",
            "sub/a.txt",
            "sub/build/out.o",
            "sub/keep/build/x",
            "build/out.o",
            "b.log",
            "important.log",
        ] {
            write(root.path(), path, path);
        }
        write(root.path(), ".dsignore", "build/\n*.log\n!important.log\n");
        write(root.path(), "sub/keep/.dsignore", "!build/\n");
        let scan = plain_scan(root.path(), &[]);
        assert_eq!(
            paths(&scan),
            [
                ".ds-notes/x",
                ".dsfoo",
                ".dsignore",
                ".gitignore",
                "important.log",
                "sub/a.txt",
                "sub/keep/.dsignore",
                "sub/keep/build/x"
            ]
        );
        assert!(scan.warnings.is_empty(), "{:?}", scan.warnings);
    }

    #[test]
    fn a_versioned_file_counts_even_when_a_rule_leaves_it_out() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), ".dsignore", "*.log\n");
        write(root.path(), "a.log", "a");
        write(root.path(), "b.log", "b");
        assert_eq!(paths(&plain_scan(root.path(), &["a.log"])), [".dsignore", "a.log"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_files_of_their_own_and_never_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "real/x", "x");
        write(root.path(), "run.sh", "#!/bin/sh\n");
        fs::set_permissions(root.path().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("real", root.path().join("to-directory")).unwrap();
        symlink("/nowhere", root.path().join("dangling")).unwrap();
        std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status().unwrap();
        let scan = plain_scan(root.path(), &["to-directory/x"]);
        let seen: Vec<_> = scan.files.iter().map(|(path, file)| (path.as_str(), file.mode)).collect();
        assert_eq!(
            seen,
            [
                ("dangling", FileMode::Symlink),
                ("real/x", FileMode::Regular),
                ("run.sh", FileMode::Executable),
                ("to-directory", FileMode::Symlink)
            ]
        );
        assert_eq!(scan.files["to-directory"].hash, hash_bytes(b"real"));
        assert_eq!(scan.warnings, ["'pipe' is left out: it is neither a file nor a link"]);
    }

    #[test]
    fn only_what_changed_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a", "one");
        write(root.path(), "b", "two");
        // Dated back, so that both are settled.
        for path in ["a", "b"] {
            let file = fs::File::options().write(true).open(root.path().join(path)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500)).unwrap();
        }
        let none = BTreeMap::new();
        let first = scan(root.path(), &none, &BTreeSet::new(), &StatCache::default()).unwrap();
        assert_eq!(first.hashed, 2);
        let trusting = StatCache::from_sorted(first.files.iter().map(|(p, f)| (p.as_str(), f.stat, f.hash.as_str())));
        let second = scan(root.path(), &none, &BTreeSet::new(), &trusting).unwrap();
        assert_eq!((second.hashed, &second.files["a"].hash), (0, &first.files["a"].hash));
        write(root.path(), "b", "owt");
        let third = scan(root.path(), &none, &BTreeSet::new(), &trusting).unwrap();
        assert_eq!((third.hashed, &third.files["b"].hash), (1, &hash_bytes(b"owt")));
    }
}
