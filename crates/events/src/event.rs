use std::sync::Arc;

use bytes::Bytes;

/// An event on its way to the streams, shared by all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    position: i64,
    event_type: Box<str>,
    /// What goes over the wire, so that a thousand streams share one copy. The payload is a part of it.
    frame: String,
    payload_start: usize,
}

const DATA: &str = "\ndata: ";
const END: &str = "\n\n";

impl Event {
    pub(crate) fn new(position: i64, event_type: impl Into<Box<str>>, payload: &str) -> Self {
        let mut frame = format!("id: {position}{DATA}");
        let payload_start = frame.len();
        frame.reserve_exact(payload.len() + END.len());
        // A line break would end the data. Inside a JSON string there is none, and between tokens it is white space.
        frame.extend(payload.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
        frame.push_str(END);
        Self { position, event_type: event_type.into(), frame, payload_start }
    }

    /// The place in the order of the log: what `since_seq` and `Last-Event-ID` mean.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The full type, such as `com.docstore.commit.created`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The CloudEvents envelope, on one line.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.frame.get(self.payload_start..self.frame.len() - END.len()).unwrap_or_default()
    }

    /// The server-sent event, `id: <position>\ndata: <payload>\n\n`, without copying it (contract, server §8.4).
    #[must_use]
    pub fn sse_frame(self: &Arc<Self>) -> Bytes {
        struct Frame(Arc<Event>);
        impl AsRef<[u8]> for Frame {
            fn as_ref(&self) -> &[u8] {
                self.0.frame.as_bytes()
            }
        }
        Bytes::from_owner(Frame(self.clone()))
    }

    /// The bytes that the text of this event takes.
    pub(crate) fn size(&self) -> usize {
        self.frame.len() + self.event_type.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_that_of_the_contract_and_shares_the_event() {
        let event = Arc::new(Event::new(7, "com.docstore.x", r#"{"a":"é\n"}"#));
        assert_eq!(event.sse_frame(), "id: 7\ndata: {\"a\":\"é\\n\"}\n\n".as_bytes());
        assert_eq!(event.sse_frame().as_ptr(), event.frame.as_ptr());
        assert_eq!(event.payload(), r#"{"a":"é\n"}"#);
    }

    #[test]
    fn a_payload_over_several_lines_cannot_end_its_frame_or_begin_another() {
        let event = Arc::new(Event::new(1, "x", "{\n \"a\":1}\r\n\nid: 9"));
        assert_eq!(event.sse_frame(), "id: 1\ndata: {  \"a\":1}   id: 9\n\n".as_bytes());
    }
}
