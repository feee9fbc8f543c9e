//! A stream of server-sent events, as a client reads it.

use std::time::Duration;

use docstore_test_support::Person;
use futures::{StreamExt, stream::BoxStream};
use http::Method;
use serde_json::{Value, json};

use super::truth::document;

/// How long a test waits for what must come. Only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An open stream of server-sent events.
pub(crate) struct Sse {
    chunks: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

/// One event as it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) position: i64,
    pub(crate) event: Value,
}

impl Seen {
    pub(crate) fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap().trim_start_matches("com.docstore.")
    }
}

impl Sse {
    pub(crate) async fn open(who: &Person, path: &str, last_event_id: Option<i64>) -> Self {
        let request = who.request(Method::GET, path);
        let request = match last_event_id {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        Self::from(request.send().await.unwrap())
    }

    /// Reads the answer to a request for a stream.
    pub(crate) fn from(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        for (name, value) in
            [("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
        {
            assert_eq!(response.headers()[name], value);
        }
        Self { chunks: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next frame, or nothing at a clean end.
    pub(crate) async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(frame);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.chunks.next()).await.expect("the stream goes on");
            match chunk {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk.expect("the stream is whole")).unwrap()),
                None => {
                    assert_eq!(self.text, "", "a stream ends between frames");
                    return None;
                }
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Seen {
        let frame = self.frame().await.expect("there is another event");
        let (id, data) = frame.strip_prefix("id: ").and_then(|rest| rest.split_once("\ndata: ")).expect("a frame");
        let event: Value = serde_json::from_str(data).unwrap();
        let schema = json!({"$ref": "#/components/schemas/CloudEvent"});
        document().validate(&schema, &event).unwrap();
        Seen { position: id.parse().unwrap(), event }
    }

    /// The next event that is as wanted; passes over the others.
    pub(crate) async fn find(&mut self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        loop {
            let seen = self.next().await;
            if wanted(&seen) {
                return seen;
            }
        }
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(self.next().await);
        }
        seen
    }
}
