//! Command lines that people are told to type.

use std::borrow::Cow;

/// A text as one word of a shell: in quotes unless every shell takes it as it is, so that a name which somebody chose
/// cannot do more than name something. `docstore.lib` of the policies has the same in Rego.
#[must_use]
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./+=,%-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

/// An option with its value, also when that begins with a hyphen.
#[must_use]
pub fn shell_option(name: &str, value: &str) -> String {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{separator}{}", shell_word(value))
}

/// The last argument of a command line, also when it begins with a hyphen.
#[must_use]
pub fn shell_argument(text: &str) -> String {
    let before = if text.starts_with('-') { "-- " } else { "" };
    format!("{before}{}", shell_word(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_no_more_than_name_something() {
        for (text, word) in [
            ("feature/x-1", "feature/x-1"),
            ("", "''"),
            ("unit tests (1)", "'unit tests (1)'"),
            ("$(id)", "'$(id)'"),
            ("it's", r"'it'\''s'"),
            ("a;b", "'a;b'"),
            ("übung", "'übung'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
        assert_eq!(shell_option("--branch", "x"), "--branch x");
        assert_eq!(shell_option("--branch", "--force"), "--branch=--force");
        assert_eq!(shell_argument("--force"), "-- --force");
        assert_eq!(shell_argument("a b"), "'a b'");
    }
}
