use http::{HeaderMap, Method, header};

use crate::{Credential, Reason, Refusal};

/// Whether a browser sends this write on behalf of another site's page (cross-site request forgery).
///
/// A page of another site can make a browser send requests here, and the browser attaches its session cookie, or the
/// proxy's, or on a developer's machine nothing is needed at all. Bodies are read whatever their content type says
/// (contract, server §0.1), so even a plain form could carry JSON. The check is the one of Go 1.25's
/// `http.CrossOriginProtection` and needs no token:
///
/// 1. `GET`, `HEAD` and `OPTIONS` change nothing and pass.
/// 2. `Sec-Fetch-Site`, which pages cannot set, decides if it is there: `same-origin`, and `none` for what the user
///    began, pass; everything else is refused, `same-site` too, since a neighbouring host is another party.
/// 3. Without it, an `Origin` must name the request's own `Host`. `null` never does.
/// 4. Without both it is no browser of the last years, but a program that has no cookies by accident: it passes.
///
/// It is for callers whose credential is attached unasked ([`crate::Via::is_ambient`]), and harmless for others. An HTTP/2
/// server puts `:authority` into `Host` first. Call [`Refusal::log`] on what it returns.
#[must_use]
pub fn cross_site_write_refusal(method: &Method, headers: &HeaderMap) -> Option<Refusal> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let same_site = match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => true,
        Some(value) if !value.is_empty() => false,
        _ => is_own_origin(headers),
    };
    let credential = if headers.contains_key(header::COOKIE) { Credential::Session } else { Credential::None };
    (!same_site).then(|| Refusal::new(Reason::CrossSiteWrite, credential))
}

fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), headers.get(header::HOST).map(http::HeaderValue::to_str))
    else {
        return false;
    };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}
