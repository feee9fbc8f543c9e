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

/// The arguments of the server.
#[derive(Clone, Debug)]
pub struct Arguments(ArgMatches);

impl Arguments {
    /// The command with its flags, for help and documentation.
    #[must_use]
    pub fn command(name: &'static str) -> Command {
        FLAGS.into_iter().fold(
            Command::new(name)
                .version(env!("CARGO_PKG_VERSION"))
                .about("The DocStore server")
                .after_help("All settings are environment variables: docs/configuration.md."),
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
}
