//! What a client says about the stream that it wants (contract, server §8.4).

use crate::Start;

/// A place to start from that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be the position of an event, a whole number from 0")]
pub struct BadPosition {
    /// The header or parameter: `Last-Event-ID` or `since_seq`.
    pub name: &'static str,
}

/// Where a stream starts. `Last-Event-ID` wins over `since_seq`: a client that reconnects repeats its URL and adds the
/// header, which knows better. Without either, or with empty ones, it starts now.
///
/// # Errors
/// When either is not a position; that is a bad request.
pub fn parse_start(last_event_id: Option<&str>, since_seq: Option<&str>) -> Result<Start, BadPosition> {
    let last_event_id = position("Last-Event-ID", last_event_id)?;
    let since_seq = position("since_seq", since_seq)?;
    Ok(last_event_id.or(since_seq).map_or(Start::Now, Start::After))
}

fn position(name: &'static str, text: Option<&str>) -> Result<Option<i64>, BadPosition> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadPosition { name });
    }
    text.parse().map(Some).map_err(|_| BadPosition { name })
}

/// The types of a comma list, trimmed, without empty items. None at all means every type.
#[must_use]
pub fn parse_types(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_reconnecting_client_wins() {
        assert_eq!(parse_start(None, None), Ok(Start::Now));
        assert_eq!(parse_start(None, Some("0")), Ok(Start::After(0)));
        assert_eq!(parse_start(Some("12"), Some("3")), Ok(Start::After(12)));
        assert_eq!(parse_start(Some(""), Some("3")), Ok(Start::After(3)));
        assert_eq!(parse_start(None, Some("")), Ok(Start::Now));
        assert_eq!(parse_start(Some(" 9223372036854775807 "), None), Ok(Start::After(i64::MAX)));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for bad in ["-1", "+1", "x", "1.0", "0x1", "1 2", "9223372036854775808", "\u{0661}", "\0"] {
            assert_eq!(parse_start(None, Some(bad)), Err(BadPosition { name: "since_seq" }), "{bad:?}");
            assert_eq!(parse_start(Some(bad), None), Err(BadPosition { name: "Last-Event-ID" }), "{bad:?}");
        }
        assert!(parse_start(Some("1"), Some("x")).is_err(), "also when it would not be used");
    }

    #[test]
    fn types_are_a_comma_list() {
        assert_eq!(parse_types(" a.b ,, c,"), ["a.b", "c"]);
        assert_eq!(parse_types(" , "), Vec::<String>::new());
    }
}
