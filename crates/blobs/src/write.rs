//! The way in: frames of what a client sends, hashed and compressed on the way.

use std::pin::pin;

use bytes::Bytes;
use futures::{Stream, StreamExt, try_join};

use crate::{
    errors::{BoxError, PutError, Unavailable},
    format::{Encoder, FRAME_LENGTH, Gatherer},
    store::{Stored, Writer},
};

/// Content that was written but is not visible yet.
pub(crate) struct Written {
    pub(crate) content: Stored,
    /// How many bytes were written for it, trailer included.
    pub(crate) bytes: u64,
}

/// Writes the whole stream and its trailer, and checks what came. The caller finishes or aborts the writer.
pub(crate) async fn write<S, E>(
    writer: &mut Writer,
    stream: S,
    limit_bytes: u64,
    expected_sha256: Option<[u8; 32]>,
) -> Result<Written, PutError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    let mut source = Source { stream: pin!(stream.fuse()), gatherer: Gatherer::default(), size: 0, limit_bytes };
    let mut sink = Sink { encoder: Some(Encoder::new()), writer, bytes: 0 };
    let mut frame = source.frame().await?;
    while let Some(plain) = frame {
        // While one frame is compressed and written, the next one arrives.
        (frame, ()) = try_join!(source.frame(), async { Ok(sink.frame(plain).await?) })?;
    }
    sink.finish(expected_sha256).await
}

/// The content as it comes.
struct Source<S> {
    stream: S,
    gatherer: Gatherer,
    size: u64,
    limit_bytes: u64,
}

impl<S, E> Source<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BoxError>,
{
    /// The next frame; the last one is shorter, and `None` follows.
    async fn frame(&mut self) -> Result<Option<Bytes>, PutError> {
        loop {
            if let Some(frame) = self.gatherer.piece(FRAME_LENGTH) {
                return Ok(Some(frame));
            }
            match self.stream.next().await {
                Some(Ok(portion)) => {
                    self.size += portion.len() as u64;
                    if self.size > self.limit_bytes {
                        return Err(PutError::TooLarge { limit_bytes: self.limit_bytes });
                    }
                    self.gatherer.add(portion);
                }
                Some(Err(error)) => return Err(PutError::Source(error.into())),
                None => {
                    let rest = self.gatherer.rest();
                    return Ok((!rest.is_empty()).then_some(rest));
                }
            }
        }
    }
}

/// The blob as it is written.
struct Sink<'a> {
    /// Away while a frame is encoded.
    encoder: Option<Encoder>,
    writer: &'a mut Writer,
    bytes: u64,
}

impl Sink<'_> {
    async fn frame(&mut self, plain: Bytes) -> Result<(), Unavailable> {
        let stored = self.encode(move |encoder| encoder.frame(plain)).await?;
        self.write(stored).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Unavailable> {
        self.bytes += bytes.len() as u64;
        self.writer.write(bytes).await
    }

    async fn finish(mut self, expected_sha256: Option<[u8; 32]>) -> Result<Written, PutError> {
        let Some(encoder) = self.encoder.take() else { return Err(lost("its encoder is gone").into()) };
        let (content, trailer) = encoder.finish();
        if expected_sha256.is_some_and(|expected| expected != content.sha256) {
            return Err(PutError::HashMismatch { actual: content.sha256 });
        }
        self.write(trailer).await?;
        Ok(Written { content, bytes: self.bytes })
    }

    /// Hashing and compressing 256 KiB take long enough to hold up what else runs on a thread of the runtime.
    async fn encode<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Encoder) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let Some(mut encoder) = self.encoder.take() else { return Err(lost("its encoder is gone")) };
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut encoder);
            (encoder, result)
        });
        let (encoder, result) = done.await.map_err(lost)?;
        self.encoder = Some(encoder);
        Ok(result)
    }
}

fn lost(why: impl Into<BoxError>) -> Unavailable {
    Unavailable::new("compressing a blob", why)
}
