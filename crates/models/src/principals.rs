//! Kinds of those who act, and the identities of agents.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Identity, names::InvalidName};

/// What an agent's identity begins with. No e-mail address can: a colon is not allowed in its local part.
pub const AGENT_PREFIX: &str = "agent:";

/// What a CI job's identity begins with.
pub const JOB_PREFIX: &str = "ci-job:";

/// The names under which the server itself acts.
pub const SYSTEM_NAMES: [&str; 3] = ["auto-merge", "presigned", "system"];

/// The longest name of an agent, in bytes: its identity also holds that of its owner.
pub const MAX_AGENT_NAME_BYTES: usize = 40;

/// What somebody who acts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PrincipalKind {
    /// A human being, known by an e-mail address.
    Person,
    /// A program with a short life that acts on behalf of a person.
    Agent,
    /// A CI job.
    Job,
    /// A part of the server itself.
    System,
}

impl PrincipalKind {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Agent => "agent",
            Self::Job => "job",
            Self::System => "system",
        }
    }

    /// What the text of an identity says, such as the author of a stored commit. Imported authors are persons, whatever
    /// they are called.
    #[must_use]
    pub fn of(identity: &str) -> Self {
        if identity.starts_with(AGENT_PREFIX) {
            Self::Agent
        } else if identity.starts_with(JOB_PREFIX) {
            Self::Job
        } else if SYSTEM_NAMES.contains(&identity) {
            Self::System
        } else {
            Self::Person
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PrincipalKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "person" => Ok(Self::Person),
            "agent" => Ok(Self::Agent),
            "job" => Ok(Self::Job),
            "system" => Ok(Self::System),
            _ => Err("invalid kind; must be person, agent, job, or system".to_owned()),
        }
    }
}

/// The person in whose name the identity acts: the owner of an agent.
///
/// The owner is part of an agent's identity, so whoever has the text, a commit's author for one, needs no table to know
/// who answers for it, and the hash of the commit covers it.
#[must_use]
pub fn owner_of_agent(identity: &str) -> Option<&str> {
    identity.strip_prefix(AGENT_PREFIX)?.split_once('/').map(|(_, owner)| owner).filter(|owner| !owner.is_empty())
}

/// The name of an agent among those of its owner.
#[must_use]
pub fn name_of_agent(identity: &str) -> Option<&str> {
    identity.strip_prefix(AGENT_PREFIX)?.split_once('/').map(|(name, _)| name)
}

/// The person behind an identity: an agent's owner, everybody else themselves. Two identities with the same person behind
/// them are no two pairs of eyes.
#[must_use]
pub fn person_behind(identity: &str) -> &str {
    owner_of_agent(identity).unwrap_or(identity)
}

impl Identity {
    /// The identity of an agent: `agent:<name>/<owner>`.
    ///
    /// # Errors
    /// When the name has other characters than lower-case letters, digits and `-`, or the owner is no person.
    pub fn of_agent(name: &str, owner: &Self) -> Result<Self, InvalidName> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > MAX_AGENT_NAME_BYTES || !name.chars().all(plain) {
            return Err(InvalidName::new(
                "agent name",
                format!("must have 1 to {MAX_AGENT_NAME_BYTES} lower-case letters, digits and '-'"),
            ));
        }
        if owner.kind() != PrincipalKind::Person {
            return Err(InvalidName::new("agent", "must belong to a person"));
        }
        Self::parse(format!("{AGENT_PREFIX}{name}/{owner}"))
    }

    /// What it is, by its text.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        PrincipalKind::of(self.as_str())
    }

    /// The owner, if it is an agent.
    #[must_use]
    pub fn agent_owner(&self) -> Option<Self> {
        owner_of_agent(self.as_str()).and_then(|owner| Self::parse(owner).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::{PrincipalKind, owner_of_agent, person_behind};
    use crate::Identity;

    #[test]
    fn the_text_of_an_identity_says_what_it_is() {
        for (identity, kind) in [
            ("alice@example.com", PrincipalKind::Person),
            ("dev", PrincipalKind::Person),
            ("agent:fixer/alice@example.com", PrincipalKind::Agent),
            ("ci-job:0198", PrincipalKind::Job),
            ("auto-merge", PrincipalKind::System),
        ] {
            assert_eq!(PrincipalKind::of(identity), kind, "{identity}");
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_agent_names_its_owner() {
        let alice = Identity::parse("alice@example.com").unwrap();
        let agent = Identity::of_agent("fixer-2", &alice).unwrap();
        assert_eq!(agent.as_str(), "agent:fixer-2/alice@example.com");
        assert_eq!(agent.kind(), PrincipalKind::Agent);
        assert_eq!(agent.agent_owner(), Some(alice.clone()));
        assert_eq!(alice.agent_owner(), None);
        assert_eq!(person_behind(agent.as_str()), "alice@example.com");
        assert_eq!(person_behind("bob@example.com"), "bob@example.com");
        assert_eq!(owner_of_agent("agent:nobody"), None);
        // An owner may have any text, a slash included: the name has none.
        let odd = Identity::parse("a/b@example.com").unwrap();
        assert_eq!(Identity::of_agent("x", &odd).unwrap().agent_owner(), Some(odd));
    }

    #[test]
    fn what_is_no_agent_is_refused() {
        let alice = Identity::parse("alice@example.com").unwrap();
        for name in ["", "Fixer", "a/b", "a@b", "a:b", "ä", &"a".repeat(41)] {
            assert!(Identity::of_agent(name, &alice).is_err(), "{name:?}");
        }
        for owner in ["agent:a/alice@example.com", "ci-job:1", "system"] {
            assert!(Identity::of_agent("a", &Identity::parse(owner).unwrap()).is_err(), "{owner}");
        }
        let longest = Identity::parse(format!("{}@example.com", "a".repeat(308))).unwrap();
        assert!(Identity::of_agent("a", &longest).is_err());
    }
}
