//! The byte stream between the socket and hyper.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    Exchange, Refusal,
    framing::{Framing, Progress},
    head::{HeadScanner, check_head},
};
use crate::{Limits, limit_reached};

/// What hyper gets in place of a head that is refused; the service answers it with the refusal.
const MADE_UP_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// How long a connection is read from, and the bytes thrown away, after an answer that came before the request's end.
///
/// To close at once would reset the connection and could destroy the answer on its way.
const LINGER: Duration = Duration::from_secs(2);

/// How much is thrown away in that time.
const MAX_LINGER_BYTES: u64 = 4 << 20;

/// A connection's bytes: strict in what they may be, and with a deadline for everything a client can be slow at.
#[derive(Debug)]
pub(crate) struct StrictIo<IO> {
    inner: IO,
    limits: Limits,
    exchange: Arc<Exchange>,
    /// Bytes that arrived and were not handed on.
    held: BytesMut,
    /// How many of them were found good.
    good: usize,
    phase: Phase,
    body: BodyProgress,
    read_deadline: Deadline,
    write_deadline: Deadline,
    closing: Option<Closing>,
}

/// What the next byte from the client belongs to.
#[derive(Debug)]
enum Phase {
    Head(HeadScanner),
    Body(Framing),
    /// The body broke its framing; hyper is told when it asks.
    BrokenBody,
    /// A head was refused; no byte counts any more.
    Refused,
}

/// What the server waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Head,
    NextRequest,
    Body,
    Write,
    Linger,
}

/// How far a body has come since it last made progress.
#[derive(Debug, Default)]
struct BodyProgress {
    bytes: u64,
    waited: Duration,
}

/// The end of the connection, once our side is shut.
#[derive(Debug, Default)]
struct Closing {
    /// How many bytes were thrown away since.
    discarded: u64,
}

impl<IO> StrictIo<IO> {
    pub(crate) fn new(inner: IO, limits: Limits, exchange: Arc<Exchange>) -> Self {
        Self {
            inner,
            limits,
            exchange,
            held: BytesMut::new(),
            good: 0,
            phase: Phase::Head(HeadScanner::default()),
            body: BodyProgress::default(),
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
            closing: None,
        }
    }

    /// Follows the head in the held bytes as far as they go.
    fn scan_head(&mut self) {
        let Phase::Head(scanner) = &mut self.phase else { return };
        let verdict = match scanner.advance(&self.held, &self.limits) {
            Ok(None) => return,
            Ok(Some(length)) => check_head(&self.held[..length], &self.limits).map(|framing| (length, framing)),
            Err(refusal) => Err(refusal),
        };
        self.read_deadline.disarm();
        match verdict {
            Ok((length, framing)) => {
                self.good = length;
                self.body = BodyProgress::default();
                self.phase = framing.map_or_else(|| Phase::Head(HeadScanner::default()), Phase::Body);
                self.exchange.begin();
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if let Some(limit) = refusal.limit() {
            limit_reached(limit);
        }
        self.held = BytesMut::from(MADE_UP_REQUEST);
        self.good = MADE_UP_REQUEST.len();
        self.phase = Phase::Refused;
        self.exchange.begin_refused(refusal);
    }

    /// Follows the body in bytes that just came; returns how many of them belong to it.
    fn follow_body(&mut self, bytes: &[u8]) -> usize {
        let Phase::Body(framing) = &mut self.phase else { return 0 };
        let (taken, progress) = framing.advance(bytes);
        self.body.bytes += taken as u64;
        if self.body.bytes >= self.limits.body_progress_bytes {
            self.body = BodyProgress::default();
        }
        match progress {
            Progress::More => {}
            Progress::Done => self.phase = Phase::Head(HeadScanner::default()),
            Progress::Broken => self.phase = Phase::BrokenBody,
        }
        taken
    }

    /// Hands on held bytes that were found good; false if there are none.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let count = self.good.min(out.remaining());
        if count == 0 {
            return false;
        }
        out.put_slice(&self.held[..count]);
        self.held.advance(count);
        self.good -= count;
        true
    }

    /// Nothing came: waits, if it is the client whom the server waits for, until that wait's deadline.
    ///
    /// Ready with `Ok` means that hyper shall see the end of the stream, or look again.
    fn wait_to_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (wait, limit) = match self.phase {
            Phase::Head(_) if self.exchange.in_flight() => {
                // hyper only watches for the client to go away while it works on an answer.
                self.read_deadline.disarm();
                return Poll::Pending;
            }
            Phase::Head(_) if self.held.is_empty() && self.exchange.any_begun() => {
                (Wait::NextRequest, self.limits.idle_timeout)
            }
            Phase::Head(_) => (Wait::Head, self.limits.header_timeout),
            Phase::Body(_) => (Wait::Body, self.limits.body_timeout.saturating_sub(self.body.waited)),
            Phase::BrokenBody | Phase::Refused => return Poll::Pending,
        };
        ready!(self.read_deadline.poll(cx, wait, limit));
        match wait {
            Wait::NextRequest => limit_reached("idle_timeout"),
            Wait::Head if self.held.is_empty() => limit_reached("header_timeout"),
            Wait::Head => self.refuse(Refusal::HeadTooSlow),
            _ => {
                limit_reached("body_timeout");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the body made no progress")));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Something came, so the wait for it is over. The head's deadline is for the whole head and stays.
    fn end_wait(&mut self) {
        match self.read_deadline.armed {
            Some((Wait::Body, since)) => {
                self.body.waited += since.elapsed();
                self.read_deadline.disarm();
            }
            Some((Wait::Head, _)) | None => {}
            Some(_) => self.read_deadline.disarm(),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for StrictIo<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if this.hand_on(out) {
                return Poll::Ready(Ok(()));
            }
            match this.phase {
                Phase::Refused => return Poll::Pending,
                Phase::BrokenBody => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the body's framing is broken",
                    )));
                }
                Phase::Body(_) if !this.held.is_empty() => {
                    let held = std::mem::take(&mut this.held);
                    this.good = this.follow_body(&held);
                    this.held = held;
                    continue;
                }
                Phase::Head(_) if !this.held.is_empty() => {
                    this.scan_head();
                    if this.good > 0 {
                        continue;
                    }
                }
                Phase::Head(_) | Phase::Body(_) => {}
            }
            // Nothing is held that could be handed on, so ask the socket. Body bytes go straight to hyper.
            let before = out.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, out)? {
                Poll::Ready(()) => {}
                Poll::Pending => {
                    if this.held.is_empty() {
                        // An idle connection keeps no buffer.
                        this.held = BytesMut::new();
                    }
                    ready!(this.wait_to_read(cx))?;
                    if this.good > 0 {
                        continue;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
            let came = &out.filled()[before..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.end_wait();
            let taken = this.follow_body(came);
            this.held.extend_from_slice(&came[taken..]);
            out.set_filled(before + taken);
            if taken > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> StrictIo<IO> {
    /// A write made progress or waits for the client.
    fn after_write(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.write_deadline.disarm();
            return wrote;
        }
        ready!(self.write_deadline.poll(cx, Wait::Write, self.limits.write_timeout));
        limit_reached("write_timeout");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictIo<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.after_write(cx, wrote)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let wrote = Pin::new(&mut this.inner).poll_write_vectored(cx, slices);
        this.after_write(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            this.read_deadline.disarm();
            this.closing = Some(Closing::default());
        }
        let between_requests = matches!(this.phase, Phase::Head(_));
        let mut scratch = [0; 4096];
        while let Some(closing) = this.closing.as_mut().filter(|closing| closing.discarded < MAX_LINGER_BYTES) {
            let mut buffer = ReadBuf::new(&mut scratch);
            if Pin::new(&mut this.inner).poll_read(cx, &mut buffer)?.is_pending() {
                if between_requests && closing.discarded == 0 {
                    break;
                }
                return this.read_deadline.poll(cx, Wait::Linger, LINGER).map(Ok);
            }
            let count = buffer.filled().len();
            if count == 0 {
                break;
            }
            closing.discarded += count as u64;
        }
        Poll::Ready(Ok(()))
    }
}

/// A timer that is set once per wait.
#[derive(Debug, Default)]
struct Deadline {
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<(Wait, Instant)>,
}

impl Deadline {
    /// Ready when this wait has lasted for the limit, counted from the first call for it.
    fn poll(&mut self, cx: &mut Context<'_>, wait: Wait, limit: Duration) -> Poll<()> {
        if self.armed.is_none_or(|(armed, _)| armed != wait) {
            let now = Instant::now();
            self.armed = Some((wait, now));
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(now + limit),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(now + limit))),
            }
        }
        let Some(timer) = &mut self.timer else { return Poll::Ready(()) };
        timer.as_mut().poll(cx)
    }

    fn disarm(&mut self) {
        self.armed = None;
    }
}

#[cfg(test)]
mod tests;
