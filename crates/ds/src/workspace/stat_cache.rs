//! Hashes of files that have not changed since they were hashed.
//!
//! A file is taken as unchanged when its size, modification time, change time, inode and kind are what they were. That
//! fails for a change that leaves all of them as they are: one within the same tick of the file system's clock. So an
//! entry is kept only when the file had been left alone for longer than a tick before it was read; younger files are read
//! again next time. (git's name for the problem is *racily clean*.)

use std::{cmp::Ordering, fs::Metadata, path::Path, time::SystemTime};

use bytes::Bytes;
use docstore_models::FileMode;

use super::{files::write_for_now, read_optional};
use crate::{Failure, failure::About};

const FILE_NAME: &str = "stat-cache";
/// Changes with the format, so that an older cache is merely not used.
const MAGIC: &[u8; 8] = b"dsstat02";
/// The magic and the number of entries.
const HEAD_BYTES: usize = MAGIC.len() + 4;
/// Hashes are kept as text, as they are compared.
const HASH_BYTES: usize = 64;
/// A CRC-32 at the end: against damage, not against people, who could change the files as well.
const CHECKSUM_BYTES: usize = 4;
/// Linux stamps files with a clock that ticks every 1 to 10 ms.
const TICK_NS: i64 = 20_000_000;
/// File systems that keep whole seconds (or two, FAT) show it: their times have no fraction.
const COARSE_TICK_NS: i64 = 2_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// What the file system says of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) modified_ns: i64,
    pub(crate) changed_ns: i64,
    pub(crate) inode: u64,
    pub(crate) mode: FileMode,
}

impl Stat {
    /// `None` for what is neither a file nor a link.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        let kind = metadata.file_type();
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let mode = mode_of(kind.is_file(), kind.is_symlink(), metadata.mode() & 0o100 != 0)?;
            Some(Self {
                size: metadata.len(),
                modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
                changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
                inode: metadata.ino(),
                mode,
            })
        }
        #[cfg(not(unix))]
        {
            let modified_ns = metadata.modified().map(nanoseconds_since_epoch).unwrap_or_default();
            let mode = mode_of(kind.is_file(), kind.is_symlink(), false)?;
            Some(Self { size: metadata.len(), modified_ns, changed_ns: modified_ns, inode: 0, mode })
        }
    }

    /// The same of what the system says in its own words.
    #[cfg(target_os = "linux")]
    pub(super) fn of_raw(stat: &rustix::fs::Stat) -> Option<Self> {
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        let mode = mode_of(kind.is_file(), kind.is_symlink(), stat.st_mode & 0o100 != 0)?;
        let fraction = |nanoseconds| i64::try_from(nanoseconds).unwrap_or_default();
        Some(Self {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified_ns: nanoseconds(stat.st_mtime, fraction(stat.st_mtime_nsec)),
            changed_ns: nanoseconds(stat.st_ctime, fraction(stat.st_ctime_nsec)),
            inode: stat.st_ino,
            mode,
        })
    }

    /// Whether a change after `moment` could not go unnoticed.
    pub(crate) fn is_settled_at(&self, moment: SystemTime) -> bool {
        let tick = if self.modified_ns % SECOND_NS == 0 { COARSE_TICK_NS } else { TICK_NS };
        self.modified_ns.max(self.changed_ns).saturating_add(tick) < nanoseconds_since_epoch(moment)
    }
}

/// `None` for what is neither a file nor a link.
fn mode_of(is_file: bool, is_link: bool, is_executable: bool) -> Option<FileMode> {
    match (is_link, is_file, is_executable) {
        (true, ..) => Some(FileMode::Symlink),
        (_, true, true) => Some(FileMode::Executable),
        (_, true, false) => Some(FileMode::Regular),
        (_, false, _) => None,
    }
}

#[cfg(unix)]
fn nanoseconds(seconds: i64, fraction: i64) -> i64 {
    seconds.saturating_mul(SECOND_NS).saturating_add(fraction)
}

fn nanoseconds_since_epoch(moment: SystemTime) -> i64 {
    moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}

/// The cache: what its file holds, an entry for each file in the order of their paths. It is read from front to back, so
/// that the entries need not be taken apart before.
pub(crate) struct StatCache {
    bytes: Bytes,
}

impl Default for StatCache {
    fn default() -> Self {
        Self::from_sorted(std::iter::empty())
    }
}

impl StatCache {
    /// Entries must come in the order of their paths; a hash that is not one is left out.
    pub(crate) fn from_sorted<'e>(entries: impl Iterator<Item = (&'e str, Stat, &'e str)>) -> Self {
        let mut bytes = [MAGIC.as_slice(), &[0; 4]].concat();
        let mut count: u32 = 0;
        for (path, stat, hash) in entries {
            // Paths are at most 4096 bytes long.
            let (Ok(length), HASH_BYTES) = (u16::try_from(path.len()), hash.len()) else { continue };
            count += 1;
            bytes.extend_from_slice(&stat.size.to_le_bytes());
            bytes.extend_from_slice(&stat.modified_ns.to_le_bytes());
            bytes.extend_from_slice(&stat.changed_ns.to_le_bytes());
            bytes.extend_from_slice(&stat.inode.to_le_bytes());
            bytes.extend_from_slice(&stat.mode.to_i32().to_le_bytes());
            bytes.extend_from_slice(hash.as_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(path.as_bytes());
        }
        bytes[MAGIC.len()..HEAD_BYTES].copy_from_slice(&count.to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Self { bytes: bytes.into() }
    }

    /// Reads the cache; one that is missing or damaged is empty.
    pub(crate) fn read(metadata: &Path) -> Self {
        let bytes = read_optional(&metadata.join(FILE_NAME)).ok().flatten();
        bytes.and_then(Self::checked).unwrap_or_default()
    }

    fn checked(bytes: Vec<u8>) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk()?;
        let whole = body.len() >= HEAD_BYTES && body.starts_with(MAGIC);
        (whole && crc32fast::hash(body) == u32::from_le_bytes(*checksum)).then(|| Self { bytes: bytes.into() })
    }

    /// Writes the cache, and does not wait for the disk: one that a crash has damaged is an empty one.
    pub(crate) fn write(&self, metadata: &Path) -> Result<(), Failure> {
        let path = metadata.join(FILE_NAME);
        write_for_now(&path, &self.bytes).about("write", &path)
    }

    /// How many files the cache knows.
    pub(crate) fn len(&self) -> usize {
        let mut head = &self.bytes[MAGIC.len()..];
        take(&mut head).map_or(0, |count| u32::from_le_bytes(count) as usize)
    }

    /// The hashes of files that still look the same, for who asks in the order of paths.
    pub(crate) fn hashes(&self) -> Hashes<'_> {
        let mut rest = &self.bytes[HEAD_BYTES..self.bytes.len() - CHECKSUM_BYTES];
        Hashes { all: &self.bytes, next: Entry::take(&mut rest), rest }
    }
}

struct Entry<'a> {
    stat: Stat,
    hash: &'a [u8],
    path: &'a [u8],
}

impl<'a> Entry<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let stat = Stat {
            size: u64::from_le_bytes(take(rest)?),
            modified_ns: i64::from_le_bytes(take(rest)?),
            changed_ns: i64::from_le_bytes(take(rest)?),
            inode: u64::from_le_bytes(take(rest)?),
            mode: FileMode::from_i32(i32::from_le_bytes(take(rest)?)),
        };
        let hash = rest.split_off(..HASH_BYTES)?;
        let length = u16::from_le_bytes(take(rest)?);
        Some(Self { stat, hash, path: rest.split_off(..usize::from(length))? })
    }
}

/// See [`StatCache::hashes`].
pub(crate) struct Hashes<'a> {
    all: &'a Bytes,
    next: Option<Entry<'a>>,
    rest: &'a [u8],
}

impl Hashes<'_> {
    /// The hash of a file that still looks the same, as a part of the cache; what sorts before it is not asked any more.
    pub(crate) fn next_of(&mut self, path: &str, stat: &Stat) -> Option<Bytes> {
        while let Some(next) = &self.next {
            match next.path.cmp(path.as_bytes()) {
                Ordering::Less => self.next = Entry::take(&mut self.rest),
                Ordering::Equal => return (next.stat == *stat).then(|| self.all.slice_ref(next.hash)),
                Ordering::Greater => return None,
            }
        }
        None
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stat(modified_ns: i64) -> Stat {
        Stat { size: 1, modified_ns, changed_ns: modified_ns, inode: 7, mode: FileMode::Executable }
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let hash = crate::hash::hash_bytes(b"x");
        let cache =
            StatCache::from_sorted([("a", stat(1), hash.as_str()), ("ü/b", stat(2), hash.as_str())].into_iter());
        let bytes = cache.bytes.to_vec();
        let read = StatCache::checked(bytes.clone()).unwrap();
        assert_eq!(read.len(), 2);
        let mut hashes = read.hashes();
        assert_eq!(hashes.next_of("c", &stat(2)), None);
        assert_eq!(hashes.next_of("ü/b", &stat(2)), Some(hash.into()));
        assert_eq!(read.hashes().next_of("ü/b", &stat(3)), None);
        for cut in 0..bytes.len() {
            assert!(StatCache::checked(bytes[..cut].to_vec()).is_none(), "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert!(StatCache::checked(flipped).is_none(), "flipped at {cut}");
        }
    }

    #[test]
    fn a_file_is_settled_only_when_a_later_change_would_show() {
        let at = |ns: u64| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns);
        let fine = stat(5_000_000_001);
        assert!(!fine.is_settled_at(at(5_000_000_001)));
        assert!(!fine.is_settled_at(at(5_020_000_001)));
        assert!(fine.is_settled_at(at(5_020_000_002)));
        let coarse = stat(5_000_000_000);
        assert!(!coarse.is_settled_at(at(6_500_000_000)));
        assert!(coarse.is_settled_at(at(7_000_000_001)));
        let copied_later = Stat { changed_ns: 9_000_000_001, ..fine };
        assert!(!copied_later.is_settled_at(at(9_000_000_001)));
    }
}
