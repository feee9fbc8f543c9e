//! How long a body is, followed byte by byte (RFC 9112 §6 and §7).

/// Bytes of chunk extensions in one body. Nobody sends any; hyper gives up at 16 KiB.
const MAX_EXTENSION_BYTES: usize = 1024;

/// Bytes of trailer fields of one body. No endpoint reads them; hyper gives up at 16 KiB.
const MAX_TRAILER_BYTES: usize = 4096;

/// Where the body of a request is in its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunked),
}

/// Where a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// Of the current chunk: its size while it is being read, then what is left of it.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the first digit of a size.
    SizeStart,
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    /// At the start of a trailer field or of the empty line at the end.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    EndLineFeed,
}

/// What the bytes so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The body goes on.
    More,
    /// The body ended.
    Done,
    /// The next byte breaks the framing.
    Broken,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked { state: State::SizeStart, left: 0, extension_bytes: 0, trailer_bytes: 0 })
    }

    /// Follows the bytes as far as they belong to this body; the first number says how many do.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> (usize, Progress) {
        match self {
            Self::Length(left) => {
                let taken = clamp(*left, bytes.len());
                *left -= taken as u64;
                (taken, if *left == 0 { Progress::Done } else { Progress::More })
            }
            Self::Chunked(chunked) => chunked.advance(bytes),
        }
    }
}

impl Chunked {
    fn advance(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.state == State::Data {
                let taken = clamp(self.left, bytes.len() - at);
                self.left -= taken as u64;
                at += taken;
                if self.left == 0 {
                    self.state = State::DataCarriageReturn;
                }
                continue;
            }
            if self.state == State::EndLineFeed && byte == b'\n' {
                return (at + 1, Progress::Done);
            }
            match self.next(byte) {
                Some(state) => self.state = state,
                None => return (at, Progress::Broken),
            }
            at += 1;
        }
        (at, Progress::More)
    }

    /// The state after a byte outside of data, or none if the byte has no place here.
    fn next(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                // A size that fits a signed number: nobody's counter overflows.
                self.left =
                    self.left.checked_mul(16)?.checked_add(digit).filter(|size| i64::try_from(*size).is_ok())?;
                Some(State::Size)
            }
            (State::Size, b';') => Some(State::Extension),
            (State::Size | State::Extension, b'\r') => Some(State::SizeLineFeed),
            (State::Extension, byte) if is_field_byte(byte) => {
                self.extension_bytes += 1;
                (self.extension_bytes <= MAX_EXTENSION_BYTES).then_some(State::Extension)
            }
            (State::SizeLineFeed, b'\n') if self.left == 0 => Some(State::TrailerStart),
            (State::SizeLineFeed, b'\n') => Some(State::Data),
            (State::DataCarriageReturn, b'\r') => Some(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Some(State::SizeStart),
            (State::TrailerStart, b'\r') => Some(State::EndLineFeed),
            (State::Trailer, b'\r') => Some(State::TrailerLineFeed),
            (State::TrailerStart | State::Trailer, byte) if is_field_byte(byte) => {
                self.trailer_bytes += 1;
                (self.trailer_bytes <= MAX_TRAILER_BYTES).then_some(State::Trailer)
            }
            (State::TrailerLineFeed, b'\n') => Some(State::TrailerStart),
            _ => None,
        }
    }
}

/// Whether a byte may stand in a field or an extension: no control characters but the tab.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a body and returns how many bytes were taken.
    fn run(bytes: &[u8]) -> (usize, Progress) {
        Framing::chunked().advance(bytes)
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n00\r\n\r\n",
            "1;name=\"v\"\r\n\n\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n",
        ] {
            let followed = format!("{body}GET /");
            assert_eq!(run(followed.as_bytes()), (body.len(), Progress::Done), "{body:?}");
            for end in 0..body.len() {
                assert_eq!(run(&body.as_bytes()[..end]), (end, Progress::More), "{body:?} to {end}");
            }
        }
    }

    #[test]
    fn broken_framing_is_found_at_its_byte() {
        for (body, at) in [
            ("\r\n", 0),
            ("g\r\n", 0),
            ("-1\r\n", 0),
            (" 1\r\n", 0),
            ("0x1\r\n", 1),
            ("1 \r\n", 1),
            ("1\n", 1),
            ("1\rx", 2),
            ("1;a\n", 3),
            ("1;a\0", 3),
            ("1\r\nab\r\n", 4),
            ("1\r\na\n", 4),
            ("1\r\na\rx", 5),
            ("8000000000000000\r\n", 15),
            ("0\r\n\n", 3),
            ("0\r\nT: x\n", 7),
            ("0\r\n\rx", 4),
        ] {
            assert_eq!(run(body.as_bytes()), (at, Progress::Broken), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = format!("1;{}\r\n", "a".repeat(MAX_EXTENSION_BYTES + 1));
        assert_eq!(run(extension.as_bytes()), (2 + MAX_EXTENSION_BYTES, Progress::Broken));
        let trailer = format!("0\r\n{}\r\n", "a".repeat(MAX_TRAILER_BYTES + 1));
        assert_eq!(run(trailer.as_bytes()), (3 + MAX_TRAILER_BYTES, Progress::Broken));
    }

    #[test]
    fn a_length_takes_no_more_than_its_bytes() {
        let mut framing = Framing::Length(5);
        assert_eq!(framing.advance(b"abc"), (3, Progress::More));
        assert_eq!(framing.advance(b"deGET"), (2, Progress::Done));
    }
}
