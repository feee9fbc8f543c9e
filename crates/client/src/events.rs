//! Event streams (contract, server §8.4).
//!
//! A stream breaks sooner or later: a proxy, a restart, a laptop lid. [`EventStream`] connects again and asks for what
//! came after the last event it gave out, so that its user sees every event once and none twice.

use std::{collections::VecDeque, time::Duration};

use docstore_models::CloudEvent;
use tokio::time::sleep;

use crate::{Client, Download, Error, ErrorClass, RepoClient, transport::Call};

/// The longest line of a stream, in bytes: an event and its data.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// Which events to stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Full type names; empty for all.
    pub types: Vec<String>,
    /// Start after this position of the log; from now on when absent.
    pub since_seq: Option<i64>,
    /// Only of this repo, on the stream of the whole server.
    pub repo: Option<String>,
}

/// One event and its position in the log.
#[derive(Clone, Debug)]
pub struct ReceivedEvent {
    /// The position: rises along the stream; pass it as `since_seq` to go on after it.
    pub position: i64,
    /// The event.
    pub event: CloudEvent,
}

/// Events as they happen. Ends only with an error that connecting again does not help against.
pub struct EventStream {
    client: Client,
    repo: Option<RepoClient>,
    path: String,
    query: EventQuery,
    last_position: Option<i64>,
    connection: Option<Connection>,
    failures: u32,
}

struct Connection {
    body: Download,
    decoder: FrameDecoder,
    ready: VecDeque<ReceivedEvent>,
}

impl Client {
    /// Every event of the server. For global admins.
    #[must_use]
    pub fn events(&self, query: EventQuery) -> EventStream {
        EventStream::new(self.clone(), None, "/events".to_owned(), query)
    }
}

impl RepoClient {
    /// Every event of the repo.
    #[must_use]
    pub fn events(&self, query: EventQuery) -> EventStream {
        EventStream::new(self.client.clone(), Some(self.clone()), self.path("events"), query)
    }
}

impl EventStream {
    fn new(client: Client, repo: Option<RepoClient>, path: String, query: EventQuery) -> Self {
        Self { client, repo, path, last_position: query.since_seq, query, connection: None, failures: 0 }
    }

    /// The position of the last event that was given out.
    #[must_use]
    pub fn last_position(&self) -> Option<i64> {
        self.last_position
    }

    /// The next event, connecting as often as it takes.
    ///
    /// # Errors
    /// When the server refuses the stream, or cannot be reached within the attempts of the client.
    pub async fn next(&mut self) -> Result<ReceivedEvent, Error> {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            if let Some(event) = connection.ready.pop_front() {
                self.connection = Some(connection);
                self.last_position = Some(event.position);
                return Ok(event);
            }
            match connection.body.chunk().await {
                Ok(Some(chunk)) => {
                    self.failures = 0;
                    connection.decoder.feed(&chunk, &mut connection.ready)?;
                    self.connection = Some(connection);
                }
                // The server shut down or the line broke; the next round connects again.
                Ok(None) | Err(Error::Network { .. }) => self.pause().await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, Error> {
        let mut call = Call::get(self.path.clone()).query_some("repo", self.query.repo.as_ref());
        if !self.query.types.is_empty() {
            call = call.query("types", self.query.types.join(","));
        }
        if let Some(position) = self.last_position {
            // Servers of the original contract know only the parameter, and only a plain start needs neither.
            call = call.query("since_seq", position.to_string()).header("Last-Event-ID", position.to_string());
        }
        loop {
            match self.open(&call).await {
                Ok(body) => {
                    return Ok(Connection { body, decoder: FrameDecoder::default(), ready: VecDeque::new() });
                }
                Err(error) if error.class() == ErrorClass::Network && self.failures < self.client.attempts_max() => {
                    self.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn open(&self, call: &Call) -> Result<Download, Error> {
        match &self.repo {
            Some(repo) => repo.download(call, "event stream".to_owned()).await,
            None => self.client.repo("").download(call, "event stream".to_owned()).await,
        }
    }

    async fn pause(&mut self) {
        self.failures += 1;
        sleep(self.client.delay_before(self.failures)).await;
    }
}

impl Client {
    fn attempts_max(&self) -> u32 {
        self.retries().attempts_max
    }

    fn delay_before(&self, failures: u32) -> Duration {
        let policy = self.retries();
        policy.delay_first.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(policy.delay_max)
    }
}

/// Takes a byte stream apart into events, wherever the pieces are cut.
#[derive(Default)]
struct FrameDecoder {
    line: Vec<u8>,
    id: Option<i64>,
    data: Vec<u8>,
}

impl FrameDecoder {
    fn feed(&mut self, chunk: &[u8], events: &mut VecDeque<ReceivedEvent>) -> Result<(), Error> {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE_BYTES || self.data.len() > MAX_LINE_BYTES {
                return Err(unexpected(format!("a line is longer than {MAX_LINE_BYTES} bytes")));
            }
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                self.end_of_line(line.trim_ascii_end(), events)?;
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &[u8], events: &mut VecDeque<ReceivedEvent>) -> Result<(), Error> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if data.is_empty() {
                return Ok(());
            }
            let event = serde_json::from_slice(&data).map_err(|error| unexpected(error.to_string()))?;
            let position = self.id.ok_or_else(|| unexpected("an event has no id".to_owned()))?;
            events.push_back(ReceivedEvent { position, event });
        } else if let Some(id) = line.strip_prefix(b"id:") {
            self.id = std::str::from_utf8(id).ok().and_then(|text| text.trim().parse().ok());
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        // Comments are keep-alives; other fields are not used.
        Ok(())
    }
}

fn unexpected(reason: String) -> Error {
    Error::UnexpectedAnswer { what: "GET events".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(name: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","type":"{name}","source":"/repos/a/b","id":"4b2c1c1e-7f0e-4c52-8c2f-000000000001","time":"2024-01-01T00:00:00Z","datacontenttype":"application/json","data":{{"x":1}}}}"#
        )
    }

    #[test]
    fn frames_survive_any_cut() {
        let stream =
            format!(": keepalive\n\nid: 7\ndata: {}\n\nid: 9\r\ndata: {}\r\n\r\n", envelope("a"), envelope("b"));
        for size in [1, 2, 3, 7, 50, stream.len()] {
            let mut decoder = FrameDecoder::default();
            let mut events = VecDeque::new();
            for chunk in stream.as_bytes().chunks(size) {
                decoder.feed(chunk, &mut events).unwrap();
            }
            let seen: Vec<_> = events.iter().map(|event| (event.position, event.event.r#type.as_str())).collect();
            assert_eq!(seen, [(7, "a"), (9, "b")], "chunks of {size}");
        }
    }

    #[test]
    fn garbage_is_an_error() {
        let mut decoder = FrameDecoder::default();
        assert!(decoder.feed(b"id: 1\ndata: {nonsense\n\n", &mut VecDeque::new()).is_err());
    }
}
