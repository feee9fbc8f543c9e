//! What a token may be used for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::names::{InvalidName, MAX_BRANCH_NAME_BYTES};

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// What a route does, as far as a token's scope tells routes apart. The words are close to the permissions of CI
        /// jobs (contract, server §2.5). None of them includes another one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[repr(u8)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum Action {
            $($(#[$doc])* $variant,)*
        }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word on the wire and in the database.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

actions! {
    /// Reads what its owner may read.
    Read = "read";
    /// Uploads contents; creates, commits to, rebases and deletes branches.
    Contents = "contents";
    /// Merges branches into `main`, now or by auto-merge.
    Merge = "merge";
    /// Opens, changes and closes proposals.
    Proposals = "proposals";
    /// Reviews and comments on changes.
    Reviews = "reviews";
    /// Reports check runs and starts them again.
    Checks = "checks";
    /// Opens, changes and comments on issues.
    Issues = "issues";
    /// Cuts and deletes releases.
    Releases = "releases";
    /// Manages webhooks.
    Webhooks = "webhooks";
    /// Sets and deletes secrets.
    Secrets = "secrets";
    /// Starts CI runs.
    Ci = "ci";
    /// Grants roles, imports, purges; creates, administers and deletes repos and orgs.
    Admin = "admin";
}

impl Action {
    /// The lowest role with which something of this kind can be done in a repo.
    #[must_use]
    pub fn least_role(self) -> Role {
        match self {
            Self::Read | Self::Webhooks => Role::Reader,
            Self::Contents | Self::Merge | Self::Proposals | Self::Reviews | Self::Checks | Self::Issues | Self::Ci => {
                Role::Writer
            }
            Self::Releases | Self::Admin => Role::Maintainer,
            Self::Secrets => Role::Admin,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|action| action.as_str()).collect();
            format!("invalid action; must be one of {}", known.join(", "))
        })
    }
}

/// Which branches: a name in which `*` stands for any run of characters, slashes included. So `agents/*` is every branch
/// below `agents/`, and `*` every branch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct BranchPattern(String);

impl BranchPattern {
    /// Accepts what may match a branch.
    ///
    /// # Errors
    /// When the text is empty, longer than a branch name, or has a character that no branch name has.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidName::new("branch pattern", "is empty"));
        }
        if text.len() > MAX_BRANCH_NAME_BYTES {
            return Err(InvalidName::new("branch pattern", format!("is longer than {MAX_BRANCH_NAME_BYTES} bytes")));
        }
        match text.chars().find(|c| !(c.is_alphanumeric() || "-_.+/*".contains(*c))) {
            Some(other) => {
                Err(InvalidName::new("branch pattern", format!("may not contain '{}'", other.escape_debug())))
            }
            None => Ok(Self(text)),
        }
    }

    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a branch is meant.
    #[must_use]
    pub fn matches(&self, branch: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = branch.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        // Without a star the whole name was the prefix.
        let Some(last) = parts.pop() else { return rest.is_empty() };
        // The leftmost place of each part leaves the most for those behind it.
        for part in parts {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for BranchPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BranchPattern {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl From<BranchPattern> for String {
    fn from(pattern: BranchPattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Action, BranchPattern};

    fn matches(pattern: &str, branch: &str) -> bool {
        BranchPattern::parse(pattern).unwrap().matches(branch)
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, branch) in [
            ("*", "main"),
            ("*", "a/b"),
            ("main", "main"),
            ("agents/*", "agents/fix/1"),
            ("*-wip", "a-wip-wip"),
            ("a*b*c", "aXbYbZc"),
            ("a**b", "ab"),
        ] {
            assert!(matches(pattern, branch), "{pattern} {branch}");
        }
        for (pattern, branch) in [
            ("main", "main2"),
            ("main", "mai"),
            ("agents/*", "agents"),
            ("agents/*", "other/agents/x"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("Main", "main"),
        ] {
            assert!(!matches(pattern, branch), "{pattern} {branch}");
        }
        for bad in ["", "a b", "a:b", "a?", "[ab]", "a\0", &"a".repeat(256)] {
            assert!(BranchPattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn actions_have_one_word_each() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
            assert_eq!(serde_json::to_string(action).unwrap(), format!("\"{action}\""));
        }
        assert!("Read".parse::<Action>().is_err());
    }

    /// Plainly by definition: a star is nothing, or a character and a star.
    fn naive(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => naive(rest, name),
            (Some((b'*', rest)), Some((_, behind))) => naive(rest, name) || naive(pattern, behind),
            (Some((one, rest)), Some((other, behind))) => one == other && naive(rest, behind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
