//! The `secrets` entries of checks (contract, ci §5.4).

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

/// The longest name of a secret.
const SECRET_NAME_BYTES_MAX: usize = 64;

/// What names of secrets must not begin with: those are the server's own.
const RESERVED_PREFIX: &str = "DOCSTORE_";

/// Why a config says nothing.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// It is no YAML, or not of this shape.
    #[error("{0}")]
    Malformed(String),
    /// Entries that cannot be used, all of them.
    #[error("{}", .0.join("; "))]
    Entries(Vec<String>),
}

/// A secret that a check uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// Under what name the check sees it.
    pub local_name: String,
    /// Under what name the repo has it.
    pub repo_name: String,
}

/// A check and the secrets that it uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSecrets {
    /// The name of the check.
    pub check: String,
    /// What it uses.
    pub secrets: Vec<SecretUse>,
}

/// Whether this could be the name of a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    name.len() <= SECRET_NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|first| first.is_ascii_uppercase())
        && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
}

/// Whether a name of that form is the server's own.
#[must_use]
pub fn is_reserved_secret_name(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX)
}

/// The checks of a config with the secrets that each uses. Everything else in it is ignored.
///
/// # Errors
/// When the config, or an entry of it, cannot be used.
pub fn check_secrets(yaml: &str) -> Result<Vec<CheckSecrets>, InvalidConfig> {
    let config: Config =
        serde_saphyr::from_str(yaml).map_err(|error| InvalidConfig::Malformed(one_line(&error.to_string())))?;
    let mut problems = Vec::new();
    let mut checks = Vec::new();
    for check in config.checks.unwrap_or_default() {
        let mut seen = HashSet::new();
        for (index, entry) in check.secrets.iter().enumerate() {
            let before = format!("check \"{}\" secrets[{index}]: ", check.name);
            for (kind, name) in [("local name", &entry.0.local_name), ("repo name", &entry.0.repo_name)] {
                let problem = if name.is_empty() {
                    format!("{kind} must not be empty")
                } else if !is_secret_name(name) {
                    format!("{kind} \"{name}\" must match ^[A-Z][A-Z0-9_]{{0,63}}$")
                } else if is_reserved_secret_name(name) {
                    format!("{kind} \"{name}\" must not use reserved prefix \"{RESERVED_PREFIX}\"")
                } else {
                    continue;
                };
                problems.push(format!("{before}{problem}"));
            }
            if !entry.0.local_name.is_empty() && !seen.insert(entry.0.local_name.clone()) {
                problems.push(format!("{before}duplicate local name \"{}\"", entry.0.local_name));
            }
        }
        let secrets = check.secrets.into_iter().map(|entry| entry.0).collect();
        checks.push(CheckSecrets { check: check.name, secrets });
    }
    if problems.is_empty() { Ok(checks) } else { Err(InvalidConfig::Entries(problems)) }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[derive(Deserialize)]
struct Config {
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Check {
    name: String,
    #[serde(deserialize_with = "or_none")]
    secrets: Vec<Entry>,
}

fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    Ok(Option::<Vec<Entry>>::deserialize(deserializer)?.unwrap_or_default())
}

struct Entry(SecretUse);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("secrets entry must be a string or single-key mapping")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Entry, E> {
                if name.is_empty() {
                    return Err(E::custom("secrets entry must not be empty"));
                }
                Ok(Entry(SecretUse { local_name: name.to_owned(), repo_name: name.to_owned() }))
            }

            /// A null entry has no names, which the checks of names find.
            fn visit_unit<E: serde::de::Error>(self) -> Result<Entry, E> {
                Ok(Entry(SecretUse { local_name: String::new(), repo_name: String::new() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, String>()? {
                    pairs.push(pair);
                }
                match <[(String, String); 1]>::try_from(pairs) {
                    Ok([(local_name, repo_name)]) if !local_name.is_empty() && !repo_name.is_empty() => {
                        Ok(Entry(SecretUse { local_name, repo_name }))
                    }
                    Ok(_) => Err(A::Error::custom("secrets entry key and value must be non-empty")),
                    Err(pairs) => Err(A::Error::custom(format!(
                        "secrets entry mapping must have exactly one key (LOCAL: REPO), got {}",
                        pairs.len()
                    ))),
                }
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(yaml: &str) -> Vec<String> {
        let checks = check_secrets(yaml).unwrap();
        let uses = checks.iter().flat_map(|check| check.secrets.iter().map(move |one| (check, one)));
        uses.map(|(check, one)| format!("{} {}={}", check.check, one.local_name, one.repo_name)).collect()
    }

    #[test]
    fn entries_name_secrets_in_both_forms() {
        let yaml = "on:\n  push: {}\nchecks:\n  - name: test\n    image: rust\n    steps: [cargo test]\n    secrets:\n      - TOKEN\n      - KEY: PROD_KEY\n  - name: lint\n  - name: none\n    secrets:\n";
        assert_eq!(named(yaml), ["test TOKEN=TOKEN", "test KEY=PROD_KEY"]);
        for nothing in ["", "on: {}", "checks:\n", "checks: []"] {
            assert_eq!(named(nothing), [""; 0], "{nothing:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let told = |entry: &str| {
            check_secrets(&format!("checks:\n  - name: t\n    secrets:\n      - {entry}\n")).unwrap_err().to_string()
        };
        assert_eq!(
            told("token"),
            "check \"t\" secrets[0]: local name \"token\" must match ^[A-Z][A-Z0-9_]{0,63}$; check \"t\" secrets[0]: repo name \"token\" must match ^[A-Z][A-Z0-9_]{0,63}$"
        );
        assert_eq!(
            told("A: DOCSTORE_X"),
            "check \"t\" secrets[0]: repo name \"DOCSTORE_X\" must not use reserved prefix \"DOCSTORE_\""
        );
        assert_eq!(told("A\n      - A: B"), "check \"t\" secrets[1]: duplicate local name \"A\"");
        assert!(told("{A: B, C: D}").contains("must have exactly one key (LOCAL: REPO), got 2"));
        assert!(told("[A]").contains("must be a string or single-key mapping"));
        assert!(told("''").contains("must not be empty"));
        assert!(check_secrets("checks: {a: b}").is_err(), "checks are a list");
        assert!(check_secrets("checks: [").is_err());
    }

    #[test]
    fn a_config_that_grows_is_refused() {
        let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 9].join(", ");
            yaml.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        yaml.push_str("checks: *a11\n");
        assert!(check_secrets(&yaml).is_err());
    }
}
