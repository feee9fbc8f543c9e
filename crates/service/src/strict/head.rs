//! The head of a request: where it ends, and whether it is good.
//!
//! [`HeadScanner`] goes over the bytes as they arrive and stops at the first that no good head has at that place.
//! Once the head is complete, [`check_head`] judges the whole. hyper's own parser (httparse) does the grammar in both
//! places, so that hyper cannot see another request than the one judged here.

use http::Uri;

use super::{Refusal, framing::Framing, host::is_valid_host};
use crate::{Limits, settings::MAX_HEADERS};

/// The longest method; RFC 9110 asks for no more, and the longest registered one has 17 letters.
const MAX_METHOD_BYTES: usize = 32;

/// What a request line has besides method and target: two blanks and the version.
const REQUEST_LINE_REST: usize = " ".len() + " HTTP/1.1".len();

/// Looks for the end of a head in bytes that arrive piece by piece.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadScanner {
    /// How many bytes were looked at.
    scanned: usize,
    /// Where the line that is being looked at begins.
    line_start: usize,
    lines: Lines,
}

/// Which lines were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lines {
    #[default]
    None,
    /// One empty line before the request line, which RFC 9112 §2.2 asks servers to forgive.
    Empty,
    /// The request line.
    Request,
}

impl HeadScanner {
    /// Looks at what is new in `input`, which begins where the head begins; returns the head's length at its end.
    pub(super) fn advance(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        while let Some(&byte) = input.get(self.scanned) {
            let after_return = self.scanned > self.line_start && input[self.scanned - 1] == b'\r';
            match byte {
                0 => return Err(Refusal::Nul),
                b'\n' if !after_return => return Err(Refusal::BareLineFeed),
                b'\n' => {}
                _ if after_return => return Err(Refusal::BareCarriageReturn),
                _ => {}
            }
            self.scanned += 1;
            if byte == b'\n' {
                let line = &input[self.line_start..self.scanned - 2];
                self.line_start = self.scanned;
                if self.end_line(line, limits)? {
                    return Ok(Some(self.scanned));
                }
            }
            let request_line_bytes = self.scanned - self.line_start;
            if self.lines != Lines::Request
                && request_line_bytes > MAX_METHOD_BYTES + limits.max_uri_bytes + REQUEST_LINE_REST + 2
            {
                return Err(Refusal::UriTooLong);
            }
            if self.scanned >= limits.max_header_bytes {
                return Err(Refusal::HeadTooLong);
            }
        }
        Ok(None)
    }

    /// Judges a line; true at the end of the head.
    fn end_line(&mut self, line: &[u8], limits: &Limits) -> Result<bool, Refusal> {
        match (self.lines, line.is_empty()) {
            (Lines::None, true) => self.lines = Lines::Empty,
            (Lines::Empty, true) => return Err(Refusal::LeadingLines),
            (Lines::None | Lines::Empty, false) => {
                check_request_line(line, limits)?;
                self.lines = Lines::Request;
            }
            (Lines::Request, end) => return Ok(end),
        }
        Ok(false)
    }
}

/// Judges what can be judged of a request line alone, so that nobody waits for the head of an HTTP/0.9 request.
fn check_request_line(line: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), version) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::RequestLine);
    };
    if method.is_empty() || method.len() > MAX_METHOD_BYTES {
        return Err(Refusal::RequestLine);
    }
    if target.len() > limits.max_uri_bytes {
        return Err(Refusal::UriTooLong);
    }
    match version {
        Some(b"HTTP/1.1" | b"HTTP/1.0") if parts.next().is_none() => Ok(()),
        Some(version) if version.starts_with(b"HTTP/") => Err(Refusal::Version),
        None => Err(Refusal::Version),
        Some(_) => Err(Refusal::RequestLine),
    }
}

/// Judges a complete head and says how the body that follows is framed; none when there is no body.
pub(super) fn check_head(head: &[u8], limits: &Limits) -> Result<Option<Framing>, Refusal> {
    if head.windows(2).any(|pair| pair[0] == b'\n' && matches!(pair[1], b' ' | b'\t')) {
        return Err(Refusal::FoldedHeader);
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields[..limits.max_headers.min(MAX_HEADERS)]);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::Header),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyHeaders),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine) => {
            return Err(Refusal::Header);
        }
        Err(_) => return Err(Refusal::RequestLine),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::RequestLine);
    };
    let host = check_host(request.headers, minor)?;
    check_target(method, target, host)?;
    body_framing(request.headers, minor)
}

/// The one `Host`; HTTP/1.0 may do without.
fn check_host<'head>(fields: &[httparse::Header<'head>], minor: u8) -> Result<Option<&'head [u8]>, Refusal> {
    let mut hosts = values(fields, "host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    match host {
        Some(host) if is_valid_host(host) => Ok(Some(host)),
        Some(_) => Err(Refusal::HostInvalid),
        None if minor == 0 => Ok(None),
        None => Err(Refusal::HostMissing),
    }
}

/// Takes the origin form, the absolute form when it agrees with `Host`, and `*` for OPTIONS (RFC 9112 §3.2).
fn check_target(method: &str, target: &str, host: Option<&[u8]>) -> Result<(), Refusal> {
    if method == "CONNECT" {
        return Err(Refusal::Method);
    }
    if target == "*" {
        return if method == "OPTIONS" { Ok(()) } else { Err(Refusal::Target) };
    }
    let uri = Uri::try_from(target).map_err(|_| Refusal::Target)?;
    if target.contains('#') {
        return Err(Refusal::Target);
    }
    if target.starts_with('/') {
        return Ok(());
    }
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if is_valid_host(authority.as_str().as_bytes()) => match host {
            Some(host) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) => Err(Refusal::AuthorityMismatch),
            _ => Ok(()),
        },
        _ => Err(Refusal::Target),
    }
}

/// How the body is framed (RFC 9112 §6.3, the strict choices).
fn body_framing(fields: &[httparse::Header<'_>], minor: u8) -> Result<Option<Framing>, Refusal> {
    let mut encodings = values(fields, "transfer-encoding");
    let mut lengths = values(fields, "content-length");
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Refusal::LengthBesideEncoding),
        (Some(_), None) if minor == 0 => Err(Refusal::EncodingInHttp10),
        (Some(encoding), None) if encodings.next().is_none() && encoding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Framing::chunked()))
        }
        (Some(_), None) => Err(Refusal::EncodingUnsupported),
        (None, Some(_)) if lengths.next().is_some() => Err(Refusal::LengthRepeated),
        (None, Some(length)) => match parse_length(length) {
            Some(0) => Ok(None),
            Some(length) => Ok(Some(Framing::Length(length))),
            None => Err(Refusal::LengthInvalid),
        },
    }
}

/// Digits only, and a number that fits a signed one, so that nobody's counter overflows.
fn parse_length(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    u64::try_from(text.parse::<i64>().ok()?).ok()
}

fn values<'fields, 'head>(
    fields: &'fields [httparse::Header<'head>],
    name: &'static str,
) -> impl Iterator<Item = &'head [u8]> + use<'fields, 'head> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on the first head in these bytes, given in one piece.
    fn judge(input: &[u8]) -> Result<Option<Framing>, Refusal> {
        let limits = Limits { max_header_bytes: 1024, max_uri_bytes: 256, max_headers: 8, ..Limits::default() };
        match HeadScanner::default().advance(input, &limits)? {
            Some(length) => check_head(&input[..length], &limits),
            None => panic!("the head is not complete"),
        }
    }

    #[test]
    fn good_heads() {
        for (head, framing) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
            ("GET / HTTP/1.0\r\n\r\n", None),
            ("OPTIONS * HTTP/1.1\r\nhost:a:80\r\n\r\n", None),
            ("GET http://A.b/x?y HTTP/1.1\r\nHost: a.B\r\n\r\n", None),
            ("GET /repos/é%2F?a=b&c={} HTTP/1.1\r\nHost: a\r\nX: \u{e9}\t\r\n\r\n", None),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", None),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:  007 \r\n\r\n", Some(Framing::Length(7))),
            ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", Some(Framing::chunked())),
        ] {
            assert_eq!(judge(head.as_bytes()), Ok(framing), "{head:?}");
        }
    }

    #[test]
    fn bad_request_lines() {
        for (line, refusal) in [
            ("GET /", Refusal::Version),
            ("GET / HTTP/2.0", Refusal::Version),
            ("GET / HTTP/1.2", Refusal::Version),
            ("GET / http/1.1", Refusal::RequestLine),
            ("GET  / HTTP/1.1", Refusal::RequestLine),
            ("GET / HTTP/1.1 ", Refusal::Version),
            ("GET /a b HTTP/1.1", Refusal::RequestLine),
            (" GET / HTTP/1.1", Refusal::RequestLine),
            ("GET", Refusal::RequestLine),
            ("G(T / HTTP/1.1", Refusal::RequestLine),
            ("GET\t/ HTTP/1.1", Refusal::Version),
            ("GE\tT / HTTP/1.1", Refusal::RequestLine),
            ("GET x HTTP/1.1", Refusal::Target),
            ("GET a:80 HTTP/1.1", Refusal::Target),
            ("GET /# HTTP/1.1", Refusal::Target),
            ("GET /a\\b<c HTTP/1.1", Refusal::Target),
            ("GET * HTTP/1.1", Refusal::Target),
            ("GET ftp://a/ HTTP/1.1", Refusal::Target),
            ("GET http://u@a/ HTTP/1.1", Refusal::Target),
            ("GET http://b/ HTTP/1.1", Refusal::AuthorityMismatch),
            ("GET http://a:80/ HTTP/1.1", Refusal::AuthorityMismatch),
            ("CONNECT a:80 HTTP/1.1", Refusal::Method),
            (&format!("GET /{} HTTP/1.1", "a".repeat(256)), Refusal::UriTooLong),
            (&format!("GET /{}", "a".repeat(900)), Refusal::UriTooLong),
            (&format!("{} / HTTP/1.1", "A".repeat(33)), Refusal::RequestLine),
        ] {
            assert_eq!(judge(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), Err(refusal), "{line:?}");
        }
    }

    #[test]
    fn bad_headers() {
        for (fields, refusal) in [
            ("", Refusal::HostMissing),
            ("Host: a\r\nHost: a\r\n", Refusal::HostRepeated),
            ("Host: a\r\nhost: b\r\n", Refusal::HostRepeated),
            ("Host:\r\n", Refusal::HostInvalid),
            ("Host: a, b\r\n", Refusal::HostInvalid),
            ("Host: a\nX: y\r\n", Refusal::BareLineFeed),
            ("Host: a\rX: y\r\n", Refusal::BareCarriageReturn),
            ("Host: a\r\r\n", Refusal::BareCarriageReturn),
            ("Host: a\r\nX: \0\r\n", Refusal::Nul),
            ("Host: a\r\nX: y\r\n z\r\n", Refusal::FoldedHeader),
            (" Host: a\r\n", Refusal::FoldedHeader),
            ("Host: a\r\nX : y\r\n", Refusal::Header),
            ("Host: a\r\nX\r\n", Refusal::Header),
            ("Host: a\r\n: y\r\n", Refusal::Header),
            ("Host: a\r\nX: \u{1}\r\n", Refusal::Header),
            ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthBesideEncoding),
            ("Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n", Refusal::LengthRepeated),
            ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", Refusal::LengthRepeated),
            ("Host: a\r\nContent-Length: 1, 1\r\n", Refusal::LengthInvalid),
            ("Host: a\r\nContent-Length: +1\r\n", Refusal::LengthInvalid),
            ("Host: a\r\nContent-Length: -1\r\n", Refusal::LengthInvalid),
            ("Host: a\r\nContent-Length: 0x1\r\n", Refusal::LengthInvalid),
            ("Host: a\r\nContent-Length:\r\n", Refusal::LengthInvalid),
            ("Host: a\r\nContent-Length: 9223372036854775808\r\n", Refusal::LengthInvalid),
            ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", Refusal::EncodingUnsupported),
            ("Host: a\r\nTransfer-Encoding: identity\r\n", Refusal::EncodingUnsupported),
            ("Host: a\r\nTransfer-Encoding:\r\n", Refusal::EncodingUnsupported),
            ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refusal::EncodingUnsupported),
            (&format!("Host: a\r\n{}", "X: y\r\n".repeat(8)), Refusal::TooManyHeaders),
            (&format!("Host: a\r\nX: {}\r\n", "y".repeat(1024)), Refusal::HeadTooLong),
        ] {
            assert_eq!(judge(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()), Err(refusal), "{fields:?}");
        }
    }

    #[test]
    fn other_bad_heads() {
        for (head, refusal) in [
            ("\r\n\r\nGET / HTTP/1.1\r\n", Refusal::LeadingLines),
            ("\nGET / HTTP/1.1\r\n", Refusal::BareLineFeed),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Version),
            ("\u{16}\u{3}\u{1}\0", Refusal::Nul),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::EncodingInHttp10),
            ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::HostRepeated),
        ] {
            assert_eq!(judge(head.as_bytes()), Err(refusal), "{head:?}");
        }
    }
}
