use std::time::Duration;

use docstore_settings::{Environment, Invalid, Variable};

const RETENTION_DAYS: &str = "DOCSTORE_EVENT_RETENTION_DAYS";
const AUDIT_RETENTION_DAYS: &str = "DOCSTORE_AUDIT_RETENTION_DAYS";
const RING_EVENTS: &str = "DOCSTORE_EVENT_RING_EVENTS";
const RING_BYTES: &str = "DOCSTORE_EVENT_RING_BYTES";
const STREAMS: &str = "DOCSTORE_EVENT_STREAMS_MAX";
const SEQUENCE_SECONDS: &str = "DOCSTORE_EVENT_SEQUENCE_SECONDS";
const POLL_SECONDS: &str = "DOCSTORE_EVENT_POLL_SECONDS";

/// The variables of this crate.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        RETENTION_DAYS,
        "30",
        "Events older than this many days are deleted, every hour, but for those of the audit trail. A stream that asks for older ones starts at the oldest \
         that is left.",
    ),
    Variable::new(
        AUDIT_RETENTION_DAYS,
        "400",
        "Events of the audit trail (logins, tokens, agents, roles, members, overrides) older than this many days are deleted.",
    ),
    Variable::new(
        RING_EVENTS,
        "10000",
        "The most events that a process keeps in memory for its streams. A stream that is further behind reads from the \
         database.",
    ),
    Variable::new(RING_BYTES, "16777216", "The most bytes of events that a process keeps in memory for its streams."),
    Variable::new(
        STREAMS,
        "10000",
        "The most event streams that are open at a time in one process; further ones are answered with 503.",
    ),
    Variable::new(
        SEQUENCE_SECONDS,
        "2",
        "How often, in seconds, a process looks for events of a process that died before it could give them their place in \
         the log.",
    ),
    Variable::new(
        POLL_SECONDS,
        "5",
        "How often, in seconds, a process reads the log although nobody told it of news: the most that a lost \
         notification delays an event.",
    ),
];

/// How the contract's server keeps its log (contract, server §8.3).
const RETENTION_DAYS_DEFAULT: u64 = 30;

/// A year, so that whoever looks back once a year finds everything, and a month for looking.
const AUDIT_RETENTION_DAYS_DEFAULT: u64 = 400;

/// A minute of a very busy server, so that a client which reconnects finds what it missed in memory.
const RING_EVENTS_DEFAULT: u64 = 10_000;

/// Ten thousand events of the usual size fit several times; long commit messages must not eat the memory.
const RING_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

/// A stream costs some kilobytes, most of them for its connection.
const STREAMS_MAX_DEFAULT: u64 = 10_000;

/// Only events of a process that died wait for this.
const SEQUENCE_SECONDS_DEFAULT: u64 = 2;

/// Only a lost notification waits for this.
const POLL_SECONDS_DEFAULT: u64 = 5;

/// How events are kept and streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Events older than this are deleted.
    pub retention_days: i32,
    /// Events of the audit trail older than this are deleted.
    pub audit_retention_days: i32,
    /// The most events in memory.
    pub ring_events_max: usize,
    /// The most bytes of events in memory.
    pub ring_bytes_max: usize,
    /// The most open streams.
    pub streams_max: usize,
    /// How often to look for events that nobody gave a position.
    pub sequence_interval: Duration,
    /// How often to read without having been told.
    pub poll_interval: Duration,
}

impl Settings {
    /// Reads [`VARIABLES`].
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let size = |name, default, bounds| {
            environment.number_or(name, default, bounds).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
        };
        let days = |name, default| {
            environment.number_or(name, default, 1..=36_500).map(|days| i32::try_from(days).unwrap_or(i32::MAX))
        };
        Ok(Self {
            retention_days: days(RETENTION_DAYS, RETENTION_DAYS_DEFAULT)?,
            audit_retention_days: days(AUDIT_RETENTION_DAYS, AUDIT_RETENTION_DAYS_DEFAULT)?,
            ring_events_max: size(RING_EVENTS, RING_EVENTS_DEFAULT, 1..=10_000_000)?,
            ring_bytes_max: size(RING_BYTES, RING_BYTES_DEFAULT, 1..=1 << 40)?,
            // The bound is that of tokio's semaphore on 32 bits.
            streams_max: size(STREAMS, STREAMS_MAX_DEFAULT, 1..=1 << 28)?,
            sequence_interval: environment.seconds_or(SEQUENCE_SECONDS, SEQUENCE_SECONDS_DEFAULT, 1..=3600)?,
            poll_interval: environment.seconds_or(POLL_SECONDS, POLL_SECONDS_DEFAULT, 1..=3600)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_those_in_use() {
        let documented: Environment =
            VARIABLES.iter().map(|variable| (variable.name.to_owned(), variable.default.to_owned())).collect();
        assert_eq!(Settings::from_environment(&documented), Settings::from_environment(&Environment::default()));
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        for variable in VARIABLES {
            let environment = Environment::from_iter([(variable.name, "0")]);
            let refusal = Settings::from_environment(&environment).unwrap_err();
            assert_eq!(refusal.name, variable.name);
        }
    }
}
