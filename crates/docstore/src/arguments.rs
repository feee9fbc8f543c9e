//! The flags of the server (contract, server §1.1): a flag wins over its variable, and takes one dash or two.

use clap::{ArgMatches, Command};
use docstore_settings::Environment;

/// Flag, variable and meaning.
const FLAGS: [(&str, &str, &str); 7] = [
    ("dev-identity", "DEV_IDENTITY", "Every request is this identity; for development only"),
    ("bootstrap-admin", "BOOTSTRAP_ADMIN", "The identity that is admin where nobody is"),
    ("oauth-client-id", "OAUTH_CLIENT_ID", "The audience of id tokens, shown to clients that log in"),
    ("oauth-client-secret", "OAUTH_CLIENT_SECRET", "The secret of the browser login's code exchange"),
    ("session-secret", "SESSION_SECRET", "Standard base64 of the key that signs session cookies"),
    ("iap-client-id", "IAP_CLIENT_ID", "Shown to clients that log in through Identity-Aware Proxy"),
    ("iap-client-secret", "IAP_CLIENT_SECRET", "The desktop client's secret for Identity-Aware Proxy"),
];

/// The subcommand that asks a running server instead of being one.
const HEALTHCHECK: &str = "healthcheck";

/// What `--version` says after the name: the version, and of a build that was told (`Dockerfile.server`) what it was built
/// from, when and by whom.
fn version() -> String {
    let told = |value: Option<&'static str>| value.filter(|value| !matches!(*value, "" | "unknown"));
    let Some(commit) = told(option_env!("COMMIT")) else { return env!("CARGO_PKG_VERSION").to_owned() };
    let mut facts: Vec<String> = told(option_env!("VERSION")).map(str::to_owned).into_iter().collect();
    facts.push(format!("commit {commit}"));
    facts.extend(told(option_env!("DATE")).map(str::to_owned));
    facts.push(format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
    facts.extend(told(option_env!("BUILT_BY")).map(|builder| format!("built by {builder}")));
    format!("{} ({})", env!("CARGO_PKG_VERSION"), facts.join(", "))
}

/// The arguments of the server.
#[derive(Clone, Debug)]
pub struct Arguments(ArgMatches);

impl Arguments {
    /// The command with its flags, for help and documentation.
    #[must_use]
    pub fn command(name: &'static str) -> Command {
        FLAGS.into_iter().fold(
            Command::new(name)
                .version(version())
                .about("The DocStore server")
                .after_help("All settings are environment variables: docs/configuration.md.")
                .disable_help_subcommand(true)
                .subcommand(
                    Command::new(HEALTHCHECK)
                        .about("Asks the server on this machine whether it is ready; exits 0 or 1"),
                ),
            |command, (flag, variable, help)| {
                command
                    .arg(clap::Arg::new(flag).long(flag).value_name("VALUE").help(format!("{help} [env: {variable}]")))
            },
        )
    }

    /// Reads the arguments of the process; on a wrong one, or for help, says so and ends the process.
    #[must_use]
    pub fn of_process(name: &'static str) -> Self {
        Self(Self::command(name).get_matches_from(std::env::args().map(two_dashes)))
    }

    /// Whether a running server shall be asked for its health.
    #[must_use]
    pub fn is_healthcheck(&self) -> bool {
        self.0.subcommand_name() == Some(HEALTHCHECK)
    }

    /// The environment with the flags on top.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let mut environment = Environment::of_process();
        for (flag, variable, _) in FLAGS {
            if let Some(value) = self.0.get_one::<String>(flag) {
                environment.set(variable, value);
            }
        }
        environment
    }
}

/// Go programs take long flags with one dash, and deployments write them so.
fn two_dashes(argument: String) -> String {
    let name = argument.strip_prefix('-').unwrap_or_default().split('=').next().unwrap_or_default();
    if FLAGS.iter().any(|(flag, _, _)| *flag == name) { format!("-{argument}") } else { argument }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_take_one_dash_or_two() {
        let arguments =
            ["docstore", "-dev-identity=me@example.com", "--bootstrap-admin", "you@example.com", "--session-secret="];
        let matches = Arguments::command("docstore").get_matches_from(arguments.map(str::to_owned).map(two_dashes));
        let mut environment = Environment::from_iter([("SESSION_SECRET", "c2VjcmV0")]);
        for (flag, variable, _) in FLAGS {
            if let Some(value) = matches.get_one::<String>(flag) {
                environment.set(variable, value);
            }
        }
        assert_eq!(environment.text("DEV_IDENTITY"), Some("me@example.com"));
        assert_eq!(environment.text("BOOTSTRAP_ADMIN"), Some("you@example.com"));
        assert_eq!(environment.text("SESSION_SECRET"), Some("c2VjcmV0"), "an empty flag falls back to the variable");
    }

    #[test]
    fn there_is_one_subcommand() {
        let parse = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| two_dashes((*argument).to_owned()));
            Arguments::command("docstore").try_get_matches_from(arguments).map(Arguments)
        };
        assert!(parse(&["docstore", "healthcheck"]).unwrap().is_healthcheck());
        assert!(!parse(&["docstore", "-dev-identity=me@example.com"]).unwrap().is_healthcheck());
        for wrong in ["help", "serve", "-healthcheck", "--unknown"] {
            assert!(parse(&["docstore", wrong]).is_err(), "{wrong}");
        }
    }
}
