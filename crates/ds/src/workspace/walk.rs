//! Every file below the root and what the file system says of it, without reading any.
//!
//! The directories that wait to be read are shared by all threads, and the files of a large one are shared as well, so
//! that no thread is idle while there is something to do.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    vec,
};

use docstore_models::FilePath;
use ignore::gitignore::Gitignore;

use super::{NOT_VERSIONED, Stat, directory::OpenDirectory};
use crate::{Failure, failure::About};

/// The file with patterns to leave out; may be in any folder.
const IGNORE_FILE: &str = ".dsignore";
/// Litter that nobody means to version.
const LITTER: [&str; 2] = [".DS_Store", "Thumbs.db"];
/// Files of one directory that one thread looks at in one go: few enough that a directory of thousands is shared, and
/// enough that sharing costs nothing.
const GO_FILES: usize = 250;

/// What a walk has found.
pub(super) struct Walked {
    /// What each thread has found.
    parts: Vec<Found>,
}

impl Walked {
    /// All files, ordered by path, and what was left out although nobody asked for that, as sentences.
    pub(super) fn into_files(self) -> (Merge, Vec<String>) {
        let (mut parts, mut warnings) = (Vec::new(), Vec::new());
        for part in self.parts {
            parts.push(part.files.into_iter());
            warnings.extend(part.warnings);
        }
        warnings.sort();
        (Merge { parts }, warnings)
    }
}

/// Goes through several sorted lists as if they were one.
pub(super) struct Merge {
    parts: Vec<vec::IntoIter<(String, Stat)>>,
}

impl Iterator for Merge {
    type Item = (String, Stat);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.parts.iter().enumerate();
        let (_, first) = heads.filter_map(|(part, files)| Some((&files.as_slice().first()?.0, part))).min()?;
        self.parts.get_mut(first)?.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.parts.iter().map(ExactSizeIterator::len).sum();
        (count, Some(count))
    }
}

/// What one thread has found.
#[derive(Default)]
struct Found {
    /// Ordered by path when the walk is over.
    files: Vec<(String, Stat)>,
    warnings: Vec<String>,
}

/// Walks with some threads, of which this one is the last: first it does what it is given to do meanwhile.
pub(super) fn walk<T>(root: &Path, threads: usize, meanwhile: impl FnOnce() -> T) -> Result<(Walked, T), Failure> {
    let top = Directory { path: root.to_owned(), prefix: String::new(), rules: None };
    let queue = Queue::new(Task::Read(top));
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| work(&queue))).collect();
        let done_meanwhile = meanwhile();
        let mut parts = vec![work(&queue)?];
        for helper in helpers {
            parts.push(helper.join().map_err(|_| Failure::new("a thread that looks at files broke down"))??);
        }
        Ok((Walked { parts }, done_meanwhile))
    })
}

/// A directory that is part of the workspace.
struct Directory {
    path: PathBuf,
    /// What the paths of its files begin with: its own below the root and a slash, or nothing for the root.
    prefix: String,
    /// The rules for what is in it: those of the directories above, and, once they are read, its own.
    rules: Option<Arc<Rules>>,
}

impl Directory {
    fn is_root(&self) -> bool {
        self.prefix.is_empty()
    }
}

/// A `.dsignore`, and those above it.
struct Rules {
    here: Gitignore,
    above: Option<Arc<Rules>>,
}

impl Rules {
    /// The nearest rule that says something decides.
    fn leave_out(&self, path: &Path, is_directory: bool) -> bool {
        let mut next = Some(self);
        while let Some(rules) = next {
            let matched = rules.here.matched(path, is_directory);
            if !matched.is_none() {
                return matched.is_ignore();
            }
            next = rules.above.as_deref();
        }
        false
    }
}

enum Task {
    /// To read a directory.
    Read(Directory),
    /// To look at some files of one.
    LookAt(Arc<Place>, Vec<String>),
}

/// Where files are that are looked at.
struct Place {
    open: OpenDirectory,
    path: PathBuf,
    /// How much of the path of each is not its name.
    prefix_bytes: usize,
}

/// The tasks that wait. The walk is over when there are none and nobody is at work, who might bring more.
struct Queue {
    tasks: Mutex<Tasks>,
    changed: Condvar,
}

struct Tasks {
    waiting: Vec<Task>,
    at_work: usize,
    idle: usize,
}

impl Queue {
    fn new(first: Task) -> Self {
        Self { tasks: Mutex::new(Tasks { waiting: vec![first], at_work: 0, idle: 0 }), changed: Condvar::new() }
    }

    /// Nothing that can break down is done while the tasks are locked.
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task; nothing when the walk is over.
    fn next(&self) -> Option<(Task, AtWork<'_>)> {
        let mut tasks = self.lock();
        loop {
            if let Some(task) = tasks.waiting.pop() {
                tasks.at_work += 1;
                return Some((task, AtWork { queue: self, others: Vec::new() }));
            }
            if tasks.at_work == 0 {
                return None;
            }
            tasks.idle += 1;
            tasks = self.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner);
            tasks.idle -= 1;
        }
    }

    /// A task failed: there is no point in the others.
    fn give_up(&self) {
        self.lock().waiting.clear();
    }
}

/// A task that is being done. It is over when this is dropped, also because the thread broke down.
struct AtWork<'q> {
    queue: &'q Queue,
    /// The tasks that it has brought.
    others: Vec<Task>,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut tasks = self.queue.lock();
        tasks.at_work -= 1;
        tasks.waiting.append(&mut self.others);
        if tasks.idle > 0 {
            self.queue.changed.notify_all();
        }
    }
}

/// One thread's part of the walk.
fn work(queue: &Queue) -> Result<Found, Failure> {
    let mut found = Found::default();
    while let Some((task, mut at_work)) = queue.next() {
        let done = match task {
            Task::Read(directory) => read(directory, &mut found).map(|others| at_work.others = others),
            Task::LookAt(place, paths) => look_at(&place, paths, &mut found),
        };
        if let Err(failure) = done {
            queue.give_up();
            return Err(failure);
        }
    }
    // A stable sort is quick where much is in order already.
    found.files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Reads a directory and looks at its first files; the other ones and the directories in it are tasks for whoever comes.
fn read(mut directory: Directory, found: &mut Found) -> Result<Vec<Task>, Failure> {
    let open = match OpenDirectory::open(&directory.path, directory.is_root()) {
        Ok(open) => open,
        // It went away, or became something else, since the one above was read.
        Err(error) if is_gone(&error) && !directory.is_root() => return Ok(Vec::new()),
        Err(error) => return Err(error).about("read the directory", &directory.path),
    };
    let (mut entries, mut odd, mut has_rules) = (Vec::new(), Vec::new(), false);
    open.list(|name, is_directory| match name.to_str() {
        Some(name) if is_left_out(name) => {}
        Some(name) => {
            has_rules |= name == IGNORE_FILE;
            entries.push(([directory.prefix.as_str(), name].concat(), is_directory));
        }
        None => odd.push((name.to_owned(), is_directory)),
    })
    .about("read the directory", &directory.path)?;
    if has_rules {
        read_rules(&mut directory, found);
    }

    let Directory { path: folder, prefix, rules } = directory;
    let is_ruled_out = |name: &OsStr, is_directory| {
        rules.as_ref().is_some_and(|rules| rules.leave_out(&folder.join(name), is_directory))
    };
    for (name, _) in odd.iter().filter(|(name, is_directory)| !is_ruled_out(name, *is_directory)) {
        found.warnings.push(format!("'{}' is left out: its name is not UTF-8", folder.join(name).display()));
    }
    let (mut directories, mut files) = (Vec::new(), Vec::with_capacity(entries.len()));
    for (path, is_directory) in entries {
        let name = &path[prefix.len()..];
        if is_ruled_out(name.as_ref(), is_directory) {
            continue;
        }
        if is_directory {
            directories.push(Directory { path: folder.join(name), prefix: path + "/", rules: rules.clone() });
            continue;
        }
        match FilePath::parse(path) {
            Ok(path) => files.push(String::from(path)),
            Err(error) => found.warnings.push(format!("left out: {error}")),
        }
    }
    // What is in order here need not be sorted in the end. The last task is the first to be taken.
    files.sort_unstable();
    directories.sort_unstable_by(|a, b| b.prefix.cmp(&a.prefix));
    let mut tasks: Vec<Task> = directories.into_iter().map(Task::Read).collect();
    let place = Arc::new(Place { open, path: folder, prefix_bytes: prefix.len() });
    while files.len() > GO_FILES {
        tasks.push(Task::LookAt(place.clone(), files.split_off(files.len() - GO_FILES)));
    }
    look_at(&place, files, found)?;
    Ok(tasks)
}

fn read_rules(directory: &mut Directory, found: &mut Found) {
    let path = directory.path.join(IGNORE_FILE);
    if !path.exists() {
        return;
    }
    let (here, error) = Gitignore::new(&path);
    // A pattern that makes no sense would otherwise go unnoticed.
    found.warnings.extend(error.map(|error| format!("ignore rules: {error}")));
    if !here.is_empty() {
        directory.rules = Some(Arc::new(Rules { here, above: directory.rules.take() }));
    }
}

fn look_at(place: &Place, paths: Vec<String>, found: &mut Found) -> Result<(), Failure> {
    for path in paths {
        let name = &path[place.prefix_bytes..];
        match place.open.look_at(name) {
            Ok(Some(stat)) => found.files.push((path, stat)),
            Ok(None) => found.warnings.push(format!("'{path}' is left out: it is neither a file nor a link")),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error).about("look at", &place.path.join(name)),
        }
    }
    Ok(())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn is_left_out(name: &str) -> bool {
    let is_swap_file = || {
        let Some((stem, extension)) = name.rsplit_once('.') else { return false };
        stem.len() > 1 && stem.starts_with('.') && extension.len() == 3 && extension.starts_with("sw")
    };
    NOT_VERSIONED.iter().any(|other| name.eq_ignore_ascii_case(other)) || LITTER.contains(&name) || is_swap_file()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Path, path: impl AsRef<Path>) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn walk_with(root: &Path, threads: usize) -> (Vec<String>, Vec<String>) {
        let (walked, ()) = walk(root, threads, || ()).unwrap();
        let (files, warnings) = walked.into_files();
        (files.map(|(path, _)| path).collect(), warnings)
    }

    #[test]
    fn every_file_is_found_once_and_in_order_however_many_look() {
        let root = tempfile::tempdir().unwrap();
        // The files of a directory are not neighbours of one another: `-` and `.` sort before `/`.
        let mut expected: Vec<String> = ["a/b", "a-b", "a.b/c", "a/b-c/d", "a/b.c", "a/bc/d/e/f", "a", "z/z"]
            .map(|path| format!("{path}/x"))
            .into();
        expected.extend((0..3 * GO_FILES + 7).map(|number| format!("many/{number}")));
        expected.extend((0..GO_FILES).map(|number| format!("just-enough/{number}")));
        expected.push("empty-file".to_owned());
        for path in &expected {
            write(root.path(), path);
        }
        fs::create_dir_all(root.path().join("empty/empty")).unwrap();
        expected.sort();
        for threads in [1, 2, 3, 8] {
            assert_eq!(walk_with(root.path(), threads), (expected.clone(), Vec::new()), "{threads} threads");
        }
    }

    #[test]
    fn a_failure_names_the_path_and_ends_the_walk() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        for threads in [1, 4] {
            let failure = walk(&missing, threads, || ()).map(drop).unwrap_err();
            let expected = format!("cannot read the directory {}: ", missing.display());
            assert!(failure.message().starts_with(&expected), "{failure}");
        }
    }

    #[test]
    fn after_a_failure_nothing_is_begun_any_more() {
        let task = || Task::Read(Directory { path: PathBuf::new(), prefix: String::new(), rules: None });
        let queue = Queue::new(task());
        let (_, mut first) = queue.next().unwrap();
        first.others = vec![task(), task()];
        drop(first);
        let second = queue.next().unwrap();
        queue.give_up();
        drop(second);
        assert!(queue.next().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_may_not_be_read_is_a_failure() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "closed/x");
        let closed = root.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        // An administrator may read everything.
        let may_read = fs::read_dir(&closed).is_ok();
        let walked = walk(root.path(), 2, || ());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        match walked {
            Ok(_) => assert!(may_read),
            Err(failure) => assert!(failure.message().contains(closed.to_str().unwrap()), "{failure}"),
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_root_may_be_a_link_but_nothing_below_it() {
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "x");
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(outside.path(), &link).unwrap();
        assert_eq!(walk_with(&link, 2).0, ["x"]);
        // As when a link took the place of a directory after the one above it was read.
        let mut found = Found::default();
        let tasks = read(Directory { path: link, prefix: "link/".into(), rules: None }, &mut found).unwrap();
        assert!(tasks.is_empty() && found.files.is_empty() && found.warnings.is_empty());
    }

    #[test]
    fn rules_of_all_directories_above_count_and_the_nearest_decides() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/b/c/x.log", "a/b/c/y.log", "a/b/c/z", "a/x.log", "a/b/out/x", "out/x", "x.log"] {
            write(root.path(), path);
        }
        fs::write(root.path().join(".dsignore"), "*.log\n/out/\n").unwrap();
        fs::write(root.path().join("a/.dsignore"), "z\n").unwrap();
        fs::write(root.path().join("a/b/.dsignore"), "!x.log\n").unwrap();
        let found = walk_with(root.path(), 2).0;
        assert_eq!(found, [".dsignore", "a/.dsignore", "a/b/.dsignore", "a/b/c/x.log", "a/b/out/x"]);
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_told() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a");
        fs::write(root.path().join(".dsignore"), "[z-a]\na\n").unwrap();
        let (found, warnings) = walk_with(root.path(), 2);
        assert_eq!(found, [".dsignore"]);
        assert!(warnings.len() == 1 && warnings[0].starts_with("ignore rules: "), "{warnings:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_cannot_be_versioned_are_told() {
        use std::os::unix::ffi::OsStrExt;
        let root = tempfile::tempdir().unwrap();
        let odd = |bytes| Path::new(OsStr::from_bytes(bytes));
        for path in [odd(b"a\xff"), odd(b"d\xff/x"), odd(b"new\nline"), odd(b"ignored/d\xff/x"), odd(b"ok")] {
            write(root.path(), path);
        }
        fs::write(root.path().join(".dsignore"), "ignored/*\n").unwrap();
        let (found, warnings) = walk_with(root.path(), 2);
        assert_eq!(found, [".dsignore", "ok"]);
        let place = root.path().display();
        assert_eq!(
            warnings,
            [
                format!("'{place}/a\u{fffd}' is left out: its name is not UTF-8"),
                format!("'{place}/d\u{fffd}' is left out: its name is not UTF-8"),
                "left out: file path 'new\\nline' holds the control character '\\n'".to_owned(),
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_looks_the_same_through_its_directory_and_by_its_path() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("plain"), "some text").unwrap();
        fs::write(root.path().join("run"), "").unwrap();
        fs::set_permissions(root.path().join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("plain", root.path().join("link")).unwrap();
        let plain = fs::File::options().write(true).open(root.path().join("plain")).unwrap();
        plain.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_000_000_007)).unwrap();
        let (walked, ()) = walk(root.path(), 1, || ()).unwrap();
        let (files, _) = walked.into_files();
        assert_eq!(files.size_hint(), (3, Some(3)));
        for (path, stat) in files {
            let metadata = fs::symlink_metadata(root.path().join(&path)).unwrap();
            assert_eq!(Some(stat), Stat::of(&metadata), "{path}");
        }
    }
}
