//! The way out: frames from the store, verified one by one.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{
    errors::{GetError, Unavailable},
    format::{Decoder, FRAME_LENGTH, Gatherer, Index, check_footer},
    observe::{self, Observation},
    store::{Opened, Stored},
};

/// Verified bytes of a blob, in order, in portions of at most 256 KiB.
///
/// After an error it ends. Whoever answers somebody with it must then break the answer off: the portions that came are
/// right, but they are not all.
pub struct BlobStream {
    length: u64,
    portions: BoxStream<'static, Result<Bytes, GetError>>,
}

impl BlobStream {
    /// How many bytes the stream gives if it ends without an error.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// All bytes at once. The caller bounds the memory by doing this only when [`BlobStream::length`] is small.
    ///
    /// # Errors
    /// As the stream.
    pub async fn collect_bytes(mut self) -> Result<Bytes, GetError> {
        let Some(first) = self.portions.try_next().await? else { return Ok(Bytes::new()) };
        if first.len() as u64 == self.length {
            return Ok(first);
        }
        let mut all = first.to_vec();
        while let Some(portion) = self.portions.try_next().await? {
            all.extend_from_slice(&portion);
        }
        Ok(all.into())
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, GetError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.portions.poll_next_unpin(context)
    }
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BlobStream").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Checks the end of an opened blob, makes the reader of a range and reads its first frame.
pub(crate) async fn start(opened: Opened, expected: Stored, range: Range<u64>) -> Result<Started, GetError> {
    check_footer(&opened.trailer, &expected)?;
    let index = Index::parse(&opened.trailer, opened.object_length)?;
    let frames = frames_of(&range)?;
    let stored_start = index.stored_length(0..frames.start);
    let stored_range = stored_start..stored_start + index.stored_length(frames.clone());
    let body = if frames.is_empty() {
        // A bucket refuses an empty range.
        stream::empty().boxed()
    } else {
        opened.source.stream(stored_range).await?
    };
    let decoder = Some(Decoder::new(range == (0..expected.size)));
    let mut reader = Reader { body, gatherer: Gatherer::default(), decoder, index, frames, range, expected };
    let first = reader.next().await?;
    Ok(Started { first, reader })
}

/// A reader whose first portion was read and verified.
pub(crate) struct Started {
    first: Option<Bytes>,
    reader: Reader,
}

impl Started {
    /// The stream, which ends the observation with itself.
    pub(crate) fn into_stream(self, store: &'static str, observation: Observation) -> BlobStream {
        let Self { first, reader } = self;
        let length = reader.range.end - reader.range.start;
        let state = (first, reader, Some(observation));
        let portions = stream::unfold(state, move |(first, mut reader, observation)| async move {
            let observation = observation?;
            let portion = match first {
                Some(first) => Ok(Some(first)),
                None => reader.next().await,
            };
            match portion {
                Ok(Some(portion)) => {
                    observe::served(store, portion.len() as u64);
                    Some((Ok(portion), (None, reader, Some(observation))))
                }
                Ok(None) => {
                    observation.end("ok");
                    None
                }
                Err(error) => {
                    observation.end(error.outcome());
                    Some((Err(error), (None, reader, None)))
                }
            }
        });
        BlobStream { length, portions: portions.boxed() }
    }
}

/// The frames that a range of the content touches.
fn frames_of(range: &Range<u64>) -> Result<Range<usize>, GetError> {
    if range.is_empty() {
        return Ok(0..0);
    }
    let frame_length = FRAME_LENGTH as u64;
    let frame = |number: u64| usize::try_from(number).map_err(|_| GetError::Corrupt("it is too long for this machine"));
    Ok(frame(range.start / frame_length)?..frame(range.end.div_ceil(frame_length))?)
}

struct Reader {
    body: BoxStream<'static, Result<Bytes, GetError>>,
    gatherer: Gatherer,
    /// Away while a frame is decoded.
    decoder: Option<Decoder>,
    index: Index,
    /// The frames that are still to be read.
    frames: Range<usize>,
    /// The range of the content that was asked for, within it.
    range: Range<u64>,
    expected: Stored,
}

impl Reader {
    /// The next portion of the range, verified; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>, GetError> {
        let Some(frame) = self.frames.next() else { return Ok(None) };
        let (Some(entry), Some(mut decoder)) = (self.index.entry(frame), self.decoder.take()) else {
            return Err(GetError::Corrupt("its index ends early"));
        };
        let stored = self.stored_frame(entry.stored_length).await?;

        let plain_start = frame as u64 * FRAME_LENGTH as u64;
        let plain_length = (self.expected.size - plain_start).min(FRAME_LENGTH as u64);
        let last = self.frames.is_empty();
        let expected = self.expected;
        // Hashing 256 KiB takes long enough to hold up what else runs on a thread of the runtime.
        let verified = tokio::task::spawn_blocking(move || {
            let plain = decoder.frame(stored, &entry, plain_length)?;
            if last {
                decoder.finish(&expected)?;
            }
            Ok::<_, GetError>((decoder, plain))
        });
        let (decoder, plain) = verified.await.map_err(|lost| Unavailable::new("verifying a blob", lost))??;
        self.decoder = Some(decoder);

        // Both ends are within the frame, because the frame was chosen for the range.
        let within = |position: u64| {
            let position = position.saturating_sub(plain_start).min(plain_length);
            usize::try_from(position).unwrap_or(plain.len())
        };
        Ok(Some(plain.slice(within(self.range.start)..within(self.range.end))))
    }

    async fn stored_frame(&mut self, length: u64) -> Result<Bytes, GetError> {
        let length = usize::try_from(length).unwrap_or(FRAME_LENGTH);
        loop {
            if let Some(frame) = self.gatherer.piece(length) {
                return Ok(frame);
            }
            match self.body.try_next().await? {
                Some(portion) => self.gatherer.add(portion),
                None => return Err(GetError::Corrupt("it ends early")),
            }
        }
    }
}
