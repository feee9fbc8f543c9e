//! JSON as it goes over the wire (contract, server §0.1).

use std::{
    cell::Cell,
    io::{self, Write},
};

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::ser::Formatter;
use zeroize::Zeroizing;

use crate::internal_error;

/// The most bytes that a thread keeps to write answers into.
const ROOM_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Where the next answer is written before it is known how long it is: memory that grows while it is filled is moved time
    /// and again, and from 16 KiB on the allocator asks the kernel each time.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An answer as one JSON value.
///
/// Unlike axum's own it ends the value with a line feed and escapes `<`, `>`, `&`, U+2028 and U+2029, so that the
/// bytes are those of the contract and are inert when a page holds them.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// The bytes of a value on the wire: one JSON value and a line feed.
///
/// A `serde_json::value::RawValue` inside goes out as it is, without the escapes.
///
/// # Errors
/// When the value cannot be JSON, such as a map whose keys are not strings.
pub fn wire_json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    let mut room = ROOM.take();
    room.clear();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut room, WireFormatter))?;
    room.push(b'\n');
    if room.capacity() > ROOM_BYTES_MAX {
        return Ok(room.into());
    }
    let bytes = Bytes::copy_from_slice(&room);
    ROOM.set(room);
    Ok(bytes)
}

/// An answer with secrets in it: its bytes are wiped from memory once they are sent. What the connection copied of them on
/// their way is out of reach.
#[derive(Clone, Copy, Debug)]
pub struct SecretJson<T>(pub T);

/// [`wire_json`] in memory that is wiped when it is dropped, and that never moves while it is filled.
fn secret_wire_json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Bytes> {
    let mut length = Length(1);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut length, WireFormatter))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut *bytes, WireFormatter))?;
    bytes.push(b'\n');
    Ok(Bytes::from_owner(bytes))
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: Serialize> IntoResponse for SecretJson<T> {
    fn into_response(self) -> Response {
        match secret_wire_json(&self.0) {
            Ok(bytes) => json_response(StatusCode::OK, bytes),
            Err(error) => internal_error(&error),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match wire_json(&self.0) {
            Ok(bytes) => json_response(StatusCode::OK, bytes),
            Err(error) => internal_error(&error),
        }
    }
}

/// An answer whose JSON is made already.
pub(crate) fn json_response(status: StatusCode, bytes: Bytes) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct WireFormatter;

impl Formatter for WireFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        // Hardly any text has one of these, and then it is looked through many bytes at a time.
        if memchr::memchr3(b'<', b'>', b'&', bytes).is_none() && memchr::memchr(0xE2, bytes).is_none() {
            return writer.write_all(bytes);
        }
        let mut written = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let (escape, length): (&[u8], usize) = match byte {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
                0xE2 => match bytes.get(at + 1..at + 3) {
                    Some([0x80, 0xA8]) => (b"\\u2028", 3),
                    Some([0x80, 0xA9]) => (b"\\u2029", 3),
                    _ => continue,
                },
                _ => continue,
            };
            writer.write_all(&bytes[written..at])?;
            writer.write_all(escape)?;
            written = at + length;
        }
        writer.write_all(&bytes[written..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_value_a_line_feed_and_the_escapes() {
        let bytes = wire_json(&json!({"a": "<b> & \u{2028}\u{2029}\u{2030} \"\\\n é"})).unwrap();
        insta::assert_snapshot!(
            std::str::from_utf8(&bytes).unwrap().escape_debug(),
            @r#"{\"a\":\"\\u003cb\\u003e \\u0026 \\u2028\\u2029‰ \\\"\\\\\\n é\"}\n"#
        );
    }

    #[test]
    fn keys_are_escaped_too() {
        assert_eq!(&wire_json(&json!({"<": null})).unwrap()[..], b"{\"\\u003c\":null}\n");
    }

    #[test]
    fn an_answer_has_nothing_of_the_one_before_it() {
        let long = "x".repeat(2 * ROOM_BYTES_MAX);
        let unfinished: std::collections::BTreeMap<_, _> = [((1, 2), 3)].into();
        for _ in 0..2 {
            assert_eq!(wire_json(&long).unwrap().len(), long.len() + 3);
            assert!(wire_json(&("begun", &unfinished)).is_err());
            assert_eq!(&wire_json(&[1, 2]).unwrap()[..], b"[1,2]\n");
            assert_eq!(&wire_json(&3).unwrap()[..], b"3\n");
        }
    }

    #[tokio::test]
    async fn the_type_has_no_charset() {
        let response = Json(json!([1])).into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(&body[..], b"[1]\n");
    }

    proptest! {
        #[test]
        fn a_secret_has_the_same_bytes(text in any::<String>()) {
            prop_assert_eq!(secret_wire_json(&text).unwrap(), wire_json(&text).unwrap());
        }

        #[test]
        fn a_parser_sees_no_difference(text in any::<String>()) {
            let bytes = wire_json(&text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
            prop_assert!(!bytes.iter().any(|byte| b"<>&".contains(byte)));
        }
    }
}
