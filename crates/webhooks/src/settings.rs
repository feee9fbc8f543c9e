use std::time::Duration;

use docstore_settings::{Environment, Invalid, Variable};
use ipnet::IpNet;

const TIMEOUT: &str = "DOCSTORE_WEBHOOK_TIMEOUT_SECONDS";
const CONCURRENT: &str = "DOCSTORE_WEBHOOK_CONCURRENT_MAX";
const NETWORKS: &str = "DOCSTORE_WEBHOOK_ALLOWED_NETWORKS";

/// The variables of this crate.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        TIMEOUT,
        "10",
        "How long a receiver of webhooks may take to answer, in seconds, from the look-up of its name on.",
    ),
    Variable::new(
        CONCURRENT,
        "64",
        "The most subscriptions that one process delivers to at a time. Those whose receivers fail or are slow take at \
         most half, and so does one org.",
    ),
    Variable::new(
        NETWORKS,
        "",
        "Networks that webhooks may go to although they are not public, such as `10.128.0.0/20,fd00::/64`. In development \
         (`DEV_IDENTITY`) loopback is allowed as well.",
    ),
];

/// The contract's limit (server, §8.5).
const TIMEOUT_SECONDS_DEFAULT: u64 = 10;

/// Each costs a connection and little else, and takes a database connection only for moments.
const CONCURRENT_MAX_DEFAULT: u64 = 64;

/// How webhooks are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a receiver may take.
    pub timeout: Duration,
    /// The most subscriptions that are delivered to at a time.
    pub concurrent_max: usize,
    /// Networks that are allowed although they are not public.
    pub allowed_networks: Vec<IpNet>,
}

impl Settings {
    /// Reads [`VARIABLES`]; in development loopback is allowed.
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn from_environment(environment: &Environment, development: bool) -> Result<Self, Invalid> {
        let mut allowed_networks = environment
            .text(NETWORKS)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| {
                text.parse()
                    .map_err(|_| Invalid::new(NETWORKS, format!("'{text}' is not a network such as 10.0.0.0/8")))
            })
            .collect::<Result<Vec<IpNet>, Invalid>>()?;
        if development {
            allowed_networks.extend(LOOPBACK.iter().filter_map(|text| text.parse::<IpNet>().ok()));
        }
        let concurrent = environment.number_or(CONCURRENT, CONCURRENT_MAX_DEFAULT, 2..=10_000)?;
        Ok(Self {
            timeout: environment.seconds_or(TIMEOUT, TIMEOUT_SECONDS_DEFAULT, 1..=30)?,
            concurrent_max: usize::try_from(concurrent).unwrap_or(usize::MAX),
            allowed_networks,
        })
    }
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_defaults_are_those_in_use() {
        let documented: Environment =
            VARIABLES.iter().map(|variable| (variable.name.to_owned(), variable.default.to_owned())).collect();
        let used = Settings::from_environment(&Environment::default(), false);
        assert_eq!(Settings::from_environment(&documented, false), used);
        assert_eq!(used.unwrap().allowed_networks, []);
    }

    #[test]
    fn networks_are_read_and_development_allows_loopback() {
        let environment = Environment::from_iter([(NETWORKS, "10.0.0.0/8, fd00::/64")]);
        let settings = Settings::from_environment(&environment, true).unwrap();
        let shown: Vec<String> = settings.allowed_networks.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "fd00::/64", "127.0.0.0/8", "::1/128"]);
        let refusal = Settings::from_environment(&Environment::from_iter([(NETWORKS, "10.0.0.1")]), false).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "DOCSTORE_WEBHOOK_ALLOWED_NETWORKS: '10.0.0.1' is not a network such as 10.0.0.0/8"
        );
    }
}
