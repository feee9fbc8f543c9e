use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

/// Bytes read at once while hashing.
const CHUNK_BYTES: usize = 256 * 1024;

/// The hash of a symbolic link's or small file's bytes, lower-case hex.
pub(crate) fn hash_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What reading a file once tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digested {
    /// Lower-case hex SHA-256.
    pub(crate) hash: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Whether the bytes are UTF-8, which is what makes a file text (contract, clients §5).
    pub(crate) text: bool,
}

/// Reads a file once, with memory that does not depend on its size.
pub(crate) fn digest_file(path: &Path) -> io::Result<Digested> {
    digest_reader(File::open(path)?)
}

pub(crate) fn digest_reader(mut reader: impl Read) -> io::Result<Digested> {
    let mut hasher = Sha256::new();
    let mut utf8 = Utf8Check::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        utf8.feed(&buffer[..count]);
        size += count as u64;
    }
    Ok(Digested { hash: hex::encode(hasher.finalize()), size, text: utf8.finish() })
}

/// Checks UTF-8 across the borders of chunks.
#[derive(Default)]
struct Utf8Check {
    broken: bool,
    carried: Vec<u8>,
}

impl Utf8Check {
    fn feed(&mut self, chunk: &[u8]) {
        if self.broken {
            return;
        }
        let joined;
        let bytes = if self.carried.is_empty() {
            chunk
        } else {
            joined = [std::mem::take(&mut self.carried).as_slice(), chunk].concat();
            &joined
        };
        if let Err(error) = std::str::from_utf8(bytes) {
            match error.error_len() {
                Some(_) => self.broken = true,
                // A character cut in two by the end of the chunk.
                None => self.carried = bytes[error.valid_up_to()..].to_vec(),
            }
        }
    }

    fn finish(self) -> bool {
        !self.broken && self.carried.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_be_cut_by_chunks() {
        for (bytes, text) in [("aé€😀z".as_bytes(), true), (b"a\xff", false), (b"a\xf0\x9f", false), (b"", true)] {
            for size in 1..=4 {
                let mut check = Utf8Check::default();
                bytes.chunks(size).for_each(|chunk| check.feed(chunk));
                assert_eq!(check.finish(), text, "{bytes:?} in chunks of {size}");
            }
        }
        let digested = digest_reader(&b"hello"[..]).unwrap();
        assert_eq!((digested.size, digested.text), (5, true));
        assert_eq!(digested.hash, hash_bytes(b"hello"));
    }
}
