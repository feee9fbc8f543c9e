use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

/// The longest address within the site that a login returns to; it travels in a cookie.
const REDIRECT_BYTES_MAX: usize = 2048;

/// Where a login ends when it was begun from nowhere.
const HOME: &str = "/";

/// What may not stand in a `Location` as it is. `%` stays, since the text is an address already.
const NOT_IN_LOCATION: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// Makes an address that somebody sent safe to redirect to: a path of this site, or `/`.
///
/// The rules are those of the contract (server §2.3: starts with `/`, not `//`, holds no `://`) and those it lacks
/// (§11.1): no backslash, which browsers read as a slash; no control characters, which they drop; no dotted detour that
/// ends up at `//`; not the login itself; at most 2048 bytes. The result is plain ASCII.
#[must_use]
pub fn safe_redirect(requested: &str) -> String {
    if is_path_of_this_site(requested) {
        utf8_percent_encode(requested, NOT_IN_LOCATION).to_string()
    } else {
        HOME.to_owned()
    }
}

fn is_path_of_this_site(text: &str) -> bool {
    let refused = !text.starts_with('/')
        || text.starts_with("//")
        || text.len() > REDIRECT_BYTES_MAX
        || text.contains("://")
        || text.contains('\\')
        || text.contains(char::is_control)
        || text.starts_with("/auth/");
    if refused {
        return false;
    }
    // And what does a browser make of it? The same host, and a path that is none of the refused ones.
    let resolved = Url::parse("https://docstore.invalid/").and_then(|base| base.join(text));
    resolved.is_ok_and(|url| {
        url.host_str() == Some("docstore.invalid")
            && url.port().is_none()
            && !url.path().starts_with("//")
            && !url.path().starts_with("/auth/")
    })
}
