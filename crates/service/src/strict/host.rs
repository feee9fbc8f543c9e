//! The `Host` header.

use std::net::Ipv6Addr;

/// Whether this is a host with an optional port: a name of letters, digits, `-`, `.`, `_` and `~`, an IPv4 address,
/// or an IPv6 address in brackets.
///
/// RFC 3986 allows more in a registered name (percent escapes, `,`, `;` and the like). No resolver does, and a comma
/// is how some proxies fold two headers into one.
pub(super) fn is_valid_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name_is_good, rest) = match host.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
            None => return false,
        },
        None => {
            let (name, rest) = host.split_at(host.find(':').unwrap_or(host.len()));
            let tame = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            (!name.is_empty() && name.bytes().all(tame), rest)
        }
    };
    let port_is_good = match rest.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        None => rest.is_empty(),
    };
    name_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use super::is_valid_host;

    #[test]
    fn hosts_with_and_without_port() {
        for host in ["docstore.dev", "localhost:8080", "127.0.0.1", "[::1]", "[::1]:80", "a_b-c.d~:0", "xn--d-1ba"] {
            assert!(is_valid_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn everything_else() {
        for host in [
            "", ":80", "a b", "a,b", "a/b", "u@h", "a:", "a:x", "a:+1", "a:65536", "a:1:2", "[::1", "[]", "[::1]x",
            "[v1.a]", "::1", "a%20b", "é", "a#", "a?",
        ] {
            assert!(!is_valid_host(host.as_bytes()), "{host}");
        }
        assert!(!is_valid_host(b"\xff"));
    }
}
