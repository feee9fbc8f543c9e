//! Hashes of files that have not changed since they were hashed.
//!
//! A file is taken as unchanged when its size, modification time, change time, inode and kind are what they were. That
//! fails for a change that leaves all of them as they are: one within the same tick of the file system's clock. So an
//! entry is kept only when the file had been left alone for longer than a tick before it was read; younger files are read
//! again next time. (git's name for the problem is *racily clean*.)

use std::{cmp::Ordering, fs::Metadata, path::Path, time::SystemTime};

use docstore_models::FileMode;
use sha2::{Digest, Sha256};

use super::{read_optional, write_atomically};
use crate::{Failure, failure::About};

const FILE_NAME: &str = "stat-cache";
/// Changes with the format, so that an older cache is merely not used.
const MAGIC: &[u8; 8] = b"dsstat01";
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
        if !kind.is_file() && !kind.is_symlink() {
            return None;
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let mode = if kind.is_symlink() {
                FileMode::Symlink
            } else if metadata.mode() & 0o100 != 0 {
                FileMode::Executable
            } else {
                FileMode::Regular
            };
            let nanoseconds = |seconds: i64, fraction: i64| seconds.saturating_mul(SECOND_NS).saturating_add(fraction);
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
            let mode = if kind.is_symlink() { FileMode::Symlink } else { FileMode::Regular };
            Some(Self { size: metadata.len(), modified_ns, changed_ns: modified_ns, inode: 0, mode })
        }
    }

    /// Whether a change after `moment` could not go unnoticed.
    pub(crate) fn is_settled_at(&self, moment: SystemTime) -> bool {
        let tick = if self.modified_ns % SECOND_NS == 0 { COARSE_TICK_NS } else { TICK_NS };
        self.modified_ns.max(self.changed_ns).saturating_add(tick) < nanoseconds_since_epoch(moment)
    }
}

fn nanoseconds_since_epoch(moment: SystemTime) -> i64 {
    moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}

struct Entry {
    path: String,
    stat: Stat,
    hash: [u8; 32],
}

/// The cache, ordered by path.
#[derive(Default)]
pub(crate) struct StatCache {
    entries: Vec<Entry>,
}

impl StatCache {
    /// Entries must come in the order of their paths; a hash that is not one is left out.
    pub(crate) fn from_sorted<'e>(entries: impl Iterator<Item = (&'e str, Stat, &'e str)>) -> Self {
        let entries = entries
            .filter_map(|(path, stat, hash)| {
                let mut bytes = [0; 32];
                hex::decode_to_slice(hash, &mut bytes).ok()?;
                Some(Entry { path: path.to_owned(), stat, hash: bytes })
            })
            .collect();
        Self { entries }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The hashes of files that still look the same, for who asks in the order of paths.
    pub(crate) fn hashes(&self) -> Hashes<'_> {
        Hashes { rest: &self.entries }
    }

    /// Reads the cache; one that is missing or damaged is empty.
    pub(crate) fn read(metadata: &Path) -> Self {
        let bytes = read_optional(&metadata.join(FILE_NAME)).ok().flatten().unwrap_or_default();
        Self::decode(&bytes).unwrap_or_default()
    }

    pub(crate) fn write(&self, metadata: &Path) -> Result<(), Failure> {
        let path = metadata.join(FILE_NAME);
        write_atomically(&path, &self.encode()).about("write", &path)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for entry in &self.entries {
            // Paths are at most 4096 bytes long.
            let length = u16::try_from(entry.path.len()).unwrap_or(u16::MAX);
            if usize::from(length) != entry.path.len() {
                continue;
            }
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(entry.path.as_bytes());
            bytes.extend_from_slice(&entry.stat.size.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.modified_ns.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.changed_ns.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.inode.to_le_bytes());
            bytes.extend_from_slice(&entry.stat.mode.to_i32().to_le_bytes());
            bytes.extend_from_slice(&entry.hash);
        }
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<32>()?;
        if Sha256::digest(body).as_slice() != checksum {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let length = u16::from_le_bytes(take(&mut rest)?);
            let path = String::from_utf8(rest.split_off(..usize::from(length))?.to_vec()).ok()?;
            let stat = Stat {
                size: u64::from_le_bytes(take(&mut rest)?),
                modified_ns: i64::from_le_bytes(take(&mut rest)?),
                changed_ns: i64::from_le_bytes(take(&mut rest)?),
                inode: u64::from_le_bytes(take(&mut rest)?),
                mode: FileMode::from_i32(i32::from_le_bytes(take(&mut rest)?)),
            };
            entries.push(Entry { path, stat, hash: take(&mut rest)? });
        }
        entries.is_sorted_by(|a, b| a.path < b.path).then_some(Self { entries })
    }
}

/// See [`StatCache::hashes`].
pub(crate) struct Hashes<'a> {
    rest: &'a [Entry],
}

impl Hashes<'_> {
    /// The hash of a file that still looks the same; what sorts before it is not asked any more.
    pub(crate) fn next_of(&mut self, path: &str, stat: &Stat) -> Option<String> {
        while let [first, rest @ ..] = self.rest {
            match first.path.as_str().cmp(path) {
                Ordering::Less => self.rest = rest,
                Ordering::Equal => return (first.stat == *stat).then(|| hex_of(&first.hash)),
                Ordering::Greater => return None,
            }
        }
        None
    }
}

/// Lower-case hex, written at once and not digit by digit.
fn hex_of(hash: &[u8; 32]) -> String {
    let mut digits = [0; 64];
    match hex::encode_to_slice(hash, &mut digits) {
        Ok(()) => String::from_utf8_lossy(&digits).into_owned(),
        Err(_) => hex::encode(hash),
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
        let bytes = cache.encode();
        let read = StatCache::decode(&bytes).unwrap();
        let mut hashes = read.hashes();
        assert_eq!(hashes.next_of("c", &stat(2)), None);
        assert_eq!(hashes.next_of("ü/b", &stat(2)), Some(hash));
        assert_eq!(read.hashes().next_of("ü/b", &stat(3)), None);
        for cut in 0..bytes.len() {
            assert!(StatCache::decode(&bytes[..cut]).is_none(), "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            assert!(StatCache::decode(&flipped).is_none(), "flipped at {cut}");
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
