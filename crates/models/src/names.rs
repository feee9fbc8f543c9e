//! Names of what people create.
//!
//! A new name must fit into token subjects (`repo:o/r:branch:b:check:c`), URLs, archives and terminals without
//! being mistaken for anything else. Names that are already stored are looked up as they are, so old data with
//! other names stays readable; only creation goes through these types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest org name, in bytes.
pub const MAX_ORG_NAME_BYTES: usize = 64;
/// The longest full repo name (`org/a/b`), in bytes.
pub const MAX_REPO_NAME_BYTES: usize = 255;
/// The longest branch name, in bytes.
pub const MAX_BRANCH_NAME_BYTES: usize = 255;
/// The longest release name, in bytes.
pub const MAX_RELEASE_NAME_BYTES: usize = 255;
/// The longest file path, in bytes: Linux' `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;
/// The longest segment of a file path, in bytes: the longest file name of common file systems.
pub const MAX_PATH_SEGMENT_BYTES: usize = 255;

/// Last segments that the API reads as an endpoint below a branch.
const BRANCH_ENDPOINTS: [&str; 7] = ["status", "agent-context", "why", "reviews", "checks", "comments", "auto-merge"];

/// Why a text is not a name; prints as a sentence such as `branch name 'a b' may not contain ' '`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct InvalidName {
    what: String,
    why: String,
}

impl InvalidName {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }

    fn of(kind: &str, text: &str, why: impl Into<String>) -> Self {
        let shown: String = text.chars().take(80).collect();
        Self::new(format!("{kind} '{}'", shown.escape_debug()), why)
    }
}

/// Checks a slash-separated name whose segments are letters, digits, `-`, `_`, `.` and `+`.
fn check_segments(kind: &str, text: &str, max_bytes: usize) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::new(kind, "is empty"));
    }
    if text.len() > max_bytes {
        return Err(InvalidName::of(kind, text, format!("is longer than {max_bytes} bytes")));
    }
    for segment in text.split('/') {
        if segment.is_empty() {
            return Err(InvalidName::of(kind, text, "has an empty segment"));
        }
        if let Some(other) = segment.chars().find(|c| !(c.is_alphanumeric() || "-_.+".contains(*c))) {
            return Err(InvalidName::of(kind, text, format!("may not contain '{}'", other.escape_debug())));
        }
        if segment == "-" {
            return Err(InvalidName::of(kind, text, "has the reserved segment '-'"));
        }
        if segment.starts_with('.') || segment.ends_with('.') {
            return Err(InvalidName::of(kind, text, "has a segment that starts or ends with '.'"));
        }
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub struct $name(String);

        impl $name {
            /// Accepts a name that may be created.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let check: fn(&str) -> Result<(), InvalidName> = $check;
                check(&text)?;
                Ok(Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name_type!(
    /// The name of a new org: one segment.
    OrgName,
    |text| {
        if text.contains('/') {
            return Err(InvalidName::new("org name", "may not contain '/'"));
        }
        check_segments("org name", text, MAX_ORG_NAME_BYTES)
    }
);

name_type!(
    /// The full name of a new repo: its org and one or more further segments.
    RepoName,
    |text| {
        check_segments("repo name", text, MAX_REPO_NAME_BYTES)?;
        match text.contains('/') {
            true => Ok(()),
            false => Err(InvalidName::of("repo name", text, "has no org: expected <org>/<name>")),
        }
    }
);

impl RepoName {
    /// The org: the first segment.
    #[must_use]
    pub fn org(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

name_type!(
    /// The name of a new branch; may have several segments, such as `feature/login`.
    BranchName,
    |text| {
        check_segments("branch name", text, MAX_BRANCH_NAME_BYTES)?;
        match text.rsplit('/').next() {
            Some(last) if BRANCH_ENDPOINTS.contains(&last) => {
                Err(InvalidName::of("branch name", text, format!("may not end in the reserved segment '{last}'")))
            }
            _ => Ok(()),
        }
    }
);

name_type!(
    /// The name of a new release, such as `v1.2.3`. Never a plain number: `at=7` always means sequence 7.
    ReleaseName,
    |text| {
        check_segments("release name", text, MAX_RELEASE_NAME_BYTES)?;
        match text.parse::<i64>() {
            Ok(_) => Err(InvalidName::of("release name", text, "is a number, which would be read as a sequence")),
            Err(_) => Ok(()),
        }
    }
);

name_type!(
    /// The name of a check, such as `ci/unit tests`. Without the characters that would let the subject of one job's token
    /// pose as that of another: `:`, `@` and control characters.
    CheckName,
    |text| {
        let kind = "check name";
        if text.len() > crate::MAX_CHECK_NAME_BYTES {
            return Err(InvalidName::of(kind, text, format!("is longer than {} bytes", crate::MAX_CHECK_NAME_BYTES)));
        }
        if let Some(other) = text.chars().find(|c| c.is_control() || ":@".contains(*c)) {
            return Err(InvalidName::of(kind, text, format!("may not contain '{}'", other.escape_debug())));
        }
        for segment in text.split('/') {
            if segment.is_empty() || segment == "-" || segment != segment.trim() {
                return Err(InvalidName::of(kind, text, format!("has the segment '{segment}'")));
            }
            if segment.starts_with('.') || segment.ends_with('.') {
                return Err(InvalidName::of(kind, text, "has a segment that starts or ends with '.'"));
            }
        }
        Ok(())
    }
);

/// Whether there is nothing but printable ASCII, as in most paths: told without decoding, many bytes at a time.
fn is_plain_ascii(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (b' '..=b'~').contains(&byte))
}

name_type!(
    /// The path of a file in a commit: relative, with `/` between segments, and safe to create in a workspace.
    FilePath,
    |text| {
        if text.is_empty() {
            return Err(InvalidName::new("file path", "is required"));
        }
        if text.len() > MAX_PATH_BYTES {
            return Err(InvalidName::of("file path", text, format!("is longer than {MAX_PATH_BYTES} bytes")));
        }
        if text.starts_with('/') {
            return Err(InvalidName::of("file path", text, "is absolute"));
        }
        // A newline would let one path pose as two lines of the commit hash; NUL cannot be stored.
        if !is_plain_ascii(text)
            && let Some(control) = text.chars().find(|c| c.is_control())
        {
            return Err(InvalidName::of(
                "file path",
                text,
                format!("holds the control character '{}'", control.escape_debug()),
            ));
        }
        for segment in text.as_bytes().split(|byte| *byte == b'/') {
            if segment.is_empty() {
                return Err(InvalidName::of("file path", text, "has an empty segment"));
            }
            if segment == b"." || segment == b".." {
                return Err(InvalidName::of("file path", text, format!("has the segment '{}'", segment.escape_ascii())));
            }
            if segment.len() > MAX_PATH_SEGMENT_BYTES {
                return Err(InvalidName::of(
                    "file path",
                    text,
                    format!("has a segment longer than {MAX_PATH_SEGMENT_BYTES} bytes"),
                ));
            }
        }
        Ok(())
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for name in ["main2", "feature/add-guide", "release/1.2", "über/straße", "a+b", "x-", "-x"] {
            assert_eq!(BranchName::parse(name).map(String::from), Ok(name.to_owned()));
        }
        for name in ["acme/app", "acme/team/app"] {
            assert_eq!(RepoName::parse(name).map(|n| n.org().to_owned()), Ok("acme".to_owned()));
        }
        for check in ["test", "ci/config", "unit tests (1.2, linux)", "a.b", "ünit"] {
            assert!(CheckName::parse(check).is_ok(), "{check}");
        }
        for path in ["a", "a b/c:d@e.txt", ".docstore/ci.yaml", "a/.../b", "naïve\\x"] {
            assert!(FilePath::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn names_that_could_pose_as_another_are_refused() {
        for name in [
            "",
            "a:b",
            "a@b",
            "a b",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "a/../b",
            ".hidden",
            "x.",
            "a/-/b",
            "a\nb",
            "a\0b",
            "a%2Fb",
            "feature/status",
            "checks",
            "a/auto-merge",
        ] {
            assert!(BranchName::parse(name).is_err(), "{name:?}");
        }
        for name in ["acme", "acme/", "acme//x", "acme/p/-/r"] {
            assert!(RepoName::parse(name).is_err(), "{name:?}");
        }
        for name in ["a/b", "", "a:b", " "] {
            assert!(OrgName::parse(name).is_err(), "{name:?}");
        }
        for name in ["12", "-3", ""] {
            assert!(ReleaseName::parse(name).is_err(), "{name:?}");
        }
        for check in ["", "a:b", "a@b", "a\nb", "a\0", "/a", "a//b", "a/-/b", "a/../b", ".a", "a.", " a", "a /b"] {
            assert!(CheckName::parse(check).is_err(), "{check:?}");
        }
        for path in
            ["", "/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "a/", "a\nb", "a\0b", "a\u{7f}b", "a\u{85}b"]
        {
            assert!(FilePath::parse(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn the_error_is_a_sentence() {
        let error = BranchName::parse("a b").expect_err("a blank is refused");
        assert_eq!(error.to_string(), "branch name 'a b' may not contain ' '");
    }
}
