//! Paths of requests, percent-encoded segment by segment, so that no name can change the meaning of a path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but RFC 3986's unreserved characters and `@`, which identities are full of and which paths allow.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// One segment: a slash inside becomes `%2F`.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Several segments: slashes stay, what is between them is encoded.
pub(crate) fn segments(text: &str) -> String {
    text.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::{segment, segments};

    #[test]
    fn nothing_in_a_name_ends_the_path() {
        assert_eq!(segment("feature/a b"), "feature%2Fa%20b");
        assert_eq!(segments("docs/what?#50%.md"), "docs/what%3F%2350%25.md");
        assert_eq!(segment("alice@example.com"), "alice@example.com");
        assert_eq!(segments("straße/ü"), "stra%C3%9Fe/%C3%BC");
    }
}
