//! Settings from the environment.
//!
//! Each crate lists the variables it reads as a `const VARIABLES: &[Variable]` and makes its settings struct from an
//! [`Environment`]. A bad value is refused by name and with the reason before anything listens, and
//! `docs/configuration.md` is compared with the lists by a test, so that neither can drift.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise"))]

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;

/// One variable of the environment, as the documentation shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name, such as `PORT`.
    pub name: &'static str,
    /// What holds when it is not set; empty when nothing does.
    pub default: &'static str,
    /// What it does, in one or two sentences, with the unit.
    pub meaning: &'static str,
}

impl Variable {
    /// One row of documentation.
    #[must_use]
    pub const fn new(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { name, default, meaning }
    }
}

/// A setting that cannot be used; prints as `NAME: reason`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct Invalid {
    /// The variable.
    pub name: String,
    /// Why its value cannot be used. Never the value of a secret.
    pub reason: String,
}

impl Invalid {
    /// A refusal of the variable's value.
    pub fn new(name: impl Into<String>, reason: impl Display) -> Self {
        Self { name: name.into(), reason: reason.to_string() }
    }
}

/// The variables of a process. An empty value counts as absent.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process. Values that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Sets a variable, as a flag on the command line does. An empty value changes nothing.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// The names that are set, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The text of a variable, if it is set and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The text of a variable that must be set.
    ///
    /// # Errors
    /// When it is absent or empty.
    pub fn required(&self, name: &str) -> Result<&str, Invalid> {
        self.text(name).ok_or_else(|| Invalid::new(name, "is required"))
    }

    /// A variable read by its type's `FromStr`, if it is set.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn parsed<T>(&self, name: &str) -> Result<Option<T>, Invalid>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text(name)
            .map(|text| {
                text.trim().parse().map_err(|why| Invalid::new(name, format!("'{text}' cannot be used: {why}")))
            })
            .transpose()
    }

    /// A variable read by its type's `FromStr`, or the default.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn parsed_or<T>(&self, name: &str, default: T) -> Result<T, Invalid>
    where
        T: FromStr,
        T::Err: Display,
    {
        Ok(self.parsed(name)?.unwrap_or(default))
    }

    /// A number within bounds, or the default.
    ///
    /// # Errors
    /// When the text is no number or out of bounds.
    pub fn number_or(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> Result<u64, Invalid> {
        let number = self.parsed_or(name, default)?;
        if bounds.contains(&number) {
            Ok(number)
        } else {
            Err(Invalid::new(name, format!("{number} is not between {} and {}", bounds.start(), bounds.end())))
        }
    }

    /// A duration in whole seconds within bounds, or the default.
    ///
    /// # Errors
    /// When the text is no number or out of bounds.
    pub fn seconds_or(
        &self,
        name: &str,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Result<Duration, Invalid> {
        self.number_or(name, default, bounds).map(Duration::from_secs)
    }

    /// A switch: `true`, `1`, `yes` or `on`, and their opposites.
    ///
    /// # Errors
    /// When it is another word.
    pub fn switch_or(&self, name: &str, default: bool) -> Result<bool, Invalid> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off") => Ok(false),
            Some(other) => Err(Invalid::new(name, format!("'{other}' is neither true nor false"))),
        }
    }

    /// A secret, if it is set. It does not print.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A secret key in standard base64, if it is set.
    ///
    /// # Errors
    /// When it is not base64, or empty.
    pub fn secret_key(&self, name: &str) -> Result<Option<secrecy::SecretSlice<u8>>, Invalid> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match STANDARD.decode(text.trim()) {
            Ok(bytes) if !bytes.is_empty() => Ok(Some(bytes.into())),
            Ok(_) => Err(Invalid::new(name, "is empty")),
            Err(_) => Err(Invalid::new(name, "is not standard base64")),
        }
    }

    /// Refuses variables that carry our prefix but that nobody reads: a misspelt limit must not be silently ignored.
    ///
    /// # Errors
    /// Names the first such variable and the nearest known one.
    pub fn refuse_unknown(&self, prefix: &str, known: &[&Variable]) -> Result<(), Invalid> {
        for name in self.names().filter(|name| name.starts_with(prefix)) {
            if !known.iter().any(|variable| variable.name == name) {
                return Err(Invalid::new(
                    name,
                    "is not a setting of this program; docs/configuration.md lists them all",
                ));
            }
        }
        Ok(())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Environment, Variable};

    #[test]
    fn a_bad_value_is_refused_by_name() {
        let environment = Environment::from_iter([("PORT", "x"), ("LIMIT", "9"), ("ON", "perhaps"), ("KEY", "?")]);
        let refusals = [
            environment.parsed_or::<u16>("PORT", 1).unwrap_err().to_string(),
            environment.number_or("LIMIT", 1, 1..=8).unwrap_err().to_string(),
            environment.switch_or("ON", false).unwrap_err().to_string(),
            environment.secret_key("KEY").unwrap_err().to_string(),
            environment.required("NONE").unwrap_err().to_string(),
        ];
        assert_eq!(
            refusals,
            [
                "PORT: 'x' cannot be used: invalid digit found in string",
                "LIMIT: 9 is not between 1 and 8",
                "ON: 'perhaps' is neither true nor false",
                "KEY: is not standard base64",
                "NONE: is required",
            ]
        );
    }

    #[test]
    fn an_empty_value_is_absent_and_a_flag_wins() {
        let mut environment = Environment::from_iter([("A", ""), ("B", "b")]);
        assert_eq!(environment.text("A"), None);
        environment.set("B", "");
        assert_eq!(environment.text("B"), Some("b"));
        environment.set("B", "flag");
        assert_eq!(environment.text("B"), Some("flag"));
    }

    #[test]
    fn a_misspelt_variable_is_refused() {
        let environment = Environment::from_iter([("DOCSTORE_BLOB_STOER", "gcs"), ("OTHER", "x")]);
        let known = [&Variable::new("DOCSTORE_BLOB_STORE", "local", "")];
        assert!(
            environment.refuse_unknown("DOCSTORE_", &known).unwrap_err().to_string().starts_with("DOCSTORE_BLOB_STOER")
        );
    }
}
