//! How a blob looks on disk and in a bucket.
//!
//! ```text
//! blob    = frame* entry* footer
//! frame   = the next 256 KiB of the content (the last one may be shorter), as they are or as one zstd frame
//! entry   = stored length of its frame, u32 · SHA-256 of its plain bytes, 32 bytes
//! footer  = SHA-256 of the content · size of the content, u64 · SHA-256 of everything from the first entry to here
//!           · "DSBLOB1\n"
//! ```
//!
//! Numbers are little-endian. A frame that is stored shorter than its plain bytes is compressed. The number of entries
//! follows from the size, and all lengths add up to the length of the object, so that a blob that lost or gained bytes is
//! noticed when it is opened. Everything that a writer learns late stands at the end, so a blob is written in one pass; and
//! frames are independent, so a range costs only the frames that it touches.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use zstd::bulk::{Compressor, Decompressor};

use crate::{Stored, errors::GetError};

/// Plain bytes in every frame but the last. Large enough that 36 bytes for each and a call to a thread of its own do not
/// matter, small enough that a read holds little and a range wastes little.
pub(crate) const FRAME_LENGTH: usize = 256 * 1024;

pub(crate) const FOOTER_LENGTH: usize = 32 + 8 + 32 + 8;
const ENTRY_LENGTH: usize = 4 + 32;
const MAGIC: [u8; 8] = *b"DSBLOB1\n";
const TOO_SHORT: GetError = GetError::Corrupt("it is too short for a footer");

/// Uploads wait for the compressor, so it works at zstd's fastest ordinary level.
const COMPRESSION_LEVEL: i32 = 1;

/// The first frame decides whether the content is compressed at all: below an eighth saved, both directions would
/// spend time on what images, archives and random bytes do not give.
const fn compression_pays(plain: usize, compressed: usize) -> bool {
    compressed <= plain - plain / 8
}

/// The SHA-256 of the content of one frame, and how long the frame is where it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stored_length: u64,
    sha256: [u8; 32],
}

impl Entry {
    fn parse([a, b, c, d, sha256 @ ..]: &[u8; ENTRY_LENGTH]) -> Self {
        Self { stored_length: u32::from_le_bytes([*a, *b, *c, *d]).into(), sha256: *sha256 }
    }
}

/// How many frames content of this size has.
pub(crate) const fn frame_count(size: u64) -> u64 {
    size.div_ceil(FRAME_LENGTH as u64)
}

/// How long index and footer are together.
pub(crate) const fn trailer_length(size: u64) -> u64 {
    frame_count(size) * ENTRY_LENGTH as u64 + FOOTER_LENGTH as u64
}

/// Turns frames of content into frames to store, and at the end gives the trailer.
pub(crate) struct Encoder {
    hasher: Sha256,
    size: u64,
    entries: Vec<u8>,
    compression: Compression,
}

enum Compression {
    Undecided,
    On(Box<Compressor<'static>>),
    Off,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self { hasher: Sha256::new(), size: 0, entries: Vec::new(), compression: Compression::Undecided }
    }

    /// Takes the next frame, [`FRAME_LENGTH`] long unless it is the last, and gives the bytes to store for it.
    pub(crate) fn frame(&mut self, plain: Bytes) -> Bytes {
        self.hasher.update(&plain);
        self.size += plain.len() as u64;
        let sha256 = Sha256::digest(&plain);
        let stored = self.compressed(&plain).unwrap_or(plain);
        // A frame is at most FRAME_LENGTH long, which fits.
        self.entries.extend_from_slice(&u32::try_from(stored.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.entries.extend_from_slice(&sha256);
        stored
    }

    /// The compressed frame, if that is shorter. A compressor that fails is done without.
    fn compressed(&mut self, plain: &[u8]) -> Option<Bytes> {
        let mut compressor = match std::mem::replace(&mut self.compression, Compression::Off) {
            Compression::Off => return None,
            Compression::On(compressor) => compressor,
            Compression::Undecided => Box::new(Compressor::new(COMPRESSION_LEVEL).ok()?),
        };
        let undecided = self.size == plain.len() as u64;
        // One byte less than the plain frame: what does not become shorter does not fit and stays as it is.
        let mut stored = Vec::with_capacity(plain.len().saturating_sub(1));
        let shorter = compressor.compress_to_buffer(plain, &mut stored).is_ok();
        if undecided && !(shorter && compression_pays(plain.len(), stored.len())) {
            return None;
        }
        self.compression = Compression::On(compressor);
        // The buffer was made for the worst case; what waits to be written should be no larger than it is.
        stored.shrink_to_fit();
        shorter.then(|| stored.into())
    }

    /// The content that came, and the trailer to store behind its frames.
    pub(crate) fn finish(self) -> (Stored, Bytes) {
        let content = Stored { sha256: self.hasher.finalize().into(), size: self.size };
        let mut trailer = self.entries;
        trailer.extend_from_slice(&content.sha256);
        trailer.extend_from_slice(&content.size.to_le_bytes());
        let checksum = Sha256::digest(&trailer);
        trailer.extend_from_slice(&checksum);
        trailer.extend_from_slice(&MAGIC);
        (content, trailer.into())
    }
}

/// Checks that what ends with the footer is that of the expected content, before anything is made of the sizes in it.
pub(crate) fn check_footer(footer: &[u8], expected: &Stored) -> Result<(), GetError> {
    let (rest, magic) = footer.split_last_chunk::<8>().ok_or(TOO_SHORT)?;
    let (content, _checksum) = rest.split_last_chunk::<32>().ok_or(TOO_SHORT)?;
    if *magic != MAGIC {
        return Err(GetError::Corrupt("it does not end with a footer"));
    }
    if content.ends_with(&[expected.sha256.as_slice(), &expected.size.to_le_bytes()].concat()) {
        Ok(())
    } else {
        Err(GetError::Corrupt("it holds other content than expected"))
    }
}

/// The entries of all frames, read from a trailer whose footer was checked.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    entries: Bytes,
}

impl Index {
    /// Checks the trailer against its checksum and against the length of the whole object.
    pub(crate) fn parse(trailer: &Bytes, object_length: u64) -> Result<Self, GetError> {
        let entries_length = trailer.len().checked_sub(FOOTER_LENGTH).ok_or(TOO_SHORT)?;
        let entries = trailer.slice(..entries_length);
        let (checked, checksum) =
            trailer.split_last_chunk::<8>().and_then(|(rest, _)| rest.split_last_chunk::<32>()).ok_or(TOO_SHORT)?;
        if Sha256::digest(checked)[..] != *checksum {
            return Err(GetError::Corrupt("its index does not match the checksum"));
        }
        let index = Self { entries };
        if index.entries().any(|entry| entry.stored_length > FRAME_LENGTH as u64) {
            return Err(GetError::Corrupt("its index names a frame that is too long"));
        }
        if index.stored_length(0..usize::MAX) + trailer.len() as u64 == object_length {
            Ok(index)
        } else {
            Err(GetError::Corrupt("its length does not match the index"))
        }
    }

    /// The entry of one frame.
    pub(crate) fn entry(&self, frame: usize) -> Option<Entry> {
        self.entries.as_chunks().0.get(frame).map(Entry::parse)
    }

    /// How many bytes the frames of a range take where they are stored.
    pub(crate) fn stored_length(&self, frames: Range<usize>) -> u64 {
        self.entries().skip(frames.start).take(frames.len()).map(|entry| entry.stored_length).sum()
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.entries.as_chunks().0.iter().map(Entry::parse)
    }
}

/// Turns stored frames back into verified content.
pub(crate) struct Decoder {
    decompressor: Option<Box<Decompressor<'static>>>,
    /// Present while the whole content is read from its start.
    whole: Option<Sha256>,
}

impl Decoder {
    /// With `whole` the hash of the whole content can be checked at the end.
    pub(crate) fn new(whole: bool) -> Self {
        Self { decompressor: None, whole: whole.then(Sha256::new) }
    }

    /// The content of a frame, if it has the hash of its entry.
    pub(crate) fn frame(&mut self, stored: Bytes, entry: &Entry, plain_length: u64) -> Result<Bytes, GetError> {
        let plain_length = usize::try_from(plain_length).unwrap_or(usize::MAX);
        let plain = if stored.len() < plain_length { self.decompressed(&stored, plain_length)? } else { stored };
        if plain.len() != plain_length || Sha256::digest(&plain)[..] != entry.sha256 {
            return Err(GetError::Corrupt("a frame does not match its hash"));
        }
        if let Some(whole) = &mut self.whole {
            whole.update(&plain);
        }
        Ok(plain)
    }

    fn decompressed(&mut self, stored: &[u8], plain_length: usize) -> Result<Bytes, GetError> {
        const FAILED: GetError = GetError::Corrupt("a frame cannot be decompressed");
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Box::new(Decompressor::new().map_err(|_| FAILED)?)),
        };
        // The buffer bounds what a damaged frame can grow to.
        let mut plain = Vec::with_capacity(plain_length);
        decompressor.decompress_to_buffer(stored, &mut plain).map_err(|_| FAILED)?;
        Ok(plain.into())
    }

    /// Checks the hash of the whole, if the whole was read.
    pub(crate) fn finish(&mut self, expected: &Stored) -> Result<(), GetError> {
        if self.whole.take().is_some_and(|whole| whole.finalize()[..] != expected.sha256) {
            return Err(GetError::Corrupt("the content does not match its hash"));
        }
        Ok(())
    }
}

/// Gathers bytes of any portions into pieces of a given length.
#[derive(Default)]
pub(crate) struct Gatherer {
    portion: Bytes,
    piece: BytesMut,
}

impl Gatherer {
    /// Adds a portion. The one before must have been used up.
    pub(crate) fn add(&mut self, portion: Bytes) {
        debug_assert!(self.portion.is_empty(), "a portion would be lost");
        self.portion = portion;
    }

    /// The next piece, once enough has been added.
    pub(crate) fn piece(&mut self, length: usize) -> Option<Bytes> {
        if self.piece.is_empty() && self.portion.len() >= length {
            return Some(self.portion.split_to(length));
        }
        if self.piece.is_empty() {
            self.piece.reserve(length);
        }
        let missing = (length - self.piece.len()).min(self.portion.len());
        self.piece.extend_from_slice(&self.portion.split_to(missing));
        (self.piece.len() == length).then(|| std::mem::take(&mut self.piece).freeze())
    }

    /// What has been added since the last piece.
    pub(crate) fn rest(&mut self) -> Bytes {
        debug_assert!(self.portion.is_empty(), "a portion would be lost");
        std::mem::take(&mut self.piece).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::{Encoder, FRAME_LENGTH, Gatherer};
    use bytes::Bytes;
    use sha2::{Digest, Sha256};

    /// What is stored today must be readable for ever, so its layout is written out once more.
    #[test]
    fn the_layout_of_a_blob_does_not_change() {
        let mut encoder = Encoder::new();
        let first = Bytes::from(vec![b'a'; FRAME_LENGTH]);
        let stored = encoder.frame(first.clone());
        assert_eq!(stored[..4], [0x28, 0xB5, 0x2F, 0xFD], "the magic of zstd");
        let last = encoder.frame(Bytes::from_static(b"xyz"));
        assert_eq!(last, "xyz", "three bytes do not become shorter");
        let (content, trailer) = encoder.finish();

        let whole = Sha256::digest([&first[..], b"xyz"].concat());
        assert_eq!((content.sha256, content.size), (whole.into(), FRAME_LENGTH as u64 + 3));
        let entry = |length: usize, plain: &[u8]| {
            [&u32::try_from(length).unwrap().to_le_bytes()[..], &Sha256::digest(plain)].concat()
        };
        let checked =
            [entry(stored.len(), &first), entry(3, b"xyz"), whole.to_vec(), content.size.to_le_bytes().to_vec()]
                .concat();
        let checksum = Sha256::digest(&checked).to_vec();
        assert_eq!(trailer, [checked, checksum, b"DSBLOB1\n".to_vec()].concat());
    }

    #[test]
    fn portions_of_any_length_become_pieces() {
        let mut gatherer = Gatherer::default();
        let mut pieces = Vec::new();
        for portion in ["a", "", "bc", "defghij", "k"] {
            gatherer.add(Bytes::from_static(portion.as_bytes()));
            while let Some(piece) = gatherer.piece(3) {
                pieces.push(piece);
            }
        }
        pieces.push(gatherer.rest());
        assert_eq!(pieces, ["abc", "def", "ghi", "jk"]);
        assert_eq!(gatherer.rest(), "");
    }
}
