//! Server-sent events, independent of a web framework (contract, server §8.4).

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use crate::Event;

/// What a stream says when it has nothing to say: a comment, which clients pass over.
pub const KEEPALIVE: &[u8] = b": keepalive\n\n";

/// How long a stream is silent before it says [`KEEPALIVE`]. Proxies close connections that are silent for longer.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The headers of the answer.
pub const SSE_HEADERS: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache"),
    ("connection", "keep-alive"),
    // Some proxies would collect the events before they pass them on.
    ("x-accel-buffering", "no"),
];

/// The body of the answer: a frame per event, [`KEEPALIVE`] after each [`KEEPALIVE_INTERVAL`] in which this stream sent
/// nothing. Ends, without an error, when the events end or the shutdown comes.
pub fn sse_body<S, F>(events: S, shutdown: F) -> impl Stream<Item = Result<Bytes, Infallible>> + Send
where
    S: Stream<Item = Arc<Event>> + Send + Unpin + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let body =
        Body { events, shutdown: Box::pin(shutdown), keepalive: Box::pin(tokio::time::sleep(KEEPALIVE_INTERVAL)) };
    futures::stream::unfold(body, |mut body| async move { body.next().await.map(|bytes| (Ok(bytes), body)) }).fuse()
}

struct Body<S, F> {
    events: S,
    shutdown: Pin<Box<F>>,
    keepalive: Pin<Box<Sleep>>,
}

impl<S, F> Body<S, F>
where
    S: Stream<Item = Arc<Event>> + Unpin,
    F: Future<Output = ()>,
{
    async fn next(&mut self) -> Option<Bytes> {
        let bytes = tokio::select! {
            biased;
            () = &mut self.shutdown => return None,
            event = self.events.next() => event?.sse_frame(),
            () = &mut self.keepalive => Bytes::from_static(KEEPALIVE),
        };
        self.keepalive.as_mut().reset(Instant::now() + KEEPALIVE_INTERVAL);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::{mpsc, oneshot};

    use super::*;

    fn event(position: i64) -> Arc<Event> {
        Arc::new(Event::new(position, "x", "{}"))
    }

    /// What the body says, with the second at which it does.
    async fn heard(
        body: &mut (impl Stream<Item = Result<Bytes, Infallible>> + Unpin),
        since: Instant,
    ) -> (u64, String) {
        let Ok(bytes) = body.next().await.unwrap();
        (since.elapsed().as_secs(), String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn keepalives_come_by_the_streams_own_silence() {
        let since = Instant::now();
        let (sender, events) = mpsc::unbounded();
        let mut body = Box::pin(sse_body(events, std::future::pending()));
        assert_eq!(heard(&mut body, since).await, (15, ": keepalive\n\n".into()));
        assert_eq!(heard(&mut body, since).await, (30, ": keepalive\n\n".into()));
        tokio::time::advance(Duration::from_secs(10)).await;
        sender.unbounded_send(event(4)).unwrap();
        assert_eq!(heard(&mut body, since).await, (40, "id: 4\ndata: {}\n\n".into()));
        assert_eq!(heard(&mut body, since).await, (55, ": keepalive\n\n".into()), "15 s after the event");
    }

    #[tokio::test(start_paused = true)]
    async fn the_shutdown_ends_the_body_cleanly() {
        let (sender, events) = mpsc::unbounded();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut body = Box::pin(sse_body(events, async {
            let _ = stopped.await;
        }));
        sender.unbounded_send(event(1)).unwrap();
        assert!(body.next().await.is_some());
        stop.send(()).unwrap();
        assert_eq!(body.next().await, None);
        assert_eq!(body.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_events_ends_the_body() {
        let mut body = Box::pin(sse_body(futures::stream::iter([event(1)]), std::future::pending()));
        assert!(body.next().await.is_some());
        assert_eq!(body.next().await, None);
    }
}
