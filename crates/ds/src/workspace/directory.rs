//! One directory, opened once, so that the system does not go the way from the root for each of its files.
//!
//! On Linux its files are looked at relative to the open directory, and no link is followed that takes its place. Elsewhere
//! the standard library has to do, which knows paths only.

use std::{ffi::OsStr, io, path::Path};

use super::Stat;

#[cfg(target_os = "linux")]
pub(super) struct OpenDirectory {
    handle: rustix::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl OpenDirectory {
    /// Bytes of names read at once: a hundred files take one call.
    const BUFFER_BYTES: usize = 32 * 1024;

    /// Only the root of a workspace may be a link.
    pub(super) fn open(path: &Path, may_be_link: bool) -> io::Result<Self> {
        use rustix::{
            fs::{Mode, OFlags, open},
            io::retry_on_intr,
        };
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !may_be_link);
        Ok(Self { handle: retry_on_intr(|| open(path, flags, Mode::empty()))? })
    }

    /// Tells every name in it, in no order, and whether that is a directory.
    pub(super) fn list(&self, mut tell: impl FnMut(&OsStr, bool)) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;

        use rustix::fs::{AtFlags, FileType, RawDir, statat};
        let mut buffer = Vec::with_capacity(Self::BUFFER_BYTES);
        let mut entries = RawDir::new(&self.handle, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(rustix::io::Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            tell(OsStr::from_bytes(name.to_bytes()), kind.is_dir());
        }
        Ok(())
    }

    /// What the system says of a file in it; nothing when that is neither a file nor a link.
    pub(super) fn look_at(&self, name: &str) -> io::Result<Option<Stat>> {
        use rustix::fs::{AtFlags, statat};
        Ok(Stat::of_raw(&statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) struct OpenDirectory {
    path: std::path::PathBuf,
}

#[cfg(not(target_os = "linux"))]
impl OpenDirectory {
    /// Only the root of a workspace may be a link.
    pub(super) fn open(path: &Path, may_be_link: bool) -> io::Result<Self> {
        if !may_be_link && !std::fs::symlink_metadata(path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Tells every name in it, in no order, and whether that is a directory.
    pub(super) fn list(&self, mut tell: impl FnMut(&OsStr, bool)) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            tell(&entry.file_name(), entry.file_type()?.is_dir());
        }
        Ok(())
    }

    /// What the system says of a file in it; nothing when that is neither a file nor a link.
    pub(super) fn look_at(&self, name: &str) -> io::Result<Option<Stat>> {
        std::fs::symlink_metadata(self.path.join(name)).map(|metadata| Stat::of(&metadata))
    }
}
