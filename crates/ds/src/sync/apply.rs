use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use docstore_models::FileMode;

use super::plan::{Before, Operation};
use crate::{
    Failure,
    failure::About,
    hash::{digest_file, hash_bytes},
    workspace::{Scan, Stat, link_target},
};

/// Why a step did not happen.
pub(super) enum ApplyError {
    /// After an interruption: the downloaded content is not there or not whole.
    ContentLost(String),
    /// The file system refused.
    Failed(Failure),
}

impl From<Failure> for ApplyError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Writes a tree into the workspace, step by step. Each step can be repeated: what is done already is left alone.
pub(super) struct Apply<'a> {
    root: &'a Path,
    staging: &'a Path,
    backup: &'a Path,
    /// What the plan was made from; `None` after an interruption.
    scan: Option<&'a Scan>,
    /// How many steps still need each content.
    uses: HashMap<&'a str, usize>,
    /// Folders known to be folders of the workspace, and not links to elsewhere.
    folders: HashSet<String>,
    backups: usize,
}

impl<'a> Apply<'a> {
    pub(super) fn new(
        root: &'a Path,
        staging: &'a Path,
        backup: &'a Path,
        scan: Option<&'a Scan>,
        operations: &'a [Operation],
    ) -> Self {
        let mut uses = HashMap::new();
        for operation in operations {
            if let Operation::Write { hash, .. } = operation {
                *uses.entry(hash.as_str()).or_insert(0) += 1;
            }
        }
        Self { root, staging, backup, scan, uses, folders: HashSet::new(), backups: 0 }
    }

    pub(super) fn made_backups(&self) -> bool {
        self.backups > 0
    }

    pub(super) fn operation(&mut self, operation: &Operation) -> Result<(), ApplyError> {
        match operation {
            Operation::Remove { path, before, keep } => self.remove(path, before, *keep).map_err(ApplyError::Failed),
            Operation::Write { path, hash, mode, before, keep } => self.write(path, hash, *mode, before, *keep),
            Operation::Mode { path, mode } => self.set_mode(path, *mode).map_err(ApplyError::Failed),
        }
    }

    fn remove(&mut self, path: &str, before: &Before, keep: bool) -> Result<(), Failure> {
        let full = self.root.join(path);
        match kind_of(&full)? {
            None => return Ok(()),
            // Somebody made a folder of it; what is in there is not what was to be removed.
            Some(kind) if kind.is_dir() => return Ok(()),
            Some(_) if keep || !self.is_as_before(path, before, None)? => self.back_up(path)?,
            Some(_) => fs::remove_file(&full).about("remove", &full)?,
        }
        // Folders that are empty now go too; the first that is not ends it.
        let mut parent = full.parent();
        while let Some(folder) = parent.filter(|folder| *folder != self.root) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
            if let Some(relative) = folder.strip_prefix(self.root).ok().and_then(Path::to_str) {
                self.folders.remove(relative);
            }
            parent = folder.parent();
        }
        Ok(())
    }

    fn write(&mut self, path: &str, hash: &str, mode: FileMode, before: &Before, keep: bool) -> Result<(), ApplyError> {
        let staged = self.staging.join(hash);
        let full = self.root.join(path);
        if self.scan.is_none() {
            if self.is_in_place(path, hash, mode)? {
                return Ok(());
            }
            if !digest_file(&staged).is_ok_and(|digested| digested.hash == hash) {
                // It was put in place before the interruption, and somebody has worked on since.
                if !staged.exists() && full.symlink_metadata().is_ok() && !self.is_as_before(path, before, None)? {
                    return Ok(());
                }
                // What was downloaded was lost with the machine.
                return Err(ApplyError::ContentLost(path.to_owned()));
            }
        }
        self.make_folders(path)?;
        match kind_of(&full)? {
            Some(kind) if kind.is_dir() && fs::remove_dir(&full).is_err() => self.back_up(path)?,
            Some(kind) if !kind.is_dir() && (keep || !self.is_as_before(path, before, Some(hash))?) => {
                self.back_up(path)?;
            }
            _ => {}
        }
        let uses = self.uses.get_mut(hash);
        let last_use = self.scan.is_some() && uses.as_ref().is_some_and(|uses| **uses == 1);
        if let Some(uses) = uses {
            *uses = uses.saturating_sub(1);
        }
        self.place(&staged, &full, mode, last_use).map_err(ApplyError::Failed)
    }

    fn place(&self, staged: &Path, full: &Path, mode: FileMode, last_use: bool) -> Result<(), Failure> {
        let new = if mode == FileMode::Symlink {
            let target = fs::read(staged).about("read", staged)?;
            let link = self.staging.join("link");
            let _ = fs::remove_file(&link);
            make_link(&target, &link).about("write", full)?;
            link
        } else {
            let new = if last_use {
                staged.to_owned()
            } else {
                let copy = self.staging.join("copy");
                fs::copy(staged, &copy).about("write", &copy)?;
                copy
            };
            if mode == FileMode::Executable {
                set_executable(&new, true).about("set the mode of", &new)?;
            }
            new
        };
        fs::rename(&new, full).about("write", full)
    }

    fn set_mode(&mut self, path: &str, mode: FileMode) -> Result<(), Failure> {
        let full = self.root.join(path);
        match kind_of(&full)? {
            Some(kind) if kind.is_file() => {
                set_executable(&full, mode == FileMode::Executable).about("set the mode of", &full)
            }
            _ => Ok(()),
        }
    }

    /// Makes the folders on the way to a path. Whatever stands there that is not a folder is moved away: through a link,
    /// the file would end up outside of the workspace.
    fn make_folders(&mut self, path: &str) -> Result<(), Failure> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            if self.folders.contains(parent) {
                continue;
            }
            let full = self.root.join(parent);
            match kind_of(&full)? {
                Some(kind) if kind.is_dir() => {}
                Some(_) => {
                    self.back_up(parent)?;
                    fs::create_dir(&full).about("create", &full)?;
                }
                None => fs::create_dir(&full).about("create", &full)?,
            }
            self.folders.insert(parent.to_owned());
        }
        Ok(())
    }

    /// Whether what is there now may go: it is what the plan saw, or what is to be there anyway.
    fn is_as_before(&self, path: &str, before: &Before, target: Option<&str>) -> Result<bool, Failure> {
        let full = self.root.join(path);
        let stat = fs::symlink_metadata(&full).ok().and_then(|metadata| Stat::of(&metadata));
        if let (Some(stat), Some(seen)) = (stat, self.scan.and_then(|scan| scan.file(path)))
            && seen.stat == stat
        {
            return Ok(true);
        }
        let hash = hash_of(&full)?;
        Ok(Some(hash.as_str()) == target || before.0.as_ref().is_some_and(|(seen, _)| *seen == hash))
    }

    fn is_in_place(&self, path: &str, hash: &str, mode: FileMode) -> Result<bool, Failure> {
        let full = self.root.join(path);
        match kind_of(&full)? {
            Some(kind) if !kind.is_dir() && kind.is_symlink() == (mode == FileMode::Symlink) => {
                Ok(hash_of(&full)? == hash)
            }
            _ => Ok(false),
        }
    }

    fn back_up(&mut self, path: &str) -> Result<(), Failure> {
        let from = self.root.join(path);
        let to = self.backup.join(path);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).about("create", folder)?;
        }
        fs::rename(&from, &to).about("move away", &from)?;
        self.backups += 1;
        Ok(())
    }
}

fn kind_of(path: &Path) -> Result<Option<fs::FileType>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).about("look at", path),
    }
}

/// The hash of a file, or of the target of a link.
fn hash_of(path: &PathBuf) -> Result<String, Failure> {
    let link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_symlink());
    let hash = if link {
        fs::read_link(path).and_then(|target| link_target(&target)).map(|target| hash_bytes(&target))
    } else {
        digest_file(path).map(|digested| digested.hash)
    };
    hash.about("read", path)
}

#[cfg(unix)]
fn make_link(target: &[u8], link: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), link)
}

/// Windows lets only the privileged make links; the target as a text file is what git does there too.
#[cfg(not(unix))]
fn make_link(target: &[u8], link: &Path) -> io::Result<()> {
    fs::write(link, target)
}

/// Whoever may read may execute, so that the user's umask keeps its say.
#[cfg(unix)]
fn set_executable(path: &Path, executable: bool) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)?.permissions().mode();
    let mode = if executable { mode | ((mode & 0o444) >> 2) } else { mode & !0o111 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_executable(_path: &Path, _executable: bool) -> io::Result<()> {
    Ok(())
}
