//! The settings that every service has: where it listens, what it logs, and what it lets a client do.

use std::{net::IpAddr, str::FromStr, time::Duration};

use docstore_settings::{Environment, Invalid, Variable};
use http::Uri;

/// The variables that [`Settings::from_environment`] reads.
pub const VARIABLES: &[Variable] = &[
    Variable::new("PORT", "8080", "The TCP port to listen on; 0 lets the system choose one."),
    Variable::new(
        "LISTEN_ADDRESS",
        "",
        "The IP address to listen on, such as 127.0.0.1. When it is not set, all interfaces, IPv6 and IPv4.",
    ),
    Variable::new("LOG_FORMAT", "json", "How log lines are written to standard output: json or text."),
    Variable::new("LOG_LEVEL", "info", "The least level that is logged: debug, info, warn or error, in any case."),
    Variable::new(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "The http or https URL of an OpenTelemetry collector that speaks OTLP over gRPC. Traces are sent only when it is set.",
    ),
    Variable::new(
        "DOCSTORE_HTTP_HEADER_TIMEOUT_SECONDS",
        "10",
        "How long a client may take to send the head of a request, and a new connection to say anything.",
    ),
    Variable::new(
        "DOCSTORE_HTTP_IDLE_TIMEOUT_SECONDS",
        "60",
        "How long a connection may stay open between two requests.",
    ),
    Variable::new(
        "DOCSTORE_HTTP_BODY_TIMEOUT_SECONDS",
        "15",
        "How long the server waits, while it wants more of a request body, for DOCSTORE_HTTP_BODY_PROGRESS_BYTES.",
    ),
    Variable::new(
        "DOCSTORE_HTTP_BODY_PROGRESS_BYTES",
        "1024",
        "How many bytes of a request body count as progress. An upload of any length goes on while it makes progress.",
    ),
    Variable::new(
        "DOCSTORE_HTTP_WRITE_TIMEOUT_SECONDS",
        "15",
        "How long an answer may wait for a client that does not read. A stream with nothing to send does not wait.",
    ),
    Variable::new("DOCSTORE_HTTP_MAX_CONNECTIONS", "16384", "Open connections; those beyond are answered with 503."),
    Variable::new(
        "DOCSTORE_HTTP_MAX_CONNECTIONS_PER_PEER",
        "0",
        "Open connections of one peer address (IPv6: one /64); those beyond are answered with 429. 0 means no limit, \
         which is right behind a proxy.",
    ),
    Variable::new("DOCSTORE_HTTP_MAX_HEADER_BYTES", "65536", "Bytes of a request's head; a longer one gets 431."),
    Variable::new("DOCSTORE_HTTP_MAX_HEADERS", "100", "Header fields of a request; more of them get 431."),
    Variable::new("DOCSTORE_HTTP_MAX_URI_BYTES", "16384", "Bytes of a request's target; a longer one gets 414."),
    Variable::new(
        "DOCSTORE_SHUTDOWN_GRACE_SECONDS",
        "10",
        "How long a stopping server waits for requests in hand before it cuts them.",
    ),
];

/// What a service needs before it can listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The address; all interfaces when absent.
    pub listen_address: Option<IpAddr>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The least level that is logged.
    pub log_level: LogLevel,
    /// The URL of the trace collector, if traces are wanted.
    pub trace_endpoint: Option<String>,
    /// What a client may do.
    pub limits: Limits,
}

/// How log lines look (contract, server §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// `key=value` pairs.
    Text,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything of use to a developer.
    Debug,
    /// One line per request and per change of state.
    Info,
    /// What a client did wrong, and what healed itself.
    Warn,
    /// What needs somebody to look.
    Error,
}

/// The bounds that the server sets to a connection.
///
/// Each of them counts how often it was reached in the metric `docstore_limit_reached_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a head (or the start of the connection) to its end.
    pub header_timeout: Duration,
    /// Between an answer and the next request.
    pub idle_timeout: Duration,
    /// For [`Self::body_progress_bytes`] of a body to arrive while the server wants them.
    pub body_timeout: Duration,
    /// What counts as progress of a body.
    pub body_progress_bytes: u64,
    /// For the client to take any byte of an answer.
    pub write_timeout: Duration,
    /// Open connections.
    pub max_connections: usize,
    /// Open connections of one peer; 0 means no limit.
    pub max_connections_per_peer: usize,
    /// Bytes of a head, request line included.
    pub max_header_bytes: usize,
    /// Header fields.
    pub max_headers: usize,
    /// Bytes of a target.
    pub max_uri_bytes: usize,
    /// From the signal to the cut.
    pub shutdown_grace: Duration,
}

/// The widest time-out: a day. A longer one is a slip of the pen.
const MAX_TIMEOUT_SECONDS: u64 = 86_400;

/// hyper parses into an array of this many header fields when it is not asked for another number.
pub(crate) const MAX_HEADERS: usize = 100;

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(15),
            body_progress_bytes: 1024,
            write_timeout: Duration::from_secs(15),
            max_connections: 16_384,
            max_connections_per_peer: 0,
            max_header_bytes: 65_536,
            max_headers: MAX_HEADERS,
            max_uri_bytes: 16_384,
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 8080,
            listen_address: None,
            log_format: LogFormat::Json,
            log_level: LogLevel::Info,
            trace_endpoint: None,
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Reads [`VARIABLES`].
    ///
    /// # Errors
    /// Names the first variable whose value cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let default = Self::default();
        Ok(Self {
            port: environment.parsed_or("PORT", default.port)?,
            listen_address: environment.parsed("LISTEN_ADDRESS")?,
            log_format: environment.parsed_or("LOG_FORMAT", default.log_format)?,
            log_level: environment.parsed_or("LOG_LEVEL", default.log_level)?,
            trace_endpoint: trace_endpoint(environment)?,
            limits: Limits::from_environment(environment)?,
        })
    }
}

impl Limits {
    fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let default = Self::default();
        let seconds =
            |name: &str, default: Duration| environment.seconds_or(name, default.as_secs(), 1..=MAX_TIMEOUT_SECONDS);
        let count = |name: &str, default: usize, bounds: std::ops::RangeInclusive<u64>| {
            let number = environment.number_or(name, default as u64, bounds)?;
            usize::try_from(number).map_err(|why| Invalid::new(name, why))
        };
        Ok(Self {
            header_timeout: seconds("DOCSTORE_HTTP_HEADER_TIMEOUT_SECONDS", default.header_timeout)?,
            idle_timeout: seconds("DOCSTORE_HTTP_IDLE_TIMEOUT_SECONDS", default.idle_timeout)?,
            body_timeout: seconds("DOCSTORE_HTTP_BODY_TIMEOUT_SECONDS", default.body_timeout)?,
            body_progress_bytes: environment.number_or(
                "DOCSTORE_HTTP_BODY_PROGRESS_BYTES",
                default.body_progress_bytes,
                1..=1 << 20,
            )?,
            write_timeout: seconds("DOCSTORE_HTTP_WRITE_TIMEOUT_SECONDS", default.write_timeout)?,
            max_connections: count("DOCSTORE_HTTP_MAX_CONNECTIONS", default.max_connections, 1..=1 << 20)?,
            max_connections_per_peer: count(
                "DOCSTORE_HTTP_MAX_CONNECTIONS_PER_PEER",
                default.max_connections_per_peer,
                0..=1 << 20,
            )?,
            // At most half of what a connection may buffer, so that hyper's own limit is never the first.
            max_header_bytes: count("DOCSTORE_HTTP_MAX_HEADER_BYTES", default.max_header_bytes, 1024..=131_072)?,
            max_headers: count("DOCSTORE_HTTP_MAX_HEADERS", default.max_headers, 8..=MAX_HEADERS as u64)?,
            // The `http` crate holds targets up to 65,534 bytes.
            max_uri_bytes: count("DOCSTORE_HTTP_MAX_URI_BYTES", default.max_uri_bytes, 256..=65_534)?,
            shutdown_grace: seconds("DOCSTORE_SHUTDOWN_GRACE_SECONDS", default.shutdown_grace)?,
        })
    }
}

fn trace_endpoint(environment: &Environment) -> Result<Option<String>, Invalid> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let Some(text) = environment.text(NAME) else { return Ok(None) };
    let uri: Uri = environment.parsed(NAME)?.unwrap_or_default();
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(Some(text.trim().to_owned())),
        _ => Err(Invalid::new(NAME, format!("'{text}' is not an http or https URL"))),
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("it is neither json nor text"),
        }
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err("it is none of debug, info, warn and error"),
        }
    }
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let documented: Environment =
            VARIABLES.iter().map(|variable| (variable.name.to_owned(), variable.default.to_owned())).collect();
        assert_eq!(Settings::from_environment(&documented).unwrap(), Settings::default());
        assert_eq!(Settings::from_environment(&Environment::default()).unwrap(), Settings::default());
    }

    #[test]
    fn every_documented_variable_is_read() {
        for variable in VARIABLES {
            let environment = Environment::from_iter([(variable.name, "\u{1}")]);
            let refusal = Settings::from_environment(&environment).unwrap_err();
            assert_eq!(refusal.name, variable.name);
        }
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        let refused = [
            ("LOG_FORMAT", "yaml"),
            ("LOG_FORMAT", "TEXT"),
            ("LOG_LEVEL", "loud"),
            ("PORT", "65536"),
            ("LISTEN_ADDRESS", "localhost"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("DOCSTORE_HTTP_IDLE_TIMEOUT_SECONDS", "0"),
        ]
        .map(|pair| Settings::from_environment(&Environment::from_iter([pair])).unwrap_err().to_string());
        assert_eq!(
            refused,
            [
                "LOG_FORMAT: 'yaml' cannot be used: it is neither json nor text",
                "LOG_FORMAT: 'TEXT' cannot be used: it is neither json nor text",
                "LOG_LEVEL: 'loud' cannot be used: it is none of debug, info, warn and error",
                "PORT: '65536' cannot be used: number too large to fit in target type",
                "LISTEN_ADDRESS: 'localhost' cannot be used: invalid IP address syntax",
                "OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' is not an http or https URL",
                "DOCSTORE_HTTP_IDLE_TIMEOUT_SECONDS: 0 is not between 1 and 86400",
            ]
        );
    }

    #[test]
    fn good_values_are_taken() {
        let settings = Settings::from_environment(&Environment::from_iter([
            ("PORT", "0"),
            ("LISTEN_ADDRESS", "::1"),
            ("LOG_FORMAT", "text"),
            ("LOG_LEVEL", "WARN"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
            ("DOCSTORE_HTTP_MAX_CONNECTIONS", "7"),
        ]))
        .unwrap();
        assert_eq!(
            settings,
            Settings {
                port: 0,
                listen_address: Some("::1".parse().unwrap()),
                log_format: LogFormat::Text,
                log_level: LogLevel::Warn,
                trace_endpoint: Some("http://127.0.0.1:4317".to_owned()),
                limits: Limits { max_connections: 7, ..Limits::default() },
            }
        );
    }
}
