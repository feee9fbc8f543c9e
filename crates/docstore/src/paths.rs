//! From the paths that clients send to the paths of the route table (contract, server §4.1).
//!
//! Repo names, branch names and file paths hold slashes, and clients send them escaped or not. Before routing, every
//! path below `/repos/` is brought into one form in which each of those is a single escaped segment, so that the route
//! table can be an ordinary one:
//!
//! ```text
//! /repos/acme/app/-/branch/feature%2Fx/status  ->  /repos/acme%2Fapp/-/branch/feature%2Fx/status
//! ```

use axum::http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stays as it is inside one segment: the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path of 4096 bytes, the longest of a file, has at most half as many segments.
const MAX_SEGMENTS: usize = 4096;

/// What to do with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Canonical {
    /// Route this.
    Path(String),
    /// Send the client there first: the path had empty, `.` or `..` segments.
    Redirect(String),
    /// Refuse: the path is not text, or has too many segments.
    Malformed,
}

/// Brings a path, escaped as it came, into the form of the route table.
pub(crate) fn canonical(method: &Method, path: &str) -> Canonical {
    if path.matches('/').count() > MAX_SEGMENTS {
        docstore_service::limit_reached("path_segments");
        return Canonical::Malformed;
    }
    // No name of ours has a NUL, and PostgreSQL cannot compare with one.
    match percent_decode_str(path).decode_utf8() {
        Ok(text) if !text.contains('\0') => {}
        _ => return Canonical::Malformed,
    }
    if let Some(clean) = cleaned(path) {
        return Canonical::Redirect(clean);
    }
    let Some(rest) = path.strip_prefix("/repos/") else {
        return Canonical::Path(path.to_owned());
    };
    let Ok(rest) = percent_decode_str(rest).decode_utf8() else { return Canonical::Malformed };
    if rest.is_empty() {
        return Canonical::Path(path.to_owned());
    }
    let (repo, endpoint) = rest.split_once("/-/").unwrap_or((&rest, ""));
    if repo.is_empty() {
        return Canonical::Path(path.to_owned());
    }
    let repo = segment(repo);
    if endpoint.is_empty() {
        return Canonical::Path(format!("/repos/{repo}"));
    }
    Canonical::Path(format!("/repos/{repo}/-/{}", canonical_endpoint(method, endpoint)))
}

/// The endpoint with its name or path as one segment.
fn canonical_endpoint(method: &Method, endpoint: &str) -> String {
    let Some((kind, rest)) = endpoint.split_once('/') else { return segment(endpoint) };
    if rest.is_empty() {
        return format!("{}/", segment(kind));
    }
    let (name, suffix) = match kind {
        "branch" => split_branch(method, rest),
        "file" => match rest.strip_suffix("/history") {
            Some(path) if !path.is_empty() => (path, "/history"),
            _ => (rest, ""),
        },
        "roles" | "releases" => (rest, ""),
        _ => return endpoint.split('/').map(segment).collect::<Vec<_>>().join("/"),
    };
    format!("{kind}/{}{suffix}", segment(name))
}

/// What follows a branch name. What changes or deletes a branch has no suffix, but for `/auto-merge`; names that end in one
/// are refused at creation.
fn split_branch<'a>(method: &Method, rest: &'a str) -> (&'a str, &'static str) {
    const READS: [&str; 6] = ["/status", "/agent-context", "/why", "/reviews", "/checks", "/comments"];
    if let Some(name) = rest.strip_suffix("/auto-merge")
        && !name.is_empty()
    {
        return (name, "/auto-merge");
    }
    if !matches!(*method, Method::DELETE | Method::PATCH) {
        for suffix in READS {
            if let Some(name) = rest.strip_suffix(suffix)
                && !name.is_empty()
            {
                return (name, suffix);
            }
        }
    }
    (rest, "")
}

/// What to show of a path that holds a secret: the token of an invitation is good until somebody has accepted it.
pub(crate) fn without_secrets(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments[..] {
        ["orgs", org, "invites", _, "accept"] => Some(format!("/orgs/{org}/invites/.../accept")),
        _ => None,
    }
}

/// One segment. A name of one or two dots keeps its escapes: as it is it would be a step in the path and no name.
fn segment(text: &str) -> String {
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, SEGMENT).to_string(),
    }
}

/// The path without empty, `.` and `..` segments, if it has any. Escaped ones are part of names.
fn cleaned(path: &str) -> Option<String> {
    let body = path.strip_prefix('/').unwrap_or(path);
    // The slash at the end of `/repos/x/-/` is no empty segment.
    let (body, slash) = match body.strip_suffix('/') {
        Some(body) => (body, "/"),
        None => (body, ""),
    };
    if body.is_empty() {
        return (slash == "/" && path.len() > 1).then(|| "/".to_owned());
    }
    if !body.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in body.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    if kept.is_empty() {
        return Some("/".to_owned());
    }
    Some(format!("/{}{slash}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(method: &Method, path: &str) -> String {
        match canonical(method, path) {
            Canonical::Path(path) => path,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_become_one_segment() {
        let get = &Method::GET;
        for (came, routed) in [
            ("/repos/acme/app", "/repos/acme%2Fapp"),
            ("/repos/acme%2Fapp", "/repos/acme%2Fapp"),
            ("/repos/acme/app/-/", "/repos/acme%2Fapp"),
            ("/repos/acme/team/app/-/tree", "/repos/acme%2Fteam%2Fapp/-/tree"),
            ("/repos/a/b/-/branch/feature/x/status", "/repos/a%2Fb/-/branch/feature%2Fx/status"),
            ("/repos/a/b/-/branch/feature%2Fx%2Fstatus", "/repos/a%2Fb/-/branch/feature%2Fx/status"),
            ("/repos/a/b/-/branch/status", "/repos/a%2Fb/-/branch/status"),
            ("/repos/a/b/-/file/docs/a%20b.md", "/repos/a%2Fb/-/file/docs%2Fa%20b.md"),
            ("/repos/a/b/-/file/docs/a+b.md/history", "/repos/a%2Fb/-/file/docs%2Fa%2Bb.md/history"),
            ("/repos/a/b/-/file/history", "/repos/a%2Fb/-/file/history"),
            ("/repos/a/b/-/roles/ci-job:x/y", "/repos/a%2Fb/-/roles/ci-job%3Ax%2Fy"),
            ("/repos/a/b/-/releases/v1/2", "/repos/a%2Fb/-/releases/v1%2F2"),
            ("/repos/a/b/-/commit/7", "/repos/a%2Fb/-/commit/7"),
            ("/repos/a/b/-/archive/presign", "/repos/a%2Fb/-/archive/presign"),
            ("/repos/", "/repos/"),
            ("/repos/%2e", "/repos/%2E"),
            ("/repos/a/b/-/branch/%2e%2E", "/repos/a%2Fb/-/branch/%2E%2E"),
            ("/orgs/a%2Fb", "/orgs/a%2Fb"),
            ("/", "/"),
        ] {
            assert_eq!(path(get, came), routed, "{came}");
        }
        assert_eq!(path(&Method::DELETE, "/repos/a/b/-/branch/x/status"), "/repos/a%2Fb/-/branch/x%2Fstatus");
        assert_eq!(path(&Method::POST, "/repos/a/b/-/branch/x/auto-merge"), "/repos/a%2Fb/-/branch/x/auto-merge");
    }

    #[test]
    fn unclean_paths_are_redirected() {
        let get = &Method::GET;
        for (came, clean) in [
            ("//repos/a", "/repos/a"),
            ("/repos//a", "/repos/a"),
            ("/repos/a/../b", "/repos/b"),
            ("/repos/a/./b/", "/repos/a/b/"),
            ("/..", "/"),
            ("//", "/"),
        ] {
            assert_eq!(canonical(get, came), Canonical::Redirect(clean.to_owned()), "{came}");
        }
        // Escaped, they are names like others, and refused where names are checked.
        assert_eq!(path(get, "/repos/a/b/-/file/%2e%2e%2fx"), "/repos/a%2Fb/-/file/..%2Fx");
    }

    #[test]
    fn tokens_of_invitations_are_not_shown() {
        for path in ["/orgs/acme/invites/0123/accept", "//orgs/acme/invites/0123/accept/"] {
            assert_eq!(without_secrets(path).as_deref(), Some("/orgs/acme/invites/.../accept"), "{path}");
        }
        for path in ["/orgs/acme/invites/0123", "/orgs/acme/invites", "/", "/repos/orgs/acme/invites/0123/accept"] {
            assert_eq!(without_secrets(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_not_text_is_refused() {
        assert_eq!(canonical(&Method::GET, "/repos/%ff"), Canonical::Malformed);
        assert_eq!(canonical(&Method::GET, "/repos/a%00b"), Canonical::Malformed);
        assert_eq!(canonical(&Method::GET, "/orgs/%ff"), Canonical::Malformed);
        assert_eq!(canonical(&Method::GET, "/orgs/a%00b"), Canonical::Malformed);
    }

    proptest! {
        #[test]
        fn a_canonical_path_stays_as_it_is(text in "/repos/[a-c%/.2Fe-]{0,40}") {
            if let Canonical::Path(once) = canonical(&Method::GET, &text) {
                prop_assert_eq!(canonical(&Method::GET, &once), Canonical::Path(once));
            }
        }

        #[test]
        fn a_redirect_leads_to_a_clean_path(text in "/[a-c/.]{0,40}") {
            if let Canonical::Redirect(clean) = canonical(&Method::GET, &text) {
                prop_assert!(!matches!(canonical(&Method::GET, &clean), Canonical::Redirect(_)), "{}", clean);
            }
        }
    }
}
