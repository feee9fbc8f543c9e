//! What is in the workspace.
//!
//! Every file and link below the root counts, except `.ds` and `.git` folders, litter of systems and editors, and what a
//! `.dsignore` file (the syntax of `.gitignore`) leaves out. A file that is versioned already counts even when a rule
//! leaves it out: a rule must not turn a file into a deletion. Links are never followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use docstore_models::{FileMode, FilePath};

use super::{Modes, Stat, StatCache, stat_cache::Hashes, walk::Walked};
use crate::{
    Failure,
    failure::About,
    hash::{digest_file, hash_bytes},
};

/// More threads than this do not walk or hash faster on ordinary disks.
const THREADS_MAX: usize = 8;

/// One file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalFile {
    /// As text, often a part of the cache: so it need not be copied for each of many files.
    hash: Bytes,
    pub(crate) mode: FileMode,
    pub(crate) stat: Stat,
    /// Whether it is text; unknown when the hash came from the cache.
    pub(crate) text: Option<bool>,
    /// Whether the hash may go into the cache.
    settled: bool,
}

impl LocalFile {
    /// SHA-256, lower-case hex.
    pub(crate) fn hash(&self) -> &str {
        std::str::from_utf8(&self.hash).unwrap_or_default()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }
}

/// All files of the workspace.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Ordered by path. Not a map: it is made once, gone through once or twice, and making a map takes longer than that.
    files: Vec<(String, LocalFile)>,
    /// What was left out although nobody asked for that, as sentences.
    pub(crate) warnings: Vec<String>,
    /// How many files had to be read.
    pub(crate) hashed: usize,
}

impl Scan {
    pub(crate) fn file(&self, path: &str) -> Option<&LocalFile> {
        let index = self.files.binary_search_by(|(other, _)| other.as_str().cmp(path)).ok()?;
        self.files.get(index).map(|(_, file)| file)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn to_cache(&self) -> StatCache {
        let settled = self.files.iter().filter(|(_, file)| file.settled);
        StatCache::from_sorted(settled.map(|(path, file)| (path.as_str(), file.stat, file.hash())))
    }
}

/// Completes what a walk has found: adds versioned files that rules leave out, and hashes what the cache does not know.
pub(super) fn scan(
    root: &Path,
    walked: Walked,
    tracked: &BTreeMap<String, String>,
    side_files: &BTreeSet<String>,
    cache: &StatCache,
) -> Result<Scan, Failure> {
    let (found, mut warnings) = walked.into_files();
    let mut sorted_out = SortedOut { known: Vec::with_capacity(found.size_hint().0), unknown: Vec::new() };
    // All three are in the order of paths, so each is gone through once.
    let (mut hashes, mut versioned, mut missing) = (cache.hashes(), tracked.keys().peekable(), Vec::new());
    for (path, stat) in found {
        if side_files.contains(&path) {
            continue;
        }
        while let Some(before) = versioned.next_if(|other| **other < path) {
            missing.push(before);
        }
        versioned.next_if(|other| **other == path);
        sorted_out.add(path, stat, &mut hashes);
    }
    missing.extend(versioned);
    let in_order = missing.is_empty() && sorted_out.unknown.is_empty();
    let mut hashes = cache.hashes();
    for path in missing {
        if FilePath::parse(path.as_str()).is_ok()
            && !has_linked_parent(root, path)
            && let Some(stat) = stat_of(&root.join(path))?
        {
            sorted_out.add(path.clone(), stat, &mut hashes);
        }
    }

    let SortedOut { known: mut files, unknown } = sorted_out;
    for (path, file) in hash_all(root, &unknown)? {
        match file {
            Some(file) => files.push((path, file)),
            None => warnings.push(format!("'{path}' went away while it was looked at")),
        }
    }
    if !in_order {
        files.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(Scan { files, warnings, hashed: unknown.len() })
}

/// Files whose hash the cache knows, and the others.
struct SortedOut {
    known: Vec<(String, LocalFile)>,
    unknown: Vec<(String, Stat)>,
}

impl SortedOut {
    fn add(&mut self, path: String, stat: Stat, hashes: &mut Hashes<'_>) {
        match hashes.next_of(&path, &stat) {
            Some(hash) => {
                self.known.push((path, LocalFile { hash, mode: stat.mode, stat, text: None, settled: true }));
            }
            None => self.unknown.push((path, stat)),
        }
    }
}

/// How many threads to walk and hash with.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
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
    Ok(Some(LocalFile { hash: hash.into(), mode: seen.mode, stat: seen, text: Some(text), settled }))
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
            while let Some((gone, _)) = before.next_if(|(other, _)| *other < path) {
                changes.deleted.push(gone.clone());
            }
            match before.next_if(|(other, _)| *other == path) {
                None => changes.new.push(path.clone()),
                Some((_, hash))
                    if hash.as_bytes() != file.hash
                        || modes.get(path).is_some_and(|mode| !same_mode(mode, file.mode)) =>
                {
                    changes.modified.push(path.clone());
                }
                Some(_) => {}
            }
        }
        changes.deleted.extend(before.map(|(gone, _)| gone.clone()));
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
    use crate::workspace::walk::walk;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn paths(scan: &Scan) -> Vec<&str> {
        scan.files.iter().map(|(path, _)| path.as_str()).collect()
    }

    fn plain_scan(root: &Path, tracked: &[&str]) -> Scan {
        let tracked = tracked.iter().map(|path| ((*path).to_owned(), String::new())).collect();
        scan_with(root, &tracked, &StatCache::default())
    }

    fn scan_with(root: &Path, tracked: &BTreeMap<String, String>, cache: &StatCache) -> Scan {
        let (walked, ()) = walk(root, 2, || ()).unwrap();
        scan(root, walked, tracked, &BTreeSet::new(), cache).unwrap()
    }

    /// A cache of everything, also of what was written this very moment.
    fn trusting(scan: &Scan) -> StatCache {
        StatCache::from_sorted(scan.files.iter().map(|(path, file)| (path.as_str(), file.stat, file.hash())))
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
        write(root.path(), "z", "z");
        let scan = plain_scan(root.path(), &["a.log"]);
        assert_eq!(paths(&scan), [".dsignore", "a.log", "z"]);
        let tracked = BTreeMap::from([("a.log".to_owned(), String::new()), ("gone".to_owned(), String::new())]);
        let again = scan_with(root.path(), &tracked, &trusting(&scan));
        assert_eq!((paths(&again), again.hashed), (paths(&scan), 0), "the cache knows it as well");
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
        assert_eq!(scan.file("to-directory").unwrap().hash(), hash_bytes(b"real"));
        assert_eq!(scan.warnings, ["'pipe' is left out: it is neither a file nor a link"]);
    }

    #[test]
    fn only_what_changed_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a", "one");
        write(root.path(), "b", "two");
        write(root.path(), "c", "three");
        // Dated back, so that they are settled.
        for path in ["a", "b", "c"] {
            let file = fs::File::options().write(true).open(root.path().join(path)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500)).unwrap();
        }
        let none = BTreeMap::new();
        let first = scan_with(root.path(), &none, &StatCache::default());
        assert_eq!(first.hashed, 3);
        let trusting = trusting(&first);
        let second = scan_with(root.path(), &none, &trusting);
        assert_eq!((second.hashed, second.file("a").unwrap().hash()), (0, first.file("a").unwrap().hash()));
        write(root.path(), "b", "owt");
        let third = scan_with(root.path(), &none, &trusting);
        assert_eq!((third.hashed, third.file("b").unwrap().hash()), (1, hash_bytes(b"owt").as_str()));
        assert_eq!(paths(&third), ["a", "b", "c"]);
    }
    #[test]
    fn a_file_that_may_change_unnoticed_is_not_kept_in_mind() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "old", "old");
        write(root.path(), "new", "new");
        for (path, modified) in [
            ("old", SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500)),
            ("new", fs::metadata(root.path()).unwrap().modified().unwrap() + std::time::Duration::from_secs(3600)),
        ] {
            let file = fs::File::options().write(true).open(root.path().join(path)).unwrap();
            file.set_modified(modified).unwrap();
        }
        let scan = plain_scan(root.path(), &[]);
        let new = scan.file("new").unwrap();
        assert_eq!((scan.hashed, new.is_settled()), (2, false));
        assert_eq!(scan.to_cache().hashes().next_of("new", &new.stat), None);
    }

    #[test]
    fn changes_are_told_in_order() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a", "c", "d", "f"] {
            write(root.path(), path, path);
        }
        let scan = plain_scan(root.path(), &[]);
        let tracked = ["b", "c", "d", "e", "g"].map(|path| {
            let is = if path == "d" { "x" } else { path };
            (path.to_owned(), hash_bytes(is.as_bytes()))
        });
        let changes = Changes::between(&tracked.into(), &Modes::default(), &scan);
        assert_eq!(
            changes,
            Changes {
                new: vec!["a".into(), "f".into()],
                modified: vec!["d".into()],
                deleted: vec!["b".into(), "e".into(), "g".into()],
            }
        );
    }
}
